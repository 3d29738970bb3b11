//! From what was read to the tree. Pure.

use crate::api::changeset::ObjectId;
use crate::api::kinds::pod::summarize;
use crate::base::url::redact;
use crate::cli::health::Judges;
use crate::cli::objects::{Family, Place, container_state, containers, id_of, list, text};
use crate::cli::output::count;
use crate::cli::standing::{self, Standing};
use crate::gitops::render::Rendered;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The schema of the document.
pub const SCHEMA: &str = "selkie.dev/tree/v1";

pub struct Facts {
    pub application: Value,
    pub inventory: Vec<ObjectId>,
    /// As the inventory names them; `None` is not there.
    pub objects: Vec<Option<Value>>,
    /// Of the revision in force.
    pub manifests: Rendered,
    pub family: Family,
    pub judges: Judges,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    pub schema: &'static str,
    pub application: String,
    pub source: String,
    /// The commit's hash, or a hash of the contents; empty: nothing was applied yet.
    pub revision: String,
    pub health: &'static str,
    pub message: String,
    pub objects: Vec<Node>,
    /// Of an ApplicationSet.
    #[serde(skip)]
    pub is_set: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    /// `Ready`, `Progressing`, `Failed` or `Missing`.
    pub health: &'static str,
    /// Why it is not ready; empty where it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it says of itself: `2/2`, `Running on h1`; empty: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Where its manifest is; absent for what controllers made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

/// `now`: what ages are counted to.
pub fn build(facts: &Facts, now: Timestamp) -> Tree {
    let Standing { status, message } = standing::application(&facts.application);
    let mut objects: Vec<Node> = facts
        .inventory
        .iter()
        .zip(&facts.objects)
        .map(|(id, object)| {
            let mut node = match object {
                Some(object) => node(object, facts, now),
                None => missing(id),
            };
            node.origin = facts.manifests.find(id).map(Place::of);
            node
        })
        .collect();
    // In the order of the manifests, which people know; what is in none comes last.
    objects.sort_by_cached_key(|node| match &node.origin {
        Some(origin) => (0, origin.file.clone(), origin.line, String::new()),
        None => (1, String::new(), 0, format!("{} {}/{}", node.kind, node.namespace, node.name)),
    });
    Tree {
        schema: SCHEMA,
        application: text(&facts.application, "/metadata/name").to_owned(),
        source: standing::source(&facts.application),
        revision: text(&facts.application, "/status/revision").to_owned(),
        health: status,
        message,
        objects,
        is_set: false,
    }
}

/// An ApplicationSet, and the Applications that it has made.
pub fn of_set(set: &Value, applications: &[Value]) -> Tree {
    let Standing { status, message } = standing::application_set(set);
    let repositories = list(set, "/spec/generators").iter().map(|one| text(one, "/git/repoURL"));
    let mut sources: Vec<String> = repositories.filter(|url| !url.is_empty()).map(redact).collect();
    sources.dedup();
    Tree {
        schema: SCHEMA,
        application: text(set, "/metadata/name").to_owned(),
        source: if sources.is_empty() { "a list".to_owned() } else { sources.join(", ") },
        revision: String::new(),
        health: status,
        message,
        objects: applications.iter().map(application).collect(),
        is_set: true,
    }
}

fn application(object: &Value) -> Node {
    let Standing { status: health, message } = standing::application(object);
    let message = if health == "Ready" { String::new() } else { message };
    let ObjectId { namespace, name, .. } = id_of(object);
    Node {
        kind: "Application".to_owned(),
        api_version: "selkie.dev/v1alpha1".to_owned(),
        namespace,
        name,
        health,
        message,
        status: count(list(object, "/status/inventory").len(), "object"),
        origin: None,
        children: Vec::new(),
    }
}

fn missing(id: &ObjectId) -> Node {
    let Standing { status, message } = Standing::missing();
    Node {
        kind: id.kind.clone(),
        api_version: id.api_version.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        health: status,
        message,
        status: String::new(),
        origin: None,
        children: Vec::new(),
    }
}

fn node(object: &Value, facts: &Facts, now: Timestamp) -> Node {
    let Standing { status: health, message } = standing::of(object, &facts.judges);
    let is_pod = object["kind"] == "Pod";
    let children = if is_pod {
        containers(object).map(|(spec, status)| container(spec, status)).collect()
    } else {
        facts.family.owned_by(object).map(|owned| node(owned, facts, now)).collect()
    };
    let ObjectId { api_version, kind, namespace, name, .. } = id_of(object);
    Node { kind, api_version, namespace, name, health, message, status: status(object, now), origin: None, children }
}

/// What an object says of itself, in a few words.
fn status(object: &Value, now: Timestamp) -> String {
    match text(object, "/kind") {
        "Pod" => {
            let status = summarize(object, now).status;
            match text(object, "/spec/nodeName") {
                "" => status,
                host => format!("{status} on {host}"),
            }
        }
        "EndpointSlice" => {
            let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
            let endpoints = list(object, "/endpoints");
            format!("{}/{} endpoints ready", endpoints.iter().filter(ready).count(), endpoints.len())
        }
        _ => match standing::replicas(object) {
            Some((ready, wanted)) => format!("{ready}/{wanted}"),
            None => text(object, "/status/phase").to_owned(),
        },
    }
}

fn container(spec: &Value, status: &Value) -> Node {
    let state = container_state(status);
    let health = match (state.word, state.exit_code) {
        ("Running", _) if status["ready"] == true => "Ready",
        ("Terminated", Some(0)) => "Ready",
        ("Terminated", _) => "Failed",
        _ => "Progressing",
    };
    let image = text(spec, "/image");
    let reason = if state.reason.is_empty() { state.word } else { state.reason };
    let restarts = match status["restartCount"].as_u64().unwrap_or(0) {
        0 => String::new(),
        restarts => format!(", {}", count(restarts as usize, "restart")),
    };
    Node {
        kind: "Container".to_owned(),
        api_version: String::new(),
        namespace: String::new(),
        name: text(spec, "/name").to_owned(),
        health,
        message: state.message.to_owned(),
        status: format!("{reason}, {image}{restarts}"),
        origin: None,
        children: Vec::new(),
    }
}
