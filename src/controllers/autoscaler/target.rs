//! The scale of whatever an autoscaler scales: any kind that has a scale, custom ones too.

use crate::client::raw;
use crate::controllers::objects::group;
use crate::controllers::replicaset::refusal;
use http::Method;
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, HorizontalPodAutoscaler};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use serde_json::{Value, json};

/// A Scale (autoscaling/v1) as it was read: writing it fails when the target has changed since.
#[derive(Debug)]
pub struct Scale {
    path: String,
    body: Value,
}

impl Scale {
    /// The replicas that the target asks for.
    pub fn replicas(&self) -> i32 {
        let replicas = self.body["spec"]["replicas"].as_i64().unwrap_or(0);
        i32::try_from(replicas).unwrap_or(i32::MAX)
    }

    /// Which pods are its, as a label selector is written.
    pub fn selector(&self) -> &str {
        self.body["status"]["selector"].as_str().unwrap_or_default()
    }

    /// Why it could not be done, in the API server's words.
    pub async fn set(mut self, client: &kube::Client, replicas: i32) -> Result<(), String> {
        self.body["spec"]["replicas"] = json!(replicas);
        let body = Some(("application/json", self.body.to_string().into()));
        raw::request(client, Method::PUT, &self.path, body).await.map(drop).map_err(|error| refusal(&error))
    }
}

/// Why it could not be read, in the API server's words.
pub async fn scale(client: &kube::Client, autoscaler: &HorizontalPodAutoscaler) -> Result<Scale, String> {
    let target = &autoscaler.spec.scale_target_ref;
    let version = target.api_version.as_deref().filter(|version| !version.is_empty()).unwrap_or("v1");
    let listed = match group(version) {
        "" => client.list_core_api_resources(version).await,
        _ => client.list_api_group_resources(version).await,
    };
    let served = listed.map_err(|error| unserved(target, &refusal(&error)))?.resources;
    let plural = plural(&served, &target.kind).map_err(|why| unserved(target, why))?;
    let root = if group(version).is_empty() { "api" } else { "apis" };
    let namespace = autoscaler.metadata.namespace.as_deref().unwrap_or_default();
    let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}/{}/scale", target.name);
    let body = raw::request(client, Method::GET, &path, None).await.map_err(|error| refusal(&error))?;
    let body = serde_json::from_slice(&body).map_err(|error| format!("the answer is not understood: {error}"))?;
    Ok(Scale { path, body })
}

fn unserved(target: &CrossVersionObjectReference, why: &str) -> String {
    let version = target.api_version.as_deref().unwrap_or_default();
    format!("no matches for kind {:?} in version {version:?}: {why}", target.kind)
}

fn plural<'a>(served: &'a [APIResource], kind: &str) -> Result<&'a str, &'static str> {
    let found = served.iter().find(|row| row.kind == kind && !row.name.contains('/') && row.namespaced);
    let found = found.ok_or("there is no such kind of objects in namespaces")?;
    let scale = format!("{}/scale", found.name);
    served.iter().any(|row| row.name == scale).then_some(&*found.name).ok_or("it has no scale")
}
