//! From what was read to the chain that explains an object. Pure.

use super::source::Source;
use crate::api::changeset::ObjectId;
use crate::api::verdict::PodVerdict;
use crate::cli::health::Judges;
use crate::cli::objects::{State, container_state, containers, id_of, list, text};
use crate::cli::standing::{self, Standing};
use crate::gitops::readiness::troubles;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// The schema of the document.
pub const SCHEMA: &str = "selkie.dev/why/v1";
/// Events of one object that are told, the newest.
const EVENTS: usize = 5;

/// Everything that was read, by uid where it is about one object.
#[derive(Default)]
pub struct Facts {
    pub object: Value,
    /// Those that own it, outermost first.
    pub owners: Vec<Value>,
    /// What it owns, pods left out.
    pub below: Vec<Value>,
    /// The pods that are told in full.
    pub pods: Vec<Value>,
    pub others: Others,
    pub source: Option<Source>,
    pub events: HashMap<String, Vec<Value>>,
    pub verdicts: HashMap<String, PodVerdict>,
    /// Nodes by name.
    pub hosts: HashMap<String, Value>,
    /// The last lines of containers, by the pod's uid and the container's name.
    pub logs: HashMap<(String, String), Vec<String>>,
    pub judges: Judges,
}

/// Pods that are not told in full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Others {
    pub ready: usize,
    pub not_ready: usize,
}

/// Why an object is as it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub schema: &'static str,
    pub object: ObjectId,
    #[serde(flatten)]
    pub standing: Standing,
    /// What keeps it from being ready, as far as can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Absent: no application holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Who set its fields, where no application holds it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<Manager>,
    /// Outermost owner first, then the object, then what it owns. Pods follow by themselves.
    pub chain: Vec<Link>,
    pub pods: Vec<PodLink>,
    pub other_pods: Others,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub object: ObjectId,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    pub reason: String,
    pub message: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Manager {
    pub name: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// RFC 3339.
    pub time: String,
}

/// An object with what its controller says of it.
#[derive(Debug, Serialize)]
pub struct Link {
    pub object: ObjectId,
    #[serde(flatten)]
    pub standing: Standing,
    pub conditions: Vec<Condition>,
    /// Oldest first.
    pub events: Vec<Event>,
}

#[derive(Debug, Serialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    /// RFC 3339.
    pub since: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// RFC 3339: the last time.
    pub time: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    pub reason: String,
    pub message: String,
    pub count: u64,
    /// Who reported it: `kubelet`, `deployment-controller`.
    pub component: String,
}

#[derive(Debug, Serialize)]
pub struct PodLink {
    #[serde(flatten)]
    pub link: Link,
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// What the scheduler last said; absent: that is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<PodVerdict>,
    pub containers: Vec<Container>,
}

#[derive(Debug, Serialize)]
pub struct Host {
    pub name: String,
    #[serde(flatten)]
    pub standing: Standing,
    /// `podman://5.3.1`.
    pub runtime: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    pub name: String,
    pub image: String,
    /// `Running`, `Waiting` or `Terminated`.
    pub state: &'static str,
    pub reason: String,
    /// Podman's words, where it refused.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    pub ready: bool,
    pub restarts: u64,
    /// How the run before this one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Ended>,
    /// Its last lines, where they may tell something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    pub reason: String,
    pub message: String,
    pub exit_code: i64,
    /// RFC 3339.
    pub finished: String,
}

/// Puts the chain together.
pub fn explain(facts: Facts) -> Why {
    let standing = standing::of(&facts.object, &facts.judges);
    let is_pod = facts.object["kind"] == "Pod";
    let own = (!is_pod).then_some(&facts.object);
    let chain: Vec<Link> =
        facts.owners.iter().chain(own).chain(&facts.below).map(|object| link(object, &facts)).collect();
    let pods: Vec<PodLink> = facts.pods.iter().map(|pod| pod_link(pod, &facts)).collect();
    let cause = if standing.is_ready() { None } else { cause(&facts, &chain, &pods) };
    let managers =
        if facts.source.is_none() { managers(facts.owners.first().unwrap_or(&facts.object)) } else { vec![] };
    Why {
        schema: SCHEMA,
        object: id_of(&facts.object),
        standing,
        cause,
        source: facts.source,
        managers,
        chain,
        pods,
        other_pods: facts.others,
    }
}

/// The first thing wrong, looked for where things break: containers, the pod, its controllers.
fn cause(facts: &Facts, chain: &[Link], pods: &[PodLink]) -> Option<Cause> {
    let of_pod = |pod: &Value| {
        let trouble = troubles(pod).into_iter().next()?;
        let (container, reason, message) = (trouble.container, trouble.reason, trouble.message);
        Some(Cause { object: id_of(pod), container, reason, message })
    };
    let warned = |link: &Link| {
        let event = link.events.iter().rev().find(|event| event.kind == "Warning")?.clone();
        let (container, object) = (String::new(), link.object.clone());
        Some(Cause { object, container, reason: event.reason, message: event.message })
    };
    let unready = |link: &&Link| !link.standing.is_ready();
    facts
        .pods
        .iter()
        .find_map(of_pod)
        .or_else(|| pods.iter().map(|pod| &pod.link).filter(unready).find_map(warned))
        .or_else(|| chain.iter().rev().filter(unready).find_map(warned))
}

fn link(object: &Value, facts: &Facts) -> Link {
    let of = |condition: &Value| {
        let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
        let (kind, status, reason) = (text("type"), text("status"), text("reason"));
        Condition { kind, status, reason, message: text("message"), since: text("lastTransitionTime") }
    };
    let id = id_of(object);
    let told = facts.events.get(&id.uid).map(Vec::as_slice).unwrap_or_default();
    Link {
        standing: standing::of(object, &facts.judges),
        conditions: list(object, "/status/conditions").iter().map(of).collect(),
        events: newest(told),
        object: id,
    }
}

fn newest(told: &[Value]) -> Vec<Event> {
    let mut events: Vec<Event> = told.iter().map(event).collect();
    events.sort_by(|a, b| a.time.cmp(&b.time));
    events.split_off(events.len().saturating_sub(EVENTS))
}

/// A core/v1 Event; those written by way of events.k8s.io have other fields set.
fn event(event: &Value) -> Event {
    let first = |pointers: &[&str]| {
        let found = pointers.iter().map(|pointer| text(event, pointer)).find(|text| !text.is_empty());
        found.unwrap_or_default().to_owned()
    };
    let count = event.pointer("/series/count").or(event.get("count")).and_then(Value::as_u64);
    Event {
        time: first(&["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]),
        kind: first(&["/type"]),
        reason: first(&["/reason"]),
        message: first(&["/message"]),
        count: count.unwrap_or(1),
        component: first(&["/source/component", "/reportingComponent"]),
    }
}

fn managers(object: &Value) -> Vec<Manager> {
    let entries = list(object, "/metadata/managedFields").iter().filter(|entry| text(entry, "/subresource").is_empty());
    entries
        .map(|entry| {
            let text = |pointer| text(entry, pointer).to_owned();
            Manager { name: text("/manager"), operation: text("/operation"), time: text("/time") }
        })
        .collect()
}

fn pod_link(pod: &Value, facts: &Facts) -> PodLink {
    let uid = text(pod, "/metadata/uid");
    let host = text(pod, "/spec/nodeName");
    PodLink {
        link: link(pod, facts),
        phase: text(pod, "/status/phase").to_owned(),
        host: (!host.is_empty()).then(|| on(host, facts.hosts.get(host))),
        verdict: facts.verdicts.get(uid).cloned(),
        containers: told(pod, &facts.logs),
    }
}

fn on(name: &str, node: Option<&Value>) -> Host {
    let standing = node.map_or_else(Standing::missing, standing::host);
    let runtime = node.map_or("", |node| text(node, "/status/nodeInfo/containerRuntimeVersion"));
    Host { name: name.to_owned(), standing, runtime: runtime.to_owned() }
}

fn told(pod: &Value, logs: &HashMap<(String, String), Vec<String>>) -> Vec<Container> {
    let uid = text(pod, "/metadata/uid").to_owned();
    containers(pod)
        .map(|(spec, status)| {
            let name = text(spec, "/name").to_owned();
            let State { word, reason, message, exit_code } = container_state(status);
            Container {
                image: text(spec, "/image").to_owned(),
                state: word,
                reason: reason.to_owned(),
                message: message.to_owned(),
                exit_code,
                ready: status["ready"] == true,
                restarts: status["restartCount"].as_u64().unwrap_or(0),
                last: status.pointer("/lastState/terminated").map(ended),
                log: logs.get(&(uid.clone(), name.clone())).cloned().unwrap_or_default(),
                name,
            }
        })
        .collect()
}

fn ended(terminated: &Value) -> Ended {
    Ended {
        reason: text(terminated, "/reason").to_owned(),
        message: text(terminated, "/message").to_owned(),
        exit_code: terminated["exitCode"].as_i64().unwrap_or(0),
        finished: text(terminated, "/finishedAt").to_owned(),
    }
}
