//! A watch as bytes: one line of JSON an event, in the form the client asked for.

use super::body::Body;
use super::forms::{self, Form};
use super::respond;
use crate::api::error::ApiError;
use crate::api::registry::Resource;
use crate::apiserver::resources::watch::{WatchEvent, Watcher};
use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// Turns events into lines. Plain JSON takes the stored bytes as they are.
struct Lines {
    resource: Arc<Resource>,
    form: Form,
    /// Column definitions travel with the first table only.
    first: bool,
}

/// The response of a watch; it ends when the watch does.
pub fn respond(resource: Arc<Resource>, form: Form, watcher: Watcher) -> Response<Body> {
    let lines = Lines { resource, form, first: true };
    let stream = futures::stream::unfold((watcher, lines), |(mut watcher, mut lines)| async move {
        let events = watcher.next().await?;
        let mut out = BytesMut::with_capacity(events.iter().map(size).sum());
        for event in &events {
            lines.write(&mut out, event);
        }
        Some((out.freeze(), (watcher, lines)))
    });
    respond::build(StatusCode::OK, "application/json", Body::Stream(Box::pin(stream)))
}

fn size(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Added(record) | WatchEvent::Modified(record) | WatchEvent::Deleted(record, _) => {
            record.value.len() + 64
        }
        WatchEvent::Bookmark { .. } | WatchEvent::Error(_) => 256,
    }
}

impl Lines {
    fn write(&mut self, out: &mut BytesMut, event: &WatchEvent) {
        let (kind, object) = match event {
            WatchEvent::Added(record) => ("ADDED", self.object(&record.value.bytes())),
            WatchEvent::Modified(record) => ("MODIFIED", self.object(&record.value.bytes())),
            WatchEvent::Deleted(record, revision) if record.modified == *revision => {
                ("DELETED", self.object(&record.value.bytes()))
            }
            WatchEvent::Deleted(record, revision) => {
                // Left the selection: the old content at the new revision.
                let mut object: Value = serde_json::from_slice(&record.value.bytes()).unwrap_or_default();
                object["metadata"]["resourceVersion"] = revision.to_string().into();
                ("DELETED", self.object(&object.to_string().into()))
            }
            WatchEvent::Bookmark { revision, initial_end } => ("BOOKMARK", self.bookmark(*revision, *initial_end)),
            WatchEvent::Error(error) => ("ERROR", status(error)),
        };
        out.put_slice(b"{\"type\":\"");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\",\"object\":");
        out.put_slice(&object);
        out.put_slice(b"}\n");
    }

    fn object(&mut self, value: &Bytes) -> Bytes {
        let first = std::mem::replace(&mut self.first, false);
        self.form.one(&self.resource, value, first)
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let first = std::mem::replace(&mut self.first, false);
        forms::bookmark(&self.form, &self.resource, metadata, first)
    }
}

fn status(error: &ApiError) -> Bytes {
    error.to_status().to_string().into()
}
