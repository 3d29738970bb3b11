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
    daemon.kubectl(&["patch", "deploy/web", "--type=json", "-p", ADDED]);
    let left = daemon.try_selkie(&["adopt", "-f", &path]);
    let text = String::from_utf8_lossy(&left.stderr).into_owned();
    assert!(
        text.contains("web.yaml:13:7: Deployment default/web: spec.template.spec.containers: the live list"),
        "{text}"
    );
    assert_eq!(left.status.code(), Some(1));
}

const ADDED: &str =
    r#"[{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "more", "image": "more:1"}}]"#;
