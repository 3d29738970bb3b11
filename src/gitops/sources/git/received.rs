//! Commits that somebody pushes, before they are accepted: git keeps their objects apart until then.

use super::held::open_local;
use super::{explain, memory, objects, read_commit};
use crate::gitops::render::kustomize::Roots;
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::{Access, Snapshot, SourceError};
use git2::Oid;
use std::path::Path;

/// Reads a commit of a repository on this machine. `quarantine`: a directory with more objects.
pub fn received(
    location: &GitLocation,
    access: &Access,
    quarantine: Option<&Path>,
    commit: &str,
    roots: &dyn Roots,
) -> Result<Snapshot, SourceError> {
    memory::limit();
    let fail = |error: git2::Error| explain(location, access, &error);
    let repository = open_local(&location.local().unwrap_or_default()).map_err(fail)?;
    if let Some(objects) = quarantine.and_then(Path::to_str) {
        repository.odb().and_then(|odb| odb.add_disk_alternate(objects)).map_err(fail)?;
    }
    let commit = Oid::from_str(commit).and_then(|oid| objects::commit(&repository, oid)).map_err(fail)?;
    read_commit(&repository, &commit, location, access, roots)
}
