//! `selkie adopt`: live values written back into the manifests.

mod file;
mod report;
mod secret;

use super::connection::Connection;
use super::manifests::{self, Manifests};
use super::output::Either;
use super::{CliError, Global};
use crate::api::changeset::ObjectId;
use crate::api::registry::Registry;
use crate::client::raw;
use crate::daemon::Mode;
use crate::gitops::adopt::{Left, Rules, adopt, changes};
use crate::gitops::application::{Application, LABEL, NAMESPACE};
use crate::gitops::inputs;
use crate::gitops::kinds::Kinds;
use crate::gitops::render::kustomize::Record;
use crate::gitops::render::{Manifest, Settings, Variables, render_with};
use crate::gitops::sops;
use crate::gitops::sources::{File, Snapshot};
use crate::gitops::sync::{SyncError, wait};
use clap::Args;
use http::Method;
use report::Report;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

/// Write what was changed in the cluster back into the manifests
///
/// Values, entries of maps and lists and texts of several lines are changed, added and taken out where they stand, of
/// kustomizations in the base that has them; comments, order and everything else stay as they are. A comment that was
/// about an entry that goes is named with its line. Fields that a manifest says nothing of are written when kubectl
/// set them, or a manager that --added-by names; defaults are not. What it does say and another manager set,
/// such as an autoscaler, is left and listed.
/// What cannot be written without changing something else is listed, and the exit code is then 1.
#[derive(Args)]
pub struct Adopt {
    #[command(flatten)]
    manifests: Manifests,
    /// Only these, e.g. deployment/web
    #[arg(value_name = "KIND/NAME")]
    objects: Vec<String>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the values of Secrets too
    #[arg(long)]
    secrets: bool,
    /// Write what this field manager added or changed, as what kubectl did; repeatable
    #[arg(long, value_name = "MANAGER")]
    added_by: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

impl Adopt {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let kustomizations = self.manifests.kustomizations(&global).await?;
        let (registry, rendered) = self.manifests.resolve(&global).await?;
        if !rendered.errors.is_empty() {
            return Err(manifests::refused(&SyncError::Manifests(rendered.errors)));
        }
        let chosen = self.chosen(&registry, &rendered.objects)?;
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let seen = self.seen(&global, &connection.client, &registry, &rendered.objects, chosen).await;
        connection.close().await;
        let Seen { variables, objects } = seen?;
        let rules = Rules { registry: Some(&registry), managers: &self.added_by };
        let mut files: BTreeMap<(&str, &str), Vec<(&Manifest, Value)>> = BTreeMap::new();
        let mut report = Report::new(self.dry_run);
        for Object { manifest, live, application } in &objects {
            let Some(live) = live.clone() else {
                let why = format!("{}: it is not in the cluster", manifest.describe());
                report.left.push(Left { origin: manifest.origin.clone(), why });
                continue;
            };
            let live = match manifest.id.kind.as_str() {
                "Secret" => secret::seen(manifest, live, &rules, self.secrets, &mut report.left),
                _ => live,
            };
            files.entry((&manifest.origin.file, application)).or_default().push((manifest, live));
        }
        let mut failed = None;
        for ((path, application), objects) in files {
            let variables = variables.get(application);
            match self.write((path, variables), &objects, &rules, &registry, &kustomizations, &mut report) {
                Ok(Some(file)) if self.output == Either::Text => file.print(),
                Ok(_) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // What was written is told, whatever became of the files that followed.
        report.print(self.output)?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(if report.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The manifests as the Applications that hold the objects render them, and these objects.
    async fn seen(
        &self,
        global: &Global,
        client: &kube::Client,
        registry: &Registry,
        all: &[Manifest],
        chosen: Vec<usize>,
    ) -> Result<Seen, CliError> {
        let found = live(client, registry, chosen.iter().map(|at| &all[*at])).await?;
        let names: BTreeSet<&str> =
            found.iter().flatten().map(application_of).filter(|name| !name.is_empty()).collect();
        let mut variables = BTreeMap::new();
        let mut substituted: BTreeMap<&str, Vec<Manifest>> = BTreeMap::new();
        for name in names {
            if let Some(found) = substitution(client, name).await? {
                let rendered = self.manifests.substituted(global, registry, &found).await?;
                if !rendered.errors.is_empty() {
                    return Err(manifests::refused(&SyncError::Manifests(rendered.errors)));
                }
                substituted.insert(name, rendered.objects);
                variables.insert(name.to_owned(), found);
            }
        }
        // What has a variable in its name was not found by that.
        let only = substituted.keys().next().copied().filter(|_| substituted.len() == 1).unwrap_or_default();
        let mut objects = Vec::new();
        for (at, live) in chosen.into_iter().zip(&found) {
            let application = live.as_ref().map_or(only, application_of);
            let manifest = substituted.get(application).and_then(|objects| objects.get(at)).unwrap_or(&all[at]).clone();
            let live = match live {
                Some(live) => Some(live.clone()),
                None if manifest.id == all[at].id => None,
                None => self::live(client, registry, [&manifest].into_iter()).await?.into_iter().flatten().next(),
            };
            objects.push(Object { manifest, live, application: application.to_owned() });
        }
        Ok(Seen { variables, objects })
    }

    /// Which of the manifests are named; all of them, when none is.
    fn chosen(&self, registry: &Registry, all: &[Manifest]) -> Result<Vec<usize>, CliError> {
        let is = |text: &str, id: &ObjectId| {
            let (kind, name) = text.split_once('/').unwrap_or((text, ""));
            let (group, version) = id.api_version.split_once('/').unwrap_or(("", &id.api_version));
            let row = registry.by_kind(group, version, &id.kind);
            let is_kind = kind.eq_ignore_ascii_case(&id.kind)
                || row.is_some_and(|row| row.plural == kind || row.short_names.iter().any(|short| short == kind));
            is_kind && name == id.name
        };
        if let Some(none) = self.objects.iter().find(|text| !all.iter().any(|manifest| is(text, &manifest.id))) {
            return Err(CliError::new(format!("no manifest of {none} here")).hint("name objects as KIND/NAME").code(2));
        }
        let wanted = |id: &ObjectId| self.objects.is_empty() || self.objects.iter().any(|text| is(text, id));
        Ok((0..all.len()).filter(|at| wanted(&all[*at].id)).collect())
    }

    /// Writes what goes into one file. Of a kustomization, each edit is checked by all that it comes to.
    fn write<'r>(
        &self,
        (path, variables): (&str, Option<&Variables>),
        objects: &[(&Manifest, Value)],
        rules: &Rules<'_>,
        registry: &Registry,
        kustomizations: &[Arc<Record>],
        report: &'r mut Report,
    ) -> Result<Option<&'r report::File>, CliError> {
        let text = file::read(path)?;
        if sops::is_encrypted(path, text.as_bytes()) {
            report.left.extend(encrypted(objects, rules));
            return Ok(None);
        }
        let users: Vec<_> = kustomizations.iter().filter(|record| record.has(path)).collect();
        let read = |text: &str| {
            let snapshot = if users.is_empty() {
                let file = File { path: path.into(), bytes: text.as_bytes().to_vec().into() };
                Snapshot::new(path, vec![file], Vec::new())
            } else {
                let changed = users.iter().map(|record| Arc::new(record.with(path, text))).collect();
                Snapshot { kustomizations: changed, ..Snapshot::default() }
            };
            render_with(&snapshot, registry, Settings { namespace: self.manifests.namespace(), variables })
        };
        let hint = if users.is_empty() {
            String::new()
        } else {
            let names = self.manifests.kustomized().join(", ");
            format!("a patch, a generator or another field of the kustomization {names} has it: change it there")
        };
        let objects: Vec<_> = objects.iter().map(|(manifest, live)| (*manifest, live)).collect();
        let adopted = adopt(&text, &objects, rules, &hint, read);
        report.left.extend(adopted.left.clone());
        if adopted.text == text {
            return Ok(None);
        }
        // A whole file may hold values that are shown to nobody.
        let is_shown = |manifest: &Manifest| manifest.id.kind != "Secret" && !manifest.confidential;
        let shown = read(&text).objects.iter().all(is_shown);
        if !self.dry_run {
            file::replace(path, &text, &adopted.text, &self.manifests.roots())?;
        }
        Ok(report.add(path, &text, adopted, shown))
    }
}

/// A file that is encrypted stays as it is.
fn encrypted(objects: &[(&Manifest, Value)], rules: &Rules<'_>) -> Vec<Left> {
    let differ = objects.iter().filter(|(manifest, live)| !changes(&manifest.value, live, rules).is_empty());
    let left = |(manifest, _): &(&Manifest, Value)| {
        let why = format!("{}: its file is encrypted: change it with `sops edit`", manifest.describe());
        Left { origin: manifest.origin.clone(), why }
    };
    differ.map(left).collect()
}

/// What there is of what was named.
struct Seen {
    /// Of the Applications that have some, by their names.
    variables: BTreeMap<String, Variables>,
    objects: Vec<Object>,
}

struct Object {
    manifest: Manifest,
    live: Option<Value>,
    /// Whose it is; empty: nobody's.
    application: String,
}

fn application_of(live: &Value) -> &str {
    let labels = live.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(LABEL)?.as_str()).unwrap_or_default()
}

/// The variables of an Application, with their values.
async fn substitution(client: &kube::Client, name: &str) -> Result<Option<Variables>, CliError> {
    let path = wait::path("selkie.dev/v1alpha1", "applications", NAMESPACE, name);
    let application: Application = match raw::request(client, Method::GET, &path, None).await {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if raw::is_not_found(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let failed = |error| CliError::new(format!("application {name:?}: {}", CliError::chain(&error)));
    inputs::substitution(client, &application).await.map_err(failed)
}

/// Each object as it is; `None` where there is none.
async fn live<'a>(
    client: &kube::Client,
    kinds: &dyn Kinds,
    manifests: impl Iterator<Item = &'a Manifest>,
) -> Result<Vec<Option<Value>>, CliError> {
    let mut found = Vec::new();
    for ObjectId { api_version, kind, namespace, name, .. } in manifests.map(|manifest| &manifest.id) {
        let plural = kinds.plural(api_version, kind).unwrap_or_default();
        let path = wait::path(api_version, &plural, namespace, name);
        found.push(match raw::request(client, Method::GET, &path, None).await {
            Ok(bytes) => Some(serde_json::from_slice(&bytes)?),
            Err(error) if raw::is_not_found(&error) => None,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(found)
}
