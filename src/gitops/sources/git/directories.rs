//! The directories that hold mirrors: who uses one, when it is replaced, and the end of those that
//! nobody uses.
//!
//! `KEY.N` is the Nth mirror of a repository. Whoever uses one, in whatever process, holds a shared
//! lock on the file `in-use` in it; what can be locked exclusively is nobody's and may go.

use git2::{Repository, RepositoryInitOptions};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LOCK: &str = "in-use";
/// What a directory is called while it is removed.
const GONE: &str = "gone-";
/// Each fetch adds a pack. A mirror with so many is made anew: it has just the commits in use then.
const MAX_PACKS: usize = 50;

/// A mirror that is in use until this is dropped.
#[derive(Debug)]
pub(in crate::gitops::sources) struct Directory {
    pub path: PathBuf,
    number: u64,
    _lock: File,
}

impl Directory {
    /// Takes hold of the newest mirror of the repository, or of a new one.
    pub fn take(root: &Path, key: &str) -> io::Result<Self> {
        let number = numbers(root, key).max().unwrap_or(0);
        Self::hold(root, key, number)
    }

    /// The one to use from now on, if this one has grown too much.
    pub fn successor(&self, root: &Path, key: &str) -> io::Result<Option<Self>> {
        let packs = fs::read_dir(self.path.join("objects/pack")).map(Iterator::count).unwrap_or(0) / 2;
        if packs < MAX_PACKS { Ok(None) } else { Self::hold(root, key, self.number + 1).map(Some) }
    }

    fn hold(root: &Path, key: &str, number: u64) -> io::Result<Self> {
        let path = root.join(format!("{key}.{number}"));
        loop {
            fs::create_dir_all(&path)?;
            let lock = File::options().write(true).create(true).truncate(false).open(path.join(LOCK));
            let lock = match lock {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            flock(&lock, FlockOperation::LockShared)?;
            // It may have been removed while we waited.
            let ours =
                fs::metadata(path.join(LOCK)).is_ok_and(|now| lock.metadata().is_ok_and(|m| m.ino() == now.ino()));
            if ours {
                return Ok(Self { path, number, _lock: lock });
            }
        }
    }

    /// Opens the mirror, or makes it.
    pub fn open(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.path).or_else(|_| {
            let mut options = RepositoryInitOptions::new();
            options.bare(true).mkpath(true).external_template(false);
            Repository::init_opts(&self.path, &options)
        })
    }
}

fn numbers(root: &Path, key: &str) -> impl Iterator<Item = u64> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(key)?.strip_prefix('.')?.parse().ok()
    })
}

/// Removes the mirrors that nobody uses; how many that were.
pub(in crate::gitops::sources) fn sweep(root: &Path) -> usize {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && remove(root, &entry.path())).count()
}

fn remove(root: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with(GONE) {
        return fs::remove_dir_all(path).is_ok();
    }
    // Mirrors of earlier versions have no such file; whatever else is here is somebody else's.
    if !path.join(LOCK).exists() && !path.join("objects").is_dir() {
        return false;
    }
    let Ok(lock) = File::options().write(true).create(true).truncate(false).open(path.join(LOCK)) else { return false };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    let gone = root.join(format!("{GONE}{name}"));
    fs::rename(path, &gone).is_ok() && fs::remove_dir_all(&gone).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("of-an-earlier-version/objects")).unwrap();
        fs::create_dir_all(root.join("foreign/things")).unwrap();
        let used = Directory::take(root, "used").unwrap();
        let again = Directory::take(root, "used").unwrap();
        let unused = Directory::take(root, "unused").unwrap().path;
        assert_eq!(sweep(root), 2);
        assert!(used.path.exists() && !unused.exists());
        drop(used);
        assert_eq!(sweep(root), 0, "the other one still uses it");
        drop(again);
        assert_eq!(sweep(root), 1);
        let left: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["foreign"], "it is no mirror");
        assert_eq!(fs::read_dir(root.join("foreign")).unwrap().count(), 1);
    }

    #[test]
    fn a_mirror_of_many_packs_has_a_successor() {
        let temp = tempfile::tempdir().unwrap();
        let first = Directory::take(temp.path(), "a").unwrap();
        assert!(first.successor(temp.path(), "a").unwrap().is_none());
        fs::create_dir_all(first.path.join("objects/pack")).unwrap();
        for n in 0..MAX_PACKS * 2 {
            fs::write(first.path.join(format!("objects/pack/{n}")), "").unwrap();
        }
        let second = first.successor(temp.path(), "a").unwrap().unwrap();
        assert_eq!(second.path, temp.path().join("a.1"));
        assert_eq!(Directory::take(temp.path(), "a").unwrap().path, second.path, "also after a restart");
    }
}
