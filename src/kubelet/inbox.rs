//! What reaches a pod's worker between two looks: which containers changed, probe results, objects.

use crate::base::wake::Wake;
use crate::kubelet::pod::plan::Failure;
use crate::kubelet::probes::Report;
use crate::kubelet::runtime::Listing;
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// A moment of a host: what was asked for at a later one shows all that was known before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// Counts moments. Time itself would not do: two things may happen within its least step, or stand still
/// in a simulation.
#[derive(Default)]
pub struct Moments(AtomicU64);

impl Moments {
    /// One after all that were asked for before.
    pub fn next(&self) -> Moment {
        Moment(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// A pod in a listing.
pub struct Listed {
    pub listing: Listing,
    /// When it was asked for: what happened since may be missing from it.
    pub asked: Moment,
}

/// News since the last look.
#[derive(Default)]
pub struct News {
    /// Containers to inspect again, by id.
    pub stale: BTreeSet<String>,
    /// The sandbox changed, or events were lost: list the pod again.
    pub relist: bool,
    /// What a listing of the whole host says of the pod, which saves one.
    pub listing: Option<Listed>,
    pub probes: Vec<Report>,
    /// A ConfigMap, Secret or claim the pod refers to changed.
    pub objects: bool,
    /// Why it has to go.
    pub turned_out: Option<Failure>,
}

impl News {
    fn is_empty(&self) -> bool {
        let Self { stale, relist, listing, probes, objects, turned_out } = self;
        stale.is_empty() && !relist && listing.is_none() && probes.is_empty() && !objects && turned_out.is_none()
    }
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

    /// Whether there is nothing to look at. A ring that is pending is answered by this.
    pub fn is_quiet(&self) -> bool {
        self.wake.wait().now_or_never().is_none() && self.news.lock().is_empty()
    }
}
