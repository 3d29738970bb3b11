//! What is taken over from whom: objects that Applications hold, and fields that others set.

use super::report::OURS;
use crate::api::changeset::{ChangeAction, ChangeResult, ObjectId};
use crate::gitops::render::describe;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Fields that are named in a line for people.
const SHOWN: usize = 5;
/// Instead of a value that is not told.
const HIDDEN: &str = "...";

/// Who loses what of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Takeover {
    #[serde(flatten)]
    pub id: ObjectId,
    pub from: Loser,
    /// Paths, never values; of an Application, which loses the whole object, none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Loser {
    /// It lets go of the object for good.
    Application(String),
    /// A field manager: the program that set the fields.
    Manager {
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        user: String,
        /// RFC 3339; empty: not known.
        #[serde(skip_serializing_if = "String::is_empty")]
        time: String,
    },
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = describe(&self.id);
        match &self.from {
            Loser::Application(name) => {
                write!(f, "{what} is taken over from application {name:?}, which lets go of it for good")
            }
            Loser::Manager { name, user, time } => {
                let who: Vec<&str> =
                    [user, time].into_iter().map(String::as_str).filter(|one| !one.is_empty()).collect();
                let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
                write!(f, "{what}: {name:?}{who} loses {}", self.fields[..self.fields.len().min(SHOWN)].join(", "))?;
                match self.fields.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// The fields that others had set and that have other values now, by who had set them. Who only ever wrote
/// subresources, a status or a scale, has set nothing of the object itself. No value of a confidential object is told:
/// elements of lists are named by theirs.
pub fn of_fields(results: &[ChangeResult], is_confidential: impl Fn(&ObjectId) -> bool) -> Vec<Takeover> {
    let mut found = Vec::new();
    let is_changed =
        |result: &&ChangeResult| matches!(result.action, ChangeAction::Configured | ChangeAction::Replaced);
    for result in results.iter().filter(is_changed) {
        let (Some(before), Some(after)) = (&result.before, &result.after) else { continue };
        let hidden = is_confidential(&result.id);
        let entries = before.pointer("/metadata/managedFields").and_then(Value::as_array);
        let mut lost: BTreeMap<&str, (BTreeSet<String>, &str)> = BTreeMap::new();
        for entry in entries.into_iter().flatten() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            if text("manager") == OURS || !text("subresource").is_empty() {
                continue;
            }
            let Some(fields) = entry.get("fieldsV1") else { continue };
            let mut paths = BTreeSet::new();
            differing(fields, (Some(before), Some(after)), hidden, "", &mut paths);
            if !paths.is_empty() {
                let (all, time) = lost.entry(text("manager")).or_default();
                all.extend(paths);
                *time = (*time).max(text("time"));
            }
        }
        let author = result.author.as_ref();
        found.extend(lost.into_iter().map(|(name, (fields, time))| {
            let user = author.filter(|author| author.manager == name).map(|author| author.user.clone());
            let from = Loser::Manager { name: name.to_owned(), user: user.unwrap_or_default(), time: time.to_owned() };
            let id = ObjectId { uid: String::new(), ..result.id.clone() };
            Takeover { id, from, fields: fields.into_iter().collect() }
        }));
    }
    found
}

/// The paths of what is owned and has another value now.
fn differing(
    owned: &Value,
    (before, after): (Option<&Value>, Option<&Value>),
    hidden: bool,
    at: &str,
    found: &mut BTreeSet<String>,
) {
    if before == after {
        return;
    }
    let below: Vec<_> = owned.as_object().into_iter().flatten().filter(|(key, _)| *key != ".").collect();
    if below.is_empty() {
        found.insert(at.to_owned());
    }
    for (key, owned) in below {
        if let Some(name) = key.strip_prefix("f:") {
            let of = |value: Option<&'_ Value>| value.and_then(|value| value.get(name)).cloned();
            let path = if name.contains(['.', '/']) { format!("{at}[{name}]") } else { format!("{at}.{name}") };
            differing(owned, (of(before).as_ref(), of(after).as_ref()), hidden, &path, found);
        } else if let Some(keys) = key.strip_prefix("k:") {
            let Ok(Value::Object(wanted)) = serde_json::from_str::<Value>(keys) else { continue };
            let is = |entry: &&Value| wanted.iter().all(|(key, value)| entry.get(key) == Some(value));
            let of = |list: Option<&Value>| list.and_then(|list| list.as_array()?.iter().find(is)).cloned();
            let name =
                if hidden { HIDDEN.to_owned() } else { wanted.values().map(plain).collect::<Vec<_>>().join(",") };
            differing(owned, (of(before).as_ref(), of(after).as_ref()), hidden, &format!("{at}[{name}]"), found);
        } else if let Some(value) = key.strip_prefix("v:") {
            let Ok(wanted) = serde_json::from_str::<Value>(value) else { continue };
            let has = |list: Option<&Value>| list.and_then(Value::as_array).is_some_and(|all| all.contains(&wanted));
            if has(before) != has(after) {
                let name = if hidden { HIDDEN.to_owned() } else { plain(&wanted) };
                found.insert(format!("{at}[{name}]"));
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::changeset::Author;
    use serde_json::json;

    fn result(entries: Value, before: Value, after: Value) -> ChangeResult {
        let whole = |spec: Value| json!({"metadata": {"managedFields": entries}, "spec": spec, "data": {"k": spec}});
        let id = ObjectId { kind: "Deployment".into(), name: "web".into(), ..ObjectId::default() };
        let (before, after) = (Some(whole(before)), Some(whole(after)));
        let author = Some(Author { manager: "ann".into(), user: "Ann".into(), ..Author::default() });
        ChangeResult { id, action: ChangeAction::Configured, before, after, author, ..ChangeResult::default() }
    }

    fn lines(result: ChangeResult) -> Vec<String> {
        of_fields(&[result], |_| false).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_set_what_has_another_value_now_loses_it() {
        let entries = json!([
            {"manager": "ann", "time": "T2", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}, "f:containers": {
                "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}}, "k:{\"name\":\"side\"}": {"f:image": {}}}}}},
            {"manager": "bob", "fieldsV1": {"f:spec": {"f:finalizers": {"v:\"a\"": {}, "v:\"b\"": {}}, "f:a.b/c": {}}}},
            {"manager": "same", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "selkie", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "scaler", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]);
        let side = json!({"name": "side", "image": "s:1"});
        let before = json!({"replicas": 1, "paused": true, "finalizers": ["a", "b"], "a.b/c": 1,
            "containers": [{"name": "web", "image": "web:1"}, side]});
        let after = json!({"replicas": 2, "paused": true, "finalizers": ["b"],
            "containers": [side, {"name": "web", "image": "web:2"}]});
        assert_eq!(
            lines(result(entries, before, after)),
            [
                "Deployment web: \"ann\" (Ann, T2) loses .spec.containers[web].image, .spec.replicas",
                "Deployment web: \"bob\" loses .spec.finalizers[a], .spec[a.b/c]"
            ]
        );
    }

    #[test]
    fn what_is_made_again_is_told_and_values_of_confidential_objects_are_not() {
        let entries = json!([{"manager": "bob", "fieldsV1": {"f:spec": {
            "f:hosts": {"v:\"hush\"": {}}, "f:env": {"k:{\"name\":\"hush\"}": {"f:value": {}}}}}}]);
        let before = json!({"hosts": ["hush"], "env": [{"name": "hush", "value": "1"}]});
        let after = json!({"hosts": [], "env": [{"name": "hush", "value": "2"}]});
        let result = ChangeResult { action: ChangeAction::Replaced, ..result(entries, before, after) };
        let hidden = of_fields(std::slice::from_ref(&result), |id| id.name == "web");
        assert_eq!(hidden[0].fields, [".spec.env[...].value", ".spec.hosts[...]"]);
        assert_eq!(lines(result), ["Deployment web: \"bob\" loses .spec.env[hush].value, .spec.hosts[hush]"]);
    }

    #[test]
    fn many_fields_are_counted_and_values_are_not_told() {
        let all = |value: &str| (0..7).map(|n| (format!("k{n}"), json!(value))).collect::<serde_json::Map<_, _>>();
        let owned: serde_json::Map<_, _> = (0..7).map(|n| (format!("f:k{n}"), json!({}))).collect();
        let entries = json!([{"manager": "ann", "fieldsV1": {"f:data": {"f:k": owned}}}]);
        let said = lines(result(entries, json!(all("hush")), json!(all("secret"))));
        assert_eq!(
            said,
            [
                "Deployment web: \"ann\" (Ann) loses .data.k.k0, .data.k.k1, .data.k.k2, .data.k.k3, .data.k.k4 and 2 more"
            ]
        );
    }
}
