//! The Node and Lease objects: labels, capacity, conditions, addresses, images. Pure.

use crate::api::kinds::resources;
use crate::api::quantity::Quantity as Amount;
use crate::apiserver::KUBERNETES_VERSION;
use crate::controllers::volume_binder::provision::DIRECTORIES;
use crate::kubelet::NodeConfig;
use crate::kubelet::eviction::{Condition, Pressure};
use crate::kubelet::host::Host;
use crate::kubelet::runtime::{HostInfo, ImageInfo};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    ContainerImage, Node, NodeAddress, NodeCondition, NodeRuntimeHandler, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Images a Node lists, the largest first.
pub const MAX_IMAGES: usize = 50;
/// Says that limits do not hold, where that is so. Not one of Kubernetes' own.
const UNENFORCED: &str = "selkie.dev/LimitsNotEnforced";
/// Its reason where only pods as a whole cannot be limited.
const NO_PODS: &str = "NoPodCgroups";

pub fn labels(config: &NodeConfig, info: &HostInfo) -> BTreeMap<String, String> {
    let arch = if info.arch.is_empty() { "amd64" } else { &info.arch };
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", config.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .into();
    labels.extend(config.labels.clone());
    if !config.simulated {
        labels.insert(DIRECTORIES.into(), info.local.to_string());
    }
    labels
}

pub fn node(config: &NodeConfig, labels: BTreeMap<String, String>) -> Node {
    let metadata = ObjectMeta { name: Some(config.name.clone()), labels: Some(labels), ..ObjectMeta::default() };
    Node { metadata, ..Node::default() }
}

/// The status to report; transition times come from `old` where nothing changed. Extended resources are not the
/// host's to know: what a Node's capacity has of them can be asked for, whoever wrote it there.
pub fn status(
    host: &Host,
    info: &HostInfo,
    images: &[ImageInfo],
    old: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let quantity = |text: String| Quantity(text);
    let mut capacity: BTreeMap<String, Quantity> = [
        ("cpu", info.cpus.to_string()),
        ("memory", format!("{}Ki", info.memory / 1024)),
        ("pods", host.node.settings.max_pods.to_string()),
    ]
    .map(|(key, value)| (key.to_string(), quantity(value)))
    .into();
    if info.storage_size > 0 {
        capacity.insert("ephemeral-storage".into(), quantity(format!("{}Ki", info.storage_size / 1024)));
    }
    let written = old.and_then(|status| status.capacity.as_ref()).into_iter().flatten();
    let extended = written.filter(|(name, _)| resources::is_extended(name));
    capacity.extend(extended.map(|(name, amount)| (name.clone(), amount.clone())));
    let allocatable = host.node.settings.allocatable(&parsed(&capacity));
    let address = |kind: &str, value: &str| NodeAddress { type_: kind.into(), address: value.into() };
    let mut addresses: Vec<_> = host.addresses().0.iter().map(|ip| address("InternalIP", ip)).collect();
    addresses.push(address("Hostname", &host.node.name));
    NodeStatus {
        allocatable: Some(allocatable.into_iter().map(|(name, left)| (name, quantity(left.to_string()))).collect()),
        capacity: Some(capacity),
        conditions: Some(conditions(info, &host.pressure.lock(), old, now)),
        addresses: Some(addresses),
        images: Some(listed(images)),
        node_info: Some(system_info(info)),
        runtime_handlers: handlers(info),
        ..NodeStatus::default()
    }
}

/// Amounts of resources as numbers.
pub fn parsed(list: &BTreeMap<String, Quantity>) -> BTreeMap<String, Amount> {
    let parse = |(name, text): (&String, &Quantity)| Some((name.clone(), text.0.parse().ok()?));
    list.iter().filter_map(parse).collect()
}

/// What RuntimeClasses may name on this host; the one without a name is the default.
fn handlers(info: &HostInfo) -> Option<Vec<NodeRuntimeHandler>> {
    let handler = |name: &str| NodeRuntimeHandler { name: Some(name.into()), features: None };
    (!info.oci_runtime.is_empty()).then(|| vec![handler(""), handler(&info.oci_runtime)])
}

fn system_info(info: &HostInfo) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: info.arch.clone(),
        boot_id: info.boot_id.clone(),
        container_runtime_version: info.runtime_version.clone(),
        kernel_version: info.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBERNETES_VERSION.into(),
        machine_id: info.machine_id.clone(),
        operating_system: "linux".into(),
        os_image: info.os_image.clone(),
        swap: None,
        system_uuid: info.machine_id.clone(),
    }
}

fn listed(images: &[ImageInfo]) -> Vec<ContainerImage> {
    let mut images: Vec<_> = images.iter().filter(|i| !i.tags.is_empty() || !i.digests.is_empty()).collect();
    images.sort_by_key(|image| (std::cmp::Reverse(image.size), image.tags.clone()));
    let list = images.into_iter().take(MAX_IMAGES).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.tags).cloned().collect()),
        size_bytes: i64::try_from(image.size).ok(),
    });
    list.collect()
}

fn conditions(info: &HostInfo, pressure: &Pressure, old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let memory = if pressure.holds(Condition::Memory) {
        ("MemoryPressure", "True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
    } else {
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
    };
    let disk = if pressure.holds(Condition::Disk) {
        ("DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure")
    } else {
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
    };
    let unenforced = crate::kubelet::container::why_unenforced(info);
    let before = |name: &str| old.and_then(|s| s.conditions.as_ref())?.iter().find(|c| c.type_ == name);
    let mut all = vec![
        memory,
        disk,
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    match &unenforced {
        Some(why) => {
            let reason = if info.unenforced.is_empty() { NO_PODS } else { "NoCgroups" };
            all.insert(3, (UNENFORCED, "True", reason, why));
        }
        None if before(UNENFORCED).is_some() => {
            all.insert(3, (UNENFORCED, "False", "HasCgroups", "limits of cpu and memory hold"));
        }
        None => {}
    }
    let made = all.into_iter().map(|(name, status, reason, message)| {
        let kept = before(name).filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
        NodeCondition {
            type_: name.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(kept.unwrap_or(Time(now))),
        }
    });
    made.collect()
}

/// Which limits do not hold on a host, as its Node says: of `cpu` and `memory`, and whether those of pods as a whole;
/// and the host's cgroup version.
pub fn unenforced(node: &Node) -> (Vec<&'static str>, bool, u8) {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let found = conditions.into_iter().find(|c| c.type_ == UNENFORCED && c.status == "True");
    let Some(found) = found else { return (Vec::new(), false, 2) };
    if found.reason.as_deref() == Some(NO_PODS) {
        return (Vec::new(), true, 2);
    }
    // What follows is advice.
    let words = found.message.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
    let named = |name: &&str| words.split_whitespace().any(|word| word == *name);
    let version = if words.ends_with("cgroup version 1") { 1 } else { 2 };
    (["cpu", "memory"].into_iter().filter(named).collect(), false, version)
}

/// Whether a new status says anything new, heartbeat times aside.
pub fn differs(old: Option<&NodeStatus>, new: &NodeStatus) -> bool {
    let Some(old) = old else { return true };
    let said = |status: &NodeStatus| -> Vec<(String, String)> {
        let list = status.conditions.iter().flatten();
        list.filter(|c| !c.type_.starts_with("Network")).map(|c| (c.type_.clone(), c.status.clone())).collect()
    };
    let missing = said(new).iter().any(|condition| !said(old).contains(condition));
    missing
        || old.capacity != new.capacity
        || old.allocatable != new.allocatable
        || old.addresses != new.addresses
        || old.node_info != new.node_info
        || old.runtime_handlers != new.runtime_handlers
        || old.images.as_deref().unwrap_or_default() != new.images.as_deref().unwrap_or_default()
}

/// What brings a Node's status to `new`. What can be asked for no more is said to be gone.
pub fn patch(old: Option<&NodeStatus>, new: &NodeStatus) -> Value {
    let mut status = json!(new);
    let known = |name: &str| new.allocatable.as_ref().is_some_and(|list| list.contains_key(name));
    for name in old.and_then(|status| status.allocatable.as_ref()).into_iter().flatten().map(|(name, _)| name) {
        if !known(name) {
            status["allocatable"][name] = Value::Null;
        }
    }
    json!({"status": status})
}

pub fn lease(name: &str, node_uid: &str, seconds: i32, now: Timestamp) -> Lease {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid: node_uid.into(),
        ..OwnerReference::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("kube-node-lease".into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.into()),
            lease_duration_seconds: Some(seconds),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kubelet::eviction;
    use crate::kubelet::settings::Thresholds;

    #[test]
    fn conditions_keep_their_transition_times() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let info = HostInfo::default();
        let old = NodeStatus {
            conditions: Some(conditions(&info, &Pressure::default(), None, at(10))),
            ..NodeStatus::default()
        };
        let mut lost = old.clone();
        lost.conditions.as_mut().unwrap()[3].status = "Unknown".into();
        let new = conditions(&info, &Pressure::default(), Some(&lost), at(20));
        assert_eq!(new[0].last_transition_time, Some(Time(at(10))));
        assert_eq!(new[3].last_transition_time, Some(Time(at(20))));
        let new = NodeStatus { conditions: Some(new), ..NodeStatus::default() };
        assert!(differs(Some(&lost), &new));
        assert!(!differs(Some(&old), &new));
    }

    #[test]
    fn what_a_host_is_short_of_is_told() {
        let status = |name: &str, info: &HostInfo, old: Option<&NodeStatus>| {
            let mut pressure = Pressure::default();
            pressure.observe(
                &eviction::shortages(&eviction::observations(info, None), &Thresholds::default()),
                Timestamp::UNIX_EPOCH,
            );
            let all = conditions(info, &pressure, old, Timestamp::UNIX_EPOCH);
            all.into_iter().find(|c| c.type_ == name).map(|c| c.status)
        };
        for (images_used, volumes_used, expect) in [(85, 90, "False"), (86, 0, "True"), (0, 91, "True")] {
            let info = HostInfo {
                storage_size: 100,
                storage_used: images_used,
                volumes_size: 100,
                volumes_used,
                ..HostInfo::default()
            };
            let found = status("DiskPressure", &info, None);
            assert_eq!(found.as_deref(), Some(expect), "{images_used} {volumes_used}");
            assert_eq!(status("MemoryPressure", &info, None).as_deref(), Some("False"));
        }
        // Where nothing is known nothing is full.
        assert_eq!(status("DiskPressure", &HostInfo::default(), None).as_deref(), Some("False"));
        let bare = HostInfo { rootless: true, unenforced: vec!["cpu"], ..HostInfo::default() };
        assert_eq!(status(UNENFORCED, &bare, None).as_deref(), Some("True"));
        assert_eq!(status(UNENFORCED, &HostInfo::default(), None), None);
        let conditions = Some(conditions(&bare, &Pressure::default(), None, Timestamp::UNIX_EPOCH));
        let old = NodeStatus { conditions, ..NodeStatus::default() };
        assert_eq!(status(UNENFORCED, &HostInfo::default(), Some(&old)).as_deref(), Some("False"));
    }

    #[test]
    fn a_node_says_which_limits_do_not_hold() {
        let of = |names: &[&'static str], lone_containers, cgroup_version| {
            let info = HostInfo { unenforced: names.to_vec(), lone_containers, cgroup_version, ..HostInfo::default() };
            let conditions = Some(conditions(&info, &Pressure::default(), None, Timestamp::UNIX_EPOCH));
            unenforced(&Node { status: Some(NodeStatus { conditions, ..NodeStatus::default() }), ..Node::default() })
        };
        assert_eq!(of(&[], false, 2), (vec![], false, 2));
        assert_eq!(of(&[], true, 2), (vec![], true, 2));
        assert_eq!(of(&["cpu"], false, 2), (vec!["cpu"], false, 2), "memory is in the advice only");
        assert_eq!(of(&["cpu", "memory"], true, 1), (vec!["cpu", "memory"], false, 1));
    }
}
