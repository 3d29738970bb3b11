//! A repository over ssh: keys of users and hosts, and connections that end too early.

use super::{Follower, PROMPT};
use crate::git_ssh::SshServer;
use crate::repository::GitRepository;
use serde_json::json;
use std::time::Instant;

#[test]
fn only_known_hosts_are_trusted_and_only_the_right_key_lets_in() {
    let repository = GitRepository::new();
    let server = SshServer::start();
    let identity = server.key("user");
    let follower = Follower::start(&server.url(&repository.bare()), json!({"identity": identity}));
    let scan = format!("ssh-keyscan -p {} 127.0.0.1", server.port);
    follower.wait_refused(&[&scan, "known_hosts", "fingerprint"]);
    follower.secret(json!({"identity": identity, "known_hosts": server.known_host("other_host")}));
    follower.wait_refused(&["not the one that the Secret's known_hosts has"]);
    let known = server.known_host("host");
    follower.secret(json!({"identity": server.key("other_user"), "known_hosts": known}));
    follower.wait_refused(&["identity", "spec.source.secretRef"]);
    follower.secret(json!({"identity": identity, "known_hosts": known}));
    follower.wait_greeting("first");
    repository.commit("second");
    repository.push();
    follower.wait_greeting("second");
    let everything = follower.everything_shown();
    assert!(!everything.contains("PRIVATE KEY") && !everything.contains(identity.lines().nth(1).unwrap()));
}

#[test]
fn a_connection_that_is_cut_within_a_pack_leaves_the_last_good_commit_and_others_alone() {
    let (repository, other, server) = (GitRepository::new(), GitRepository::new(), SshServer::start());
    let login = json!({"identity": server.key("user"), "known_hosts": server.known_host("host")});
    let follower = Follower::start(&server.url(&repository.bare()), login);
    follower.wait_greeting("first");
    let daemon = &follower.daemon;
    daemon.kubectl(&["create", "namespace", "elsewhere"]);
    let source = json!({"repoURL": server.url(&other.bare()), "secretRef": {"name": "login"}});
    follower.apply(&json!({
        "apiVersion": "selkie.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": "other", "namespace": "selkie-system"},
        "spec": {"source": source, "interval": "1s", "namespace": "elsewhere"},
    }));
    let others = |greeting: &str| {
        let found = || daemon.value(&["configmap", "greeting", "-n", "elsewhere"], "{.data.text}");
        daemon.wait_for(&format!("the other application has {greeting:?}"), || found() == greeting);
    };
    others("first");

    server.cut(true);
    repository.add_ballast(1 << 20);
    repository.commit("second");
    repository.push();
    daemon.wait_for("a connection is cut", || server.was_cut() > 0);
    let cut = Instant::now();
    follower.wait_refused(&["git ssh://"]);
    assert!(cut.elapsed() < PROMPT, "it was told after {:?}", cut.elapsed());
    other.commit("second");
    other.push();
    others("second");
    assert_eq!((follower.greeting(), follower.status("other", "{.status.errors}")), ("first".into(), "[]".into()));
    // It is tried again, and nothing of what was half fetched is in the way.
    server.cut(false);
    follower.wait_greeting("second");
    daemon.wait_for("the error is gone", || follower.errors() == "[]");
}
