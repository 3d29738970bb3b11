//! Keeps a cache equal to the API server's: list, watch from there, resume, and list again when the
//! server no longer knows the revision.

use super::{
    Change, Kind, ObjectKey, Shared,
    lines::{Lines, WatchEvent},
    origin::Known,
    specs::{Read, Reader},
};
use crate::base::{backoff::Backoff, ids::Ids};
use crate::client::raw;
use http::Method;
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// Objects per page of a list.
const PAGE: usize = 5000;
const RETRY: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(30) };
/// A watch that lived this long was healthy: the next failure starts the backoff anew.
const HEALTHY: Duration = Duration::from_secs(5);
/// Watches end after 5 to 10 minutes, as client-go's do, so that load spreads after a server restart.
const WATCH_SECONDS: usize = 300;

#[derive(Debug, thiserror::Error)]
enum ReflectError {
    #[error("the request failed")]
    Request(#[from] kube::Error),
    /// 410: the revision is compacted.
    #[error("the revision is too old")]
    Expired,
    #[error("the watch was ended by the server: {0}")]
    Ended(String),
    #[error("the body is not what a {0} should be")]
    Body(&'static str, #[source] serde_json::Error),
    #[error("the connection went silent")]
    Silent,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: ListMeta,
}

/// Runs until it is dropped.
pub(super) async fn run<K: Kind>(client: kube::Client, shared: Arc<Shared<K>>, ids: Ids, known: Option<Known<K>>) {
    let path = K::url_path(&(), None);
    let mut revision: Option<String> = None;
    if let Some((at, cache)) = known.as_ref().and_then(Known::whole) {
        shared.begin(at, cache);
        revision = Some(at.to_string());
    }
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let outcome = match &mut revision {
            None => list::<K>(&client, &path, &shared.reader, known.as_ref()).await.map(|(listed, objects)| {
                shared.replace(number(&listed), objects);
                revision = Some(listed);
            }),
            Some(revision) => watch(&client, &path, revision, &shared, &ids).await,
        };
        if started.elapsed() > HEALTHY {
            failures = 0;
        }
        match outcome {
            Ok(()) => continue,
            Err(ReflectError::Expired) => {
                debug!(%path, "revision is compacted, listing again");
                revision = None;
            }
            // An overloaded server keeps our position; other refusals may mean that it makes no sense there.
            Err(ReflectError::Request(kube::Error::Api(status))) => {
                warn!(%path, code = status.code, message = %status.message, "list or watch was refused");
                if status.code < 500 && status.code != 429 {
                    revision = None;
                }
            }
            Err(error) => debug!(%path, error = &error as &dyn std::error::Error, "list or watch failed"),
        }
        failures += 1;
        let pause = RETRY.after(failures);
        let jitter = pause.mul_f64(ids.below(1000) as f64 / 1000.0);
        tokio::time::sleep(pause + jitter).await;
    }
}

/// All objects and the revision they are of.
async fn list<K: Kind>(
    client: &kube::Client,
    path: &str,
    reader: &Reader,
    known: Option<&Known<K>>,
) -> Result<(String, Vec<Read<K>>), ReflectError> {
    let mut objects = Vec::new();
    let read = |item: &RawValue| {
        let found = known.and_then(|known| known.find(item.get()));
        let found = found.map(|object| Read { object, print: reader.print::<K>(item.get()) });
        found.or_else(|| fitting(path, reader.read(item.get(), |_| None)))
    };
    let mut token = String::new();
    loop {
        let mut query = format!("{path}?limit={PAGE}");
        if !token.is_empty() {
            query.push_str("&continue=");
            query.extend(percent_encode(&token));
        }
        let body = raw::request(client, Method::GET, &query, None).await.map_err(expired)?;
        let page: Page = serde_json::from_slice(&body).map_err(|source| ReflectError::Body("list", source))?;
        objects.extend(page.items.unwrap_or_default().into_iter().filter_map(read));
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => token = next,
            _ => return Ok((page.metadata.resource_version.unwrap_or_default(), objects)),
        }
    }
}

/// Follows changes from `revision`, which moves along. `Ok` when the server closed the watch in order.
async fn watch<K: Kind>(
    client: &kube::Client,
    path: &str,
    revision: &mut String,
    shared: &Shared<K>,
    ids: &Ids,
) -> Result<(), ReflectError> {
    let seconds = WATCH_SECONDS + ids.below(WATCH_SECONDS);
    let query =
        format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds={seconds}");
    let started = Instant::now();
    // The server ends the watch; if even that does not arrive, the connection is dead.
    let deadline = started + Duration::from_secs(seconds as u64 + 30);
    let mut body = raw::open(client, Method::GET, &query, None).await.map_err(expired)?.into_body();
    let mut lines = Lines::default();
    let mut events = 0usize;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = match timeout(left, body.frame()).await.map_err(|_| ReflectError::Silent)? {
            Some(frame) => frame?,
            None if events == 0 && started.elapsed() < Duration::from_secs(1) => {
                return Err(ReflectError::Ended("it closed at once".into()));
            }
            None => return Ok(()),
        };
        if let Some(data) = frame.data_ref() {
            lines.feed(data, |line| {
                events += 1;
                apply(path, line, revision, shared)
            })?;
        }
    }
}

/// Applies one line of a watch body.
fn apply<K: Kind>(path: &str, line: &[u8], revision: &mut String, shared: &Shared<K>) -> Result<(), ReflectError> {
    if line.is_empty() {
        return Ok(());
    }
    let event = WatchEvent::read(line).map_err(|source| ReflectError::Body("watch event", source))?;
    match event.what {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let known = |object: &K| {
                let key = ObjectKey::of(object);
                shared.cache.read().read(&key.namespace, &key.name)
            };
            let Some(read) = fitting::<K>(path, shared.reader.read(event.object, known)) else { return Ok(()) };
            let object = read.object.clone();
            let at = object.meta().resource_version.clone().unwrap_or_default();
            shared.apply(number(&at), |cache| match event.what {
                // The event carries the very last state, which the cache may never have seen.
                "DELETED" => cache.remove(&ObjectKey::of(&*object)).map(|_| Change::Deleted(object)),
                _ => cache.put(read),
            });
            *revision = at;
        }
        "BOOKMARK" => {
            if let Ok(Bookmark { metadata: ListMeta { resource_version: Some(at), .. } }) =
                serde_json::from_str(event.object)
            {
                shared.apply(number(&at), |_| None);
                *revision = at;
            }
        }
        "ERROR" => {
            let status: Status = serde_json::from_str(event.object).unwrap_or_default();
            return Err(match status.code {
                410 => ReflectError::Expired,
                _ => ReflectError::Ended(status.message),
            });
        }
        other => debug!(path, other, "unknown watch event"),
    }
    Ok(())
}

/// An object that does not fit its type is left out: one odd object must not blind a controller.
fn fitting<K: Kind>(path: &str, read: Result<Read<K>, serde_json::Error>) -> Option<Read<K>> {
    read.inspect_err(|error| warn!(path, %error, "an object does not fit its kind")).ok()
}

fn expired(error: kube::Error) -> ReflectError {
    match raw::code(&error) {
        Some(410) => ReflectError::Expired,
        _ => ReflectError::Request(error),
    }
}

/// Revisions are numbers in every server we know; 0 where one is not.
fn number(revision: &str) -> u64 {
    revision.parse().unwrap_or(0)
}

/// Continue tokens may hold any character.
fn percent_encode(text: &str) -> impl Iterator<Item = char> + '_ {
    text.bytes().flat_map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => vec![byte as char],
        other => format!("%{other:02X}").chars().collect(),
    })
}
