//! What objects are judged by: the rules of the Application that applied them, then those of all.

use super::objects::{items, list, text};
use crate::gitops::application::LABEL;
use crate::gitops::readiness::{Health, HealthCheck, Readiness};
use serde_json::Value;
use std::collections::HashMap;

/// The rules that Applications bring along, by name.
#[derive(Default)]
pub struct Judges(HashMap<String, Health>);

impl Judges {
    /// Whoever may not list Applications judges by the rules of all.
    pub async fn read(client: &kube::Client) -> Self {
        let found = items(client, "/apis/selkie.dev/v1alpha1/applications").await;
        Self::of(&found.unwrap_or_default())
    }

    /// The rules of these Applications.
    pub fn of(applications: &[Value]) -> Self {
        let rules = |application: &Value| {
            let checks: Vec<HealthCheck> = list(application, "/spec/healthChecks")
                .iter()
                .filter_map(|check| serde_json::from_value(check.clone()).ok())
                .collect();
            let name = text(application, "/metadata/name").to_owned();
            (!checks.is_empty()).then(|| (name, Health::new(&checks)))
        };
        Self(applications.iter().filter_map(rules).collect())
    }

    /// How far an object with its apiVersion and kind is.
    pub fn readiness(&self, object: &Value) -> Readiness {
        let labels = object.pointer("/metadata/labels");
        let application = labels.and_then(|labels| labels.get(LABEL)).and_then(Value::as_str);
        application.and_then(|name| self.0.get(name)).cloned().unwrap_or_default().of(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_judged_by_the_application_that_applied_it() {
        let judges = Judges::of(&[
            json!({"metadata": {"name": "plain"}, "spec": {}}),
            json!({"metadata": {"name": "shop"}, "spec": {"healthChecks":
                [{"apiVersion": "v1", "kind": "ConfigMap", "current": "has(data.done)"}]}}),
        ]);
        let of = |application: &str, data: Value| {
            let labels = json!({LABEL: application});
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": labels}, "data": data});
            judges.readiness(&object)
        };
        assert_eq!(of("shop", json!({"done": "yes"})), Readiness::Ready);
        assert_eq!(of("shop", json!({"a": "b"})), Readiness::Progressing("not yet so: has(data.done)".into()));
        for other in ["plain", "gone", ""] {
            assert_eq!(of(other, json!({"a": "b"})), Readiness::Ready, "{other}");
        }
    }
}
