//! Port forwarding: connections to a pod's ports through this server.
//!
//! Three ways in: SPDY/3.1 (older clients), SPDY/3.1 inside a WebSocket (kubectl), and WebSocket
//! channels (the Python and Rust clients).

mod channels;
mod session;

use super::super::body::Body;
use super::super::verbs::Ask;
use super::websocket::{self, Handshake};
use crate::api::error::ApiError;
use crate::apiserver::{Connection, PodStreams};
use bytes::Bytes;
use futures::SinkExt;
use futures::stream::SplitSink;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

type Sink = SplitSink<WebSocketStream<TokioIo<Upgraded>>, Message>;

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: [&str; 5] =
    [TUNNEL, "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "portforward.k8s.io"];
const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Pieces on their way, per direction. A connection that does not take what it is sent holds up the
/// others of its client, as SPDY without flow control does.
const QUEUE: usize = 64;
const PIECE: usize = 32 * 1024;

/// Opens connections to one pod.
#[derive(Clone)]
pub struct Dialer {
    pub streams: Arc<dyn PodStreams>,
    pub node: String,
    pub pod: Arc<Value>,
}

impl Dialer {
    /// The error is for people: kubectl prints it.
    async fn dial(&self, port: u16) -> Result<Box<dyn Connection>, String> {
        self.streams.connect(&self.node, &self.pod, port).await.map_err(|error| {
            let name = self.pod["metadata"]["name"].as_str().unwrap_or_default();
            format!("error forwarding port {port} to pod {name}: {}", error.message)
        })
    }
}

/// Carries data both ways until the pod ends the connection or the client is gone. `frame` makes of what
/// the pod says what the client understands.
async fn carry(
    connection: Box<dyn Connection>,
    mut input: mpsc::Receiver<Bytes>,
    output: &mpsc::Sender<Bytes>,
    frame: impl Fn(&[u8]) -> Bytes,
) -> std::io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(connection);
    let inward = async {
        while let Some(bytes) = input.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
        // The pod may still have something to say.
        std::future::pending::<()>().await
    };
    let outward = async {
        let mut piece = vec![0; PIECE];
        loop {
            match reader.read(&mut piece).await? {
                0 => return Ok(()),
                count => {
                    if output.send(frame(&piece[..count])).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    };
    tokio::select! {
        () = inward => Ok(()),
        ended = outward => ended,
    }
}

/// Sends messages until there are no more or the client is gone.
async fn send_messages(mut sink: Sink, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = messages.recv().await {
        if sink.send(Message::Binary(bytes)).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

impl Ask<'_> {
    pub(super) fn forward(&self, pod: Value) -> Result<Response<Body>, ApiError> {
        let Some(node) = super::node(&pod).map(str::to_string) else {
            return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", self.path.name)));
        };
        let dialer = Dialer { streams: self.server.streams.clone(), node, pod: Arc::new(pod) };
        if websocket::wants_spdy(&self.parts.headers) {
            return self.forward_spdy(dialer);
        }
        let handshake = Handshake::read(self.parts, "port-forward", &CHANNELS)?;
        let response = handshake.response();
        let tunnel = handshake.protocol == Some(TUNNEL);
        let ports = if tunnel { Vec::new() } else { self.ports()? };
        tokio::spawn(async move {
            match handshake.upgrade.await {
                Ok(upgraded) if tunnel => session::in_websocket(upgraded, dialer).await,
                Ok(upgraded) => channels::run(upgraded, ports, dialer).await,
                Err(error) => tracing::debug!(%error, "a client left before its ports were forwarded"),
            }
        });
        Ok(response)
    }

    fn forward_spdy(&self, dialer: Dialer) -> Result<Response<Body>, ApiError> {
        let upgrade = self.parts.extensions.get::<OnUpgrade>().cloned();
        let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded"))?;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => session::plain(upgraded, dialer).await,
                Err(error) => tracing::debug!(%error, "a client left before its ports were forwarded"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
        headers.insert(STREAM_PROTOCOL, HeaderValue::from_static("portforward.k8s.io"));
        Ok(response)
    }

    /// The ports of a client that names them in its query.
    fn ports(&self) -> Result<Vec<u16>, ApiError> {
        let named = self.query.all("ports");
        let ports = named.iter().flat_map(|list| list.split(',')).map(|port| {
            let number = port.parse::<u16>().ok().filter(|port| *port > 0);
            number.ok_or_else(|| {
                ApiError::bad_request(format!("unable to parse {port:?} as a port: it must be > 0 and <= 65535"))
            })
        });
        let ports: Vec<u16> = ports.collect::<Result<_, _>>()?;
        if ports.is_empty() {
            return Err(ApiError::bad_request("query parameter \"ports\" is required"));
        }
        Ok(ports)
    }
}
