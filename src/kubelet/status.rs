//! A pod's status as the API shows it, computed from what is seen of the pod. Pure.
//!
//! Reasons and messages are Kubernetes' own words: clients match on them.

pub mod conditions;
pub mod containers;
pub mod patch;

use crate::kubelet::pod::plan::Plan;
use crate::kubelet::pod::restarts::{restartable, restarts};
use crate::kubelet::pod::{Role, View, all_containers, ephemeral_containers, is_terminal, phase as reported_phase};
use crate::kubelet::resources::qos_class;
use crate::kubelet::runtime::ContainerStatus as Life;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, HostIP, PodIP, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use containers::{ready, started};

/// Where the pod's node is reached; the first address is the primary one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses(pub Vec<String>);

/// The status to report. Fields of others (conditions, nominated node) are kept.
pub fn pod_status(view: &View, plan: &Plan, node: &NodeAddresses) -> PodStatus {
    let spec = view.spec();
    let old = view.pod.status.clone().unwrap_or_default();
    let init: Vec<_> = statuses(view, plan, |role| role != Role::Main);
    let main: Vec<_> = statuses(view, plan, |role| role == Role::Main);
    let ephemeral: Vec<_> = ephemeral_containers(spec)
        .map(|container| containers::container_status(view, plan, Role::Ephemeral, &container))
        .collect();
    // While something of it runs a pod is not over: others would take its room.
    let failed = plan.failure.as_ref().filter(|_| settled(view));
    let phase = match failed {
        Some(_) => "Failed",
        None if is_terminal(view.pod) => reported_phase(view.pod),
        None => match phase(spec, &init, &main, view.deleting() && settled(view)) {
            "Failed" | "Succeeded" if !settled(view) => {
                Some(reported_phase(view.pod)).filter(|p| !p.is_empty()).unwrap_or("Pending")
            }
            phase => phase,
        },
    };
    let pod_ips = pod_ips(view, node);
    let mut status = PodStatus {
        start_time: Some(old.start_time.clone().unwrap_or_else(|| Time(whole_seconds(view.now)))),
        host_ip: node.0.first().cloned(),
        host_ips: Some(node.0.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: Some(pod_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()).filter(|l: &Vec<_>| !l.is_empty()),
        qos_class: old.qos_class.clone().or_else(|| Some(qos_class(spec).to_string())),
        observed_generation: view.pod.metadata.generation,
        reason: failed.map(|f| f.reason.to_string()).or(old.reason.clone()),
        message: failed.map(|f| f.message.clone()).or(old.message.clone()),
        init_container_statuses: Some(init).filter(|list| !list.is_empty()),
        container_statuses: Some(main),
        ephemeral_container_statuses: Some(ephemeral).filter(|list| !list.is_empty()),
        phase: Some(phase.to_string()),
        allocated_resources: spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
        resources: match view.facts.whole.as_ref().filter(|_| view.resize.is_some()) {
            Some(has) => has.resources.clone(),
            None => spec.resources.clone(),
        },
        ..old
    };
    status.conditions = Some(conditions::conditions(view, &status));
    status
}

fn statuses(view: &View, plan: &Plan, wanted: impl Fn(Role) -> bool) -> Vec<ContainerStatus> {
    let all = all_containers(view.spec()).filter(|(role, _)| wanted(*role));
    all.map(|(role, container)| containers::container_status(view, plan, role, container)).collect()
}

/// Nothing of the pod runs or is being worked on any more.
fn settled(view: &View) -> bool {
    view.busy.is_empty() && !view.containers.iter().any(|c| c.state.is_running())
}

fn pod_ips(view: &View, node: &NodeAddresses) -> Vec<String> {
    match view.sandbox {
        Some(sandbox) if sandbox.host_network => node.0.clone(),
        Some(sandbox) if !sandbox.ips.is_empty() => sandbox.ips.iter().map(ToString::to_string).collect(),
        // A finished pod keeps the address it had.
        _ if is_terminal(view.pod) || view.deleting() => {
            let old = view.pod.status.as_ref().and_then(|s| s.pod_ips.as_ref());
            old.into_iter().flatten().map(|ip| ip.ip.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// The phase by Kubernetes' rule; `ended`: the pod is deleted and nothing of it runs any more.
pub fn phase(spec: &PodSpec, init: &[ContainerStatus], main: &[ContainerStatus], ended: bool) -> &'static str {
    let (mut pending_init, mut failed_init, mut lost_init) = (0, 0, false);
    for container in spec.init_containers.iter().flatten() {
        let status = init.iter().find(|s| s.name == container.name);
        let role = Role::of_init(container);
        match status.and_then(|s| s.state.as_ref()) {
            _ if role == Role::Sidecar => pending_init += usize::from(status.is_none_or(|s| s.started != Some(true))),
            Some(state) if state.terminated.as_ref().is_some_and(|t| t.exit_code == 0) => {}
            Some(state) if state.terminated.is_some() || state.waiting.is_some() && terminated_badly(status) => {
                failed_init += 1;
                lost_init |= !restarts(spec, role, container, last_code(status));
            }
            _ => pending_init += 1,
        }
    }
    let count = |f: fn(&ContainerStatus) -> bool| main.iter().filter(|s| f(s)).count();
    let has_last = |s: &ContainerStatus| s.last_state.as_ref().is_some_and(|l| l.terminated.is_some());
    let running = count(|s| s.state.as_ref().is_some_and(|st| st.running.is_some()));
    let succeeded = count(|s| s.state.as_ref().and_then(|st| st.terminated.as_ref()).is_some_and(|t| t.exit_code == 0));
    let terminated = count(|s| s.state.as_ref().is_some_and(|st| st.terminated.is_some()));
    let is_waiting =
        |s: &&ContainerStatus| s.state.as_ref().is_none_or(|st| st.running.is_none() && st.terminated.is_none());
    let waiting = main.iter().filter(|s| is_waiting(s) && !has_last(s)).count();
    let stopped = terminated + main.iter().filter(|s| is_waiting(s) && has_last(s)).count();
    let again = spec.containers.iter().any(|container| {
        let Some(status) = main.iter().find(|s| s.name == container.name) else { return false };
        match status.state.as_ref().and_then(|st| st.terminated.as_ref()) {
            Some(ended) => restarts(spec, Role::Main, container, ended.exit_code),
            None => is_waiting(&status) && has_last(status) && restartable(spec, container),
        }
    });
    // One that was deleted before anything of it ran has failed, too: whoever holds it waits for its end.
    if ended {
        return if terminated == main.len() && succeeded == terminated { "Succeeded" } else { "Failed" };
    }
    let initialized = running + stopped > 0;
    match () {
        () if lost_init => "Failed",
        () if pending_init + failed_init > 0 && !initialized => "Pending",
        () if waiting > 0 => "Pending",
        () if running > 0 => "Running",
        () if again => "Running",
        () if stopped > 0 && stopped == succeeded => "Succeeded",
        () if stopped > 0 => "Failed",
        () => "Pending",
    }
}

/// How it ended, now or the last time.
fn last_code(status: Option<&ContainerStatus>) -> i32 {
    let states = status.into_iter().flat_map(|s| [s.state.as_ref(), s.last_state.as_ref()]);
    states.flatten().find_map(|state| Some(state.terminated.as_ref()?.exit_code)).unwrap_or_default()
}

fn terminated_badly(status: Option<&ContainerStatus>) -> bool {
    let last = status.and_then(|s| s.last_state.as_ref()).and_then(|s| s.terminated.as_ref());
    last.is_some_and(|t| t.exit_code != 0)
}

/// API times have whole seconds.
pub fn whole_seconds(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The newest life of a container, if it runs.
pub fn running_life<'a>(view: &View<'a>, container: &Container) -> Option<&'a Life> {
    view.lives(&container.name).first().copied().filter(|life| life.state.is_running())
}

#[cfg(test)]
mod tests;
