//! A watched directory: edits roll, deletions prune, drift is repaired, restarts adopt.

use crate::ports;
use crate::setting::{Folder, Setting, edit};

#[test]
fn a_directory_becomes_containers_and_stays_what_it_says() {
    let folder = Folder::new();
    let port = ports::free();
    let example = folder.example("hello", &[("hostPort: 8080", &format!("hostPort: {port}"))]);
    let app = format!("hello={}", example.display());
    let mut setting = Setting::start(folder, &["--app", &app]);
    setting.wait_rolled_out("default", "hello-web", 1);
    setting.wait_rolled_out("default", "hello-worker", 2);
    let address = format!("http://127.0.0.1:{port}/");
    let page = || crate::daemon::run("curl", &["-fsS", "--max-time", "30", &address]);
    assert!(page().contains("Hello from selkie"));
    let nodes = setting.daemon.kubectl(&["get", "deploy,rs,pods,nodes", "-o", "wide"]);
    assert!(nodes.contains("podman://") && nodes.contains("deployment.apps/hello-worker   2/2"), "{nodes}");
    assert!(setting.daemon.log().contains("+ "), "the sync prints what it creates:\n{}", setting.daemon.log());

    // An edited ConfigMap reaches the running container.
    edit(&example.join("page.yaml"), "Hello from selkie</h1>", "Edited</h1>");
    setting.daemon.wait_for("the page changes", || page().contains("Edited"));

    // An edited template rolls.
    let before = setting.daemon.value(&["rs", "-l", "app=hello-worker"], "{.items[*].metadata.name}");
    edit(&example.join("worker.yaml"), "value: hello", "value: good-morning");
    setting.daemon.wait_for("the new pods speak", || {
        let logs = setting.daemon.try_kubectl(&["logs", "-l", "app=hello-worker", "--tail", "1"]);
        let text = String::from_utf8_lossy(&logs.stdout).into_owned();
        text.lines().count() == 2 && text.lines().all(|line| line.starts_with("good-morning"))
    });
    setting.wait_rolled_out("default", "hello-worker", 2);
    let after = setting.daemon.value(&["rs", "-l", "app=hello-worker"], "{.items[*].metadata.name}");
    assert_eq!((before.split(' ').count(), after.split(' ').count()), (1, 2), "{before} -> {after}");

    // A container removed behind selkie's back comes back, and the daemon says so.
    let victim = setting.folder.containers("{{.ID}}").swap_remove(0);
    setting.folder.rig.storage.cli(&["rm", "--force", "--time", "0", &victim]);
    setting.daemon.wait_for("the container is replaced", || {
        let now = setting.folder.containers("{{.ID}}");
        now.len() == 3 && !now.contains(&victim)
    });
    let drift = format!("{} was removed by somebody else", &victim[..12]);
    setting.daemon.wait_for("the daemon says so", || setting.daemon.log().contains(&drift));
    setting.wait_rolled_out("default", "hello-worker", 2);
    setting.wait_rolled_out("default", "hello-web", 1);

    // A daemon that dies leaves the containers alone, and its successor adopts them.
    let running = setting.folder.containers("{{.ID}} {{.Names}}");
    setting.daemon.kill();
    assert_eq!(setting.folder.containers("{{.ID}} {{.Names}}"), running);
    setting.daemon.restart();
    setting.wait_rolled_out("default", "hello-worker", 2);
    setting.wait_rolled_out("default", "hello-web", 1);
    assert_eq!(setting.folder.containers("{{.ID}} {{.Names}}"), running, "nothing is restarted");

    // A deleted file takes its objects and containers with it.
    std::fs::remove_file(example.join("worker.yaml")).unwrap();
    setting.daemon.wait_for("the worker is pruned", || setting.folder.containers("{{.ID}}").len() == 1);
    assert!(!setting.daemon.try_kubectl(&["get", "deploy", "hello-worker"]).status.success());

    // An empty directory does not.
    // Both go at once, as far as the daemon can see: one of two may be pruned.
    let pid = setting.daemon.pid().to_string();
    crate::daemon::run("kill", &["-STOP", &pid]);
    for file in ["web.yaml", "page.yaml"] {
        std::fs::remove_file(example.join(file)).unwrap();
    }
    crate::daemon::run("kill", &["-CONT", &pid]);
    setting
        .daemon
        .wait_for("the guard speaks", || setting.daemon.log().contains("the source is empty, it had 2 objects"));
    assert_eq!(setting.folder.containers("{{.ID}}").len(), 1, "nothing is pruned");
    setting.daemon.wait_for("the status says so", || {
        setting.daemon.kubectl(&["get", "applications", "-n", "selkie-system"]).contains("PruneHeld")
    });

    let took = setting.daemon.stop();
    assert!(took.as_secs() < 5, "it stopped after {took:?}");
    assert_eq!(setting.folder.containers("{{.ID}}").len(), 1, "the containers stay");
}
