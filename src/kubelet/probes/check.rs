//! One check of a container: exec, HTTP, TCP or gRPC. Errors are the text after `... probe failed: `.

use crate::kubelet::probes::reach::Way;
use crate::kubelet::probes::shell::Shell;
use crate::kubelet::probes::{Subject, grpc, http};
use crate::kubelet::runtime::{ExecResult, RuntimeError};
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;

/// Where a pod's ports are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The pod's address, or the node's under host network.
    pub ip: String,
    pub host_network: bool,
}

/// Output of a command that an event quotes at most.
const QUOTED: usize = 1024;

/// Why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The container answered wrongly, too late or not at all.
    Failed(String),
    /// It could not be asked, which tells nothing about it: the runtime is away, the command missing.
    Unknown(String),
}

impl From<String> for Miss {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl Miss {
    pub fn text(self) -> String {
        match self {
            Self::Failed(text) | Self::Unknown(text) => text,
        }
    }
}

/// Whether the container answers as it should, and what about that is worth a warning.
pub async fn check(
    probe: &Probe,
    subject: &Subject,
    shell: &mut Shell,
    timeout: Duration,
) -> Result<Option<String>, Miss> {
    if let Some(exec) = &probe.exec {
        if subject.host.node.simulated {
            return exec_check(exec, subject, timeout).await.map(|()| None);
        }
        let command = exec.command.as_deref().unwrap_or_default();
        let done = shell.run(subject.host.runtime.as_ref(), &subject.life.id, command, timeout).await;
        return judge(done, command, timeout).map(|()| None);
    }
    if subject.host.node.simulated {
        return Ok(None);
    }
    let way = Way::to(subject);
    if let Some(get) = &probe.http_get {
        let port = port(&get.port, &subject.container).map_err(Miss::Unknown)?;
        return http_check(get, &way, port, timeout).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port, &subject.container).map_err(Miss::Unknown)?;
        return Ok(tcp_check(tcp, &way, port, timeout).await.map(|()| None)?);
    }
    if let Some(grpc) = &probe.grpc {
        let port = port(&IntOrString::Int(grpc.port), &subject.container).map_err(Miss::Unknown)?;
        let service = grpc.service.as_deref().unwrap_or_default();
        return Ok(grpc::check(&way, port, service, timeout).await.map(|()| None)?);
    }
    Err(Miss::Unknown("missing probe handler".into()))
}

/// Runs a command in the container; its output explains a failure.
pub async fn exec_check(exec: &ExecAction, subject: &Subject, timeout: Duration) -> Result<(), Miss> {
    let command = exec.command.clone().unwrap_or_default();
    let running = subject.host.runtime.exec_sync(&subject.life.id, &command, timeout);
    let late = || Err(RuntimeError::Timeout { what: "a command".into(), after: timeout });
    judge(tokio::time::timeout(timeout, running).await.unwrap_or_else(|_| late()), &command, timeout)
}

fn judge(done: Result<ExecResult, RuntimeError>, command: &[String], timeout: Duration) -> Result<(), Miss> {
    match done {
        Ok(result) if result.exit_code == 0 => Ok(()),
        Ok(result) => {
            let output = [result.stdout, result.stderr].concat();
            Err(Miss::Failed(quoted(&output)))
        }
        Err(RuntimeError::Timeout { .. }) => {
            let text = format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs());
            Err(Miss::Failed(text))
        }
        Err(error) => Err(Miss::Unknown(error.chain())),
    }
}

/// Asks by HTTP: 2xx is well, and so is a redirect to another host, which is not followed but warned of.
async fn http_check(get: &HTTPGetAction, way: &Way, port: u16, timeout: Duration) -> Result<Option<String>, Miss> {
    let answer = http::get(get, way, port, "probe", timeout).await?;
    // An answer that breaks off tells nothing, whatever it began with.
    let body = answer.body.map_err(Miss::Unknown)?;
    match answer.code {
        200..300 => Ok(None),
        300..400 => Ok(Some(format!("Probe terminated redirects, Response body: {}", quoted(body.as_bytes())))),
        code => Err(Miss::Failed(format!("HTTP probe failed with statuscode: {code}"))),
    }
}

/// Asks by HTTP for a hook, for which any answer will do.
pub async fn http_hook(get: &HTTPGetAction, subject: &Subject, timeout: Duration) -> Result<(), String> {
    let port = port(&get.port, &subject.container)?;
    http::get(get, &Way::to(subject), port, "lifecycle", timeout).await.map(drop)
}

async fn tcp_check(tcp: &TCPSocketAction, way: &Way, port: u16, timeout: Duration) -> Result<(), String> {
    let host = tcp.host.as_deref().filter(|h| !h.is_empty());
    match tokio::time::timeout(timeout, way.connect(host, port)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(format!("dial tcp {}:{port}: i/o timeout", bracketed(host.unwrap_or(&way.ip)))),
    }
}

fn quoted(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[..output.len().min(QUOTED)]).into_owned()
}

/// A port number, or the container's port of that name.
pub fn port(wanted: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("couldn't find port: {wanted:?} in container {}", container.name))
}

/// As hosts are written before a port.
pub fn bracketed(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() }
}

#[cfg(test)]
mod tests;
