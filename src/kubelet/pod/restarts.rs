//! Which containers start again when they have ended. Pure.
//!
//! A container's own `restartPolicyRules` count before its `restartPolicy`, and that before the pod's.

use crate::kubelet::pod::{Role, View, all_containers};
use crate::kubelet::runtime::{ContainerState, ContainerStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

/// Whether a container that ended with `code` is started again.
pub fn restarts(spec: &PodSpec, role: Role, container: &Container, code: i32) -> bool {
    match role {
        Role::Ephemeral => return false,
        Role::Sidecar => return true,
        // It has done what it was there for.
        Role::Init if code == 0 => return false,
        Role::Init | Role::Main => {}
    }
    if rule(container, code).is_some() {
        return true;
    }
    match policy(spec, container) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// Whether there is an end after which it would start again.
pub fn restartable(spec: &PodSpec, container: &Container) -> bool {
    container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty()) || policy(spec, container) != "Never"
}

fn policy<'a>(spec: &'a PodSpec, container: &'a Container) -> &'a str {
    container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// The first of its rules that speaks of `code`.
fn rule(container: &Container, code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let named = codes.values.iter().flatten().any(|value| *value == code);
            match codes.operator.as_str() {
                "In" => named,
                "NotIn" => !named,
                _ => false,
            }
        })
    })
}

/// Whether all containers of the pod start again when this one ends with `code`.
pub fn restarts_all(container: &Container, code: i32) -> bool {
    rule(container, code).is_some_and(|rule| rule.action == "RestartAllContainers")
}

/// Whether the life is of the time before all containers were to start again.
pub fn is_over(view: &View, life: &ContainerStatus) -> bool {
    anew(view).is_some_and(|at| life.created < at)
}

/// When a container last ended in a way that restarts all of them.
fn anew(view: &View) -> Option<Timestamp> {
    let asks = |container: &Container| {
        container.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
    };
    if !all_containers(view.spec()).any(|(_, container)| asks(container)) {
        return None;
    }
    let ends = view.containers.iter().filter_map(|life| {
        let ContainerState::Exited(exit) = &life.state else { return None };
        let (_, container) = all_containers(view.spec()).find(|(_, c)| c.name == life.identity.container)?;
        restarts_all(container, exit.code).then_some(exit.finished)
    });
    ends.max()
}

/// The lives of the time before that still run.
pub fn left_over<'a>(view: &View<'a>) -> Vec<&'a ContainerStatus> {
    let Some(at) = anew(view) else { return Vec::new() };
    let spec = view.spec();
    let own = |life: &ContainerStatus| {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.any(|container| container.name == life.identity.container)
    };
    view.containers.iter().filter(|life| life.state.is_running() && life.created < at && own(life)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn of(pod: &str, own: Value, role: Role) -> Vec<i32> {
        let spec = PodSpec { restart_policy: Some(pod.into()), ..PodSpec::default() };
        let mut container = json!({"name": "c"});
        container.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let container: Container = serde_json::from_value(container).unwrap();
        [0, 1, 42].into_iter().filter(|code| restarts(&spec, role, &container, *code)).collect()
    }

    #[test]
    fn rules_count_before_the_containers_policy_and_that_before_the_pods() {
        let rules = |policy: &str, operator: &str| {
            let codes = json!({"operator": operator, "values": [42]});
            json!({"restartPolicy": policy, "restartPolicyRules": [{"action": "Restart", "exitCodes": codes}]})
        };
        for (pod, own, codes) in [
            ("Always", json!({}), vec![0, 1, 42]),
            ("OnFailure", json!({}), vec![1, 42]),
            ("Never", json!({}), vec![]),
            ("Always", json!({"restartPolicy": "Never"}), vec![]),
            ("Never", json!({"restartPolicy": "OnFailure"}), vec![1, 42]),
            ("Always", rules("Never", "In"), vec![42]),
            ("Never", rules("Never", "NotIn"), vec![0, 1]),
            ("Never", rules("OnFailure", "In"), vec![1, 42]),
        ] {
            assert_eq!(of(pod, own.clone(), Role::Main), codes, "{pod} {own}");
        }
        assert_eq!(of("Never", rules("Never", "NotIn"), Role::Init), [1], "it need not succeed twice");
        assert_eq!(of("Always", json!({"restartPolicy": "Never"}), Role::Init), [0; 0]);
        assert_eq!(of("Never", json!({"restartPolicy": "Always"}), Role::Sidecar), [0, 1, 42]);
        assert_eq!(of("Always", json!({}), Role::Ephemeral), [0; 0]);
    }
}
