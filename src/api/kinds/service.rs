//! Services. Addresses and node ports are allocated by the verbs, which know those in use.

mod checks;

use super::json::{Object, child, ensure, integer, items, list, put, put_text, text};
use super::pod_spec::Context;
use super::{Column, Deletion, Kind, keep_status, metadata, names, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The rules of core/v1 Service.
pub struct Service;

/// What a cell with an external address may take, in characters.
const ADDRESS_WIDTH: usize = 16;

impl Kind for Service {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.as_object_mut().and_then(|object| ensure(object, "spec")) else { return };
        put_text(spec, "sessionAffinity", "None");
        put_text(spec, "type", "ClusterIP");
        let kind = spec["type"].as_str().unwrap_or_default().to_string();
        if spec["sessionAffinity"] == "ClientIP" {
            put(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
        } else if spec["sessionAffinity"] == "None" {
            spec.remove("sessionAffinityConfig");
        }
        for port in items(spec, "ports") {
            put_text(port, "protocol", "TCP");
            let target = port.get("targetPort").unwrap_or(&Value::Null);
            if target.is_null() || *target == 0 || *target == "" {
                let number = port.get("port").cloned().unwrap_or_default();
                port.insert("targetPort".into(), number);
            }
        }
        if kind != "ExternalName" {
            put_text(spec, "internalTrafficPolicy", "Cluster");
            put_text(spec, "ipFamilyPolicy", "SingleStack");
            put(spec, "ipFamilies", json!(["IPv4"]));
            mirror_addresses(spec);
        }
        if has_node_ports(&kind) {
            put_text(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            put(spec, "allocateLoadBalancerNodePorts", true);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(service) = object.as_object_mut() {
            service.insert("status".into(), json!({"loadBalancer": {}}));
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_status(object, old);
        let Some(spec) = object.as_object_mut().and_then(|object| child(object, "spec")) else { return };
        keep_addresses(spec, &old["spec"]);
        keep_node_ports(spec, &old["spec"]);
        drop_dependents(spec, &old["spec"]);
        mirror_addresses(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut cx = Context::new();
        let kind = text(spec, &["type"]);
        let headless = text(spec, &["clusterIP"]) == "None";
        if list(spec, &["ports"]).is_empty() && !headless && kind != "ExternalName" {
            cx.required("spec.ports".into(), "");
        }
        cx.one_of("spec.type".into(), &spec["type"], &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
        cx.one_of("spec.sessionAffinity".into(), &spec["sessionAffinity"], &["ClientIP", "None"]);
        if headless && has_node_ports(kind) {
            let why = "may not be set to 'None' for LoadBalancer services";
            let why = if kind == "NodePort" { "may not be set to 'None' for NodePort services" } else { why };
            cx.invalid("spec.clusterIPs[0]".into(), &spec["clusterIP"], why);
        }
        for (i, ip) in list(spec, &["clusterIPs"]).iter().enumerate() {
            if ip != "None" && ip.as_str().is_none_or(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                cx.invalid(format!("spec.clusterIPs[{i}]"), ip, why);
            }
        }
        if !has_node_ports(kind) && !text(spec, &["externalTrafficPolicy"]).is_empty() {
            let why = "may only be set for externally-accessible services";
            cx.invalid("spec.externalTrafficPolicy".into(), &spec["externalTrafficPolicy"], why);
        }
        cx.one_of("spec.externalTrafficPolicy".into(), &spec["externalTrafficPolicy"], &["Cluster", "Local"]);
        ports(spec, kind, &mut cx);
        checks::validate(spec, &mut cx);
        metadata::labels(&spec["selector"], "spec.selector", &mut cx.errors);
        for (i, ip) in list(spec, &["externalIPs"]).iter().enumerate() {
            if ip.as_str().is_none_or(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                cx.invalid(format!("spec.externalIPs[{i}]"), ip, why);
            }
        }
        cx.errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (before, after) = (text(old, &["spec", "clusterIP"]), text(new, &["spec", "clusterIP"]));
        let both_have =
            text(old, &["spec", "type"]) != "ExternalName" && text(new, &["spec", "type"]) != "ExternalName";
        if both_have && !before.is_empty() && before != after {
            let value = &new["spec"]["clusterIPs"];
            return vec![FieldError::invalid("spec.clusterIPs[0]", value, "may not change once set")];
        }
        Vec::new()
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", text(object, &["spec", "clusterIP"]).into()),
            ("spec.type", text(object, &["spec", "type"]).into()),
        ]
    }

    fn unknown_field(&self, field: &str) -> String {
        super::label_not_supported(field)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Type:string, Cluster-IP:string, External-IP:string, Port(s):string, Age:string, Selector:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let address = list(spec, &["clusterIPs"]).first().and_then(Value::as_str).unwrap_or_default();
        vec![
            table::name(object),
            spec["type"].clone(),
            table::or_none(address),
            external(object).into(),
            table::or_none(&printed_ports(spec)),
            table::age(object, now),
            table::pairs(&spec["selector"]).into(),
        ]
    }

    fn deletion(&self) -> Deletion {
        Deletion::Object
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn name_rule(&self) -> names::NameRule {
        names::NameRule::Label1035
    }
}

/// Whether services of a type get node ports.
pub fn has_node_ports(kind: &str) -> bool {
    matches!(kind, "NodePort" | "LoadBalancer")
}

/// `clusterIP` and `clusterIPs[0]` are the same field for old and new clients.
fn mirror_addresses(spec: &mut Object) {
    let first = spec.get("clusterIPs").and_then(|ips| ips[0].as_str()).unwrap_or_default().to_string();
    let single = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_string();
    match (single.as_str(), first.as_str()) {
        ("", "") => {}
        ("", _) => {
            spec.insert("clusterIP".into(), first.into());
        }
        (_, "") => {
            spec.insert("clusterIPs".into(), json!([single]));
        }
        _ => {}
    }
}

fn keep_addresses(spec: &mut Object, old: &Value) {
    let kind = |spec: &Value| spec.as_str().unwrap_or_default() == "ExternalName";
    if kind(&old["type"]) || spec.get("type").is_some_and(kind) {
        return;
    }
    for field in ["clusterIP", "clusterIPs"] {
        if spec.get(field).is_none_or(|value| value.is_null() || *value == "" || *value == json!([])) {
            match &old[field] {
                Value::Null => None,
                value => spec.insert(field.into(), value.clone()),
            };
        }
    }
}

/// What only services of the old type have goes with it, unless it is changed at the same time: then it is refused.
fn drop_dependents(spec: &mut Object, old: &Value) {
    let now = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let before = text(old, &["type"]);
    let mut gone: Vec<&str> = Vec::new();
    if has_node_ports(before) && !has_node_ports(&now) {
        gone.push("externalTrafficPolicy");
    }
    if before == "LoadBalancer" && now != "LoadBalancer" {
        gone.extend(["allocateLoadBalancerNodePorts", "healthCheckNodePort", "loadBalancerClass"]);
    }
    if before != "ExternalName" && now == "ExternalName" {
        gone.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    for field in gone {
        if spec.get(field) == old.get(field) {
            spec.remove(field);
        }
    }
}

/// A type without node ports drops those it had; one with them keeps what the client left out.
fn keep_node_ports(spec: &mut Object, old: &Value) {
    let wanted = spec.get("type").and_then(Value::as_str).is_some_and(has_node_ports);
    if !has_node_ports(text(old, &["type"])) {
        return;
    }
    for port in items(spec, "ports") {
        let same = |other: &&Value| ["port", "protocol"].iter().all(|field| other.get(field) == port.get(*field));
        let before = list(old, &["ports"]).iter().find(same).and_then(|port| integer(port, &["nodePort"]));
        let now = port.get("nodePort").and_then(Value::as_i64).filter(|number| *number != 0);
        if !wanted && now == before {
            port.remove("nodePort");
        } else if let (true, None, Some(before)) = (wanted, now, before) {
            port.insert("nodePort".into(), before.into());
        }
    }
}

fn ports(spec: &Value, kind: &str, cx: &mut Context) {
    let ports = list(spec, &["ports"]);
    let (mut named, mut taken, mut nodes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (i, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{i}].{name}");
        match text(port, &["name"]) {
            "" if ports.len() > 1 => cx.required(field("name"), ""),
            "" => {}
            name => {
                cx.names(&field("name"), &port["name"], names::label(name));
                if !named.insert(name) {
                    cx.errors.push(FieldError::duplicate(field("name"), &port["name"]));
                }
            }
        }
        let number = integer(port, &["port"]).unwrap_or(0);
        if let Some(why) = names::port_number(number) {
            cx.invalid(field("port"), &number.into(), why);
        }
        cx.one_of(field("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        match &port["targetPort"] {
            Value::String(name) => cx.names(&field("targetPort"), &port["targetPort"], names::port_name(name)),
            other => {
                if let Some(why) = other.as_i64().and_then(names::port_number) {
                    cx.invalid(field("targetPort"), other, why);
                }
            }
        }
        if !taken.insert((number, text(port, &["protocol"]))) {
            let value = json!({"port": number, "protocol": port["protocol"]});
            cx.errors.push(FieldError::duplicate(format!("spec.ports[{i}]"), &value));
        }
        let node = integer(port, &["nodePort"]).unwrap_or(0);
        if node != 0 && !has_node_ports(kind) {
            let why = "may not be used when `type` is 'ClusterIP'";
            cx.errors.push(FieldError::forbidden(field("nodePort"), why));
        } else if node != 0 && !nodes.insert((node, text(port, &["protocol"]))) {
            cx.errors.push(FieldError::duplicate(field("nodePort"), &port["nodePort"]));
        }
    }
}

fn printed_ports(spec: &Value) -> String {
    let print = |port: &Value| {
        let (number, protocol) = (table::number(port, &["port"]), text(port, &["protocol"]));
        match integer(port, &["nodePort"]).unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    list(spec, &["ports"]).iter().map(print).collect::<Vec<_>>().join(",")
}

fn external(service: &Value) -> String {
    let ips: Vec<&str> = list(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    let joined = ips.join(",");
    match text(service, &["spec", "type"]) {
        "ExternalName" => text(service, &["spec", "externalName"]).to_string(),
        "LoadBalancer" => {
            let ingress = list(service, &["status", "loadBalancer", "ingress"]).iter();
            let addresses: Vec<&str> = ingress
                .map(|ingress| match text(ingress, &["ip"]) {
                    "" => text(ingress, &["hostname"]),
                    ip => ip,
                })
                .chain(ips)
                .collect();
            match addresses.join(",") {
                none if none.is_empty() => "<pending>".into(),
                all if all.len() > ADDRESS_WIDTH => {
                    format!("{}...", all.chars().take(ADDRESS_WIDTH - 3).collect::<String>())
                }
                all => all,
            }
        }
        _ if joined.is_empty() => "<none>".into(),
        _ => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_families_are_filled_in() {
        let mut service = json!({"spec": {"ports": [{"port": 80}], "clusterIP": "None"}});
        Service.default(&mut service);
        let port = json!({"port": 80, "protocol": "TCP", "targetPort": 80});
        assert_eq!(service["spec"]["ports"], json!([port]));
        assert_eq!(service["spec"]["clusterIPs"], json!(["None"]));
        assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4"]));
        let once = service.clone();
        Service.default(&mut service);
        assert_eq!(service, once);
        assert!(Service.validate(&service).is_empty());
    }

    #[test]
    fn an_update_keeps_the_address_and_follows_the_type() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        Service.prepare_update(&mut new, &old);
        assert_eq!(new["spec"], old["spec"]);
        new["spec"]["type"] = json!("ClusterIP");
        Service.prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
        let mut balanced = old.clone();
        balanced["spec"]["type"] = "LoadBalancer".into();
        Service.default(&mut balanced);
        let mut plain = balanced.clone();
        plain["spec"]["type"] = "ClusterIP".into();
        Service.prepare_update(&mut plain, &balanced);
        assert!(Service.validate(&plain).is_empty(), "{plain}");
        let mut named = balanced.clone();
        named["spec"]["type"] = "ExternalName".into();
        named["spec"]["externalName"] = "a.b".into();
        Service.prepare_update(&mut named, &balanced);
        assert!(Service.validate(&named).is_empty() && named["spec"]["clusterIPs"].is_null(), "{named}");
        let mut moved = old.clone();
        moved["spec"]["clusterIP"] = json!("10.96.0.8");
        assert_eq!(Service.validate_update(&moved, &old).len(), 1);
    }
}
