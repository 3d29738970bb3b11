//! `containerStatuses[]`: what each container does now and how its last life ended.

use crate::kubelet::pod::plan::Plan;
use crate::kubelet::pod::step::VANISHED;
use crate::kubelet::pod::{Role, View};
use crate::kubelet::resize::actuation;
use crate::kubelet::runtime::{ContainerState as LifeState, ContainerStatus as Life, Exit};
use crate::kubelet::status::whole_seconds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, LinuxContainerUser, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Past its postStart hook and its startup probe.
pub fn started(view: &View, container: &Container, life: &Life) -> bool {
    let facts = view.facts.life(&container.name, &life.id);
    let has_hook = container.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some());
    life.state.is_running()
        && (facts.hook_done || !has_hook)
        && (container.startup_probe.is_none() || facts.startup == Some(true))
}

/// Started and, where there is a readiness probe, passing it.
pub fn ready(view: &View, container: &Container, life: &Life) -> bool {
    started(view, container, life)
        && (container.readiness_probe.is_none() || view.facts.life(&container.name, &life.id).ready == Some(true))
}

/// The status of one container.
pub fn container_status(view: &View, plan: &Plan, role: Role, container: &Container) -> ContainerStatus {
    let lives = view.lives(&container.name);
    let Some(life) = lives.first() else { return without_life(view, plan, role, container) };
    let waiting = plan.waiting.get(&container.name);
    let mut last = lives.get(1).and_then(|before| terminated_life(view, before));
    let state = match (&life.state, waiting) {
        (LifeState::Running { started, .. } | LifeState::Paused { started }, _) => running(*started),
        (LifeState::Created, Some((reason, message))) => waiting_state(reason, message),
        (LifeState::Created, None) => default_waiting(view),
        (_, Some((reason, message))) if !view.deleting() => {
            last = terminated_life(view, life);
            waiting_state(reason, message)
        }
        // Were it over, a pod that need not start again would be.
        (LifeState::Exited(_), None) if !view.deleting() && view.facts.is_reborn(&container.name, &life.id) => {
            last = terminated_life(view, life);
            default_waiting(view)
        }
        _ => terminated_life(view, life).unwrap_or_default(),
    };
    let done_well = state.terminated.as_ref().is_some_and(|t| t.exit_code == 0);
    let is_started = started(view, container, life);
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: prefixed("sha256:", &life.image_id),
        container_id: Some(format!("podman://{}", life.id)),
        restart_count: i32::try_from(life.identity.restart_count).unwrap_or(i32::MAX),
        ready: match role {
            Role::Init => done_well,
            Role::Ephemeral => false,
            Role::Main | Role::Sidecar => ready(view, container, life),
        },
        started: Some(is_started).filter(|_| role != Role::Ephemeral),
        // Without a life before this one on the host, what was reported stays true.
        last_state: last.or_else(|| reported_last(view, &container.name, life)).or(Some(ContainerState::default())),
        state: Some(state),
        allocated_resources: container.resources.as_ref().and_then(|r| r.requests.clone()),
        resources: resources(view, container, life),
        volume_mounts: volume_mounts(container),
        user: user(life).or_else(|| reported_user(view, &container.name, life)),
        ..ContainerStatus::default()
    }
}

/// What a container that runs has, and what one that does not will have. Of one that is stopped to be given more,
/// what it had: a kubelet that starts again sees what became of it. That it is said, be it nothing, tells that it can
/// be changed.
fn resources(view: &View, container: &Container, life: &Life) -> Option<ResourceRequirements> {
    let is_there = life.state.is_running() || view.facts.is_reborn(&container.name, &life.id);
    let changes = view.resize.is_some() && is_there;
    let actual = if changes { actuation::actuated(view, &container.name, life) } else { None };
    Some(actual.or_else(|| container.resources.clone()).unwrap_or_default())
}

/// What is mounted, as it was asked for. No mount is made recursively read-only.
fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?.iter().map(|mount| {
        let read_only = mount.read_only == Some(true);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| "Disabled".to_string()),
            ..VolumeMountStatus::default()
        }
    });
    Some(mounts.collect()).filter(|list: &Vec<_>| !list.is_empty())
}

fn user(life: &Life) -> Option<ContainerUser> {
    let user = life.user.as_ref()?;
    let groups = Some(user.groups.clone()).filter(|groups| !groups.is_empty());
    let linux = LinuxContainerUser { uid: user.uid, gid: user.gid, supplemental_groups: groups };
    Some(ContainerUser { linux: Some(linux) })
}

/// A listing does not tell users: what was reported of the same life stays true.
fn reported_user(view: &View, name: &str, life: &Life) -> Option<ContainerUser> {
    let reported = view.reported(name)?;
    let same = reported.container_id.as_deref() == Some(&format!("podman://{}", life.id));
    reported.user.clone().filter(|_| same)
}

fn prefixed(prefix: &str, id: &str) -> String {
    if id.is_empty() || id.contains(':') { id.to_string() } else { format!("{prefix}{id}") }
}

fn reported_last(view: &View, name: &str, life: &Life) -> Option<ContainerState> {
    let reported = view.reported(name)?;
    let same = reported.container_id.as_deref() == Some(&format!("podman://{}", life.id));
    if same {
        return reported.last_state.clone();
    }
    // The life before was removed behind our back.
    let ran = reported.state.as_ref().is_some_and(|s| s.running.is_some());
    ran.then(|| vanished(reported))
}

/// Nothing of it is on the host: not made yet, cannot be made, or removed by someone.
fn without_life(view: &View, plan: &Plan, role: Role, container: &Container) -> ContainerStatus {
    let reported = view.reported(&container.name);
    let known = reported.filter(|s| s.container_id.as_deref().is_some_and(|id| !id.is_empty()));
    let will_run = !view.deleting() && !crate::kubelet::pod::is_terminal(view.pod);
    if let Some(known) = known {
        let ended = known.state.as_ref().and_then(|s| s.terminated.as_ref());
        let restarts = |code| crate::kubelet::pod::restarts::restarts(view.spec(), role, container, code);
        match ended {
            Some(ended) if !will_run || !restarts(ended.exit_code) => return known.clone(),
            None if !will_run || !restarts(VANISHED) => {
                let state = Some(vanished(known));
                return ContainerStatus { state, ready: false, started: Some(false), ..known.clone() };
            }
            _ => {}
        }
    }
    let state = match plan.waiting.get(&container.name) {
        Some((reason, message)) => waiting_state(reason, message),
        None => match sandbox_trouble(view) {
            Some(state) => state,
            None => default_waiting(view),
        },
    };
    let last = known.map(|known| match known.state.as_ref().filter(|s| s.terminated.is_some()) {
        Some(ended) => ended.clone(),
        None if known.state.as_ref().is_some_and(|s| s.running.is_some()) => vanished(known),
        None => known.last_state.clone().unwrap_or_default(),
    });
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restart_count: reported.map_or(0, |s| s.restart_count),
        ready: false,
        started: Some(false),
        // What is set aside for it, where the spec no longer says that.
        allocated_resources: view.resize.and_then(|_| container.resources.as_ref()?.requests.clone()),
        resources: view.resize.and_then(|_| container.resources.clone()),
        // The id stays so that the next life counts on from this one.
        container_id: known.and_then(|s| s.container_id.clone()),
        last_state: Some(last.unwrap_or_default()),
        state: Some(state),
        ..ContainerStatus::default()
    }
}

/// A sandbox that cannot be made keeps every container creating; the reason is in the events.
fn sandbox_trouble(view: &View) -> Option<ContainerState> {
    let trouble = view.facts.sandbox.as_ref()?;
    (view.sandbox.is_none() && trouble.reason != "FailedCreatePodSandBox")
        .then(|| waiting_state("ContainerCreating", &trouble.message))
}

fn vanished(reported: &ContainerStatus) -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: VANISHED,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some(
            "The container could not be located when the pod was deleted.  The container used to be Running".into(),
        ),
        container_id: reported.container_id.clone(),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn running(started: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(Time(whole_seconds(started))) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let message = Some(message.to_string()).filter(|m| !m.is_empty());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_string()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn default_waiting(view: &View) -> ContainerState {
    let has_init = view.spec().init_containers.as_ref().is_some_and(|list| !list.is_empty());
    waiting_state(if has_init { "PodInitializing" } else { "ContainerCreating" }, "")
}

fn terminated_life(view: &View, life: &Life) -> Option<ContainerState> {
    let facts = view.facts.life(&life.identity.container, &life.id);
    let container_id = Some(format!("podman://{}", life.id));
    let terminated = match &life.state {
        LifeState::Exited(exit) => ContainerStateTerminated {
            exit_code: exit.code,
            reason: Some(exit_reason(exit).into()),
            message: facts.message.filter(|m| !m.is_empty()).or_else(|| exit.message.clone()),
            started_at: exit.started.map(|at| Time(whole_seconds(at))),
            finished_at: Some(Time(whole_seconds(exit.finished))),
            container_id,
            signal: None,
        },
        LifeState::Lost => ContainerStateTerminated {
            exit_code: VANISHED,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("Podman lost track of the container: its monitor process is gone".into()),
            container_id,
            ..ContainerStateTerminated::default()
        },
        _ => return None,
    };
    Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() })
}

fn exit_reason(exit: &Exit) -> &'static str {
    match exit {
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        Exit { started: None, .. } => "StartError",
        _ => "Error",
    }
}
