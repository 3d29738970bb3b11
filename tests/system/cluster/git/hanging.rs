//! Servers that say nothing, or stop in the middle of what they say.

use super::{Follower, PROMPT};
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::GitRepository;
use serde_json::json;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn a_silent_server_holds_up_nobody_else_and_no_shutdown() {
    let repository = GitRepository::new();
    // The kernel accepts; nobody ever answers.
    let silent = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let address = |at: usize| silent[at].local_addr().unwrap();
    let mut follower = Follower::start(&repository.bare().display().to_string(), json!({}));
    follower.wait_greeting("first");
    let urls = [format!("https://{}/r.git", address(0)), format!("ssh://git@{}/r.git", address(1))];
    for (name, url) in ["hangs-https", "hangs-ssh"].iter().zip(&urls) {
        follower.application(name, url, "2s");
    }
    for (name, url) in ["hangs-https", "hangs-ssh"].iter().zip(&urls) {
        follower.wait_errors(name, &[url, "no whole answer within 2 s"]);
    }
    // They are still asked, and still hang; the other application goes on.
    repository.commit("second");
    let pushed = Instant::now();
    repository.push();
    follower.wait_greeting("second");
    assert!(pushed.elapsed() < PROMPT, "seen after {:?}", pushed.elapsed());
    // The silent ones can be deleted at once, and the daemon stops at once.
    let begun = Instant::now();
    follower.daemon.kubectl(&["delete", "applications.selkie.dev", "hangs-https", "-n", "selkie-system"]);
    assert!(begun.elapsed() < PROMPT, "deleted after {:?}", begun.elapsed());
    let took = follower.daemon.stop();
    assert!(took < Duration::from_secs(5), "it stopped after {took:?}");
}

#[test]
fn a_server_that_stops_within_a_pack_leaves_the_last_good_commit() {
    let repository = GitRepository::new();
    let server = HttpsServer::start(repository.folder.path());
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let mut follower = Follower::start(&server.url(), login);
    follower.wait_greeting("first");
    server.stalls.store(true, Ordering::SeqCst);
    repository.add_ballast(1 << 20);
    repository.commit("second");
    repository.push();
    follower.patch(json!({"spec": {"timeout": "2s"}}));
    follower.wait_refused(&["no whole answer within 2 s", "last good revision"]);
    assert_eq!(follower.greeting(), "first");
    let took = follower.daemon.stop();
    assert!(took < Duration::from_secs(5), "it stopped after {took:?}");
    // What was half fetched is no hindrance.
    server.stalls.store(false, Ordering::SeqCst);
    follower.daemon.restart();
    follower.wait_greeting("second");
}
