//! ApplicationSets: Applications made from a template, one for each element that generators find: of a list,
//! directories of a repository, branches. Pure; [`engine`] finds and makes them.

pub mod engine;

mod generators;

pub use generators::{DirectoryPattern, Element, Generator, GitGenerator, ListGenerator};

use super::application::{Application, CONFIRM_PRUNE, Condition, NAMESPACE, duration};
use super::plan::prune::{Held, Prune, decide};
use crate::api::changeset::ObjectId;
use crate::base::template::Template;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Label of the Applications that a set makes: the set's name.
pub const LABEL: &str = "selkie.dev/application-set";
/// Applications of one set.
pub const MOST: usize = 500;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSet {
    pub metadata: ObjectMeta,
    pub spec: ApplicationSetSpec,
    pub status: ApplicationSetStatus,
}

impl k8s_openapi::Resource for ApplicationSet {
    const API_VERSION: &'static str = "selkie.dev/v1alpha1";
    const GROUP: &'static str = "selkie.dev";
    const KIND: &'static str = "ApplicationSet";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "applicationsets";
    type Scope = k8s_openapi::NamespaceResourceScope;
}

impl k8s_openapi::Metadata for ApplicationSet {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetSpec {
    pub generators: Vec<Generator>,
    /// An Application's metadata and spec; each text may have `${parameter}` of an element in it.
    pub template: Value,
    /// How often generators look, as an Application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Delete Applications whose elements are gone. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetStatus {
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
    /// Names of the Applications that it has made.
    pub applications: Vec<String>,
    /// What is wrong; nothing was changed then.
    pub errors: Vec<String>,
}

impl ApplicationSet {
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// How often to look, and how long reading a repository may take.
    pub fn timing(&self) -> (Duration, Duration) {
        use super::application::DEFAULT_INTERVAL;
        use super::sources::git::credentials::DEFAULT_TIMEOUT;
        let ApplicationSetSpec { interval, timeout, .. } = &self.spec;
        (duration(interval.as_deref(), DEFAULT_INTERVAL), duration(timeout.as_deref(), DEFAULT_TIMEOUT))
    }

    fn made(&self, application: &Application) -> bool {
        let labels = application.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(LABEL)).is_some_and(|set| set == self.name())
    }
}

/// The Applications of these elements, by name; or everything that is wrong with them.
pub fn generate(set: &ApplicationSet, elements: &[Element]) -> Result<BTreeMap<String, Value>, Vec<String>> {
    let mut made: BTreeMap<String, (Value, &Element)> = BTreeMap::new();
    let mut errors = Vec::new();
    for element in elements {
        match application(set, element) {
            Ok((name, _)) if made.contains_key(&name) => {
                let other = made.get(&name).map(|(_, other)| other.show()).unwrap_or_default();
                errors.push(format!("application {name:?} is made twice: of {other}, and of {}", element.show()));
            }
            Ok((name, value)) => {
                made.insert(name, (value, element));
            }
            Err(why) => errors.push(format!("{}: {why}", element.show())),
        }
    }
    if elements.len() > MOST {
        errors.push(format!("the generators find {} elements, more than the {MOST} there may be", elements.len()));
    }
    if errors.is_empty() { Ok(made.into_iter().map(|(name, (value, _))| (name, value)).collect()) } else { Err(errors) }
}

/// The Application of an element, and its name.
fn application(set: &ApplicationSet, element: &Element) -> Result<(String, Value), String> {
    let template = fill(&set.spec.template, element, "spec.template")?;
    let name = template["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err("spec.template.metadata.name is empty".to_owned());
    }
    let owner = json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "ApplicationSet", "name": set.name(),
        "uid": set.metadata.uid, "controller": true});
    let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(LABEL.to_owned(), set.name().into());
    let mut metadata = json!({"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]});
    if let Some(annotations) = template["metadata"]["annotations"].as_object() {
        metadata["annotations"] = json!(annotations);
    }
    let mut spec = template["spec"].as_object().cloned().unwrap_or_default();
    let source = spec.entry("source").or_insert_with(|| Value::Object(Map::new()));
    let is_elsewhere = ["path", "repoURL", "push"].iter().any(|field| source.get(field).is_some());
    if let (Some(source), Some(found), false) = (source.as_object_mut(), element.source.as_object(), is_elsewhere) {
        for (field, value) in found {
            source.entry(field).or_insert_with(|| value.clone());
        }
    }
    let application =
        json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec});
    Ok((name, application))
}

/// Puts an element's parameters into all texts. `place`: of the value, for errors.
fn fill(value: &Value, element: &Element, place: &str) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            let (names, values): (Vec<&str>, Vec<&str>) =
                element.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
            let template = Template::parse(text, &names).map_err(|why| format!("{place}: {why}"))?;
            Value::String(template.render(|at| values[at], str::to_owned))
        }
        Value::Array(items) => {
            let item = |(at, item): (usize, &Value)| fill(item, element, &format!("{place}[{at}]"));
            Value::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                Ok::<_, String>((key.clone(), fill(value, element, &format!("{place}.{key}"))?))
            };
            Value::Object(map.iter().map(entry).collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

/// What becomes of Applications that the set has made and wants no more.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    pub delete: Vec<ObjectId>,
    /// Why none is deleted, and how they would be; empty: there are none, or they are.
    pub held: String,
}

/// Compares what is wanted with the Applications that there are. An Application that is not the set's own is
/// never taken over.
pub fn compare(
    set: &ApplicationSet,
    wanted: &BTreeMap<String, Value>,
    there: &[Application],
) -> Result<Gone, Vec<String>> {
    let mut errors = Vec::new();
    for application in there.iter().filter(|application| wanted.contains_key(application.name())) {
        let name = application.name();
        if !set.made(application) {
            errors.push(format!("there is an application {name:?} that this set has not made: rename one of the two"));
        } else if application.is_deleted() {
            errors.push(format!("application {name:?} is still being deleted"));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let id = |name: &str, uid: String| ObjectId {
        api_version: "selkie.dev/v1alpha1".to_owned(),
        kind: "Application".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid,
    };
    let own = there.iter().filter(|application| set.made(application) && !application.is_deleted());
    let own: Vec<_> = own.map(|app| id(app.name(), app.metadata.uid.clone().unwrap_or_default())).collect();
    let desired: Vec<_> = wanted.keys().map(|name| id(name, String::new())).collect();
    let digest = digest(wanted);
    let confirmed = set.metadata.annotations.as_ref().and_then(|all| all.get(CONFIRM_PRUNE)) == Some(&digest);
    Ok(match decide(&own, &desired, set.spec.prune.unwrap_or(true), confirmed) {
        Prune::Delete(delete) => Gone { delete, held: String::new() },
        Prune::Hold { why: Held::Disabled, .. } => Gone { delete: Vec::new(), held: String::new() },
        Prune::Hold { kept, .. } => {
            let names: Vec<&str> = kept.iter().map(|id| id.name.as_str()).collect();
            let held = format!(
                "{} of {} applications would go at once, and stay until that is confirmed ({}): kubectl -n {NAMESPACE} \
                 annotate --overwrite applicationset {} {CONFIRM_PRUNE}={digest}",
                names.len(),
                own.len(),
                names.join(", "),
                set.name()
            );
            Gone { delete: Vec::new(), held }
        }
    })
}

/// Stands for what the set wants to be there.
fn digest(wanted: &BTreeMap<String, Value>) -> String {
    let names = wanted.keys().map(String::as_str).collect::<Vec<_>>().join("\n");
    Sha256::digest(names).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
