//! Containers that somebody else took away or left behind: noticed, and told to whoever listens.
//! Setting it right is the workers' ordinary work; this module only knows drift from an ending.

use crate::kubelet::pod::is_terminal;
use crate::kubelet::runtime::{ContainerState, ContainerStatus, PodIdentity};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::collections::HashSet;
use std::sync::Arc;

/// What differs from what the API says runs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A pod wants it and it was removed; it is started again.
    Missing,
    /// No pod wants it; it is removed.
    Extra,
}

/// One container that is not as the API says, about to be set right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub what: What,
    /// The Node's name.
    pub host: String,
    pub pod: PodIdentity,
    pub container: String,
    /// The container's id in the runtime.
    pub id: String,
}

/// Hears of drift. Called from the kubelet's tasks: must not block.
pub trait DriftObserver: Send + Sync {
    fn drift(&self, drift: Drift);
}

/// For those who do not listen.
pub struct Unobserved;

impl DriftObserver for Unobserved {
    fn drift(&self, _: Drift) {}
}

/// Who listens when nobody else does.
pub fn unobserved() -> Arc<dyn DriftObserver> {
    Arc::new(Unobserved)
}

/// `podman rm --force` stops a container before it removes it: for so long after its end, a container
/// that was killed and is then removed counts as taken away, and not as one that ended.
const STOPPED_TO_REMOVE_SECONDS: i64 = 15;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Those of `before` that are gone from `now` without the kubelet having removed them. `ours` are those
/// it is removing, by id: one that it replaces after its end may still be taken away by somebody else.
pub fn taken_away<'a>(
    pod: &Pod,
    before: &'a [ContainerStatus],
    now: &[ContainerStatus],
    ours: &HashSet<String>,
    time: Timestamp,
) -> Vec<&'a ContainerStatus> {
    if pod.metadata.deletion_timestamp.is_some() || is_terminal(pod) {
        return Vec::new();
    }
    before
        .iter()
        .filter(|life| !ours.contains(&life.id))
        .filter(|life| now.iter().all(|other| other.id != life.id))
        .filter(|life| was_wanted(life, time))
        .collect()
}

fn was_wanted(life: &ContainerStatus, now: Timestamp) -> bool {
    match &life.state {
        ContainerState::Running { .. } | ContainerState::Paused { .. } => true,
        ContainerState::Exited(exit) => {
            matches!(exit.signal(), Some(SIGKILL | SIGTERM))
                && now.duration_since(exit.finished).as_secs() <= STOPPED_TO_REMOVE_SECONDS
        }
        ContainerState::Created | ContainerState::Lost => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kubelet::runtime::{ContainerIdentity, Exit};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use std::collections::BTreeMap;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(id: &str, state: ContainerState) -> ContainerStatus {
        let pod = PodIdentity { uid: "u".into(), namespace: "default".into(), name: "p".into() };
        ContainerStatus {
            id: id.into(),
            identity: ContainerIdentity { pod, container: "web".into(), hash: String::new(), restart_count: 0 },
            sandbox: String::new(),
            image: String::new(),
            image_id: String::new(),
            created: at(0),
            state,
            labels: BTreeMap::new(),
            log_path: String::new(),
            user: None,
            ips: Vec::new(),
        }
    }

    fn running() -> ContainerState {
        ContainerState::Running { started: at(0), pid: 1 }
    }

    fn exited(code: i32, second: i64) -> ContainerState {
        ContainerState::Exited(Exit { code, started: None, finished: at(second), oom_killed: false, message: None })
    }

    fn gone(pod: &Pod, state: ContainerState, ours: &[&str]) -> usize {
        taken_away(
            pod,
            &[life("a", state)],
            &[life("b", running())],
            &ours.iter().map(|id| (*id).to_owned()).collect(),
            at(100),
        )
        .len()
    }

    #[test]
    fn a_running_container_that_vanishes_was_taken_away() {
        assert_eq!(gone(&Pod::default(), running(), &[]), 1);
        assert_eq!(gone(&Pod::default(), running(), &["a"]), 0, "the kubelet itself is at it");
        assert_eq!(gone(&Pod::default(), exited(137, 99), &["b"]), 1, "it is at another one of the pod");
    }

    #[test]
    fn so_was_one_that_was_stopped_to_be_removed() {
        assert_eq!(gone(&Pod::default(), exited(137, 95), &[]), 1);
        assert_eq!(gone(&Pod::default(), exited(143, 95), &[]), 1);
        assert_eq!(gone(&Pod::default(), exited(137, 10), &[]), 0, "dead for long: somebody tidied up");
        assert_eq!(gone(&Pod::default(), exited(1, 99), &[]), 0, "it ended by itself");
    }

    #[test]
    fn what_ends_with_its_pod_is_no_drift() {
        let mut pod = Pod::default();
        pod.metadata.deletion_timestamp = Some(Time(at(99)));
        assert_eq!(gone(&pod, running(), &[]), 0);
    }
}
