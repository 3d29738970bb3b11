//! What Roles and ClusterRoles grant, by way of their bindings (rbac.authorization.k8s.io).
//!
//! Read from the store at each request: only those ask here that are no masters. Nobody gains rights by
//! writing roles or bindings without the verbs `escalate` and `bind` on them.

use super::{Attributes, GROUP_RBAC, User};
use crate::api::error::ApiError;
use crate::apiserver::ApiServer;
use crate::apiserver::resources::object::parse;
use crate::apiserver::resources::view::View;
use crate::store;
use serde_json::Value;

impl ApiServer {
    /// Whether `user` may; the error is the 403 to answer.
    pub(in crate::apiserver) fn authorize(&self, user: &User, asked: &Attributes<'_>) -> Result<(), ApiError> {
        let Err(refusal) = super::authorize(user, asked) else { return Ok(()) };
        let granted = |asked: &Attributes<'_>| self.rules(user, asked.namespace).iter().any(|rule| covers(rule, asked));
        let spreads = asked.group == GROUP_RBAC && matches!(asked.verb, "create" | "update" | "patch");
        let verb = if asked.resource.ends_with("bindings") { "bind" } else { "escalate" };
        let allowed = granted(asked) && (!spreads || granted(&Attributes { verb, ..*asked }));
        if allowed { Ok(()) } else { Err(refusal) }
    }

    /// The rules that apply to a user in a namespace (empty: everywhere).
    pub(in crate::apiserver) fn rules(&self, user: &User, namespace: &str) -> Vec<Value> {
        let view = self.view();
        let mut rules = Vec::new();
        let mut collect = |prefix: String| {
            for record in view.scan(&prefix) {
                let binding = parse(&record);
                let subjects = binding["subjects"].as_array().into_iter().flatten();
                if subjects.into_iter().any(|subject| is_subject(subject, user, &record.envelope.namespace)) {
                    let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
                    let plural = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
                    let namespace = if kind == "ClusterRole" { "" } else { record.envelope.namespace.as_str() };
                    let key = store::key(GROUP_RBAC, plural, namespace, name.as_str().unwrap_or_default());
                    let role = view.get(&key).map(|role| parse(&role)).unwrap_or_default();
                    rules.extend(role["rules"].as_array().cloned().unwrap_or_default());
                }
            }
        };
        collect(store::bucket(GROUP_RBAC, "clusterrolebindings"));
        if !namespace.is_empty() {
            collect(store::key(GROUP_RBAC, "rolebindings", namespace, ""));
        }
        rules
    }
}

fn is_subject(subject: &Value, user: &User, namespace: &str) -> bool {
    let text = |name: &str| subject[name].as_str().unwrap_or_default();
    match text("kind") {
        "User" => text("name") == user.name,
        "Group" => user.groups.iter().any(|group| group == text("name")),
        "ServiceAccount" => {
            let namespace = if text("namespace").is_empty() { namespace } else { text("namespace") };
            user.name == format!("system:serviceaccount:{namespace}:{}", text("name"))
        }
        _ => false,
    }
}

/// Whether a rule grants what is asked.
fn covers(rule: &Value, asked: &Attributes<'_>) -> bool {
    let any = |field: &str, fits: &dyn Fn(&str) -> bool| {
        rule[field].as_array().is_some_and(|list| list.iter().filter_map(Value::as_str).any(fits))
    };
    if !any("verbs", &|verb| verb == "*" || verb == asked.verb) {
        return false;
    }
    if asked.resource.is_empty() {
        return any("nonResourceURLs", &|url| match url.strip_suffix('*') {
            Some(prefix) => asked.path.starts_with(prefix),
            None => url == asked.path,
        });
    }
    let resource = |wanted: &str| match wanted.split_once('/') {
        _ if wanted == "*" => true,
        Some(("*", sub)) => sub == asked.subresource,
        Some((resource, sub)) => resource == asked.resource && sub == asked.subresource,
        None => wanted == asked.resource && asked.subresource.is_empty(),
    };
    let unnamed = rule["resourceNames"].as_array().is_none_or(Vec::is_empty);
    any("apiGroups", &|group| group == "*" || group == asked.group)
        && any("resources", &resource)
        && (unnamed || any("resourceNames", &|name| name == asked.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_cover_what_they_name() {
        let asked = Attributes { verb: "get", resource: "pods", namespace: "n", name: "a", ..Attributes::default() };
        let log = Attributes { subresource: "log", ..asked };
        let rule = |resources: Value| json!({"verbs": ["get"], "apiGroups": [""], "resources": resources});
        assert!(covers(&rule(json!(["pods"])), &asked));
        assert!(!covers(&rule(json!(["pods"])), &log));
        assert!(covers(&rule(json!(["pods/log"])), &log) && covers(&rule(json!(["*/log"])), &log));
        assert!(covers(&rule(json!(["*"])), &log));
        assert!(!covers(&rule(json!(["pods"])), &Attributes { verb: "delete", ..asked }));
        assert!(!covers(&rule(json!(["pods"])), &Attributes { group: "apps", ..asked }));
        let mut named = rule(json!(["pods"]));
        named["resourceNames"] = json!(["b"]);
        assert!(!covers(&named, &asked));
        let path = Attributes { verb: "get", path: "/metrics", ..Attributes::default() };
        assert!(covers(&json!({"verbs": ["get"], "nonResourceURLs": ["/met*"]}), &path));
        assert!(!covers(&rule(json!(["*"])), &path));
    }

    #[test]
    fn subjects_are_users_groups_and_accounts() {
        let user = User::account("n", "bot", "");
        let subject = |kind: &str, name: &str| json!({"kind": kind, "name": name});
        assert!(is_subject(&subject("ServiceAccount", "bot"), &user, "n"));
        assert!(!is_subject(&subject("ServiceAccount", "bot"), &user, "m"));
        assert!(is_subject(&subject("Group", "system:serviceaccounts:n"), &user, ""));
        assert!(is_subject(&subject("User", "system:serviceaccount:n:bot"), &user, ""));
    }
}
