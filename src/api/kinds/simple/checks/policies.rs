//! NetworkPolicies.

use crate::api::error::FieldError;
use crate::api::kinds::json::{has, integer, list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::{labels, names};
use serde_json::Value;
use std::net::IpAddr;

pub fn network_policy(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    labels::validate_selector(&spec["podSelector"], "spec.podSelector", &mut cx.errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, rule) in list(spec, &[direction]).iter().enumerate() {
            for (j, port) in list(rule, &["ports"]).iter().enumerate() {
                self::port(port, &format!("spec.{direction}[{i}].ports[{j}]"), &mut cx);
            }
            for (j, peer) in list(rule, &[peers]).iter().enumerate() {
                self::peer(peer, &format!("spec.{direction}[{i}].{peers}[{j}]"), &mut cx);
            }
        }
    }
    let kinds = list(spec, &["policyTypes"]);
    if kinds.len() > 2 {
        cx.invalid("spec.policyTypes".into(), &spec["policyTypes"], "may not specify more than two policyTypes");
        return cx.errors;
    }
    for (i, kind) in kinds.iter().enumerate() {
        cx.one_of(format!("spec.policyTypes[{i}]"), kind, &["Egress", "Ingress"]);
    }
    cx.errors
}

fn port(port: &Value, field: &str, cx: &mut Context) {
    cx.one_of(format!("{field}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    let last = integer(port, &["endPort"]);
    match &port["port"] {
        Value::Null => {
            if last.is_some() {
                cx.required(format!("{field}.port"), "must be specified when `endPort` is specified");
            }
        }
        Value::String(name) => {
            cx.names(&format!("{field}.port"), &port["port"], names::port_name(name));
            if last.is_some() {
                let why = "may not be specified when `port` is non-numeric";
                cx.errors.push(FieldError::forbidden(format!("{field}.endPort"), why));
            }
        }
        number => {
            let first = number.as_i64().unwrap_or(0);
            if let Some(why) = names::port_number(first) {
                cx.invalid(format!("{field}.port"), number, why);
            }
            if let Some(last) = last {
                if last < first {
                    let why = "must be greater than or equal to `port`";
                    cx.invalid(format!("{field}.endPort"), &port["endPort"], why);
                }
                if let Some(why) = names::port_number(last) {
                    cx.invalid(format!("{field}.endPort"), &port["endPort"], why);
                }
            }
        }
    }
}

fn peer(peer: &Value, field: &str, cx: &mut Context) {
    let selectors = ["podSelector", "namespaceSelector"].into_iter().filter(|name| has(peer, name));
    let selectors: Vec<_> = selectors.collect();
    for name in &selectors {
        labels::validate_selector(&peer[*name], &format!("{field}.{name}"), &mut cx.errors);
    }
    let has_block = has(peer, "ipBlock");
    if has_block {
        block(&peer["ipBlock"], &format!("{field}.ipBlock"), cx);
    }
    if !has_block && selectors.is_empty() {
        cx.required(field.into(), "must specify a peer");
    } else if has_block && !selectors.is_empty() {
        cx.errors.push(FieldError::forbidden(field, "may not specify both ipBlock and another peer"));
    }
}

fn block(block: &Value, field: &str, cx: &mut Context) {
    let whole = text(block, &["cidr"]);
    if whole.is_empty() {
        return cx.required(format!("{field}.cidr"), "");
    }
    let Some(whole) = cidr(whole) else { return cx.invalid(format!("{field}.cidr"), &block["cidr"], NOT_CIDR) };
    for (i, except) in list(block, &["except"]).iter().enumerate() {
        let field = format!("{field}.except[{i}]");
        match except.as_str().and_then(cidr) {
            None => cx.invalid(field, except, NOT_CIDR),
            Some(part) if part.1 > whole.1 && contains(whole, part.0) => {}
            Some(_) => cx.invalid(field, except, "must be a strict subset of `cidr`"),
        }
    }
}

pub const NOT_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Address and length of the prefix.
pub fn cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

fn contains((network, length): (IpAddr, u32), address: IpAddr) -> bool {
    let prefix = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    network.is_ipv4() == address.is_ipv4() && prefix(network) & mask == prefix(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(rule: Value) -> Vec<String> {
        let errors =
            network_policy(&json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}}));
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn peers_are_one_thing() {
        let block = |cidr: &str, except: &str| json!({"from": [{"ipBlock": {"cidr": cidr, "except": [except]}}]});
        assert_eq!(wrong(block("10.0.0.0/8", "10.1.0.0/16")), [""; 0]);
        assert_eq!(wrong(block("fd00::/8", "fd01::/16")), [""; 0]);
        let at = "spec.ingress[0].from[0]";
        for outside in ["11.0.0.0/16", "10.0.0.0/8", "fd00::/16"] {
            let why =
                format!("{at}.ipBlock.except[0]: Invalid value: \"{outside}\": must be a strict subset of `cidr`");
            assert_eq!(wrong(block("10.0.0.0/8", outside)), [why]);
        }
        assert_eq!(
            wrong(block("10.0.0.0/33", "")),
            [format!("{at}.ipBlock.cidr: Invalid value: \"10.0.0.0/33\": {NOT_CIDR}")]
        );
        assert_eq!(wrong(json!({"from": [{}]})), [format!("{at}: Required value: must specify a peer")]);
        let both = json!({"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]});
        assert_eq!(wrong(both), [format!("{at}: Forbidden: may not specify both ipBlock and another peer")]);
    }

    #[test]
    fn ports_are_ports() {
        assert_eq!(wrong(json!({"ports": [{"port": 80, "endPort": 90}, {"port": "http"}, {}]})), [""; 0]);
        let found =
            wrong(json!({"ports": [{"port": 0}, {"port": 80, "endPort": 70}, {"endPort": 7}, {"protocol": "X"}]}));
        let fields: Vec<_> = found.iter().map(|said| said.split(": ").next().unwrap_or_default()).collect();
        let at = |rest: &str| format!("spec.ingress[0].ports{rest}");
        assert_eq!(fields, [at("[0].port"), at("[1].endPort"), at("[2].port"), at("[3].protocol")]);
        let kinds = network_policy(&json!({"spec": {"policyTypes": ["Odd"]}}));
        assert_eq!(kinds[0].detail, "Unsupported value: \"Odd\": supported values: \"Egress\", \"Ingress\"");
    }
}
