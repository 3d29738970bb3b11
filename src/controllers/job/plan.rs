//! Decides what a Job needs. Pure.
//!
//! A pod that ended is counted exactly once, although counting and forgetting it are two writes: its
//! uid is first noted in `status.uncountedTerminatedPods`, then the tracking finalizer that keeps the
//! pod is removed, and only when the cache shows that is the uid exchanged for a count.

mod count;
mod failures;
mod retries;
mod success;
mod verdict;

use super::indexes;
use crate::controllers::pods;
use count::Tally;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use retries::{FAILURES, Failures, IGNORED};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use verdict::Verdict;

/// Keeps a pod until its end is counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label of pods of Indexed Jobs.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Waits before a failed pod is replaced: 10 s, doubling, up to 6 min.
const RETRY: crate::base::backoff::Backoff = crate::base::backoff::Backoff {
    base: std::time::Duration::from_secs(10),
    max: std::time::Duration::from_secs(360),
};

/// What the controller sees.
pub struct Observed<'a> {
    pub job: &'a Job,
    /// The pods it controls.
    pub pods: &'a [Arc<Pod>],
    /// Pods whose deletion was asked for, though `pods` may not show it yet.
    pub doomed: &'a HashSet<String>,
    pub now: Timestamp,
}

/// What to do: first pods, then the status.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// One entry per pod to make: its completion index in Indexed mode.
    pub create: Vec<Option<i32>>,
    /// Where each index has a limit of its own: how often those to be made have failed.
    pub failures: BTreeMap<i32, Failures>,
    /// Pods too many: they go without being counted as failures (finalizer first).
    pub delete: Vec<Arc<Pod>>,
    /// Pods of a Job that is over: they count.
    pub kill: Vec<Arc<Pod>>,
    /// Pods whose end is noted: the finalizer goes.
    pub release: Vec<Arc<Pod>>,
    /// The status once the above is done.
    pub status: JobStatus,
    /// Type, reason and message.
    pub events: Vec<(&'static str, String, String)>,
    /// The Job is over for longer than `ttlSecondsAfterFinished`.
    pub expired: bool,
    pub again: Option<SignedDuration>,
}

impl Plan {
    fn look_again(&mut self, wait: SignedDuration) {
        let wait = wait.max(SignedDuration::ZERO);
        self.again = Some(self.again.map_or(wait, |known| known.min(wait)));
    }
}

/// `Complete` or `Failed`, if the Job is over.
pub fn finished(job: &Job) -> Option<&JobCondition> {
    condition(job.status.as_ref()?, "Complete").or_else(|| condition(job.status.as_ref()?, "Failed"))
}

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind && condition.status == "True")
}

pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The completion index of a pod of an Indexed Job.
pub fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// `None` for a Job without a spec, which validation prevents.
pub fn plan(observed: &Observed) -> Option<Plan> {
    let spec = observed.job.spec.as_ref()?;
    let known = observed.job.status.clone().unwrap_or_default();
    if let Some(over) = finished(observed.job) {
        return Some(after_the_end(observed, spec, over, known.clone()));
    }
    let tally = Tally::of(observed, spec, &known);
    let mut plan = Plan { release: tally.release.clone(), status: tally.status(known), ..Plan::default() };
    let suspended = spec.suspend == Some(true);
    note_suspension(&mut plan, suspended, observed.now);
    match verdict::judge(observed, spec, &tally, &mut plan) {
        Some(verdict) => {
            // Nothing follows them any more.
            plan.release.extend(tally.held.iter().cloned());
            conclude(&mut plan, &tally, verdict, observed.now);
        }
        None if observed.job.metadata.deletion_timestamp.is_none() => {
            manage(&mut plan, spec, &tally, suspended, observed.now)
        }
        // Its pods must be able to go with it, and none follows them.
        None => plan.release.extend(tally.held.iter().cloned()),
    }
    let active = (tally.active.len() + plan.create.len() - plan.delete.len() - plan.kill.len()) as i32;
    let gone: Vec<_> = plan.delete.iter().chain(&plan.kill).map(|pod| pods::uid(pod)).collect();
    let ready = tally.active.iter().filter(|pod| pods::is_ready(pod) && !gone.contains(&pods::uid(pod))).count() as i32;
    plan.status.active = Some(active).filter(|count| *count > 0);
    plan.status.ready = Some(ready);
    Some(plan)
}

/// What becomes of a Job that another controller manages: it goes when its time after the end is up, as it
/// would with this one's.
pub fn of_another(job: &Job, now: Timestamp) -> Plan {
    let mut plan = Plan { status: job.status.clone().unwrap_or_default(), ..Plan::default() };
    if let (Some(spec), Some(over)) = (job.spec.as_ref(), finished(job)) {
        expire(&mut plan, job, spec, over, now);
    }
    plan
}

/// What is left to do for a Job that is over.
fn after_the_end(observed: &Observed, spec: &JobSpec, over: &JobCondition, known: JobStatus) -> Plan {
    let tracked = observed.pods.iter().filter(|pod| is_tracked(pod)).cloned();
    let mut plan = Plan { release: tracked.collect(), status: known, ..Plan::default() };
    expire(&mut plan, observed.job, spec, over, observed.now);
    plan
}

fn expire(plan: &mut Plan, job: &Job, spec: &JobSpec, over: &JobCondition, now: Timestamp) {
    let (Some(ttl), Some(since)) = (spec.ttl_seconds_after_finished, over.last_transition_time.as_ref()) else {
        return;
    };
    let left = SignedDuration::from_secs(ttl.into()) - now.duration_since(since.0);
    plan.expired = left <= SignedDuration::ZERO && job.metadata.deletion_timestamp.is_none();
    if left > SignedDuration::ZERO {
        plan.look_again(left);
    }
}

fn note_suspension(plan: &mut Plan, suspended: bool, now: Timestamp) {
    let status = &mut plan.status;
    let was = condition(status, "Suspended").is_some();
    match (was, suspended) {
        (false, true) => {
            status.start_time = None;
            set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", now);
            plan.events.push(("Normal", "Suspended".into(), "Job suspended".into()));
        }
        (true, false) => {
            set_condition(status, "Suspended", "False", "JobResumed", "Job resumed", now);
            plan.events.push(("Normal", "Resumed".into(), "Job resumed".into()));
        }
        _ => {}
    }
    if !suspended && plan.status.start_time.is_none() {
        plan.status.start_time = Some(Time(now));
    }
}

fn set_condition(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// Ends the Job: no pod goes on, and when the last is gone and counted the verdict is final.
fn conclude(plan: &mut Plan, tally: &Tally, verdict: Verdict, now: Timestamp) {
    let (target, last) = if verdict.success { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    if condition(&plan.status, target).is_none() {
        set_condition(&mut plan.status, target, "True", &verdict.reason, &verdict.message, now);
    }
    match verdict.success {
        true => plan.delete = tally.active.clone(),
        false => plan.kill = tally.active.clone(),
    }
    let settled = tally.active.is_empty() && tally.ending == 0 && plan.status.uncounted_terminated_pods.is_none();
    if !settled {
        return;
    }
    set_condition(&mut plan.status, last, "True", &verdict.reason, &verdict.message, now);
    if verdict.success {
        plan.status.completion_time = Some(Time(now));
        plan.events.push(("Normal", "Completed".into(), "Job completed".into()));
    } else {
        plan.events.push(("Warning", verdict.reason, verdict.message));
    }
}

/// Brings the number of active pods to what it should be.
fn manage(plan: &mut Plan, spec: &JobSpec, tally: &Tally, suspended: bool, now: Timestamp) {
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let wanted = match spec.completions {
        _ if suspended => 0,
        Some(completions) => parallelism.min((completions - tally.succeeded - tally.failed_indexes()).max(0)),
        // A work queue: once one pod succeeded no new ones start, but those that run may finish.
        None if tally.succeeded > 0 => parallelism.min(tally.active.len() as i32),
        None => parallelism,
    } as usize;
    let keep = tally.keep(spec, wanted);
    plan.delete = tally.active.iter().filter(|pod| !keep.contains(pods::uid(pod))).cloned().collect();
    let missing = wanted.saturating_sub(keep.len() + tally.leaving.len());
    if missing == 0 {
        return;
    }
    let wait = if tally.retries.is_some() { SignedDuration::ZERO } else { tally.backoff(now) };
    if wait > SignedDuration::ZERO {
        plan.look_again(wait);
        return;
    }
    let Some(completions) = spec.completions.filter(|_| tally.completed.is_some()) else {
        plan.create = vec![None; missing];
        return;
    };
    let kept = tally.active.iter().filter(|pod| keep.contains(pods::uid(pod)));
    let running: BTreeSet<i32> = kept.chain(&tally.leaving).filter_map(|pod| index(pod)).collect();
    for index in (0..completions).filter(|index| !tally.is_over(*index) && !running.contains(index)) {
        if plan.create.len() == missing {
            break;
        }
        if let Some(retries) = &tally.retries {
            let wait = retries.backoff(index, spec, now);
            if wait > SignedDuration::ZERO {
                plan.look_again(wait);
                continue;
            }
            plan.failures.insert(index, retries.before_next(index, spec));
        }
        plan.create.push(Some(index));
    }
}

#[cfg(test)]
mod tests;
