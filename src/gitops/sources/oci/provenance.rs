//! What an artifact is made from: the annotations that Flux writes, read from the repository that the files
//! are in.

use super::artifact::{CREATED, REVISION, SOURCE};
use crate::base::url::redact;
use git2::{Repository, StatusOptions};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Where the repository is, without credentials.
    pub source: Option<String>,
    /// `main@sha1:COMMIT`, as Flux writes it.
    pub revision: Option<String>,
    /// RFC 3339. Of the commit, so that the same files of it make the same artifact.
    pub created: Option<String>,
    /// There are changes that the commit does not have.
    pub changed: bool,
}

impl Provenance {
    /// Of a file or directory in a working copy; empty elsewhere.
    pub fn of(path: &Path) -> Self {
        let Ok(path) = std::fs::canonicalize(path) else { return Self::default() };
        let Ok(repository) = Repository::discover(&path) else { return Self::default() };
        Self::read(&repository, &path).unwrap_or_default()
    }

    fn read(repository: &Repository, path: &Path) -> Result<Self, git2::Error> {
        let head = repository.head()?;
        let commit = head.peel_to_commit()?;
        let branch = head.is_branch().then(|| head.shorthand().unwrap_or("HEAD").to_owned());
        let remote = repository.find_remote("origin").ok();
        let source = remote.as_ref().and_then(|remote| remote.url().ok()).map(redact);
        let revision = format!("{}@sha1:{}", branch.as_deref().unwrap_or("HEAD"), commit.id());
        let created = jiff::Timestamp::from_second(commit.time().seconds()).ok().map(|time| time.to_string());
        let root = repository.workdir().and_then(|root| std::fs::canonicalize(root).ok());
        let inside = root.as_deref().and_then(|root| path.strip_prefix(root).ok());
        let changed = match inside {
            Some(inside) => {
                let mut options = StatusOptions::new();
                options.include_untracked(true).disable_pathspec_match(true);
                if !inside.as_os_str().is_empty() {
                    options.pathspec(inside);
                }
                !repository.statuses(Some(&mut options))?.is_empty()
            }
            None => false,
        };
        Ok(Self { source, revision: Some(revision), created, changed })
    }

    pub fn annotations(self) -> BTreeMap<String, String> {
        let all = [(SOURCE, self.source), (REVISION, self.revision), (CREATED, self.created)];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use git2::{RepositoryInitOptions, Signature, Time};
    use std::fs;

    #[test]
    fn a_working_copy_tells_its_commit_and_whether_there_is_more() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(Provenance::of(temp.path()), Provenance::default());
        let repository = Repository::init_opts(temp.path(), RepositoryInitOptions::new().initial_head("main")).unwrap();
        repository.remote("origin", "https://me:s3cret@git.example/r").unwrap();
        let (deploy, file) = (temp.path().join("deploy"), Path::new("deploy/a.yaml"));
        fs::create_dir(&deploy).unwrap();
        fs::write(temp.path().join(file), "a: 1").unwrap();
        let mut index = repository.index().unwrap();
        index.add_path(file).unwrap();
        index.write().unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let who = Signature::new("t", "t@example.com", &Time::new(1_700_000_000, 60)).unwrap();
        let commit = repository.commit(Some("HEAD"), &who, &who, "x", &tree, &[]).unwrap();

        let found = Provenance::of(&deploy);
        assert_eq!(found.source.as_deref(), Some("https://***@git.example/r"));
        assert_eq!(found.revision, Some(format!("main@sha1:{commit}")));
        assert_eq!((found.created.as_deref(), found.changed), (Some("2023-11-14T22:13:20Z"), false));
        // What is changed elsewhere is none of its business.
        fs::write(temp.path().join("readme"), "x").unwrap();
        assert!(!Provenance::of(&deploy).changed && Provenance::of(temp.path()).changed);
        fs::write(temp.path().join(file), "a: 2").unwrap();
        assert!(Provenance::of(&deploy).changed && Provenance::of(&temp.path().join(file)).changed);
    }
}
