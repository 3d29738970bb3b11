//! Manifests that move between applications, and live changes that move into manifests.

use crate::daemon::Daemon;

fn web(replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: {replicas} # enough\n  \
         selector:\n    matchLabels: {{app: web}}\n  template:\n    metadata:\n      labels: {{app: web}}\n    spec:\n      \
         containers:\n      - name: web\n        image: web:1\n"
    )
}

#[test]
fn a_deployment_that_moves_between_applications_keeps_its_pods() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for (path, name) in [(&one, "a"), (&two, "b")] {
        std::fs::create_dir(path).unwrap();
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        std::fs::write(path.join("map.yaml"), map).unwrap();
    }
    std::fs::write(one.join("web.yaml"), web(2)).unwrap();
    let apps = [format!("one={}", one.display()), format!("two={}", two.display())];
    let daemon = Daemon::start(&["--no-hosts", "--hollow-hosts", "2", "--app", &apps[0], "--app", &apps[1]]);
    let ready = || daemon.value(&["deploy/web"], "{.status.readyReplicas}") == "2";
    daemon.wait_for("the pods are ready", ready);
    let uids = || daemon.value(&["pods", "-l", "app=web"], "{.items[*].metadata.uid}");
    let owner = || daemon.value(&["deploy/web"], "{.metadata.labels.selkie\\.dev/application}");
    let before = uids();
    for (from, to, name) in [(&one, &two, "two"), (&two, &one, "one")] {
        std::fs::rename(from.join("web.yaml"), to.join("web.yaml")).unwrap();
        daemon.wait_for("the other one has it", || owner() == name);
        let path = format!("{{.items[?(@.metadata.name!=\"{name}\")].status.inventory[*].kind}}");
        daemon.wait_for("the first one let it go", || {
            daemon.value(&["applications", "-n", "selkie-system"], &path) == "ConfigMap"
        });
        assert_eq!(uids(), before, "no pod is made again");
    }
    assert!(ready());
}

#[test]
fn an_application_that_is_added_to_adopt_takes_what_another_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let map = |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{k: {value}}}\n");
    for (path, value) in [(&one, "one"), (&two, "two")] {
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join("a.yaml"), map(value)).unwrap();
    }
    let daemon = Daemon::start(&["--no-hosts", "--app", &format!("one={}", one.display())]);
    let value = || daemon.value(&["configmap/a"], "{.data.k}");
    daemon.wait_for("it is there", || value() == "one");
    let uid = daemon.value(&["configmap/a"], "{.metadata.uid}");
    let source = |name: &str| format!("{name}={}", two.display());
    daemon.selkie(&["app", "add", &source("meek")]);
    let refused = daemon.try_selkie(&["app", "sync", "meek"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("ConfigMap default/a belongs to application \"one\""), "{said}");
    assert!(said.contains("a.yaml:1") && said.contains("spec.adopt: true"), "{said}");
    daemon.kubectl(&["delete", "application", "meek", "-n", "selkie-system", "--timeout=60s"]);
    daemon.selkie(&["app", "add", "--adopt", &source("two")]);
    daemon.selkie(&["app", "sync", "two"]);
    assert_eq!((value(), daemon.value(&["configmap/a"], "{.metadata.uid}")), ("two".to_owned(), uid));
    daemon.wait_for("the first one says that it lost it", || {
        daemon.selkie(&["app", "list"]).contains("ConfigMap default/a")
            && daemon.selkie(&["app", "list"]).contains("taken over by application \"two\"")
    });
    assert_eq!(value(), "two", "and lets it be");
}

#[test]
fn what_somebody_set_with_kubectl_is_refused_with_the_name_and_taken_over_when_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let map = |k: &str, l: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  k: {k}\n  l: {l}\n")
    };
    let (theirs, ours) = (folder.path().join("theirs.yaml"), folder.path().join("ours.yaml"));
    std::fs::write(&theirs, map("theirs", "theirs")).unwrap();
    let (theirs, ours) = (theirs.display().to_string(), ours.display().to_string());
    let daemon = Daemon::start(&["--no-hosts"]);
    daemon.kubectl(&["apply", "--server-side", "--field-manager=ann", "-f", &theirs]);
    for (k, l) in [("ours", "theirs"), ("ours", "ours")] {
        std::fs::write(&ours, map(k, l)).unwrap();
        let refused = daemon.try_selkie(&["apply", "-f", &ours]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{said}");
        for part in ["ours.yaml:", "ConfigMap default/a", "\"ann\"", ".data.k", "--force-conflicts"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        assert_eq!(daemon.value(&["configmap/a"], "{.data.k}"), "theirs");
    }
    daemon.selkie(&["apply", "--force-conflicts", "-f", &ours]);
    assert_eq!(daemon.value(&["configmap/a"], "{.data.k} {.data.l}"), "ours ours");
    // Now it is ours, and they are the ones to be asked.
    let refused = daemon.try_kubectl(&["apply", "--server-side", "--field-manager=ann", "-f", &theirs]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("\"selkie\""), "{said}");
}

#[test]
fn an_apply_takes_over_what_an_application_holds_and_it_lets_go_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let map = |name: &str, value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n")
    };
    for path in [&one, &two] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(one.join("a.yaml"), map("a", "one")).unwrap();
    std::fs::write(one.join("b.yaml"), map("b", "one")).unwrap();
    std::fs::write(two.join("a.yaml"), map("a", "two")).unwrap();
    let daemon = Daemon::start(&["--no-hosts", "--app", &format!("one={}", one.display())]);
    let value = |name: &str| daemon.value(&[&format!("configmap/{name}")], "{.data.k}");
    let held = || daemon.value(&["application/one", "-n", "selkie-system"], "{.status.inventory[*].name}");
    daemon.wait_for("both are held", || held() == "a b");
    let two = two.display().to_string();
    let refused = daemon.try_selkie(&["apply", "-f", &two]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    for part in ["application \"one\"", "this apply sets it, too", "--adopt", "--force-conflicts"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let expected = "ConfigMap default/a is taken over from application \"one\", which lets go of it for good";
    for output in ["text", "markdown"] {
        let plan = daemon.selkie(&["plan", "-f", &two, "--adopt", "-o", output]);
        assert!(plan.contains(expected), "{plan}");
    }
    let plan = daemon.selkie(&["plan", "-f", &two, "--adopt", "-o", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let id = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default", "name": "a",
        "from": {"application": "one"}});
    assert_eq!(plan["takeovers"], serde_json::json!([id]), "{plan}");
    assert_eq!((value("a"), held()), ("one".to_owned(), "a b".to_owned()), "nothing is taken yet");

    // As it was planned.
    let saved = folder.path().join("saved").display().to_string();
    daemon.selkie(&["plan", "-f", &two, "--adopt", "--out", &saved]);
    let applied = daemon.selkie(&["apply", &saved]);
    assert!(applied.contains(expected), "{applied}");
    assert_eq!(value("a"), "two");
    std::fs::write(one.join("b.yaml"), map("b", "newer")).unwrap();
    daemon.wait_for("the application goes on without it", || value("b") == "newer" && held() == "b");
    daemon.kubectl(&["delete", "application", "one", "-n", "selkie-system", "--timeout=60s"]);
    assert_eq!(value("a"), "two", "it goes without it, too");
    assert!(!daemon.try_kubectl(&["get", "configmap/b"]).status.success());
}

#[test]
fn secrets_are_written_back_when_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.yaml");
    let manifest = |token: &str, data: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData:\n  token: {token} # rotate me\ndata:\n  \
             raw: {data}\n"
        )
    };
    std::fs::write(&file, manifest("first", "b25l")).unwrap();
    let daemon = Daemon::start(&["--no-hosts"]);
    let path = folder.path().display().to_string();
    daemon.selkie(&["apply", "-f", &path]);
    daemon.kubectl(&["patch", "secret/key", "-p", r#"{"stringData": {"token": "hush-second", "raw": "hush-two"}}"#]);
    let kept = daemon.try_selkie(&["adopt", "-f", &path]);
    let (out, err) = (String::from_utf8_lossy(&kept.stdout), String::from_utf8_lossy(&kept.stderr));
    assert_eq!(kept.status.code(), Some(1), "{out}{err}");
    assert!(
        err.contains("key.yaml:1:1: Secret default/key: its values differ and are written with --secrets only"),
        "{err}"
    );
    assert!(!out.contains("hush") && !err.contains("hush") && !err.contains("aHVzaC10d28"), "{out}{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), manifest("first", "b25l"));

    let written = daemon.selkie(&["adopt", "-f", &path, "--secrets"]);
    assert!(written.ends_with("key.yaml written\n") && !written.contains("hush"), "{written}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), manifest("hush-second", "aHVzaC10d28="));
    assert_eq!(daemon.selkie(&["adopt", "-f", &path]), "", "there is nothing left to write");
}

#[test]
fn a_live_change_is_written_back_into_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yaml");
    std::fs::write(&file, web(1)).unwrap();
    let daemon = Daemon::start(&["--no-hosts"]);
    let path = folder.path().display().to_string();
    daemon.selkie(&["apply", "-f", &path, "--wait=false"]);
    daemon.kubectl(&["scale", "deploy/web", "--replicas=3"]);
    let diff = daemon.selkie(&["adopt", "-f", &path, "--dry-run"]);
    assert!(diff.contains("-  replicas: 1 # enough\n+  replicas: 3 # enough\n"), "{diff}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), web(1));
    daemon.selkie(&["adopt", "-f", &path, "deploy/web"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), web(3));
    assert_eq!(daemon.selkie(&["adopt", "-f", &path]), "", "there is nothing left to write");
}

const SHOP: &str = "\
# The shop.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web} # of ours
spec:
  replicas: 0
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      # serves
      - name: web # main
        image: web:1
        env:
        - name: LEVEL
          value: info # quiet
        # goes
        - name: OLD
          value: \"1\"
---
# How it is set.
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  # all of it
  app.conf: |
    level = info
    color = red
  plain: kept # here
";

#[test]
fn maps_entries_of_lists_and_texts_are_written_back_with_the_comments_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, SHOP).unwrap();
    let daemon = Daemon::start(&["--no-hosts"]);
    let path = folder.path().display().to_string();
    daemon.selkie(&["apply", "-f", &path, "--wait=false"]);
    assert_eq!(daemon.selkie(&["adopt", "-f", &path]), "", "the server's defaults are no changes");
    daemon.kubectl(&["patch", "deploy/web", "-p", PATCH]);
    daemon.kubectl(&["label", "deploy/web", "tier=front"]);
    daemon.kubectl(&["patch", "configmap/settings", "--type=merge", "-p", SETTINGS]);

    let planned = daemon.selkie(&["adopt", "-f", &path, "--dry-run", "-o", "json"]);
    let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(
        (&planned["schema"], &planned["left"]),
        (&serde_json::json!("selkie.dev/adopt/v1"), &serde_json::json!([]))
    );
    assert_eq!(planned["files"][0]["droppedComments"][0]["text"], "# goes");
    assert!(planned["files"][0]["diff"].as_str().unwrap().contains("-        - name: OLD\n"), "{planned}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), SHOP);

    let adopted = daemon.try_selkie(&["adopt", "-f", &path]);
    let told = String::from_utf8_lossy(&adopted.stderr).into_owned();
    assert!(adopted.status.success(), "{told}");
    assert!(told.contains("shop.yaml:22: a comment went with what it was about: # goes"), "{told}");
    let expected = SHOP
        .replace("{app: web} # of ours", "{app: web, tier: front} # of ours")
        .replace("value: info # quiet", "value: debug # quiet")
        .replace(
            "        # goes\n        - name: OLD\n          value: \"1\"\n",
            "        resources:\n          limits:\n            memory: 64Mi\n      - name: side\n        image: side:1\n",
        )
        .replace("    level = info\n    color = red\n", "    level = debug\n    color = red\n    size = 3\n")
        .replace("  plain: kept # here\n", "  plain: kept # here\n  more: |-\n    a\n    b\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(daemon.selkie(&["adopt", "-f", &path]), "", "there is nothing left to write");
    assert_eq!(daemon.try_selkie(&["diff", "-f", &path]).status.code(), Some(0));
}

const PATCH: &str = r#"{"spec": {"template": {"spec": {"containers": [
    {"name": "web", "resources": {"limits": {"memory": "64Mi"}},
     "env": [{"name": "LEVEL", "value": "debug"}, {"name": "OLD", "$patch": "delete"}]},
    {"name": "side", "image": "side:1"}]}}}}"#;

const SETTINGS: &str = r#"{"data": {"app.conf": "level = debug\ncolor = red\nsize = 3\n", "more": "a\nb"}}"#;
