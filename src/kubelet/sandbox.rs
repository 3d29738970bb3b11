//! The sandbox a pod asks for: host name, ports, host namespaces. Pure.

use crate::kubelet::container::security;
use crate::kubelet::pod::{all_containers, identity, spec};
use crate::kubelet::resources;
use crate::kubelet::runtime::{PortMapping, Protocol, SandboxSpec};
use k8s_openapi::api::core::v1::{Container, Pod};

/// Names longer than Linux allows for a host name are cut, as the kubelet does.
const MAX_HOSTNAME: usize = 63;

/// What the runtime is asked for.
pub fn sandbox(pod: &Pod) -> SandboxSpec {
    let identity = identity(pod);
    let spec = spec(pod);
    let host_network = spec.host_network == Some(true);
    let aliases = spec.host_aliases.iter().flatten();
    let context = spec.security_context.as_ref();
    SandboxSpec {
        hostname: kernel_name(pod),
        host_aliases: aliases.map(|a| (a.ip.clone(), a.hostnames.clone().unwrap_or_default())).collect(),
        host_network,
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        share_pid: spec.share_process_namespace == Some(true),
        ports: if host_network { Vec::new() } else { ports(pod) },
        sysctls: context
            .and_then(|s| s.sysctls.as_ref())
            .into_iter()
            .flatten()
            .map(|s| (sysctl_name(&s.name), s.value.clone()))
            .collect(),
        se_linux: security::sandbox_labels(pod),
        lone: is_lone(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        pod: identity,
        ..SandboxSpec::default()
    }
}

/// Whether nothing needs to hold the pod's namespaces, which takes half of what it costs to start one: there is one
/// container to have them, and its address is the pod's for life, because it is the host's or because the container is
/// never started again. Whoever is told the address before has it held.
fn is_lone(pod: &Pod) -> bool {
    let spec = spec(pod);
    let [container] = &spec.containers[..] else { return false };
    let others = spec.init_containers.iter().flatten().count() + spec.ephemeral_containers.iter().flatten().count();
    let shared = spec.share_process_namespace == Some(true) || resources::whole(spec).is_some();
    let once = spec.restart_policy.as_deref() == Some("Never")
        && container.restart_policy.is_none()
        && container.restart_policy_rules.iter().flatten().count() == 0;
    others == 0 && !shared && (spec.host_network == Some(true) || once && !is_told_address(container))
}

fn is_told_address(container: &Container) -> bool {
    let sources =
        container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()?.field_ref.as_ref());
    sources.map(|field| field.field_path.as_str()).any(|path| path.starts_with("status.podIP"))
}

/// The name of a kernel setting as runtimes take it, with dots between its parts. Whoever has slashes there has dots
/// where others have slashes: `net/ipv4/conf/eth0.1/forwarding` is `net.ipv4.conf.eth0/1.forwarding`.
pub fn sysctl_name(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('/') => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

/// Why no host can give the pod what it asks for.
pub fn impossible(pod: &Pod) -> Option<String> {
    let spec = spec(pod);
    let handler = spec.runtime_class_name.as_deref().unwrap_or_default();
    // Its volumes would have to be mounted with other owners, which neither Podman 4.3 nor runc can.
    (spec.host_users == Some(false))
        .then(|| format!("RuntimeClass handler {handler:?} does not support user namespaces"))
}

/// Where a pod with a subdomain is found: the name after its host name's dot.
pub fn subdomain(pod: &Pod) -> Option<String> {
    let subdomain = spec(pod).subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{subdomain}.{namespace}.svc.cluster.local"))
}

/// The host name, before [`subdomain`] makes it longer.
pub fn hostname(pod: &Pod) -> String {
    let spec = spec(pod);
    let name = spec.hostname.as_deref().filter(|h| !h.is_empty()).or(pod.metadata.name.as_deref()).unwrap_or_default();
    let short: String = name.chars().take(MAX_HOSTNAME).collect();
    short.trim_end_matches(['-', '.']).to_string()
}

/// What the kernel calls the pod.
fn kernel_name(pod: &Pod) -> String {
    match subdomain(pod).filter(|_| spec(pod).set_hostname_as_fqdn == Some(true)) {
        Some(domain) => format!("{}.{domain}", hostname(pod)),
        None => hostname(pod),
    }
}

/// The ports of the host that lead to the pod.
pub fn ports(pod: &Pod) -> Vec<PortMapping> {
    let declared = all_containers(spec(pod)).flat_map(|(_, c)| c.ports.iter().flatten());
    let mapped = declared.filter_map(|port| {
        Some(PortMapping {
            host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
            host_port: u16::try_from(port.host_port?).ok().filter(|p| *p > 0)?,
            container_port: u16::try_from(port.container_port).ok()?,
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
        })
    });
    mapped.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn kernel_settings_are_written_either_way() {
        for (given, name) in [
            ("kernel.shm_rmid_forced", "kernel.shm_rmid_forced"),
            ("kernel/shm_rmid_forced", "kernel.shm_rmid_forced"),
            ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ] {
            assert_eq!(sysctl_name(given), name);
        }
    }

    #[test]
    fn who_needs_nobody_to_hold_its_namespaces() {
        let lone = |spec: serde_json::Value| {
            let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec});
            sandbox(&serde_json::from_value(pod).unwrap()).lone
        };
        let one = json!([{"name": "c"}]);
        let with = |key: &str, value: serde_json::Value| {
            let mut spec = json!({"restartPolicy": "Never", "containers": one});
            spec[key] = value;
            lone(spec)
        };
        assert!(with("hostname", json!("worker")), "it runs once");
        assert!(!with("restartPolicy", json!("Always")) && !with("restartPolicy", json!("OnFailure")));
        assert!(lone(json!({"hostNetwork": true, "restartPolicy": "Always", "containers": one})));
        for list in ["initContainers", "ephemeralContainers"] {
            assert!(!with(list, json!([{"name": "other"}])), "{list}");
        }
        assert!(!with("containers", json!([{"name": "c"}, {"name": "other"}])));
        assert!(!with("shareProcessNamespace", json!(true)), "the first process of which is the holder");
        assert!(!with("resources", json!({"limits": {"cpu": "1"}})), "which the holder's group has");
        let told = |path: &str| json!([{"name": "c", "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}]);
        assert!(!with("containers", told("status.podIP")) && !with("containers", told("status.podIPs")));
        assert!(with("containers", told("status.hostIP")));
        assert!(!with("containers", json!([{"name": "c", "restartPolicy": "OnFailure"}])));
        let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
        assert!(!with("containers", json!([{"name": "c", "restartPolicyRules": rules}])));
    }

    #[test]
    fn maps_host_ports_and_names() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web-1", "namespace": "ns"}, "spec": {
            "subdomain": "web", "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["db"]}],
            "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]}}))
        .unwrap();
        let made = sandbox(&pod);
        assert_eq!(made.hostname, "web-1");
        assert_eq!(made.ports.len(), 1);
        assert_eq!((made.ports[0].host_port, made.ports[0].container_port), (8080, 80));
        assert_eq!(impossible(&pod), None);
        let mut alone = pod.clone();
        alone.spec.as_mut().unwrap().host_users = Some(false);
        assert_eq!(impossible(&alone).unwrap(), "RuntimeClass handler \"\" does not support user namespaces");
        assert_eq!(made.host_aliases, [("10.0.0.9".to_string(), vec!["db".to_string()])]);
    }
}
