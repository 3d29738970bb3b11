//! Validation of what a Service says besides its ports: who may come, from where, and which way.

use crate::api::error::FieldError;
use crate::api::kinds::json::{has, integer, list, text};
use crate::api::kinds::names;
use crate::api::kinds::pod_spec::Context;
use serde_json::Value;
use std::net::IpAddr;

/// Seconds that a client is led to the same pod: at most a day.
const STICKIEST: i64 = 86_400;

pub fn validate(spec: &Value, cx: &mut Context) {
    let kind = text(spec, &["type"]);
    if kind == "ExternalName" {
        match text(spec, &["externalName"]).trim_end_matches('.') {
            "" => cx.required("spec.externalName".into(), ""),
            name => cx.names("spec.externalName", &spec["externalName"], names::subdomain(name)),
        }
    }
    affinity(spec, cx);
    if kind != "LoadBalancer" {
        let why = "may only be used when `type` is 'LoadBalancer'";
        for (field, is_set) in [
            ("LoadBalancerSourceRanges", !list(spec, &["loadBalancerSourceRanges"]).is_empty()),
            ("allocateLoadBalancerNodePorts", has(spec, "allocateLoadBalancerNodePorts")),
            ("loadBalancerClass", has(spec, "loadBalancerClass")),
        ] {
            if is_set {
                cx.errors.push(FieldError::forbidden(format!("spec.{field}"), why));
            }
        }
    }
    for (i, range) in list(spec, &["loadBalancerSourceRanges"]).iter().enumerate() {
        if !range.as_str().is_some_and(|range| is_cidr(range.trim())) {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            cx.invalid(format!("spec.LoadBalancerSourceRanges[{i}]"), range, why);
        }
    }
    let checked = kind == "LoadBalancer" && text(spec, &["externalTrafficPolicy"]) == "Local";
    if !checked && integer(spec, &["healthCheckNodePort"]).unwrap_or(0) != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        cx.invalid("spec.healthCheckNodePort".into(), &spec["healthCheckNodePort"], why);
    }
    cx.one_of("spec.internalTrafficPolicy".into(), &spec["internalTrafficPolicy"], &["Cluster", "Local"]);
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    cx.one_of("spec.trafficDistribution".into(), &spec["trafficDistribution"], &distributions);
    families(spec, cx);
}

fn affinity(spec: &Value, cx: &mut Context) {
    let config = &spec["sessionAffinityConfig"];
    match text(spec, &["sessionAffinity"]) {
        "ClientIP" => {
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            let seconds = &config["clientIP"]["timeoutSeconds"];
            match seconds.as_i64() {
                None => cx.required(field.into(), "when session affinity type is ClientIP"),
                Some(1..=STICKIEST) => {}
                Some(_) => {
                    cx.invalid(field.into(), seconds, &format!("must be greater than 0 and less than {STICKIEST}"));
                }
            }
        }
        "None" if !config.is_null() => {
            let why = "must not be set when session affinity is None";
            cx.errors.push(FieldError::forbidden("spec.sessionAffinityConfig", why));
        }
        _ => {}
    }
}

/// There is one family of addresses here.
fn families(spec: &Value, cx: &mut Context) {
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    cx.one_of("spec.ipFamilyPolicy".into(), &spec["ipFamilyPolicy"], &policies);
    if text(spec, &["ipFamilyPolicy"]) == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        cx.invalid("spec.ipFamilyPolicy".into(), &spec["ipFamilyPolicy"], why);
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>()) else { return false };
    length <= if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_the_type_is_refused() {
        let fields = |spec: Value| {
            let mut cx = Context::new();
            validate(&spec, &mut cx);
            cx.errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        let sticky = |seconds: i64| json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}});
        assert_eq!(fields(sticky(10_800)), [""; 0]);
        for seconds in [0, 86_401] {
            assert_eq!(fields(sticky(seconds)), ["spec.sessionAffinityConfig.clientIP.timeoutSeconds"]);
        }
        let loose = json!({"sessionAffinity": "None", "sessionAffinityConfig": {"clientIP": {}}});
        assert_eq!(fields(loose), ["spec.sessionAffinityConfig"]);
        let balanced = |kind: &str| json!({"type": kind, "loadBalancerSourceRanges": ["10.0.0.0/8"], "allocateLoadBalancerNodePorts": true});
        assert_eq!(fields(balanced("LoadBalancer")), [""; 0]);
        assert_eq!(
            fields(balanced("ClusterIP")),
            ["spec.LoadBalancerSourceRanges", "spec.allocateLoadBalancerNodePorts"]
        );
        let ranges = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/33"]});
        assert_eq!(fields(ranges), ["spec.LoadBalancerSourceRanges[0]"]);
        assert_eq!(fields(json!({"trafficDistribution": "Odd"})), ["spec.trafficDistribution"]);
        assert_eq!(fields(json!({"ipFamilyPolicy": "RequireDualStack"})), ["spec.ipFamilyPolicy"]);
        assert_eq!(fields(json!({"ipFamilyPolicy": "PreferDualStack"})), [""; 0]);
        for (name, expected) in [("db.example.com.", 0), ("", 1), ("-", 1)] {
            assert_eq!(fields(json!({"type": "ExternalName", "externalName": name})).len(), expected, "{name}");
        }
    }
}
