//! Room: number of pods, cpu, memory, other resources.

use super::{Rejection, Wanted};
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::Node;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub fn filter(wanted: &Wanted<'_>, host: &HostState, _node: &Node) -> Vec<Rejection> {
    let mut reasons = Vec::new();
    if host.pod_count() + 1 > host.max_pods {
        reasons.push(Rejection::room("Too many pods"));
    }
    let (asked, used, all) = (&wanted.requests, &host.used, &host.allocatable);
    let mut need = |name: &str, asked: i64, used: i64, all: i64| {
        if asked > 0 && asked > all - used {
            reasons.push(Rejection { unresolvable: asked > all, ..Rejection::room(insufficient(name)) });
        }
    };
    need("cpu", asked.cpu, used.cpu, all.cpu);
    need("memory", asked.memory, used.memory, all.memory);
    for (name, amount) in &asked.other {
        let of = |list: &BTreeMap<String, i64>| list.get(name).copied().unwrap_or(0);
        need(name, *amount, of(&used.other), of(&all.other));
    }
    reasons
}

/// Thousands of hosts may lack the same.
fn insufficient(name: &str) -> Cow<'static, str> {
    match name {
        "cpu" => "Insufficient cpu".into(),
        "memory" => "Insufficient memory".into(),
        other => format!("Insufficient {other}").into(),
    }
}
