//! A repository over ssh: keys of users and hosts.

use super::Follower;
use crate::git_ssh::SshServer;
use crate::repository::GitRepository;
use serde_json::json;

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
