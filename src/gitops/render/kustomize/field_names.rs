//! Names of fields in any letters: Go takes `nameprefix` and `NamePrefix` for `namePrefix` when it reads JSON, and
//! files make use of that.

use super::super::spans::{Children, Spans};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Of what a kustomization and what it names consist of.
const INNER: &str = "name namespace behavior literals files envs env options type labels annotations immutable \
    disableNameSuffixHash group version apiVersion kind annotationSelector labelSelector path patch target pairs \
    includeSelectors includeTemplates fields create count newName tagSuffix newTag digest source targets fieldPath \
    select reject fieldPaths delimiter index encoding order legacySortOptions orderFirst orderLast objref fieldref \
    namePrefix nameSuffix commonLabels templateLabels commonAnnotations nameReference varReference fieldSpecs images \
    replicas prefix suffix unsetOnly setRoleBindingSubjects imageTag replica jsonOp paths patches replacements";

/// Maps whose keys are somebody's own.
const FREE: [&str; 3] = ["pairs", "labels", "annotations"];

/// The fields of a kustomization, named as it is usual.
pub fn outer(map: &mut Map<String, Value>, spans: &mut Spans, known: &str) {
    rename(map, known, |old, new| {
        if let Children::Map(entries) = &mut spans.children
            && let Some(entry) = entries.iter_mut().find(|(key, ..)| &**key == old)
        {
            entry.0 = Arc::from(new);
        }
    });
}

/// All fields in a value.
pub fn inner(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(inner),
        Value::Object(map) => {
            rename(map, INNER, |_, _| ());
            let is_free = |key: &str, value: &Value| FREE.contains(&key) && value.is_object();
            map.iter_mut().filter(|(key, value)| !is_free(key, value)).for_each(|(_, value)| inner(value));
        }
        _ => {}
    }
}

fn rename(map: &mut Map<String, Value>, known: &str, mut told: impl FnMut(&str, &str)) {
    let known = |key: &str| known.split(' ').find(|known| known.eq_ignore_ascii_case(key));
    let wrong: Vec<_> = map.keys().filter_map(|key| Some((key.clone(), known(key)?))).collect();
    for (old, new) in wrong.into_iter().filter(|(old, new)| old != new) {
        // Of two that are one field, the second is unknown.
        if !map.contains_key(new)
            && let Some(value) = map.remove(&old)
        {
            map.insert(new.to_owned(), value);
            told(&old, new);
        }
    }
}
