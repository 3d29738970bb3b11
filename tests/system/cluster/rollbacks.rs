//! Rollouts that fail on real Podman, and are taken back.

use crate::daemon::Daemon;
use crate::setting::{Folder, Setting};
use selkie::kubelet::runtime::ContainerRuntime;
use std::path::Path;

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: localhost/selkie-demo:1
          command: [sh, -c, exec sleep 3600]
          resources: {limits: {memory: 16Mi}}
";

const APPLICATION: [&str; 4] = ["application", "shop", "-n", "selkie-system"];

/// Commits the manifest with a change, and waits until that is taken back for these reasons.
fn fails(daemon: &Daemon, manifest: &Path, old: &str, new: &str, causes: &[&str]) {
    let container = "{.spec.template.spec.containers[0]}";
    let good = daemon.value(&["deploy", "web"], container);
    let before = daemon.value(&APPLICATION, "{.status.quarantine.revision}");
    let beside = manifest.with_extension("swp");
    assert!(WEB.contains(old));
    std::fs::write(&beside, WEB.replace(old, new)).expect("a copy");
    std::fs::rename(&beside, manifest).expect("the rename");
    daemon.wait_for(&format!("the cause of {new:?} is kept: {causes:?}"), || {
        let kept = daemon.value(&APPLICATION, "{.status.quarantine}");
        daemon.value(&APPLICATION, "{.status.quarantine.revision}") != before
            && causes.iter().all(|cause| kept.contains(cause))
    });
    daemon.wait_for("what was good is in force again, and ready", || {
        let ready = daemon.value(&["deploy", "web"], "{.status.readyReplicas}{.status.unavailableReplicas}");
        daemon.value(&["deploy", "web"], container) == good && ready == "1"
    });
}

#[test]
fn commits_whose_containers_fail_are_taken_back_with_the_cause() {
    let folder = Folder::new();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).expect("a folder");
    let manifest = source.join("web.yaml");
    std::fs::write(&manifest, WEB).expect("a manifest");
    let setting = Setting::start(folder, &[]);
    let daemon = &setting.daemon;
    daemon.selkie(&["app", "add", &format!("shop={}", source.display()), "--rollback-on-failure"]);
    daemon.selkie(&["app", "sync", "shop"]);
    daemon.wait_for("it counts as ready", || daemon.selkie(&["app", "history", "shop"]).contains("ready"));

    let crash = ["CrashLoopBackOff: exited with code 3", "no database"];
    fails(daemon, &manifest, "exec sleep 3600", "'echo no database; exit 3'", &crash);
    let history = daemon.selkie(&["app", "history", "shop"]);
    assert!(history.contains("automatic rollback to 1") && history.contains("failed"), "{history}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let info = runtime.block_on(async { setting.folder.rig.podman("rollbacks").await.info().await });
    if info.expect("Podman").enforces("memory") {
        fails(daemon, &manifest, "exec sleep 3600", "tail /dev/zero", &["OOMKilled"]);
    }
    fails(daemon, &manifest, "selkie-demo:1", "selkie-demo:none", &["ImagePullBackOff", "localhost/selkie-demo:none"]);
    let patch = "{\"spec\":{\"readyTimeout\":\"12s\"}}";
    daemon.kubectl(&[&["patch"][..], &APPLICATION, &["--type=merge", "-p", patch]].concat());
    let probe = "readinessProbe: {exec: {command: ['false']}, periodSeconds: 1}";
    let probed = format!("{probe}\n          resources:");
    fails(daemon, &manifest, "resources:", &probed, &["not ready after", "Unhealthy: Readiness probe failed"]);

    daemon.wait_for("Events tell it", || {
        let events = daemon.kubectl(&["get", "events", "-n", "selkie-system"]);
        let told = |cause: &str| events.lines().any(|line| line.contains("RolledBack") && line.contains(cause));
        ["exited with code 3", "ImagePullBackOff", "Readiness probe failed"].into_iter().all(told)
    });
    // It is left alone until somebody insists.
    let again = daemon.try_selkie(&["app", "sync", "shop"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"), "{again:?}");
}
