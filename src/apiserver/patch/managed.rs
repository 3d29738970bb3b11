//! `metadata.managedFields`: who owns which fields, and how writes other than apply move them.

mod written;

pub use written::update_written;

use super::compare::{Comparison, compare, created};
use super::fieldset::FieldSet;
use crate::api::schema::Schema;
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

/// More managers that update than this are folded into one, oldest first.
const LIMIT: usize = 10;
const FOLDED: &str = "ancient-changes";

/// Fields of the server's own, owned by nobody.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
];

/// What a resize changes of a pod.
const RESIZED: &[&[&str]] = &[
    &["f:spec", "f:resources"],
    &["f:spec", "f:containers", "*", "f:resources"],
    &["f:spec", "f:containers", "*", "f:resizePolicy"],
    &["f:spec", "f:initContainers", "*", "f:resources"],
    &["f:spec", "f:initContainers", "*", "f:resizePolicy"],
];

/// Who writes, and through what.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// e.g. `apps/v1`.
    pub api_version: &'a str,
    /// e.g. `status`; empty for the object itself.
    pub subresource: &'a str,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub operation: Operation,
    /// RFC 3339; empty when unknown.
    pub time: String,
    pub manager: String,
    pub api_version: String,
    pub subresource: String,
    pub fields: FieldSet,
}

impl Entry {
    pub fn new(operation: Operation, writer: &Writer<'_>, fields: FieldSet) -> Self {
        Self {
            operation,
            time: timestamp(writer.now),
            manager: writer.manager.into(),
            api_version: writer.api_version.into(),
            subresource: writer.subresource.into(),
            fields,
        }
    }

    /// Whether a write by `writer` is this entry's manager again. Who applies stays the same
    /// across versions of the API.
    pub fn is_by(&self, operation: Operation, writer: &Writer<'_>) -> bool {
        self.operation == operation
            && self.manager == writer.manager
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.api_version == writer.api_version)
    }

    fn parse(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_string();
        let operation = match entry["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            operation,
            time: text("time"),
            manager: text("manager"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            fields: FieldSet::parse(&entry["fieldsV1"]),
        })
    }
}

/// As the API writes it, in the order of the names.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apiVersion", &self.api_version)?;
        map.serialize_entry("fieldsType", "FieldsV1")?;
        map.serialize_entry("fieldsV1", &self.fields)?;
        map.serialize_entry("manager", &self.manager)?;
        map.serialize_entry("operation", if self.operation == Operation::Apply { "Apply" } else { "Update" })?;
        for (field, value) in [("subresource", &self.subresource), ("time", &self.time)] {
            if !value.is_empty() {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

pub(super) fn timestamp(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or_default().to_string()
}

/// The entries of an object; unreadable ones are dropped.
pub(super) fn read(object: &Value) -> Vec<Entry> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().filter_map(Entry::parse).collect()
}

/// The entry of the writer as one who applies; the others are not parsed.
pub(super) fn applied(object: &Value, writer: &Writer<'_>) -> Option<Entry> {
    let is = |entry: &Value, field: &str, wanted: &str| entry[field].as_str().unwrap_or_default() == wanted;
    let entries = object["metadata"]["managedFields"].as_array()?;
    let own = entries.iter().find(|entry| {
        is(entry, "operation", "Apply")
            && is(entry, "manager", writer.manager)
            && is(entry, "subresource", writer.subresource)
    });
    own.and_then(Entry::parse)
}

/// Writes entries into an object, in the canonical order; none removes the field.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| (entry.operation, entry.time.clone());
        (key(a), &a.manager, &a.api_version, &a.subresource).cmp(&(key(b), &b.manager, &b.api_version, &b.subresource))
    });
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        let entries = entries.iter().filter_map(|entry| serde_json::to_value(entry).ok());
        metadata.insert("managedFields".into(), entries.collect());
    }
}

/// Takes out what nobody owns.
pub(super) fn strip(mut fields: FieldSet) -> FieldSet {
    for path in UNOWNED {
        fields.remove(path);
    }
    // The object itself and an otherwise empty metadata are no fields.
    fields.member = false;
    if let Some(metadata) = fields.children.get_mut("f:metadata") {
        metadata.member = false;
        if metadata.is_empty() {
            fields.children.remove("f:metadata");
        }
    }
    fields
}

/// Of an intent applied through a subresource: what can be owned by that. The rest of it only says what is meant.
pub(super) fn of_subresource(subresource: &str, mut fields: FieldSet) -> FieldSet {
    if subresource == "resize" {
        fields.keep(RESIZED);
    }
    fields
}

/// What a write changed, without the fields nobody owns.
pub(super) fn changes(before: &Value, after: &Value, schema: &Schema) -> Comparison {
    let all = compare(before, after, Some(schema));
    Comparison { added: strip(all.added), modified: strip(all.modified), removed: strip(all.removed) }
}

/// Keeps `metadata.managedFields` of `after` in step with a create (`before` is `None`) or an
/// update: what changed moves to the writer, what is gone belongs to nobody.
///
/// A request may replace the entries, and `[{}]` or `[]` clears them. An object that has none gets
/// none by an update, so that tracking starts with a create or the first apply.
pub fn update(before: Option<&Value>, after: &mut Value, schema: &Schema, writer: &Writer<'_>) {
    let asked = after.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.remove("managedFields"));
    let Some(before) = before else {
        let fields = strip(created(after, schema));
        return write(after, vec![Entry::new(Operation::Update, writer, fields)]);
    };
    let Some(mut entries) = current(before, asked, writer) else { return };
    let (taken, removed) = moved(before, after, schema);
    hand_over(&mut entries, taken, &removed, writer);
    fold(&mut entries);
    write(after, entries);
}

/// The fields an update gives to its writer, and those it leaves to nobody.
fn moved(before: &Value, after: &Value, schema: &Schema) -> (FieldSet, FieldSet) {
    let changes = changes(before, after, schema);
    let mut taken = changes.modified;
    taken.union(&changes.added);
    (taken, changes.removed)
}

fn hand_over(entries: &mut Vec<Entry>, taken: FieldSet, removed: &FieldSet, writer: &Writer<'_>) {
    for entry in &mut *entries {
        entry.fields.subtract(&taken);
        entry.fields.subtract(removed);
    }
    if taken.is_empty() {
        return;
    }
    match entries.iter_mut().find(|entry| entry.is_by(Operation::Update, writer)) {
        Some(entry) => {
            entry.fields.union(&taken);
            entry.time = timestamp(writer.now);
        }
        None => entries.push(Entry::new(Operation::Update, writer, taken)),
    }
}

/// The entries an update starts from; `None` when the object is to have none.
fn current(before: &Value, asked: Option<Value>, writer: &Writer<'_>) -> Option<Vec<Entry>> {
    if writer.subresource.is_empty()
        && let Some(asked) = asked
    {
        let cleared = match asked.as_array().map(Vec::as_slice) {
            Some([]) => true,
            Some([only]) => only["manager"].is_null() && only["operation"].is_null(),
            _ => false,
        };
        if cleared {
            return None;
        }
        let holder = json!({"metadata": Map::from_iter([("managedFields".to_string(), asked)])});
        let entries = read(&holder);
        if !entries.is_empty() {
            return Some(entries);
        }
    }
    Some(read(before)).filter(|entries| !entries.is_empty())
}

/// Keeps the number of updating managers within the limit: the oldest become one.
fn fold(entries: &mut Vec<Entry>) {
    let mut updaters: Vec<usize> = (0..entries.len())
        .filter(|&i| entries[i].operation == Operation::Update && !entries[i].fields.is_empty())
        .collect();
    if updaters.len() <= LIMIT {
        return;
    }
    updaters.sort_by(|&a, &b| entries[a].time.cmp(&entries[b].time));
    let surplus = updaters.len() - LIMIT + 1;
    let oldest: Vec<usize> = updaters.into_iter().take(surplus).collect();
    let mut folded: Option<Entry> = None;
    let mut index = 0;
    entries.retain(|entry| {
        let old = oldest.contains(&index);
        index += 1;
        if old {
            match &mut folded {
                Some(folded) => {
                    folded.fields.union(&entry.fields);
                    folded.time = folded.time.clone().max(entry.time.clone());
                }
                None => folded = Some(Entry { manager: FOLDED.into(), subresource: String::new(), ..entry.clone() }),
            }
        }
        !old
    });
    entries.extend(folded);
}
