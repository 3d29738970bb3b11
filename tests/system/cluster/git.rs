//! Git repositories and artifacts as sources: a local one, and real servers.

#[path = "git/artifacts.rs"]
mod artifacts;
#[path = "git/bases.rs"]
mod bases;
#[path = "git/github.rs"]
mod github;
#[path = "git/hanging.rs"]
mod hanging;
#[path = "git/hostile.rs"]
mod hostile;
#[path = "git/https.rs"]
mod https;
#[path = "git/preemption.rs"]
mod preemption;
#[path = "git/previews.rs"]
mod previews;
#[path = "git/sets.rs"]
mod sets;
#[path = "git/sharing.rs"]
mod sharing;
#[path = "git/ssh.rs"]
mod ssh;
#[path = "git/webhooks.rs"]
mod webhooks;

use crate::daemon::{Daemon, run};
use crate::repository::git;
use crate::setting::{Folder, Setting, edit};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is promised of an optimized build within three seconds. Others are several times slower.
const PROMPT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 3 });

/// A daemon with the Application `app`, asked every second, whose ConfigMap `greeting` tells which
/// commit is in force.
struct Follower {
    daemon: Daemon,
}

impl Follower {
    /// `secret`: what `login`, the Application's Secret, holds; empty: it has none.
    fn start(url: &str, secret: Value) -> Self {
        let follower = Self { daemon: Daemon::start(&["--no-hosts"]) };
        follower.application("app", url, "60s");
        if secret.as_object().is_some_and(|values| !values.is_empty()) {
            follower.secret(secret);
        }
        follower
    }

    fn apply(&self, object: &Value) {
        let file = self.daemon.data.with_extension("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.daemon.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]);
    }

    fn application(&self, name: &str, url: &str, timeout: &str) {
        self.apply(&json!({
            "apiVersion": "selkie.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "selkie-system"},
            "spec": {"source": {"repoURL": url}, "interval": "1s", "timeout": timeout},
        }));
    }

    fn secret(&self, values: Value) {
        let metadata = json!({"name": "login", "namespace": "selkie-system"});
        // Replaced, not merged: what an earlier one held is gone.
        let _ = self.daemon.try_kubectl(&["delete", "secret", "login", "-n", "selkie-system"]);
        self.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}));
        self.patch(json!({"spec": {"source": {"secretRef": {"name": "login"}}}}));
    }

    fn patch(&self, patch: Value) {
        let patch = patch.to_string();
        self.daemon.kubectl(&[
            "patch",
            "applications.selkie.dev",
            "app",
            "-n",
            "selkie-system",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }

    fn status(&self, name: &str, path: &str) -> String {
        self.daemon.value(&["applications.selkie.dev", name, "-n", "selkie-system"], path)
    }

    fn errors(&self) -> String {
        self.status("app", "{.status.errors}")
    }

    fn greeting(&self) -> String {
        self.daemon.value(&["configmap", "greeting"], "{.data.text}")
    }

    fn wait_greeting(&self, greeting: &str) {
        self.daemon.wait_for(&format!("{greeting:?} is in force"), || self.greeting() == greeting);
    }

    fn wait_refused(&self, parts: &[&str]) {
        self.wait_errors("app", parts);
    }

    fn wait_errors(&self, name: &str, parts: &[&str]) {
        let what = format!("{name} is refused with {parts:?}");
        self.daemon.wait_for(&what, || {
            let errors = self.status(name, "{.status.errors}");
            parts.iter().all(|part| errors.contains(part) || errors.contains(&part.replace('"', "\\\"")))
        });
    }

    fn mirrors(&self) -> Vec<PathBuf> {
        let mirrors = std::fs::read_dir(self.daemon.data.join("repos")).into_iter().flatten();
        mirrors.map(|entry| entry.unwrap().path()).collect()
    }

    /// Waits until there are so many: those that nobody uses any more go after a moment.
    fn wait_mirrors(&self, count: usize) -> Vec<PathBuf> {
        self.daemon.wait_for(&format!("there are {count} mirrors"), || self.mirrors().len() == count);
        self.mirrors()
    }

    /// All that people get to see without asking for the Secret or the Application's own spec.
    fn everything_shown(&self) -> String {
        let seen = [
            self.daemon.log(),
            self.daemon.kubectl(&["get", "applications.selkie.dev", "-A", "-o", "wide"]),
            self.status("app", "{.status}"),
            self.daemon.kubectl(&["get", "events", "-A", "-o", "yaml"]),
            self.daemon.selkie(&["status"]),
            self.daemon.selkie(&["status", "-o", "json"]),
        ];
        seen.join("\n")
    }
}

fn wait_for_revision(follower: &Follower, revision: &str) {
    follower
        .daemon
        .wait_for("the status names the commit", || follower.status("app", "{.status.revision}") == revision);
}

#[test]
fn a_commit_is_applied_within_a_second() {
    let folder = Folder::new();
    let work = folder.path().join("work");
    std::fs::create_dir_all(work.join("deploy")).unwrap();
    let manifest = |greeting: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\n  namespace: default\ndata:\n  text: {greeting}\n"
        )
    };
    std::fs::write(work.join("deploy/greeting.yaml"), manifest("first")).unwrap();
    std::fs::write(work.join("not-a-manifest.yaml"), "nothing: here\n").unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "first"]);
    let bare = folder.path().join("repo.git");
    run("git", &["clone", "--quiet", "--bare", &work.display().to_string(), &bare.display().to_string()]);
    git(&work, &["remote", "add", "origin", &bare.display().to_string()]);

    let app = format!("greeting={}#main:deploy/", bare.display());
    let setting = Setting::start(folder, &["--app", &app]);
    let text = || setting.daemon.value(&["configmap", "greeting"], "{.data.text}");
    setting.daemon.wait_for("the first commit is applied", || text() == "first");

    edit(&work.join("deploy/greeting.yaml"), "first", "second");
    git(&work, &["commit", "--quiet", "-am", "second"]);
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    let pushed = Instant::now();
    setting.daemon.wait_for("the push is applied", || text() == "second");
    // One second is the promise; kubectl itself takes a part of what is measured here.
    assert!(pushed.elapsed() < PROMPT, "it took {:?}", pushed.elapsed());
    let commit = git(&work, &["rev-parse", "HEAD"]);
    setting.daemon.wait_for("the status names the commit", || {
        setting
            .daemon
            .value(&["applications.selkie.dev", "greeting", "-n", "selkie-system"], "{.status}")
            .contains(commit.trim())
    });

    // A broken commit changes nothing and says where it is broken; the next good one is applied.
    std::fs::write(work.join("deploy/broken.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n").unwrap();
    edit(&work.join("deploy/greeting.yaml"), "second", "third");
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "broken"]);
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    setting.daemon.wait_for("the error is shown", || setting.daemon.log().contains("deploy/broken.yaml:"));
    assert_eq!(text(), "second");
    std::fs::remove_file(work.join("deploy/broken.yaml")).unwrap();
    git(&work, &["commit", "--quiet", "-am", "mended"]);
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    setting.daemon.wait_for("the mended commit is applied", || text() == "third");
}
