//! What a pod's resolv.conf says, by its `dnsPolicy` and `dnsConfig`. Pure, but for the look at the host's own.
//!
//! There is no DNS of the cluster: as in a kubelet without `--cluster-dns`, pods that ask for it are told and get
//! what the host has.

use crate::kubelet::pod::{identity, spec};
use crate::kubelet::runtime::DnsSpec;
use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};
use std::net::IpAddr;

/// What Kubernetes and the C library take of each.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

const OF_HOST: &str = "/etc/resolv.conf";
/// Where systemd-resolved, which listens on an address that no pod reaches, writes what it asks itself.
const OF_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What a pod is given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// All empty: the host's own, as Podman hands it on.
    pub dns: DnsSpec,
    /// Reasons and messages of warnings.
    pub warnings: Vec<(&'static str, String)>,
}

/// `host` is what the host's own says, where that is known.
pub fn resolver(pod: &Pod, host: Option<&DnsSpec>) -> Resolver {
    let spec = spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let mut warnings = Vec::new();
    // `ClusterFirst` is the default: a warning on each pod would bury those that matter.
    if policy == "ClusterFirstWithHostNet" {
        let pod = identity(pod);
        let name = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
        let what = format!(
            "pod: {name:?}. kubelet does not have ClusterDNS IP configured and cannot create Pod using {policy:?} \
             policy. Falling back to \"Default\" policy."
        );
        warnings.push(("MissingClusterDNS", what));
    }
    let asked = spec.dns_config.clone().unwrap_or_default();
    let mut dns = if policy == "None" {
        let mut dns = merge(&DnsSpec::default(), &asked);
        // What is not said at all would be the host's.
        for list in [&mut dns.searches, &mut dns.options].into_iter().filter(|list| list.is_empty()) {
            list.push(String::new());
        }
        if dns.searches == [""] {
            dns.searches = vec![".".into()];
        }
        dns
    } else {
        added(&asked, host, spec.host_network == Some(true), &mut warnings)
    };
    limit(&mut dns, &mut warnings);
    Resolver { dns, warnings }
}

/// The host's own with what the pod adds. A list to which it adds nothing stays as Podman has it.
fn added(
    asked: &PodDNSConfig,
    host: Option<&DnsSpec>,
    host_network: bool,
    warnings: &mut Vec<(&'static str, String)>,
) -> DnsSpec {
    let mut own = host.cloned().unwrap_or_default();
    if !host_network {
        // A server of the host's loopback is none of the pod's.
        own.servers.retain(|server| server.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback()));
    }
    let mut dns = merge(&own, asked);
    let lists = [
        ("nameservers", asked.nameservers.as_ref().is_none_or(Vec::is_empty), &mut dns.servers),
        ("searches", asked.searches.as_ref().is_none_or(Vec::is_empty), &mut dns.searches),
        ("options", asked.options.as_ref().is_none_or(Vec::is_empty), &mut dns.options),
    ];
    let mut replaced = Vec::new();
    for (name, untouched, list) in lists {
        if untouched {
            list.clear();
        } else if host.is_none() {
            replaced.push(name);
        }
    }
    if !replaced.is_empty() {
        let what = format!(
            "the host's own resolv.conf cannot be read from here: the pod's {} take the place of the host's",
            replaced.join(" and ")
        );
        warnings.push(("DNSConfigForming", what));
    }
    dns
}

/// What both say, without repetitions; of two options of one name the pod's counts.
fn merge(own: &DnsSpec, asked: &PodDNSConfig) -> DnsSpec {
    let union = |own: &[String], asked: Option<&Vec<String>>| {
        let mut all: Vec<String> = Vec::new();
        for one in own.iter().chain(asked.into_iter().flatten()) {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
        all
    };
    let options: Vec<String> = asked
        .options
        .iter()
        .flatten()
        .filter_map(|option| {
            let name = option.name.as_deref()?;
            Some(option.value.as_ref().map_or(name.to_owned(), |value| format!("{name}:{value}")))
        })
        .collect();
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    let others = own.options.iter().filter(|own| options.iter().all(|option| name(option) != name(own)));
    DnsSpec {
        servers: union(&own.servers, asked.nameservers.as_ref()),
        searches: union(&own.searches, asked.searches.as_ref()),
        options: others.chain(&options).cloned().collect(),
    }
}

/// Leaves away what no resolver would take.
fn limit(dns: &mut DnsSpec, warnings: &mut Vec<(&'static str, String)>) {
    if dns.servers.len() > MAX_SERVERS {
        dns.servers.truncate(MAX_SERVERS);
        let what = format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            dns.servers.join(" ")
        );
        warnings.push(("DNSConfigForming", what));
    }
    let before = dns.searches.len();
    dns.searches.truncate(MAX_SEARCHES);
    while dns.searches.join(" ").len() > MAX_SEARCH_CHARS {
        dns.searches.pop();
    }
    if dns.searches.len() < before {
        let what = format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            dns.searches.join(" ")
        );
        warnings.push(("DNSConfigForming", what));
    }
}

/// What this machine's own says.
pub fn of_this_machine() -> Option<DnsSpec> {
    let own = parse(&std::fs::read_to_string(OF_HOST).ok()?);
    let stub = own.servers.iter().all(|server| server.starts_with("127."));
    let behind = std::fs::read_to_string(OF_RESOLVED).ok().filter(|_| stub);
    Some(behind.map_or(own, |text| parse(&text)))
}

/// Of several lines of searches or options the last one counts.
fn parse(text: &str) -> DnsSpec {
    let mut dns = DnsSpec::default();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.servers.extend(words.next()),
            Some("search" | "domain") => dns.searches = words.collect(),
            Some("options") => dns.options = words.collect(),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn of(spec: Value, host: Option<&str>) -> Resolver {
        let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec});
        resolver(&serde_json::from_value(pod).unwrap(), host.map(parse).as_ref())
    }

    fn reasons(made: &Resolver) -> Vec<&'static str> {
        made.warnings.iter().map(|(reason, _)| *reason).collect()
    }

    #[test]
    fn nothing_of_the_host_where_the_pod_says_none() {
        let config = json!({"nameservers": ["10.0.0.1"]});
        let host = Some("nameserver 192.0.2.1\nsearch example.org\noptions edns0");
        let made = of(json!({"dnsPolicy": "None", "dnsConfig": config, "containers": []}), host);
        assert_eq!(made.dns.servers, ["10.0.0.1"]);
        assert_eq!((made.dns.searches, made.dns.options), (vec![".".to_owned()], vec![String::new()]));
        let config =
            json!({"nameservers": ["10.0.0.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}]});
        let made = of(json!({"dnsPolicy": "None", "dnsConfig": config, "containers": []}), host);
        assert_eq!((made.dns.searches, made.dns.options), (vec!["a".to_owned()], vec!["ndots:2".to_owned()]));
        assert!(made.warnings.is_empty());
    }

    #[test]
    fn the_pod_adds_to_what_the_host_has() {
        let host =
            Some("# mine\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch example.org\noptions ndots:1 edns0\n");
        let config = json!({"nameservers": ["10.0.0.1", "192.0.2.1"], "searches": ["a"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]});
        let made = of(json!({"dnsPolicy": "Default", "dnsConfig": config.clone(), "containers": []}), host);
        assert_eq!(made.dns.servers, ["192.0.2.1", "10.0.0.1"]);
        assert_eq!(made.dns.searches, ["example.org", "a"]);
        assert_eq!(made.dns.options, ["edns0", "ndots:2", "rotate"]);
        assert!(made.warnings.is_empty());
        let elsewhere = of(json!({"dnsPolicy": "Default", "dnsConfig": config.clone(), "containers": []}), None);
        assert_eq!(elsewhere.dns.servers, ["10.0.0.1", "192.0.2.1"]);
        assert_eq!(reasons(&elsewhere), ["DNSConfigForming"]);
        let of_host = json!({"dnsPolicy": "Default", "hostNetwork": true, "dnsConfig": config, "containers": []});
        assert_eq!(of(of_host, host).dns.servers, ["127.0.0.53", "192.0.2.1", "10.0.0.1"]);
        assert_eq!(of(json!({"dnsPolicy": "Default", "containers": []}), host), Resolver::default());
        let options = json!({"options": [{"name": "ndots", "value": "2"}]});
        let made = of(json!({"dnsPolicy": "Default", "dnsConfig": options, "containers": []}), host);
        assert!(made.dns.servers.is_empty() && made.dns.searches.is_empty(), "Podman knows them better");
    }

    #[test]
    fn who_asks_for_the_clusters_is_told() {
        let on_host = |policy| json!({"dnsPolicy": policy, "hostNetwork": true, "containers": []});
        let made = of(on_host("ClusterFirstWithHostNet"), None);
        assert_eq!(made.dns, DnsSpec::default());
        let words = "pod: \"p_ns(u)\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \
                     \"ClusterFirstWithHostNet\" policy. Falling back to \"Default\" policy.";
        assert_eq!(made.warnings, [("MissingClusterDNS", words.to_owned())]);
        assert!(of(on_host("ClusterFirst"), None).warnings.is_empty());
        assert!(of(json!({"containers": []}), None).warnings.is_empty(), "all pods would be warned");
    }

    #[test]
    fn too_much_is_left_away() {
        let servers: Vec<String> = (1..6).map(|n| format!("10.0.0.{n}")).collect();
        let searches: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
        let config = json!({"nameservers": servers, "searches": searches});
        let made = of(json!({"dnsPolicy": "None", "dnsConfig": config, "containers": []}), None);
        assert_eq!((made.dns.servers.len(), made.dns.searches.len()), (3, 32));
        assert_eq!(reasons(&made), ["DNSConfigForming"; 2]);
        assert!(made.warnings[0].1.ends_with("the applied nameserver line is: 10.0.0.1 10.0.0.2 10.0.0.3"));
    }
}
