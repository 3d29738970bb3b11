//! kill -9 at random moments of a rolling update: nothing is lost, nothing runs twice.

use crate::setting::{Folder, Setting, edit};
use std::time::Duration;

#[test]
fn three_kills_during_a_rolling_update_lose_and_duplicate_nothing() {
    let folder = Folder::new();
    let example = folder.example("hello", &[("replicas: 2", "replicas: 4")]);
    std::fs::remove_file(example.join("web.yaml")).unwrap();
    let app = format!("hello={}", example.display());
    let mut setting = Setting::start(folder, &["--app", &app]);
    setting.wait_rolled_out("default", "hello-worker", 4);

    edit(&example.join("worker.yaml"), "value: hello", "value: updated");
    // Not chosen by chance, so that a failure can be repeated; spread over the update all the same.
    for pause in [150, 700, 1900] {
        std::thread::park_timeout(Duration::from_millis(pause));
        setting.daemon.kill();
        setting.daemon.restart();
    }
    setting.wait_rolled_out("default", "hello-worker", 4);
    setting.daemon.wait_for("exactly the new containers run", || {
        let containers = setting.folder.containers("{{.ID}}");
        let pods = setting.daemon.value(&["pods", "-l", "app=hello-worker"], "{.items[*].metadata.name}");
        containers.len() == 4 && pods.split_whitespace().count() == 4
    });
    let all = setting
        .daemon
        .value(&["pods", "-l", "app=hello-worker"], "{.items[*].status.containerStatuses[*].restartCount}");
    assert_eq!(all, "0 0 0 0", "no container was restarted");
    let names = setting.folder.containers("{{.Label \"io.selkie.pod.name\"}}");
    let mut unique = names.clone();
    unique.dedup();
    assert_eq!(names, unique, "one container a pod");
    let logs = setting.daemon.kubectl(&["logs", "-l", "app=hello-worker", "--tail", "1"]);
    assert!(logs.lines().all(|line| line.starts_with("updated")), "{logs}");
}
