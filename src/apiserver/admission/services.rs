//! Addresses of services: cluster IPs out of the service range, node ports out of theirs.
//!
//! What is taken is read from the services themselves; the caller holds the allocation lock, so
//! that two new services never get the same address. It is read only where something is allocated, and
//! of each service only what says what it takes: a change set may bring thousands of services.

use crate::api::error::{ApiError, FieldError};
use crate::apiserver::resources::Writer;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// The ports a NodePort service gets.
pub const NODE_PORTS: RangeInclusive<u16> = 30000..=32767;

/// An IPv4 range, `10.96.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// Prefixes from 8 to 30; host bits are cleared.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| (8..=30).contains(prefix))?;
        let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
        Some(Self { base: address & (u32::MAX << (32 - prefix)), prefix })
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & (u32::MAX << (32 - self.prefix)) == self.base
    }

    /// The first usable address: the one of the service `kubernetes`.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    /// The number of usable addresses (all but network, the first and broadcast).
    fn hosts(&self) -> u32 {
        (1u32 << (32 - self.prefix)) - 3
    }

    /// Usable address number `index`.
    fn host(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 2 + index % self.hosts())
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

impl Default for Cidr {
    fn default() -> Self {
        Self { base: u32::from(Ipv4Addr::new(10, 96, 0, 0)), prefix: 16 }
    }
}

/// What other services have; read when first asked.
struct Others<'a, 'w> {
    writer: &'a Writer<'w>,
    taken: OnceCell<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<String>,
    ports: HashSet<(u64, String)>,
}

/// The part of a service that takes something.
#[derive(Deserialize)]
struct Holder {
    #[serde(default)]
    spec: HolderSpec,
}

#[derive(Default, Deserialize)]
struct HolderSpec {
    #[serde(default)]
    ports: Option<Vec<HolderPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HolderPort {
    #[serde(default)]
    node_port: Option<u64>,
    #[serde(default)]
    protocol: Option<String>,
}

/// Fills in clusterIP(s) and node ports of `service`; checks the ones it asks for.
pub fn allocate(writer: &Writer<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    if service["spec"]["type"] == "ExternalName" || !service["spec"].is_object() {
        return Ok(());
    }
    if let Some(old) = old {
        keep(service, old);
    }
    let others = Others { writer, taken: OnceCell::new() };
    let mut errors = Vec::new();
    address(service, old, &others, &mut errors);
    node_ports(service, old, &others, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(writer.at.target(), writer.at.name, &errors)) }
}

impl Others<'_, '_> {
    fn taken(&self) -> &Taken {
        self.taken.get_or_init(|| self.read())
    }

    fn read(&self) -> Taken {
        let (mut taken, writer) = (Taken::default(), self.writer);
        for record in writer.view.scan(&writer.at.bucket()) {
            if record.envelope.name == writer.at.name && record.envelope.namespace == writer.at.namespace {
                continue;
            }
            let field = |name: &str| record.envelope.fields.iter().find(|(known, _)| *known == name);
            taken.addresses.extend(field("spec.clusterIP").map(|(_, address)| address.clone()));
            if field("spec.type").is_some_and(|(_, kind)| !matches!(kind.as_str(), "NodePort" | "LoadBalancer")) {
                continue;
            }
            // Stored bytes always parse.
            let Ok(Holder { spec }) = serde_json::from_slice(&record.value.bytes()) else { continue };
            for port in spec.ports.into_iter().flatten() {
                let protocol = port.protocol.unwrap_or_else(|| "TCP".into());
                taken.ports.extend(port.node_port.map(|number| (number, protocol)));
            }
        }
        taken
    }
}

/// An update that leaves addresses out keeps them.
fn keep(service: &mut Value, old: &Value) {
    if old["spec"]["type"] == "ExternalName" {
        return;
    }
    for name in ["clusterIP", "clusterIPs"] {
        if service["spec"][name].is_null() || service["spec"][name] == "" {
            service["spec"][name] = old["spec"][name].clone();
        }
    }
    if !has_node_ports(service) {
        if has_node_ports(old) {
            for port in ports_mut(service) {
                port.as_object_mut().map(|port| port.remove("nodePort"));
            }
        }
        return;
    }
    let before = ports(old).to_vec();
    for port in ports_mut(service) {
        let same = before.iter().find(|other| other["port"] == port["port"] && protocol(other) == protocol(port));
        if let (true, Some(number)) =
            (port["nodePort"].as_u64().unwrap_or(0) == 0, same.and_then(|p| p.get("nodePort")))
        {
            port["nodePort"] = number.clone();
        }
    }
}

fn address(service: &mut Value, old: Option<&Value>, others: &Others<'_, '_>, errors: &mut Vec<FieldError>) {
    let cidr = others.writer.server.service_cidr;
    let given = match service["spec"]["clusterIP"].as_str().unwrap_or_default() {
        "" => service["spec"]["clusterIPs"][0].as_str().unwrap_or_default().to_string(),
        given => given.to_string(),
    };
    let chosen = match given.as_str() {
        "None" => given,
        "" => match free_address(others, cidr) {
            Some(address) => address,
            None => {
                errors.push(FieldError::invalid(
                    "spec.clusterIPs",
                    &json!([""]),
                    "failed to allocate a serviceIP: range is full",
                ));
                return;
            }
        },
        asked => {
            let known = old.is_some_and(|old| old["spec"]["clusterIP"] == asked);
            let inside = asked.parse::<Ipv4Addr>().is_ok_and(|address| cidr.contains(address));
            if asked.parse::<Ipv4Addr>().is_err() {
                // Validation says what is wrong with it.
                return;
            }
            let why = match (known, inside) {
                (true, _) => None,
                (_, false) => Some(format!(
                    "failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. The range of valid IPs is {cidr}"
                )),
                _ if others.taken().addresses.contains(asked) => {
                    Some(format!("failed to allocate IP {asked}: provided IP is already allocated"))
                }
                _ => None,
            };
            if let Some(why) = why {
                errors.push(FieldError::invalid("spec.clusterIPs", &json!([asked]), &why));
                return;
            }
            given
        }
    };
    service["spec"]["clusterIPs"] = json!([chosen]);
    service["spec"]["clusterIP"] = chosen.into();
}

fn free_address(others: &Others<'_, '_>, cidr: Cidr) -> Option<String> {
    let (hosts, taken) = (cidr.hosts(), others.taken());
    let start = others.writer.server.ids.below(hosts as usize) as u32;
    (0..hosts)
        .map(|step| cidr.host(start.wrapping_add(step)).to_string())
        .find(|address| !taken.addresses.contains(address))
}

fn node_ports(service: &mut Value, old: Option<&Value>, others: &Others<'_, '_>, errors: &mut Vec<FieldError>) {
    if !has_node_ports(service) {
        return;
    }
    let own: HashSet<(u64, String)> = old
        .map(|old| ports(old).iter().filter_map(|p| Some((p["nodePort"].as_u64()?, protocol(p)))).collect())
        .unwrap_or_default();
    let mut used = others.taken().ports.clone();
    for (index, port) in ports_mut(service).iter_mut().enumerate() {
        let protocol = protocol(port);
        let number = port["nodePort"].as_u64().unwrap_or_default();
        if number == 0 {
            let start = others.writer.server.ids.below(NODE_PORTS.len());
            let all = (0..NODE_PORTS.len())
                .map(|step| u64::from(*NODE_PORTS.start()) + ((start + step) % NODE_PORTS.len()) as u64);
            let Some(free) = all.into_iter().find(|number| !used.contains(&(*number, protocol.clone()))) else {
                continue;
            };
            used.insert((free, protocol));
            port["nodePort"] = free.into();
            continue;
        }
        let in_range = u16::try_from(number).is_ok_and(|number| NODE_PORTS.contains(&number));
        let why =
            match (own.contains(&(number, protocol.clone())), in_range, used.contains(&(number, protocol.clone()))) {
                (true, ..) => None,
                (_, false, _) => {
                    Some("provided port is not in the valid range. The range of valid ports is 30000-32767")
                }
                (_, _, true) => Some("provided port is already allocated"),
                _ => None,
            };
        if let Some(why) = why {
            errors.push(FieldError::invalid(format!("spec.ports[{index}].nodePort"), &json!(number), why));
        }
        used.insert((number, protocol));
    }
}

fn has_node_ports(service: &Value) -> bool {
    match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn ports_mut(service: &mut Value) -> &mut [Value] {
    service["spec"]["ports"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default()
}

fn protocol(port: &Value) -> String {
    port["protocol"].as_str().unwrap_or("TCP").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let cidr = Cidr::parse("10.96.7.9/16").unwrap();
        assert_eq!(cidr, Cidr::default());
        assert_eq!(cidr.first(), Ipv4Addr::new(10, 96, 0, 1));
        assert_eq!(cidr.host(0), Ipv4Addr::new(10, 96, 0, 2));
        assert_eq!(cidr.host(cidr.hosts() - 1), Ipv4Addr::new(10, 96, 255, 254));
        assert!(cidr.contains(Ipv4Addr::new(10, 96, 200, 1)) && !cidr.contains(Ipv4Addr::new(10, 97, 0, 1)));
        assert_eq!(Cidr::parse("10.0.0.0/31"), None);
    }
}
