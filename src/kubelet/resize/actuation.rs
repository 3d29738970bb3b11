//! What has to be done so that a container has what was allocated to it. Pure.

use super::{RESIZABLE, Standing, Whole};
use crate::api::quantity;
use crate::kubelet::pod::View;
use crate::kubelet::pod::step::Step;
use crate::kubelet::runtime::{ContainerState, ContainerStatus as Life};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// Thousandths of a CPU that the kernel knows no less than: as request and as limit.
const LEAST_SHARES: i64 = 2;
const LEAST_QUOTA: i64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    InPlace,
    Restart,
}

/// What it takes to get a container from what it has to what was allocated.
pub fn change(container: &Container, actuated: &ResourceRequirements) -> Change {
    let unset = ResourceRequirements::default();
    let allocated = container.resources.as_ref().unwrap_or(&unset);
    let changed = RESIZABLE.iter().filter(|name| {
        differs(name, "requests", allocated.requests.as_ref(), actuated.requests.as_ref())
            || differs(name, "limits", allocated.limits.as_ref(), actuated.limits.as_ref())
    });
    let policies = || container.resize_policy.iter().flatten();
    let restarts = |name: &str| {
        policies().any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer")
    };
    changed.fold(Change::None, |found, name| match found {
        Change::Restart => found,
        _ if restarts(name) => Change::Restart,
        _ => Change::InPlace,
    })
}

type List<'a> = Option<&'a BTreeMap<String, Quantity>>;

fn differs(name: &str, kind: &str, one: List, other: List) -> bool {
    let amount = |list: List| -> i64 {
        let quantity = list.and_then(|list| list.get(name)).and_then(|text| text.0.parse::<quantity::Quantity>().ok());
        match (name, kind, quantity) {
            (_, _, None) => 0,
            // Too little to be told apart, but not unlimited.
            ("cpu", "limits", Some(quantity)) => quantity.milli_value().max(LEAST_QUOTA),
            ("cpu", _, Some(quantity)) => quantity.milli_value(),
            (_, _, Some(quantity)) => quantity.value(),
        }
    };
    let (one, other) = (amount(one), amount(other));
    let negligible = name == "cpu" && kind == "requests" && one.max(other) <= LEAST_SHARES;
    one != other && !negligible
}

/// What is allocated to a container, for comparison.
pub fn wanted(container: &Container) -> String {
    format!("{:?}", container.resources)
}

/// The memory limit that is allocated, in bytes, where it is less than what the container has.
pub fn lowered_memory(container: &Container, has: &ResourceRequirements) -> Option<u64> {
    let limit = |resources: &ResourceRequirements| {
        let text = resources.limits.as_ref()?.get("memory")?;
        text.0.parse::<quantity::Quantity>().ok().map(|quantity| quantity.value()).filter(|bytes| *bytes > 0)
    };
    let allocated = limit(container.resources.as_ref()?)?;
    let lowered = limit(has).is_none_or(|before| allocated < before);
    u64::try_from(allocated).ok().filter(|_| lowered)
}

/// What a life has: as this process knows, else as the API says of it; `None` where nobody knows.
pub fn actuated(view: &View, name: &str, life: &Life) -> Option<ResourceRequirements> {
    let known = view.facts.container(name).and_then(|facts| facts.lives.get(&life.id)?.actuated.clone());
    known.or_else(|| {
        let reported = view.reported(name)?;
        let same = reported.container_id.as_deref() == Some(&format!("podman://{}", life.id));
        reported.resources.clone().filter(|_| same)
    })
}

/// The step of a container that runs and that nothing else is wrong with.
pub fn step<'a>(view: &View<'a>, container: &Container, life: &'a Life) -> Step<'a> {
    let Some(standing) = view.resize else { return Step::Running(life) };
    if standing.progress.as_ref().is_some_and(|progress| !super::is_told(view.pod, progress)) {
        // A kubelet that starts again must know what was granted, and what this stop is for.
        return Step::Running(life);
    }
    let Some(actuated) = actuated(view, &container.name, life) else { return Step::Running(life) };
    match change(container, &actuated) {
        Change::None => Step::Running(life),
        Change::Restart => {
            let message = format!("Container {} resize requires restart", container.name);
            Step::Stop { life, message, grace: None, again: true }
        }
        Change::InPlace => {
            let trouble = view.facts.container(&container.name).and_then(|facts| facts.resize.as_ref());
            let same = trouble.filter(|trouble| trouble.hash == wanted(container));
            let until = same.map(|trouble| trouble.retry_at).filter(|at| *at > view.now);
            Step::Resize { life, until }
        }
    }
}

/// When to give the pod as a whole what was allocated to it, if it has something else: `Some(None)`: now.
pub fn whole(view: &View) -> Option<Option<Timestamp>> {
    let progress = view.resize?.progress.as_ref()?;
    if !super::is_told(view.pod, progress) || !is_whole_behind(view) {
        return None;
    }
    let trouble = view.facts.whole_trouble.as_ref().filter(|trouble| trouble.hash == wanted_whole(view.spec()));
    Some(trouble.map(|trouble| trouble.retry_at).filter(|at| *at > view.now))
}

/// What is allocated to a pod as a whole, for comparison.
pub fn wanted_whole(spec: &PodSpec) -> String {
    format!("{:?}", Whole::of(spec))
}

fn is_whole_behind(view: &View) -> bool {
    view.sandbox.is_some() && view.facts.whole.as_ref().is_some_and(|has| *has != Whole::of(view.spec()))
}

/// The life of a container that an earlier kubelet stopped, to give the next one what was allocated: it has
/// ended, and what the API says that it had takes a restart to change.
pub fn stopped<'a>(view: &View<'a>, container: &Container) -> Option<&'a Life> {
    let life = View::newest(view.containers, &container.name)?;
    let progress = view.resize?.progress.as_ref()?;
    let has = actuated(view, &container.name, life)?;
    let ended = matches!(life.state, ContainerState::Exited(_)) && super::is_told(view.pod, progress);
    (ended && change(container, &has) == Change::Restart).then_some(life)
}

/// Whether the pod, or some container that runs, has not yet what was allocated to it, for all that is known: what is under
/// way may leave it with what was allocated when that began.
pub fn is_in_progress(view: &View, standing: &Standing) -> bool {
    standing.progress.is_some()
        && (is_whole_behind(view)
            || crate::kubelet::pod::all_containers(view.spec()).any(|(_, container)| {
                let lives = view.lives(&container.name);
                let newest = lives.first();
                // Stopped, to be started with what it is to have.
                let between = newest
                    .is_some_and(|life| !life.state.is_running() && view.facts.is_reborn(&container.name, &life.id));
                let behind = newest.filter(|life| life.state.is_running()).is_some_and(|life| {
                    actuated(view, &container.name, life).is_some_and(|has| change(container, &has) != Change::None)
                });
                view.busy.contains(&container.name) || between || behind
            }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn resources(value: Value) -> ResourceRequirements {
        serde_json::from_value(value).unwrap()
    }

    fn container(allocated: Value) -> Container {
        serde_json::from_value(json!({"name": "c", "resources": allocated,
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}))
        .unwrap()
    }

    #[test]
    fn the_policy_of_what_changes_decides() {
        let has = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}});
        let to = |allocated: Value| change(&container(allocated), &resources(has.clone()));
        assert_eq!(to(json!({"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2"}})), Change::None);
        assert_eq!(to(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "3"}})), Change::InPlace);
        assert_eq!(to(json!({"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "3"}})), Change::Restart);
        let limited = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}});
        assert_eq!(to(limited), Change::Restart);
    }

    #[test]
    fn what_the_kernel_cannot_tell_apart_is_the_same() {
        let of = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        let change = |one: Value, other: Value| change(&container(one), &resources(other));
        assert_eq!(change(of("1m", "5m"), of("2m", "10m")), Change::None);
        assert_eq!(change(of("1m", "5m"), of("3m", "10m")), Change::InPlace);
        assert_eq!(change(of("1m", "5m"), json!({"requests": {"cpu": "1m"}})), Change::InPlace, "it had no limit");
    }

    proptest! {
        #[test]
        fn once_it_has_what_was_allocated_nothing_is_left_to_do(cpu in 0..5000u32, memory in 0..5000u32, limit in any::<bool>()) {
            let mut wanted = json!({"requests": {"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")}});
            if limit {
                wanted["limits"] = wanted["requests"].clone();
            }
            prop_assert_eq!(change(&container(wanted.clone()), &resources(wanted)), Change::None);
        }
    }
}
