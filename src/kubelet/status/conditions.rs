//! A pod's conditions: ours in Kubernetes' order and words, everyone else's as they are.

use crate::kubelet::pod::plan::Failure;
use crate::kubelet::pod::{Role, View, all_containers};
use crate::kubelet::resize;
use crate::kubelet::status::whole_seconds;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const OURS: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Somebody else than its owner ends the pod.
const DISRUPTED: &str = "DisruptionTarget";

/// What a condition says, without times.
struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes() -> Self {
        Self { holds: true, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { holds: false, reason, message }
    }
}

/// All conditions of the pod; `status` has the phase and the container statuses already.
pub fn conditions(view: &View, status: &PodStatus) -> Vec<PodCondition> {
    let old = view.pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let containers = containers_ready(view, status);
    let verdicts =
        [ready_to_start(view, status), initialized(view, status), ready(view, &containers, &old), containers];
    let mut out = resizing(view, &old);
    out.extend(OURS.iter().zip(verdicts).map(|(name, verdict)| condition(view, name, verdict, &old)));
    match old.iter().find(|c| c.type_ == "PodScheduled") {
        Some(scheduled) => out.push(scheduled.clone()),
        // Bound by its creator, not by a scheduler.
        None => out.push(condition(view, "PodScheduled", Verdict::yes(), &old)),
    }
    let disrupted = view.refused.and_then(Failure::disruption).map(|why| {
        let verdict = Verdict { holds: true, reason: "TerminationByKubelet", message: why.into() };
        condition(view, DISRUPTED, verdict, &old)
    });
    let kept = |c: &PodCondition| {
        !OURS.contains(&c.type_.as_str()) && !is_of_resize(c) && (c.type_ != DISRUPTED || disrupted.is_none())
    };
    let kept: Vec<_> = old.iter().filter(|c| kept(c)).cloned().collect();
    out.extend(kept);
    out.extend(disrupted);
    out
}

fn is_of_resize(condition: &PodCondition) -> bool {
    [resize::PENDING, resize::IN_PROGRESS].contains(&condition.type_.as_str())
}

/// Where a change of the pod's resources stands: conditions that are there only while it is under way.
fn resizing(view: &View, old: &[PodCondition]) -> Vec<PodCondition> {
    let Some(standing) = view.resize else { return Vec::new() };
    let yes = |name: &str, reason: &'static str, message: &str, generation: i64| {
        let verdict = Verdict { holds: true, reason, message: message.into() };
        PodCondition { observed_generation: Some(generation), ..condition(view, name, verdict, old) }
    };
    let pending = standing.pending.as_ref().map(|p| yes(resize::PENDING, p.reason, &p.message, p.generation));
    let progress = standing.progress.as_ref().map(|progress| {
        let error = progress.error.as_deref();
        let reason = if error.is_some() { resize::ERROR } else { "" };
        yes(resize::IN_PROGRESS, reason, error.unwrap_or_default(), progress.generation)
    });
    pending.into_iter().chain(progress).collect()
}

fn condition(view: &View, name: &str, verdict: Verdict, old: &[PodCondition]) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = old.iter().find(|c| c.type_ == name && c.status == status);
    let since = before.and_then(|c| c.last_transition_time.clone()).unwrap_or_else(|| Time(whole_seconds(view.now)));
    PodCondition {
        type_: name.to_string(),
        status: status.to_string(),
        reason: Some(verdict.reason.to_string()).filter(|r| !r.is_empty()),
        message: Some(verdict.message).filter(|m| !m.is_empty()),
        last_transition_time: Some(since),
        observed_generation: view.pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn phase(status: &PodStatus) -> &str {
    status.phase.as_deref().unwrap_or_default()
}

fn ready_to_start(view: &View, status: &PodStatus) -> Verdict {
    let over = matches!(phase(status), "Succeeded" | "Failed");
    let holds = !over && view.sandbox.is_some_and(|s| s.ready && (s.host_network || !s.ips.is_empty()));
    Verdict { holds, ..Verdict::yes() }
}

fn initialized(view: &View, status: &PodStatus) -> Verdict {
    if phase(status) == "Succeeded" {
        return Verdict { reason: "PodCompleted", ..Verdict::yes() };
    }
    let mains_began = status.container_statuses.iter().flatten().any(|s| {
        let state = s.state.as_ref();
        state.is_some_and(|st| st.running.is_some() || st.terminated.is_some()) || s.container_id.is_some()
    });
    let find = |name: &str| status.init_container_statuses.iter().flatten().find(|s| s.name == name);
    let incomplete: Vec<&str> = all_containers(view.spec())
        .filter(|(role, container)| match role {
            Role::Main | Role::Ephemeral => false,
            Role::Sidecar => !mains_began && find(&container.name).is_none_or(|s| s.started != Some(true)),
            Role::Init => !mains_began && find(&container.name).is_none_or(|s| !s.ready),
        })
        .map(|(_, container)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ContainersNotInitialized", format!("containers with incomplete status: [{}]", incomplete.join(" ")))
}

fn containers_ready(view: &View, status: &PodStatus) -> Verdict {
    match phase(status) {
        "Succeeded" => return Verdict::no("PodCompleted", String::new()),
        "Failed" => return Verdict::no("PodFailed", String::new()),
        _ => {}
    }
    let find = |name: &str| -> Option<&ContainerStatus> {
        let all = status.init_container_statuses.iter().chain(status.container_statuses.iter()).flatten();
        all.into_iter().find(|s| s.name == name)
    };
    let unready: Vec<&str> = all_containers(view.spec())
        .filter(|(role, container)| *role != Role::Init && find(&container.name).is_none_or(|s| !s.ready))
        .map(|(_, container)| container.name.as_str())
        .collect();
    if unready.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
}

fn ready(view: &View, containers: &Verdict, old: &[PodCondition]) -> Verdict {
    if !containers.holds {
        return Verdict::no(containers.reason, containers.message.clone());
    }
    let mut missing = Vec::new();
    for gate in view.spec().readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match old.iter().find(|c| c.type_ == *name) {
            None => missing.push(format!("corresponding condition of pod readiness gate \"{name}\" does not exist.")),
            Some(c) if c.status != "True" => {
                missing.push(format!("the status of pod readiness gate \"{name}\" is not \"True\", but {}", c.status))
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() { Verdict::yes() } else { Verdict::no("ReadinessGatesNotReady", missing.join(", ")) }
}
