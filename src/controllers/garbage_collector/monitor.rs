//! Follows all objects of one kind by their metadata: list, then watch, and again when that ends.

use crate::client::informer::lines::{Lines, WatchEvent};
use crate::client::raw;
use crate::controllers::objects::{self, Meta, Resource};
use http::Method;
use http_body_util::BodyExt;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

/// Watches end, so that what was missed is found by a new list.
const WATCH: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(1);

/// What a monitor tells.
pub enum Told {
    /// All there is; uids that were told before and are not among them are gone.
    Listed {
        objects: Vec<Meta>,
        gone: Vec<String>,
    },
    Seen(Meta),
    /// By uid.
    Gone(String),
}

/// Runs until it is dropped. `tell` must be quick.
pub async fn run(client: kube::Client, resource: Arc<Resource>, mut tell: impl FnMut(Told)) {
    let collection = resource.collection("");
    let mut known = HashSet::new();
    loop {
        let outcome = follow(&client, &collection, &mut known, &mut tell).await;
        if let Err(error) = outcome {
            debug!(%collection, %error, "list or watch failed, starting again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn follow(
    client: &kube::Client,
    collection: &str,
    known: &mut HashSet<Box<str>>,
    tell: &mut impl FnMut(Told),
) -> Result<(), kube::Error> {
    let (mut revision, objects) = objects::list(client, collection).await?;
    let now: HashSet<Box<str>> = objects.iter().map(|meta| meta.uid.as_str().into()).collect();
    let gone = known.difference(&now).map(|uid| uid.to_string()).collect();
    *known = now;
    tell(Told::Listed { objects, gone });
    let end = Instant::now() + WATCH;
    while Instant::now() < end {
        let query = format!(
            "{collection}?watch=true&allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds={}",
            WATCH.as_secs()
        );
        let mut body = raw::open(client, Method::GET, &query, None).await?.into_body();
        let mut lines = Lines::default();
        loop {
            // The server ends the watch; if even that does not arrive, the connection is dead.
            let Ok(frame) = timeout_at(end + PAUSE, body.frame()).await else { return Ok(()) };
            let Some(frame) = frame else { break };
            let frame = frame?;
            let Some(data) = frame.data_ref() else { continue };
            lines.feed(data, |line| apply(line, &mut revision, known, tell))?;
        }
        // A watch that closes at once must not become a busy loop.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn apply(
    line: &[u8],
    revision: &mut String,
    known: &mut HashSet<Box<str>>,
    tell: &mut impl FnMut(Told),
) -> Result<(), kube::Error> {
    if line.is_empty() {
        return Ok(());
    }
    let event = WatchEvent::read(line).map_err(kube::Error::SerdeError)?;
    if event.what == "ERROR" {
        let status: kube::core::Status = serde_json::from_str(event.object).unwrap_or_default();
        return Err(kube::Error::Api(status.boxed()));
    }
    let meta = raw::metadata::<Meta>(event.object.as_bytes()).map_err(kube::Error::SerdeError)?;
    revision.clone_from(&meta.resource_version);
    match event.what {
        "ADDED" | "MODIFIED" => {
            known.insert(meta.uid.as_str().into());
            tell(Told::Seen(meta));
        }
        "DELETED" => {
            known.remove(meta.uid.as_str());
            tell(Told::Gone(meta.uid));
        }
        _ => {}
    }
    Ok(())
}
