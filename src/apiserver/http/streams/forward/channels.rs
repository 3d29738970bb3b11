//! Forwarding over WebSocket channels: for port number i, channel 2i carries data and 2i+1 errors. The
//! first message of each is the port, two bytes, little end first.

use super::{Dialer, QUEUE, carry, send_messages};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

fn message(channel: usize, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(channel as u8);
    out.put_slice(bytes);
    out.freeze()
}

/// Carries one connection for each port until the client goes away.
pub async fn run(upgraded: Upgraded, ports: Vec<u16>, dialer: Dialer) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (sink, mut stream) = socket.split();
    let (output, outputs) = mpsc::channel::<Bytes>(QUEUE);
    let (mut inputs, mut connections) = (Vec::new(), JoinSet::new());
    for (index, port) in ports.into_iter().enumerate() {
        let (sender, receiver) = mpsc::channel(QUEUE);
        inputs.push(Some(sender));
        connections.spawn(connection(dialer.clone(), index, port, receiver, output.clone()));
    }
    drop(output);
    let send = send_messages(sink, outputs);
    let receive = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(bytes) = message else { continue };
            let Some((channel, data)) = bytes.split_first() else { continue };
            // v5: channel 255 ends the channel that follows.
            let (channel, ends) = match (channel, data) {
                (255, [ended]) => (*ended, true),
                (channel, _) => (*channel, false),
            };
            let Some(slot) = inputs.get_mut(usize::from(channel / 2)).filter(|_| channel % 2 == 0) else { continue };
            let lost = match &slot {
                Some(input) if !ends && !data.is_empty() => input.send(bytes.slice(1..)).await.is_err(),
                _ => false,
            };
            if ends || lost {
                *slot = None;
            }
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

async fn connection(
    dialer: Dialer,
    index: usize,
    port: u16,
    input: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<Bytes>,
) {
    let (data, error) = (2 * index, 2 * index + 1);
    for channel in [data, error] {
        let _ = output.send(message(channel, &port.to_le_bytes())).await;
    }
    match dialer.dial(port).await {
        // A connection that breaks ends as one that its server closes: these channels cannot tell.
        Ok(connection) => drop(carry(connection, input, &output, |bytes| message(data, bytes)).await),
        Err(why) => drop(output.send(message(error, why.as_bytes())).await),
    }
}
