//! Where manifests come from: directories, git repositories, and artifacts in registries.
//!
//! A source hands out [`Snapshot`]s: all manifest files at one revision. It never runs anything it
//! reads (no hooks, no submodules, no filters), and never reads out of its tree.

pub mod dir;
pub mod disk;
pub mod git;
pub mod location;
mod name;
pub mod oci;
mod remotes;
pub mod repositories;
pub(in crate::gitops) mod versions;

pub use git::credentials::{Access, Credentials, RemoteBases};
pub use git::signers::Signers;
pub use location::Location;
pub use oci::login::RegistryAccess;
pub use repositories::Repositories;

use crate::base::wake::Wake;
use crate::base::watch;
use crate::gitops::render::kustomize::{Record, Roots, Tree};
use crate::gitops::render::{Origin, RenderError};
use crate::gitops::sops::Keys;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One manifest larger than this is refused.
pub const MAX_FILE_BYTES: u64 = 3 << 20;
/// All manifests of one source together.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// Manifest files of one source.
pub const MAX_FILES: usize = 10_000;

/// A manifest file. `path` is relative to the source, with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: Arc<str>,
    pub bytes: Bytes,
}

/// A Helm chart, which others render.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chart {
    /// Its directory, for people.
    pub root: Arc<str>,
    /// All of them, by their paths in there.
    pub files: Vec<File>,
}

/// Who made a commit, and when. For people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// `Name <address>`.
    pub author: String,
    /// Who put it into the repository: the author, or who merged or rebased it.
    pub committer: String,
    /// RFC 3339: when it was put there.
    pub time: String,
    /// The first line of its message.
    pub subject: String,
}

/// A branch, or another ref that moves, and the commit that it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// `main`; of what is no branch the whole ref: `refs/pull/7/head`.
    pub name: String,
    pub commit: String,
}

/// A source's manifests at one revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The commit's full hash, or `sha256:...`: the digest of an artifact, or of the files.
    pub revision: String,
    /// In path order.
    pub files: Vec<File>,
    /// What is to be rendered by kustomize, each with the files it needs.
    pub kustomizations: Vec<Arc<Record>>,
    /// What is to be rendered by Helm.
    pub charts: Vec<Arc<Chart>>,
    /// Files that cannot be taken (too large, a link out of the tree): errors of the source.
    pub rejected: Vec<RenderError>,
    pub warnings: Vec<String>,
    /// Files, as they are shown, that were decrypted, or that secret values were put into.
    pub decrypted: BTreeSet<Arc<str>>,
    /// What they were decrypted with.
    pub keys: Option<Keys>,
    /// The source for people, without credentials.
    pub origin: String,
    /// `None` for what is no commit; of an artifact, what it says it was made from.
    pub commit: Option<Commit>,
}

impl Snapshot {
    /// A snapshot of these files, e.g. of standard input.
    pub fn new(origin: impl Into<String>, files: Vec<File>, rejected: Vec<RenderError>) -> Self {
        Self::all(origin, files, Vec::new(), rejected)
    }

    /// The kustomization in a directory of a tree. What it names elsewhere is one of the `roots`.
    pub fn kustomized(origin: impl Into<String>, tree: &dyn Tree, directory: &str, roots: &dyn Roots) -> Self {
        let (record, warnings) = Record::of(tree, directory, roots);
        let warnings = warnings.iter().map(ToString::to_string).collect();
        Self { warnings, ..Self::all(origin, Vec::new(), vec![Arc::new(record)], Vec::new()) }
    }

    /// The Helm chart in a directory; `files` by their paths in there.
    pub fn of_chart(origin: impl Into<String>, root: &str, files: Vec<File>) -> Self {
        let revision = content_revision(&files, &[], &[]);
        let chart = Chart { root: root.into(), files };
        Self { revision, charts: vec![Arc::new(chart)], origin: origin.into(), ..Self::default() }
    }

    /// Of several sources.
    pub fn all(
        origin: impl Into<String>,
        files: Vec<File>,
        kustomizations: Vec<Arc<Record>>,
        rejected: Vec<RenderError>,
    ) -> Self {
        let revision = content_revision(&files, &kustomizations, &rejected);
        Self { revision, files, kustomizations, rejected, origin: origin.into(), ..Self::default() }
    }

    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), bytes: text.to_string().into() };
        Self::new("test", files.iter().map(file).collect(), Vec::new())
    }

    /// The commits of repositories that kustomizations name, by where these are for people.
    pub fn bases(&self) -> BTreeMap<String, String> {
        let commits = self.kustomizations.iter().flat_map(|record| record.commits());
        commits.map(|(location, commit)| (location.clone(), commit.clone())).collect()
    }

    /// The revision for people: 7 digits of a commit, 12 of a content hash.
    pub fn short_revision(&self) -> &str {
        short(&self.revision)
    }
}

/// Cuts a revision to what people read.
pub fn short(revision: &str) -> &str {
    match revision.strip_prefix("sha256:") {
        Some(hash) => hash.get(..12).unwrap_or(hash),
        None => revision.get(..7).unwrap_or(revision),
    }
}

fn content_revision(files: &[File], kustomizations: &[Arc<Record>], rejected: &[RenderError]) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for file in files {
        part(file.path.as_bytes());
        part(&file.bytes);
    }
    for record in kustomizations {
        part(record.root.as_bytes());
        record.found().for_each(|(path, found)| part(format!("{path}: {found:?}").as_bytes()));
        record.files().for_each(|(_, bytes)| part(bytes));
    }
    for error in rejected {
        hash.update(error.to_string());
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Why a source gave no snapshot. Nothing of it is applied; what runs keeps running.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    #[error("{source_text}: not a source: {why}")]
    BadLocation { source_text: String, why: String },
    #[error("{0}: no such file or directory")]
    Missing(PathBuf),
    #[error("cannot read {path}: {cause}")]
    Read { path: PathBuf, cause: Arc<std::io::Error> },
    #[error("{path}: more than {MAX_FILES} manifest files; name a directory further down")]
    TooManyFiles { path: String },
    #[error("{path}: the manifests are larger than {} MiB together", MAX_TOTAL_BYTES >> 20)]
    TooLarge { path: String },
    #[error("git {url}: {what}{}", hint_text(.hint))]
    Git { url: String, what: String, hint: String },
    #[error(
        "git {url}: commit {} {why} (spec.source.verify wants each commit signed by one of the keys in its Secret)",
        short(commit)
    )]
    Signature { url: String, commit: String, why: String },
    /// Of a repository that a kustomization names, and where.
    #[error("{at}: {cause}")]
    Base { at: Origin, cause: Box<SourceError> },
    #[error("{url}: {what}{}", hint_text(.hint))]
    Registry { url: String, what: String, hint: String },
    #[error("{url}: no whole answer within {seconds} s; the last good revision stays in force")]
    Timeout { url: String, seconds: u64 },
    #[error("{0}")]
    Access(String),
    #[error(
        "nothing was pushed to {branch} yet: `selkie app remote {application}` in a working copy, then `git push selkie \
         {branch}`"
    )]
    NothingPushed { application: String, branch: String },
    #[error(transparent)]
    Watch(#[from] watch::WatchError),
}

fn hint_text(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}

/// Something that holds manifests and changes over time.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads the manifests as they are now.
    async fn fetch(&self) -> Result<Snapshot, SourceError>;
    /// Rings `wake` when the contents may have changed, until the guard is dropped. `None` where
    /// only asking again tells (remote repositories: poll; then it rings when others heard of one).
    fn watch(&self, wake: Wake) -> Result<Option<watch::Guard>, SourceError>;
    /// The branches and pull requests that there are now; none in what is no repository.
    async fn branches(&self) -> Result<Vec<Branch>, SourceError> {
        Ok(Vec::new())
    }
    /// All directories of the commit, in path order; none in what is no repository.
    async fn directories(&self) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }
    /// The next fetch must not make do with what was heard before.
    fn expire(&self) {}
    /// The source for people, without credentials.
    fn describe(&self) -> String;
}

/// Opens a location for one look at it. `repos` is the directory for mirrors of remote repositories.
/// `recursive` matters to directories only, `access` to repositories.
pub fn open(location: &Location, repos: &Path, recursive: bool, access: Access) -> Arc<dyn Source> {
    Repositories::new(repos.to_path_buf()).open(location, recursive, access)
}

/// What a directory has that is a Helm chart.
pub const CHART_FILE: &str = "Chart.yaml";

/// Whether a file name is one of a manifest.
pub fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}

/// Editors' and tools' private files and directories.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}
