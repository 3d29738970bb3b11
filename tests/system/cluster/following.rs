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
    std::fs::write(&file, WEB).unwrap();
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
    let waiting = daemon.try_selkie(&["wait", "pod/none", "--timeout=1s"]);
    let said = String::from_utf8_lossy(&waiting.stderr).into_owned();
    assert!(!waiting.status.success() && said.starts_with("Pod default/none: not there\n"), "{said}");
}
