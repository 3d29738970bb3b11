//! An ApplicationSet on a server of git's own, whose Applications get variables from ConfigMaps and Secrets.

use super::Follower;
use crate::daemon::Daemon;
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::GitRepository;
use serde_json::{Value, json};

const WORD: &str = "hush-word";

/// A directory or branch of the repository, whose ConfigMap has variables in it.
fn write(repository: &GitRepository, directory: &str) {
    let path = repository.work().join(directory);
    std::fs::create_dir_all(&path).unwrap();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: said}\n\
                data: {text: \"${NAME} in ${ENVIRONMENT:=nowhere}, ${WORD}, ${OTHER:-none}, $${NAME}\"}\n";
    std::fs::write(path.join("map.yaml"), text).unwrap();
    repository.git(&["add", "."]);
}

fn object(api_version: &str, kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind});
    object["metadata"] = json!({"name": name, "namespace": "selkie-system"});
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

#[test]
fn applications_come_and_go_with_directories_and_branches_and_have_their_variables() {
    let repository = GitRepository::new();
    for directory in ["apps/one", "apps/two", "apps/old"] {
        write(&repository, directory);
    }
    repository.git(&["commit", "--quiet", "-m", "apps"]);
    repository.push();
    let server = HttpsServer::start(repository.folder.path());
    let follower = Follower { daemon: Daemon::start(&["--no-hosts"]) };
    let daemon = &follower.daemon;

    let login = |password: &str| json!({"ca.crt": server.authority, "username": USER, "password": password});
    follower.apply(&object("v1", "Secret", "login", json!({"stringData": login(PASSWORD)})));
    follower.apply(&object("v1", "Secret", "words", json!({"stringData": {"WORD": WORD}})));
    follower.apply(&object("v1", "ConfigMap", "place", json!({"data": {"ENVIRONMENT": "test"}})));
    let git = |what: &str, patterns: Value| json!({"git": {"repoURL": server.url(), "ref": "main", "secretRef": {"name": "login"}, what: patterns}});
    let from = json!([{"kind": "ConfigMap", "name": "place"}, {"kind": "Secret", "name": "words"}]);
    let template = |name: &str, more: Value| {
        let mut spec = json!({"namespace": name, "interval": "1s",
            "postBuild": {"substitute": {"NAME": name}, "substituteFrom": from}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": format!("shop-{name}")}, "spec": spec})
    };
    let set = |name: &str, generator: Value, template: Value| {
        let spec = json!({"generators": [generator], "template": template, "interval": "1s"});
        object("selkie.dev/v1alpha1", "ApplicationSet", name, json!({"spec": spec}))
    };
    for namespace in ["one", "two", "three", "cart", "fixed"] {
        daemon.kubectl(&["create", "namespace", namespace]);
    }
    let directories = json!([{"path": "apps/*"}, {"path": "apps/old", "exclude": true}]);
    follower.apply(&set("directories", git("directories", directories), template("${path.basename}", json!({}))));
    let source = json!({"source": {"repoURL": server.url(), "ref": "${branch}", "directory": "apps/old",
        "secretRef": {"name": "login"}}});
    let branches = template("${branchNormalized}", source.clone());
    follower.apply(&set("branches", git("branches", json!(["ca*"])), branches));
    let mut fixed = source;
    fixed["source"]["ref"] = "main".into();
    let list = json!({"list": {"elements": [{"name": "fixed"}]}});
    follower.apply(&set("listed", list, template("${name}", fixed)));

    let said = |namespace: &str| daemon.value(&["configmap", "said", "-n", namespace], "{.data.text}");
    let text = |name: &str, place: &str| format!("{name} in {place}, {WORD}, none, ${{NAME}}");
    for name in ["one", "two", "fixed"] {
        daemon.wait_for(&format!("{name} is in force"), || said(name) == text(name, "test"));
    }
    // A directory and a branch more, one less, and another value.
    write(&repository, "apps/three");
    repository.git(&["rm", "-rq", "apps/two"]);
    repository.git(&["commit", "--quiet", "-m", "moved"]);
    repository.push();
    repository.git(&["push", "--quiet", "origin", "HEAD:refs/heads/cart"]);
    follower.apply(&object("v1", "ConfigMap", "place", json!({"data": {"ENVIRONMENT": "production"}})));
    for name in ["one", "three", "cart", "fixed"] {
        daemon.wait_for(&format!("{name} has the new value"), || said(name) == text(name, "production"));
    }
    daemon.wait_for("what left is gone", || said("two").is_empty());
    let names = || daemon.value(&["applications.selkie.dev", "-n", "selkie-system"], "{.items[*].metadata.name}");
    daemon.wait_for("so is its Application", || names() == "shop-cart shop-fixed shop-one shop-three");

    // Nobody lets us in any more: nothing changes, and the set says so.
    follower.apply(&object("v1", "Secret", "login", json!({"stringData": login("wrong")})));
    let condition = || {
        let set = ["applicationsets.selkie.dev", "directories", "-n", "selkie-system"];
        daemon.value(&set, "{.status.conditions[0].reason}")
    };
    daemon.wait_for("the set fails", || condition() == "Failed");
    assert_eq!(said("one"), text("one", "production"));
    follower.apply(&object("v1", "Secret", "login", json!({"stringData": login(PASSWORD)})));
    daemon.wait_for("the set goes on", || condition() == "Generated");
    let seen = [daemon.log(), daemon.selkie(&["status"]), daemon.kubectl(&["get", "events", "-A", "-o", "yaml"])];
    assert!(!seen.join("\n").contains(WORD) && !seen.join("\n").contains(PASSWORD), "a secret is shown");
}
