//! What the command line prints for scripts and for people.

use crate::daemon::{Daemon, SELKIE, run};
use serde_json::Value;
use std::process::Command;

const MAPS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two}
---
apiVersion: v1
kind: Secret
metadata: {name: one}
";

#[test]
fn tables_are_for_scripts_too() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let file = daemon.data.join("maps.yaml");
    std::fs::write(&file, MAPS).unwrap();
    daemon.selkie(&["apply", "-f", file.to_str().unwrap()]);
    let columns = |args: &[&str]| {
        let text = daemon.selkie(args);
        text.lines().map(|line| line.split_whitespace().next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(columns(&["get", "cm", "one", "two"]), ["NAME", "one", "two"], "one table");
    assert_eq!(columns(&["get", "cm", "one", "two", "--no-headers"]), ["one", "two"]);
    assert_eq!(columns(&["get", "cm/one", "secret/one"]), ["NAME", "configmap/one", "", "NAME", "secret/one"]);
    assert_eq!(columns(&["get", "cm/one", "secret/one", "--no-headers"]), ["configmap/one", "secret/one"]);
    assert_eq!(
        columns(&["get", "cm", "--no-headers", "-A"]).iter().filter(|namespace| *namespace == "default").count(),
        3
    );
}

#[test]
fn colours_come_where_they_are_asked_for() {
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let ready = || daemon.value(&["nodes"], "{.items[0].status.conditions[?(@.type==\"Ready\")].status}") == "True";
    daemon.wait_for("the host is ready", ready);
    let plain = daemon.selkie(&["status"]);
    assert!(!plain.contains('\u{1b}') && plain.contains("Ready"), "{plain}");
    let mut command = Command::new(SELKIE);
    command
        .args(["status", "--color", "always"])
        .env("SELKIE_DATA_DIR", &daemon.data)
        .env("SELKIE_CONFIG", "/dev/null");
    let coloured = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(coloured.contains("\u{1b}[32mReady\u{1b}[0m"), "{coloured:?}");
    assert_eq!(coloured.replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), plain, "nothing else differs");
}

#[test]
fn version_and_completion() {
    let version: Value = serde_json::from_str(&run(SELKIE, &["version", "-o", "json"])).unwrap();
    assert_eq!(version["selkie"], env!("CARGO_PKG_VERSION"));
    assert!(run(SELKIE, &["version"]).contains(version["kubernetes"].as_str().unwrap()));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(SELKIE, &["completion", shell]).contains("kubeconfig"), "{shell}");
    }
    let ask = "source <(\"$0\" completion bash); COMP_WORDS=(selkie app ro); COMP_CWORD=2; _selkie selkie ro app; echo \"${COMPREPLY[@]}\"";
    assert_eq!(run("bash", &["-c", ask, SELKIE]).trim(), "rollback");
}
