//! `pods/x/log`: parameters to options, the kubelet's lines to a response.

use super::super::body::Body;
use super::super::respond;
use super::super::verbs::Ask;
use super::session;
use super::websocket::{self, Handshake};
use crate::api::error::{ApiError, FieldError, Target};
use crate::apiserver::{LogOptions, LogStream};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::io;

const ALL: &str = "All";
/// How many lines that are there already go out together.
const BATCH: usize = 512;

impl Ask<'_> {
    pub(in super::super) async fn log(&self) -> Result<Response<Body>, ApiError> {
        let mut options = self.log_options()?;
        let pod = self.pod()?;
        options.container = super::container(&pod, self.query.get("container"))?;
        let Some(node) = super::node(&pod) else {
            // Nothing has been written where nothing runs.
            let mut response = respond::build(StatusCode::NO_CONTENT, "text/plain", Body::empty());
            response.headers_mut().remove(CONTENT_TYPE);
            return Ok(response);
        };
        let upgrade = websocket::wants_websocket(&self.parts.headers);
        let handshake = upgrade.then(|| Handshake::read(self.parts, "log", &websocket::LOG_PROTOCOLS)).transpose()?;
        let lines = self.server.streams.logs(node, &pod, options).await?;
        if let Some(handshake) = handshake {
            let (response, form) = (handshake.response(), handshake.form());
            tokio::spawn(async move {
                match handshake.upgrade.await {
                    Ok(upgraded) => session::run_log(upgraded, joined(lines), form).await,
                    Err(error) => tracing::debug!(%error, "a client left before its log began"),
                }
            });
            return Ok(response);
        }
        Ok(respond::build(StatusCode::OK, "text/plain", Body::Stream(joined(lines))))
    }

    /// The log of a container as the kubelet of its node serves it.
    pub(in super::super) async fn log_of(
        &self,
        node: &str,
        pod: &Value,
        container: &str,
    ) -> Result<Response<Body>, ApiError> {
        let mut options = self.log_options()?;
        options.container = super::container(pod, Some(container))?;
        let lines = self.server.streams.logs(node, pod, options).await?;
        Ok(respond::build(StatusCode::OK, "text/plain", Body::Stream(joined(lines))))
    }

    /// Everything but the container.
    fn log_options(&self) -> Result<LogOptions, ApiError> {
        let number = |name| self.query.number(name);
        let (tail, limit, seconds) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
        let time = self.query.get("sinceTime").map(instant).transpose()?;
        // No parameter of Kubernetes': whoever follows a container over its restarts asks for each life by its number.
        let restart = number("restartCount")?.map(restart).transpose()?;
        let (all, stream) = match self.query.get("stream") {
            None | Some(ALL) => (true, None),
            Some("Stdout") => (false, Some(LogStream::Stdout)),
            Some("Stderr") => (false, Some(LogStream::Stderr)),
            Some(_) => (false, None),
        };
        let mut errors = Vec::new();
        let mut at_least = |field, value: Option<i64>, least, why| {
            if let Some(value) = value.filter(|value| *value < least) {
                errors.push(FieldError::invalid(field, &json!(value), why));
            }
        };
        at_least("tailLines", tail, 0, "must be greater than or equal to 0");
        at_least("limitBytes", limit, 1, "must be greater than 0");
        if seconds.is_none() || time.is_none() {
            at_least("sinceSeconds", seconds, 1, "must be greater than 0");
        } else {
            errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        if !all && stream.is_none() {
            let value = json!(self.query.get("stream"));
            errors.push(FieldError::not_supported("stream", &value, &[ALL, "Stderr", "Stdout"]));
        }
        if !all && tail.is_some() {
            let why = "`tailLines` and specific `stream` are mutually exclusive for now";
            errors.push(FieldError::forbidden("", why));
        }
        if !errors.is_empty() {
            let target = Target { group: "", resource: "pods", kind: "PodLogOptions" };
            return Err(ApiError::invalid(target, self.path.name, &errors));
        }
        let ago = |seconds| self.server.clock.now().checked_sub(SignedDuration::from_secs(seconds));
        Ok(LogOptions {
            container: String::new(),
            follow: self.query.flag("follow"),
            previous: self.query.flag("previous"),
            restart,
            stream,
            // Further back than time itself is all of it.
            since: time.or_else(|| seconds.and_then(|seconds| ago(seconds).ok())),
            tail_lines: tail.map(i64::unsigned_abs),
            timestamps: self.query.flag("timestamps"),
            limit_bytes: limit.map(i64::unsigned_abs),
        })
    }
}

fn restart(count: i64) -> Result<u32, ApiError> {
    let wrong = |_| ApiError::bad_request(format!("restartCount must not be negative, and is {count}"));
    u32::try_from(count).map_err(wrong)
}

fn instant(text: &str) -> Result<Timestamp, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": sinceTime must be an RFC 3339 time"
        ))
    })
}

/// Lines that are there already, in few pieces. A log that breaks off says so in its last line: the
/// response has begun, and its end alone would look like the log's.
fn joined(lines: BoxStream<'static, io::Result<Bytes>>) -> BoxStream<'static, Bytes> {
    let texts = lines.map(|line| line.unwrap_or_else(|error| format!("the log breaks off: {error}\n").into()));
    let one = |mut pieces: Vec<Bytes>| if pieces.len() == 1 { pieces.remove(0) } else { pieces.concat().into() };
    texts.ready_chunks(BATCH).map(one).boxed()
}
