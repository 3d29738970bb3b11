//! Manifests of a git tree.

use crate::gitops::render::{Origin, RenderError};
use crate::gitops::sources::dir::too_large;
use crate::gitops::sources::{File, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, is_hidden, is_manifest};
use bytes::Bytes;
use git2::{Blob, ObjectType, Repository, Tree};
use std::path::Path;

const LINK: i32 = 0o120_000;

#[derive(Debug, Default)]
pub(super) struct Read {
    pub files: Vec<File>,
    pub rejected: Vec<RenderError>,
    pub warnings: Vec<String>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) enum TreeError {
    Git(git2::Error),
    NoPath,
    TooMany,
    TooLarge,
}

impl From<git2::Error> for TreeError {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

/// Reads all manifests at `path` (empty: the whole tree). Paths are those in the repository.
pub(super) fn read(repository: &Repository, root: &Tree<'_>, path: &str) -> Result<Read, TreeError> {
    let mut read = Read::default();
    let walk = Walk { repository, root };
    if path.is_empty() {
        walk.tree(root, "", &mut read)?;
        return Ok(read);
    }
    let entry = root.get_path(Path::new(path)).map_err(|_| TreeError::NoPath)?;
    let object = entry.to_object(repository)?;
    if let Some(tree) = object.as_tree() {
        walk.tree(tree, path, &mut read)?;
    } else if let Some(blob) = object.as_blob() {
        walk.blob(blob, path, &mut read)?;
    } else {
        return Err(TreeError::NoPath);
    }
    Ok(read)
}

struct Walk<'a> {
    repository: &'a Repository,
    root: &'a Tree<'a>,
}

impl Walk<'_> {
    fn tree(&self, tree: &Tree<'_>, prefix: &str, read: &mut Read) -> Result<(), TreeError> {
        for entry in tree {
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            if is_hidden(&name) {
                continue;
            }
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            match entry.kind() {
                Some(ObjectType::Tree) => {
                    let object = entry.to_object(self.repository)?;
                    if let Some(tree) = object.as_tree() {
                        self.tree(tree, &path, read)?;
                    }
                }
                Some(ObjectType::Commit) => {
                    read.warnings.push(format!("{path}: submodules are not followed; its manifests are left out"));
                }
                Some(ObjectType::Blob) if is_manifest(&name) => {
                    let blob = self.repository.find_blob(entry.id())?;
                    if entry.filemode() == LINK {
                        self.link(&blob, &path, read)?;
                    } else {
                        self.blob(&blob, &path, read)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn blob(&self, blob: &Blob<'_>, path: &str, read: &mut Read) -> Result<(), TreeError> {
        let size = blob.size() as u64;
        if size > MAX_FILE_BYTES {
            let (what, hint) = too_large(size);
            reject(read, path, &what, hint);
            return Ok(());
        }
        read.bytes += size;
        if read.bytes > MAX_TOTAL_BYTES {
            return Err(TreeError::TooLarge);
        }
        if read.files.len() == MAX_FILES {
            return Err(TreeError::TooMany);
        }
        read.files.push(File { path: path.into(), bytes: Bytes::copy_from_slice(blob.content()) });
        Ok(())
    }

    /// A symbolic link is a blob that holds its target.
    fn link(&self, blob: &Blob<'_>, path: &str, read: &mut Read) -> Result<(), TreeError> {
        let target = String::from_utf8_lossy(blob.content()).into_owned();
        let Some(resolved) = join(path, &target) else {
            let what = format!("the symbolic link leads out of the repository, to {target}");
            reject(read, path, &what, "copy the file into the repository");
            return Ok(());
        };
        let found = self.root.get_path(Path::new(&resolved)).ok().filter(|entry| entry.filemode() != LINK);
        match found.and_then(|entry| self.repository.find_blob(entry.id()).ok()) {
            Some(blob) => self.blob(&blob, path, read),
            None => {
                reject(read, path, &format!("the symbolic link to {target} leads to no file"), "fix its target");
                Ok(())
            }
        }
    }
}

fn reject(read: &mut Read, path: &str, what: &str, hint: &str) {
    let origin = Origin { file: path.into(), line: 0, column: 0 };
    read.rejected.push(RenderError::new(origin, what).hint(hint));
}

/// `target` seen from the directory of `path`; `None` if it leaves the tree.
fn join(path: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}
