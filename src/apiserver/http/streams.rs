//! Logs, exec, attach and port-forward: which container is meant, and on which node it runs. The checks and texts
//! are those of Kubernetes' pod registry; the bytes come from [`crate::apiserver::PodStreams`].

mod forward;
mod logs;
mod session;
mod spdy;
mod websocket;

use super::body::Body;
use super::verbs::Ask;
use crate::api::error::ApiError;
use crate::apiserver::ExecOptions;
use crate::apiserver::resources::object::parse;
use http::Response;
use serde_json::Value;
use session::Request;
use websocket::Handshake;

impl Ask<'_> {
    /// The pod that the path names.
    fn pod(&self) -> Result<Value, ApiError> {
        Ok(parse(&*self.at().get(&self.server.view())?))
    }

    /// `exec`, `attach` and `portforward`: everything that can be refused is refused before the connection becomes a
    /// WebSocket; what the kubelet says afterwards travels on the error channel.
    pub(super) fn connect(&self) -> Result<Response<Body>, ApiError> {
        let pod = self.pod()?;
        let what = self.path.subresource;
        let attach = match what {
            "portforward" => return self.forward(pod),
            other => other == "attach",
        };
        let options = self.exec_options(&pod, attach, self.query.get("container"), ["stdin", "stdout", "stderr"])?;
        let Some(node) = node(&pod).map(str::to_string) else {
            return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", self.path.name)));
        };
        self.session(node, pod, options, attach)
    }

    /// As the kubelet of a node serves it: its words for the streams are others.
    pub(super) fn session_of(
        &self,
        node: &str,
        pod: Value,
        container: &str,
        attach: bool,
    ) -> Result<Response<Body>, ApiError> {
        let options = self.exec_options(&pod, attach, Some(container), ["input", "output", "error"])?;
        self.session(node.to_owned(), pod, options, attach)
    }

    fn session(
        &self,
        node: String,
        pod: Value,
        options: ExecOptions,
        attach: bool,
    ) -> Result<Response<Body>, ApiError> {
        let what = if attach { "attach" } else { "exec" };
        let handshake = Handshake::read(self.parts, what, &websocket::PROTOCOLS)?;
        let response = handshake.response();
        let request = Request { options: options.clone(), attach, form: handshake.form() };
        let streams = self.server.streams.clone();
        tokio::spawn(async move {
            let open = async {
                match attach {
                    true => streams.attach(&node, &pod, options).await,
                    false => streams.exec(&node, &pod, options).await,
                }
            };
            match handshake.upgrade.await {
                Ok(upgraded) => session::run(upgraded, request, open).await,
                Err(error) => tracing::debug!(%error, "a client left before its session began"),
            }
        });
        Ok(response)
    }

    /// `streams`: what the parameters for input, output and errors are called.
    fn exec_options(
        &self,
        pod: &Value,
        attach: bool,
        asked: Option<&str>,
        streams: [&str; 3],
    ) -> Result<ExecOptions, ApiError> {
        let flag = |name| self.query.flag(name);
        let [stdin, stdout, stderr] = streams;
        let options = ExecOptions {
            container: container(pod, asked)?,
            command: if attach { Vec::new() } else { self.query.all("command") },
            stdin: flag(stdin),
            stdout: flag(stdout),
            // A terminal has one stream.
            stderr: flag(stderr) && !flag("tty"),
            tty: flag("tty"),
        };
        if !attach && options.command.is_empty() {
            return Err(ApiError::bad_request("you must specify at least one command for the container"));
        }
        if !(options.stdin || options.stdout || options.stderr) {
            return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(options)
    }
}

/// The node that a pod is bound to.
fn node(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())
}

fn names<'a>(pod: &'a Value, field: &str) -> Vec<&'a str> {
    pod["spec"][field].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect()
}

/// The container asked for, or the only one.
fn container(pod: &Value, asked: Option<&str>) -> Result<String, ApiError> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let ordinary = names(pod, "containers");
    let init = names(pod, "initContainers");
    match (asked, ordinary.as_slice()) {
        (Some(asked), _) => {
            let known = ordinary.contains(&asked)
                || init.contains(&asked)
                || names(pod, "ephemeralContainers").contains(&asked);
            let unknown = || ApiError::bad_request(format!("container {asked} is not valid for pod {name}"));
            if known { Ok(asked.to_string()) } else { Err(unknown()) }
        }
        (None, [only]) => Ok((*only).to_string()),
        (None, several) => {
            let mut message = format!("a container name must be specified for pod {name}");
            if !several.is_empty() {
                message += &format!(", choose one of: [{}]", several.join(" "));
            }
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(ApiError::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_only_container_needs_no_name() {
        let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&pod, None).unwrap(), "a");
        let error = container(&pod, Some("nope")).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (400, "container nope is not valid for pod x"));
    }

    #[test]
    fn several_containers_are_listed() {
        let mut pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let message = "a container name must be specified for pod x, choose one of: [a b]";
        assert_eq!(container(&pod, None).unwrap_err().message, message);
        pod["spec"]["initContainers"] = json!([{"name": "i"}]);
        let message = format!("{message} or one of the init containers: [i]");
        assert_eq!(container(&pod, None).unwrap_err().message, message);
        assert_eq!(container(&pod, Some("i")).unwrap(), "i");
    }
}
