//! How an Application judges kinds for itself: `spec.healthChecks`, which means what Flux's
//! `healthCheckExprs` mean. They come before the rules of [`super::of`].

use super::{Readiness, custom, progressing};
use crate::api::cel::Predicate;
use crate::gitops::render::group;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// The rule of one kind, in all versions of its group: expressions in CEL whose variables are the fields
/// of the object. The first one that holds decides, in the order `inProgress`, `failed`, `current`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    pub api_version: String,
    pub kind: String,
    /// It is ready.
    pub current: String,
    /// Empty: whatever is neither failed nor current.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub in_progress: String,
    /// Empty: it never counts as failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failed: String,
}

/// All rules, an Application's own before those of [`super::of`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// As they were given.
    given: Arc<[HealthCheck]>,
    checks: Arc<[Check]>,
}

#[derive(Debug)]
struct Check {
    group: String,
    kind: String,
    in_progress: Option<Question>,
    failed: Option<Question>,
    current: Option<Question>,
    /// Nobody makes objects of the kind ready where this judges: they are, unless they have failed.
    assumed: bool,
}

/// An expression and its text; one that does not compile, which admission refuses, never has an answer.
#[derive(Debug)]
struct Question {
    name: &'static str,
    text: String,
    predicate: Result<Predicate, String>,
}

impl Health {
    pub fn new(checks: &[HealthCheck]) -> Self {
        Self::with(checks, |_| false)
    }

    /// For a copy of a cluster, where the controllers of the kinds without a rule of [`super::of`] do not run.
    pub fn in_a_copy(checks: &[HealthCheck]) -> Self {
        Self::with(checks, |check| !super::is_driven(&check.api_version, &check.kind))
    }

    fn with(checks: &[HealthCheck], assumed: impl Fn(&HealthCheck) -> bool) -> Self {
        let question = |name, text: &str| {
            let (text, predicate) = (text.trim(), Predicate::compile(text));
            (!text.is_empty()).then(|| Question { name, text: text.to_owned(), predicate })
        };
        let check = |check: &HealthCheck| Check {
            group: group(&check.api_version).to_owned(),
            kind: check.kind.clone(),
            in_progress: question("inProgress", &check.in_progress),
            failed: question("failed", &check.failed),
            current: question("current", &check.current),
            assumed: assumed(check),
        };
        Self { given: checks.into(), checks: checks.iter().map(check).collect() }
    }

    /// The rules of the Application's own.
    pub fn given(&self) -> &[HealthCheck] {
        &self.given
    }

    /// Whether objects of the kind are taken to become ready.
    pub fn assumes(&self, api_version: &str, kind: &str) -> bool {
        self.check(api_version, kind).is_some_and(|check| check.assumed)
    }

    /// Whether there is a rule of the Application's own.
    pub fn judges(&self, api_version: &str, kind: &str) -> bool {
        self.check(api_version, kind).is_some()
    }

    /// Whether objects of the kind can be anything but ready.
    pub fn has_rule(&self, api_version: &str, kind: &str) -> bool {
        self.judges(api_version, kind) || super::has_rule(api_version, kind)
    }

    /// How far `object` is.
    pub fn of(&self, object: &Value) -> Readiness {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        match self.check(text("apiVersion"), text("kind")) {
            Some(check) if !super::is_going(object) => check.readiness(object),
            _ => super::of(object),
        }
    }

    fn check(&self, api_version: &str, kind: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.kind == kind && check.group == group(api_version))
    }
}

impl Check {
    fn readiness(&self, object: &Value) -> Readiness {
        match self.judge(object) {
            Readiness::Progressing(_) if self.assumed => Readiness::Ready,
            judged => judged,
        }
    }

    fn judge(&self, object: &Value) -> Readiness {
        if custom::is_unobserved(object) {
            return progressing(custom::UNOBSERVED);
        }
        let said = |question: &Question| {
            custom::complaint(object).unwrap_or_else(|| format!("health check {}: {}", question.name, question.text))
        };
        type Meaning = fn(String) -> Readiness;
        let order: [(&Option<Question>, Meaning); 3] = [
            (&self.in_progress, Readiness::Progressing),
            (&self.failed, Readiness::Failed),
            (&self.current, |_| Readiness::Ready),
        ];
        for (question, meaning) in order {
            let Some(question) = question else { continue };
            match question.predicate.as_ref().map_err(String::clone).and_then(|predicate| predicate.holds(object)) {
                Ok(true) => return meaning(said(question)),
                Ok(false) => {}
                Err(why) => return progressing(format!("health check {}: {why}", question.name)),
            }
        }
        let unmet = self.current.as_ref().map_or("", |question| &question.text);
        progressing(custom::complaint(object).unwrap_or_else(|| format!("not yet so: {unmet}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn health() -> Health {
        let ready = "status.conditions.filter(e, e.type == 'Ready')";
        Health::new(&[
            HealthCheck {
                api_version: "example.org/v1".into(),
                kind: "Database".into(),
                in_progress: format!("{ready}.all(e, e.status == 'Unknown')"),
                failed: format!("{ready}.all(e, e.status == 'False')"),
                current: format!("{ready}.all(e, e.status == 'True') && spec.size == status.size"),
            },
            HealthCheck {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                current: "has(data.done)".into(),
                ..HealthCheck::default()
            },
        ])
    }

    fn database(version: &str, status: Value) -> Value {
        json!({"apiVersion": format!("example.org/{version}"), "kind": "Database", "metadata": {"generation": 2},
            "spec": {"size": 3}, "status": status})
    }

    #[test]
    fn the_first_expression_that_holds_decides() {
        let of = |status: Value| health().of(&database("v2", status));
        let with = |status: &str, size: u32| json!({"size": size, "conditions": [{"type": "Ready", "status": status, "reason": "Why", "message": "so"}]});
        assert_eq!(of(with("True", 3)), Readiness::Ready);
        assert_eq!(of(with("Unknown", 3)), progressing("Why: so"));
        assert_eq!(of(with("False", 3)), Readiness::Failed("Why: so".into()));
        let Readiness::Progressing(why) = of(with("True", 2)) else { panic!("not all of it is there") };
        assert!(why.starts_with("not yet so: status.conditions.filter"), "{why}");
        let mut behind = with("True", 3);
        behind["observedGeneration"] = json!(1);
        assert_eq!(of(behind), progressing("waiting for its controller"));
        let mut new = database("v1", Value::Null);
        new.as_object_mut().map(|fields| fields.remove("status"));
        assert_eq!(health().of(&new), progressing("health check inProgress: no such key: status"));
    }

    #[test]
    fn any_kind_can_have_one_and_others_keep_theirs() {
        let health = health();
        assert!(health.has_rule("v1", "ConfigMap") && !health.has_rule("v1", "Secret"));
        assert!(health.judges("example.org/v9", "Database") && !health.judges("example.com/v1", "Database"));
        assert!(health.has_rule("apps/v1", "Deployment") && !health.judges("apps/v1", "Deployment"));
        let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data});
        assert_eq!(health.of(&map(json!({"done": "yes"}))), Readiness::Ready);
        assert_eq!(health.of(&map(json!({"a": "b"}))), progressing("not yet so: has(data.done)"));
        let mut going = map(json!({"done": "yes"}));
        going["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(health.of(&going), progressing("being deleted"));
        assert_eq!(Health::default().of(&map(json!({}))), Readiness::Ready);
    }
}
