//! What a Job's pod failure policy makes of a pod that failed: the first rule that matches decides.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

/// What a failure comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// It counts against the backoff limit.
    Counts,
    /// It counts, and its index is not tried again.
    FailsIndex,
    /// It is as if it had not been.
    Ignored,
    /// The Job fails, with this message.
    Fatal(String),
}

/// Whether only pods that really failed are replaced: those on their way out may still succeed, and what
/// becomes of them the policy has to see.
pub(super) fn replaces_failed_only(spec: &JobSpec) -> bool {
    spec.pod_failure_policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed")
}

pub(super) fn judge(spec: &JobSpec, pod: &Pod) -> Meaning {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    let matching = rules.enumerate().find_map(|(at, rule)| Some((at, rule, matched(rule, pod)?)));
    let Some((at, rule, why)) = matching else { return Meaning::Counts };
    match rule.action.as_str() {
        "Ignore" => Meaning::Ignored,
        "FailIndex" if spec.backoff_limit_per_index.is_some() => Meaning::FailsIndex,
        "FailJob" => Meaning::Fatal(format!("{why} matching FailJob rule at index {at}")),
        _ => Meaning::Counts,
    }
}

/// How a pod matches a rule, for people.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name));
    if let Some(wanted) = &rule.on_exit_codes {
        let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        let (container, code) = containers.into_iter().find_map(|container| exited(wanted, container))?;
        return Some(format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let has = |condition: &&PodCondition| {
        let wanted = rule.on_pod_conditions.iter().flatten();
        wanted
            .into_iter()
            .any(|one| one.type_ == condition.type_ && one.status.as_deref().unwrap_or("True") == condition.status)
    };
    let condition = status.conditions.iter().flatten().find(has)?;
    Some(format!("Pod {name} has condition {}", condition.type_))
}

fn exited<'a>(
    wanted: &PodFailurePolicyOnExitCodesRequirement,
    container: &'a ContainerStatus,
) -> Option<(&'a str, i32)> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let named = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
    let matches = wanted.values.contains(&code) == (wanted.operator == "In");
    (named && code != 0 && matches).then_some((&container.name, code))
}
