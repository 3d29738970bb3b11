//! Forwarding over SPDY. Each connection is two streams with the same request id: `error`, on which
//! only this side speaks, and `data`.

use super::super::spdy::{self, Frame, Reader, Writer};
use super::{Dialer, PIECE, QUEUE, carry, send_messages};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Over the connection itself.
pub async fn plain(upgraded: Upgraded, dialer: Dialer) {
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    let (output, mut outputs) = mpsc::channel::<Bytes>(QUEUE);
    let send = async move {
        while let Some(bytes) = outputs.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    };
    let input = futures::stream::unfold(&mut reader, |reader| async {
        let mut piece = BytesMut::with_capacity(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(count) if count > 0 => Some((piece.freeze(), reader)),
            _ => None,
        }
    });
    let input = std::pin::pin!(input);
    tokio::select! {
        () = send => {}
        () = run(input, output, dialer) => {}
    }
}

/// Over the binary messages of a WebSocket.
pub async fn in_websocket(upgraded: Upgraded, dialer: Dialer) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (sink, stream) = socket.split();
    let (output, outputs) = mpsc::channel::<Bytes>(QUEUE);
    let send = send_messages(sink, outputs);
    let input = stream
        .take_while(|message| std::future::ready(matches!(message, Ok(message) if !message.is_close())))
        .filter_map(|message| std::future::ready(message.ok().filter(Message::is_binary).map(Message::into_data)));
    let input = std::pin::pin!(input);
    tokio::select! {
        () = send => {}
        () = run(input, output, dialer) => {}
    }
}

/// The streams of one connection, as far as they are open.
#[derive(Default)]
struct Pair {
    port: u16,
    error: Option<u32>,
    data: Option<u32>,
}

/// Serves streams until the client goes away; dropping the tasks then closes their connections.
async fn run(mut input: impl Stream<Item = Bytes> + Unpin, output: mpsc::Sender<Bytes>, dialer: Dialer) {
    let (mut reader, mut writer) = (Reader::new(), Writer::new());
    let mut waiting: HashMap<String, Pair> = HashMap::new();
    let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    let mut connections = JoinSet::new();
    while let Some(bytes) = input.next().await {
        reader.feed(&bytes);
        loop {
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a client's port-forward is broken");
                    return;
                }
            };
            let answer = match frame {
                Frame::Open { id, headers, .. } => {
                    let Some((key, whole)) = enter(&mut waiting, id, &headers) else {
                        let _ = output.send(spdy::reset(id)).await;
                        continue;
                    };
                    let reply = writer.reply(id);
                    if whole && let Some(Pair { port, error: Some(error), data: Some(data) }) = waiting.remove(&key) {
                        let (sender, receiver) = mpsc::channel(QUEUE);
                        inputs.insert(data, sender);
                        let ids = (error, data);
                        connections.spawn(connection(dialer.clone(), port, ids, receiver, output.clone()));
                    }
                    Some(reply)
                }
                Frame::Data { id, bytes, last } => {
                    if let Some(to) = inputs.get(&id) {
                        // A connection that has ended wants nothing more.
                        let open = bytes.is_empty() || to.send(bytes).await.is_ok();
                        if last || !open {
                            inputs.remove(&id);
                        }
                    }
                    None
                }
                Frame::Reset { id } => {
                    inputs.remove(&id);
                    None
                }
                Frame::Ping { id } => Some(spdy::pong(id)),
                Frame::GoAway => return,
            };
            if let Some(answer) = answer
                && output.send(answer).await.is_err()
            {
                return;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Notes a stream; its request, and whether both of its streams are there now. `None`: not a stream of
/// port forwarding.
fn enter(waiting: &mut HashMap<String, Pair>, id: u32, headers: &HashMap<String, String>) -> Option<(String, bool)> {
    let header = |name: &str| headers.get(name).map(String::as_str);
    let port = header("port")?.parse::<u16>().ok().filter(|port| *port > 0)?;
    // The oldest clients number nothing: their data stream follows its error stream.
    let request = match header("requestid") {
        Some(request) => request.to_string(),
        None if header("streamtype") == Some("error") => format!("#{id}"),
        None => format!("#{}", id.checked_sub(2)?),
    };
    let pair = waiting.entry(request.clone()).or_default();
    pair.port = port;
    match header("streamtype")? {
        "error" => pair.error = Some(id),
        "data" => pair.data = Some(id),
        _ => return None,
    }
    let whole = pair.error.is_some() && pair.data.is_some();
    Some((request, whole))
}

/// One connection: data both ways until both ends are done, then the end of both streams.
async fn connection(
    dialer: Dialer,
    port: u16,
    (error, data): (u32, u32),
    input: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<Bytes>,
) {
    let why = match dialer.dial(port).await {
        Ok(connection) => carry(connection, input, &output, |bytes| spdy::data(data, bytes, false))
            .await
            .err()
            .map(|error| error.to_string()),
        Err(why) => Some(why),
    };
    let _ = output.send(spdy::data(data, b"", true)).await;
    let _ = output.send(spdy::data(error, why.unwrap_or_default().as_bytes(), true)).await;
}
