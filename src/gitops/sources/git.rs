//! Manifests in a git repository, read from its objects: no checkout, no hooks, no submodules, no
//! filters.
//!
//! A repository on this machine is read in place and watched. Of a remote one, a bare mirror with
//! just the commits asked for is kept in the data directory.

mod mirror;
mod timeouts;
mod tree;

use super::location::GitLocation;
use super::watch::{self, Guard, Target};
use super::{Snapshot, Source, SourceError};
use crate::base::wake::Wake;
use async_trait::async_trait;
use git2::{Commit, ErrorCode, ObjectType, Repository, RepositoryOpenFlags};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A fetch that takes longer has failed. Transfers are cut by [`mirror`] a little earlier.
const FETCH_LIMIT: Duration = Duration::from_secs(120);

pub struct GitSource {
    location: GitLocation,
    mirror: PathBuf,
    /// Held by the thread that fetches, also after we stopped waiting for it.
    fetching: Arc<Mutex<()>>,
}

impl GitSource {
    /// `repos` is the directory that holds mirrors.
    pub fn new(location: GitLocation, repos: &Path) -> Self {
        let digest = Sha256::digest(location.url.as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { location, mirror: repos.join(name), fetching: Arc::default() }
    }
}

#[async_trait]
impl Source for GitSource {
    async fn fetch(&self) -> Result<Snapshot, SourceError> {
        let (location, mirror, fetching) = (self.location.clone(), self.mirror.clone(), self.fetching.clone());
        let url = self.location.describe();
        let busy = SourceError::Busy { url: url.clone() };
        let work = tokio::task::spawn_blocking(move || {
            let Some(_alone) = fetching.try_lock() else { return Err(busy) };
            read(&location, &mirror)
        });
        match tokio::time::timeout(FETCH_LIMIT, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(join)) => Err(SourceError::Git { url, what: join.to_string(), hint: "" }),
            Err(_) => Err(SourceError::Timeout { url, seconds: FETCH_LIMIT.as_secs() }),
        }
    }

    fn watch(&self, wake: Wake) -> Result<Option<Guard>, SourceError> {
        let Some(path) = self.location.local() else { return Ok(None) };
        let repository = open_local(&path).map_err(|e| explain(&self.location, &e))?;
        let common = repository.commondir().to_path_buf();
        let own = repository.path().to_path_buf();
        let mut targets = vec![
            Target { path: common.join("refs"), recursive: true },
            Target { path: common.clone(), recursive: false },
        ];
        if own != common {
            targets.push(Target { path: own.clone(), recursive: false });
        }
        // HEAD, packed-refs and everything in refs/; objects and the index change far more often.
        let relevant = move |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.starts_with(common.join("refs")) && !name.ends_with(".lock") || matches!(name, "HEAD" | "packed-refs")
        };
        watch::start(&targets, relevant, wake).map(Some)
    }

    fn describe(&self) -> String {
        self.location.describe()
    }
}

fn read(location: &GitLocation, mirror: &Path) -> Result<Snapshot, SourceError> {
    let fail = |error: &git2::Error| explain(location, error);
    let local = location.local();
    let repository = match &local {
        Some(path) => open_local(path).map_err(|e| fail(&e))?,
        None => {
            timeouts::set();
            mirror::open(mirror).map_err(|e| fail(&e))?
        }
    };
    let commit = match local {
        Some(_) => resolve_local(&repository, location.reference.as_deref()).map_err(|e| fail(&e))?,
        None => mirror::commit(&repository, location).map_err(|e| fail(&e))?,
    };
    let tree = commit.tree().map_err(|e| fail(&e))?;
    let read = tree::read(&repository, &tree, &location.path).map_err(|e| match e {
        tree::TreeError::Git(error) => fail(&error),
        tree::TreeError::NoPath => SourceError::Git {
            url: location.describe(),
            what: format!("commit {} has no {:?}", super::short(&commit.id().to_string()), location.path),
            hint: "check the path after the colon",
        },
        tree::TreeError::TooMany => SourceError::TooManyFiles { path: location.describe() },
        tree::TreeError::TooLarge => SourceError::TooLarge { path: location.describe() },
    })?;
    let mut snapshot = Snapshot::new(location.describe(), read.files, read.rejected);
    snapshot.revision = commit.id().to_string();
    snapshot.warnings = read.warnings;
    Ok(snapshot)
}

/// Opens exactly this directory: a directory inside another repository is not that repository.
fn open_local(path: &Path) -> Result<Repository, git2::Error> {
    let none: [&Path; 0] = [];
    Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, none)
}

fn resolve_local<'a>(repository: &'a Repository, reference: Option<&str>) -> Result<Commit<'a>, git2::Error> {
    let Some(name) = reference else { return repository.head()?.peel_to_commit() };
    for full in [
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}"),
        format!("refs/remotes/origin/{name}"),
        name.to_owned(),
    ] {
        match repository.find_reference(&full) {
            Ok(found) => return found.peel_to_commit(),
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
            Err(error) => return Err(error),
        }
    }
    if is_hash(name) {
        return repository.revparse_single(name)?.peel(ObjectType::Commit)?.peel_to_commit();
    }
    Err(git2::Error::new(
        ErrorCode::NotFound,
        git2::ErrorClass::Reference,
        format!("no branch, tag or commit {name:?}"),
    ))
}

fn is_hash(text: &str) -> bool {
    (7..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Says what went wrong with what to do about it. libgit2's texts never hold the URL's credentials,
/// but may hold the URL: cut it out.
fn explain(location: &GitLocation, error: &git2::Error) -> SourceError {
    let what = error.message().replace(&location.url, &location.describe());
    let hint = match (error.code(), error.class()) {
        (ErrorCode::Owner, _) => {
            "the repository belongs to another user: git config --global --add safe.directory PATH"
        }
        (ErrorCode::Auth, _) => "check the credentials: an ssh agent or key for ssh, user:token@ for https",
        (ErrorCode::Certificate, git2::ErrorClass::Ssh) => "add the host to ~/.ssh/known_hosts: ssh-keyscan HOST",
        (ErrorCode::UnbornBranch, _) => "the repository has no commit yet",
        (ErrorCode::NotFound, git2::ErrorClass::Repository | git2::ErrorClass::Os) => "is there a git repository?",
        (ErrorCode::NotFound, git2::ErrorClass::Reference) => "check the name after #",
        _ => "",
    };
    SourceError::Git { url: location.describe(), what, hint }
}

#[cfg(test)]
mod tests;
