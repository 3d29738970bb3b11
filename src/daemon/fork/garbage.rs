//! When a copy first has something for the garbage collector to do. To start, that lists every object of every
//! kind; most plans are over before anything goes that others belong to.

use crate::api::meta::Envelope;
use crate::store::memory::Memory;
use crate::store::{Event, Record};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// Finalizers that the collector takes off.
const ITS: [&str; 2] = ["foregroundDeletion", "orphan"];

/// Tells when there is garbage.
#[derive(Clone, Default)]
pub struct Garbage(Arc<Notify>);

/// Who is there, and who was ever said to be an owner.
#[derive(Default)]
struct Family {
    /// Namespaces by uid.
    alive: HashMap<String, String>,
    owners: HashSet<String>,
}

impl Garbage {
    /// Watches `store`, a copy that holds `records`.
    pub fn watch(store: &Memory, records: &[Arc<Record>]) -> Self {
        let garbage = Self::default();
        let mut family = Family::default();
        let envelopes = || records.iter().map(|record| &*record.envelope);
        envelopes().for_each(|envelope| family.add(envelope));
        if envelopes().any(|envelope| family.has_work_for(envelope)) {
            garbage.0.notify_one();
            return garbage;
        }
        let (family, told) = (Mutex::new(family), garbage.0.clone());
        store.observe(Box::new(move |event| {
            if family.lock().is_moved_by(event) {
                told.notify_one();
            }
        }));
        garbage
    }

    /// Returns once there is some. For one who waits.
    pub async fn appears(self) {
        self.0.notified().await;
    }
}

impl Family {
    fn add(&mut self, envelope: &Envelope) {
        self.alive.insert(envelope.uid.clone(), envelope.namespace.clone());
        self.owners.extend(envelope.owner_references.iter().map(|owner| owner.uid.clone()));
    }

    /// Whether the object waits for the collector, or belongs to what is not there.
    fn has_work_for(&self, envelope: &Envelope) -> bool {
        let is_there = |uid: &str| {
            let home = self.alive.get(uid);
            home.is_some_and(|home| home.is_empty() || *home == envelope.namespace)
        };
        let held = || envelope.finalizers.iter().any(|finalizer| ITS.contains(&finalizer.as_str()));
        envelope.deletion_timestamp.is_some() && (held() || self.owners.contains(&envelope.uid))
            || envelope.owner_references.iter().any(|owner| !is_there(&owner.uid))
    }

    fn is_moved_by(&mut self, event: &Event) -> bool {
        let envelope = &event.record.envelope;
        if event.deleted {
            self.alive.remove(&envelope.uid);
            return self.owners.contains(&envelope.uid);
        }
        let before = event.previous.as_ref().map(|before| &before.envelope);
        if before
            .is_none_or(|before| before.uid != envelope.uid || before.owner_references != envelope.owner_references)
        {
            self.add(envelope);
        }
        // Deleted and made again in one step.
        let gone = before.filter(|before| before.uid != envelope.uid).map(|before| &before.uid);
        gone.is_some_and(|uid| self.alive.remove(uid).is_some() && self.owners.contains(uid))
            || self.has_work_for(envelope)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::meta::OwnerReference;
    use crate::store::{Store, Txn, Write};
    use futures::FutureExt;

    fn envelope(uid: &str, owners: &[&str]) -> Envelope {
        let reference = |uid: &&str| OwnerReference { uid: (*uid).into(), ..OwnerReference::default() };
        let owner_references = Arc::new(owners.iter().map(reference).collect());
        Envelope { name: uid.into(), namespace: "ns".into(), uid: uid.into(), owner_references, ..Envelope::default() }
    }

    fn record(envelope: Envelope) -> Arc<Record> {
        let key = format!("/things/ns/{}", envelope.name).into();
        Arc::new(Record { key, value: "{}".into(), created: 1, modified: 1, envelope: Arc::new(envelope) })
    }

    fn put(envelope: Envelope) -> Write {
        let key = format!("/things/ns/{}", envelope.name).into();
        Write::Put { key, value: "{}".into(), splice: None, envelope: Arc::new(envelope) }
    }

    fn delete(name: &str) -> Write {
        Write::Delete { key: format!("/things/ns/{name}").into(), last: None }
    }

    /// Whether there is garbage after each of these writes, in a cluster of a set, its pod and another pod.
    fn after(writes: Vec<Write>) -> Vec<bool> {
        let records = [envelope("set", &[]), envelope("pod", &["set"]), envelope("other", &[])].map(record);
        let store = Memory::from_snapshot(1, records.to_vec());
        let garbage = Garbage::watch(&store, &records);
        let each = writes.into_iter().map(|write| {
            store.commit(Txn { preconditions: Vec::new(), writes: vec![write] }).now_or_never().unwrap().unwrap();
            garbage.clone().appears().now_or_never().is_some()
        });
        each.collect()
    }

    #[test]
    fn there_is_some_when_an_owner_goes() {
        assert_eq!(after(vec![delete("other"), delete("pod"), delete("set")]), [false, false, true]);
        assert_eq!(after(vec![put(envelope("new", &["other"])), delete("other")]), [false, true]);
        assert_eq!(after(vec![put(Envelope { name: "set".into(), ..envelope("again", &[]) })]), [true]);
        let leaving = |uid: &str| Envelope { deletion_timestamp: Some("now".into()), ..envelope(uid, &[]) };
        assert_eq!(after(vec![put(leaving("other")), put(leaving("set"))]), [false, true]);
    }

    #[test]
    fn there_is_some_when_something_belongs_to_nobody_or_waits_for_the_collector() {
        assert_eq!(after(vec![put(envelope("new", &["set"])), put(envelope("stray", &["nobody"]))]), [false, true]);
        let elsewhere = Envelope { namespace: "away".into(), ..envelope("new", &["set"]) };
        assert_eq!(after(vec![put(elsewhere)]), [true]);
        let waiting = Envelope {
            deletion_timestamp: Some("now".into()),
            finalizers: vec!["foregroundDeletion".into()],
            ..envelope("other", &[])
        };
        assert_eq!(after(vec![put(waiting)]), [true]);
        let owned = [record(envelope("pod", &["gone"]))];
        let garbage = Garbage::watch(&Memory::from_snapshot(1, owned.to_vec()), &owned);
        assert!(garbage.appears().now_or_never().is_some());
    }
}
