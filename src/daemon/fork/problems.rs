//! What keeps pods from running, in the words of whoever said no. Pure.

use super::owners::Owners;
use super::pods::{self, Story};
use super::verdicts::About;
use crate::api::changeset::ObjectId;
use crate::api::meta::Envelope;
use crate::api::plan::Problem;
use crate::gitops::readiness::Readiness;
use crate::gitops::sync::Progress;
use serde_json::Value;
use std::collections::BTreeMap;

pub type Warnings = BTreeMap<About, BTreeMap<String, String>>;

/// Reasons that say nothing but that it is not there yet.
const WAITING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// What is said of a pod that runs, but not in all as it was asked to.
const LESS: &str = "LimitsNotEnforced";

/// Collects problems; those of several pods of one workload are one.
#[derive(Default)]
pub struct Problems {
    all: BTreeMap<(ObjectId, String, String), u64>,
    /// The run was cut short: what is not ready may still become so, unless someone says otherwise.
    cut_short: bool,
}

impl Problems {
    pub fn new(cut_short: bool) -> Self {
        Self { cut_short, ..Self::default() }
    }

    /// Notes why the pod is not ready, if it is not, and what it does without.
    pub fn pod(&mut self, root: &ObjectId, story: &Story, pod: &Value, warnings: &Warnings) {
        for (reason, message) in said(pod, warnings).filter(|(reason, _)| *reason == LESS) {
            *self.all.entry((root.clone(), reason.clone(), message.clone())).or_default() += 1;
        }
        if pods::is_ready(pod) {
            return;
        }
        let silent = || {
            let silent = ("NotReady".to_owned(), "it did not become ready, and nobody said why".to_owned());
            (!self.cut_short).then_some(silent)
        };
        let Some((reason, message)) = why(pod, warnings).or_else(silent) else { return };
        let shown = pods::shown_name(pod, story.before.is_none());
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let message = message.replace(&text("name"), &shown).replace(&text("uid"), "*");
        *self.all.entry((root.clone(), reason, message)).or_default() += 1;
    }

    /// Notes what was said of objects that are no pods.
    pub fn objects(&mut self, owners: &Owners<'_>, warnings: &Warnings) {
        for (about, reasons) in warnings.iter().filter(|(about, _)| about.kind != "Pod") {
            let key = owners.key(&about.api_version, &about.kind, &about.namespace, &about.name);
            let Some(record) = key.and_then(|key| owners.store.get(&key)) else { continue };
            let root = owners.root(&about.api_version, &about.kind, &record.envelope);
            for (reason, message) in reasons {
                self.all.entry((root.clone(), reason.clone(), message.clone())).or_default();
            }
        }
    }

    /// Notes that a workload refers to what is not there, unless something was said of it that has these names.
    pub fn reference(&mut self, workload: &ObjectId, names: &[&String], message: String) {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        let has = |said: &str, name: &str| said.split(|letter| !is_name(letter)).any(|word| word == name);
        let is_known = |said: &str| names.iter().all(|name| has(said, name));
        if !self.all.keys().any(|(about, _, said)| about == workload && is_known(said)) {
            self.all.insert((workload.clone(), "MissingReference".to_owned(), message), 0);
        }
    }

    /// Notes what keeps the stages after it from being applied.
    pub fn stops(&mut self, failed: &[Progress]) {
        for one in failed {
            let id = ObjectId { uid: String::new(), ..one.id.clone() };
            let message = format!("{}: the stages after it are not applied", one.message);
            self.all.entry((id, "SyncStops".to_owned(), message)).or_default();
        }
    }

    /// Notes objects that did not become ready for reasons that nothing else tells.
    pub fn unready(&mut self, objects: &[(Value, Readiness)]) {
        for (object, readiness) in objects {
            let why = match readiness {
                Readiness::Progressing(why) if !self.cut_short => why,
                Readiness::Failed(why) => why,
                _ => continue,
            };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let id = ObjectId {
                api_version: text(&object["apiVersion"]),
                kind: text(&object["kind"]),
                namespace: text(&object["metadata"]["namespace"]),
                name: text(&object["metadata"]["name"]),
                uid: String::new(),
            };
            if !self.all.keys().any(|(known, ..)| *known == id) {
                self.all.insert((id, "NotReady".to_owned(), why.clone()), 0);
            }
        }
    }

    pub fn list(self) -> Vec<Problem> {
        let all = self.all.into_iter();
        all.map(|((object, reason, message), pods)| Problem { object, reason, message, pods }).collect()
    }
}

fn why(pod: &Value, warnings: &Warnings) -> Option<(String, String)> {
    let list = |name: &str| pod["status"][name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let unscheduled = list("conditions").into_iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    if let Some(condition) = unscheduled {
        return Some((text(&condition["reason"]), text(&condition["message"])));
    }
    let statuses = [list("initContainerStatuses"), list("containerStatuses")].concat();
    for status in &statuses {
        let waiting = &status["state"]["waiting"];
        let reason = text(&waiting["reason"]);
        if !reason.is_empty() && !WAITING.contains(&reason.as_str()) {
            return Some((reason, text(&waiting["message"])));
        }
    }
    let others = said(pod, warnings).filter(|(reason, _)| *reason != LESS);
    others.map(|(reason, message)| (reason.clone(), message.clone())).last()
}

fn said<'a>(pod: &'a Value, warnings: &'a Warnings) -> impl Iterator<Item = (&'a String, &'a String)> {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    warnings.iter().filter(move |(about, _)| about.uid == uid).flat_map(|(_, reasons)| reasons)
}

/// The volumes of a pod that live as long as it does.
pub fn short_lived_volumes(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lost = volumes.iter().filter(|volume| volume.get("emptyDir").is_some());
    lost.map(|volume| format!("emptyDir {}", volume["name"].as_str().unwrap_or_default())).collect()
}

/// Whether a deletion of `id` takes this pod of the workload `root` along.
pub fn is_lost_with(id: &ObjectId, root: &ObjectId, pod: &Envelope) -> bool {
    let same = id.kind == root.kind && id.name == root.name && id.namespace == root.namespace;
    same || id.kind == "Namespace" && id.name == pod.namespace
}
