//! `git push` to a real daemon, by real git.

#[path = "pushing/bases.rs"]
mod bases;
#[path = "pushing/breaking.rs"]
mod breaking;
#[path = "pushing/hostile.rs"]
mod hostile;
#[path = "pushing/refusing.rs"]
mod refusing;
#[path = "pushing/rollout.rs"]
mod rollout;
#[path = "pushing/signing.rs"]
mod signing;

use crate::daemon::{Daemon, SELKIE, run, text};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A working copy that pushes to the application `shop`.
struct Pusher {
    folder: tempfile::TempDir,
}

impl Pusher {
    /// Adds the application and sets up a working copy, as the README says.
    fn start(daemon: &Daemon, app: &str) -> Self {
        daemon.selkie(&["app", "add", app, "--push"]);
        Self::of(daemon)
    }

    /// Another working copy.
    fn of(daemon: &Daemon) -> Self {
        let pusher = Self { folder: tempfile::tempdir().unwrap() };
        pusher.git(&["init", "--quiet", "--initial-branch=main"]);
        pusher.connect(daemon);
        pusher
    }

    /// Also where the daemon listens somewhere else by now.
    fn connect(&self, daemon: &Daemon) {
        daemon.selkie(&["app", "remote", "shop", "-C", &self.work().display().to_string()]);
    }

    fn work(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    fn git(&self, args: &[&str]) -> String {
        let user = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
        let output = self.command(&[&user[..], args].concat()).output().unwrap();
        text(&format!("git {args:?}"), &output)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits all that is there; returns the commit.
    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "change"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_string()
    }

    /// Commits another greeting.
    fn greet(&self, greeting: &str) -> String {
        self.write("greeting.yaml", &config_map("greeting", greeting));
        self.commit()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.folder.path()).args(args);
        // Nobody is there to be asked, and the test's user has settings of no concern.
        command.env("GIT_TERMINAL_PROMPT", "0").env("SELKIE_CONFIG", "/dev/null").env_remove("KUBECONFIG");
        // It would win over the CA that was set up.
        command.env_remove("GIT_SSL_CAINFO");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn try_push(&self, args: &[&str]) -> Output {
        self.command(&[&["push"], args].concat()).output().unwrap()
    }

    /// What whoever pushes sees.
    fn push(&self, args: &[&str]) -> String {
        let output = self.try_push(args);
        text(&format!("git push {args:?}"), &output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The same of a push that must fail.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.try_push(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "git push {args:?} went through:\n{said}");
        said
    }

    /// A push that goes on: a process group, as a shell makes one.
    fn pushing(&self, args: &[&str]) -> Child {
        use std::os::unix::process::CommandExt;
        self.command(&[&["push", "--progress"], args].concat()).process_group(0).spawn().unwrap()
    }

    /// The commit that the daemon's branch is at.
    fn tip(&self) -> String {
        let output = self.command(&["ls-remote", "selkie", "refs/heads/main"]).output().unwrap();
        text("git ls-remote", &output).split_whitespace().next().unwrap_or_default().to_string()
    }
}

/// What a terminal's Ctrl-C does, or worse.
fn signal(child: &Child, signal: &str) {
    run("kill", &[signal, "--", &format!("-{}", child.id())]);
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  text: {value}\n")
}

fn greeting(daemon: &Daemon) -> String {
    daemon.value(&["configmap", "greeting"], "{.data.text}")
}

fn status(daemon: &Daemon, path: &str) -> String {
    daemon.value(&["applications.selkie.dev", "shop", "-n", "selkie-system"], path)
}

/// The daemon's repository of the application.
fn repository(daemon: &Daemon) -> PathBuf {
    daemon.data.join("git").join(format!("{}.git", status(daemon, "{.metadata.uid}")))
}

fn token(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.data.join("token")).unwrap().trim().to_string()
}

fn address(daemon: &Daemon) -> String {
    let kubeconfig = std::fs::read_to_string(daemon.kubeconfig()).unwrap();
    kubeconfig.split("server: ").nth(1).unwrap().lines().next().unwrap().trim().to_string()
}

/// Text and code of what curl gets from the daemon.
fn curl(daemon: &Daemon, path: &str, args: &[&str]) -> (String, String) {
    let url = format!("{}{path}", address(daemon));
    let mut all = vec!["-sk", "--max-time", "60", "--path-as-is", "-w", "\n%{http_code}", &url];
    all.extend(args);
    let answer = run("curl", &all);
    let (text, code) = answer.rsplit_once('\n').unwrap();
    (text.to_string(), code.to_string())
}

fn lines_with(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn a_push_is_planned_applied_and_told() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let added = daemon.try_selkie(&["app", "add", "shop", "--push"]);
    lines_with(&String::from_utf8_lossy(&added.stderr), &["selkie app remote shop", "git push selkie main"]);
    daemon.wait_for("it waits for a push", || {
        let listed = daemon.selkie(&["app", "list"]);
        listed.contains("Waiting") && listed.contains("nothing was pushed to main yet") && listed.contains("git push")
    });
    assert!(!daemon.log().contains("error"), "{}", daemon.log());
    daemon.wait_for("an Event says so, which is no failure", || {
        let events = daemon.kubectl(&["get", "events", "-n", "selkie-system"]);
        events.lines().any(|line| line.contains("NothingPushed") && line.contains("Normal"))
    });
    let metrics = daemon.kubectl(&["get", "--raw", "/metrics"]);
    lines_with(&metrics, &["selkie_app_source_fetches_total{name=\"shop\",result=\"succeeded\"}"]);
    assert!(!metrics.contains("selkie_app_source_fetches_total{name=\"shop\",result=\"failed\"}"), "{metrics}");

    let pusher = Pusher::of(&daemon);
    let first = pusher.greet("first");
    let said = pusher.push(&["selkie", "main"]);
    lines_with(
        &said,
        &[
            &format!("remote: shop: the plan for {}", &first[..7]),
            "+ ConfigMap default/greeting",
            "greeting.yaml:1",
            "Plan: 1 to add, 0 to change, 0 to delete",
            "is accepted, and rolled out whether you watch or not",
            "applied as planned",
            "is in force",
        ],
    );
    assert!(!said.contains('\u{1b}'), "no colours: {said:?}");
    assert_eq!(greeting(&daemon), "first");
    assert_eq!(status(&daemon, "{.status.revision}"), first);
    let history = daemon.selkie(&["app", "history", "shop"]);
    lines_with(&history, &[&first[..7], "Test <test@example.com>"]);

    // The same again costs nothing, and a commit that changes no manifest changes nothing.
    assert!(pusher.push(&["selkie", "main"]).contains("Everything up-to-date"));
    pusher.write("README", "words\n");
    let second = pusher.commit();
    lines_with(&pusher.push(&["selkie", "main"]), &["No changes", "is in force"]);
    daemon.wait_for("the commit is followed", || status(&daemon, "{.status.revision}") == second);

    // What was pushed can be fetched by those who may push, and planned from.
    let clone = pusher.folder.path().join("clone");
    let cloned = pusher.command(&["fetch", "selkie"]).output().unwrap();
    text("git fetch", &cloned);
    pusher.git(&["worktree", "add", "--quiet", &clone.display().to_string(), "selkie/main"]);
    assert!(clone.join("greeting.yaml").exists());
    lines_with(&daemon.selkie(&["plan", "--app", "shop"]), &["No changes"]);

    // It goes on from there after a restart.
    let mut daemon = daemon;
    daemon.stop();
    daemon.restart();
    pusher.connect(&daemon);
    pusher.greet("third");
    lines_with(&pusher.push(&["selkie", "main"]), &["~ ConfigMap default/greeting", "is in force"]);
    assert_eq!(greeting(&daemon), "third");

    // It goes with its application.
    let kept = repository(&daemon);
    assert!(kept.exists());
    daemon.kubectl(&["delete", "applications.selkie.dev", "shop", "-n", "selkie-system"]);
    daemon.wait_for("the repository is gone", || !kept.exists());
    assert!(!shown(&daemon).contains(&token(&daemon)));
}

/// What people and logs get to see.
fn shown(daemon: &Daemon) -> String {
    [daemon.log(), daemon.kubectl(&["get", "events", "-A", "-o", "yaml"]), daemon.selkie(&["status"])].join("\n")
}

#[test]
fn a_branch_and_a_directory_of_it_are_followed() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop=#release/1:deploy");
    pusher.write("other/broken.yaml", "no: [");
    pusher.write("deploy/greeting.yaml", &config_map("greeting", "first"));
    pusher.commit();
    let said = pusher.refused(&["selkie", "main"]);
    lines_with(&said, &["shop deploys its branch release/1", "git push REMOTE HEAD:release/1"]);
    lines_with(&pusher.push(&["selkie", "HEAD:release/1"]), &["deploy/greeting.yaml:1", "is in force"]);
    assert_eq!(greeting(&daemon), "first");
    let bad = daemon.try_selkie(&["app", "add", "other=https://host/r", "--push"]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn a_working_copy_is_set_up_without_a_trace_of_the_token() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let settings = pusher.git(&["config", "--list", "--local"]);
    lines_with(
        &settings,
        &["remote.selkie.url=https://127.0.0.1", "/git/shop", "sslcainfo=", "version=HTTP/1.1", "git-credential"],
    );
    let everything = settings + &run("grep", &["-r", "-a", "", &pusher.work().join(".git").display().to_string()]);
    assert!(!everything.contains(&token(&daemon)));
    // Once more is no mistake; a remote that is somebody else's is.
    pusher.connect(&daemon);
    assert_eq!(pusher.git(&["config", "--get-all", "remote.selkie.url"]).lines().count(), 1);
    pusher.git(&["remote", "add", "other", "https://elsewhere.example/r"]);
    let at = pusher.work().display().to_string();
    let taken = daemon.try_selkie(&["app", "remote", "shop", "-C", &at, "--remote", "other"]);
    lines_with(&String::from_utf8_lossy(&taken.stderr), &["there is a remote other already", "--remote"]);
    let nowhere = daemon.try_selkie(&["app", "remote", "shop", "-C", Path::new("/").to_str().unwrap()]);
    lines_with(&String::from_utf8_lossy(&nowhere.stderr), &["working copy", "-C"]);
}

#[test]
fn a_variable_that_git_takes_before_the_clusters_ca_is_told() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    let other = pusher.work().join(".git/other.crt");
    std::fs::write(&other, rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()).unwrap();
    let failed = pusher.command(&["push", "selkie", "main"]).env("GIT_SSL_CAINFO", &other).output().unwrap();
    lines_with(&String::from_utf8_lossy(&failed.stderr), &["certificate"]);
    let at = pusher.work().display().to_string();
    for (args, told) in [
        (vec!["app", "add", "more", "--push"], true),
        (vec!["app", "remote", "shop", "-C", &at], true),
        (vec!["app", "remote", "shop", "-C", &at], false),
    ] {
        let mut command = Command::new(SELKIE);
        command.args(&args).env("SELKIE_DATA_DIR", &daemon.data).env("SELKIE_CONFIG", "/dev/null");
        command.env_remove("KUBECONFIG").env_remove("GIT_SSL_CAINFO");
        if told {
            command.env("GIT_SSL_CAINFO", &other);
        }
        let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
        assert_eq!(said.contains("env -u GIT_SSL_CAINFO git push"), told, "{args:?}: {said}");
    }
    lines_with(&pusher.push(&["selkie", "main"]), &["is in force"]);
}
