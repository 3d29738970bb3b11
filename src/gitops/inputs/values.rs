//! Values of a chart that ConfigMaps and Secrets hold, by the rules of Flux's HelmRelease. No error holds one.

use super::{Reference, held};
use crate::base::value_path::{self, Step};
use crate::gitops::access;
use crate::gitops::application::{Helm, NAMESPACE, ValuesFrom};
use crate::gitops::render::yaml;
use crate::gitops::sources::SourceError;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Those of all objects together.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Values {
    map: Map<String, Value>,
    /// Some are of a Secret.
    pub secret: bool,
}

// Numbers of JSON are never NaN.
impl Eq for Values {}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({} hidden)", self.map.len())
    }
}

impl Values {
    /// The options with these values, which those of the options themselves cover.
    pub fn below(&self, helm: &Helm) -> Helm {
        let mut values = helm.values.clone();
        if !self.map.is_empty() {
            let own = std::mem::replace(&mut values, Value::Object(self.map.clone()));
            if !own.is_null() {
                cover(&mut values, own);
            }
        }
        Helm { values, ..helm.clone() }
    }

    /// What one key says.
    fn add(&mut self, from: &ValuesFrom, text: &str) -> Result<(), String> {
        let mut all = Value::Object(self.map.clone());
        match &*from.target_path {
            "" => cover(&mut all, map(from.key(), text)?),
            path => *place(&mut all, path)? = single(text),
        }
        if let Value::Object(map) = all {
            self.map = map;
        }
        self.secret |= from.kind == "Secret";
        Ok(())
    }
}

/// Reads what they hold, in their order. `version` becomes another one where that may have changed.
pub(super) async fn read(
    client: &kube::Client,
    all: &[ValuesFrom],
    version: &mut Sha256,
) -> Result<Values, SourceError> {
    let mut values = Values::default();
    for (index, from) in all.iter().enumerate() {
        let fail = |what: String| {
            let (kind, name) = (&from.kind, &from.name);
            SourceError::Access(format!("{kind} {NAMESPACE}/{name} (spec.helm.valuesFrom[{index}]): {what}"))
        };
        let holder = held(client, &Reference::new(&from.kind, &from.name)).await.map_err(fail)?;
        version.update(holder.as_ref().map_or("absent;".to_owned(), |holder| holder.version()));
        let (key, absent) = (from.key(), holder.is_none());
        match holder.and_then(|mut holder| holder.data.remove(key)) {
            Some(Some(text)) => values.add(from, &text).map_err(fail)?,
            Some(None) => return Err(fail(format!("the value of {key:?} is not UTF-8 text"))),
            None if from.optional => {}
            None if absent => return Err(fail(access::missing() + ", or set optional: true")),
            None => {
                return Err(fail(format!(
                    "it has no key {key:?}; name another one as valuesKey, or set optional: true"
                )));
            }
        }
    }
    Ok(values)
}

/// What YAML says, which must be a map. Its parser's words could hold a value.
fn map(key: &str, text: &str) -> Result<Value, String> {
    let documents = yaml::documents(&key.into(), text);
    let mut documents =
        documents.map_err(|error| format!("line {} of {key:?} is no YAML", error.origin.line))?.into_iter();
    match (documents.next().map(|document| document.value), documents.next()) {
        (None | Some(Value::Null), None) => Ok(Value::Object(Map::new())),
        (Some(values), None) if values.is_object() => Ok(values),
        _ => Err(format!("what {key:?} holds is no map of values; set targetPath for a single one")),
    }
}

/// One value as `helm --set` takes it; in quotes it is a text.
fn single(text: &str) -> Value {
    let quoted = ["'", "\""].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    match (quoted, text) {
        (Some(text), _) => text.into(),
        (None, "true") => true.into(),
        (None, "false") => false.into(),
        (None, "null") => Value::Null,
        (None, "0") => 0.into(),
        (None, text) if text.starts_with('0') => text.into(),
        (None, text) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}

/// The place of a value. What is on the way and no map, or no list, gives way to one; elements in between are null.
fn place<'a>(all: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let steps = value_path::parse(path).map_err(|why| format!("targetPath {path:?} {why}"))?;
    Ok(steps.into_iter().fold(all, |place, step| match step {
        Step::Key(name) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            &mut place[name]
        }
        Step::Index(index) => {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            if let Value::Array(items) = &mut *place {
                items.resize(items.len().max(index + 1), Value::Null);
            }
            &mut place[index]
        }
    }))
}

/// Maps are merged, all else is covered.
fn cover(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                cover(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn from(kind: &str, target_path: &str) -> ValuesFrom {
        ValuesFrom { kind: kind.into(), name: "a".into(), target_path: target_path.into(), ..ValuesFrom::default() }
    }

    #[test]
    fn later_values_cover_earlier_ones_and_the_options_cover_all() {
        let mut values = Values::default();
        values.add(&from("ConfigMap", ""), "a: {b: 1, c: [1, 2]}\nd: x\nmode: 0644\n").unwrap();
        values.add(&from("ConfigMap", ""), "").unwrap();
        values.add(&from("ConfigMap", ""), "a: {c: [3], e: no}\nd: null\n").unwrap();
        assert!(!values.secret);
        values.add(&from("Secret", "a.auth.password"), "hunter2").unwrap();
        assert!(values.secret && !format!("{values:?}").contains("hunter2"));
        let own = Helm { values: json!({"a": {"b": 2}}), ..Helm::default() };
        let expected =
            json!({"a": {"b": 2, "c": [3], "e": false, "auth": {"password": "hunter2"}}, "d": null, "mode": 420});
        assert_eq!(values.below(&own).values, expected);
        assert_eq!(Values::default().below(&Helm::default()), Helm::default());
        assert_eq!(values.below(&Helm::default()).values["a"]["b"], 1);
    }

    #[test]
    fn single_values_go_into_lists() {
        let mut values = Values::default();
        values.add(&from("ConfigMap", ""), "hosts: [{name: a, tls: true}]\nplain: x\n").unwrap();
        for (path, text) in [("hosts[0].name", "b"), ("hosts[2]", "c"), ("plain[0][1]", "1"), (r"a\.b", "d")] {
            values.add(&from("ConfigMap", path), text).unwrap();
        }
        let expected = json!({"hosts": [{"name": "b", "tls": true}, null, "c"], "plain": [[null, 1]], "a.b": "d"});
        assert_eq!(Value::Object(values.map.clone()), expected);
        let before = values.clone();
        assert!(values.add(&from("Secret", "hosts[x]"), "hunter2").is_err_and(|told| !told.contains("hunter2")));
        assert_eq!(values, before);
    }

    #[test]
    fn single_values_are_what_helm_makes_of_them() {
        for (text, expected) in [
            ("true", json!(true)),
            ("null", json!(null)),
            ("0", json!(0)),
            ("-7", json!(-7)),
            ("0644", json!("0644")),
            ("1.5", json!("1.5")),
            ("'7'", json!("7")),
            ("a,b=c", json!("a,b=c")),
            ("", json!("")),
        ] {
            assert_eq!(single(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_values() {
        let mut values = Values::default();
        for (text, expected) in [
            ("a: hunter2\nb: [hunter2", "of \"values.yaml\" is no YAML"),
            ("hunter2", "what \"values.yaml\" holds is no map of values"),
            ("a: 1\n---\nb: hunter2", "is no map of values"),
        ] {
            let told = values.add(&from("Secret", ""), text).unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter2"), "{told}");
        }
    }
}
