//! Pushes that are cut off in the middle: the last good state stays, and the next push goes through.

use super::refusing::noise;
use super::{Pusher, greeting, repository, signal, status};
use crate::daemon::{Daemon, run};
use std::process::Child;

/// Quarantines and half packs.
fn leftovers(daemon: &Daemon) -> String {
    run("find", &[&repository(daemon).display().to_string(), "(", "-name", "tmp_*", "-o", "-name", "*.lock", ")"])
}

/// Begins a push that takes a while, and returns in its middle.
fn begin(daemon: &Daemon, pusher: &Pusher) -> Child {
    pusher.write("ballast", &noise(32 << 20));
    pusher.greet("second");
    let mut child = pusher.pushing(&["selkie", "main"]);
    daemon.wait_for("the push is under way", || {
        assert!(child.try_wait().unwrap().is_none(), "it was over before");
        leftovers(daemon).contains("tmp_pack")
    });
    child
}

#[test]
fn a_daemon_that_is_killed_keeps_what_was_good() {
    let mut daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let first = pusher.greet("first");
    pusher.push(&["selkie", "main"]);
    let child = begin(&daemon, &pusher);
    daemon.kill();
    let ended = child.wait_with_output().unwrap();
    assert!(!ended.status.success());
    // What the daemon's git was doing then ends with it.
    std::fs::write(repository_of(&daemon, &first).join("refs/heads/main.lock"), "").unwrap();
    daemon.restart();
    pusher.connect(&daemon);
    assert_eq!(
        (greeting(&daemon), pusher.tip(), status(&daemon, "{.status.revision}")),
        ("first".into(), first.clone(), first)
    );
    daemon.wait_for("nothing of it is left", || leftovers(&daemon).is_empty());
    pusher.push(&["selkie", "main"]);
    assert_eq!(greeting(&daemon), "second");
}

/// The only repository there is, without a daemon to ask.
fn repository_of(daemon: &Daemon, commit: &str) -> std::path::PathBuf {
    let all = std::fs::read_dir(daemon.data.join("git")).unwrap().map(|entry| entry.unwrap().path());
    let mut git = all.filter(|path| path.extension().is_some_and(|extension| extension == "git"));
    let found = git.next().unwrap();
    assert_eq!(run("git", &["-C", &found.display().to_string(), "rev-parse", "main"]).trim(), commit);
    found
}

#[test]
fn a_push_that_is_killed_changes_nothing() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let first = pusher.greet("first");
    pusher.push(&["selkie", "main"]);
    let mut child = begin(&daemon, &pusher);
    signal(&child, "-KILL");
    child.wait().unwrap();
    daemon.wait_for("nothing of it is left", || leftovers(&daemon).is_empty());
    assert_eq!((greeting(&daemon), pusher.tip()), ("first".into(), first));
    pusher.push(&["selkie", "main"]);
    assert_eq!(greeting(&daemon), "second");
}

#[test]
fn two_pushes_at_once_are_one_after_the_other() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    pusher.push(&["selkie", "main"]);
    let pushers: Vec<Pusher> = (0..3)
        .map(|n| {
            let other = Pusher::of(&daemon);
            other.git(&["pull", "--quiet", "selkie", "main"]);
            other.greet(&format!("from {n}"));
            other
        })
        .collect();
    let children: Vec<Child> = pushers.iter().map(|pusher| pusher.pushing(&["selkie", "main"])).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let won: Vec<usize> = (0..3).filter(|n| outputs[*n].status.success()).collect();
    let said: Vec<_> = outputs.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    assert_eq!(won.len(), 1, "{said:#?}");
    for lost in (0..3).filter(|n| !won.contains(n)) {
        assert!(
            ["somebody else pushed", "fetch first", "reference already"].iter().any(|why| said[lost].contains(why)),
            "{}",
            said[lost]
        );
    }
    assert_eq!(greeting(&daemon), format!("from {}", won[0]));
}
