//! Which pods keep more on disk than they may: in an emptyDir, in a container, or in all. Pure. Source: Kubernetes'
//! eviction manager.

use super::rank::{Using, bytes, parse};
use super::storage::is_on_disk;
use crate::api::quantity::Quantity;
use crate::kubelet::pod::{Role, all_containers, spec};
use crate::kubelet::volumes;
use k8s_openapi::api::core::v1::{Container, Pod};

const RESOURCE: &str = "ephemeral-storage";

/// Whether anything limits what the pod keeps on disk, and whether that is what its containers write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    pub volumes: bool,
    pub containers: bool,
}

pub fn limited(pod: &Pod) -> Limited {
    Limited { volumes: size_limits(pod).next().is_some(), containers: of_pod(pod).is_some() }
}

/// What the pod is told that keeps more than it may.
pub fn excess(using: &Using) -> Option<String> {
    let pod = &using.pod;
    let used = |name: &str| using.volumes.get(name).map(|space| bytes(space.bytes));
    if let Some((name, limit)) = size_limits(pod).find(|(name, limit)| used(name).is_some_and(|used| used > *limit)) {
        return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". "));
    }
    if let Some(limit) = of_pod(pod).filter(|limit| bytes(using.disk()) > *limit) {
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    let mut mains = spec(pod).containers.iter();
    mains.find_map(|container| {
        let limit = of_container(container).filter(|limit| !limit.is_zero())?;
        let used = using.containers.get(&container.name)?;
        let name = &container.name;
        (bytes(used.bytes) > limit)
            .then(|| format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "))
    })
}

/// The emptyDirs on disk that may only grow so large.
fn size_limits(pod: &Pod) -> impl Iterator<Item = (&str, Quantity)> {
    volumes::of(pod).filter(|volume| is_on_disk(volume)).filter_map(|volume| {
        let limit = parse(&volume.empty_dir.as_ref()?.size_limit.as_ref()?.0);
        (!limit.is_zero() && !limit.is_negative()).then_some((volume.name.as_str(), limit))
    })
}

fn of_container(container: &Container) -> Option<Quantity> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get(RESOURCE).map(|limit| parse(&limit.0))
}

/// What all containers of the pod together may keep, if that of any is limited: those that run at the same time, at
/// the time when it is most.
fn of_pod(pod: &Pod) -> Option<Quantity> {
    let (mut running, mut most): (Option<Quantity>, Option<Quantity>) = (None, None);
    let plus = |sum: Option<Quantity>, more: Option<Quantity>| match (sum, more) {
        (Some(sum), Some(more)) => Some(sum.plus(more)),
        (sum, more) => sum.or(more),
    };
    for (role, container) in all_containers(spec(pod)) {
        let limit = of_container(container);
        let with = plus(running, limit);
        most = most.max(with);
        if role != Role::Init {
            running = with;
        }
    }
    let overhead = spec(pod).overhead.as_ref().and_then(|overhead| overhead.get(RESOURCE));
    most.map(|most| plus(Some(most), overhead.map(|overhead| parse(&overhead.0))).unwrap_or(most))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::rank::Space;
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn pod(spec: Value) -> Using {
        Using::new(Arc::new(serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()))
    }

    fn space(bytes: u64) -> Space {
        Space { bytes, inodes: 1 }
    }

    #[test]
    fn an_empty_dir_may_be_as_large_as_its_limit() {
        let volumes = json!([{"name": "free", "emptyDir": {}}, {"name": "zero", "emptyDir": {"sizeLimit": "0"}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Ki"}},
            {"name": "x", "emptyDir": {"sizeLimit": "1024Ki"}}]);
        let mut using = pod(json!({"containers": [{"name": "c"}], "volumes": volumes}));
        assert_eq!(limited(&using.pod), Limited { volumes: true, containers: false });
        for name in ["free", "zero", "memory"] {
            using.volumes.insert(name.into(), space(1 << 30));
        }
        using.volumes.insert("x".into(), space(1 << 20));
        assert_eq!(excess(&using), None);
        using.volumes.insert("x".into(), space((1 << 20) + 1));
        assert_eq!(excess(&using).as_deref(), Some("Usage of EmptyDir volume \"x\" exceeds the limit \"1Mi\". "));
    }

    #[test]
    fn containers_share_the_sum_of_their_limits() {
        let limits = |amount: &str| json!({"limits": {"ephemeral-storage": amount}});
        let mut using = pod(json!({"containers": [{"name": "a", "resources": limits("512Mi")},
            {"name": "b", "resources": limits("512Mi")}, {"name": "c"}], "volumes": [{"name": "v", "emptyDir": {}}]}));
        assert_eq!(limited(&using.pod), Limited { volumes: false, containers: true });
        using.containers.insert("a".into(), space(512 << 20));
        using.containers.insert("c".into(), space(512 << 20));
        assert_eq!(excess(&using), None);
        using.volumes.insert("v".into(), space(1));
        let told = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ";
        assert_eq!(excess(&using).as_deref(), Some(told));
        using.containers.clear();
        using.containers.insert("b".into(), space((512 << 20) + 1));
        let told = "Container b exceeded its local ephemeral storage limit \"512Mi\". ";
        assert_eq!(excess(&using).as_deref(), Some(told));
    }

    #[test]
    fn what_runs_at_the_same_time_counts_together() {
        let container = |name: &str, limit: &str, policy: Option<&str>| json!({"name": name, "restartPolicy": policy, "resources": {"limits": {"ephemeral-storage": limit}}});
        let total = |spec: Value| of_pod(&pod(spec).pod).map(|limit| limit.to_string());
        assert_eq!(total(json!({"containers": [{"name": "c"}]})), None);
        let init = json!([container("side", "1Gi", Some("Always")), container("init", "5Gi", None)]);
        let mains = json!([container("a", "1Gi", None), container("b", "2Gi", None)]);
        assert_eq!(total(json!({"initContainers": init, "containers": mains})).as_deref(), Some("6Gi"));
        let side = json!([container("side", "1Gi", Some("Always"))]);
        let spec = json!({"initContainers": side, "containers": mains, "overhead": {"ephemeral-storage": "1Gi"}});
        assert_eq!(total(spec).as_deref(), Some("5Gi"));
    }
}
