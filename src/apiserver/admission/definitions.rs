//! The status of a CustomResourceDefinition: which names it gets, whether it is served, which
//! versions objects are stored under. Decided with the write, so that whoever sees a definition can
//! use its kind.

use super::super::definitions::{GROUP, PLURAL};
use crate::api::kinds::customresourcedefinition::CLEANUP;
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::parse;
use crate::store::bucket;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Whether a write is about a definition.
pub fn concerns(group: &str, plural: &str) -> bool {
    (group, plural) == (GROUP, PLURAL)
}

/// Completes the status of a definition that is created or changed.
pub fn complete(writer: &Writer<'_>, object: &mut Value) {
    let now = writer.server.clock.now_seconds();
    let taken = conflict(writer, object);
    let (accepted, reason, message) = match &taken {
        None => ("True", "NoConflicts", "no conflicts found".to_string()),
        Some((reason, name)) => ("False", *reason, format!("{name:?} is already in use")),
    };
    set_condition(object, "NamesAccepted", accepted, reason, &message, now);
    match taken {
        None => {
            set_condition(
                object,
                "Established",
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
                now,
            );
            object["status"]["acceptedNames"] = object["spec"]["names"].clone();
        }
        Some(_) if condition(object, "Established") == Some("True") => {}
        Some(_) => {
            set_condition(object, "Established", "False", "NotAccepted", "not all names are accepted", now);
            object["status"]["acceptedNames"] = json!({"kind": "", "plural": ""});
        }
    }
    let versions = object["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let mut stored = object["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    for version in versions.iter().filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    object["status"]["storedVersions"] = stored.into();
}

/// A definition whose deletion was asked for is held until its instances are gone.
pub fn begin_deletion(object: &mut Value, now: Timestamp) {
    let finalizers = &mut object["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|finalizer| finalizer == CLEANUP) => {}
        Some(list) => list.push(CLEANUP.into()),
        None => *finalizers = json!([CLEANUP]),
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(object, "Terminating", "True", "InstanceDeletionPending", message, now);
}

/// The first name that another definition of the group has.
fn conflict(writer: &Writer<'_>, object: &Value) -> Option<(&'static str, String)> {
    let (group, name) = (&object["spec"]["group"], &object["metadata"]["name"]);
    let mut used: Vec<String> = Vec::new();
    let mut kinds: Vec<String> = Vec::new();
    for record in writer.view.scan(&bucket(GROUP, PLURAL)) {
        let other = parse(&record);
        if other["metadata"]["name"] == *name || other["spec"]["group"] != *group {
            continue;
        }
        let names = &other["status"]["acceptedNames"];
        used.extend(["plural", "singular"].iter().filter_map(|field| names[*field].as_str()).map(str::to_string));
        used.extend(names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string));
        kinds.extend(["kind", "listKind"].iter().filter_map(|field| names[*field].as_str()).map(str::to_string));
    }
    let names = &object["spec"]["names"];
    let taken = |field: &str, used: &[String]| {
        names[field].as_str().filter(|name| used.iter().any(|u| u == name)).map(str::to_string)
    };
    let short = || {
        let short = names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        short.into_iter().find(|name| used.iter().any(|used| used == name)).map(str::to_string)
    };
    taken("plural", &used)
        .map(|name| ("PluralConflict", name))
        .or_else(|| taken("singular", &used).map(|name| ("SingularConflict", name)))
        .or_else(|| short().map(|name| ("ShortNamesConflict", name)))
        .or_else(|| taken("kind", &kinds).map(|name| ("KindConflict", name)))
        .or_else(|| taken("listKind", &kinds).map(|name| ("ListKindConflict", name)))
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    crate::api::kinds::table::condition(object, kind)
}

fn set_condition(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    let list = &mut object["status"]["conditions"];
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let mut new = json!({"type": kind, "status": status, "lastTransitionTime": now.to_string(),
        "reason": reason, "message": message});
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        Some(old) if old["status"] == status && old["reason"] == reason && old["message"] == message => {}
        Some(old) => {
            if old["status"] == status {
                new["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = new;
        }
        None => list.push(new),
    }
}
