//! Endpoints and EndpointSlices.

use super::json::{ensure, integer, items, list, put, put_text, text};
use super::pod_spec::Context;
use super::{Column, Kind, names, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of core/v1 Endpoints.
pub struct Endpoints;

/// The rules of discovery.k8s.io/v1 EndpointSlice.
pub struct EndpointSlice;

/// How many a cell shows before it counts the rest.
const SHOWN: usize = 3;

impl Kind for Endpoints {
    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        for subset in items(object, "subsets") {
            for port in items(subset, "ports") {
                put_text(port, "protocol", "TCP");
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, Endpoints:string, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut all = Vec::new();
        for subset in list(object, &["subsets"]) {
            let addresses = list(subset, &["addresses"]).iter().map(|address| text(address, &["ip"]));
            let ports = list(subset, &["ports"]);
            for ip in addresses {
                if ports.is_empty() {
                    all.push(ip.to_string());
                }
                all.extend(ports.iter().map(|port| format!("{ip}:{}", table::number(port, &["port"]))));
            }
        }
        let shown = if all.is_empty() { "<none>".into() } else { some(&all) };
        vec![table::name(object), shown.into(), table::age(object, now)]
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

impl Kind for EndpointSlice {
    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        for port in items(object, "ports") {
            put(port, "name", "");
            put_text(port, "protocol", "TCP");
        }
        for endpoint in items(object, "endpoints") {
            ensure(endpoint, "conditions");
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut cx = Context::new();
        let kind = text(object, &["addressType"]);
        if kind.is_empty() {
            cx.required("addressType".into(), "");
        } else {
            cx.one_of("addressType".into(), &object["addressType"], &["FQDN", "IPv4", "IPv6"]);
        }
        for (i, endpoint) in list(object, &["endpoints"]).iter().enumerate() {
            let field = format!("endpoints[{i}].addresses");
            let addresses = list(endpoint, &["addresses"]);
            if addresses.is_empty() {
                cx.required(field.clone(), "must contain at least 1 address");
            }
            for (j, address) in addresses.iter().enumerate() {
                let text = address.as_str().unwrap_or_default();
                let good = match kind {
                    "IPv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
                    "IPv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
                    _ => names::subdomain(text).is_empty(),
                };
                if !good {
                    let why = format!("must be a valid {kind} address");
                    cx.invalid(format!("{field}[{j}]"), address, &why);
                }
            }
        }
        cx.errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        super::workloads::immutable(new, old, &["addressType"], &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        table::columns("Name:string:name, AddressType:string, Ports:string, Endpoints:string, Age:string")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = list(object, &["ports"])
            .iter()
            .map(|port| integer(port, &["port"]).map_or_else(|| "*".into(), |number| number.to_string()))
            .collect();
        let addresses: Vec<String> = list(object, &["endpoints"])
            .iter()
            .flat_map(|endpoint| list(endpoint, &["addresses"]))
            .filter_map(|address| address.as_str().map(str::to_string))
            .collect();
        let shown = |all: &[String]| if all.is_empty() { "<unset>".into() } else { some(all) };
        vec![
            table::name(object),
            object["addressType"].clone(),
            shown(&ports).into(),
            shown(&addresses).into(),
            table::age(object, now),
        ]
    }
}

fn some(all: &[String]) -> String {
    let first = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} + {more} more..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_lists_are_counted() {
        let addresses: Vec<Value> = (1..6).map(|i| json!({"ip": format!("10.0.0.{i}")})).collect();
        let endpoints = json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
        let row = Endpoints.row(&endpoints, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
        assert_eq!(EndpointSlice.row(&json!({}), Timestamp::UNIX_EPOCH)[2], "<unset>");
    }
}
