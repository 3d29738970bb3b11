//! `selkie app` and `selkie undo` against a real daemon: with hollow hosts, and with Podman where
//! containers have to crash.

use crate::daemon::{Daemon, selkie};
use crate::setting::{Folder, Setting};
use serde_json::Value;
use std::path::Path;

fn web(replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n        - {{name: web, image: 'web:1'}}\n"
    )
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: '1'}}\n")
}

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).expect("a manifest");
}

fn maps(daemon: &Daemon) -> String {
    daemon.value(&["configmaps", "-l", "selkie.dev/application=shop"], "{.items[*].metadata.name}")
}

#[test]
fn an_application_is_added_synced_suspended_rolled_back_and_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "web.yaml", &web(2));
    write(folder.path(), "a.yaml", &map("a"));
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    let source = format!("shop={}", folder.path().display());
    let none = daemon.try_selkie(&["app", "sync", "shop"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains("no application \"shop\"") && said.contains("there are none"), "{said}");

    assert_eq!(daemon.selkie(&["app", "add", &source]), "application.selkie.dev/shop created\n");
    let again = daemon.try_selkie(&["app", "add", &source]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already"), "{again:?}");
    daemon.selkie(&["app", "sync", "shop"]);
    assert_eq!(daemon.value(&["deploy", "web"], "{.status.readyReplicas}"), "2");
    assert_eq!(daemon.selkie(&["app", "list", "-o", "name"]), "application.selkie.dev/shop\n");
    let listed = daemon.selkie(&["app", "list"]);
    assert!(listed.contains("shop") && listed.contains("Ready"), "{listed}");

    // Suspended: a change of the source does nothing, and a sync says what to do.
    assert_eq!(daemon.selkie(&["app", "suspend", "shop"]), "application.selkie.dev/shop suspended\n");
    write(folder.path(), "b.yaml", &map("b"));
    std::fs::remove_file(folder.path().join("a.yaml")).expect("a manifest");
    let refused = daemon.try_selkie(&["app", "sync", "shop"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("selkie app resume shop"), "{said}");
    assert_eq!(maps(&daemon), "a");
    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("the source is followed again", || maps(&daemon) == "b");

    // What came of a revision is known a moment after it is in force.
    daemon.wait_for("the history tells both", || {
        let told = daemon.selkie(&["app", "history", "shop", "-o", "json"]);
        let history: Value = serde_json::from_str(&told).expect("JSON");
        history.as_array().map(Vec::len) == Some(2) && history[0]["result"] == "ready"
    });
    let diff = daemon.try_selkie(&["app", "diff", "shop", "1"]);
    let text = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert_eq!(diff.status.code(), Some(1));
    assert!(text.contains("+ ConfigMap default/a") && text.contains("- ConfigMap default/b"), "{text}");
    let between = daemon.try_selkie(&["app", "diff", "shop", "1..2"]);
    let text = String::from_utf8_lossy(&between.stdout).into_owned();
    assert!(text.contains("- ConfigMap default/a") && text.contains("+ ConfigMap default/b"), "{text}");

    let back = daemon.try_selkie(&["app", "rollback", "shop", "1"]);
    let said = String::from_utf8_lossy(&back.stderr).into_owned();
    assert!(back.status.success() && said.contains("shop is suspended: rolled back to revision 1"), "{said}");
    assert_eq!(maps(&daemon), "a");
    assert_eq!(daemon.try_selkie(&["app", "diff", "shop", "1"]).status.code(), Some(0));
    let listed = daemon.selkie(&["app", "list"]);
    assert!(listed.contains("Suspended") && listed.contains("rolled back to revision 1"), "{listed}");
    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("the source is followed again", || maps(&daemon) == "b");
    let missing = daemon.try_selkie(&["app", "rollback", "shop", "77"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no revision 77; it has 1, 2, 3, 4"), "{missing:?}");
}

#[test]
fn what_the_last_sync_removed_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.yaml", &map("a"));
    write(folder.path(), "b.yaml", &map("b"));
    let mut daemon = Daemon::start(&["--no-hosts", "--app", &format!("shop={}", folder.path().display())]);
    daemon.wait_for("both are there", || maps(&daemon) == "a b");
    std::fs::remove_file(folder.path().join("b.yaml")).expect("a manifest");
    daemon.wait_for("one was removed", || maps(&daemon) == "a");
    daemon.wait_for("the history tells it", || daemon.selkie(&["app", "history", "shop"]).contains("+0 ~0 -1"));
    // What was removed is known to the cluster, not to the process.
    daemon.stop();
    let offline = selkie(&daemon.data, &["app", "history", "shop"]);
    assert!(String::from_utf8_lossy(&offline.stdout).contains("+0 ~0 -1"), "{offline:?}");
    daemon.restart();
    let undone = daemon.try_selkie(&["undo", "shop"]);
    let said = String::from_utf8_lossy(&undone.stderr).into_owned();
    assert!(undone.status.success() && said.contains("shop is suspended: made 1 object again"), "{said}");
    assert_eq!(maps(&daemon), "a b");
    daemon.kubectl(&["delete", "application", "shop", "-n", "selkie-system", "--timeout=60s"]);
    daemon.wait_for("its history is gone with it", || {
        daemon.value(&["secrets", "-n", "selkie-system", "-l", "selkie.dev/history-of=shop"], "{.items}") == "[]"
    });
}

/// What is measured of pods is served like objects, and is nobody's.
#[test]
fn a_namespace_goes_with_its_pods_although_they_are_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "kept.yaml", &map("kept"));
    write(folder.path(), "shop.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    let web = web(2).replace("{name: web}\nspec:\n  replicas", "{name: web, namespace: shop}\nspec:\n  replicas");
    write(folder.path(), "web.yaml", &web);
    let daemon = Daemon::start(&["--hollow-hosts", "1", "--app", &format!("shop={}", folder.path().display())]);
    daemon.wait_for("the pods are measured", || {
        let list = daemon.kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"]);
        let list: Value = serde_json::from_str(&list).expect("JSON");
        list["items"].as_array().is_some_and(|items| items.len() == 2)
    });
    daemon.selkie(&["app", "suspend", "shop"]);
    std::fs::remove_file(folder.path().join("shop.yaml")).expect("a manifest");
    std::fs::remove_file(folder.path().join("web.yaml")).expect("a manifest");
    let plan = daemon.selkie(&["plan", "--app", "shop"]);
    assert!(plan.contains("- Namespace shop") && !plan.contains("stays"), "{plan}");
    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("it is gone with all that was in it", || {
        !daemon.try_kubectl(&["get", "namespace", "shop"]).status.success()
    });
    assert_eq!(maps(&daemon), "kept");
}

fn hook(name: &str, phase: &str, script: &str) -> String {
    let container = format!("{{name: c, image: 'localhost/selkie-demo:1', command: [sh, -c, '{script}']}}");
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{argocd.argoproj.io/hook: {phase}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - {container}\n"
    )
}

#[test]
fn hooks_and_waves_keep_their_order() {
    let folder = Folder::new();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).expect("a folder");
    let works = web(1).replace("'web:1'", "'localhost/selkie-demo:1', command: [sh, -c, 'exec sleep 3600']");
    write(&source, "web.yaml", &works);
    write(
        &source,
        "late.yaml",
        &map("late").replace("{name: late}", "{name: late, annotations: {selkie.dev/sync-wave: '1'}}"),
    );
    write(&source, "migrate.yaml", &hook("migrate", "PreSync", "echo migrated"));
    write(&source, "check.yaml", &hook("check", "PostSync", "echo checked"));
    write(&source, "save.yaml", &hook("save", "PreDelete", "echo saved"));
    write(&source, "tidy.yaml", &hook("tidy", "PostDelete", "echo tidied"));
    let setting = Setting::start(folder, &[]);
    let daemon = &setting.daemon;
    daemon.selkie(&["app", "add", &format!("shop={}", source.display())]);
    let synced = daemon.try_selkie(&["app", "sync", "shop"]);
    assert!(synced.status.success(), "{synced:?}");
    let log = daemon.log();
    let places: Vec<_> =
        ["PreSync: Job default/migrate", "wave 0: Deployment default/web", "wave 1: ", "PostSync: Job "]
            .iter()
            .map(|line| log.find(line).unwrap_or_else(|| panic!("no {line}: {log}")))
            .collect();
    assert!(places.is_sorted(), "{log}");
    let time = |what: &[&str], path: &str| daemon.value(what, path);
    let migrated = time(&["job", "migrate"], "{.status.completionTime}");
    let web = time(&["deploy", "web"], "{.metadata.creationTimestamp}");
    let checked = time(&["job", "check"], "{.metadata.creationTimestamp}");
    assert!(!migrated.is_empty() && migrated <= web && web <= checked, "{migrated} {web} {checked}");
    assert_eq!(daemon.value(&["job", "check"], "{.status.succeeded}"), "1");

    // One-shots keep the order, too: a hook that fails leaves the rest as it is, and says why.
    let broken =
        folder_of(&[("a.yaml", &map("never")), ("hook.yaml", &hook("broken", "PreSync", "echo no schema; exit 3"))]);
    let refused = daemon.try_selkie(&["apply", "-f", &broken.path().display().to_string()]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("Job default/broken") && said.contains("no schema"), "{said}");
    let there = daemon.value(&["configmaps", "--field-selector", "metadata.name=never"], "{.items}");
    assert_eq!(there, "[]");
    let planned = daemon.selkie(&["plan", "-f", &broken.path().display().to_string()]);
    assert!(planned.contains("> PreSync: Job default/broken"), "{planned}");
    assert!(planned.contains("Job default/broken: 1 created"), "{planned}");
    assert!(planned.contains("each stage begins when the one before is ready"), "{planned}");

    // And so does the end: what is to be saved is saved before anything goes.
    daemon.kubectl(&["delete", "application", "shop", "-n", "selkie-system", "--timeout=60s"]);
    let log = daemon.log();
    let places = ["PreDelete: Job default/save", "PostDelete: Job default/tidy"].map(|line| log.find(line));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{log}");
    assert_eq!(daemon.value(&["job", "tidy"], "{.status.succeeded}"), "1");
    assert!(!daemon.try_kubectl(&["get", "deploy", "web"]).status.success());
    assert!(!daemon.try_kubectl(&["get", "job", "save"]).status.success(), "it went with the objects");
}

fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        write(folder.path(), name, content);
    }
    folder
}
