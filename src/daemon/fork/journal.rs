//! What happened to pods, as the store saw it.

use crate::store::{Event, Revision, Store, StoreError, bucket};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Writes of one pod that count as news whatever they say: that others are not, takes reading them.
const NEWS: u32 = 12;

/// A change of a pod, and how long after the change set it came.
#[derive(Clone)]
pub struct Entry {
    pub at: Duration,
    pub event: Arc<Event>,
}

/// Filled in the background, in the order of revisions.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// By the pod's uid.
    writes: HashMap<String, u32>,
    retries: u64,
}

impl Journal {
    /// Follows the pods of `store` from after `revision` on.
    pub fn follow(store: &dyn Store, revision: Revision) -> Result<Self, StoreError> {
        let mut watch = store.watch(&bucket("", "pods"), revision)?;
        let (journal, begun) = (Self::default(), Instant::now());
        let state = journal.0.clone();
        tokio::spawn(async move {
            while let Ok(events) = watch.next().await {
                let (at, mut state) = (begun.elapsed(), state.lock());
                events.into_iter().for_each(|event| state.add(Entry { at, event }));
            }
        });
        Ok(journal)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().entries.clone()
    }

    /// Writes that said nothing but that a container waits again, for another reason than before: a host that
    /// tries in vain goes on for ever, and nothing moves all the same.
    pub fn retries(&self) -> u64 {
        self.0.lock().retries
    }
}

impl State {
    fn add(&mut self, entry: Entry) {
        let writes = self.writes.entry(entry.event.record.envelope.uid.clone()).or_default();
        *writes += 1;
        if *writes > NEWS && is_retry(&entry.event) {
            self.retries += 1;
        }
        self.entries.push(entry);
    }
}

fn is_retry(event: &Event) -> bool {
    let Some(before) = event.previous.as_ref().filter(|_| !event.deleted) else { return false };
    lasting(&before.value.bytes()) == lasting(&event.record.value.bytes())
}

/// A pod without what changes with each try: why containers wait, words and times.
fn lasting(pod: &[u8]) -> Value {
    let mut pod: Value = serde_json::from_slice(pod).unwrap_or_default();
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.retain(|field, _| field != "resourceVersion" && field != "managedFields");
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in pod["status"][list].as_array_mut().into_iter().flatten() {
            if let Some(waiting) = status["state"].get_mut("waiting") {
                *waiting = Value::Bool(true);
            }
        }
    }
    for condition in pod["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.retain(|field, _| field == "type" || field == "status");
        }
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(version: &str, reason: &str, restarts: u32) -> Vec<u8> {
        let waiting = json!({"name": "c", "restartCount": restarts, "state": {"waiting": {"reason": reason}}});
        let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": version});
        let status = json!({"containerStatuses": [waiting], "conditions": [condition]});
        json!({"metadata": {"name": "p", "resourceVersion": version}, "status": status}).to_string().into_bytes()
    }

    #[test]
    fn another_reason_to_wait_is_no_news() {
        let before = lasting(&pod("1", "CreateContainerConfigError", 0));
        assert_eq!(before, lasting(&pod("2", "ContainerCreating", 0)));
        assert_ne!(before, lasting(&pod("3", "ContainerCreating", 1)));
    }
}
