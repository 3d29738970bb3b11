//! Whether a Job is decided: an ordered table of rules, the first match wins.

use super::{Observed, Plan, condition, count::Tally, success};
use crate::controllers::pods;
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::JobSpec;

/// How a Job ends, in the words of its last condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub success: bool,
    pub reason: String,
    pub message: String,
}

impl Verdict {
    fn new(success: bool, reason: &str, message: &str) -> Option<Self> {
        Some(Self { success, reason: reason.into(), message: message.into() })
    }
}

pub(super) fn judge(observed: &Observed, spec: &JobSpec, tally: &Tally, plan: &mut Plan) -> Option<Verdict> {
    // What was decided stays decided.
    for (kind, success) in [("FailureTarget", false), ("SuccessCriteriaMet", true)] {
        if let Some(known) = condition(&plan.status, kind) {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            return Some(Verdict { success, reason: text(&known.reason), message: text(&known.message) });
        }
    }
    if let Some(message) = &tally.fatal {
        return Verdict::new(false, "PodFailurePolicy", message);
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if tally.failed > limit || restarts_exceed(spec, tally, limit) {
        return Verdict::new(false, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if spec.suspend != Some(true)
        && let (Some(deadline), Some(start)) = (spec.active_deadline_seconds, &plan.status.start_time)
    {
        let left = SignedDuration::from_secs(deadline) - observed.now.duration_since(start.0);
        if left <= SignedDuration::ZERO {
            return Verdict::new(false, "DeadlineExceeded", "Job was active longer than specified deadline");
        }
        plan.look_again(left);
    }
    let failed = tally.failed_indexes();
    if spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Verdict::new(false, "MaxFailedIndexesExceeded", message);
    }
    if failed > 0 && spec.completions.is_some_and(|completions| failed + tally.succeeded >= completions) {
        return Verdict::new(false, "FailedIndexes", "Job has failed indexes");
    }
    if let Some((policy, completed)) = spec.success_policy.as_ref().zip(tally.completed.as_ref())
        && let Some(rule) = success::matching(policy, completed, spec.completions.unwrap_or(0))
    {
        return Verdict::new(true, "SuccessPolicy", &format!("Matched rules at index {rule}"));
    }
    let complete = match spec.completions {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty() && tally.ending == 0,
    };
    if complete {
        return Verdict::new(true, "CompletionsReached", "Reached expected number of succeeded pods");
    }
    None
}

/// With `restartPolicy: OnFailure` containers are restarted in place, and restarts are what counts.
fn restarts_exceed(spec: &JobSpec, tally: &Tally, limit: i32) -> bool {
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = tally.active.iter().map(|pod| pods::restarts(pod)).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}
