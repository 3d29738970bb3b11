//! A git working copy that pushes to an application of a daemon, set up as the README says.

use std::path::Path;
use std::process::{Command, Output};

pub struct WorkingCopy(tempfile::TempDir);

impl WorkingCopy {
    /// Adds the application; `data` is the daemon's data directory.
    pub fn new(data: &Path, application: &str) -> Self {
        let copy = Self(tempfile::tempdir().expect("a temporary directory"));
        copy.git(&["init", "--quiet", "--initial-branch=main"]);
        copy.selkie(data, &["app", "add", application, "--push"]);
        copy.selkie(data, &["app", "remote", application, "-C", &copy.0.path().display().to_string()]);
        copy
    }

    /// Commits the manifests of a directory, and nothing else.
    pub fn put(&self, manifests: &Path) {
        for entry in std::fs::read_dir(manifests).expect("the manifests") {
            let entry = entry.expect("its files");
            std::fs::copy(entry.path(), self.0.path().join(entry.file_name())).expect("a copy");
        }
        self.commit();
    }

    /// Commits that there are none.
    pub fn clear(&self) {
        self.git(&["rm", "--quiet", "-r", "."]);
        self.commit();
    }

    /// Returns when the rollout is over.
    pub fn push(&self, args: &[&str]) {
        self.git(&[&["push", "--quiet"], args, &["selkie", "main"]].concat());
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "bench"]);
    }

    fn git(&self, args: &[&str]) {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.0.path()).args(["-c", "user.name=bench", "-c", "user.email=bench@example.com"]);
        // It would win over the CA that was set up.
        command.args(args).env("SELKIE_CONFIG", "/dev/null").env_remove("KUBECONFIG").env_remove("GIT_SSL_CAINFO");
        check(args, command.output());
    }

    fn selkie(&self, data: &Path, args: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selkie"));
        command.args(args).env("SELKIE_DATA_DIR", data).env("SELKIE_CONFIG", "/dev/null").env_remove("KUBECONFIG");
        check(args, command.output());
    }
}

fn check(args: &[&str], output: std::io::Result<Output>) {
    let output = output.expect("a program to run");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
