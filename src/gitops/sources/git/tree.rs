//! Manifests of a git tree. Whoever wrote it may mean harm: sizes, numbers, depths and names are checked
//! before anything is done with them.

use super::objects;
use crate::gitops::render::kustomize::{self, FILE_NAMES, Found};
use crate::gitops::render::{Origin, RenderError};
use crate::gitops::sources::dir::too_large;
use crate::gitops::sources::{
    CHART_FILE, File, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, is_hidden, is_manifest, name,
};
use bytes::Bytes;
use git2::{ObjectType, Oid, Repository, Tree, TreeEntry};

const LINK: i32 = 0o120_000;
/// Files and directories that are looked at: a few directories that hold each other by many names are
/// small on disk, and without end to whoever visits them all.
pub(in crate::gitops::sources) const MAX_ENTRIES: usize = 200_000;
pub(in crate::gitops::sources) const MAX_DEPTH: usize = 100;
/// More than these need not be told.
const MAX_REJECTED: usize = 100;
const MAX_WARNINGS: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Read {
    pub files: Vec<File>,
    pub rejected: Vec<RenderError>,
    pub warnings: Vec<String>,
    /// The directory has a kustomization, which says what of it counts.
    pub kustomized: bool,
    /// The directory is a Helm chart: these are all its files, by their paths in there.
    pub chart: bool,
    bytes: u64,
    entries: usize,
}

#[derive(Debug)]
pub(super) enum TreeError {
    Git(git2::Error),
    NoPath,
    TooMany,
    TooLarge,
    Refused { what: String, hint: &'static str },
}

impl From<git2::Error> for TreeError {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

/// Reads all manifests at `path` (empty: the whole tree), or all files of a chart. Paths are those in the repository.
pub(super) fn read(repository: &Repository, root: Oid, path: &str) -> Result<Read, TreeError> {
    let mut read = Read::default();
    let root = objects::tree(repository, root)?;
    let walk = Walk { repository, root: &root, all: false };
    if path.is_empty() {
        walk.source(&root, "", &mut read)?;
        return Ok(read);
    }
    let entry = walk.find(path)?.ok_or(TreeError::NoPath)?;
    match entry.kind() {
        Some(ObjectType::Tree) => {
            walk.source(&objects::tree(repository, entry.id())?, path, &mut read)?;
        }
        Some(ObjectType::Blob) if entry.filemode() == LINK => {
            let what = format!("{path} is a symbolic link, which is not followed");
            return Err(TreeError::Refused { what, hint: "name what it leads to" });
        }
        Some(ObjectType::Blob) => walk.blob(entry.id(), path, &mut read)?,
        _ => return Err(TreeError::NoPath),
    }
    Ok(read)
}

/// All directories, in path order, without hidden ones and those whose names cannot be read.
pub(super) fn directories(repository: &Repository, root: Oid) -> Result<Vec<String>, TreeError> {
    let (mut found, mut entries) = (Vec::new(), 0);
    let mut queue = vec![(String::new(), root)];
    while let Some((path, oid)) = queue.pop() {
        let depth = path.split('/').count();
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        for entry in &objects::tree(repository, oid)? {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(too_many_entries());
            }
            let Ok(name) = name::readable(entry.name_bytes()) else { continue };
            if entry.kind() == Some(ObjectType::Tree) && !is_hidden(name) {
                let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                queue.push((below, entry.id()));
            }
        }
        if !path.is_empty() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn too_deep() -> TreeError {
    TreeError::Refused { what: format!("directories are nested more than {MAX_DEPTH} deep"), hint: "" }
}

fn too_many_entries() -> TreeError {
    let what = format!("there are more than {MAX_ENTRIES} files and directories");
    TreeError::Refused { what, hint: "name a directory further down, after the colon" }
}

/// A commit's tree as kustomize reads it.
pub(super) struct Committed<'a> {
    repository: &'a Repository,
    root: Tree<'a>,
}

impl<'a> Committed<'a> {
    pub fn new(repository: &'a Repository, root: Oid) -> Result<Self, git2::Error> {
        Ok(Self { repository, root: objects::tree(repository, root)? })
    }

    fn entry(&self, path: &str) -> Result<Option<TreeEntry<'static>>, String> {
        let walk = Walk { repository: self.repository, root: &self.root, all: false };
        walk.find(path).map_err(|error| match error {
            TreeError::Git(error) => error.message().to_owned(),
            _ => "it cannot be read".to_owned(),
        })
    }
}

impl kustomize::Tree for Committed<'_> {
    fn find(&self, path: &str) -> Result<Found, String> {
        if path.is_empty() {
            return Ok(Found::Directory(String::new()));
        }
        let Some(entry) = self.entry(path)? else { return Ok(Found::Nothing) };
        match entry.kind() {
            Some(ObjectType::Tree) => Ok(Found::Directory(path.to_owned())),
            Some(ObjectType::Blob) if entry.filemode() == LINK => {
                let link = objects::link(self.repository, entry.id()).map_err(|error| error.message().to_owned())?;
                let target = String::from_utf8_lossy(link.content());
                let shown = name::shown(&target);
                let target = join(path, &target)
                    .ok_or_else(|| format!("the symbolic link leads out of the repository, to {shown}"))?;
                match self.entry(&target)? {
                    Some(found) if found.filemode() == LINK => {
                        Err(format!("the symbolic link leads to another one, {shown}"))
                    }
                    Some(found) if found.kind() == Some(ObjectType::Tree) => Ok(Found::Directory(target)),
                    Some(found) if found.kind() == Some(ObjectType::Blob) => Ok(Found::File(target)),
                    _ => Err(format!("the symbolic link leads nowhere, to {shown}")),
                }
            }
            Some(ObjectType::Blob) => Ok(Found::File(path.to_owned())),
            _ => Err("submodules are not followed".to_owned()),
        }
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        let entry = self.entry(path)?.ok_or("it is not there")?;
        let failed = |error: git2::Error| error.message().to_owned();
        let size = objects::size(self.repository, entry.id()).map_err(failed)?;
        if size > MAX_FILE_BYTES {
            return Err(too_large(size).0);
        }
        let blob = self.repository.find_blob(entry.id()).map_err(failed)?;
        Ok(Bytes::copy_from_slice(blob.content()))
    }
}

struct Walk<'a> {
    repository: &'a Repository,
    root: &'a Tree<'a>,
    /// All files count, whatever their names.
    all: bool,
}

impl Walk<'_> {
    /// The directory that is the source.
    fn source(&self, tree: &Tree<'_>, path: &str, read: &mut Read) -> Result<(), TreeError> {
        read.kustomized = FILE_NAMES.iter().any(|name| tree.get_name(name).is_some());
        if read.kustomized {
            return Ok(());
        }
        read.chart = tree.get_name(CHART_FILE).is_some_and(|entry| entry.kind() == Some(ObjectType::Blob));
        Walk { all: read.chart, ..*self }.tree(tree, path, 0, read)?;
        let inside = |file: &File| file.path.strip_prefix(path).unwrap_or(&file.path).trim_start_matches('/').into();
        if read.chart {
            read.files.iter_mut().for_each(|file| file.path = inside(file));
        }
        Ok(())
    }

    fn tree(&self, tree: &Tree<'_>, prefix: &str, depth: usize, read: &mut Read) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        for entry in tree {
            read.entries += 1;
            if read.entries > MAX_ENTRIES {
                return Err(too_many_entries());
            }
            self.entry(&entry, prefix, depth, read)?;
        }
        Ok(())
    }

    fn entry(&self, entry: &TreeEntry<'_>, prefix: &str, depth: usize, read: &mut Read) -> Result<(), TreeError> {
        let lossy = String::from_utf8_lossy(entry.name_bytes());
        if is_hidden(&lossy) && !self.all {
            return Ok(());
        }
        let wanted = self.all || is_manifest(&lossy);
        let below = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let path = match name::readable(entry.name_bytes()) {
            Ok(name) => below(name),
            Err(name::Unreadable { shown, what }) => {
                if wanted || entry.kind() == Some(ObjectType::Tree) {
                    reject(read, &below(&shown), what, "rename it");
                }
                return Ok(());
            }
        };
        match entry.kind() {
            Some(ObjectType::Tree) => {
                self.tree(&objects::tree(self.repository, entry.id())?, &path, depth + 1, read)?;
            }
            Some(ObjectType::Commit) => {
                warn(read, format!("{path}: submodules are not followed; its manifests are left out"));
            }
            Some(ObjectType::Blob) if entry.filemode() == LINK => self.link(entry.id(), &path, wanted, read)?,
            Some(ObjectType::Blob) if wanted => self.blob(entry.id(), &path, read)?,
            _ => {}
        }
        Ok(())
    }

    fn blob(&self, oid: Oid, path: &str, read: &mut Read) -> Result<(), TreeError> {
        let size = objects::size(self.repository, oid)?;
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
        let blob = self.repository.find_blob(oid)?;
        read.files.push(File { path: path.into(), bytes: Bytes::copy_from_slice(blob.content()) });
        Ok(())
    }

    /// Links to files in the tree are followed, once. `wanted`: it has a manifest's name.
    fn link(&self, oid: Oid, path: &str, wanted: bool, read: &mut Read) -> Result<(), TreeError> {
        let blob = objects::link(self.repository, oid)?;
        let target = String::from_utf8_lossy(blob.content());
        let (found, shown) = (join(path, &target), name::shown(&target));
        let what = match found.as_deref().map(|path| self.find(path)).transpose()?.flatten() {
            None if found.is_none() => format!("the symbolic link leads out of the repository, to {shown}"),
            Some(entry) if entry.kind() == Some(ObjectType::Blob) && entry.filemode() != LINK => {
                return if wanted { self.blob(entry.id(), path, read) } else { Ok(()) };
            }
            Some(entry) if entry.filemode() == LINK => format!("the symbolic link leads to another one, {shown}"),
            Some(_) if !wanted => format!("the symbolic link to the directory {shown} is not followed"),
            _ => format!("the symbolic link to {shown} leads to no file"),
        };
        match wanted {
            true => reject(read, path, &what, "put the file itself there"),
            // What it leads to is no manifest of ours in any case, or has another name, too.
            false => warn(read, format!("{path}: {what}")),
        }
        Ok(())
    }

    /// What stands at a path of the tree.
    fn find(&self, path: &str) -> Result<Option<TreeEntry<'static>>, TreeError> {
        let mut found: Option<TreeEntry<'static>> = None;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let next = match &found {
                None => self.root.get_name_bytes(part.as_bytes()).map(|entry| entry.to_owned()),
                Some(entry) if entry.kind() == Some(ObjectType::Tree) => {
                    let tree = objects::tree(self.repository, entry.id())?;
                    tree.get_name_bytes(part.as_bytes()).map(|entry| entry.to_owned())
                }
                Some(_) => None,
            };
            match next {
                Some(next) => found = Some(next),
                None => return Ok(None),
            }
        }
        Ok(found)
    }
}

fn reject(read: &mut Read, path: &str, what: &str, hint: &str) {
    if read.rejected.len() < MAX_REJECTED {
        let origin = Origin { file: path.into(), line: 0, column: 0 };
        read.rejected.push(RenderError::new(origin, what).hint(hint));
    }
}

fn warn(read: &mut Read, what: String) {
    if read.warnings.len() < MAX_WARNINGS {
        read.warnings.push(what);
    }
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
