//! Logs, exec, attach and port-forward of a node's pods, for the API server.

mod forward;
mod host;

use crate::api::error::ApiError;
use crate::apiserver::{self, Connection, ExecOptions, ExecSession, HostLog, LogOptions, LogStream, PodStreams};
use crate::kubelet::runtime::{self, ContainerRuntime, ContainerStatus, LogLine, RuntimeError};
use crate::kubelet::settings::Settings;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The runtimes of the nodes that this process serves. Made before the API server, filled by the
/// kubelets as they start.
#[derive(Default)]
pub struct HostStreams(RwLock<HashMap<String, Served>>);

struct Served {
    runtime: Arc<dyn ContainerRuntime>,
    settings: Arc<Settings>,
}

impl HostStreams {
    pub fn add(&self, node: &str, runtime: Arc<dyn ContainerRuntime>, settings: Arc<Settings>) {
        self.0.write().insert(node.to_string(), Served { runtime, settings });
    }

    pub fn remove(&self, node: &str) {
        self.0.write().remove(node);
    }

    fn runtime(&self, node: &str) -> Result<Arc<dyn ContainerRuntime>, ApiError> {
        self.of(node, |served| served.runtime.clone())
    }

    fn of<T>(&self, node: &str, part: impl FnOnce(&Served) -> T) -> Result<T, ApiError> {
        let none = || ApiError::new(503, "ServiceUnavailable", format!("no kubelet serves node {node:?}"));
        self.0.read().get(node).map(part).ok_or_else(none)
    }
}

fn text<'a>(pod: &'a Value, field: &str) -> &'a str {
    pod["metadata"][field].as_str().unwrap_or_default()
}

fn internal(error: &RuntimeError) -> ApiError {
    ApiError::internal(error.chain())
}

/// The lives of a container on the host, newest first.
async fn lives(runtime: &dyn ContainerRuntime, pod: &Value, container: &str) -> Result<Vec<ContainerStatus>, ApiError> {
    let listing = runtime.list_pod(text(pod, "uid")).await.map_err(|error| internal(&error))?;
    let mut lives: Vec<_> = listing.containers.into_iter().filter(|c| c.identity.container == container).collect();
    lives.sort_by_key(|life| std::cmp::Reverse(life.identity.restart_count));
    Ok(lives)
}

fn status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let list = |name: &str| pod["status"][name].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = list("containerStatuses").iter().chain(list("initContainerStatuses"));
    let all = all.chain(list("ephemeralContainerStatuses"));
    all.into_iter().find(|status| status["name"] == container)
}

fn has_begun(life: &ContainerStatus) -> bool {
    life.state != runtime::ContainerState::Created
}

/// The life before the one that is current. One that has ended stays current until the status says that the container
/// waits for its next life. In all else the host counts: what the API says may be older than a restart.
fn previous<'a>(status: Option<&Value>, lives: &'a [ContainerStatus]) -> Option<&'a ContainerStatus> {
    let newest = lives.first()?;
    let last = status.and_then(|s| s["lastState"]["terminated"]["containerID"].as_str());
    let waits = last.and_then(|id| id.strip_prefix("podman://")) == Some(&newest.id);
    let from = if waits && !newest.state.is_running() { 0 } else { 1 };
    lives[from..].iter().find(|life| has_begun(life))
}

/// The life whose log is wanted. The texts are those of Kubernetes' kubelet.
fn choose(pod: &Value, options: &LogOptions, lives: &[ContainerStatus]) -> Result<String, ApiError> {
    let (name, container) = (text(pod, "name"), &options.container);
    let refuse = |what: String| Err(ApiError::bad_request(what));
    let status = status(pod, container);
    if options.previous {
        return match previous(status, lives) {
            Some(life) => Ok(life.id.clone()),
            None => refuse(format!("previous terminated container {container:?} in pod {name:?} not found")),
        };
    }
    if let Some(restart) = options.restart {
        let has = |life: &&ContainerStatus| life.identity.restart_count == restart && has_begun(life);
        if let Some(life) = lives.iter().find(has) {
            return Ok(life.id.clone());
        }
        if lives.iter().any(|life| life.identity.restart_count > restart) {
            return refuse(format!("container {container:?} in pod {name:?} has no log of restart {restart} any more"));
        }
    } else if let Some(life) = lives.iter().find(|life| has_begun(life)) {
        return Ok(life.id.clone());
    }
    let state = status.map(|status| &status["state"]).unwrap_or(&Value::Null);
    if state["terminated"].is_object() {
        return refuse(format!("container {container:?} in pod {name:?} is terminated"));
    }
    refuse(match state["waiting"]["reason"].as_str() {
        Some("ErrImagePull") => {
            format!("container {container:?} in pod {name:?} is waiting to start: image can't be pulled")
        }
        Some("ImagePullBackOff") => {
            format!("container {container:?} in pod {name:?} is waiting to start: trying and failing to pull image")
        }
        reason => {
            let reason = reason.unwrap_or("ContainerCreating");
            format!("container {container:?} in pod {name:?} is waiting to start: {reason}")
        }
    })
}

/// The running life of a container.
async fn running(runtime: &dyn ContainerRuntime, pod: &Value, container: &str) -> Result<String, ApiError> {
    let lives = lives(runtime, pod, container).await?;
    let found = lives.into_iter().find(|life| life.state.is_running());
    found.map(|life| life.id).ok_or_else(|| ApiError::internal(format!("container not found ({container:?})")))
}

/// Lines as the API sends them, cut off after `limit` bytes.
fn render(
    lines: BoxStream<'static, Result<LogLine, RuntimeError>>,
    timestamps: bool,
    limit: Option<u64>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let rendered = stream::unfold((lines, true, limit.unwrap_or(u64::MAX)), move |state| async move {
        let (mut lines, mut at_start, mut left) = state;
        // Without waiting for a line that is not wanted any more.
        if left == 0 {
            return None;
        }
        let item = match lines.next().await? {
            Ok(line) => {
                let mut out = BytesMut::with_capacity(line.bytes.len() + 36);
                if timestamps && at_start {
                    out.extend_from_slice(format!("{:.9} ", line.time).as_bytes());
                }
                at_start = line.bytes.ends_with(b"\n");
                out.extend_from_slice(&line.bytes);
                out.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(out.len()));
                left -= out.len() as u64;
                Ok(out.freeze())
            }
            Err(error) => Err(io::Error::other(error.chain())),
        };
        Some((item, (lines, at_start, left)))
    });
    rendered.boxed()
}

/// Hands a runtime's session to the API server in its own terms.
fn hand_over(session: runtime::ExecSession) -> ExecSession {
    let (output, outputs) = mpsc::channel(16);
    let (exit, exits) = oneshot::channel();
    let mut from = session.output;
    tokio::spawn(async move {
        loop {
            let piece = tokio::select! {
                piece = from.recv() => piece,
                // Nobody listens any more; a silent command must not hold its connection.
                () = output.closed() => return,
            };
            let piece = match piece {
                Some(runtime::ExecOutput::Stdout(bytes)) => apiserver::ExecOutput::Stdout(bytes),
                Some(runtime::ExecOutput::Stderr(bytes)) => apiserver::ExecOutput::Stderr(bytes),
                None => break,
            };
            if output.send(piece).await.is_err() {
                return;
            }
        }
        drop(output);
        let outcome = match session.exit.await {
            Ok(outcome) => outcome.map_err(|error| error.chain()),
            Err(_) => Err("the connection to the container was lost".into()),
        };
        let _ = exit.send(outcome);
    });
    ExecSession { stdin: session.stdin, output: outputs, resize: session.resize, exit: exits }
}

#[async_trait]
impl PodStreams for HostStreams {
    async fn settings(&self, node: &str) -> Result<Value, ApiError> {
        let info = self.runtime(node)?.info().await.map_err(|error| internal(&error))?;
        Ok(host::settings(&info, &*self.of(node, |served| served.settings.clone())?))
    }

    async fn host_log(&self, node: &str, path: &str) -> Result<Option<HostLog>, ApiError> {
        let info = self.runtime(node)?.info().await.map_err(|error| internal(&error))?;
        if info.simulated || !info.local {
            let message = format!("the files of node {node:?} are out of reach: its host is not this machine");
            return Err(ApiError::new(503, "ServiceUnavailable", message));
        }
        host::log(Path::new(host::LOGS), path).await.map_err(ApiError::internal)
    }

    fn serves(&self, node: &str) -> bool {
        self.0.read().contains_key(node)
    }

    async fn logs(
        &self,
        node: &str,
        pod: &Value,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, ApiError> {
        let runtime = self.runtime(node)?;
        let lives = lives(runtime.as_ref(), pod, &options.container).await?;
        let id = choose(pod, &options, &lives)?;
        let wanted = runtime::LogOptions {
            follow: options.follow,
            tail: options.tail_lines.and_then(|n| usize::try_from(n).ok()),
            since: options.since,
            stream: options.stream.map(|stream| match stream {
                LogStream::Stdout => runtime::OutputStream::Stdout,
                LogStream::Stderr => runtime::OutputStream::Stderr,
            }),
        };
        let lines = runtime.logs(&id, &wanted).await.map_err(|error| internal(&error))?;
        Ok(render(lines, options.timestamps, options.limit_bytes))
    }

    async fn exec(&self, node: &str, pod: &Value, options: ExecOptions) -> Result<ExecSession, ApiError> {
        let runtime = self.runtime(node)?;
        let id = running(runtime.as_ref(), pod, &options.container).await?;
        let wanted = runtime::ExecOptions {
            command: options.command,
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            size: None,
        };
        runtime.exec(&id, &wanted).await.map(hand_over).map_err(|error| internal(&error))
    }

    async fn attach(&self, node: &str, pod: &Value, options: ExecOptions) -> Result<ExecSession, ApiError> {
        let runtime = self.runtime(node)?;
        let id = running(runtime.as_ref(), pod, &options.container).await?;
        let wanted = runtime::AttachOptions {
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        runtime.attach(&id, &wanted).await.map(hand_over).map_err(|error| internal(&error))
    }

    async fn connect(&self, node: &str, pod: &Value, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        self.runtime(node)?;
        forward::connect(pod, port).await
    }
}

#[cfg(test)]
mod tests;
