//! `examples/workloads` and `examples/database`, as they are: each does what its first lines say.

use crate::setting::{Folder, Setting};

#[test]
fn the_examples_of_workloads_do_what_they_say() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let folder = setting.folder.example("workloads", &[]);
    daemon.selkie(&["apply", "-f", folder.to_str().expect("a path"), "--timeout", "60s"]);
    daemon.kubectl(&["exec", "deploy/worker", "--", "touch", "/tmp/busy"]);
    // Half a minute later there is another worker, as `measuring` sees.
    daemon.wait_for("the autoscaler has found its workers", || {
        let able = "{.status.currentReplicas} {.status.conditions[?(@.type=='AbleToScale')].status}";
        daemon.value(&["hpa", "worker"], able) == "1 True"
    });
    daemon.wait_for("the journal is begun", || {
        let journal = daemon.try_kubectl(&["exec", "journal-0", "--", "cat", "/data/journal"]);
        journal.stdout.starts_with(b"journal-0 starts after 0 lines\n")
    });
    daemon.wait_for("the host's load is told", || daemon.kubectl(&["logs", "ds/watcher"]).starts_with("one "));
    daemon.kubectl(&["create", "job", "--from=cronjob/report", "now"]);
    daemon.kubectl(&["wait", "--for=condition=Complete", "job/now", "--timeout=60s"]);
    daemon.kubectl(&["delete", "pod", "journal-0"]);
    daemon.wait_for("the next one goes on in the same journal", || {
        let said =
            daemon.try_kubectl(&["exec", "journal-0", "--", "grep", "-c", "starts after [1-9]", "/data/journal"]);
        String::from_utf8_lossy(&said.stdout).trim() == "1"
    });
}

#[test]
fn the_example_of_a_database_keeps_what_it_was_told() {
    let folder = Folder::new();
    folder.rig.storage.build_image("database");
    let setting = Setting::start(folder, &[]);
    let daemon = &setting.daemon;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/database");
    let ready = || daemon.selkie(&["apply", "-f", example, "--timeout", "60s"]);
    assert!(!ready().contains("example-only"), "the password is not shown");
    let redis = |args: &[&str]| {
        let mut all = vec!["exec", "database-0", "--", "redis-cli", "-e"];
        all.extend(args);
        daemon.kubectl(&all).trim().to_owned()
    };
    assert_eq!(redis(&["set", "greeting", "hello"]), "OK");
    assert_eq!(redis(&["config", "get", "dir"]), "dir\n/data");
    let first = daemon.value(&["pod", "database-0"], "{.metadata.uid}");
    // A second is all the time it gets: what was acknowledged is there all the same.
    daemon.kubectl(&["delete", "pod", "database-0", "--grace-period=1"]);
    daemon.wait_for("its successor is ready", || {
        let ready = "{.metadata.uid} {.status.conditions[?(@.type=='Ready')].status}";
        let found = daemon.value(&["pod", "database-0", "--ignore-not-found"], ready);
        found.ends_with(" True") && !found.starts_with(&first)
    });
    assert_eq!(redis(&["get", "greeting"]), "hello");
    assert_eq!(daemon.value(&["pvc"], "{.items[*].metadata.name}"), "data-database-0");
}
