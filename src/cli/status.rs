//! `selkie status`: applications, workloads and hosts at a glance.

use super::connection::Connection;
use super::get::align;
use super::output::Either;
use super::output::color::{ADD, CHANGE, DELETE, paint};
use super::{CliError, Global};
use crate::base::url::redact;
use crate::client::raw;
use crate::daemon::Mode;
use crate::gitops::readiness::{self, Readiness};
use crate::gitops::sources::short;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show applications, workloads and hosts at a glance
#[derive(Args)]
pub struct StatusArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

/// Workloads worth a line each.
const WORKLOADS: [(&str, &str, &str); 5] = [
    ("/apis/apps/v1/deployments", "apps/v1", "Deployment"),
    ("/apis/apps/v1/statefulsets", "apps/v1", "StatefulSet"),
    ("/apis/apps/v1/daemonsets", "apps/v1", "DaemonSet"),
    ("/apis/batch/v1/jobs", "batch/v1", "Job"),
    ("/apis/apps/v1/replicasets", "apps/v1", "ReplicaSet"),
];

impl StatusArgs {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let overview = overview(&connection.client).await;
        let daemon = connection.cluster.is_none();
        connection.close().await;
        let overview = overview?;
        match self.output {
            Either::Json => println!("{}", serde_json::to_string_pretty(&overview)?),
            Either::Yaml => print!("{}", super::output::yaml(&overview)),
            Either::Text => {
                print_text(&overview);
                if !daemon {
                    eprintln!("No daemon runs: this is what the data directory says. Start one with `selkie up`.");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn items(client: &kube::Client, path: &str) -> Result<Vec<Value>, CliError> {
    let bytes = match raw::request(client, Method::GET, path, None).await {
        Ok(bytes) => bytes,
        // A server without this kind has none of it.
        Err(error) if raw::is_not_found(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut list: Value = serde_json::from_slice(&bytes)?;
    Ok(match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    })
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

async fn overview(client: &kube::Client) -> Result<Value, CliError> {
    let applications: Vec<Value> =
        items(client, "/apis/selkie.dev/v1alpha1/applications").await?.iter().map(application).collect();
    let mut workloads = Vec::new();
    for (path, api_version, kind) in WORKLOADS {
        for mut object in items(client, path).await? {
            object["apiVersion"] = json!(api_version);
            object["kind"] = json!(kind);
            // ReplicaSets of a Deployment are told by it.
            if kind != "ReplicaSet" || object.pointer("/metadata/ownerReferences").is_none() {
                workloads.push(workload(&object));
            }
        }
    }
    let pods = items(client, "/api/v1/pods").await?;
    let hosts: Vec<Value> = items(client, "/api/v1/nodes").await?.iter().map(|node| host(node, &pods)).collect();
    let waiting: Vec<Value> = pods
        .iter()
        .filter(|pod| text(pod, "/spec/nodeName").is_empty())
        .map(|pod| json!({"namespace": text(pod, "/metadata/namespace"), "name": text(pod, "/metadata/name"), "reason": unscheduled(pod)}))
        .collect();
    Ok(json!({"applications": applications, "workloads": workloads, "hosts": hosts, "unscheduled": waiting}))
}

/// An Application in a line.
pub fn application(object: &Value) -> Value {
    let (status, message) = application_status(object);
    let source = ["/spec/source/path", "/spec/source/repoURL"]
        .iter()
        .map(|pointer| text(object, pointer))
        .find(|text| !text.is_empty());
    json!({
        "name": text(object, "/metadata/name"),
        "source": redact(source.unwrap_or_default()),
        "revision": short(text(object, "/status/revision")),
        "objects": object.pointer("/status/inventory").and_then(Value::as_array).map_or(0, Vec::len),
        "status": status,
        "message": message,
    })
}

/// A source that is refused comes before how its last good revision is doing.
fn application_status(object: &Value) -> (&'static str, &str) {
    let of =
        |name| condition(object, name).map(|one| (text(one, "/status"), text(one, "/reason"), text(one, "/message")));
    match (of("Synced"), of("Ready")) {
        (_, Some((_, "Deleting", why))) => ("Deleting", why),
        (Some(("False", "Suspended", why)), _) => ("Suspended", why),
        (Some(("False", _, why)), _) => ("Failed", why),
        (Some((_, "PruneHeld", why)), _) => ("PruneHeld", why),
        (_, Some(("True", _, why))) => ("Ready", why),
        (_, Some(("False", "Progressing", why))) => ("Syncing", why),
        (_, Some(("False", _, why))) => ("Failed", why),
        _ => ("Syncing", ""),
    }
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|one| one["type"] == name)
}

fn workload(object: &Value) -> Value {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let (ready, wanted) = match text(object, "/kind") {
        "Job" => {
            (number("/status/succeeded"), object.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1))
        }
        "DaemonSet" => (number("/status/numberReady"), number("/status/desiredNumberScheduled")),
        _ => (number("/status/readyReplicas"), number("/spec/replicas")),
    };
    let (state, message) = match readiness::of(object) {
        Readiness::Ready => ("Ready", String::new()),
        Readiness::Progressing(why) => ("Progressing", why),
        Readiness::Failed(why) => ("Failed", why),
    };
    json!({
        "kind": text(object, "/kind"), "namespace": text(object, "/metadata/namespace"), "name": text(object, "/metadata/name"),
        "ready": ready, "wanted": wanted, "status": state, "message": message,
    })
}

fn host(node: &Value, pods: &[Value]) -> Value {
    let name = text(node, "/metadata/name");
    let ready = condition(node, "Ready");
    let mine = pods.iter().filter(|pod| {
        text(pod, "/spec/nodeName") == name && !["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
    });
    json!({
        "name": name,
        "status": match ready.map(|one| text(one, "/status")) { Some("True") => "Ready", Some("False") => "NotReady", _ => "Unknown" },
        "schedulable": node.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true),
        "pods": mine.count(),
        "cpu": text(node, "/status/allocatable/cpu"),
        "memory": text(node, "/status/allocatable/memory"),
        "runtime": text(node, "/status/nodeInfo/containerRuntimeVersion"),
        "message": ready.filter(|one| text(one, "/status") != "True").map(|one| text(one, "/message")).unwrap_or_default(),
    })
}

fn unscheduled(pod: &Value) -> String {
    condition(pod, "PodScheduled")
        .map(|one| text(one, "/message"))
        .filter(|message| !message.is_empty())
        .unwrap_or("waiting for the scheduler")
        .to_string()
}

/// A status in its colour: whether there is anything to do about it.
pub fn painted(status: &str) -> String {
    match status {
        "Ready" => paint(ADD, status),
        "Failed" | "NotReady" | "Unknown" => paint(DELETE, status),
        _ => paint(CHANGE, status),
    }
}

fn print_text(overview: &Value) {
    let section = |key: &str, header: &[&str], row: &dyn Fn(&Value) -> Vec<String>| {
        let entries = overview[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if entries.is_empty() {
            return;
        }
        let mut rows = vec![header.iter().map(|name| (*name).to_string()).collect::<Vec<_>>()];
        rows.extend(entries.iter().map(row));
        anstream::print!("{}\n", align(&rows));
    };
    let cell = |object: &Value, key: &str| match &object[key] {
        Value::String(text) if key == "status" => painted(text),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    section("applications", &["APPLICATION", "STATUS", "REVISION", "OBJECTS", "SOURCE", "MESSAGE"], &|one| {
        ["name", "status", "revision", "objects", "source", "message"].iter().map(|key| cell(one, key)).collect()
    });
    section("workloads", &["WORKLOAD", "NAMESPACE", "READY", "STATUS", "MESSAGE"], &|one| {
        let name = format!("{}/{}", cell(one, "kind").to_lowercase(), cell(one, "name"));
        vec![
            name,
            cell(one, "namespace"),
            format!("{}/{}", one["ready"], one["wanted"]),
            cell(one, "status"),
            cell(one, "message"),
        ]
    });
    section("hosts", &["HOST", "STATUS", "PODS", "CPU", "MEMORY", "RUNTIME", "MESSAGE"], &|one| {
        let cordoned = if one["schedulable"] == false { paint(CHANGE, ",SchedulingDisabled") } else { String::new() };
        let status = format!("{}{cordoned}", cell(one, "status"));
        vec![
            cell(one, "name"),
            status,
            cell(one, "pods"),
            cell(one, "cpu"),
            cell(one, "memory"),
            cell(one, "runtime"),
            cell(one, "message"),
        ]
    });
    section("unscheduled", &["WAITING POD", "NAMESPACE", "WHY"], &|one| {
        vec![cell(one, "name"), cell(one, "namespace"), cell(one, "reason")]
    });
}
