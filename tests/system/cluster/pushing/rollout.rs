//! Pushes that start real containers: how fast, and what whoever pushed is told meanwhile.

use super::{Pusher, lines_with, signal, status};
use crate::setting::{Folder, Setting, edit};
use jiff::Timestamp;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr};
use std::time::Duration;

/// How many seconds more than Podman alone: what is promised of an optimized build. Others are several times
/// slower.
const MOST: f64 = if cfg!(debug_assertions) { 5.0 } else { 1.0 };

/// A daemon on real Podman, and a working copy with the example's worker in it.
fn start() -> (Setting, Pusher) {
    let setting = Setting::start(Folder::new(), &[]);
    let pusher = Pusher::start(&setting.daemon, "shop");
    let worker = setting.folder.example("hello", &[]).join("worker.yaml");
    pusher.write("worker.yaml", &std::fs::read_to_string(worker).unwrap());
    pusher.commit();
    (setting, pusher)
}

/// What a push that goes on says until `part` comes.
fn read_until(child: &mut Child, part: &str) -> BufReader<ChildStderr> {
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    loop {
        let mut line = Vec::new();
        let count = reader.read_until(b'\n', &mut line).unwrap();
        said.push_str(&String::from_utf8_lossy(&line));
        assert!(count > 0, "it ended without {part:?}:\n{said}");
        if said.contains(part) {
            return reader;
        }
    }
}

fn greet(pusher: &Pusher, old: &str, new: &str) {
    edit(&pusher.work().join("worker.yaml"), &format!("value: {old}\n"), &format!("value: {new}\n"));
    pusher.commit();
}

#[test]
fn a_rollout_is_shown_and_begins_within_a_second() {
    let (setting, pusher) = start();
    let said = pusher.push(&["selkie", "main"]);
    lines_with(
        &said,
        &["+ Deployment default/hello-worker", "remote: shop: Deployment default/hello-worker:", "is ready after"],
    );
    setting.wait_rolled_out("default", "hello-worker", 2);

    // Beside the same container by Podman alone, the best of a few, as others use the machine, too.
    let greetings = ["hello", "a", "b", "c"];
    let selkie = greetings.windows(2).map(|pair| {
        greet(&pusher, pair[0], pair[1]);
        let begun = Timestamp::now();
        let before = setting.folder.containers("{{.ID}}");
        let said = pusher.push(&["selkie", "main"]);
        lines_with(&said, &["~ Deployment default/hello-worker", "is ready after"]);
        let now = setting.folder.containers("{{.ID}}");
        let new = now.iter().filter(|id| !before.contains(id));
        new.map(|id| started(&setting, id).duration_since(begun)).min().expect("a new container")
    });
    let selkie = selkie.min().unwrap();
    let raw = (0..3).map(|n| {
        let (begun, name) = (Timestamp::now(), format!("raw-{n}"));
        let shell = ["sh", "-c", "while true; do sleep 5; done"];
        let arguments = [&["run", "--detach", "--name", &name, "localhost/selkie-demo:1"][..], &shell].concat();
        setting.folder.rig.storage.cli(&arguments);
        let took = started(&setting, &name).duration_since(begun);
        setting.folder.rig.storage.cli(&["rm", "--force", "--time", "0", &name]);
        took
    });
    let raw = raw.min().unwrap();
    let more = selkie - raw;
    eprintln!("push -> first new container: {selkie:?}, podman run: {raw:?}");
    assert!(more.as_secs_f64() <= MOST, "push -> first new container took {selkie:?}, podman run {raw:?}");
}

fn started(setting: &Setting, container: &str) -> Timestamp {
    let text = setting.folder.rig.storage.cli(&["inspect", "--format", "{{json .State.StartedAt}}", container]);
    text.trim().trim_matches('"').parse().unwrap_or_else(|error| panic!("{container}: {text}: {error}"))
}

#[test]
fn failing_containers_are_told_with_their_last_lines_and_ctrl_c_ends_the_telling_only() {
    let (setting, pusher) = start();
    pusher.push(&["selkie", "main"]);
    let old = setting.folder.containers("{{.ID}}");
    assert_eq!(old.len(), 2, "{old:?}");
    let script = "trap 'exit 0' TERM; while true; do echo \"$GREETING from $POD_NAME\"; sleep 5 & wait $!; done";
    // What the container writes stands in no manifest, and so in no diff.
    let failing = "echo no $(echo database) at db:5432; exit 3";
    edit(&pusher.work().join("worker.yaml"), script, failing);
    // A container that ends soon is ready until then, which may be seen, and would make room for itself.
    let (replicas, patient) = ("  replicas: 2\n", "  replicas: 2\n  minReadySeconds: 300\n");
    edit(&pusher.work().join("worker.yaml"), replicas, patient);
    let bad = pusher.commit();
    let mut child = pusher.pushing(&["selkie", "main"]);
    let rest = read_until(&mut child, "no database at db:5432");
    signal(&child, "-INT");
    assert!(!child.wait().unwrap().success());
    drop(rest);
    assert_eq!((status(&setting.daemon, "{.status.revision}"), pusher.tip()), (bad.clone(), bad));
    // The old pods are still there, whether the new one is just tried again or not; the next commit takes its place.
    let now = setting.folder.containers("{{.ID}}");
    assert!(old.iter().all(|id| now.contains(id)), "{old:?} {now:?}");
    edit(&pusher.work().join("worker.yaml"), failing, script);
    edit(&pusher.work().join("worker.yaml"), patient, replicas);
    greet(&pusher, "hello", "mended");
    lines_with(&pusher.push(&["selkie", "main"]), &["is ready after"]);
    setting.wait_rolled_out("default", "hello-worker", 2);
}

#[test]
fn a_container_that_ends_as_soon_as_it_has_begun_is_not_taken_for_ready() {
    let (setting, pusher) = start();
    pusher.push(&["selkie", "main"]);
    let script = "trap 'exit 0' TERM; while true; do echo \"$GREETING from $POD_NAME\"; sleep 5 & wait $!; done";
    let failing = "echo no $(echo database) at db:5432; exit 3";
    edit(&pusher.work().join("worker.yaml"), script, failing);
    pusher.commit();
    let mut child = pusher.pushing(&["selkie", "main"]);
    let rest = read_until(&mut child, "no database at db:5432");
    signal(&child, "-INT");
    child.wait().unwrap();
    drop(rest);
    edit(&pusher.work().join("worker.yaml"), failing, script);
    pusher.commit();
    lines_with(&pusher.push(&["selkie", "main"]), &["is ready after"]);
    setting.wait_rolled_out("default", "hello-worker", 2);
}

#[test]
fn a_rollout_goes_on_after_its_daemon_is_killed() {
    let (mut setting, pusher) = start();
    let first = pusher.git(&["rev-parse", "HEAD"]).trim().to_string();
    let mut child = pusher.pushing(&["selkie", "main"]);
    let rest = read_until(&mut child, "is accepted");
    setting.daemon.kill();
    drop(rest);
    child.wait().unwrap();
    setting.daemon.restart();
    setting.wait_rolled_out("default", "hello-worker", 2);
    assert_eq!(status(&setting.daemon, "{.status.revision}"), first);

    // At any line of a push: what was accepted is rolled out, what was not is not.
    for (n, pause) in [0, 60, 150].into_iter().enumerate() {
        pusher.connect(&setting.daemon);
        greet(&pusher, &if n == 0 { "hello".to_owned() } else { format!("g{}", n - 1) }, &format!("g{n}"));
        let mut child = pusher.pushing(&["selkie", "main"]);
        std::thread::park_timeout(Duration::from_millis(pause));
        setting.daemon.kill();
        child.wait().unwrap();
        setting.daemon.restart();
        pusher.connect(&setting.daemon);
        let tip = pusher.tip();
        setting.daemon.wait_for("the branch is in force", || status(&setting.daemon, "{.status.revision}") == tip);
        // A push that failed is one to be repeated.
        if tip != pusher.git(&["rev-parse", "HEAD"]).trim() {
            pusher.push(&["selkie", "main"]);
        }
    }
    setting.wait_rolled_out("default", "hello-worker", 2);
    setting.daemon.wait_for("only the last one runs", || {
        let logs = setting.daemon.try_kubectl(&["logs", "-l", "app=hello-worker", "--tail", "1"]);
        let said = String::from_utf8_lossy(&logs.stdout).into_owned();
        logs.status.success() && said.lines().count() == 2 && said.lines().all(|line| line.starts_with("g2 "))
    });
}
