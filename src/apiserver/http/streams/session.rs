//! A command's streams in WebSocket messages: the first byte of each is its channel.
//!
//! Either side may be slow: output waits for the client, input for the command. When the client goes
//! away the session is dropped, which ends the command's input and frees its connection.

use super::websocket::Form;
use crate::api::error::ApiError;
use crate::apiserver::{ExecOptions, ExecOutput, ExecSession};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{BoxStream, SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: the second byte names the channel that the client ends.
const CLOSE: u8 = 255;

/// Unasked pongs go out this often. They find out that a client has vanished, and tell kubectl (which
/// gives up after a minute without one) that the session lives while its input has to wait.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long the client may take to answer the end. Closing at once could destroy what is on its way.
const LINGER: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Sink = SplitSink<Socket, Message>;

/// What was asked for.
pub struct Request {
    pub options: ExecOptions,
    /// The container's main process: its exit code is the pod's business.
    pub attach: bool,
    pub form: Form,
}

/// Carries a session until its command or its client ends.
pub async fn run(
    upgraded: Upgraded,
    request: Request,
    open: impl Future<Output = Result<ExecSession, ApiError>> + Send,
) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut sink, mut stream) = socket.split();
    let ended = match open.await {
        Ok(session) => {
            let ExecSession { stdin, output, resize, exit } = session;
            let work = async {
                send(&mut sink, output, &request).await?;
                let lost = || Err("the connection to the container was lost".to_string());
                Ok(status(&request, exit.await.unwrap_or_else(|_| lost())))
            };
            tokio::select! {
                status = work => status,
                () = receive(&mut stream, stdin.filter(|_| request.options.stdin), resize, request.form) => return,
            }
        }
        Err(error) => Ok(error.to_status()),
    };
    let ended = match ended {
        Ok(status) => finish(&mut sink, &mut stream, &status, request.form).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, container = request.options.container, "a client left its session");
    }
}

fn message(channel: u8, bytes: &[u8], form: Form) -> Message {
    if form.text {
        return Message::Text(format!("{channel}{}", BASE64.encode(bytes)).into());
    }
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(channel);
    out.put_slice(bytes);
    Message::Binary(out.freeze())
}

/// Sends output until it ends.
async fn send(sink: &mut Sink, mut output: mpsc::Receiver<ExecOutput>, request: &Request) -> Result<(), Error> {
    let (options, form) = (&request.options, request.form);
    // Kubernetes' server opens with an empty message; some clients wait for it.
    let first = if options.stdout {
        STDOUT
    } else if options.stderr {
        STDERR
    } else {
        ERROR
    };
    sink.send(message(first, b"", form)).await?;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    loop {
        let mut next = tokio::select! {
            piece = output.recv() => piece,
            _ = heartbeat.tick() => {
                sink.send(Message::Pong(Bytes::new())).await?;
                continue;
            }
        };
        if next.is_none() {
            return Ok(());
        }
        while let Some(piece) = next {
            let (channel, wanted, bytes) = match &piece {
                ExecOutput::Stderr(bytes) if !options.tty => (STDERR, options.stderr, bytes),
                // A terminal has one stream.
                ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => (STDOUT, options.stdout, bytes),
            };
            if wanted {
                sink.feed(message(channel, bytes, form)).await?;
            }
            next = output.try_recv().ok();
        }
        sink.flush().await?;
    }
}

/// Takes input until the client goes away. Whatever nobody wants (any more) is dropped.
async fn receive(
    stream: &mut SplitStream<Socket>,
    mut stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
    form: Form,
) {
    while let Some(Ok(message)) = stream.next().await {
        let bytes: Bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            _ => continue,
        };
        let Some(bytes) = (if form.text { plain(&bytes) } else { Some(bytes) }) else { continue };
        let Some((channel, data)) = bytes.split_first() else { continue };
        match *channel {
            STDIN if !data.is_empty() => {
                if let Some(input) = &stdin
                    && input.send(bytes.slice(1..)).await.is_err()
                {
                    stdin = None;
                }
            }
            RESIZE => {
                if let (Some(resize), Some(size)) = (&resize, size(data)) {
                    // Without a receiver the terminal is gone, and its size with it.
                    let _ = resize.send(size).await;
                }
            }
            CLOSE if form.closes && data == [STDIN] => stdin = None,
            _ => {}
        }
    }
}

/// A message out of the text of one; `None` where it is none.
fn plain(text: &[u8]) -> Option<Bytes> {
    let (digit, data) = text.split_first()?;
    let channel = digit.checked_sub(b'0').filter(|channel| *channel < 10)?;
    Some([vec![channel], BASE64.decode(data).ok()?].concat().into())
}

/// Columns and rows out of `{"Width":80,"Height":24}`.
fn size(data: &[u8]) -> Option<(u16, u16)> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let side = |name| size.get(name)?.as_u64()?.try_into().ok();
    Some((side("Width")?, side("Height")?))
}

fn status(request: &Request, exit: Result<i32, String>) -> Value {
    match exit {
        Err(why) => ApiError::internal(why).to_status(),
        Ok(code) if code != 0 && !request.attach => {
            let command = request.options.command.join(" ");
            let message = format!(
                "command terminated with non-zero exit code: error executing command [{command}], exit code {code}"
            );
            json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            })
        }
        Ok(_) => json!({"metadata": {}, "status": "Success"}),
    }
}

/// Sends the outcome and the close frame, then waits for the client to close as well.
async fn finish(sink: &mut Sink, stream: &mut SplitStream<Socket>, status: &Value, form: Form) -> Result<(), Error> {
    match form.plain {
        false => sink.feed(message(ERROR, status.to_string().as_bytes(), form)).await?,
        true if status["status"] == "Success" => {}
        true => sink.feed(message(ERROR, status["message"].as_str().unwrap_or_default().as_bytes(), form)).await?,
    }
    close(sink, stream).await
}

/// Carries a log until it or its client ends.
pub async fn run_log(upgraded: Upgraded, mut pieces: BoxStream<'static, Bytes>, form: Form) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut sink, mut stream) = socket.split();
    let work = async {
        while let Some(piece) = pieces.next().await {
            let message = if form.text { Message::Text(BASE64.encode(&piece).into()) } else { Message::Binary(piece) };
            sink.send(message).await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = work => ended,
        // Nothing is expected of it but its end.
        () = async { while let Some(Ok(_)) = stream.next().await {} } => return,
    };
    let ended: Result<(), Error> = match ended {
        Ok(()) => close(&mut sink, &mut stream).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client left its log");
    }
}

async fn close(sink: &mut Sink, stream: &mut SplitStream<Socket>) -> Result<(), Error> {
    sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await?;
    let _ = tokio::time::timeout(LINGER, async { while let Some(Ok(_)) = stream.next().await {} }).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_messages_in_base64() {
        let form = Form { text: true, ..Form::default() };
        assert_eq!(message(STDOUT, b"hi", form), Message::Text("1aGk=".into()));
        assert_eq!(plain(b"0aGk=").as_deref(), Some(&b"\0hi"[..]));
        for wrong in ["", "x", "0a", "/aGk="] {
            assert_eq!(plain(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(size(br#"{"Width":80,"Height":24}"#), Some((80, 24)));
        assert_eq!(size(br#"{"Width":80000,"Height":24}"#), None);
        assert_eq!(size(b"x"), None);
    }
}
