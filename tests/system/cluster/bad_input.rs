//! Bad input: a clear message with file:line or object, the rest goes on, nothing is half-applied.

use crate::daemon::{Daemon, selkie};
use std::path::Path;

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: good\ndata: {a: b}\n";

/// Applies GOOD and one bad file; returns what is said. Nothing may have been applied.
fn refused(daemon: &Daemon, name: &str, bad: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a-good.yaml"), GOOD).unwrap();
    std::fs::write(folder.path().join(name), bad).unwrap();
    refused_folder(daemon, folder.path())
}

fn refused_folder(daemon: &Daemon, folder: &Path) -> String {
    let output = daemon.try_selkie(&["apply", "-f", &folder.display().to_string()]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it was accepted: {message}");
    assert!(!daemon.try_kubectl(&["get", "configmap", "good"]).status.success(), "half of it was applied: {message}");
    message
}

#[test]
fn every_bad_manifest_is_refused_with_its_place() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let cases: [(&str, &str, &[&str]); 8] = [
        ("syntax.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n", &["syntax.yaml:"]),
        ("twice.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  name: y\n", &["twice.yaml:5", "name"]),
        ("field.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\nbogus: 1\n", &["field.yaml:5", "bogus"]),
        (
            "type.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec:\n  replicas: many\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}\n",
            &["type.yaml:6", "replicas"],
        ),
        ("kind.yaml", "apiVersion: v1\nkind: Gadget\nmetadata:\n  name: x\n", &["kind.yaml:", "Gadget"]),
        (
            "namespace.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  namespace: nowhere\n",
            &["namespace.yaml:", "nowhere"],
        ),
        (
            "bomb.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
            &["bomb.yaml"],
        ),
        (
            "invalid.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}\n",
            &["invalid.yaml:", "image"],
        ),
    ];
    for (name, bad, expected) in cases {
        let message = refused(&daemon, name, bad);
        for text in expected {
            assert!(message.contains(text), "{name}: expected {text:?} in:\n{message}");
        }
    }
}

#[test]
fn huge_files_and_escaping_links_are_refused() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let huge = format!("{GOOD}  big: {}\n", "x".repeat(10 << 20)).replace("name: good", "name: huge");
    assert!(refused(&daemon, "huge.yaml", &huge).contains("huge.yaml"));

    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.yaml"), GOOD.replace("good", "outside")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a-good.yaml"), GOOD).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.yaml"), folder.path().join("link.yaml")).unwrap();
    assert!(refused_folder(&daemon, folder.path()).contains("link.yaml"));
}

#[test]
fn all_errors_are_shown_not_only_the_first() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let two = "apiVersion: v1\nkind: Gadget\nmetadata:\n  name: x\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other\nbogus: 1\n";
    let message = refused(&daemon, "two.yaml", two);
    assert!(message.contains("Gadget") && message.contains("bogus"), "{message}");
}

#[test]
fn a_host_that_does_not_answer_does_not_stop_the_rest() {
    let daemon = Daemon::start(&["--host", "gone=unix:///nonexistent/podman.sock"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    daemon.selkie(&["apply", "-f", &folder.path().display().to_string()]);
    daemon.wait_for("the host is named", || daemon.log().contains("gone"));
    daemon.wait_for("the status shows it", || daemon.selkie(&["status"]).contains("gone"));
}

#[test]
fn a_missing_path_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = selkie(folder.path(), &["plan", "-f", "/nonexistent/manifests"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/manifests"));
}
