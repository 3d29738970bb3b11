//! Counts a Job's pods: active, ending, succeeded and failed, the last two exactly once each.

use super::failures::{self, Meaning};
use super::retries::Retries;
use super::{Observed, RETRY, index, indexes, is_tracked};
use crate::controllers::pods;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// What the pods amount to.
pub(super) struct Tally {
    /// Neither ended nor on their way out.
    pub active: Vec<Arc<Pod>>,
    /// On their way out but not ended.
    pub ending: usize,
    /// Of those, the ones that are replaced only when they have ended, and badly.
    pub leaving: Vec<Arc<Pod>>,
    /// Noted in the status already, or not to be counted: their finalizer may go.
    pub release: Vec<Arc<Pod>>,
    /// A failure that the Job's pod failure policy has it fail for.
    pub fatal: Option<String>,
    pub succeeded: i32,
    pub failed: i32,
    /// In Indexed mode, the indexes that are done.
    pub completed: Option<BTreeSet<i32>>,
    /// Where each index has a limit of its own.
    pub retries: Option<Retries>,
    /// Noted, but kept until another pod of their index is there.
    pub held: Vec<Arc<Pod>>,
    counted_succeeded: i32,
    counted_failed: i32,
    uncounted: [Vec<String>; 2],
    failures: Vec<Timestamp>,
    last_success: Option<Timestamp>,
}

/// How a pod ended, for the count. A pod that is deleted before it ended has failed.
fn outcome(pod: &Pod) -> Option<bool> {
    match pods::phase(pod) {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ => pods::is_terminating(pod).then_some(false),
    }
}

impl Tally {
    pub(super) fn of(observed: &Observed, spec: &JobSpec, known: &JobStatus) -> Self {
        let noted = known.uncounted_terminated_pods.clone().unwrap_or_default();
        let noted = [noted.succeeded.unwrap_or_default(), noted.failed.unwrap_or_default()];
        let tracked: HashSet<&str> =
            observed.pods.iter().filter(|pod| is_tracked(pod)).map(|pod| pods::uid(pod)).collect();
        // A noted pod whose finalizer is gone is exchanged for a count.
        let [succeeded, failed] = noted
            .each_ref()
            .map(|uids| uids.iter().partition::<Vec<&String>, _>(|uid| !tracked.contains(uid.as_str())));
        let still = |uids: &[&String]| uids.iter().map(|uid| (*uid).clone()).collect::<Vec<_>>();
        let mut tally = Self {
            active: Vec::new(),
            ending: 0,
            leaving: Vec::new(),
            fatal: None,
            release: Vec::new(),
            succeeded: 0,
            failed: 0,
            completed: None,
            retries: None,
            held: Vec::new(),
            counted_succeeded: known.succeeded.unwrap_or(0) + succeeded.0.len() as i32,
            counted_failed: known.failed.unwrap_or(0) + failed.0.len() as i32,
            uncounted: [still(&succeeded.1), still(&failed.1)],
            failures: Vec::new(),
            last_success: None,
        };
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let completions = spec.completions.unwrap_or(0);
        tally.completed =
            indexed.then(|| indexes::parse(known.completed_indexes.as_deref().unwrap_or_default(), completions));
        let limit = spec.backoff_limit_per_index.filter(|_| indexed);
        let failed = || indexes::parse(known.failed_indexes.as_deref().unwrap_or_default(), completions);
        tally.retries = limit.map(|limit| Retries::new(limit, failed()));
        for pod in observed.pods {
            tally.add(pod, &noted, observed, spec);
        }
        tally.hold(observed.pods);
        let [ended_well, ended_badly] = tally.uncounted.each_ref().map(|uids| uids.len() as i32);
        tally.failed = tally.counted_failed + ended_badly;
        tally.succeeded = match &tally.completed {
            Some(completed) => completed.len() as i32,
            None => tally.counted_succeeded + ended_well,
        };
        tally
    }

    fn add(&mut self, pod: &Arc<Pod>, noted: &[Vec<String>; 2], observed: &Observed, spec: &JobSpec) {
        let uid = pods::uid(pod);
        if failures::replaces_failed_only(spec) && pods::is_terminating(pod) && !pods::is_finished(pod) {
            self.ending += 1;
            self.leaving.push(pod.clone());
            return;
        }
        let Some(success) = outcome(pod) else {
            // Those we asked to delete count as ending before the cache shows it.
            match observed.doomed.contains(uid) {
                true => self.ending += 1,
                false => self.active.push(pod.clone()),
            }
            return;
        };
        self.ending += usize::from(!pods::is_finished(pod));
        self.note_time(pod, success, observed.now);
        let meaning = if success { Meaning::Counts } else { failures::judge(spec, pod) };
        // Pods we removed because they were too many have lost their finalizer first.
        if !success
            && (is_tracked(pod) || pods::is_finished(pod))
            && let Some(retries) = &mut self.retries
        {
            let when = finish_time(pod).unwrap_or(observed.now);
            retries.failed(pod, when, &meaning, is_tracked(pod));
        }
        if !is_tracked(pod) {
            return;
        }
        if success && let (Some(completed), Some(index)) = (&mut self.completed, index(pod)) {
            completed.insert(index);
        }
        let known = noted.iter().flatten().any(|known| known == uid);
        match meaning {
            _ if known => self.release.push(pod.clone()),
            Meaning::Ignored => self.release.push(pod.clone()),
            Meaning::Counts | Meaning::FailsIndex => self.uncounted[usize::from(!success)].push(uid.to_owned()),
            Meaning::Fatal(message) => {
                self.fatal.get_or_insert(message);
                self.uncounted[1].push(uid.to_owned());
            }
        }
    }

    /// Keeps back what tells how often an index has failed.
    fn hold(&mut self, all: &[Arc<Pod>]) {
        let (Some(retries), Some(completed)) = (&mut self.retries, &self.completed) else { return };
        retries.settle(all);
        let release = std::mem::take(&mut self.release);
        (self.held, self.release) = release.into_iter().partition(|pod| retries.holds(pod, completed));
    }

    /// Whether an index is done, well or badly.
    pub(super) fn is_over(&self, index: i32) -> bool {
        let has = |set: &BTreeSet<i32>| set.contains(&index);
        self.completed.as_ref().is_some_and(has) || self.retries.as_ref().is_some_and(|retries| has(&retries.failed))
    }

    /// Indexes that are not tried again.
    pub(super) fn failed_indexes(&self) -> i32 {
        self.retries.as_ref().map_or(0, |retries| retries.failed.len() as i32)
    }

    fn note_time(&mut self, pod: &Pod, success: bool, now: Timestamp) {
        let when = finish_time(pod).unwrap_or(now);
        match success {
            true => self.last_success = self.last_success.max(Some(when)),
            // Pods we removed because they were too many have lost their finalizer first.
            false if pods::is_terminating(pod) && !is_tracked(pod) => {}
            false => self.failures.push(when),
        }
    }

    /// How long to wait before the next pod, after the failures since the last success.
    pub(super) fn backoff(&self, now: Timestamp) -> SignedDuration {
        let recent = self.failures.iter().filter(|when| self.last_success.is_none_or(|success| **when > success));
        let (count, newest) = recent.fold((0u32, None), |(count, newest), when| (count + 1, newest.max(Some(*when))));
        let wait = SignedDuration::try_from(RETRY.after(count)).unwrap_or(SignedDuration::ZERO);
        newest.map_or(SignedDuration::ZERO, |newest| wait - now.duration_since(newest))
    }

    /// Uids of up to `wanted` active pods worth keeping: the furthest along, one per index.
    pub(super) fn keep(&self, spec: &JobSpec, wanted: usize) -> HashSet<String> {
        let mut ranked: Vec<&Arc<Pod>> = self.active.iter().collect();
        ranked.sort_by_key(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (
                !pods::is_ready(pod),
                pods::phase(pod) != "Running",
                pods::node(pod).is_none(),
                created,
                pods::uid(pod).to_owned(),
            )
        });
        let mut taken = BTreeSet::new();
        let useful = |pod: &&Arc<Pod>| match &self.completed {
            None => true,
            Some(_) => index(pod).is_some_and(|index| {
                index < spec.completions.unwrap_or(0) && !self.is_over(index) && taken.insert(index)
            }),
        };
        ranked.into_iter().filter(useful).take(wanted).map(|pod| pods::uid(pod).to_owned()).collect()
    }

    /// The counts as the status shows them; the rest of it stays as `known`.
    pub(super) fn status(&self, known: JobStatus) -> JobStatus {
        let some = |uids: &Vec<String>| Some(uids.clone()).filter(|uids| !uids.is_empty());
        let [succeeded, failed] = self.uncounted.each_ref().map(some);
        let positive = |count: i32| Some(count).filter(|count| *count > 0);
        let uncounted = UncountedTerminatedPods { succeeded, failed };
        JobStatus {
            succeeded: positive(match &self.completed {
                Some(completed) => completed.len() as i32,
                None => self.counted_succeeded,
            }),
            failed: positive(self.counted_failed),
            completed_indexes: self.completed.as_ref().map(indexes::format).filter(|text| !text.is_empty()),
            failed_indexes: self.retries.as_ref().map(|retries| indexes::format(&retries.failed)),
            terminating: Some(self.ending as i32),
            uncounted_terminated_pods: Some(uncounted).filter(|uncounted| *uncounted != Default::default()),
            ..known
        }
    }
}

/// When the last container ended, or the pod was told to.
fn finish_time(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let ended = containers
        .into_iter()
        .flatten()
        .filter_map(|container| Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    ended.max().or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
}
