//! A git repository to push to, with a working copy to commit in: one manifest, a ConfigMap named
//! `greeting`.

use crate::daemon::run;
use std::path::{Path, PathBuf};

pub struct GitRepository {
    /// Holds `repo.git` and `work`.
    pub folder: tempfile::TempDir,
}

impl GitRepository {
    /// With one commit on `main`, whose greeting is "first".
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let repository = Self { folder };
        let bare = repository.bare().display().to_string();
        run("git", &["init", "--quiet", "--bare", "--initial-branch=main", &bare]);
        // What servers allow that are asked for commits by their hash.
        run("git", &["-C", &bare, "config", "uploadpack.allowReachableSHA1InWant", "true"]);
        let work = repository.work().display().to_string();
        run("git", &["init", "--quiet", "--initial-branch=main", &work]);
        repository.git(&["remote", "add", "origin", &bare]);
        repository.commit("first");
        repository.push();
        repository
    }

    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("repo.git")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.work(), args)
    }

    fn write(&self, greeting: &str) {
        let manifest =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\ndata:\n  text: {greeting}\n");
        std::fs::write(self.work().join("greeting.yaml"), manifest).expect("a manifest");
        self.git(&["add", "."]);
    }

    /// Commits another greeting; returns the commit.
    pub fn commit(&self, greeting: &str) -> String {
        self.write(greeting);
        self.git(&["commit", "--quiet", "-m", greeting]);
        self.git(&["rev-parse", "HEAD"]).trim().to_string()
    }

    /// Puts another commit in the place of the last one.
    pub fn amend(&self, greeting: &str) {
        self.write(greeting);
        self.git(&["commit", "--quiet", "--amend", "-m", greeting]);
    }

    pub fn push(&self) {
        self.git(&["push", "--quiet", "--force", "--tags", "origin", "HEAD:main"]);
    }

    /// Adds so much that does not compress that a clone takes several packets.
    pub fn add_ballast(&self, bytes: usize) {
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(bytes)
        .collect();
        std::fs::write(self.work().join("ballast"), noise).expect("a file");
    }
}

/// A second repository beside `repo.git`: `base.git`, with a base of one ConfigMap in `maps`.
pub struct Base {
    pub bare: PathBuf,
    work: PathBuf,
}

impl Base {
    pub fn beside(repository: &GitRepository) -> Self {
        let folder = repository.folder.path();
        let (bare, work) = (folder.join("base.git"), folder.join("base"));
        git(folder, &["init", "--quiet", "--bare", "--initial-branch=main", &bare.display().to_string()]);
        git(&bare, &["config", "uploadpack.allowReachableSHA1InWant", "true"]);
        git(folder, &["init", "--quiet", "--initial-branch=main", &work.display().to_string()]);
        Self { bare, work }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.work.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    /// Returns the commit.
    pub fn push(&self, greeting: &str) -> String {
        self.write("maps/kustomization.yaml", "resources: [greeting.yaml]\n");
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\n  labels: {app: x}\ndata:\n";
        self.write("maps/greeting.yaml", &format!("{map}  text: {greeting}\n"));
        git(&self.work, &["add", "-A"]);
        git(&self.work, &["commit", "--quiet", "-m", greeting]);
        git(&self.work, &["push", "--quiet", "--tags", &self.bare.display().to_string(), "HEAD:main"]);
        git(&self.work, &["rev-parse", "HEAD"]).trim().to_owned()
    }
}

/// git's output in `directory`, as a user of its own.
pub fn git(directory: &Path, args: &[&str]) -> String {
    let at = directory.display().to_string();
    let mut all = vec!["-C", &at, "-c", "user.name=Test", "-c", "user.email=test@example.com"];
    all.extend(args);
    run("git", &all)
}
