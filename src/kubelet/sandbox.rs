//! The sandbox a pod asks for: host name, ports, DNS, host namespaces. Pure.

use crate::kubelet::pod::{all_containers, identity, spec};
use crate::kubelet::runtime::{DnsSpec, PortMapping, Protocol, SandboxSpec};
use k8s_openapi::api::core::v1::Pod;

/// Names longer than Linux allows for a host name are cut, as the kubelet does.
const MAX_HOSTNAME: usize = 63;

/// What the runtime is asked for.
pub fn sandbox(pod: &Pod) -> SandboxSpec {
    let identity = identity(pod);
    let spec = spec(pod);
    let host_network = spec.host_network == Some(true);
    let aliases = spec.host_aliases.iter().flatten();
    let security = spec.security_context.as_ref();
    SandboxSpec {
        hostname: kernel_name(pod),
        dns: dns(pod),
        host_aliases: aliases.map(|a| (a.ip.clone(), a.hostnames.clone().unwrap_or_default())).collect(),
        host_network,
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        share_pid: spec.share_process_namespace == Some(true),
        ports: if host_network { Vec::new() } else { ports(pod) },
        sysctls: security
            .and_then(|s| s.sysctls.as_ref())
            .into_iter()
            .flatten()
            .map(|s| (s.name.clone(), s.value.clone()))
            .collect(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        pod: identity,
        ..SandboxSpec::default()
    }
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

/// Only what the pod says itself: cluster DNS is the network's business and the host's resolver
/// serves until there is one.
fn dns(pod: &Pod) -> DnsSpec {
    let Some(config) = &spec(pod).dns_config else { return DnsSpec::default() };
    let options = config.options.iter().flatten().filter_map(|option| {
        let name = option.name.clone()?;
        Some(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")))
    });
    DnsSpec {
        servers: config.nameservers.clone().unwrap_or_default(),
        searches: config.searches.clone().unwrap_or_default(),
        options: options.collect(),
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
    fn maps_host_ports_and_names() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web-1", "namespace": "ns"}, "spec": {
            "subdomain": "web", "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["db"]}],
            "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
            "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]}}))
        .unwrap();
        let made = sandbox(&pod);
        assert_eq!(made.hostname, "web-1");
        assert_eq!(made.ports.len(), 1);
        assert_eq!((made.ports[0].host_port, made.ports[0].container_port), (8080, 80));
        assert_eq!(made.dns.options, ["ndots:2"]);
        assert_eq!(made.host_aliases, [("10.0.0.9".to_string(), vec!["db".to_string()])]);
    }
}
