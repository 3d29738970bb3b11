//! A commit that was found, and the repository that has it: its own, on this machine, or a mirror.

use super::shared::Mirrored;
use super::{directories, explain, mirror, objects, tree};
use crate::gitops::render::kustomize::{self, Found};
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::versions;
use crate::gitops::sources::{Access, SourceError, short};
use bytes::Bytes;
use git2::{Commit, ErrorClass, ErrorCode, Oid, Repository, RepositoryOpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A commit that can be read for as long as this is kept.
#[derive(Clone)]
pub(in crate::gitops::sources) struct Held {
    pub commit: Oid,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Here(PathBuf),
    Mirror(Arc<directories::Directory>),
}

impl Held {
    pub fn mirrored(Mirrored { oid, directory }: Mirrored) -> Self {
        Self { commit: oid, place: Place::Mirror(directory) }
    }

    pub fn open(&self) -> Result<Repository, git2::Error> {
        match &self.place {
            Place::Here(path) => open_local(path),
            Place::Mirror(directory) => directory.open(),
        }
    }

    /// All of it, as kustomize reads it.
    pub fn tree(&self, location: &GitLocation) -> Result<Whole, git2::Error> {
        let repository = self.open()?;
        let root = objects::commit(&repository, self.commit)?.tree_id();
        let commit = self.commit.to_string();
        let at = GitLocation { reference: Some(short(&commit).to_owned()), ..location.clone() };
        Ok(Whole { repository, root, shown: at.describe() })
    }
}

/// The commit that a reference of a repository on this machine means now.
pub(super) fn local(location: &GitLocation) -> Result<Held, SourceError> {
    let path = location.local().unwrap_or_default();
    let found =
        open_local(&path).and_then(|repository| Ok(resolve_local(&repository, location.reference.as_deref())?.id()));
    let found = found.map_err(|error| explain(location, &Access::default(), &error));
    found.map(|commit| Held { commit, place: Place::Here(path) })
}

/// The tree of a commit, with its repository.
pub(in crate::gitops::sources) struct Whole {
    repository: Repository,
    root: Oid,
    /// `https://host/repo#0123456`
    shown: String,
}

impl Whole {
    fn ask<T>(&self, ask: impl Fn(&tree::Committed<'_>) -> Result<T, String>) -> Result<T, String> {
        let tree = tree::Committed::new(&self.repository, self.root).map_err(|error| error.message().to_owned())?;
        ask(&tree)
    }
}

impl kustomize::Tree for Whole {
    fn find(&self, path: &str) -> Result<Found, String> {
        self.ask(|tree| tree.find(path))
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        self.ask(|tree| tree.read(path))
    }

    fn show(&self, path: &str) -> String {
        if path.is_empty() { self.shown.clone() } else { format!("{}:{path}", self.shown) }
    }
}

/// Opens exactly this directory: a directory inside another repository is not that repository.
pub(super) fn open_local(path: &Path) -> Result<Repository, git2::Error> {
    let none: [&Path; 0] = [];
    Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, none)
}

fn resolve_local<'a>(repository: &'a Repository, reference: Option<&str>) -> Result<Commit<'a>, git2::Error> {
    let target = |found: git2::Reference<'_>| {
        let oid = found.resolve()?.target();
        oid.ok_or_else(|| git2::Error::new(ErrorCode::NotFound, ErrorClass::Reference, "it leads nowhere"))
    };
    let Some(name) = reference else { return objects::commit(repository, target(repository.head()?)?) };
    if let Some(range) = name.strip_prefix(versions::PREFIX) {
        let tags = repository.tag_names(None)?;
        let tag = mirror::highest(range, tags.iter().flatten().flatten())?;
        return objects::commit(repository, target(repository.find_reference(&format!("refs/tags/{tag}"))?)?);
    }
    for full in [
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}"),
        format!("refs/remotes/origin/{name}"),
        name.to_owned(),
    ] {
        match repository.find_reference(&full) {
            Ok(found) => return objects::commit(repository, target(found)?),
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
            Err(error) => return Err(error),
        }
    }
    if is_hash(name) {
        return objects::commit(repository, repository.odb()?.exists_prefix(Oid::from_str(name)?, name.len())?);
    }
    Err(git2::Error::new(ErrorCode::NotFound, ErrorClass::Reference, format!("no branch, tag or commit {name:?}")))
}

pub(super) fn is_hash(text: &str) -> bool {
    (7..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
