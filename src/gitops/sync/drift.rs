//! Notices that applied objects are changed by others, or are not ready any more.
//!
//! One watch for each kind in any inventory, on objects with the Application label. An event only
//! bells the Application's task, which asks the API server what differs; a timer makes up for events
//! that a broken watch missed.

use super::bell::Bells;
use super::stages::RUN;
use super::stream::keep_watching;
use super::wait::path;
use crate::api::changeset::ObjectId;
use crate::gitops::application::LABEL;
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::diff::without_noise;
use crate::gitops::readiness::{Health, Readiness};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

pub(super) struct DriftWatch {
    client: kube::Client,
    kinds: Arc<dyn Kinds>,
    bells: Bells,
    watches: Mutex<HashMap<(String, String), AbortOnDropHandle<()>>>,
}

impl DriftWatch {
    pub fn new(client: kube::Client, kinds: Arc<dyn Kinds>, bells: Bells) -> Self {
        Self { client, kinds, bells, watches: Mutex::default() }
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
            let (mut seen, bells) = (Seen::default(), self.bells.clone());
            let watch = keep_watching(self.client.clone(), path, move |event| seen.tell(event, &bells));
            watches.insert(key, AbortOnDropHandle::new(tokio::spawn(watch)));
        }
    }
}

/// What an event means for an Application.
#[derive(Debug, PartialEq)]
struct Notice {
    application: String,
    /// The object differs in more than status, or is gone.
    changed: bool,
    /// The object, if it is not ready and was not known to be so.
    unready: Option<ObjectId>,
    /// It is ready, progresses or failed otherwise than before.
    moved: bool,
}

/// What each object looked like last, by uid: a digest, and how far it was.
#[derive(Default)]
struct Seen(HashMap<String, (u64, Readiness)>);

impl Seen {
    /// Rings where something is new.
    fn tell(&mut self, event: &Value, bells: &Bells) {
        let bell_of = |application: &str| bells.lock().get(application).cloned();
        let health = |application: &str| bell_of(application).map(|bell| bell.health()).unwrap_or_default();
        let Some(notice) = self.event(event, health) else { return };
        let Some(bell) = bell_of(&notice.application) else { return };
        if notice.changed {
            bell.look.ring();
        }
        if let Some(object) = notice.unready {
            bell.ring_unready(object);
        }
        if notice.moved {
            bell.moved.ring();
        }
    }

    /// What is new, if anything is. `health`: what an Application's objects are judged by.
    fn event(&mut self, event: &Value, health: impl FnOnce(&str) -> Health) -> Option<Notice> {
        let object = event.get("object")?;
        let uid = object.pointer("/metadata/uid")?.as_str()?;
        let application = object.pointer("/metadata/labels")?.get(LABEL)?.as_str()?.to_owned();
        // A hook is run, and not kept as it is: what matters is how far it is, and whether it is there.
        let is_kept = object.pointer("/metadata/annotations").is_none_or(|all| all.get(RUN).is_none());
        match event.get("type")?.as_str()? {
            "DELETED" => {
                self.0.remove(uid);
                Some(Notice { application, changed: true, unready: None, moved: true })
            }
            "ADDED" | "MODIFIED" => {
                let mut hasher = DefaultHasher::new();
                without_noise(object).to_string().hash(&mut hasher);
                let (digest, now) = (hasher.finish(), health(&application).of(object));
                let before = self.0.insert(uid.to_owned(), (digest, now.clone()));
                let before = before.as_ref();
                let moved = before.is_none_or(|(_, before)| *before != now);
                let changed = is_kept && before.is_none_or(|(before, _)| *before != digest);
                let fell = now != Readiness::Ready && before.is_none_or(|(_, before)| *before == Readiness::Ready);
                let unready = (is_kept && fell).then(|| id_of(object));
                (changed || moved).then_some(Notice { application, changed, unready, moved })
            }
            _ => None,
        }
    }
}

fn id_of(object: &Value) -> ObjectId {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectId {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn only_meaningful_changes_wake() {
        let mut seen = Seen::default();
        let mut event = |kind: &str, wanted: u64, available: u64| {
            let event = json!({"type": kind, "object": {
                "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": wanted},
                "metadata": {"name": "web", "uid": "u", "resourceVersion": available.to_string(),
                    "labels": {LABEL: "shop"}},
                "status": {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": available}}});
            let notice = seen.event(&event, |_| Health::default())?;
            assert_eq!(notice.application, "shop");
            Some((notice.changed, notice.unready.map(|id| id.name), notice.moved))
        };
        assert_eq!(event("ADDED", 1, 1), Some((true, None, true)));
        assert_eq!(event("MODIFIED", 1, 2), None);
        assert_eq!(event("MODIFIED", 1, 0), Some((false, Some("web".to_owned()), true)));
        assert_eq!(event("MODIFIED", 1, 0), None, "that is known");
        assert_eq!(event("MODIFIED", 1, 1), Some((false, None, true)), "whoever waits for it looks");
        assert_eq!(event("MODIFIED", 2, 1), Some((true, Some("web".to_owned()), true)));
        assert_eq!(event("DELETED", 2, 2), Some((true, None, true)));
        assert_eq!(event("BOOKMARK", 2, 2), None);
    }

    #[test]
    fn of_a_hook_only_its_readiness_counts() {
        let mut seen = Seen::default();
        let mut event = |kind: &str, status: Value| {
            let event = json!({"type": kind, "object": {
                "apiVersion": "batch/v1", "kind": "Job", "spec": {"completions": 1}, "status": status,
                "metadata": {"name": "migrate", "uid": "u", "labels": {LABEL: "shop"}, "annotations": {RUN: "1"}}}});
            seen.event(&event, |_| Health::default()).map(|notice| (notice.changed, notice.unready, notice.moved))
        };
        assert_eq!(event("ADDED", json!({})), Some((false, None, true)));
        assert_eq!(event("MODIFIED", json!({"active": 1})), None);
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        assert_eq!(event("MODIFIED", done), Some((false, None, true)));
        assert_eq!(event("DELETED", json!({})), Some((true, None, true)), "somebody may want it run again");
    }
}
