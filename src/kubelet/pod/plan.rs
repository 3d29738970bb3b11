//! What to do about a pod now. Pure: the same view gives the same plan, and a plan that was carried
//! out gives an empty one.

use crate::kubelet::eviction;
use crate::kubelet::pod::step::{Step, step};
use crate::kubelet::pod::{Role, View, ephemeral_containers, is_terminal, restarts};
use crate::kubelet::resize::actuation;
use crate::kubelet::runtime::ContainerStatus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One thing to do. Those for different containers may be done at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Volumes, then the sandbox.
    EnsureSandbox,
    /// Pull, create, start, postStart. `made`: the container exists; what is left of that is done.
    Start { container: String, attempt: u32, streak: u32, made: Option<String> },
    /// preStop, stop signal, `grace` seconds, SIGKILL. `again`: it starts again whatever the policy says.
    Stop { container: String, id: String, grace: i64, message: String, again: bool },
    /// Give it the resources that are allocated to it.
    Resize { container: String, id: String },
    /// Give all containers together the resources that are allocated to the pod.
    ResizeWhole,
    /// A dead life nobody needs any more.
    Remove { container: String, id: String },
    /// The sandbox with everything in it, then the pod's volumes.
    RemoveSandbox { id: String },
    /// Nothing of the pod is left here: take it out of the API.
    Finish,
}

/// Seconds that a container has to end by itself however late it is, if it has any.
const MOMENT: i64 = 2;

/// The reason of a pod that made way for a critical one.
pub const PREEMPTED: &str = "Preempting";

/// The reason of a pod that used what its host is short of, or more than it may.
pub const EVICTED: &str = "Evicted";
/// How long its containers have to end.
const EVICTION_GRACE: i64 = 1;

/// Why a pod that could run must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Cow<'static, str>,
    pub message: String,
}

impl Failure {
    /// Why somebody else than its owner ends the pod, if so: not where the pod did more than it may.
    pub fn disruption(&self) -> Option<&str> {
        match &*self.reason {
            PREEMPTED => Some("Pod was preempted by Kubelet to accommodate a critical pod."),
            EVICTED if self.message.starts_with(eviction::LOW) => Some(&self.message),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Look again then, even if nothing happens.
    pub wake: Option<Timestamp>,
    /// Reason and message of containers that wait.
    pub waiting: BTreeMap<String, (&'static str, String)>,
    /// The pod fails as a whole.
    pub failure: Option<Failure>,
}

impl Plan {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// The plan for a pod of this node.
pub fn plan(view: &View) -> Plan {
    let mut plan = Plan::default();
    if view.deleting() {
        tear_down(view, &mut plan);
    } else if is_terminal(view.pod) {
        stop_all(view, &mut plan, default_grace(view), |c| format!("Stopping container {c}"));
    } else if let Some(failure) = view.refused {
        plan.failure = Some(failure.clone());
        let grace = default_grace(view);
        let grace = if failure.reason == EVICTED { grace.min(EVICTION_GRACE) } else { grace };
        stop_all(view, &mut plan, grace, |c| format!("Stopping container {c}"));
    } else if let Some(failure) = past_deadline(view, &mut plan) {
        plan.failure = Some(failure);
        stop_all(view, &mut plan, default_grace(view), |c| format!("Stopping container {c}"));
    } else {
        run(view, &mut plan);
    }
    plan
}

fn tear_down(view: &View, plan: &mut Plan) {
    let grace = view.pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| default_grace(view));
    let settled = stop_all(view, plan, grace, |c| format!("Stopping container {c}"));
    if !settled || view.sandbox_busy {
        return;
    }
    // The final states are in the API before what they were read from goes, and before the object does: whoever
    // holds that by a finalizer, as Jobs do, waits for its end.
    if !is_terminal(view.pod) {
        return;
    }
    match view.sandbox {
        Some(sandbox) => plan.actions.push(Action::RemoveSandbox { id: sandbox.id.clone() }),
        None => {
            let left = view.containers.iter().map(remove);
            plan.actions.extend(left);
            if plan.actions.is_empty() {
                plan.actions.push(Action::Finish);
            }
        }
    }
}

/// Orders running containers to stop: first all but the sidecars, then those in reverse of the order in which they
/// start, each once what started after it has ended; true when none runs.
fn stop_all(view: &View, plan: &mut Plan, grace: i64, message: impl Fn(&str) -> String) -> bool {
    let sidecars: Vec<&str> = sidecars(view).collect();
    let place = |life: &ContainerStatus| sidecars.iter().position(|name| *name == life.identity.container);
    let running: Vec<_> = view.containers.iter().filter(|c| c.state.is_running()).collect();
    let mains_left = running.iter().any(|life| place(life).is_none());
    let next = if mains_left { None } else { running.iter().filter_map(|life| place(life)).max() };
    let grace = if mains_left { grace } else { left_of(grace, view) };
    for life in running.iter().filter(|life| place(life) == next) {
        let name = &life.identity.container;
        if view.busy.contains(name) {
            continue;
        }
        let (container, id) = (name.clone(), life.id.clone());
        plan.actions.push(Action::Stop { container, id, grace, message: message(name), again: false });
    }
    running.is_empty() && view.busy.is_empty()
}

fn sidecars<'a>(view: &View<'a>) -> impl Iterator<Item = &'a str> {
    let init = view.pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.filter(|container| Role::of_init(container) == Role::Sidecar).map(|container| &*container.name)
}

/// What is left of a deleted pod's grace for those that end after others: a moment at least, as in Kubernetes.
fn left_of(grace: i64, view: &View) -> i64 {
    let Some(until) = &view.pod.metadata.deletion_timestamp else { return grace };
    let left = until.0.duration_since(view.now).as_secs_f64().ceil() as i64;
    left.clamp(MOMENT.min(grace), grace.max(0))
}

fn default_grace(view: &View) -> i64 {
    view.spec().termination_grace_period_seconds.unwrap_or(30)
}

fn past_deadline(view: &View, plan: &mut Plan) -> Option<Failure> {
    let seconds = view.spec().active_deadline_seconds?;
    let started = view.pod.status.as_ref()?.start_time.as_ref()?.0;
    let deadline = started.saturating_add(SignedDuration::from_secs(seconds)).ok()?;
    if deadline > view.now {
        plan.wake_at(deadline);
        return None;
    }
    let message = "Pod was active on the node longer than the specified deadline".to_string();
    Some(Failure { reason: "DeadlineExceeded".into(), message })
}

fn run(view: &View, plan: &mut Plan) {
    let spec = view.spec();
    let mains: Vec<_> = spec.containers.iter().map(|c| (c, step(view, Role::Main, c))).collect();
    let over = mains.iter().all(|(_, step)| matches!(step, Step::Done { .. }));
    if over && !mains.is_empty() {
        // What is left are sidecars; the phase becomes terminal from these statuses.
        stop_all(view, plan, default_grace(view), |c| format!("Stopping container {c}"));
        return;
    }
    if view.sandbox_busy {
        return;
    }
    if !view.sandbox.is_some_and(|s| s.ready) {
        match view.facts.sandbox.as_ref().filter(|trouble| trouble.retry_at > view.now) {
            Some(trouble) => plan.wake_at(trouble.retry_at),
            // A new sandbox replaces the old one with everything that is being made in it.
            None if !view.busy.is_empty() => {}
            None => plan.actions.push(Action::EnsureSandbox),
        }
        return;
    }
    match actuation::whole(view) {
        Some(None) => plan.actions.push(Action::ResizeWhole),
        Some(Some(until)) => plan.wake_at(until),
        None => {}
    }
    let left = restarts::left_over(view);
    if !left.is_empty() {
        for life in left.into_iter().filter(|life| !view.busy.contains(&life.identity.container)) {
            let (container, id) = (life.identity.container.clone(), life.id.clone());
            let message = format!("Stopping container {container}: all containers of the pod are restarted");
            plan.actions.push(Action::Stop { container, id, grace: 0, message, again: true });
        }
        return;
    }
    if initialized(view, plan) {
        // As in Kubernetes a postStart hook holds up the containers after its own; otherwise they may
        // start at the same time, which nobody can tell from one soon after the other.
        let mut held = false;
        for (container, step) in mains {
            let (starts, busy) = (matches!(step, Step::Start { .. }), step == Step::Busy);
            if held && starts {
                continue;
            }
            let hook = container.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some());
            held |= hook && (starts || busy);
            take(view, plan, container, step);
        }
        for container in ephemeral_containers(spec) {
            let step = step(view, Role::Ephemeral, &container);
            take(view, plan, &container, step);
        }
    }
    for life in surplus(view) {
        plan.actions.push(remove(life));
    }
}

/// Brings the init containers forward; true when the main containers' turn has come.
fn initialized(view: &View, plan: &mut Plan) -> bool {
    let spec = view.spec();
    // Main containers exist: initialization is over, whatever became of the init containers.
    let is_main = |life: &ContainerStatus| spec.containers.iter().any(|c| c.name == life.identity.container);
    let mains_exist = view.containers.iter().any(|life| is_main(life) && !restarts::is_over(view, life));
    let mut turn = true;
    for container in spec.init_containers.iter().flatten() {
        let role = Role::of_init(container);
        if role == Role::Init && mains_exist {
            continue;
        }
        let step = step(view, role, container);
        let passed = match (&step, role) {
            (Step::Done { code: 0 }, Role::Init) => true,
            (Step::Running(life) | Step::Resize { life, .. }, Role::Sidecar) => {
                crate::kubelet::status::started(view, container, life)
            }
            _ => mains_exist,
        };
        take(view, plan, container, step);
        turn = passed;
        if !turn {
            break;
        }
    }
    turn
}

fn take(view: &View, plan: &mut Plan, container: &Container, step: Step) {
    let name = container.name.clone();
    match step {
        Step::Busy | Step::Running(_) | Step::Done { .. } => {}
        Step::Stop { life, message, grace, again } => {
            let grace = grace.unwrap_or_else(|| default_grace(view));
            plan.actions.push(Action::Stop { container: name, id: life.id.clone(), grace, message, again });
        }
        Step::Resize { until: Some(until), .. } => plan.wake_at(until),
        Step::Resize { life, until: None } => {
            plan.actions.push(Action::Resize { container: name, id: life.id.clone() });
        }
        Step::Discard(life) => plan.actions.push(remove(life)),
        Step::Start { attempt, streak, made } => {
            let made = made.map(|life| life.id.clone());
            plan.actions.push(Action::Start { container: name, attempt, streak, made });
        }
        Step::Wait { until, reason, message } => {
            plan.wake_at(until);
            if let Some(trouble) = view.facts.container(&name).and_then(|f| f.trouble.as_ref()) {
                let changes = trouble.at.saturating_add(super::facts::SHOWN).unwrap_or(until);
                if changes > view.now {
                    plan.wake_at(changes);
                }
            }
            plan.waiting.insert(name, (reason, message));
        }
    }
}

/// Dead lives beyond the newest life and the one before, which `logs --previous` reads.
fn surplus<'a>(view: &View<'a>) -> Vec<&'a ContainerStatus> {
    let mut names: Vec<&str> = view.containers.iter().map(|c| c.identity.container.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut out = Vec::new();
    for name in names.into_iter().filter(|name| !view.busy.contains(*name)) {
        out.extend(view.lives(name).into_iter().skip(2).filter(|life| !life.state.is_running()));
    }
    out
}

fn remove(life: &ContainerStatus) -> Action {
    Action::Remove { container: life.identity.container.clone(), id: life.id.clone() }
}

#[cfg(test)]
mod tests;
