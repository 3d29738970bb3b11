//! Taints of the host against the pod's tolerations.

use super::{Rejection, Wanted};
use crate::scheduler::snapshot::HostState;
use k8s_openapi::api::core::v1::{Node, PodSpec, Taint, Toleration};

pub fn filter(wanted: &Wanted<'_>, _host: &HostState, node: &Node) -> Vec<Rejection> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints
        .filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute")
        .find(|taint| !tolerates(wanted.spec, taint))
        .map(|taint| {
            let value = taint.value.as_deref().unwrap_or_default();
            Rejection::never(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
        })
        .into_iter()
        .collect()
}

/// Whether the pod says that it can live with the taint.
pub fn tolerates(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| matches(toleration, taint))
}

fn matches(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let effect = given(&toleration.effect);
    let key = given(&toleration.key);
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    let (asked, found) = (given(&toleration.value), given(&taint.value));
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && asked == found,
        // Numbers only; anything else tolerates nothing.
        operator @ ("Lt" | "Gt") => match (asked.parse::<i64>(), found.parse::<i64>()) {
            (Ok(asked), Ok(found)) => {
                if operator == "Lt" {
                    found < asked
                } else {
                    found > asked
                }
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            toleration_seconds: None,
        }
    }

    #[test]
    fn tolerations_match_as_kubernetes_documents() {
        let taint =
            Taint { key: "disk".into(), value: Some("ssd".into()), effect: "NoSchedule".into(), time_added: None };
        let cases = [
            (toleration("disk", "Equal", "ssd", "NoSchedule"), true),
            (toleration("disk", "", "ssd", ""), true),
            (toleration("disk", "Exists", "", ""), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("", "Exists", "", "NoExecute"), false),
            (toleration("disk", "Equal", "hdd", ""), false),
            (toleration("other", "Exists", "", ""), false),
        ];
        for (toleration, expected) in cases {
            assert_eq!(matches(&toleration, &taint), expected, "{toleration:?}");
        }
    }
}
