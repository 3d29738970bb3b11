//! `-f`: files, directories, git sources and standard input become objects with their places.

use super::connection::Connection;
use super::{CliError, Global, resources};
use crate::api::changeset::ObjectId;
use crate::api::registry::Registry;
use crate::daemon::Mode;
use crate::gitops::render::{Rendered, render};
use crate::gitops::sources::{Access, File, Location, Snapshot, SourceError, open};
use crate::gitops::sync::SyncError;
use clap::Args;
use std::io::Read;

#[derive(Args, Clone)]
pub struct Manifests {
    /// Manifests: a file, a directory, - for standard input, or a git source URL#REF:PATH; repeatable
    #[arg(short, long, value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// Look into subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

impl Manifests {
    pub fn new(filename: Vec<String>, recursive: bool, namespace: String) -> Self {
        Self { filename, recursive, namespace }
    }

    /// Of objects that name none.
    pub fn namespace(&self) -> &str {
        &self.namespace
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

    /// Errors of single files are in the result, all of them.
    fn render(&self, files: &Snapshot, registry: &Registry) -> Result<Rendered, CliError> {
        let rendered = render(files, registry, &self.namespace);
        if rendered.objects.is_empty() && rendered.errors.is_empty() {
            let names: Vec<_> =
                self.filename.iter().map(|name| if name == "-" { "standard input" } else { name }).collect();
            return Err(CliError::new(format!("no manifests in {}", names.join(", ")))
                .hint("manifests are files that end in .yaml, .yml or .json; -R looks into subdirectories"));
        }
        Ok(rendered)
    }

    /// All files, from wherever they come.
    async fn files(&self, global: &Global) -> Result<Snapshot, CliError> {
        if self.filename.is_empty() {
            return Err(CliError::new("no manifests are named: -f FILE, -f DIR, or -f - for standard input").code(2));
        }
        let mut files = Vec::new();
        let mut rejected = Vec::new();
        for name in &self.filename {
            let snapshot = if name == "-" { stdin()? } else { self.fetch(global, name).await? };
            files.extend(snapshot.files);
            rejected.extend(snapshot.rejected);
            for warning in snapshot.warnings {
                eprintln!("warning: {warning}");
            }
        }
        Ok(Snapshot::new(self.filename.join(", "), files, rejected))
    }

    async fn fetch(&self, global: &Global, name: &str) -> Result<Snapshot, CliError> {
        let failed = |error: SourceError| CliError::new(CliError::chain(&error));
        let location = Location::parse(name).map_err(failed)?;
        let repositories = crate::daemon::paths::Paths::new(global.data_dir()?).repositories();
        open(&location, &repositories, self.recursive, Access::default()).fetch().await.map_err(failed)
    }
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
            if lines.iter().any(|line| line.contains(": conflict with ")) {
                return refused
                    .hint("someone else set these fields: leave them out, or take them over with --force-conflicts");
            }
            refused
        }
        other => CliError::new(CliError::chain(other)),
    }
}
