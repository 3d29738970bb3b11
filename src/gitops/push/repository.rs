//! The bare repositories that are pushed to, one for each Application, by its uid: who makes an
//! application anew under an old name finds nothing of the old one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Pushed repositories end in this.
const SUFFIX: &str = ".git";
/// What a git that was killed leaves behind, at any depth.
const LOCK: &str = "lock";
/// And among the objects: packs and quarantines.
const TEMPORARY: &str = "tmp_";

/// A repository on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// The one of the Application with this uid, which may not have been made yet.
    pub fn of(root: &Path, uid: &str) -> Self {
        Self { path: root.join(format!("{uid}{SUFFIX}")) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, if it is not there, with `branch` as what a clone checks out.
    pub fn prepare(&self, branch: &str) -> Result<(), git2::Error> {
        let repository = match git2::Repository::open_bare(&self.path) {
            Ok(repository) => repository,
            Err(_) => {
                self.make(branch)?;
                git2::Repository::open_bare(&self.path)?
            }
        };
        let head = format!("refs/heads/{branch}");
        let current = repository.find_reference("HEAD").ok();
        if current.as_ref().and_then(|found| found.symbolic_target_bytes()) != Some(head.as_bytes()) {
            repository.set_head(&head)?;
        }
        Ok(())
    }

    /// Made beside its place and moved there whole: two may want it at once, and be killed at any line.
    fn make(&self, branch: &str) -> Result<(), git2::Error> {
        let failed = |error: io::Error| git2::Error::from_str(&error.to_string());
        let root = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(root).map_err(failed)?;
        let made = tempfile::Builder::new().suffix(SUFFIX).tempdir_in(root).map_err(failed)?;
        let mut options = git2::RepositoryInitOptions::new();
        git2::Repository::init_opts(made.path(), options.bare(true).external_template(false).initial_head(branch))?;
        match fs::rename(made.path(), &self.path) {
            // The other one was first.
            Err(_) if git2::Repository::open_bare(&self.path).is_ok() => Ok(()),
            outcome => outcome.map_err(failed),
        }
    }

    /// The commit that the branch is at, in hexadecimal digits.
    pub fn tip(&self, branch: &str) -> Option<String> {
        let repository = git2::Repository::open_bare(&self.path).ok()?;
        let found = repository.find_reference(&format!("refs/heads/{branch}")).ok()?;
        found.target().map(|oid| oid.to_string())
    }

    /// Removes what a git that was killed left behind. Only while none is at work here.
    pub fn mend(&self) -> io::Result<()> {
        for path in files(&self.path.join("objects"))?.into_iter().chain(directories(&self.path.join("objects"))) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.starts_with(TEMPORARY) {
                continue;
            }
            if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        for path in files(&self.path)? {
            if path.extension().is_some_and(|extension| extension == LOCK)
                && !path.starts_with(self.path.join("objects"))
            {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// What it takes on disk.
    pub fn bytes(&self) -> u64 {
        let files = files(&self.path).unwrap_or_default();
        files.iter().filter_map(|path| fs::symlink_metadata(path).ok()).map(|metadata| metadata.len()).sum()
    }

    /// How many packs hold its objects: one more with each push.
    pub fn packs(&self) -> usize {
        let packs = fs::read_dir(self.path.join("objects/pack")).into_iter().flatten().flatten();
        packs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
    }
}

/// All repositories below `root` but those of these uids are removed. Best effort: the next start tries again.
pub(super) fn sweep(root: &Path, uids: &HashSet<String>) {
    for path in directories(root) {
        let uid = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX));
        if uid.is_some_and(|uid| !uids.contains(uid))
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a repository that no application has cannot be removed");
        }
    }
}

/// All files below a directory. Links are not followed.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut queue) = (Vec::new(), vec![directory.to_path_buf()]);
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { queue.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    Ok(found)
}

/// The directories right below one; none where it cannot be read.
fn directories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn leftovers_of_a_killed_git_are_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let repository = Repository::of(root.path(), "u1");
        assert_eq!(repository.tip("main"), None);
        repository.prepare("main").unwrap();
        let git = git2::Repository::open_bare(repository.path()).unwrap();
        let tree = git.find_tree(git.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let who = git2::Signature::now("t", "t").unwrap();
        let commit = git.commit(Some("refs/heads/main"), &who, &who, "x", &tree, &[]).unwrap();
        let objects = repository.path().join("objects");
        fs::create_dir_all(objects.join("tmp_objdir-incoming-x/pack")).unwrap();
        fs::write(objects.join("tmp_objdir-incoming-x/pack/tmp_pack_1"), "half").unwrap();
        fs::write(objects.join("pack/tmp_pack_2"), "half").unwrap();
        fs::write(repository.path().join("refs/heads/main.lock"), "").unwrap();
        fs::write(repository.path().join("packed-refs.lock"), "").unwrap();
        repository.mend().unwrap();
        let left: Vec<_> = files(repository.path()).unwrap();
        let odd =
            |path: &&PathBuf| path.to_string_lossy().contains("tmp_") || path.extension().is_some_and(|e| e == LOCK);
        assert_eq!(left.iter().filter(odd).count(), 0, "{left:?}");
        assert_eq!(repository.tip("main").unwrap(), commit.to_string());
        repository.prepare("release").unwrap();
        assert_eq!(fs::read_to_string(repository.path().join("HEAD")).unwrap().trim(), "ref: refs/heads/release");
        assert!(repository.bytes() > 0);
    }

    #[test]
    fn all_who_want_it_at_once_get_the_same_one() {
        let root = tempfile::tempdir().unwrap();
        let repository = Repository::of(&root.path().join("git"), "u1");
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| repository.prepare("main"))).collect();
            makers.into_iter().for_each(|maker| maker.join().unwrap().unwrap());
        });
        assert_eq!(fs::read_to_string(repository.path().join("HEAD")).unwrap().trim(), "ref: refs/heads/main");
        assert_eq!(directories(repository.path().parent().unwrap()).len(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_no_application_has_is_removed() {
        let root = tempfile::tempdir().unwrap();
        for uid in ["u1", "u2"] {
            Repository::of(root.path(), uid).prepare("main").unwrap();
        }
        fs::create_dir(root.path().join("hooks")).unwrap();
        sweep(root.path(), &HashSet::from(["u2".to_owned()]));
        let mut left: Vec<_> =
            directories(root.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["hooks", "u2.git"]);
    }
}
