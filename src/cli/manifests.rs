//! `-f` and `-k`: files, directories, git and OCI sources and standard input become objects with their places.

use super::age_keys::decrypted;
use super::connection::Connection;
use super::{CliError, Global, resources};
use crate::api::changeset::ObjectId;
use crate::api::registry::Registry;
use crate::daemon::Mode;
use crate::gitops::application::Helm;
use crate::gitops::helm;
use crate::gitops::render::kustomize::Record;
use crate::gitops::render::{RenderError, Rendered, Settings, Variables, render, render_with, unscoped};
use crate::gitops::sources::disk::Disk;
use crate::gitops::sources::git::credentials::DEFAULT_TIMEOUT;
use crate::gitops::sources::{Access, Chart, File, Location, RemoteBases, Snapshot, SourceError, open};
use crate::gitops::sync::SyncError;
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args, Clone)]
pub struct Manifests {
    /// Manifests: a file, a directory, - for standard input, a git source URL#REF:PATH, or oci://...; repeatable
    #[arg(short, long, value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// A directory with a kustomization, or such a source with one; repeatable
    #[arg(short, long, value_name = "DIR")]
    kustomize: Vec<String>,
    /// Look into subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Fetch git repositories that kustomizations name as bases
    #[arg(long)]
    remote_bases: bool,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[arg(skip)]
    helm: Option<Helm>,
    /// Encrypted files are left as they are.
    #[arg(skip)]
    encrypted: bool,
}

impl Manifests {
    pub fn new(filename: Vec<String>, kustomize: Vec<String>, recursive: bool, namespace: String) -> Self {
        Self { filename, kustomize, recursive, remote_bases: false, namespace, helm: None, encrypted: false }
    }

    /// Whether kustomizations may name other repositories.
    pub fn with_remote_bases(self, remote_bases: bool) -> Self {
        Self { remote_bases, ..self }
    }

    /// How charts are rendered.
    pub fn with_helm(self, helm: Option<Helm>) -> Self {
        Self { helm, ..self }
    }

    /// Whether encrypted files are left as they are.
    pub fn left_encrypted(self, encrypted: bool) -> Self {
        Self { encrypted, ..self }
    }

    /// Of objects that name none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The directories of this machine that the named sources are, or are in; of a kustomization, what it belongs to.
    pub fn roots(&self) -> Vec<PathBuf> {
        let plain = self.filename.iter().filter_map(|name| {
            let path = std::fs::canonicalize(name).ok()?;
            if path.is_dir() { Some(path) } else { path.parent().map(PathBuf::from) }
        });
        let kustomized = self.kustomize.iter().filter_map(|name| Some(Disk::around(Path::new(name)).ok()?.0.path("")));
        plain.chain(kustomized).collect()
    }

    /// The kustomizations, as they are named.
    pub fn kustomized(&self) -> &[String] {
        &self.kustomize
    }

    /// Reads and renders everything, and tells what kinds there are: the built-in ones, those the
    /// manifests define, and, where that is not enough, those the cluster has.
    pub async fn resolve(&self, global: &Global) -> Result<(Registry, Rendered), CliError> {
        let registry = Registry::builtin();
        let files = self.files(global).await?;
        let mut rendered = self.render(&files, &registry)?;
        let unknown = rendered.errors.iter().any(|error| error.what.starts_with("no kind "));
        // Without a cluster to ask, the errors stand.
        if unknown && let Ok(connection) = Connection::to_any(global, Mode::ReadOnly, |_| ()).await {
            let definitions = resources::definitions(&connection.client).await;
            connection.close().await;
            definitions.iter().flatten().for_each(|definition| registry.learn(definition));
            rendered = self.render(&files, &registry)?;
        }
        let defined = rendered.objects.iter().filter(|manifest| manifest.id.kind == "CustomResourceDefinition");
        defined.for_each(|manifest| registry.learn(&manifest.value));
        Ok((registry, rendered))
    }

    /// The same with the values of variables in their places.
    pub async fn substituted(
        &self,
        global: &Global,
        registry: &Registry,
        variables: &Variables,
    ) -> Result<Rendered, CliError> {
        let settings = Settings { namespace: &self.namespace, variables: Some(variables) };
        self.some(render_with(&self.files(global).await?, registry, settings))
    }

    /// What of it is rendered by kustomize.
    pub async fn kustomizations(&self, global: &Global) -> Result<Vec<Arc<Record>>, CliError> {
        Ok(self.files(global).await?.kustomizations)
    }

    /// The objects as their files have them, whatever their kinds. A kustomization may come to none.
    pub async fn unscoped(&self, global: &Global, variables: Option<&Variables>) -> Result<Rendered, CliError> {
        let rendered = unscoped(&self.files(global).await?, &Registry::builtin(), variables);
        if self.filename.is_empty() { Ok(rendered) } else { self.some(rendered) }
    }

    /// Errors of single files are in the result, all of them.
    fn render(&self, files: &Snapshot, registry: &Registry) -> Result<Rendered, CliError> {
        self.some(render(files, registry, &self.namespace))
    }

    fn some(&self, rendered: Rendered) -> Result<Rendered, CliError> {
        if rendered.objects.is_empty() && rendered.errors.is_empty() {
            return Err(nothing_in(self.filename.iter().chain(&self.kustomize)));
        }
        Ok(rendered)
    }

    /// All files, from wherever they come.
    async fn files(&self, global: &Global) -> Result<Snapshot, CliError> {
        if self.filename.is_empty() && self.kustomize.is_empty() {
            let what = "no manifests are named: -f FILE, -f DIR, -k DIR, or -f - for standard input";
            return Err(CliError::new(what).code(2));
        }
        let mut parts = Parts::default();
        for name in &self.filename {
            let snapshot = if name == "-" { stdin()? } else { self.fetch(global, name).await? };
            snapshot.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            parts.add(snapshot);
        }
        for name in &self.kustomize {
            let snapshot = self.fetch(global, name).await?;
            snapshot.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            parts.add(kustomized(name, snapshot)?);
        }
        let files = parts.together();
        let files = if self.encrypted { files } else { decrypted(files)? };
        Ok(charts_rendered(files, &self.namespace, self.helm.as_ref()).await)
    }

    async fn fetch(&self, global: &Global, name: &str) -> Result<Snapshot, CliError> {
        let failed = |error: SourceError| CliError::new(CliError::chain(&error));
        let location = Location::parse(name).map_err(failed)?;
        let repositories = crate::daemon::paths::Paths::new(global.data_dir()?).repositories();
        let access = access(self.remote_bases);
        open(&location, &repositories, self.recursive, access).fetch().await.map_err(failed)
    }
}

/// What a verb reads sources with.
pub fn access(remote_bases: bool) -> Access {
    let remote_bases = if remote_bases { RemoteBases::ByUser } else { RemoteBases::Refused };
    Access { remote_bases, ..Access::default() }
}

/// Snapshots of several sources on their way to one.
#[derive(Default)]
pub struct Parts {
    names: Vec<String>,
    files: Vec<File>,
    kustomizations: Vec<Arc<Record>>,
    charts: Vec<Arc<Chart>>,
    rejected: Vec<RenderError>,
}

impl Parts {
    pub fn add(&mut self, snapshot: Snapshot) {
        self.names.push(snapshot.origin);
        self.files.extend(snapshot.files);
        self.kustomizations.extend(snapshot.kustomizations);
        self.charts.extend(snapshot.charts);
        self.rejected.extend(snapshot.rejected);
    }

    pub fn together(self) -> Snapshot {
        let snapshot = Snapshot::all(self.names.join(", "), self.files, self.kustomizations, self.rejected);
        Snapshot { charts: self.charts, ..snapshot }
    }
}

/// With what charts come to in their place; each is a release that is called like its directory.
pub async fn charts_rendered(snapshot: Snapshot, namespace: &str, options: Option<&Helm>) -> Snapshot {
    if snapshot.charts.is_empty() && options.is_none() {
        return snapshot;
    }
    helm::render(snapshot, helm::Release { name: "", namespace, options, secret: false, timeout: DEFAULT_TIMEOUT })
        .await
}

/// What `-k` names must be a kustomization.
pub fn kustomized(name: &str, snapshot: Snapshot) -> Result<Snapshot, CliError> {
    if snapshot.kustomizations.is_empty() {
        let error = CliError::new(format!("-k {name}: there is no kustomization.yaml"));
        return Err(error.hint("name the directory that has one, or use -f for plain manifests"));
    }
    Ok(snapshot)
}

pub fn nothing_in<'a>(names: impl Iterator<Item = &'a String>) -> CliError {
    let names: Vec<_> = names.map(|name| if name == "-" { "standard input" } else { name }).collect();
    CliError::new(format!("no manifests in {}", names.join(", ")))
        .hint("manifests are files that end in .yaml, .yml or .json; -R looks into subdirectories")
}

pub fn stdin() -> Result<Snapshot, CliError> {
    let limit = crate::gitops::sources::MAX_TOTAL_BYTES;
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::new(format!("standard input: {error}")))?;
    if bytes.len() as u64 > limit {
        return Err(CliError::new(format!("standard input is larger than {} MiB", limit >> 20)));
    }
    Ok(Snapshot::new("standard input", vec![File { path: "<stdin>".into(), bytes: bytes.into() }], Vec::new()))
}

/// The identities of what was read, for verbs that only name objects. Errors end the verb.
pub fn ids(rendered: &Rendered) -> Result<Vec<ObjectId>, CliError> {
    if !rendered.errors.is_empty() {
        return Err(refused(&SyncError::Manifests(rendered.errors.clone())));
    }
    Ok(rendered.objects.iter().map(|manifest| manifest.id.clone()).collect())
}

/// Every error on a line of its own; nothing was applied.
pub fn refused(error: &SyncError) -> CliError {
    match error {
        SyncError::Manifests(errors) => {
            let count = if errors.len() == 1 { "1 error".to_string() } else { format!("{} errors", errors.len()) };
            let lines: Vec<_> = error.lines().iter().map(|line| format!("  {line}")).collect();
            let refused = CliError::new(format!("{count}, nothing was changed\n{}", lines.join("\n")));
            // Of one field, or of several.
            let is_conflict = |line: &String| line.contains(": conflict with ") || line.contains(": conflicts with ");
            if lines.iter().any(is_conflict) {
                return refused
                    .hint("someone else set these fields: leave them out, or take them over with --force-conflicts or --adopt");
            }
            refused
        }
        other => CliError::new(CliError::chain(other)),
    }
}
