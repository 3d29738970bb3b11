//! Kustomizations, charts and variables as people meet them: `render`, `diff -k`, `delete -k`, `adopt -k`, and an
//! application whose directory in a real repository is a kustomization.

use crate::daemon::{Daemon, SELKIE, selkie, write_program};
use crate::repository::GitRepository;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const BASE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  # how much it says\n  level: info\n  color: red\n";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A base, and an overlay that renames its object and patches one value.
fn kustomized(folder: &Path) {
    write(folder, "base/kustomization.yaml", "resources: [settings.yaml]\n");
    write(folder, "base/settings.yaml", BASE);
    let patch = "  - patch: |\n      apiVersion: v1\n      kind: ConfigMap\n      metadata: {name: settings}\n      data: {color: blue}\n";
    write(folder, "prod/kustomization.yaml", &format!("resources: [../base]\nnamePrefix: prod-\npatches:\n{patch}"));
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn rendered_objects_tell_where_they_are_from() {
    let folder = tempfile::tempdir().unwrap();
    kustomized(folder.path());
    write(
        folder.path(),
        "plain/web.yaml",
        "# the web\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {text: \"${NAME} ${WHO:=you}\"}\n",
    );
    let path = |name: &str| folder.path().join(name).display().to_string();
    let render = |args: &[&str]| selkie(folder.path(), &[&["render"][..], args].concat());

    let plain = render(&["-f", &path("plain"), "--origin"]);
    assert!(out(&plain).starts_with(&format!("# Source: {}:2\napiVersion: v1\n", path("plain/web.yaml"))), "{plain:?}");
    assert!(out(&plain).contains("text: ${NAME} ${WHO:=you}"), "{plain:?}");
    let kustomized = render(&["-k", &path("prod"), "--origin", "-o", "json"]);
    let list: Value = serde_json::from_str(&out(&kustomized)).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "prod-settings");
    assert_eq!(list["items"][0]["data"]["color"], "blue");
    assert!(list["origins"][0]["file"].as_str().unwrap().ends_with("base/settings.yaml"), "{list:#}");

    let filled = render(&["-f", &path("plain"), "--substitute", "NAME=hello", "--strict"]);
    assert!(out(&filled).contains("text: hello you"), "{filled:?}");
    let missing = render(&["-f", &path("plain"), "--strict"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        said(&missing).contains(&format!("{}:5:14: the variable NAME is not set", path("plain/web.yaml"))),
        "{missing:?}"
    );
    let none = render(&["-k", &path("plain")]);
    assert!(said(&none).contains("there is no kustomization.yaml"), "{none:?}");
}

#[test]
fn kustomizations_are_applied_compared_adopted_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    kustomized(folder.path());
    let prod = folder.path().join("prod").display().to_string();
    let daemon = Daemon::start(&["--no-hosts"]);
    daemon.selkie(&["apply", "-k", &prod]);
    let data = |key: &str| daemon.value(&["configmap", "prod-settings"], &format!("{{.data.{key}}}"));
    assert_eq!((data("level"), data("color")), ("info".to_owned(), "blue".to_owned()));
    assert_eq!(daemon.try_selkie(&["diff", "-k", &prod]).status.code(), Some(0));

    let live = r#"{"data":{"level":"debug","color":"green"}}"#;
    daemon.kubectl(&["patch", "configmap", "prod-settings", "--type=merge", "-p", live]);
    let differs = daemon.try_selkie(&["diff", "-k", &prod]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(out(&differs).contains("level") && out(&differs).contains("color"), "{differs:?}");
    // The value of the base is written where it stands; that of the patch is the kustomization's.
    let adopted = daemon.try_selkie(&["adopt", "-k", &prod]);
    assert_eq!(adopted.status.code(), Some(1), "{adopted:?}");
    assert!(said(&adopted).contains("data.color: cannot be written in its place"), "{adopted:?}");
    let base = std::fs::read_to_string(folder.path().join("base/settings.yaml")).unwrap();
    assert_eq!(base, BASE.replace("level: info", "level: debug"));

    let gone = daemon.selkie(&["delete", "-k", &prod]);
    assert!(gone.contains("prod-settings"), "{gone}");
    let none = daemon.try_kubectl(&["get", "configmap", "prod-settings"]);
    assert!(said(&none).contains("not found"), "{none:?}");
}

#[test]
fn an_application_follows_a_kustomization_in_a_repository() {
    let repository = GitRepository::new();
    let commit = |message: &str| {
        repository.git(&["add", "."]);
        repository.git(&["commit", "--quiet", "-m", message]);
        repository.push();
    };
    kustomized(&repository.work());
    commit("kustomize");
    let daemon = Daemon::start(&["--no-hosts"]);
    let bare = repository.bare().display().to_string();
    daemon.selkie(&["app", "add", &format!("shop={bare}#main:prod"), "--substitute", "LEVEL=debug"]);
    let data = |key: &str| daemon.value(&["configmap", "prod-settings"], &format!("{{.data.{key}}}"));
    let there = || daemon.try_kubectl(&["get", "configmap", "prod-settings"]).status.success();
    daemon.wait_for("the kustomization is applied", || there() && data("color") == "blue");

    // A change of the base, which is not in the application's directory; its variable is set.
    write(&repository.work(), "base/settings.yaml", &BASE.replace("info", "${LEVEL}"));
    commit("a variable");
    daemon.wait_for("the base is followed", || data("level") == "debug");
    write(&repository.work(), "base/kustomization.yaml", "resources: [settings.yaml]\npatchez: []\n");
    commit("a mistake");
    let message = || daemon.value(&["application", "shop", "-n", "selkie-system"], "{.status.errors[0]}");
    daemon.wait_for("the mistake is told", || message().contains("base/kustomization.yaml:2:1"));
    assert_eq!((data("level"), data("color")), ("debug".to_owned(), "blue".to_owned()), "the last good one stays");
}

#[test]
fn a_chart_is_rendered_by_the_helm_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    write(
        folder.path(),
        "shop/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}\"}\n",
    );
    write(folder.path(), "values.yaml", "level: debug\n");
    let render = |path: &str| {
        let mut command = Command::new(SELKIE);
        command.args(["render", "--origin", "--release", "shop", "--values"]).arg(folder.path().join("values.yaml"));
        command.arg("-f").arg(folder.path().join("shop"));
        command.env("PATH", path).env("SELKIE_DATA_DIR", folder.path()).env("SELKIE_CONFIG", "/dev/null");
        command.output().unwrap()
    };
    let none = render("/nonexistent");
    assert!(said(&none).contains("there is no program `helm`"), "{none:?}");
    // It stands for helm: it shows that what helm needs reaches it. What helm does with that is helm's own.
    let stand_in = "#!/bin/sh\nfor last; do :; done\ngrep -q Release.Name \"$last/templates/map.yaml\" || exit 1\nprintf -- '---\\n# Source: shop/templates/map.yaml\\napiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: shop}\\ndata:\\n  values: |\\n    '\ncat values.json\n";
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    write_program(&folder.path().join("bin/helm"), stand_in);
    let rendered = render(&folder.path().join("bin").display().to_string());
    let text = out(&rendered);
    assert!(
        text.contains("templates/map.yaml as rendered:2\n") && text.contains("{\"level\":\"debug\"}"),
        "{rendered:?}"
    );
}

#[test]
fn values_of_a_chart_are_taken_from_objects_and_secret_ones_are_told_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write(folder.path(), "shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    // It stands for helm, and shows the values that it was given; it fails where one of them tells it to.
    let stand_in = "#!/bin/sh\ngrep -q fail values.json && { cat values.json >&2; exit 1; }\nprintf -- '---\\n# Source: shop/templates/map.yaml\\napiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: shop}\\ndata:\\n  values: |\\n    '\ncat values.json\n";
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    write_program(&folder.path().join("bin/helm"), stand_in);
    write(folder.path(), "values.yaml", "level: debug\n");
    let prelude = format!("export PATH='{}':\"$PATH\"", at("bin"));
    let daemon = Daemon::start_with(&folder.path().join("data"), &["--no-hosts"], &prelude);
    let system = |args: &[&str]| daemon.kubectl(&[&["-n", "selkie-system"], args].concat());
    let password = |value: &str| {
        let patch = serde_json::json!({"stringData": {"shop": format!("db: {{password: {value}}}")}}).to_string();
        system(&["patch", "secret", "login", "--type=merge", "-p", &patch]);
    };
    system(&["create", "secret", "generic", "login", "--from-literal=shop=db: {password: hunter2}"]);
    let source = format!("shop={}", at("shop"));
    let values = ["--values-from", "cm/common", "--values-from", "secret/login:shop", "--values"];
    daemon.selkie(&[&["app", "add", &source], &values[..], &[&at("values.yaml")]].concat());
    let status = |path: &str| daemon.value(&["application", "shop", "-n", "selkie-system"], path);
    let missing = "ConfigMap selkie-system/common (spec.helm.valuesFrom[0]): it does not exist";
    daemon.wait_for("what is missing is told", || status("{.status.errors[0]}").contains(missing));

    system(&["create", "configmap", "common", "--from-literal=values.yaml=level: info\ncolor: red"]);
    let given = || {
        let found = daemon.try_kubectl(&["get", "configmap", "shop", "-o", "jsonpath={.data.values}"]);
        serde_json::from_slice::<Value>(&found.stdout).unwrap_or_default()
    };
    let expected = |password: &str| serde_json::json!({"color": "red", "db": {"password": password}, "level": "debug"});
    daemon.wait_for("the chart has all values", || given() == expected("hunter2"));
    password("hunter3");
    daemon.wait_for("it has the new ones", || given() == expected("hunter3"));
    password("hunter-fail");
    daemon.wait_for("the failure is told", || status("{.status.errors[0]}").contains("Chart.yaml: helm fails"));
    assert_eq!(given(), expected("hunter3"), "the last good one stays");
    let told = [
        daemon.log(),
        status("{.status}"),
        daemon.selkie(&["status"]),
        daemon.selkie(&["app", "history", "shop"]),
        daemon.kubectl(&["get", "events", "-A", "-o", "json"]),
    ];
    assert!(!told.concat().contains("hunter"), "{told:?}");
}
