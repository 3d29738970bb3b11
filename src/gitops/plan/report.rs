//! The report of a plan or sync: what happens to each object.

use super::diff::{FieldChange, How, diff};
use super::restarts::{replaced, restarts};
use super::takeovers::Takeover;
use crate::api::changeset::{Author, ChangeAction, ChangeResult, ObjectId};
use crate::api::plan::Consequences;
use crate::gitops::kinds::Kinds;
use crate::gitops::render::{Manifest, Origin, identity};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;

/// The field manager of syncs.
pub const OURS: &str = "selkie";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Change,
    /// Deleted and created again, because a field cannot change in place.
    Replace,
    Delete,
    Unchanged,
}

/// What happens to one object.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectChange {
    pub action: Action,
    pub id: ObjectId,
    /// Where the source defines it; `None` for what is pruned.
    pub origin: Option<Origin>,
    /// For changes and replacements.
    pub fields: Vec<FieldChange>,
    /// For people: why (`no longer in the source`), or what is created (`2 replicas of web:1`).
    pub note: String,
    /// Running pods that this restarts.
    pub restarts: u64,
    /// Who wrote it last by hand, or deleted it, where that is known.
    pub author: Option<Author>,
    pub warnings: Vec<String>,
}

/// The counts of a report's last line. A replacement counts as an addition and a deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub add: u64,
    pub change: u64,
    pub delete: u64,
    pub unchanged: u64,
    pub restarts: u64,
    /// Nobody looked to the end: more pods may restart than these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { add, change, delete, restarts, .. } = self;
        write!(f, "{add} to add, {change} to change, {delete} to delete; ")?;
        let pods = if *restarts == 1 { "pod" } else { "pods" };
        match (self.partial, restarts) {
            (true, 0) => write!(f, "how many pods restart is not known."),
            (true, _) => write!(f, "at least {restarts} {pods} to restart."),
            (false, _) => write!(f, "{restarts} {pods} to restart."),
        }
    }
}

/// What a change set does, in the order of its objects, deletions last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub objects: Vec<ObjectChange>,
    /// About the whole: what is held back from pruning, what the source warns of.
    pub warnings: Vec<String>,
    /// Hooks that are run because of it, with their place: `PreSync: Job default/migrate`.
    pub runs: Vec<String>,
    /// What is taken over from others.
    pub takeovers: Vec<Takeover>,
    /// What the cluster does because of it, where someone looked ahead.
    pub consequences: Option<Consequences>,
}

impl Report {
    /// Reads a change set's results. `manifests` are the objects posted.
    pub fn new(results: &[ChangeResult], manifests: &[Manifest], kinds: &dyn Kinds) -> Self {
        let by_id: HashMap<_, _> = manifests.iter().map(|manifest| (identity(&manifest.id), manifest)).collect();
        let manifest_of = |result: &ChangeResult| by_id.get(&identity(&result.id)).copied();
        let objects = results.iter().filter_map(|result| object_change(result, manifest_of(result), kinds)).collect();
        Self { objects, ..Self::default() }
    }

    /// Takes in what the chain did: from now on restarts are what was seen, not what a change of a pod
    /// template suggests.
    pub fn foresee(&mut self, consequences: Consequences) {
        let mut restarts: HashMap<_, u64> = HashMap::new();
        for workload in &consequences.workloads {
            *restarts.entry(identity(&workload.id)).or_default() += workload.replaced + workload.restarted;
        }
        for object in &mut self.objects {
            object.restarts = restarts.get(&identity(&object.id)).copied().unwrap_or_default();
        }
        self.consequences = Some(consequences);
    }

    /// Says whose changes these undo.
    pub fn name_authors(&mut self) {
        for object in self.objects.iter_mut().filter(|object| object.action != Action::Unchanged) {
            let Some(author) = &object.author else { continue };
            let did = match (author.method.as_str(), author.subresource.as_str()) {
                ("DELETE", _) => "deleted".to_owned(),
                (_, "") => "changed".to_owned(),
                (_, subresource) => format!("changed ({subresource})"),
            };
            let who = match (author.user.as_str(), author.manager.as_str()) {
                ("", manager) => format!("with {manager}"),
                (user, manager) => format!("by {user} with {manager}"),
            };
            let said = format!("{did} {who} at {}", author.time);
            object.note = if object.note.is_empty() { said } else { format!("{}, {said}", object.note) };
        }
    }

    /// Stands for what happens to which object, field by field; not for restarts, warnings and authors.
    /// Sixteen hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut changes: Vec<_> = self.changes().collect();
        changes.sort_by(|a, b| a.id.cmp(&b.id));
        let mut hash = Sha256::new();
        for change in changes {
            let identity = ObjectId { uid: String::new(), ..change.id.clone() };
            hash.update(serde_json::json!([change.action, identity, change.fields]).to_string());
            hash.update("\n");
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Why what the cluster does is not known to the end, if it is not.
    pub fn cut_short(&self) -> Option<&str> {
        let why = self.consequences.as_ref()?.cut_short.as_str();
        (!why.is_empty()).then_some(why)
    }

    /// Nothing is created, changed or deleted.
    pub fn is_empty(&self) -> bool {
        self.objects.iter().all(|object| object.action == Action::Unchanged)
    }

    /// The objects that something happens to.
    pub fn changes(&self) -> impl Iterator<Item = &ObjectChange> {
        self.objects.iter().filter(|object| object.action != Action::Unchanged)
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for object in &self.objects {
            totals.restarts += object.restarts;
            match object.action {
                Action::Create => totals.add += 1,
                Action::Change => totals.change += 1,
                Action::Delete => totals.delete += 1,
                Action::Unchanged => totals.unchanged += 1,
                Action::Replace => {
                    totals.add += 1;
                    totals.delete += 1;
                }
            }
        }
        // Also those of workloads that the change set does not name.
        if let Some(consequences) = &self.consequences {
            totals.restarts = consequences.restarts();
            totals.partial = !consequences.cut_short.is_empty();
        }
        totals
    }
}

fn object_change(result: &ChangeResult, manifest: Option<&Manifest>, kinds: &dyn Kinds) -> Option<ObjectChange> {
    let mut change = ObjectChange {
        action: Action::Unchanged,
        id: result.id.clone(),
        origin: manifest.map(|manifest| manifest.origin.clone()),
        fields: Vec::new(),
        note: String::new(),
        restarts: 0,
        author: result.author.clone().or_else(|| last_manager(result.before.as_ref()?)),
        warnings: result.warnings.clone(),
    };
    match (result.action, &result.before, &result.after) {
        (ChangeAction::Failed, ..) => return None,
        (ChangeAction::Created, _, after) => {
            change.action = Action::Create;
            let is_shown = manifest.is_none_or(|manifest| !manifest.confidential);
            let made = after.as_ref().or(manifest.map(|manifest| &manifest.value)).filter(|_| is_shown);
            change.note = made.map(summary).unwrap_or_default();
        }
        (ChangeAction::Deleted, before, _) => {
            change.action = Action::Delete;
            change.note = if before.is_some() { "no longer in the source" } else { "already gone" }.to_owned();
            if before.is_none() {
                change.action = Action::Unchanged;
            }
        }
        (ChangeAction::Configured, Some(before), Some(after)) => {
            change.fields = fields(before, after, manifest, kinds, false);
            change.restarts = restarts(before, after);
            // Ownership of fields may change without any value doing so.
            if !change.fields.is_empty() {
                change.action = Action::Change;
            }
        }
        (ChangeAction::Configured, ..) => change.action = Action::Change,
        (ChangeAction::Replaced, before, after) => {
            change.action = Action::Replace;
            change.note.clone_from(&result.reason);
            if let (Some(before), Some(after)) = (before, after) {
                change.fields = fields(before, after, manifest, kinds, true);
                change.restarts = replaced(before, after);
            }
        }
        (ChangeAction::Unchanged, ..) => {}
    }
    Some(change)
}

fn fields(
    before: &Value,
    after: &Value,
    manifest: Option<&Manifest>,
    kinds: &dyn Kinds,
    replaced: bool,
) -> Vec<FieldChange> {
    let text = |field: &str| after.get(field).and_then(Value::as_str).unwrap_or_default();
    let schema = kinds.schema(text("apiVersion"), text("kind"));
    let how = How { confidential: manifest.is_some_and(|manifest| manifest.confidential), replaced };
    diff(before, after, manifest.map(|manifest| &manifest.value), schema.as_deref(), &how)
}

/// The newest entry of managedFields that is not a sync's or about status.
fn last_manager(object: &Value) -> Option<Author> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let others = entries.iter().filter(|entry| entry["manager"] != OURS && entry["subresource"] != "status");
    let newest = others.max_by_key(|entry| text(entry, "time"))?;
    let of = |field| text(newest, field);
    Some(Author { manager: of("manager"), time: of("time"), subresource: of("subresource"), ..Author::default() })
}

/// What a new object is, in a few words.
fn summary(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let pod = object.pointer("/spec/template/spec").or_else(|| object.get("spec"));
    let images: Vec<&str> = pod
        .and_then(|spec| spec.get("containers")?.as_array())
        .map(|containers| containers.iter().filter_map(|c| c.get("image")?.as_str()).collect())
        .unwrap_or_default();
    let keys = || {
        let count = |field: &str| object.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
        count("data") + count("binaryData") + count("stringData")
    };
    let plural = |n: u64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    match object.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "Deployment" | "StatefulSet" | "ReplicaSet" => {
            let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            format!("{} of {}", plural(replicas, "replica"), images.join(", "))
        }
        "Pod" | "Job" | "DaemonSet" => images.join(", "),
        "ConfigMap" | "Secret" => plural(keys() as u64, "key"),
        "Service" => text("/spec/type").unwrap_or("ClusterIP").to_owned(),
        _ => String::new(),
    }
}
