//! Connections to a pod's ports from where this process runs, for probes and HTTP hooks.
//!
//! 1. Under host network, and with a host given in the probe: a plain connection.
//! 2. A port that is mapped to the host, where pod addresses are not reachable: the host's port.
//! 3. A local rootless Podman: pod addresses exist only inside its own network namespace, so a
//!    helper (`nsenter`, then bash's `/dev/tcp`) connects there and carries the bytes.
//! 4. Otherwise the pod's address, which a rootful host routes and a remote host's network must.

use crate::kubelet::probes::Subject;
use crate::kubelet::runtime::ContainerState;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Any connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Says `+` once connected, then copies both ways.
const HELPER: &str = r#"exec 3<>"/dev/tcp/$0/$1" || exit 7; printf +; cat <&3 & exec cat >&3"#;

/// How to come to the ports of a pod from here.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The pod's address, or the node's under host network.
    pub ip: String,
    pub host_network: bool,
    /// Of the host: whether this is its machine, whether its Podman is rootless, and its address.
    pub local: bool,
    pub rootless: bool,
    pub node: String,
    /// Ports of the host by those of the container.
    pub mapped: Vec<(u16, u16)>,
    /// A process in the pod's network.
    pub pid: Option<u32>,
}

impl Way {
    pub fn to(subject: &Subject) -> Self {
        let info = subject.host.info();
        let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
        let ports = subject.container.ports.iter().flatten();
        Self {
            ip: subject.target.ip.clone(),
            host_network: subject.target.host_network,
            local: info.local,
            rootless: info.rootless,
            node: subject.host.addresses().0.first().cloned().unwrap_or_default(),
            mapped: ports.filter_map(|p| Some((number(p.container_port)?, number(p.host_port?)?))).collect(),
            pid: match subject.life.state {
                ContainerState::Running { pid, .. } => Some(pid),
                _ => None,
            },
        }
    }

    /// Connects to `port` of the pod, or of `host`. No deadline: race it.
    pub async fn connect(&self, host: Option<&str>, port: u16) -> Result<Box<dyn Stream>, String> {
        if let Some(host) = host {
            return dial(host, port).await;
        }
        let this_or = |elsewhere: &str| if self.local { "127.0.0.1".to_string() } else { elsewhere.to_string() };
        if self.host_network {
            return dial(&this_or(&self.ip), port).await;
        }
        if let Some((_, host_port)) = self.mapped.iter().find(|(inner, _)| *inner == port)
            && (self.rootless || !self.local)
        {
            return dial(&this_or(&self.node), *host_port).await;
        }
        if self.local && self.rootless {
            let stopped = || format!("dial tcp {}:{port}: the container is not running", self.ip);
            return through_namespace(self.pid.ok_or_else(stopped)?, &self.ip, port).await;
        }
        dial(&self.ip, port).await
    }
}

async fn dial(host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
    match TcpStream::connect((host, port)).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(failed(host, port, &error)),
    }
}

/// Go's words for the usual failures.
fn failed(host: &str, port: u16, error: &std::io::Error) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let what = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_string(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_string(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_string(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_string(),
        _ => error.to_string(),
    };
    format!("dial tcp {host}:{port}: {what}")
}

/// Inside the pod every address of it is local, so the loopback serves when there is none.
async fn through_namespace(pid: u32, ip: &str, port: u16) -> Result<Box<dyn Stream>, String> {
    let ip = if ip.is_empty() { "127.0.0.1" } else { ip };
    let pid = pid.to_string();
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid, "--user", "--net", "--preserve-credentials", "--", "bash", "-c", HELPER, ip]);
    command.arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let cannot = |error| format!("dial tcp {ip}:{port}: cannot enter the pod's network with nsenter: {error}");
    let mut child = command.spawn().map_err(|error: std::io::Error| cannot(error))?;
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(format!("dial tcp {ip}:{port}: nsenter has no pipes"));
    };
    let mut greeting = [0u8; 1];
    if stdout.read_exact(&mut greeting).await.is_err() {
        return Err(format!("dial tcp {ip}:{port}: connect: connection refused"));
    }
    Ok(Box::new(Helper { _child: child, pipes: tokio::io::join(stdout, stdin) }))
}

/// The helper's pipes; the process dies with them.
struct Helper {
    _child: Child,
    pipes: tokio::io::Join<ChildStdout, ChildStdin>,
}

impl AsyncRead for Helper {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Helper {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.pipes).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipes).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipes).poll_shutdown(cx)
    }
}
