//! Whether a host takes a pod that is bound to it: what the scheduler did not look at, or was not asked
//! about, because the pod names its node itself. Pure.
//!
//! Reasons and messages are those of Kubernetes' kubelet: controllers replace pods that fail so.

use crate::kubelet::pod::plan::Failure;
use crate::kubelet::pod::{is_terminal, spec};
use crate::kubelet::runtime::PortMapping;
use crate::kubelet::sandbox::ports;
use k8s_openapi::api::core::v1::Pod;
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Network,
}

/// Why a new pod must not run beside `others` of its node, which are asked for only where they matter;
/// `None`: it may.
pub fn refusal(pod: &Pod, others: impl FnOnce() -> Vec<Arc<Pod>>) -> Option<Failure> {
    let (reason, why) = match sysctl(pod) {
        Some(why) => ("SysctlForbidden", why),
        None if has_taken_ports(pod, others) => {
            let why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
            ("NodePorts", why.to_owned())
        }
        None => return None,
    };
    Some(Failure { reason, message: format!("Pod was rejected: {why}") })
}

fn sysctl(pod: &Pod) -> Option<String> {
    let spec = spec(pod);
    let wanted = spec.security_context.as_ref()?.sysctls.as_ref()?;
    wanted.iter().find_map(|sysctl| {
        // Slashes are the other way to write the dots.
        let name = sysctl.name.replace('/', ".");
        let why = match SAFE.iter().find(|(safe, _)| *safe == name) {
            None => "not allowlisted",
            Some((_, Namespace::Network)) if spec.host_network == Some(true) => "not allowed with host net enabled",
            Some((_, Namespace::Ipc)) if spec.host_ipc == Some(true) => "not allowed with host ipc enabled",
            Some(_) => return None,
        };
        Some(format!("forbidden sysctl: {name:?} {why}"))
    })
}

fn has_taken_ports(pod: &Pod, others: impl FnOnce() -> Vec<Arc<Pod>>) -> bool {
    let own = ports(pod);
    if own.is_empty() {
        return false;
    }
    let others = others();
    let running = others.iter().filter(|other| other.metadata.uid != pod.metadata.uid && !is_terminal(other));
    running.flat_map(|other| ports(other)).any(|taken| own.iter().any(|port| clash(port, &taken)))
}

fn clash(one: &PortMapping, other: &PortMapping) -> bool {
    let any = |port: &PortMapping| port.host_ip.is_none_or(|address| address.is_unspecified());
    (one.host_port, one.protocol) == (other.host_port, other.protocol)
        && (one.host_ip == other.host_ip || any(one) || any(other))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn pod(uid: &str, spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap()
    }

    fn reason(new: &Pod, others: &[Pod]) -> Option<(&'static str, String)> {
        refusal(new, || others.iter().cloned().map(Arc::new).collect()).map(|failure| (failure.reason, failure.message))
    }

    #[test]
    fn only_safe_sysctls_are_set() {
        let with = |name: &str, more: Value| {
            let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            reason(&pod("a", spec), &[])
        };
        assert_eq!(with("kernel.shm_rmid_forced", json!({})), None);
        assert_eq!(with("net/ipv4/tcp_syncookies", json!({})), None);
        let message = "Pod was rejected: forbidden sysctl: \"kernel.shmmax\" not allowlisted";
        assert_eq!(with("kernel.shmmax", json!({})), Some(("SysctlForbidden", message.into())));
        let message = "Pod was rejected: forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host net enabled";
        let of_host = with("net.ipv4.tcp_rmem", json!({"hostNetwork": true}));
        assert_eq!(of_host, Some(("SysctlForbidden", message.into())));
    }

    #[test]
    fn host_ports_are_free() {
        let with = |uid: &str, ip: &str| {
            let port = json!({"containerPort": 80, "hostPort": 80, "hostIP": ip});
            pod(uid, json!({"containers": [{"name": "c", "ports": [port]}]}))
        };
        let first = with("a", "127.0.0.1");
        assert_eq!(reason(&first, std::slice::from_ref(&first)), None);
        assert_eq!(reason(&with("b", "127.0.0.2"), std::slice::from_ref(&first)), None);
        assert_eq!(reason(&with("b", ""), std::slice::from_ref(&first)).unwrap().0, "NodePorts");
        let mut over = first;
        over.status.get_or_insert_default().phase = Some("Failed".into());
        assert_eq!(reason(&with("b", ""), &[over]), None);
    }
}
