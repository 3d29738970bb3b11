//! Who looks after which pod of a host: its worker, or nobody while it is at rest.
//!
//! Where a host is simulated there may be hundreds of thousands of pods with nothing to be done about them, and a
//! worker takes more memory than all else that is known of such a pod. So workers of pods at rest end there, and begin
//! anew, as after a restart of the daemon, with whatever happens to the pod.

use crate::kubelet::inbox::{Inbox, News};
use crate::kubelet::pod::all_statuses;
use crate::kubelet::runtime::Listing;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// By pod uid.
#[derive(Default)]
pub struct Workers(Mutex<All>);

#[derive(Default)]
struct All {
    at_work: HashMap<String, Arc<Inbox>>,
    /// As they were last seen.
    at_rest: HashMap<String, Arc<Pod>>,
}

impl Workers {
    /// Gives the news to the pod's worker. Returns whether there is one: whoever ends leaves no news unread.
    pub fn post(&self, uid: &str, change: impl FnOnce(&mut News)) -> bool {
        let all = self.0.lock();
        all.at_work.get(uid).map(|inbox| inbox.post(change)).is_some()
    }

    /// The inbox of a worker that is to begin, or `None` if there is one, which gets the news.
    pub fn begin(&self, uid: &str, news: impl FnOnce(&mut News)) -> Option<Arc<Inbox>> {
        let mut all = self.0.lock();
        if let Some(inbox) = all.at_work.get(uid) {
            inbox.post(news);
            return None;
        }
        all.at_rest.remove(uid);
        let inbox = Arc::new(Inbox::default());
        all.at_work.insert(uid.to_owned(), inbox.clone());
        Some(inbox)
    }

    /// The worker has ended with its pod.
    pub fn end(&self, uid: &str) {
        self.0.lock().at_work.remove(uid);
    }

    /// The worker ends, and its pod stays. Returns whether it may: not with news that it has not read.
    pub fn rest(&self, uid: &str, pod: Arc<Pod>) -> bool {
        let mut all = self.0.lock();
        let quiet = all.at_work.get(uid).is_none_or(|inbox| inbox.is_quiet());
        if quiet {
            all.at_work.remove(uid);
            all.at_rest.insert(uid.to_owned(), pod);
        }
        quiet
    }

    /// Whether the pod is this host's business, looked after or at rest.
    pub fn know(&self, uid: &str) -> bool {
        let all = self.0.lock();
        all.at_work.contains_key(uid) || all.at_rest.contains_key(uid)
    }

    /// The pod at rest.
    pub fn resting(&self, uid: &str) -> Option<Arc<Pod>> {
        self.0.lock().at_rest.get(uid).cloned()
    }

    /// Pods at rest of that name but with another uid than the one that has it now: they are gone from the API.
    pub fn outlived(&self, (namespace, name): (&str, &str), now: Option<&str>) -> Vec<Arc<Pod>> {
        let all = self.0.lock();
        let named = |pod: &&Arc<Pod>| {
            let meta = &pod.metadata;
            meta.name.as_deref() == Some(name) && meta.namespace.as_deref() == Some(namespace)
        };
        all.at_rest.values().filter(named).filter(|pod| pod.metadata.uid.as_deref() != now).cloned().collect()
    }
}

/// Whether what is on the host is what the pod's status says: a listing that shows it is no news.
pub fn is_as_reported(pod: &Pod, listing: &Listing) -> bool {
    let reported: BTreeSet<&str> = all_statuses(pod)
        .filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
        .filter_map(|status| status.container_id.as_deref()?.strip_prefix("podman://"))
        .collect();
    let runs: BTreeSet<&str> =
        listing.containers.iter().filter(|life| life.state.is_running()).map(|life| life.id.as_str()).collect();
    let held = runs.is_empty() || listing.sandboxes.iter().any(|sandbox| sandbox.ready);
    reported == runs && held
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod(uid: &str) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"uid": uid, "namespace": "a", "name": "p"}})).unwrap())
    }

    #[test]
    fn no_worker_ends_with_news_unread() {
        let workers = Workers::default();
        let inbox = workers.begin("u", |_| {}).unwrap();
        assert!(workers.begin("u", |news| news.relist = true).is_none(), "there is one");
        assert!(!workers.rest("u", pod("u")), "it has news");
        assert!(inbox.take().relist);
        assert!(workers.rest("u", pod("u")), "the bell was heard with the news");
        assert!(workers.know("u") && !workers.post("u", |_| {}) && workers.resting("u").is_some());
        assert!(workers.begin("u", |_| {}).is_some());
        assert!(workers.resting("u").is_none() && workers.post("u", |_| {}));
        workers.end("u");
        assert!(!workers.know("u"));
    }

    #[test]
    fn a_ring_alone_keeps_a_worker() {
        let workers = Workers::default();
        let inbox = workers.begin("u", |_| {}).unwrap();
        inbox.ring();
        assert!(!workers.rest("u", pod("u")));
        assert!(workers.rest("u", pod("u")));
    }

    #[test]
    fn who_has_lost_its_name_is_found() {
        let workers = Workers::default();
        for uid in ["old", "other"] {
            workers.begin(uid, |_| {}).unwrap();
            assert!(workers.rest(uid, pod(uid)));
        }
        let uids = |now| {
            let mut uids: Vec<_> =
                workers.outlived(("a", "p"), now).iter().map(|pod| pod.metadata.uid.clone().unwrap()).collect();
            uids.sort();
            uids
        };
        assert_eq!(uids(None), ["old", "other"]);
        assert_eq!(uids(Some("other")), ["old"]);
        assert!(workers.outlived(("a", "q"), None).is_empty() && workers.outlived(("b", "p"), None).is_empty());
    }
}
