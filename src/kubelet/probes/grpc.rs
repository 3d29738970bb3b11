//! `grpc.health.v1.Health/Check` over HTTP/2 without TLS, as Kubernetes' gRPC probes call it.
//!
//! The two messages have a field each, so they are written and read by hand.

use crate::kubelet::probes::check::bracketed;
use crate::kubelet::probes::reach::{Stream, Way};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// Between attempts to connect; the next pause is longer.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest message that is read.
const LARGEST: usize = 4 << 20;
const SERVING: u64 = 1;
/// Field 1, of a length that follows.
const SERVICE: u8 = 0x0a;

/// Asks whether `service` serves. Until the time is up whoever does not answer yet is asked again.
pub async fn check(way: &Way, port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    let address = format!("{}:{port}", bracketed(&way.ip));
    let within = go_duration(timeout);
    let deadline = Instant::now() + timeout;
    let mut pause = PAUSE;
    loop {
        let greeted = Arc::new(AtomicBool::new(false));
        let asking = async {
            let stream = Greeting::of(way.connect(None, port).await?, greeted.clone());
            call(stream, &address, service, deadline).await
        };
        let outcome = timeout_at(deadline, asking).await;
        match (outcome, greeted.load(Ordering::Relaxed)) {
            (Ok(Ok(reply)), _) => return judge(&reply, &within),
            (Ok(Err(broken)), true) => return Err(refused("Unavailable", &broken)),
            (Err(_), true) => return Err(late(&within)),
            (Ok(Err(_)) | Err(_), false) => {}
        }
        let again = Instant::now() + pause;
        if again >= deadline {
            sleep_until(deadline).await;
            let why = "context deadline exceeded";
            return Err(format!("timeout: failed to connect service {address:?} within {within}: {why}"));
        }
        sleep_until(again).await;
        pause = pause.mul_f32(1.6);
    }
}

/// What came back of a call.
#[derive(Debug, Default)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    data: Vec<u8>,
    /// `None` when the stream just ended. An answer that is nothing but headers has them there.
    trailers: Option<HeaderMap>,
}

async fn call(stream: Greeting, address: &str, service: &str, deadline: Instant) -> Result<Reply, String> {
    let words = |error: hyper::Error| match std::error::Error::source(&error) {
        Some(cause) => format!("error reading from server: {cause}"),
        None => format!("error reading from server: {error}"),
    };
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(words)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, "kube-probe/1.36")
        .header(header::TE, "trailers")
        .header("grpc-timeout", format!("{left}m"))
        .body(Full::new(framed(&question(service))))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(words)?;
    let (head, mut body) = answer.into_parts();
    let mut reply = Reply { status: head.status, headers: head.headers, ..Reply::default() };
    while let Some(frame) = body.frame().await {
        match frame.map_err(words)?.into_data() {
            Ok(data) if reply.data.len() + data.len() <= LARGEST => reply.data.extend(data),
            Ok(_) => return Err(format!("received message larger than max ({LARGEST})")),
            Err(frame) => reply.trailers = frame.into_trailers().ok(),
        }
    }
    if reply.headers.contains_key("grpc-status") {
        reply.trailers = Some(reply.headers.clone());
    }
    Ok(reply)
}

/// Whether that reply says that the service serves.
fn judge(reply: &Reply, within: &str) -> Result<(), String> {
    let (code, message) = outcome(reply);
    match code.as_str() {
        "OK" => {}
        "Unimplemented" => {
            let what = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)";
            return Err(format!("{what}: {message}"));
        }
        "DeadlineExceeded" => return Err(late(within)),
        code => return Err(refused(code, &message)),
    }
    let status = match unframed(&reply.data) {
        Ok(message) => answered(message).ok_or("grpc: failed to unmarshal the received message"),
        Err(why) => Err(why),
    };
    match status.map_err(|why| refused("Internal", why))? {
        SERVING => Ok(()),
        other => Err(format!("service unhealthy (responded with {:?})", named(other))),
    }
}

/// The code of a call and the words that came with it; of what is no gRPC, those that gRPC's clients
/// have for its HTTP status.
fn outcome(reply: &Reply) -> (String, String) {
    let kind = reply.headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let is_grpc = |kind: &str| {
        kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
    };
    if !kind.as_deref().is_some_and(is_grpc) {
        let code = match reply.status.as_u16() {
            400 => "Internal",
            401 => "Unauthenticated",
            403 => "PermissionDenied",
            404 => "Unimplemented",
            429 | 502..=504 => "Unavailable",
            _ => "Unknown",
        };
        let (number, name) = (reply.status.as_u16(), reply.status.canonical_reason().unwrap_or_default());
        let kind = match kind {
            Some(kind) => format!("transport: received unexpected content-type {kind:?}"),
            None => "malformed header: missing HTTP content-type".to_owned(),
        };
        return (code.into(), format!("unexpected HTTP status code received from server: {number} ({name}); {kind}"));
    }
    let Some(trailers) = &reply.trailers else {
        return ("Internal".into(), "server closed the stream without sending trailers".into());
    };
    let text = |name: &str| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let code = match text("grpc-status").map(|code| code.parse::<u32>()) {
        Some(Ok(code)) => code_name(code),
        Some(Err(why)) => return ("Unknown".into(), format!("transport: malformed grpc-status: {why}")),
        None => "Unknown".into(),
    };
    (code, percent_decoded(&text("grpc-message").unwrap_or_default()))
}

fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

fn refused(code: &str, message: &str) -> String {
    format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}")
}

fn late(within: &str) -> String {
    format!("timeout: health rpc did not complete within {within}")
}

fn named(status: u64) -> String {
    match status {
        0 => "UNKNOWN".into(),
        SERVING => "SERVING".into(),
        2 => "NOT_SERVING".into(),
        3 => "SERVICE_UNKNOWN".into(),
        other => other.to_string(),
    }
}

/// As Go writes durations, for whole seconds.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let escaped = hex.filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// HealthCheckRequest: `string service = 1`, which is left out when empty.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(service.as_bytes());
    }
    message
}

/// HealthCheckResponse: `ServingStatus status = 1`, 0 when left out. Other fields are skipped.
fn answered(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let skipped = match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A message on its way: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

fn unframed(data: &[u8]) -> Result<&[u8], &'static str> {
    let Some((head, message)) = data.split_first_chunk::<5>() else {
        return Err("cardinality violation: received no response message from non-server-streaming RPC");
    };
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err("grpc: compressed flag set with identity or empty encoding");
    }
    match usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).cmp(&message.len()) {
        std::cmp::Ordering::Equal => Ok(message),
        std::cmp::Ordering::Greater => Err("unexpected EOF"),
        std::cmp::Ordering::Less => {
            Err("cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message")
        }
    }
}

/// A connection that notices when the other side has spoken HTTP/2: its first frame are its settings.
struct Greeting {
    stream: Box<dyn Stream>,
    head: Vec<u8>,
    greeted: Arc<AtomicBool>,
}

/// Of a frame: three bytes for its length, its type, its flags, four for its stream.
const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;

impl Greeting {
    fn of(stream: Box<dyn Stream>, greeted: Arc<AtomicBool>) -> Self {
        Self { stream, head: Vec::with_capacity(FRAME_HEAD), greeted }
    }
}

impl AsyncRead for Greeting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let known = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let missing = FRAME_HEAD - self.head.len();
        if missing > 0 {
            self.head.extend(buf.filled()[known..].iter().take(missing));
            if self.head.len() == FRAME_HEAD && self.head[3] == SETTINGS && self.head[5..] == [0; 4] {
                self.greeted.store(true, Ordering::Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
