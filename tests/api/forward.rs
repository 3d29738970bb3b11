//! kubectl port-forward, over WebSockets and over plain SPDY.

use crate::Server;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use selkie::api::error::ApiError;
use selkie::apiserver::{Connection, ExecOptions, ExecSession, LogOptions, PodStreams};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;

/// Port 80 of every pod is a server that sends back what it gets.
struct Pods(SocketAddr);

impl Pods {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut to = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut &stream, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        });
        Arc::new(Self(address))
    }
}

#[async_trait]
impl PodStreams for Pods {
    async fn logs(
        &self,
        _node: &str,
        _pod: &Value,
        _options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, ApiError> {
        Err(ApiError::internal("no logs here"))
    }
    async fn exec(&self, _node: &str, _pod: &Value, _options: ExecOptions) -> Result<ExecSession, ApiError> {
        Err(ApiError::internal("no commands here"))
    }
    async fn attach(&self, _node: &str, _pod: &Value, _options: ExecOptions) -> Result<ExecSession, ApiError> {
        Err(ApiError::internal("no terminals here"))
    }
    async fn connect(&self, _node: &str, _pod: &Value, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        if port != 80 {
            return Err(ApiError::internal("nobody listens"));
        }
        let stream = tokio::net::TcpStream::connect(self.0).await.map_err(ApiError::internal)?;
        Ok(Box::new(stream))
    }
}

struct Forward {
    kubectl: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

impl Forward {
    fn start(server: &Server, ports: &[&str], websockets: bool) -> Self {
        let mut command = server.command(&[&["port-forward", "pod/web"], ports].concat());
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string());
        let mut kubectl = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(kubectl.stdout.take().unwrap());
        Self { kubectl, output }
    }

    /// The local port of the next `Forwarding from 127.0.0.1:PORT -> 80`.
    fn port(&mut self) -> u16 {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if line.contains("[::1]") {
            return self.port();
        }
        let port =
            line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("{line:?}"))
    }
}

fn echo(port: u16, size: usize) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let sent: Vec<u8> = (0..size).map(|n| (n * 7 % 251) as u8).collect();
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        (&stream).read_to_end(&mut got).unwrap();
    });
    assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
}

async fn serve() -> Server {
    let server = Server::with(Pods::start()).await;
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},
        "spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}}"#;
    server.ok(&["create", "-f", "-"], pod);
    let status = r#"{"status":{"phase":"Running"}}"#;
    server.ok(&["patch", "pod", "web", "--subresource=status", "--type=merge", "-p", status], "");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_either_way() {
    let server = serve().await;
    for websockets in [true, false] {
        let mut forward = Forward::start(&server, &[":80"], websockets);
        let port = forward.port();
        echo(port, 5);
        std::thread::scope(|scope| {
            for size in [0, 10, 100_000, 3_000_000] {
                scope.spawn(move || echo(port, size));
            }
        });
        echo(port, 70_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_told_to_kubectl() {
    let server = serve().await;
    let mut forward = Forward::start(&server, &[":81"], true);
    let stream = TcpStream::connect(("127.0.0.1", forward.port())).unwrap();
    let mut got = Vec::new();
    let _ = (&stream).read_to_end(&mut got);
    assert!(got.is_empty());
    let _ = forward.kubectl.kill();
    let mut said = String::new();
    forward.kubectl.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("error forwarding port 81 to pod web") && said.contains("nobody listens"), "{said}");
}
