//! Notices that applied objects are changed by others.
//!
//! One watch for each kind in any inventory, on objects with the Application label. An event only
//! wakes the Application's task, which asks the API server what differs; a timer makes up for events
//! that a broken watch missed.

use super::wait::path;
use crate::api::changeset::ObjectId;
use crate::base::backoff::Backoff;
use crate::base::wake::Wake;
use crate::client::raw;
use crate::gitops::application::LABEL;
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::diff::without_noise;
use bytes::BytesMut;
use http::Method;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

const RETRY: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(30) };

type Wakes = Arc<Mutex<HashMap<String, Wake>>>;

pub(super) struct DriftWatch {
    client: kube::Client,
    kinds: Arc<dyn Kinds>,
    wakes: Wakes,
    watches: Mutex<HashMap<(String, String), AbortOnDropHandle<()>>>,
}

impl DriftWatch {
    pub fn new(client: kube::Client, kinds: Arc<dyn Kinds>, wakes: Wakes) -> Self {
        Self { client, kinds, wakes, watches: Mutex::default() }
    }

    /// Watches the kinds of these objects, if they are not watched yet.
    pub fn cover(&self, inventory: &[ObjectId]) {
        let mut watches = self.watches.lock();
        for id in inventory {
            let key = (id.api_version.clone(), id.kind.clone());
            if watches.contains_key(&key) {
                continue;
            }
            let Some(plural) = self.kinds.plural(&id.api_version, &id.kind) else { continue };
            let path = format!(
                "{}?watch=true&labelSelector={}",
                path(&id.api_version, &plural, "", ""),
                LABEL.replace('/', "%2F")
            );
            let task = tokio::spawn(watch(self.client.clone(), path, self.wakes.clone()));
            watches.insert(key, AbortOnDropHandle::new(task));
        }
    }
}

/// Watches one kind for ever.
async fn watch(client: kube::Client, path: String, wakes: Wakes) {
    let mut seen = Seen::default();
    let mut failures = 0;
    loop {
        match stream(&client, &path, &mut seen, &wakes).await {
            // Servers end watches from time to time.
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, path, "watch for drift failed");
            }
        }
        tokio::time::sleep(RETRY.after(failures).max(RETRY.base)).await;
    }
}

async fn stream(client: &kube::Client, path: &str, seen: &mut Seen, wakes: &Wakes) -> Result<(), kube::Error> {
    let mut body = raw::open(client, Method::GET, path, None).await?.into_body();
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(application) = seen.event(&event)
                && let Some(wake) = wakes.lock().get(&application)
            {
                wake.ring();
            }
        }
    }
    Ok(())
}

/// What each object looked like last, by uid.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    /// The Application to wake: the object differs in more than status, or is gone.
    fn event(&mut self, event: &Value) -> Option<String> {
        let object = event.get("object")?;
        let uid = object.pointer("/metadata/uid")?.as_str()?;
        let application = object.pointer("/metadata/labels")?.get(LABEL)?.as_str()?.to_owned();
        match event.get("type")?.as_str()? {
            "DELETED" => {
                self.0.remove(uid);
                Some(application)
            }
            "ADDED" | "MODIFIED" => {
                let mut hasher = DefaultHasher::new();
                without_noise(object).to_string().hash(&mut hasher);
                let digest = hasher.finish();
                (self.0.insert(uid.to_owned(), digest) != Some(digest)).then_some(application)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_meaningful_changes_wake() {
        let mut seen = Seen::default();
        let mut event = |kind: &str, replicas: u64, status: u64| {
            seen.event(&json!({"type": kind, "object": {
                "metadata": {"uid": "u", "resourceVersion": status.to_string(), "labels": {LABEL: "shop"}},
                "spec": {"replicas": replicas}, "status": {"replicas": status}}}))
        };
        let shop = Some("shop".to_owned());
        assert_eq!(event("ADDED", 1, 1), shop);
        assert_eq!(event("MODIFIED", 1, 2), None);
        assert_eq!(event("MODIFIED", 2, 2), shop);
        assert_eq!(event("DELETED", 2, 2), shop);
        assert_eq!(event("BOOKMARK", 2, 2), None);
    }
}
