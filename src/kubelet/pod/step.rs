//! What is next for one container of a pod that may run. Pure.

use crate::base::backoff::Backoff;
use crate::kubelet::pod::facts::SHOWN;
use crate::kubelet::pod::restarts::{self, restarts};
use crate::kubelet::pod::{Role, View, container_hash};
use crate::kubelet::resize::actuation;
use crate::kubelet::runtime::{ContainerState, ContainerStatus, Exit};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;
use std::time::Duration;

/// Label on a container: how many lives before it ended without having run [`RESET`].
pub const STREAK: &str = "io.selkie.container.crash-streak";
const CRASH_LOOP: Backoff = Backoff { base: Duration::from_secs(10), max: Duration::from_secs(300) };
/// A container that ran this long is no longer in a crash loop.
const RESET: SignedDuration = SignedDuration::from_mins(10);
/// The exit code of a container that vanished.
pub const VANISHED: i32 = 137;
/// The exit code of a container whose process could not be run, as containerd gives it.
pub const CANNOT_START: i32 = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// An operation is under way.
    Busy,
    Running(&'a ContainerStatus),
    /// It runs and must be stopped; it is started again if the policy says so.
    Stop {
        life: &'a ContainerStatus,
        message: String,
        grace: Option<i64>,
        /// It is started again whatever the policy says.
        again: bool,
    },
    /// It runs and is to have other resources, which it can be given as it is; not before `until`.
    Resize {
        life: &'a ContainerStatus,
        until: Option<Timestamp>,
    },
    /// A life Podman lost track of.
    Discard(&'a ContainerStatus),
    Start {
        attempt: u32,
        streak: u32,
        made: Option<&'a ContainerStatus>,
    },
    /// Not before `until`; reason and message are those of the waiting state.
    Wait {
        until: Timestamp,
        reason: &'static str,
        message: String,
    },
    /// It ended and stays so.
    Done {
        code: i32,
    },
}

/// The next step for `container`. Whether its turn has come is the caller's business.
pub fn step<'a>(view: &View<'a>, role: Role, container: &Container) -> Step<'a> {
    if view.busy.contains(&container.name) {
        return Step::Busy;
    }
    let hash = container_hash(container);
    let lives = view.lives(&container.name);
    let Some(life) = lives.first().copied() else { return missing(view, role, container, &hash) };
    if let Some(older) = lives.iter().skip(1).copied().find(|life| life.state.is_running()) {
        // However it came to run on: two at once would fight over their ports and files.
        let message = format!("Stopping container {}", container.name);
        return Step::Stop { life: older, message, grace: None, again: false };
    }
    let facts = view.facts.container(&container.name);
    match &life.state {
        ContainerState::Running { .. } | ContainerState::Paused { .. } => {
            if life.identity.hash != hash {
                let message = format!("Container {} definition changed, will be restarted", container.name);
                return Step::Stop { life, message, grace: None, again: false };
            }
            match facts.and_then(|f| f.doom.as_ref()).filter(|doom| doom.id == life.id) {
                Some(doom) => Step::Stop { life, message: doom.message.clone(), grace: doom.grace, again: false },
                None if matches!(life.state, ContainerState::Running { .. })
                    && has_hook(container)
                    && !view.facts.life(&container.name, &life.id).hook_done =>
                {
                    // The answer to its start was lost, and with it the hook.
                    let (attempt, streak) = (life.identity.restart_count, streak_of(life));
                    held_back(view, container, &hash).unwrap_or(Step::Start { attempt, streak, made: Some(life) })
                }
                None => actuation::step(view, container, life),
            }
        }
        ContainerState::Lost => Step::Discard(life),
        // Made with other resources than are allocated now, for all that is known.
        ContainerState::Created if life.identity.hash != hash || view.resize.is_some() => Step::Discard(life),
        ContainerState::Created => {
            let (attempt, streak) = (life.identity.restart_count, streak_of(life));
            held_back(view, container, &hash).unwrap_or(Step::Start { attempt, streak, made: Some(life) })
        }
        ContainerState::Exited(exit) => exited(view, role, container, &hash, life, exit),
    }
}

fn exited<'a>(
    view: &View<'a>,
    role: Role,
    container: &Container,
    hash: &str,
    life: &'a ContainerStatus,
    exit: &Exit,
) -> Step<'a> {
    let anew = restarts::is_over(view, life) && role != Role::Ephemeral;
    // Who has all containers restarted waits as in any crash loop; the others did nothing wrong.
    let culprit = restarts::restarts_all(container, exit.code);
    let changed = view.facts.is_reborn(&container.name, &life.id)
        || life.identity.hash != hash && role != Role::Init
        || anew && !culprit;
    if !changed && !anew && !restarts(view.spec(), role, container, exit.code) {
        return Step::Done { code: exit.code };
    }
    if let Some(wait) = held_back(view, container, hash) {
        return wait;
    }
    let attempt = life.identity.restart_count + 1;
    if changed {
        return Step::Start { attempt, streak: 0, made: None };
    }
    if exit.started.is_none()
        && let Some(shown) = exit.finished.saturating_add(SHOWN).ok().filter(|shown| *shown > view.now)
    {
        let message = exit.message.clone().unwrap_or_default();
        return Step::Wait { until: shown, reason: "RunContainerError", message };
    }
    let ran = exit.started.map_or(SignedDuration::ZERO, |started| exit.finished.duration_since(started));
    let streak = if ran >= RESET { 0 } else { streak_of(life) };
    let wait = CRASH_LOOP.after(streak);
    let until =
        exit.finished.saturating_add(SignedDuration::try_from(wait).unwrap_or_default()).unwrap_or(exit.finished);
    if until > view.now {
        let message = crash_message(view, container, wait);
        return Step::Wait { until, reason: "CrashLoopBackOff", message };
    }
    Step::Start { attempt, streak: streak + 1, made: None }
}

/// The message of `CrashLoopBackOff` and of its BackOff event.
fn crash_message(view: &View, container: &Container, wait: Duration) -> String {
    let meta = &view.pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (name, namespace, uid) = (text(&meta.name), text(&meta.namespace), text(&meta.uid));
    let wait = go_duration(wait);
    format!("back-off {wait} restarting failed container={} pod={name}_{namespace}({uid})", container.name)
}

/// As Go prints whole-second durations: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// No life of it is on the host: it was never made, or someone removed it.
fn missing<'a>(view: &View<'a>, role: Role, container: &Container, hash: &str) -> Step<'a> {
    // A newer sandbox starts its pod over.
    let reported =
        view.reported(&container.name).filter(|s| s.container_id.as_deref().is_some_and(|id| !id.is_empty()));
    let ended = reported.and_then(|s| s.state.as_ref()).and_then(|s| s.terminated.as_ref());
    let attempt = reported.map_or(0, |s| s.restart_count.max(0) as u32 + 1);
    if let Some(ended) = ended {
        let before_sandbox = match (view.sandbox, &ended.finished_at) {
            (Some(sandbox), Some(finished)) => finished.0.as_second() < sandbox.created.as_second(),
            _ => false,
        };
        if !(restarts(view.spec(), role, container, ended.exit_code) || role == Role::Init && before_sandbox) {
            return Step::Done { code: ended.exit_code };
        }
    } else if reported.is_some() && !restarts(view.spec(), role, container, VANISHED) {
        return Step::Done { code: VANISHED };
    }
    held_back(view, container, hash).unwrap_or(Step::Start { attempt, streak: 0, made: None })
}

fn has_hook(container: &Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
}

/// Waiting for another try after a failure that left no exited container.
fn held_back<'a>(view: &View<'a>, container: &Container, hash: &str) -> Option<Step<'a>> {
    let trouble = view.facts.container(&container.name)?.trouble.as_ref()?;
    if trouble.hash != hash || trouble.retry_at <= view.now {
        return None;
    }
    let (reason, message) = trouble.waiting(container.image.as_deref().unwrap_or_default(), view.now);
    Some(Step::Wait { until: trouble.retry_at, reason, message })
}

fn streak_of(life: &ContainerStatus) -> u32 {
    life.labels.get(STREAK).and_then(|text| text.parse().ok()).unwrap_or(life.identity.restart_count)
}
