//! What reaches a pod's worker between two looks: which containers changed, probe results, objects.

use crate::base::wake::Wake;
use crate::kubelet::probes::Report;
use crate::kubelet::runtime::Listing;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// News since the last look.
#[derive(Default)]
pub struct News {
    /// Containers to inspect again, by id.
    pub stale: BTreeSet<String>,
    /// The sandbox changed, or events were lost: list the pod again.
    pub relist: bool,
    /// A fresh listing of the pod, which saves one.
    pub listing: Option<Listing>,
    pub probes: Vec<Report>,
    /// A ConfigMap or Secret the pod refers to changed.
    pub objects: bool,
}

/// One worker reads; anyone writes.
#[derive(Default)]
pub struct Inbox {
    wake: Wake,
    news: Mutex<News>,
}

impl Inbox {
    pub fn post(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock());
        self.wake.ring();
    }

    /// Keeps what could not be dealt with for the next look, without causing one: that would be a loop
    /// as fast as a dead host refuses.
    pub fn keep(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock());
    }

    pub fn take(&self) -> News {
        std::mem::take(&mut self.news.lock())
    }

    /// Something outside changed that is read from elsewhere (the informer).
    pub fn ring(&self) {
        self.wake.ring();
    }

    pub async fn wait(&self) {
        self.wake.wait().await;
    }
}
