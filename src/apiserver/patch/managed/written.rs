//! Moves ownership within entries as they are stored: only those a change concerns are parsed and
//! written anew. A status is reported many times in a pod's life, and the entry of who made the pod,
//! which is most of `managedFields`, has no part in it.

use super::{Entry, LIMIT, Operation, Writer, fold, hand_over, moved};
use crate::api::schema::Schema;
use crate::apiserver::patch::fieldset::FieldSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// An entry whose fields stay bytes.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a> {
    api_version: String,
    fields_type: String,
    #[serde(borrow)]
    fields_v1: &'a RawValue,
    manager: String,
    operation: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subresource: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    time: String,
}

impl Held<'_> {
    fn is_by(&self, writer: &Writer<'_>) -> bool {
        self.operation == "Update"
            && self.manager == writer.manager
            && self.subresource == writer.subresource
            && self.api_version == writer.api_version
    }

    fn parse(&self) -> Entry {
        Entry {
            operation: if self.operation == "Apply" { Operation::Apply } else { Operation::Update },
            time: self.time.clone(),
            manager: self.manager.clone(),
            api_version: self.api_version.clone(),
            subresource: self.subresource.clone(),
            fields: serde_json::from_str(self.fields_v1.get()).unwrap_or_default(),
        }
    }
}

/// As [`super::update`] by a request that does not speak of entries, for these as they are stored; `before` and `after`
/// come without them. Returns the entries to store.
pub fn update_written(
    written: &[u8],
    before: &Value,
    after: &Value,
    schema: &Schema,
    writer: &Writer<'_>,
) -> serde_json::Result<Vec<u8>> {
    let all: Vec<Held> = serde_json::from_slice(written)?;
    let (taken, removed) = moved(before, after, schema);
    if taken.is_empty() && removed.is_empty() {
        return Ok(written.to_vec());
    }
    let crowded = all.len() >= LIMIT;
    let (concerned, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|held| {
        crowded || held.is_by(writer) || holds(held.fields_v1, &taken) || holds(held.fields_v1, &removed)
    });
    let mut entries: Vec<Entry> = concerned.iter().map(Held::parse).collect();
    hand_over(&mut entries, taken, &removed, writer);
    fold(&mut entries);
    entries.retain(|entry| !entry.fields.is_empty());
    let mut lines = Vec::with_capacity(entries.len() + others.len());
    for entry in &entries {
        let order = [entry.time.clone(), entry.manager.clone(), entry.api_version.clone(), entry.subresource.clone()];
        lines.push((entry.operation, order, serde_json::to_string(entry)?));
    }
    for held in others {
        let operation = if held.operation == "Apply" { Operation::Apply } else { Operation::Update };
        let line = serde_json::to_string(&held)?;
        lines.push((operation, [held.time, held.manager, held.api_version, held.subresource], line));
    }
    lines.sort();
    let lines: Vec<String> = lines.into_iter().map(|(.., line)| line).collect();
    Ok(format!("[{}]", lines.join(",")).into_bytes())
}

/// Whether written fields have a path of `set`. Looks only where the two meet.
fn holds(fields: &RawValue, set: &FieldSet) -> bool {
    if set.is_empty() {
        return false;
    }
    let Ok(children) = serde_json::from_str::<BTreeMap<String, &RawValue>>(fields.get()) else { return true };
    set.member && (children.is_empty() || children.contains_key("."))
        || set
            .children
            .iter()
            .any(|(element, below)| children.get(&**element).is_some_and(|fields| holds(fields, below)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::update;
    use super::*;
    use crate::api::registry::Registry;
    use jiff::Timestamp;
    use serde_json::json;

    /// Both ways must give the same entries, whoever writes what.
    #[test]
    fn written_entries_move_as_parsed_ones_do() {
        let schema = Registry::builtin().schema("", "v1", "Pod").unwrap();
        let mut pod = json!({"metadata": {"name": "a", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending", "qosClass": "Burstable"}});
        let writer = |manager, subresource, second| Writer {
            manager,
            api_version: "v1",
            subresource,
            now: Timestamp::from_second(second).unwrap(),
        };
        update(None, &mut pod, &schema, &writer("maker", "", 0));
        let steps = [
            (
                "kubelet",
                json!({"phase": "Pending", "qosClass": "Burstable", "conditions": [{"type": "Ready", "status": "False"}]}),
            ),
            (
                "kubelet",
                json!({"phase": "Running", "qosClass": "Burstable", "conditions": [{"type": "Ready", "status": "True"}]}),
            ),
            (
                "other",
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Mine", "status": "True"}]}),
            ),
            (
                "kubelet",
                json!({"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}], "conditions": [{"type": "Ready", "status": "False"}]}),
            ),
            (
                "kubelet",
                json!({"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}], "conditions": [{"type": "Ready", "status": "False"}]}),
            ),
            ("maker", json!({})),
        ];
        let labels = [json!({"app": "web"}), json!({"app": "web", "tier": "a"}), json!({"tier": "b"})];
        let crowd = (0..12).map(|n| {
            (
                ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "ua", "ub"][n],
                json!({"message": n.to_string(), "conditions": [{"type": n.to_string()}]}),
            )
        });
        for (at, (manager, status)) in steps.into_iter().chain(crowd).enumerate() {
            let through = if at % 2 == 0 { "status" } else { "" };
            let writer = writer(manager, through, at as i64 + 1);
            let mut next = pod.clone();
            next["status"] = status;
            if through.is_empty() {
                next["metadata"]["labels"] = labels[at % labels.len()].clone();
            }
            let bare = |object: &Value| {
                let mut object = object.clone();
                object["metadata"].as_object_mut().unwrap().remove("managedFields");
                object
            };
            let stored = pod["metadata"]["managedFields"].to_string();
            let written = update_written(stored.as_bytes(), &bare(&pod), &bare(&next), &schema, &writer).unwrap();
            update(Some(&pod), &mut next, &schema, &writer);
            assert_eq!(String::from_utf8(written).unwrap(), next["metadata"]["managedFields"].to_string(), "step {at}");
            pod = next;
        }
    }
}
