//! Whether a host takes a pod that is bound to it: what the scheduler did not look at, or was not asked
//! about, because the pod names its node itself. Pure.
//!
//! Reasons and messages are those of Kubernetes' kubelet: controllers replace pods that fail so.

mod make_way;
mod room;

use crate::api::placement;
use crate::kubelet::pod::plan::Failure;
use crate::kubelet::pod::{all_containers, spec};
use crate::kubelet::runtime::{HostInfo, PortMapping};
use crate::kubelet::sandbox::{ports, sysctl_name};
use crate::kubelet::static_pods;
use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Node, Pod};
use std::sync::Arc;

/// Sysctls that touch nothing but the pod that sets them, and whose namespace they are in.
const SAFE: [(&str, Namespace); 12] = [
    ("kernel.shm_rmid_forced", Namespace::Ipc),
    ("net.ipv4.ip_local_port_range", Namespace::Network),
    ("net.ipv4.ip_local_reserved_ports", Namespace::Network),
    ("net.ipv4.ip_unprivileged_port_start", Namespace::Network),
    ("net.ipv4.ping_group_range", Namespace::Network),
    ("net.ipv4.tcp_fin_timeout", Namespace::Network),
    ("net.ipv4.tcp_keepalive_intvl", Namespace::Network),
    ("net.ipv4.tcp_keepalive_probes", Namespace::Network),
    ("net.ipv4.tcp_keepalive_time", Namespace::Network),
    ("net.ipv4.tcp_rmem", Namespace::Network),
    ("net.ipv4.tcp_syncookies", Namespace::Network),
    ("net.ipv4.tcp_wmem", Namespace::Network),
];

/// The refusal that newer labels of the host may undo.
pub const NODE_AFFINITY: &str = "NodeAffinity";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Network,
}

/// From this priority on pods are critical to the cluster.
const CRITICAL: i32 = 2_000_000_000;
const OS: &str = "linux";

/// What is decided about a pod.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Admit,
    Refuse(Failure),
    /// It is critical, and taken as soon as these have made way.
    MakeWay(Vec<Arc<Pod>>),
}

/// Decides about a new pod. `node` is its host, where that is known; `others` are the pods that the host has
/// taken and that are not over.
pub fn decide(pod: &Pod, node: Option<&Node>, others: &[Arc<Pod>]) -> Verdict {
    if let Some((reason, why)) = unfit(pod) {
        return refuse(reason, why);
    }
    let shortages = node.map(|node| room::shortages(pod, node, others)).unwrap_or_default();
    let misfits = misfits(pod, node, others);
    let Some(shortage) = shortages.first() else {
        let first = misfits.into_iter().next();
        return first.map_or(Verdict::Admit, |(filter, why)| refuse(filter, failed(filter, why)));
    };
    if !is_critical(pod) {
        return refuse(format!("OutOf{}", shortage.resource), shortage.to_string());
    }
    if let Some((filter, why)) = misfits.into_iter().next() {
        return refuse(filter, failed(filter, why));
    }
    match make_way::victims(pod, others, &shortages) {
        Ok(victims) => Verdict::MakeWay(victims),
        Err(why) => refuse("UnexpectedAdmissionError", why),
    }
}

/// What this very host cannot enforce for the pod, and does not run without.
pub fn unenforceable(pod: &Pod, host: &HostInfo) -> Option<Failure> {
    let confined = |profile: Option<&AppArmorProfile>| profile.is_some_and(|profile| profile.type_ != "Unconfined");
    let of_pod = spec(pod).security_context.as_ref();
    let own = |container: &Container| {
        let context = container.security_context.as_ref();
        confined(context.and_then(|context| context.app_armor_profile.as_ref()))
    };
    let asked = confined(of_pod.and_then(|context| context.app_armor_profile.as_ref()))
        || all_containers(spec(pod)).any(|(_, container)| own(container));
    (asked && host.no_apparmor).then(|| Failure {
        reason: "AppArmor".into(),
        message: "Cannot enforce AppArmor: AppArmor is not enabled on the host".into(),
    })
}

fn refuse(reason: impl Into<std::borrow::Cow<'static, str>>, message: String) -> Verdict {
    Verdict::Refuse(Failure { reason: reason.into(), message })
}

fn failed(filter: &str, why: &str) -> String {
    format!("Predicate {filter} failed: {why}")
}

/// By priority; static pods always are, as in Kubernetes: one that is refused would not be tried again.
pub fn is_critical(pod: &Pod) -> bool {
    static_pods::is_static(pod) || spec(pod).priority.is_some_and(|priority| priority >= CRITICAL)
}

/// What no host of this kind can do for the pod.
fn unfit(pod: &Pod) -> Option<(&'static str, String)> {
    if let Some(why) = sysctl(pod) {
        return Some(("SysctlForbidden", why));
    }
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if label.is_some_and(|label| label != OS) {
        let why = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(("PodOSSelectorNodeLabelDoesNotMatch", why.into()));
    }
    let is_other = spec(pod).os.as_ref().is_some_and(|os| os.name != OS);
    is_other.then(|| ("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS".into()))
}

/// The filters, by their names among the scheduler's, that keep the pod from this host, and why.
fn misfits(pod: &Pod, node: Option<&Node>, others: &[Arc<Pod>]) -> Vec<(&'static str, &'static str)> {
    let spec = spec(pod);
    let selects = |node: &Node| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        placement::selects(spec, name, node.metadata.labels.as_ref())
    };
    let repels = |node: &Node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
        // The others keep pods from being scheduled, and this one names its node.
        taints.filter(|taint| taint.effect == "NoExecute").any(|taint| !placement::tolerates(spec, taint))
    };
    let mut found = Vec::new();
    if node.is_some_and(|node| !selects(node)) {
        found.push((NODE_AFFINITY, "node(s) didn't match Pod's node affinity/selector"));
    }
    if has_taken_ports(pod, others) {
        found.push(("NodePorts", "node(s) didn't have free ports for the requested pod ports"));
    }
    if node.is_some_and(repels) {
        found.push(("TaintToleration", "node(s) had taints that the pod didn't tolerate"));
    }
    found
}

fn sysctl(pod: &Pod) -> Option<String> {
    let spec = spec(pod);
    let wanted = spec.security_context.as_ref()?.sysctls.as_ref()?;
    wanted.iter().find_map(|sysctl| {
        let name = sysctl_name(&sysctl.name);
        let why = match SAFE.iter().find(|(safe, _)| *safe == name) {
            None => "not allowlisted",
            Some((_, Namespace::Network)) if spec.host_network == Some(true) => "not allowed with host net enabled",
            Some((_, Namespace::Ipc)) if spec.host_ipc == Some(true) => "not allowed with host ipc enabled",
            Some(_) => return None,
        };
        Some(format!("forbidden sysctl: {name:?} {why}"))
    })
}

fn has_taken_ports(pod: &Pod, others: &[Arc<Pod>]) -> bool {
    let own = ports(pod);
    !own.is_empty()
        && others.iter().flat_map(|other| ports(other)).any(|taken| own.iter().any(|port| clash(port, &taken)))
}

fn clash(one: &PortMapping, other: &PortMapping) -> bool {
    let any = |port: &PortMapping| port.host_ip.is_none_or(|address| address.is_unspecified());
    (one.host_port, one.protocol) == (other.host_port, other.protocol)
        && (one.host_ip == other.host_ip || any(one) || any(other))
}

#[cfg(test)]
mod tests;
