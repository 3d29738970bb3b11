//! What objects are judged by: the rules of the Application that applied them, then those of all.

use crate::gitops::application::{Application, LABEL, NAMESPACE};
use crate::gitops::readiness::{Health, Readiness};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use std::collections::HashMap;

/// The rules that Applications bring along, by name.
#[derive(Default)]
pub struct Judges(HashMap<String, Health>);

impl Judges {
    /// Whoever may not list Applications judges by the rules of all.
    pub async fn read(client: &kube::Client) -> Self {
        let applications = Api::<Application>::namespaced(client.clone(), NAMESPACE);
        let found = applications.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        Self(found.iter().map(|app| (app.name().to_owned(), Health::new(&app.spec.health_checks))).collect())
    }

    /// How far an object with its apiVersion and kind is.
    pub fn readiness(&self, object: &Value) -> Readiness {
        let labels = object.pointer("/metadata/labels");
        let application = labels.and_then(|labels| labels.get(LABEL)).and_then(Value::as_str);
        application.and_then(|name| self.0.get(name)).cloned().unwrap_or_default().of(object)
    }
}
