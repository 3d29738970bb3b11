//! One check of a container: exec, HTTP or TCP. Errors are the text after `... probe failed: `.

use crate::kubelet::probes::{Subject, http, reach};
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

pub async fn check(probe: &Probe, subject: &Subject, timeout: Duration) -> Result<(), Miss> {
    if let Some(exec) = &probe.exec {
        return exec_check(exec, subject, timeout).await;
    }
    if subject.host.node.simulated {
        return Ok(());
    }
    if let Some(get) = &probe.http_get {
        return Ok(http_get(get, subject, timeout).await.map(drop)?);
    }
    if let Some(tcp) = &probe.tcp_socket {
        return Ok(tcp_check(tcp, subject, timeout).await?);
    }
    Err(Miss::Unknown("this kind of probe is not supported; use exec, httpGet or tcpSocket".into()))
}

/// Runs a command in the container; its output explains a failure.
pub async fn exec_check(exec: &ExecAction, subject: &Subject, timeout: Duration) -> Result<(), Miss> {
    let command = exec.command.clone().unwrap_or_default();
    let done = tokio::time::timeout(timeout, subject.host.runtime.exec_sync(&subject.life.id, &command, timeout)).await;
    match done {
        Ok(Ok(result)) if result.exit_code == 0 => Ok(()),
        Ok(Ok(result)) => {
            let output = [result.stdout, result.stderr].concat();
            Err(Miss::Failed(String::from_utf8_lossy(&output[..output.len().min(QUOTED)]).into_owned()))
        }
        Ok(Err(crate::kubelet::runtime::RuntimeError::Timeout { .. })) | Err(_) => {
            let text = format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs());
            Err(Miss::Failed(text))
        }
        Ok(Err(error)) => Err(Miss::Unknown(error.chain())),
    }
}

/// The status code of a GET, if it is a good one.
pub async fn http_get(get: &HTTPGetAction, subject: &Subject, timeout: Duration) -> Result<u16, String> {
    let port = port(&get.port, &subject.container)?;
    let host = get.host.clone().filter(|h| !h.is_empty());
    let secure = get.scheme.as_deref() == Some("HTTPS");
    let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let shown = host.as_deref().unwrap_or(&subject.target.ip);
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://{}:{port}{path}", bracketed(shown));
    let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect::<Vec<_>>();
    let request = async {
        let stream = reach::connect(subject, host.as_deref(), port).await?;
        http::get(stream, secure, shown, port, &path, &headers).await
    };
    match tokio::time::timeout(timeout, request).await {
        Ok(Ok(code)) if (200..400).contains(&code) => Ok(code),
        Ok(Ok(code)) => Err(format!("HTTP probe failed with statuscode: {code}")),
        Ok(Err(error)) => Err(format!("Get {url:?}: {error}")),
        Err(_) => {
            Err(format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        }
    }
}

async fn tcp_check(tcp: &TCPSocketAction, subject: &Subject, timeout: Duration) -> Result<(), String> {
    let port = port(&tcp.port, &subject.container)?;
    let host = tcp.host.clone().filter(|h| !h.is_empty());
    match tokio::time::timeout(timeout, reach::connect(subject, host.as_deref(), port)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => {
            let shown = host.as_deref().unwrap_or(&subject.target.ip);
            Err(format!("dial tcp {}:{port}: i/o timeout", bracketed(shown)))
        }
    }
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

fn bracketed(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() }
}
