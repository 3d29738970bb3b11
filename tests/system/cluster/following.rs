//! What is shown while something goes on: drawn again in a terminal, in lines elsewhere.

use crate::daemon::{Daemon, SELKIE, wait_until};
use crate::terminal::Terminal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

fn apply(daemon: &Daemon) {
    let file = daemon.data.join("web.yaml");
    std::fs::write(&file, WEB).unwrap();
    daemon.kubectl(&["apply", "-f", file.to_str().unwrap()]);
}

/// A selkie that follows, its standard output in lines.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Follower {
    fn start(daemon: &Daemon, args: &[&str]) -> Self {
        let mut command = Command::new(SELKIE);
        command.args(args).env("SELKIE_DATA_DIR", &daemon.data).env("SELKIE_CONFIG", "/dev/null");
        let mut child = command.env_remove("KUBECONFIG").stdout(Stdio::piped()).spawn().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (into, out) = (lines.clone(), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| into.lock().unwrap().push(line)));
        Self { child, lines }
    }

    fn wait_for(&self, what: &str, is: impl Fn(&str) -> bool) {
        let all = || self.lines.lock().unwrap().join("\n");
        wait_until(what, all, &mut || self.lines.lock().unwrap().iter().any(|line| is(line)));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_status_that_is_followed_tells_changes_in_lines() {
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let text = Follower::start(&daemon, &["status", "--watch"]);
    let documents = Follower::start(&daemon, &["status", "--watch", "-o", "json"]);
    text.wait_for("the host is shown", |line| line.contains("hollow") || line.contains("HOST"));
    documents.wait_for("a first document comes", |line| line.starts_with('{'));
    apply(&daemon);
    text.wait_for("the rollout is told", |line| line.ends_with("deployment/web in default  2/2  Ready"));
    documents.wait_for("a document tells it", |line| {
        let document: Value = serde_json::from_str(line).unwrap();
        document["workloads"][0]["status"] == "Ready"
    });
    daemon.kubectl(&["delete", "deployment", "web"]);
    text.wait_for("its end is told", |line| line.ends_with("deployment/web in default  gone"));
    assert!(!text.lines.lock().unwrap().iter().any(|line| line.contains('\u{1b}')), "no terminal, no escapes");
}

#[test]
fn a_status_that_is_followed_in_a_terminal_is_drawn_in_place() {
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let mut terminal = Terminal::run(&daemon.data, "status --watch", 40, 12);
    let shows = |text: &str| wait_until(text, || terminal.seen(), &mut || terminal.seen().contains(text));
    shows("HOST");
    apply(&daemon);
    shows("deployment/web");
    shows("2/2");
    let widest = terminal.seen().split("\r\n").map(columns).max().unwrap();
    assert!(widest <= 40, "a line is {widest} columns wide");
    assert!(terminal.interrupt(), "Ctrl-C is the way to end it");
    let seen = terminal.seen();
    let (screen, after) = seen.rsplit_once("\u{1b}[?1049l").expect("the shell's screen comes back");
    assert!(screen.contains("\u{1b}[?1049h") && screen.contains("\u{1b}[H"));
    assert!(after.contains("deployment/web"), "what was seen last stays: {after:?}");
}

/// Columns that a line takes.
fn columns(line: &str) -> usize {
    anstream::adapter::strip_str(line.trim_end_matches('\r')).to_string().chars().count()
}

#[test]
fn a_wait_tells_each_step_in_a_line_or_in_place() {
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let file = daemon.data.join("web.yaml");
    // Hollow hosts are ready before anybody looks; pods that have to stay ready for a second are waited for.
    std::fs::write(&file, WEB.replace("spec:\n  replicas", "spec:\n  minReadySeconds: 1\n  replicas")).unwrap();
    let applied = daemon.try_selkie(&["apply", "-f", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(applied.status.success() && said.contains("Deployment default/web: "), "{said}");
    assert!(said.contains("done: ready after") && !said.contains('\u{1b}'), "{said}");

    daemon.kubectl(&["delete", "deployment", "web"]);
    let mut terminal = Terminal::run(&daemon.data, &format!("apply -f {}", file.display()), 60, 20);
    assert!(terminal.wait(), "{}", terminal.seen());
    let seen = terminal.seen();
    assert!(seen.contains("0 of 1 ready") && seen.contains("Deployment default/web"), "{seen:?}");
    let (_, end) = seen.rsplit_once("Plan:").expect("a plan");
    assert!(
        end.contains("\u{1b}[1A") || end.contains("\u{1b}[2K") || end.contains('\r'),
        "lines are drawn again: {end:?}"
    );
    let last = anstream::adapter::strip_str(seen.trim_end().rsplit("\n").next().unwrap()).to_string();
    assert!(last.contains("done: ready after"), "nothing is left of what was drawn: {last:?}");

    // What is not there yet is waited for.
    let waiting = daemon.try_selkie(&["wait", "pod/none", "--timeout=3s"]);
    let said = String::from_utf8_lossy(&waiting.stderr).into_owned();
    assert!(!waiting.status.success() && said.starts_with("Pod default/none: not there yet\n"), "{said}");
}

/// A source with a Deployment that has no host to run on, and a ConfigMap.
fn stuck() -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("web.yaml"), WEB).unwrap();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n";
    std::fs::write(source.path().join("conf.yaml"), map).unwrap();
    source
}

fn shows(terminal: &Terminal, text: &str) {
    wait_until(text, || terminal.seen(), &mut || plain(&terminal.seen()).contains(text));
}

fn plain(seen: &str) -> String {
    anstream::adapter::strip_str(seen).to_string()
}

#[test]
fn a_daemon_in_a_terminal_draws_what_it_waits_for_in_place() {
    let (source, data) = (stuck(), tempfile::tempdir().unwrap());
    let args = format!("up --listen 127.0.0.1:0 --no-hosts --app shop={}", source.path().display());
    let mut terminal = Terminal::run(data.path(), &args, 60, 20);
    shows(&terminal, "shop: 0 of 1 ready");
    shows(&terminal, "Deployment default/web 0 of 2 pods ready");
    crate::setting::edit(&source.path().join("web.yaml"), "replicas: 2", "replicas: 0");
    shows(&terminal, "is ready after");
    assert!(terminal.interrupt(), "Ctrl-C is the way to end it:\n{}", terminal.seen());
    let seen = plain(&terminal.seen());
    assert!(seen.contains("+ Deployment default/web") && seen.contains("containers keep running"), "{seen}");
}

#[test]
fn a_sync_and_an_undo_show_what_they_wait_for() {
    let source = stuck();
    let daemon = Daemon::start(&["--no-hosts", "--app", &format!("shop={}", source.path().display())]);
    daemon.wait_for("it is applied", || daemon.try_kubectl(&["get", "deploy", "web"]).status.success());
    let lines = |args: &[&str]| {
        let done = daemon.try_selkie(args);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("shop: Deployment default/web: 0 of 2 pods ready"), "{said}");
        assert!(said.contains("not ready after") && !said.contains('\u{1b}'), "{said}");
    };
    lines(&["app", "sync", "shop", "--timeout=5s"]);
    std::fs::remove_file(source.path().join("web.yaml")).unwrap();
    daemon.wait_for("it is removed", || !daemon.try_kubectl(&["get", "deploy", "web"]).status.success());
    lines(&["undo", "shop", "--timeout=5s"]);
    daemon.selkie(&["app", "resume", "shop"]);
    for args in ["app sync shop", "undo shop"] {
        daemon.wait_for("the source is followed", || !daemon.try_kubectl(&["get", "deploy", "web"]).status.success());
        if args.starts_with("app") {
            std::fs::write(source.path().join("web.yaml"), WEB).unwrap();
        }
        let mut terminal = Terminal::run(&daemon.data, args, 60, 20);
        shows(&terminal, "shop: 1 of 2 ready");
        shows(&terminal, "Deployment default/web 0 of 2 pods ready");
        assert!(!terminal.interrupt(), "it was not ready");
        // Ctrl-C ends the waiting only.
        assert!(daemon.try_kubectl(&["get", "deploy", "web"]).status.success());
        let _ = std::fs::remove_file(source.path().join("web.yaml"));
    }
}

#[test]
fn what_is_drawn_keeps_to_a_terminal_that_is_resized() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let file = daemon.data.join("web.yaml");
    std::fs::write(&file, WEB).unwrap();
    for args in [format!("apply -f {}", file.display()), "status --watch".to_owned()] {
        let mut terminal = Terminal::run(&daemon.data, &args, 70, 20);
        shows(&terminal, "0 of 2 pods ready");
        let before = terminal.seen().chars().count();
        terminal.resize(40);
        // What was on its way is as wide as before.
        wait_until("what is drawn is narrower", || terminal.seen(), &mut || {
            let drawn: String = terminal.seen().chars().skip(before).collect();
            let lines: Vec<String> = match drawn.rsplit_once("\u{1b}[H") {
                Some((_, screen)) if screen.ends_with("\u{1b}[J") => screen.lines().map(plain).collect(),
                Some(_) => return false,
                // Progress fills its two lines to the margin.
                None => plain(&drawn)
                    .split('\r')
                    .rev()
                    .skip(1)
                    .filter(|lines| !lines.trim().is_empty())
                    .take(3)
                    .flat_map(halves)
                    .collect(),
            };
            let cut = lines.iter().any(|line| line.contains("0 of 2") || line.contains("0/2"))
                && !lines.iter().any(|line| line.contains("pods ready"));
            cut && lines.iter().all(|line| line.trim_end_matches('\r').chars().count() <= 40)
        });
        terminal.interrupt();
    }
}

fn halves(lines: &str) -> [String; 2] {
    let middle = lines.chars().count().div_ceil(2);
    [lines.chars().take(middle).collect(), lines.chars().skip(middle).collect()]
}

#[test]
fn who_waits_hears_that_the_daemon_is_gone() {
    let (hooked, stuck) = (tempfile::tempdir().unwrap(), stuck());
    let hook = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {argocd.argoproj.io/hook: PreSync}}\n\
                spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'c:1'}]}}}\n";
    std::fs::write(hooked.path().join("hook.yaml"), hook).unwrap();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\n";
    std::fs::write(hooked.path().join("later.yaml"), map).unwrap();
    let mut daemon = Daemon::start(&["--no-hosts"]);
    daemon.selkie(&["app", "add", &format!("hooked={}", hooked.path().display())]);
    daemon.selkie(&["app", "add", &format!("stuck={}", stuck.path().display())]);
    let mut staged = Terminal::run(&daemon.data, "app sync hooked --timeout 50s", 100, 20);
    shows(&staged, "PreSync: Job default/migrate");
    let mut waiting = Terminal::run(&daemon.data, "app sync stuck --timeout 15s", 100, 20);
    shows(&waiting, "Deployment default/web 0 of 2 pods ready");
    daemon.kill();
    assert!(!staged.wait() && staged.seen().contains("is the daemon up?"), "{}", staged.seen());
    assert!(!waiting.wait() && waiting.seen().contains("it cannot be read"), "{}", waiting.seen());
}
