//! `selkie adopt`: live values written back into the manifests.

use super::connection::Connection;
use super::manifests::{self, Manifests};
use super::{CliError, Global};
use crate::api::changeset::ObjectId;
use crate::api::registry::Registry;
use crate::client::raw;
use crate::daemon::Mode;
use crate::gitops::adopt::{Adopted, adopt, changes};
use crate::gitops::kinds::Kinds;
use crate::gitops::render::kustomize::Record;
use crate::gitops::render::{Manifest, Origin, render};
use crate::gitops::sops;
use crate::gitops::sources::{File, Snapshot};
use crate::gitops::sync::{SyncError, wait};
use base64::Engine;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

/// Write what was changed in the cluster back into the manifests
///
/// Single values are replaced where they stand, of kustomizations in the base that has them; comments, order and
/// everything else stay as they are.
/// What cannot be written that way is listed, and the exit code is then 1.
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
        let live = live(&connection.client, &registry, &chosen).await;
        connection.close().await;
        let mut files: BTreeMap<&str, Vec<(&Manifest, Value)>> = BTreeMap::new();
        let mut left = Vec::new();
        for (manifest, live) in chosen.into_iter().zip(live?) {
            let Some(live) = live else {
                left.push((manifest.origin.clone(), format!("{}: it is not in the cluster", manifest.describe())));
                continue;
            };
            let live = if manifest.id.kind == "Secret" { self.secret(manifest, live, &mut left) } else { live };
            files.entry(&manifest.origin.file).or_default().push((manifest, live));
        }
        for (path, objects) in files {
            left.extend(self.write(path, &objects, &registry, &kustomizations)?.left);
        }
        for (origin, why) in &left {
            eprintln!("{origin}: {why}");
        }
        Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The manifests that are named; all of them, when none is.
    fn chosen<'a>(&self, registry: &Registry, all: &'a [Manifest]) -> Result<Vec<&'a Manifest>, CliError> {
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
        Ok(all.iter().filter(|manifest| wanted(&manifest.id)).collect())
    }

    /// A live Secret as the manifest would say it; without leave, with the manifest's own values.
    fn secret(&self, manifest: &Manifest, mut live: Value, left: &mut Vec<(Origin, String)>) -> Value {
        let mut hidden = false;
        let data = live.get("data").cloned().unwrap_or_default();
        for field in ["data", "stringData"] {
            let Some(set) = manifest.value.get(field).and_then(Value::as_object) else { continue };
            let mut values = set.clone();
            for (key, value) in &mut values {
                let now = data.get(key);
                let now = if field == "data" { now.cloned() } else { now.and_then(decoded) };
                let now = now.unwrap_or_default();
                if self.secrets {
                    *value = now;
                } else if *value != now {
                    hidden = true;
                }
            }
            live[field] = json!(values);
        }
        if hidden {
            let why = format!("{}: its values differ and are written with --secrets only", manifest.describe());
            left.push((manifest.origin.clone(), why));
        }
        live
    }

    /// Writes what goes into one file. Of a kustomization, each edit is checked by all that it comes to.
    fn write(
        &self,
        path: &str,
        objects: &[(&Manifest, Value)],
        registry: &Registry,
        kustomizations: &[Arc<Record>],
    ) -> Result<Adopted, CliError> {
        let failed = |error: std::io::Error| {
            CliError::new(format!("{path}: {error}")).hint("live values are written into files of this machine only")
        };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        if sops::is_encrypted(path, text.as_bytes()) {
            return Ok(encrypted(text, objects));
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
            render(&snapshot, registry, self.manifests.namespace())
        };
        let objects: Vec<_> = objects.iter().map(|(manifest, live)| (*manifest, live)).collect();
        let adopted = adopt(&text, &objects, read);
        if adopted.text != text {
            if self.dry_run {
                let diff = similar::TextDiff::from_lines(&text, &adopted.text);
                // The lines around a change could be a Secret's values.
                let around = if read(&text).objects.iter().any(|object| object.id.kind == "Secret") { 0 } else { 3 };
                print!("{}", diff.unified_diff().context_radius(around).header(path, path));
            } else {
                replace(path, &adopted.text).map_err(failed)?;
                println!("{path} written");
            }
        }
        Ok(adopted)
    }
}

/// A file that is encrypted stays as it is.
fn encrypted(text: String, objects: &[(&Manifest, Value)]) -> Adopted {
    let differ = objects.iter().filter(|(manifest, live)| !changes(&manifest.value, live).is_empty());
    let left = |(manifest, _): &(&Manifest, Value)| {
        let why = format!("{}: its file is encrypted: change it with `sops edit`", manifest.describe());
        (manifest.origin.clone(), why)
    };
    Adopted { left: differ.map(left).collect(), text }
}

/// At once, so that who watches the file sees no half of it.
fn replace(path: &str, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let path = std::fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(&path);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.persist(&path)?;
    Ok(())
}

fn decoded(value: &Value) -> Option<Value> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
    String::from_utf8(bytes).ok().map(Value::String)
}

/// Each object as it is; `None` where there is none.
async fn live(
    client: &kube::Client,
    kinds: &dyn Kinds,
    manifests: &[&Manifest],
) -> Result<Vec<Option<Value>>, CliError> {
    let mut found = Vec::new();
    for ObjectId { api_version, kind, namespace, name, .. } in manifests.iter().map(|manifest| &manifest.id) {
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
