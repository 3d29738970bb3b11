//! A plan in a file, and applying exactly it: the plan is made again, and only if it says the same
//! is it carried out.

use super::input::{self, Input, Origin};
use crate::api::changeset::ObjectId;
use crate::api::registry::Registry;
use crate::cli::connection::Connection;
use crate::cli::output::json;
use crate::cli::plan::complete;
use crate::cli::{CliError, Global, resources};
use crate::daemon::Mode;
use crate::daemon::paths::write_private;
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::Report;
use crate::gitops::render::{self, Manifest, Rendered};
use crate::gitops::sources::short;
use crate::gitops::sync;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const SCHEMA: &str = "selkie.dev/saved-plan/v1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    schema: String,
    /// The application that is to apply it; empty: it is applied as files are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    application: String,
    /// Where the manifests came from, at which commit.
    origins: Vec<Origin>,
    /// The objects that the plan changes, as they were: `Deployment default/web` -> resourceVersion.
    versions: BTreeMap<String, String>,
    force: bool,
    /// Of a plan for files: objects are taken over from applications.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adopt: bool,
    replace: bool,
    /// The plan as `-o json` prints it, consequences and hosts included.
    plan: Value,
    objects: Vec<Object>,
}

#[derive(Serialize, Deserialize)]
struct Object {
    file: String,
    line: u32,
    column: u32,
    manifest: Value,
    /// Its file was encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    confidential: bool,
}

/// Readable by its owner only: Secrets are in it.
pub fn write(file: &Path, input: &Input, outcome: &sync::Outcome) -> Result<(), CliError> {
    let objects = input.rendered.objects.iter().map(|manifest| Object {
        file: manifest.origin.file.to_string(),
        line: manifest.origin.line,
        column: manifest.origin.column,
        manifest: manifest.value.clone(),
        confidential: manifest.confidential,
    });
    let versions = outcome.versions.iter().map(|(id, version)| (render::describe(id), version.clone()));
    let saved = Saved {
        schema: SCHEMA.into(),
        application: input.options.application.clone(),
        origins: input.origins.clone(),
        versions: versions.collect(),
        force: input.options.force,
        adopt: input.options.adopt && input.options.application.is_empty(),
        replace: input.options.replace,
        plan: json::value(&outcome.report),
        objects: objects.collect(),
    };
    let text = serde_json::to_vec_pretty(&saved)?;
    write_private(file, &text)
        .map_err(|error| CliError::new(format!("cannot save the plan to {}: {error}", file.display())))
}

impl Saved {
    pub fn read(file: &Path) -> Result<Self, CliError> {
        let unreadable = |why: String| {
            CliError::new(format!("{}: {why}", file.display()))
                .hint("`selkie plan -f DIR --out FILE` saves a plan; manifests are named with -f")
        };
        let bytes = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
        let saved: Self =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(format!("not a saved plan: {error}")))?;
        if saved.schema != SCHEMA {
            return Err(unreadable(format!("a plan of the form {:?}, which this version does not know", saved.schema)));
        }
        Ok(saved)
    }

    /// The manifests, and the kinds they need.
    pub async fn resolve(&self, global: &Global) -> Result<(Registry, Rendered), CliError> {
        let (kinds, rendered) = (Registry::builtin(), self.rendered());
        let known = |id: &ObjectId| kinds.scope(&id.api_version, &id.kind).is_some();
        if !rendered.objects.iter().all(|manifest| known(&manifest.id)) {
            let connection = Connection::to_any(global, Mode::ReadOnly, |_| ()).await?;
            let definitions = resources::definitions(&connection.client).await;
            connection.close().await;
            definitions?.iter().for_each(|definition| kinds.learn(definition));
        }
        let defined = rendered.objects.iter().filter(|manifest| manifest.id.kind == "CustomResourceDefinition");
        defined.for_each(|manifest| kinds.learn(&manifest.value));
        Ok((kinds, rendered))
    }

    /// The application that is to apply it, if one is.
    pub fn application(&self) -> Option<&str> {
        (!self.application.is_empty()).then_some(&self.application)
    }

    /// How it is applied: by an application as its settings are now.
    pub async fn options(&self, client: &kube::Client) -> Result<sync::Options, CliError> {
        let Some(name) = self.application() else {
            let health = input::health_of(&self.rendered());
            let (force, adopt, replace) = (self.force, self.adopt, self.replace);
            return Ok(sync::Options { force, adopt, replace, health, ..sync::Options::default() });
        };
        let mut options = input::options(client, name, self.revision()).await?;
        options.force |= self.force;
        options.replace = self.replace;
        Ok(options)
    }

    /// Of the source that it is for; an application has one.
    fn revision(&self) -> &str {
        self.origins.first().map_or("", |origin| &origin.revision)
    }

    fn rendered(&self) -> Rendered {
        let manifests = self.objects.iter().map(|object| {
            let origin = render::Origin { file: object.file.as_str().into(), line: object.line, column: object.column };
            let manifest = Manifest::of(object.manifest.clone(), origin);
            Manifest { confidential: object.confidential, ..manifest }
        });
        Rendered { objects: manifests.collect(), errors: Vec::new() }
    }

    /// What an application is asked for: this revision, with exactly these changes.
    pub fn request(&self, checked: &Report) -> String {
        let force = if self.force { "/force" } else { "" };
        let replace = if self.replace { "/replace" } else { "" };
        format!("apply/{}/{}{force}{replace}", self.revision(), checked.fingerprint())
    }

    /// Refuses, with what moved, unless a plan made now is this one; that plan.
    pub async fn check(&self, client: &kube::Client, kinds: &dyn Kinds) -> Result<Report, CliError> {
        let options = self.options(client).await?;
        let now = sync::once(client, kinds, &self.rendered(), &options, sync::How::LookAhead).await;
        let now = now.map_err(|error| self.no_longer(&error.lines()))?;
        complete(&now.report)?;
        let versions = now.versions.iter().map(|(id, version)| (render::describe(id), version.clone())).collect();
        let found = json::value(&now.report);
        if is_done(&self.plan, &found) {
            return Err(self.done());
        }
        let moved = moved(&self.plan, &found, &self.versions, &versions);
        if moved.is_empty() { Ok(now.report) } else { Err(self.no_longer(&moved)) }
    }

    /// `7a8b9c0 of deploy`, for each source.
    fn source(&self) -> String {
        let of = |origin: &Origin| format!("{} of {}", short(&origin.revision), origin.source);
        self.origins.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    fn done(&self) -> CliError {
        let what = "was applied already, nothing was changed: the objects are as it says";
        CliError::new(format!("the plan for {} {what}", self.source()))
            .hint("`selkie plan` shows that nothing is left to do; a plan is applied once")
    }

    fn no_longer(&self, moved: &[String]) -> CliError {
        let lines: String = moved.iter().map(|line| format!("\n  {line}")).collect();
        let message = format!("the plan for {} no longer holds, nothing was changed:{lines}", self.source());
        CliError::new(message).hint("make a new plan with `selkie plan`")
    }
}

type Versions = BTreeMap<String, String>;

/// Everything that was to change is as it was to be, and nothing else would change.
fn is_done(then: &Value, now: &Value) -> bool {
    let empty = |plan: &Value| plan["objects"].as_array().is_none_or(Vec::is_empty);
    !empty(then) && empty(now)
}

/// What is different now, a line each. Times say nothing.
fn moved(then: &Value, now: &Value, then_at: &Versions, now_at: &Versions) -> Vec<String> {
    let mut moved = Vec::new();
    // Whose pods have a reason to do something else.
    let mut named = BTreeSet::new();
    for (name, before, after) in pairs(&then["objects"], &now["objects"], &|one| name_of(one)) {
        let versions = match (then_at.get(&name), now_at.get(&name)) {
            (Some(then), Some(now)) if then != now => format!(" (resourceVersion {then}, now {now})"),
            _ => String::new(),
        };
        let what = match (before, after) {
            (Some(before), None) => overtaken(before).to_owned(),
            (None, Some(_)) => "would be changed too".to_owned(),
            (Some(before), Some(after)) if before["action"] != after["action"] => {
                format!("was to {}, now to {}", verb(before), verb(after))
            }
            _ => format!("is not as it was: {}", fields(before, after)),
        };
        moved.push(format!("{name} {what}{versions}"));
        named.insert(name);
    }
    if then["takeovers"] != now["takeovers"] {
        moved.push("who loses what by it is not as the plan said".to_owned());
    }
    let (then, now) = (&then["consequences"], &now["consequences"]);
    for (name, before, after) in pairs(&then["hosts"], &now["hosts"], &|one| text(&one["name"])) {
        let state = |host: Option<&Value>| host.map_or("not there".to_owned(), |host| text(&host["state"]));
        moved.push(format!("host {name} was {}; is {}", state(before), state(after)));
    }
    for (name, before, after) in pairs(&then["workloads"], &now["workloads"], &|one| name_of(&one["id"])) {
        let hosts = |workload: Option<&Value>| {
            let steps = workload.and_then(|one| one["steps"].as_array()).map(Vec::as_slice).unwrap_or_default();
            let on = |step: &Value| format!("{} on {}", text(&step["action"]), text(&step["host"]));
            let mut all: Vec<String> = steps.iter().map(on).collect();
            all.sort();
            if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
        };
        let (before, after) = (hosts(before), hosts(after));
        if before != after && !named.contains(&name) {
            moved.push(format!("pods of {name}: planned {before}; now {after}"));
        }
    }
    if moved.is_empty() && then["problems"] != now["problems"] {
        moved.push("there are other problems than the plan said".to_owned());
    }
    moved
}

/// Why there is nothing left to do to an object that was to change.
fn overtaken(planned: &Value) -> &'static str {
    match planned["action"].as_str() {
        Some("create") => "was made meanwhile, as planned",
        Some("delete") => "is gone already",
        Some("replace") => "was made again meanwhile, as planned",
        _ => "is already as planned",
    }
}

/// Entries of two lists that differ, by name.
fn pairs<'a>(
    then: &'a Value,
    now: &'a Value,
    name: &dyn Fn(&Value) -> String,
) -> Vec<(String, Option<&'a Value>, Option<&'a Value>)> {
    let index = |list: &'a Value| -> BTreeMap<String, &'a Value> {
        list.as_array().into_iter().flatten().map(|one| (name(one), one)).collect()
    };
    let (then, now) = (index(then), index(now));
    let mut names: Vec<&String> = then.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let both = names.into_iter().map(|name| (name.clone(), then.get(name).copied(), now.get(name).copied()));
    both.filter(|(_, before, after)| before != after).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn name_of(object: &Value) -> String {
    let id: ObjectId = serde_json::from_value(object.clone()).unwrap_or_default();
    render::describe(&id)
}

fn verb(object: &Value) -> String {
    text(&object["action"])
}

fn fields(before: Option<&Value>, after: Option<&Value>) -> String {
    let paths = |object: Option<&Value>| -> Vec<Value> {
        object.and_then(|object| object["fields"].as_array().cloned()).unwrap_or_default()
    };
    let (before, after) = (paths(before), paths(after));
    let other = before
        .iter()
        .filter(|field| !after.contains(field))
        .chain(after.iter().filter(|field| !before.contains(field)));
    let mut names: Vec<String> = other.map(|field| text(&field["path"])).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { "what happens to its pods".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(replicas: u32, host: &str, state: &str) -> Value {
        json!({
            "objects": [{
                "action": "change", "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "default", "name": "web",
                "fields": [{"change": "changed", "path": "spec.replicas", "before": replicas, "after": 5}],
            }],
            "consequences": {
                "seconds": 1.5,
                "hosts": [{"name": "h1", "ready": true, "state": state}],
                "workloads": [{
                    "id": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "default", "name": "web"},
                    "steps": [{"action": "create", "pod": "web-1-*", "host": host, "at": 0.0}],
                }],
            },
        })
    }

    #[test]
    fn what_moved_is_named() {
        let versions: Versions = [("Deployment default/web".to_owned(), "7".to_owned())].into();
        let newer: Versions = [("Deployment default/web".to_owned(), "9".to_owned())].into();
        assert!(moved(&plan(1, "h1", "Ready"), &plan(1, "h1", "Ready"), &versions, &newer).is_empty());
        assert_eq!(
            moved(&plan(1, "h1", "Ready"), &plan(2, "h2", "NotReady"), &versions, &newer),
            [
                "Deployment default/web is not as it was: spec.replicas (resourceVersion 7, now 9)",
                "host h1 was Ready; is NotReady",
            ]
        );
        assert_eq!(
            moved(&plan(1, "h1", "Ready"), &plan(1, "h2", "Ready"), &versions, &versions),
            ["pods of Deployment default/web: planned create on h1; now create on h2"]
        );
    }

    #[test]
    fn what_is_done_is_not_what_moved() {
        let (then, versions) = (plan(1, "h1", "Ready"), Versions::new());
        let mut now = then.clone();
        now["objects"] = json!([]);
        now["consequences"]["workloads"] = json!([]);
        assert!(is_done(&then, &now) && !is_done(&then, &then) && !is_done(&now, &now));
        let mut both = then.clone();
        let other =
            json!({"action": "create", "apiVersion": "v1", "kind": "ConfigMap", "namespace": "default", "name": "c"});
        both["objects"].as_array_mut().expect("a list").push(other);
        assert_eq!(moved(&both, &then, &versions, &versions), ["ConfigMap default/c was made meanwhile, as planned"]);
        assert!(!is_done(&both, &then));
        now["objects"] = json!([both["objects"][1]]);
        assert_eq!(moved(&both, &now, &versions, &versions), ["Deployment default/web is already as planned"]);
    }
}
