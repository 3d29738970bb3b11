//! Indexes that are tried again one by one, each with a limit of its own.
//!
//! How often an index has failed is said by annotations of its newest pod. So the last pod that failed is held, by its
//! finalizer, until the one that follows it is there; both being gone, the count would begin anew.

use super::failures::{self, Meaning};
use super::{RETRY, index};
use crate::controllers::pods;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Annotations: failures of the index before this pod, those that count and those that the policy ignores.
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Failures of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    pub counted: i32,
    pub ignored: i32,
}

impl Failures {
    fn before(pod: &Pod) -> Self {
        let number = |name: &str| pod.metadata.annotations.as_ref()?.get(name)?.parse().ok();
        Self { counted: number(FAILURES).unwrap_or(0), ignored: number(IGNORED).unwrap_or(0) }
    }

    /// With that of the pod itself.
    fn with(pod: &Pod, spec: &JobSpec) -> Self {
        let Self { counted, ignored } = Self::before(pod);
        match failures::judge(spec, pod) {
            Meaning::Ignored => Self { counted, ignored: ignored.saturating_add(1) },
            _ => Self { counted: counted.saturating_add(1), ignored },
        }
    }

    fn all(self) -> i32 {
        self.counted.saturating_add(self.ignored)
    }
}

/// The indexes of a Job with a limit for each.
pub(super) struct Retries {
    limit: i32,
    /// Not tried again.
    pub failed: BTreeSet<i32>,
    /// The newest pod of each index that failed, and when it ended.
    newest: BTreeMap<i32, (Arc<Pod>, Timestamp)>,
    /// Indexes whose newest failure has been followed by another pod.
    followed: BTreeSet<i32>,
}

impl Retries {
    pub fn new(limit: i32, failed: BTreeSet<i32>) -> Self {
        Self { limit, failed, newest: BTreeMap::new(), followed: BTreeSet::new() }
    }

    /// A pod that failed, and when. `tracked`: it may decide over its index.
    pub fn failed(&mut self, pod: &Arc<Pod>, when: Timestamp, meaning: &Meaning, tracked: bool) {
        let Some(index) = index(pod) else { return };
        let over = match meaning {
            Meaning::Ignored => false,
            Meaning::FailsIndex => true,
            Meaning::Counts | Meaning::Fatal(_) => Failures::before(pod).counted >= self.limit,
        };
        if over && tracked {
            self.failed.insert(index);
        }
        let newer = |known: &Arc<Pod>| {
            let age =
                |pod: &Pod| (Failures::before(pod).all(), pod.metadata.creation_timestamp.as_ref().map(|at| at.0));
            age(known) < age(pod)
        };
        if self.newest.get(&index).is_none_or(|(known, _)| newer(known)) {
            self.newest.insert(index, (pod.clone(), when));
        }
    }

    /// Looks which failures were followed by another pod, once all have been told.
    pub fn settle(&mut self, all: &[Arc<Pod>]) {
        for pod in all {
            let Some(index) = index(pod) else { continue };
            let follows = |(failed, _): &(Arc<Pod>, Timestamp)| {
                pods::uid(pod) != pods::uid(failed) && Failures::before(pod).all() > Failures::before(failed).all()
            };
            if self.newest.get(&index).is_some_and(follows) {
                self.followed.insert(index);
            }
        }
    }

    /// Whether the pod's finalizer has to wait for the one that follows it.
    pub fn holds(&self, pod: &Pod, completed: &BTreeSet<i32>) -> bool {
        let Some(index) = index(pod) else { return false };
        let newest = self.newest.get(&index).is_some_and(|(newest, _)| pods::uid(newest) == pods::uid(pod));
        newest && !self.followed.contains(&index) && !self.failed.contains(&index) && !completed.contains(&index)
    }

    /// What the annotations of an index's next pod say.
    pub fn before_next(&self, index: i32, spec: &JobSpec) -> Failures {
        self.newest.get(&index).map(|(pod, _)| Failures::with(pod, spec)).unwrap_or_default()
    }

    /// How long to wait before an index is tried again.
    pub fn backoff(&self, index: i32, spec: &JobSpec, now: Timestamp) -> SignedDuration {
        let Some((pod, ended)) = self.newest.get(&index) else { return SignedDuration::ZERO };
        let count = u32::try_from(Failures::with(pod, spec).all()).unwrap_or(0);
        SignedDuration::try_from(RETRY.after(count)).unwrap_or(SignedDuration::ZERO) - now.duration_since(*ended)
    }
}
