//! Plans against a real daemon with hollow hosts: what they say, and what then happens.

use crate::daemon::{Daemon, run, selkie, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn web(replicas: u32, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n        - {{name: web, image: '{image}'}}\n"
    )
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, content).expect("a manifest");
    file
}

/// Hosts of the running pods of `web` that have this image, sorted.
fn hosts(daemon: &Daemon, image: &str) -> Vec<String> {
    let listed = daemon.value(
        &["pods", "-l", "app=web", "--field-selector", "status.phase=Running"],
        "{range .items[*]}{.spec.containers[0].image} {.spec.nodeName}{\"\\n\"}{end}",
    );
    let mut hosts: Vec<String> =
        listed.lines().filter_map(|line| line.strip_prefix(&format!("{image} "))).map(str::to_owned).collect();
    hosts.sort();
    hosts
}

#[test]
fn a_plan_names_hosts_and_restarts_and_an_apply_does_just_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "3"]);
    let file = write(folder.path(), "web.yaml", &web(3, "web:1"));
    let path = file.display().to_string();
    let plan = daemon.selkie(&["plan", "-f", &path]);
    assert!(plan.contains("+ Deployment default/web") && plan.contains("3 created"), "{plan}");
    assert!(plan.ends_with("Plan: 1 to add, 0 to change, 0 to delete; 0 pods to restart.\n"), "{plan}");
    assert!(!daemon.try_kubectl(&["get", "deploy", "web"]).status.success(), "a plan changes nothing");
    daemon.selkie(&["apply", "-f", &path]);

    std::fs::write(&file, web(3, "web:2")).expect("a change");
    let coded = daemon.try_selkie(&["plan", "-f", &path, "--detailed-exitcode", "-o", "json"]);
    assert_eq!(coded.status.code(), Some(2));
    let plan: Value = serde_json::from_slice(&coded.stdout).expect("JSON");
    assert_eq!((plan["schema"].as_str(), plan["totals"]["restarts"].as_u64()), (Some("selkie.dev/plan/v1"), Some(3)));
    let found = &plan["consequences"];
    assert_eq!(found["settled"], true, "{plan:#}");
    assert_eq!(found["pulls"][0]["image"], "web:2");
    let steps = found["workloads"][0]["steps"].as_array().expect("steps");
    let created = steps.iter().filter(|step| step["action"] == "create");
    let mut expected: Vec<String> = created.map(|step| step["host"].as_str().expect("a host").to_owned()).collect();
    expected.sort();
    let mark = daemon.value(&["pods", "-l", "app=web"], "{.items[*].metadata.uid}");

    let saved = folder.path().join("plan.json").display().to_string();
    daemon.selkie(&["plan", "-f", &path, "--out", &saved]);
    daemon.selkie(&["apply", &saved]);
    daemon.wait_for("the new pods alone run", || {
        hosts(&daemon, "web:2").len() == 3 && hosts(&daemon, "web:1").is_empty()
    });
    assert_eq!(hosts(&daemon, "web:2"), expected, "they run where the plan said");
    let now = daemon.value(&["pods", "-l", "app=web"], "{.items[*].metadata.uid}");
    assert!(mark.split(' ').all(|uid| !now.contains(uid)), "all three were replaced");
    let twice = daemon.try_selkie(&["apply", &saved]);
    let said = String::from_utf8_lossy(&twice.stderr);
    assert!(!twice.status.success() && said.contains("was applied already, nothing was changed"), "{said}");
    assert!(!said.contains("no longer holds") && !said.contains("pods of"), "{said}");
    let nothing = daemon.try_selkie(&["plan", "-f", &path, "--detailed-exitcode"]);
    assert_eq!(nothing.status.code(), Some(0), "{}", String::from_utf8_lossy(&nothing.stdout));
}

#[test]
fn a_saved_plan_is_refused_when_something_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    let path = write(folder.path(), "web.yaml", &web(1, "web:1")).display().to_string();
    daemon.selkie(&["apply", "-f", &path]);
    std::fs::write(&path, web(2, "web:2")).expect("a change");
    let saved = folder.path().join("plan.json").display().to_string();
    daemon.selkie(&["plan", "-f", &path, "--force-conflicts", "--out", &saved]);
    daemon.kubectl(&["set", "image", "deployment/web", "web=web:9"]);
    daemon.kubectl(&["cordon", "hollow-1"]);
    let refused = daemon.try_selkie(&["apply", &saved]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("no longer holds") && said.contains("Deployment default/web"), "{said}");
    assert!(said.contains("host hollow-1 was Ready") && said.contains("cordoned"), "{said}");
    assert_eq!(daemon.value(&["deploy", "web"], "{.spec.template.spec.containers[0].image}"), "web:9");
}

#[test]
fn what_cannot_run_is_told_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    let large = web(2, "web:1").replace("'web:1'", "'web:1', resources: {requests: {cpu: 64}}");
    let reads = web(1, "web:1").replace("name: web}", "name: reads}").replace("app: web", "app: reads");
    let reads = reads.replace("'web:1'", "'web:1', envFrom: [{secretRef: {name: absent}}]");
    write(folder.path(), "large.yaml", &large);
    write(folder.path(), "reads.yaml", &reads);
    let plan = daemon.selkie(&["plan", "-f", &folder.path().display().to_string()]);
    assert!(plan.contains("2 pods: Unschedulable: 0/2 nodes are available: 2 Insufficient cpu."), "{plan}");
    assert!(plan.contains("CreateContainerConfigError: secret \"absent\" not found"), "{plan}");
    let comment = daemon.selkie(&["plan", "-f", &folder.path().display().to_string(), "-o", "markdown"]);
    assert!(comment.contains("<details><summary>What the cluster does</summary>") && comment.contains("> [!WARNING]"));
}

#[test]
fn a_snapshot_stands_for_the_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    let key = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {token: s3cret}\n";
    write(folder.path(), "key.yaml", key);
    write(folder.path(), "web.yaml", &web(2, "web:1"));
    let manifests = folder.path().display().to_string();
    daemon.selkie(&["apply", "-f", &manifests]);
    let outside = tempfile::tempdir().expect("a folder");
    let file = outside.path().join("cluster.json").display().to_string();
    daemon.selkie(&["snapshot", "export", "--redacted", &file]);
    let exported = std::fs::read_to_string(&file).expect("the snapshot");
    assert!(!exported.contains("s3cret") && !exported.contains("czNjcmV0"), "the Secret is in it");
    drop(daemon);

    let plan = |args: &[&str]| {
        let mut all = vec!["plan", "-f", &manifests, "--snapshot", &file];
        all.extend(args);
        selkie(&outside.path().join("none"), &all)
    };
    let same = text("plan", &plan(&[]));
    assert!(same.contains("Plan: 0 to add, 0 to change, 0 to delete; 0 pods to restart."), "{same}");
    write(folder.path(), "web.yaml", &web(2, "web:2"));
    write(folder.path(), "key.yaml", &key.replace("s3cret", "other"));
    let changed = plan(&["--detailed-exitcode"]);
    let said = String::from_utf8_lossy(&changed.stdout);
    assert_eq!(changed.status.code(), Some(2), "{said}");
    assert!(said.contains("Plan: 0 to add, 2 to change, 0 to delete; 2 pods to restart."), "{said}");
    assert!(said.contains("hollow-0") && said.contains("Assumed:"), "{said}");
    assert!(!outside.path().join("none").exists(), "nothing was made");
}

#[test]
fn another_revision_of_a_repository_is_planned() {
    let folder = tempfile::tempdir().expect("a folder");
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git")
            .args(["-C", &folder.path().display().to_string(), "-c", "user.name=t", "-c", "user.email=t@t"])
            .args(args)
            .output()
            .expect("git");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    std::fs::create_dir(folder.path().join("deploy")).expect("a folder");
    write(folder.path(), "deploy/web.yaml", &web(1, "web:1"));
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    git(&["checkout", "-q", "-b", "next"]);
    write(folder.path(), "deploy/web.yaml", &web(2, "web:2"));
    git(&["commit", "-qam", "two"]);
    git(&["checkout", "-q", "main"]);
    let source = format!("web=git+{}#main:deploy", folder.path().display());
    let daemon = Daemon::start(&["--hollow-hosts", "1", "--app", &source]);
    daemon.wait_for("the pod runs", || hosts(&daemon, "web:1").len() == 1);
    let settled = daemon.selkie(&["plan", "--app", "web"]);
    assert!(settled.contains("Plan: 0 to add, 0 to change, 0 to delete"), "{settled}");
    let next = daemon.selkie(&["plan", "--app", "web", "--ref", "next"]);
    assert!(next.contains("spec.replicas") && next.contains("1 replaced, 1 created"), "{next}");
    let deploy = folder.path().join("deploy").display().to_string();
    let files = daemon.selkie(&["plan", "-f", &deploy, "--ref", "next", "--force-conflicts"]);
    assert!(files.contains("Plan: 0 to add, 1 to change, 0 to delete; 1 pod to restart."), "{files}");
}

#[test]
fn a_plan_of_an_application_is_carried_out_by_it_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let git = |args: &[&str]| {
        let work = folder.path().display().to_string();
        let mut all = vec!["-C", &work, "-c", "user.name=t", "-c", "user.email=t@t"];
        all.extend(args);
        run("git", &all)
    };
    let commit = |what: &str| {
        git(&["add", "-A"]);
        git(&["commit", "-qm", what]);
    };
    git(&["init", "-q", "-b", "main"]);
    std::fs::create_dir(folder.path().join("deploy")).expect("a folder");
    write(folder.path(), "deploy/web.yaml", &web(2, "web:1"));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n";
    write(folder.path(), "deploy/old.yaml", map);
    commit("one");
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    daemon.selkie(&["app", "add", &format!("shop=git+{}#main:deploy", folder.path().display())]);
    daemon.selkie(&["app", "sync", "shop"]);
    daemon.selkie(&["app", "suspend", "shop"]);
    let outside = tempfile::tempdir().expect("a folder");
    let saved = outside.path().join("plan.json").display().to_string();
    let plan = || daemon.selkie(&["plan", "--app", "shop", "--out", &saved]);
    let refused = |words: &[&str]| {
        let output = daemon.try_selkie(&["apply", &saved]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    let image = || daemon.value(&["deploy", "web"], "{.spec.template.spec.containers[0].image}");

    write(folder.path(), "deploy/web.yaml", &web(2, "web:2"));
    std::fs::remove_file(folder.path().join("deploy/old.yaml")).expect("a manifest");
    commit("two");
    let text = plan();
    assert!(text.contains("Plan: 0 to add, 1 to change, 1 to delete; 2 pods to restart."), "{text}");
    assert_eq!(image(), "web:1");
    let applied = daemon.selkie(&["apply", &saved]);
    assert!(applied.contains("0 to add, 1 to change, 1 to delete"), "{applied}");
    assert_eq!(image(), "web:2");
    assert!(!daemon.try_kubectl(&["get", "configmap", "old"]).status.success(), "it was pruned");
    let listed = daemon.selkie(&["app", "list"]);
    assert!(listed.contains("Suspended") && listed.contains("applied the plan for"), "{listed}");
    let history = daemon.selkie(&["app", "history", "shop"]);
    assert!(history.contains("two") && history.contains("ready"), "{history}");
    refused(&["was applied already, nothing was changed"]);

    // Others changed what it changes.
    write(folder.path(), "deploy/web.yaml", &web(3, "web:3"));
    commit("three");
    plan();
    daemon.kubectl(&["scale", "deployment/web", "--replicas=5"]);
    refused(&["no longer holds, nothing was changed", "Deployment default/web is not as it was: spec.replicas"]);
    // A host is not what it was.
    plan();
    daemon.kubectl(&["cordon", "hollow-1"]);
    refused(&["no longer holds", "host hollow-1 was Ready"]);
    // The source went on.
    plan();
    write(folder.path(), "deploy/web.yaml", &web(4, "web:4"));
    commit("four");
    refused(&["the plan is for", "but the source is at", "make a new plan"]);
    assert_eq!(image(), "web:2");

    // Where the application is not suspended, somebody was faster.
    plan();
    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("the commit is in force", || image() == "web:4");
    refused(&["was applied already"]);
}
