//! The `/etc/hosts` of a pod's containers, as Kubernetes' kubelet writes it. Pure.

use crate::kubelet::fields::HostFacts;
use crate::kubelet::pod::spec;
use crate::kubelet::sandbox::{hostname, subdomain};
use k8s_openapi::api::core::v1::Pod;
use std::fmt::Write;

/// Where containers look for it. One that mounts something else there keeps that.
pub const PATH: &str = "/etc/hosts";

const OWN: &str = "# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

/// What the file holds; `of_host` is the host's own, for pods in its network.
pub fn content(pod: &Pod, facts: &HostFacts, of_host: &str) -> String {
    let mut text = match spec(pod).host_network {
        Some(true) => format!("# Kubernetes-managed hosts file (host network).\n{of_host}"),
        _ => own(pod, facts),
    };
    let aliases = spec(pod).host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text += "\n# Entries added by HostAliases.\n";
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{}\t{}", alias.ip, names.join("\t"));
    }
    text
}

fn own(pod: &Pod, facts: &HostFacts) -> String {
    let mut text = OWN.to_owned();
    let name = hostname(pod);
    for ip in &facts.pod_ips {
        let _ = match subdomain(pod) {
            Some(domain) => writeln!(text, "{ip}\t{name}.{domain}\t{name}"),
            None => writeln!(text, "{ip}\t{name}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn of(spec: Value) -> String {
        let pod = json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec});
        let facts = HostFacts { pod_ips: vec!["10.0.0.7".into()], ..HostFacts::default() };
        content(&serde_json::from_value(pod).unwrap(), &facts, "127.0.0.1 here\n")
    }

    #[test]
    fn names_the_pod_and_its_aliases() {
        let aliases = json!([{"ip": "10.0.0.9", "hostnames": ["db", "db.shop"]}]);
        let text = of(json!({"containers": [], "hostAliases": aliases}));
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.contains("10.0.0.7\tweb-0\n\n# Entries added by HostAliases.\n10.0.0.9\tdb\tdb.shop\n"), "{text}");
        let text = of(json!({"containers": [], "subdomain": "web"}));
        assert!(text.ends_with("10.0.0.7\tweb-0.web.shop.svc.cluster.local\tweb-0\n"), "{text}");
    }

    #[test]
    fn the_hosts_own_file_is_that_of_its_network() {
        let text = of(json!({"containers": [], "hostNetwork": true}));
        assert_eq!(text, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 here\n");
    }
}
