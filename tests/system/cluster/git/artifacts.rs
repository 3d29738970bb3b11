//! Artifacts of a registry: a private CA, logins, pushes, broken contents, outages.

use super::Follower;
use crate::daemon::{SELKIE, text};
use crate::registry::{PASSWORD, Registry};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// Pushes a directory with a manifest.
fn try_push(registry: &Registry, folder: &Path, manifest: &str, logins: &str) -> Output {
    let (app, auth) = (folder.join("app"), folder.join("auth.json"));
    std::fs::create_dir_all(app.join("deploy")).unwrap();
    std::fs::write(app.join("deploy/greeting.yaml"), manifest).unwrap();
    std::fs::write(&auth, logins).unwrap();
    Command::new(SELKIE)
        .args(["push", &registry.url(), "--ca", &registry.ca(), "--revision", "main@sha1:0123", "-o", "json", "-f"])
        .arg(app)
        .env("SELKIE_CONFIG", "/dev/null")
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("REGISTRY_AUTH_FILE", auth)
        .output()
        .unwrap()
}

/// Pushes a greeting; returns the artifact's digest.
fn push(registry: &Registry, folder: &Path, greeting: &str) -> String {
    let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\ndata:\n  text: {greeting}\n");
    let output = try_push(registry, folder, &manifest, &registry.logins());
    let told: Value = serde_json::from_str(&text("selkie push", &output)).unwrap();
    told["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_artifact_is_pushed_and_followed_and_the_last_good_one_stays() {
    let (mut registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let refused = try_push(&registry, folder.path(), "a: 1", "{}");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("podman login"), "{error}");
    push(&registry, folder.path(), "first");

    let follower = Follower::start(&registry.url(), json!({}));
    follower.wait_refused(&["certificate", "ca.crt", "spec.source.secretRef"]);
    follower.secret(json!({"ca.crt": registry.authority, "username": "deployer", "password": "wrong-password"}));
    follower.wait_refused(&["does not let", "spec.source.secretRef"]);
    follower.secret(json!({"ca.crt": registry.authority, ".dockerconfigjson": registry.logins()}));
    follower.wait_greeting("first");
    let second = push(&registry, folder.path(), "second");
    follower.wait_greeting("second");
    follower.daemon.wait_for("its digest is the revision", || follower.status("app", "{.status.revision}") == second);

    // What is broken changes nothing, and says where.
    let broken = try_push(&registry, folder.path(), "apiVersion: v1\nkind: ConfigMap\n  - x\n", &registry.logins());
    text("selkie push", &broken);
    follower.wait_refused(&["deploy/greeting.yaml:1:1", "has no metadata.name"]);
    assert_eq!(follower.greeting(), "second");

    registry.stop();
    follower.wait_refused(&["127.0.0.1", "Connection refused"]);
    let daemon = &follower.daemon;
    daemon.kubectl(&["patch", "configmap", "greeting", "--type=merge", "-p", r#"{"data":{"text":"drifted"}}"#]);
    follower.wait_greeting("second");
    registry.serve();
    push(&registry, folder.path(), "third");
    follower.wait_greeting("third");
    daemon.wait_for("the error is gone", || follower.errors() == "[]");

    // A directory of an earlier one, by its digest.
    follower.patch(json!({"spec": {"source": {"ref": second, "directory": "deploy"}}}));
    follower.wait_greeting("second");
    let why = daemon.selkie(&["why", "configmap/greeting"]);
    assert!(why.contains("main@sha1:0123") && why.contains("deploy/greeting.yaml:1"), "{why}");
    let everything = follower.everything_shown();
    for secret in [PASSWORD, "wrong-password"] {
        assert!(!everything.contains(secret), "{secret} is shown:\n{everything}");
    }
}
