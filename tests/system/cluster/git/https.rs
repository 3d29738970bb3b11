//! A repository over https: a private CA, passwords, tokens, refs, force-pushes, outages.

use super::{Follower, PROMPT, wait_for_revision};
use crate::git_https::{HttpsServer, PASSWORD, TOKEN, USER};
use crate::repository::{GitRepository, git};
use serde_json::json;
use std::time::Instant;

#[test]
fn a_private_ca_and_a_password_are_asked_for_and_never_shown() {
    let repository = GitRepository::new();
    let server = HttpsServer::start(repository.folder.path());
    let follower = Follower::start(&server.url(), json!({}));
    follower.wait_refused(&["certificate", "ca.crt", "spec.source.secretRef"]);
    follower.secret(json!({"ca.crt": server.authority}));
    follower.wait_refused(&["username and password", "spec.source.secretRef"]);
    follower.secret(json!({"ca.crt": server.authority, "username": USER, "password": "wrong-password"}));
    follower.wait_refused(&["refuses the user name or password"]);
    follower.secret(json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD}));
    follower.wait_greeting("first");

    // Just the one commit is fetched.
    repository.commit("second");
    repository.commit("third");
    repository.push();
    let pushed = Instant::now();
    follower.wait_greeting("third");
    assert!(pushed.elapsed() < PROMPT, "asked every second, seen after {:?}", pushed.elapsed());
    // What other credentials were tried with is gone.
    let mirror = follower.wait_mirrors(1).swap_remove(0);
    assert_eq!(git(&mirror, &["rev-list", "--count", "--glob=refs/selkie/kept"]).trim(), "1", "the mirror is shallow");

    repository.amend("rewritten");
    repository.push();
    follower.wait_greeting("rewritten");

    // The other way of saying who we are.
    follower.secret(json!({"ca.crt": server.authority, "bearerToken": "wrong-token"}));
    follower.wait_refused(&["bearerToken"]);
    repository.commit("with a token");
    repository.push();
    follower.secret(json!({"ca.crt": server.authority, "bearerToken": TOKEN}));
    follower.wait_greeting("with a token");

    let everything = follower.everything_shown();
    for secret in [PASSWORD, TOKEN, "wrong-password", "wrong-token"] {
        assert!(!everything.contains(secret), "{secret} is shown:\n{everything}");
    }
}

#[test]
fn branches_tags_and_commits_are_followed() {
    let repository = GitRepository::new();
    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_string();
    repository.git(&["tag", "-am", "one", "v1"]);
    repository.commit("second");
    repository.push();
    repository.git(&["checkout", "--quiet", "-b", "feature/x"]);
    repository.commit("feature");
    repository.git(&["push", "--quiet", "origin", "feature/x"]);
    let server = HttpsServer::start(repository.folder.path());
    let follower = Follower::start(&server.url(), json!({}));
    follower.secret(json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD}));
    follower.wait_greeting("second");
    for (reference, greeting) in [("feature/x", "feature"), ("v1", "first"), ("main", "second"), (&first, "first")] {
        follower.patch(json!({"spec": {"source": {"ref": reference}}}));
        follower.wait_greeting(greeting);
    }
    wait_for_revision(&follower, &first);
    follower.patch(json!({"spec": {"source": {"ref": "nothing-like-it"}}}));
    follower.wait_refused(&["no branch or tag \"nothing-like-it\""]);
    assert_eq!(follower.greeting(), "first", "the last good commit stays in force");
}

#[test]
fn the_highest_version_in_a_range_is_followed() {
    let repository = GitRepository::new();
    let release = |tag: &str| {
        repository.commit(tag);
        repository.git(&["tag", "-am", tag, tag]);
        repository.push();
    };
    ["v1.2.0", "v1.10.0", "v1.11.0-rc.1", "v2.0.0", "nightly"].iter().for_each(|tag| release(tag));
    let server = HttpsServer::start(repository.folder.path());
    let follower = Follower::start(&server.url(), json!({}));
    follower.secret(json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD}));
    follower.wait_greeting("nightly");
    for (range, greeting) in
        [("semver:1.x", "v1.10.0"), ("semver:>=1.10.0-0 <2.0.0-0", "v1.11.0-rc.1"), ("semver:*", "v2.0.0")]
    {
        follower.patch(json!({"spec": {"source": {"ref": range}}}));
        follower.wait_greeting(greeting);
    }
    // New ones count as they come; lower ones do not.
    release("v1.99.0");
    release("v2.0.1");
    follower.wait_greeting("v2.0.1");
    let tip = repository.git(&["rev-parse", "HEAD"]).trim().to_string();
    wait_for_revision(&follower, &tip);
    follower.patch(json!({"spec": {"source": {"ref": "semver:^3"}}}));
    follower.wait_refused(&["no tag is a version in the range \"^3\""]);
    assert_eq!(follower.greeting(), "v2.0.1", "the last good one stays in force");
    // The same rules where the repository is read in place.
    let local = Follower::start(&repository.bare().display().to_string(), json!({}));
    local.patch(json!({"spec": {"source": {"ref": "semver:~1.2"}}}));
    local.wait_greeting("v1.2.0");
}

#[test]
fn credentials_in_the_address_are_never_shown() {
    let repository = GitRepository::new();
    let server = HttpsServer::start(repository.folder.path());
    let url = server.url().replace("https://", "https://deployer:hush-in-url@");
    let follower = Follower::start(&url, json!({"ca.crt": server.authority}));
    follower.wait_refused(&["https://***@127.0.0.1"]);
    let everything = follower.everything_shown();
    assert!(!everything.contains("hush-in-url"), "{everything}");
}

#[test]
fn a_server_that_goes_away_changes_nothing_and_is_followed_again_when_it_comes_back() {
    let repository = GitRepository::new();
    let mut server = HttpsServer::start(repository.folder.path());
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let follower = Follower::start(&server.url(), login);
    follower.wait_greeting("first");
    server.stop();
    follower.wait_refused(&["127.0.0.1"]);
    // Drift is set right from the last good commit all the same.
    let daemon = &follower.daemon;
    daemon.kubectl(&["patch", "configmap", "greeting", "--type=merge", "-p", r#"{"data":{"text":"drifted"}}"#]);
    follower.wait_greeting("first");
    repository.commit("second");
    repository.push();
    server.serve();
    follower.wait_greeting("second");
    daemon.wait_for("the error is gone", || follower.errors() == "[]");
}
