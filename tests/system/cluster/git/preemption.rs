//! What is newer is not held up by what is older: commits by rollouts, edits by fetches.

use super::{Follower, PROMPT, wait_for_revision};
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::GitRepository;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// No host will ever run it.
const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: i}]}\n";

#[test]
fn a_newer_commit_does_not_wait_for_the_rollout_of_an_older_one() {
    let repository = GitRepository::new();
    std::fs::write(repository.work().join("web.yaml"), WEB).unwrap();
    repository.commit("with a rollout");
    repository.push();
    let follower = Follower::start(&repository.bare().display().to_string(), json!({}));
    follower.patch(json!({"spec": {"interval": "1h"}}));
    follower.wait_greeting("with a rollout");
    let reason = || follower.status("app", "{.status.conditions[?(@.type==\"Ready\")].reason}");
    follower.daemon.wait_for("the rollout is waited for", || reason() == "Progressing");
    for greeting in ["second", "third"] {
        let commit = repository.commit(greeting);
        let begun = Instant::now();
        repository.push();
        follower.wait_greeting(greeting);
        assert!(begun.elapsed() < PROMPT, "applied after {:?}", begun.elapsed());
        wait_for_revision(&follower, &commit);
        assert_eq!(reason(), "Progressing");
    }
    assert!(!follower.daemon.log().contains("app: done"), "{}", follower.daemon.log());
}

#[test]
fn a_newer_commit_does_not_wait_for_a_wave_of_an_older_one() {
    let repository = GitRepository::new();
    let web = repository.work().join("web.yaml");
    let early = "metadata: {name: web, annotations: {selkie.dev/sync-wave: \"-1\"}}";
    std::fs::write(&web, WEB.replace("metadata: {name: web}", early)).unwrap();
    repository.commit("after a wave that does not end");
    repository.push();
    let follower = Follower::start(&repository.bare().display().to_string(), json!({}));
    follower.patch(json!({"spec": {"interval": "1h"}}));
    let there = || follower.daemon.value(&["deployment", "web"], "{.metadata.name}") == "web";
    follower.daemon.wait_for("the wave is applied", there);
    assert_eq!(follower.greeting(), "");
    std::fs::remove_file(&web).unwrap();
    let commit = repository.commit("second");
    let begun = Instant::now();
    repository.push();
    follower.wait_greeting("second");
    assert!(begun.elapsed() < PROMPT, "applied after {:?}", begun.elapsed());
    wait_for_revision(&follower, &commit);
    follower.daemon.wait_for("what it no longer has is gone", || !there());
}

#[test]
fn a_fetch_that_hangs_holds_up_neither_suspension_nor_deletion() {
    let repository = GitRepository::new();
    let server = HttpsServer::start(repository.folder.path());
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let follower = Follower::start(&server.url(), login);
    follower.wait_greeting("first");
    server.stalls.store(true, Ordering::SeqCst);
    repository.add_ballast(1 << 20);
    repository.commit("second");
    repository.push();
    follower.daemon.wait_for("the fetch hangs", || server.stalled.load(Ordering::SeqCst) > 0);
    let begun = Instant::now();
    follower.patch(json!({"spec": {"suspend": true}}));
    let suspended = || follower.status("app", "{.status.conditions[?(@.type==\"Synced\")].reason}") == "Suspended";
    follower.daemon.wait_for("it is suspended", suspended);
    follower.patch(json!({"spec": {"suspend": false}}));
    follower.daemon.kubectl(&["delete", "applications.selkie.dev", "app", "-n", "selkie-system"]);
    assert_eq!(follower.greeting(), "");
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
}
