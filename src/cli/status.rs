//! `selkie status`: applications, workloads and hosts at a glance.

mod watch;

use super::connection::Connection;
use super::get::align;
use super::health::Judges;
use super::objects::{condition, items, list, text, typed};
use super::output::color::{ADD, CHANGE, DELETE, paint};
use super::output::{Either, one_line};
use super::standing::{self, Standing};
use super::{CliError, Global};
use crate::daemon::Mode;
use crate::gitops::sources::short;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show applications, workloads and hosts at a glance
#[derive(Args)]
pub struct StatusArgs {
    /// Show it again whenever something changes: in place in a terminal, else the changes in lines
    #[arg(short, long)]
    watch: bool,
    /// Output format; with --watch a document per change
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
        if self.watch {
            let connection = Connection::to_server(&global).await?;
            watch::follow(&connection.client, self.output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let lists = Lists::read(&connection.client).await;
        let daemon = connection.cluster.is_none();
        connection.close().await;
        let overview = overview(&lists?);
        match self.output {
            Either::Json => println!("{}", serde_json::to_string_pretty(&overview)?),
            Either::Yaml => print!("{}", super::output::yaml(&overview)),
            Either::Text => {
                anstream::print!("{}", shown(&overview));
                if !daemon {
                    eprintln!("No daemon runs: this is what the data directory says. Start one with `selkie up`.");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What an overview is made from.
#[derive(Default)]
struct Lists {
    applications: Vec<Value>,
    application_sets: Vec<Value>,
    /// With apiVersion and kind.
    workloads: Vec<Value>,
    pods: Vec<Value>,
    nodes: Vec<Value>,
}

impl Lists {
    async fn read(client: &kube::Client) -> Result<Self, CliError> {
        let mut workloads = Vec::new();
        for (path, api_version, kind) in WORKLOADS {
            workloads.extend(items(client, path).await?.into_iter().map(|object| typed(object, api_version, kind)));
        }
        Ok(Self {
            applications: items(client, "/apis/selkie.dev/v1alpha1/applications").await?,
            application_sets: items(client, "/apis/selkie.dev/v1alpha1/applicationsets").await?,
            workloads,
            pods: items(client, "/api/v1/pods").await?,
            nodes: items(client, "/api/v1/nodes").await?,
        })
    }
}

fn overview(lists: &Lists) -> Value {
    let judges = Judges::of(&lists.applications);
    let applications: Vec<Value> = lists.applications.iter().map(application).collect();
    // ReplicaSets of a Deployment are told by it.
    let owned = |one: &&Value| one["kind"] == "ReplicaSet" && one.pointer("/metadata/ownerReferences").is_some();
    let workloads: Vec<Value> =
        lists.workloads.iter().filter(|one| !owned(one)).map(|one| workload(one, &judges)).collect();
    let hosts: Vec<Value> = lists.nodes.iter().map(|node| host(node, &lists.pods)).collect();
    let unscheduled: Vec<Value> = lists
        .pods
        .iter()
        .filter(|pod| text(pod, "/spec/nodeName").is_empty())
        .map(|pod| json!({"namespace": text(pod, "/metadata/namespace"), "name": text(pod, "/metadata/name"), "reason": unscheduled(pod)}))
        .collect();
    let sets: Vec<Value> = lists.application_sets.iter().map(application_set).collect();
    json!({"applications": applications, "applicationSets": sets, "workloads": workloads, "hosts": hosts, "unscheduled": unscheduled})
}

/// An Application in a line.
pub fn application(object: &Value) -> Value {
    let Standing { status, message } = standing::application(object);
    json!({
        "name": text(object, "/metadata/name"),
        "source": standing::source(object),
        "revision": short(text(object, "/status/revision")),
        "objects": object.pointer("/status/inventory").and_then(Value::as_array).map_or(0, Vec::len),
        "status": status,
        "message": message,
    })
}

fn application_set(object: &Value) -> Value {
    let Standing { status, message } = standing::application_set(object);
    let applications = list(object, "/status/applications").len();
    json!({"name": text(object, "/metadata/name"), "applications": applications, "status": status, "message": message})
}

fn workload(object: &Value, judges: &Judges) -> Value {
    let (ready, wanted) = standing::replicas(object).unwrap_or_default();
    let Standing { status, message } = standing::of(object, judges);
    json!({
        "kind": text(object, "/kind"), "namespace": text(object, "/metadata/namespace"), "name": text(object, "/metadata/name"),
        "ready": ready, "wanted": wanted, "status": status, "message": message,
    })
}

fn host(node: &Value, pods: &[Value]) -> Value {
    let name = text(node, "/metadata/name");
    let Standing { status, message } = standing::host(node);
    let mine = pods.iter().filter(|pod| {
        text(pod, "/spec/nodeName") == name && !["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
    });
    json!({
        "name": name,
        "status": status,
        "schedulable": node.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true),
        "pods": mine.count(),
        "cpu": text(node, "/status/allocatable/cpu"),
        "memory": text(node, "/status/allocatable/memory"),
        "runtime": text(node, "/status/nodeInfo/containerRuntimeVersion"),
        "message": message,
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
        "Failed" | "Missing" | "NotReady" | "Unknown" => paint(DELETE, status),
        _ => paint(CHANGE, status),
    }
}

/// A cell of an overview's entry.
fn cell(entry: &Value, key: &str) -> String {
    match &entry[key] {
        Value::String(text) if key == "status" => painted(text),
        Value::String(text) => one_line(text),
        other => other.to_string(),
    }
}

/// An overview as people read it.
fn shown(overview: &Value) -> String {
    let mut shown = String::new();
    let mut section = |key: &str, header: &[&str], row: &dyn Fn(&Value) -> Vec<String>| {
        let entries = list(overview, &format!("/{key}"));
        if entries.is_empty() {
            return;
        }
        let mut rows = vec![header.iter().map(|name| (*name).to_string()).collect::<Vec<_>>()];
        rows.extend(entries.iter().map(row));
        shown.push_str(&align(&rows));
        shown.push('\n');
    };
    section("applications", &["APPLICATION", "STATUS", "REVISION", "OBJECTS", "SOURCE", "MESSAGE"], &|one| {
        ["name", "status", "revision", "objects", "source", "message"].iter().map(|key| cell(one, key)).collect()
    });
    section("applicationSets", &["APPLICATION SET", "STATUS", "APPLICATIONS", "MESSAGE"], &|one| {
        ["name", "status", "applications", "message"].iter().map(|key| cell(one, key)).collect()
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
    shown
}

#[cfg(test)]
mod tests;
