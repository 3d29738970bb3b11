//! `selkie why` and `selkie tree` on real failures: what is wrong is named where it happened, with the
//! line of the manifest that asked for it.

use crate::daemon::Daemon;
use crate::repository::GitRepository;
use crate::setting::{Folder, Setting};
use serde_json::Value;
use std::path::Path;

fn deployment(container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: conf}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      containers: [{container}]\n"
    )
}

fn app(folder: &Path, container: &str) -> String {
    let source = folder.join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("web.yaml"), deployment(container)).unwrap();
    format!("shop={}", source.display())
}

/// Null while there is no such object yet.
fn why(daemon: &Daemon, what: &str) -> Value {
    serde_json::from_slice(&daemon.try_selkie(&["why", what, "-o", "json"]).stdout).unwrap_or_default()
}

#[test]
fn a_crash_is_explained_from_the_line_to_the_last_words() {
    let folder = Folder::new();
    let crash =
        "{name: web, image: 'localhost/selkie-demo:1', command: [sh, -c, 'echo cannot open the database; exit 3']}";
    let app = app(folder.path(), crash);
    let setting = Setting::start(folder, &["--app", &app]);
    let daemon = &setting.daemon;
    let mut found = Value::Null;
    daemon.wait_for("the crash is explained", || {
        found = why(daemon, "deploy/web");
        let logged = !found["pods"][0]["containers"][0]["log"].is_null();
        found["cause"]["reason"] == "CrashLoopBackOff" && logged
    });
    let place = &found["source"]["place"];
    assert_eq!((&found["source"]["application"], &place["line"]), (&"shop".into(), &5.into()), "{found:#}");
    assert!(place["file"].as_str().unwrap().ends_with("web.yaml"), "{place}");
    let pod = &found["pods"][0];
    assert_eq!((&pod["verdict"]["host"], &pod["verdict"]["feasible"]), (&"one".into(), &1.into()), "{pod:#}");
    assert!(pod["verdict"]["hosts"][0]["score"].is_i64(), "{pod:#}");
    let container = &pod["containers"][0];
    assert_eq!(container["last"]["exitCode"], 3, "{container:#}");
    assert_eq!(container["log"], serde_json::json!(["cannot open the database"]));
    let kinds: Vec<_> = found["chain"].as_array().unwrap().iter().map(|link| &link["object"]["kind"]).collect();
    assert_eq!(kinds, ["Deployment", "ReplicaSet"]);

    // The same from below.
    let name = pod["object"]["name"].as_str().unwrap();
    let text = daemon.selkie(&["why", &format!("pod/{name}")]);
    for part in [
        "web.yaml:5",
        "Deployment default/web",
        "one, the only one that fits",
        "CrashLoopBackOff",
        "| cannot open the database",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    // And from above.
    let of_app = daemon.selkie(&["why", "app/shop"]);
    assert!(of_app.contains("Deployment default/web") && of_app.contains("| cannot open the database"), "{of_app}");
    // The verdict is the scheduler's memory; what else is known outlives the daemon.
    let mut setting = setting;
    setting.daemon.stop();
    setting.daemon.restart();
    let text = setting.daemon.selkie(&["why", &format!("pod/{name}")]);
    assert!(text.contains("one; why is not known any more") && text.contains("web.yaml:5"), "{text}");
}

#[test]
fn an_application_is_a_tree_down_to_its_containers() {
    let folder = Folder::new();
    let app = app(folder.path(), "{name: web, image: 'localhost/selkie-demo:1', command: [sleep, '600']}");
    let setting = Setting::start(folder, &["--app", &app]);
    let daemon = &setting.daemon;
    setting.wait_rolled_out("default", "web", 1);
    daemon.wait_for("the application is ready", || daemon.selkie(&["tree", "shop"]).starts_with("shop  Ready"));
    let tree: Value = serde_json::from_str(&daemon.selkie(&["tree", "shop", "-o", "json"])).unwrap();
    let objects = tree["objects"].as_array().unwrap();
    let line = |object: &Value| (object["kind"].clone(), object["origin"]["line"].clone());
    assert_eq!(
        objects.iter().map(line).collect::<Vec<_>>(),
        [("ConfigMap".into(), 1.into()), ("Deployment".into(), 5.into())]
    );
    let mut node = &objects[1];
    for kind in ["ReplicaSet", "Pod", "Container"] {
        node = &node["children"][0];
        assert_eq!((&node["kind"], &node["health"]), (&kind.into(), &"Ready".into()), "{tree:#}");
    }
    assert_eq!(node["status"], "Running, localhost/selkie-demo:1");
    let text = daemon.selkie(&["tree", "shop"]);
    assert!(text.contains("   └─ ReplicaSet ") && text.contains("Running on one"), "{text}");

    // What was deleted behind selkie's back is missing until it is set right; with a suspended source, for good.
    daemon.selkie(&["app", "suspend", "shop"]);
    daemon.kubectl(&["delete", "configmap", "conf"]);
    let missing = daemon.selkie(&["tree", "shop"]);
    assert!(missing.contains("├─ ConfigMap default/conf  Missing: not there"), "{missing}");
    let unknown = daemon.try_selkie(&["tree", "none"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!((unknown.status.code(), said.as_str()), (Some(1), "error: no application \"none\"\n  there are shop\n"));
}

#[test]
fn the_words_of_podman_reach_who_asks() {
    let folder = Folder::new();
    let broken = "{name: web, image: 'localhost/selkie-demo:1', command: [/no/such/program]}";
    let app = app(folder.path(), broken);
    let setting = Setting::start(folder, &["--app", &app]);
    let said = || {
        let output = setting.daemon.try_selkie(&["why", "deploy/web"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    setting.daemon.wait_for("Podman's error is told", || said().contains("/no/such/program"));
    assert!(said().starts_with("Deployment default/web is "), "{}", said());
}

/// From the commit and the line down to what Podman said when it could not pull.
#[test]
fn a_pod_whose_image_cannot_be_pulled_is_explained_from_its_commit_to_podmans_error() {
    let repository = GitRepository::new();
    let broken = "{name: web, image: 'localhost/selkie-demo:none'}";
    std::fs::write(repository.work().join("web.yaml"), deployment(broken)).unwrap();
    let commit = repository.commit("Use an image that nobody has");
    repository.push();
    let app = format!("shop={}#main", repository.bare().display());
    let setting = Setting::start(Folder::new(), &["--app", &app]);
    let daemon = &setting.daemon;
    let pod = || daemon.value(&["pods", "-l", "app=web"], "{.items[0].metadata.name}");
    let mut found = Value::Null;
    daemon.wait_for("the pull is explained", || {
        found = why(daemon, &format!("pod/{}", pod()));
        let container = &found["pods"][0]["containers"][0];
        ["ErrImagePull", "ImagePullBackOff"].iter().any(|reason| container["reason"] == *reason)
            && found["pods"][0]["events"].as_array().is_some_and(|all| all.iter().any(|one| one["reason"] == "Failed"))
    });
    let source = &found["source"];
    assert_eq!((&source["revision"], &source["place"]["line"]), (&commit.as_str().into(), &5.into()), "{source:#}");
    assert_eq!(source["commit"]["subject"], "Use an image that nobody has");
    assert_eq!(found["cause"]["container"], "web");
    let kinds: Vec<_> = found["chain"].as_array().unwrap().iter().map(|link| &link["object"]["kind"]).collect();
    assert_eq!(kinds, ["Deployment", "ReplicaSet"], "what its controllers decided");
    let made = found["chain"][1]["events"].as_array().unwrap();
    assert!(made.iter().any(|one| one["reason"] == "SuccessfulCreate"), "{found:#}");
    assert_eq!(found["pods"][0]["verdict"]["host"], "one");

    let name = pod();
    let text = daemon.selkie(&["why", &format!("pod/{name}")]);
    let mut rest = text.as_str();
    for part in [
        &format!("Pod default/{name} is "),
        "because container web of Pod",
        &format!("revision 1 ({})", &commit[..7]),
        "\"Use an image that nobody has\" by Test <test@example.com>",
        "manifest   web.yaml:5",
        "Deployment default/web",
        "ReplicaSet default/web-",
        "SuccessfulCreate",
        "one, the only one that fits",
        "podman://",
        "container  web  localhost/selkie-demo:none  Waiting: ",
        "failed to pull image \"localhost/selkie-demo:none\": ",
    ] {
        let (_, after) =
            rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is not where it should be in\n{text}"));
        rest = after;
    }
    // In Podman's words.
    assert!(rest.lines().next().is_some_and(|line| line.contains("container registry")), "{rest}");
}

#[test]
fn every_host_that_says_no_is_told_with_its_reason() {
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    daemon.wait_for("both hosts are ready", || {
        let path = "{.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        daemon.value(&["nodes"], path) == "True True"
    });
    let hosts = daemon.value(&["nodes"], "{.items[*].metadata.name}");
    let hosts: Vec<&str> = hosts.split_whitespace().collect();
    daemon.kubectl(&["cordon", hosts[0]]);
    let file = daemon.data.join("big.yaml");
    let huge = "{name: web, image: 'web:1', resources: {requests: {cpu: 4000}}}";
    std::fs::write(&file, deployment(huge)).unwrap();
    daemon.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    let mut found = Value::Null;
    daemon.wait_for("the scheduler has looked", || {
        found = why(&daemon, "deploy/web");
        found["cause"]["reason"] == "Unschedulable" && found["pods"][0]["verdict"]["hosts"].is_array()
    });
    let told: Vec<(&str, &str)> = found["pods"][0]["verdict"]["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["host"].as_str().unwrap(), one["reasons"][0].as_str().unwrap()))
        .collect();
    assert_eq!(told, [(hosts[0], "node(s) were unschedulable"), (hosts[1], "Insufficient cpu")]);
    // Nobody but kubectl has to do with it.
    assert!(found["source"].is_null() && found["managers"][0]["name"] == "kubectl-client-side-apply", "{found:#}");
    let conf = daemon.selkie(&["why", "cm/conf"]);
    assert!(conf.starts_with("ConfigMap default/conf is Ready\n"), "{conf}");
}

#[test]
fn what_is_not_there_is_said() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let refused = |args: &[&str], code: i32, text: &str| {
        let output = daemon.try_selkie(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(text), "{args:?}: {}: {said}", output.status);
        assert!(output.stdout.is_empty());
    };
    refused(&["why", "pod/none"], 1, "there is no pod \"none\" in namespace default\n  `selkie get pods -A`");
    refused(&["why", "node/none"], 1, "there is no node \"none\"\n  `selkie get nodes`");
    refused(&["why", "sheep/dolly"], 1, "doesn't have a resource type \"sheep\"");
    refused(&["why", "web"], 2, "expected TYPE/NAME, e.g. deploy/web");
}
