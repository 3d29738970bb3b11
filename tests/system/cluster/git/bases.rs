//! Bases in other repositories, as an application fetches them.

use super::Follower;
use crate::daemon::{Daemon, SELKIE, text};
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::git_ssh::SshServer;
use crate::repository::{Base, GitRepository};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

/// Commits a kustomization of this base alone.
fn kustomize(repository: &GitRepository, base: &str) {
    let kustomization = format!("resources:\n- {base}\n");
    std::fs::write(repository.work().join("kustomization.yaml"), kustomization).unwrap();
    repository.commit("a kustomization");
    repository.push();
}

#[test]
fn a_base_on_the_own_server_is_fetched_with_the_own_credentials_where_that_is_allowed() {
    let repository = GitRepository::new();
    let base = Base::beside(&repository);
    let server = HttpsServer::start(repository.folder.path());
    let first = base.push("first base");
    let entry = format!("https://{}/base.git//maps?ref=main", server.address);
    kustomize(&repository, &entry);
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let follower = Follower::start(&server.url(), login);
    follower.wait_refused(&["kustomization.yaml:2:3", "remote bases are not allowed", "spec.kustomize.remoteBases"]);
    follower.patch(json!({"spec": {"kustomize": {"remoteBases": true}}}));
    follower.wait_greeting("first base");
    let bases = || follower.status("app", "{.status.remoteBases}");
    follower.daemon.wait_for("the status pins the base", || bases().contains(&first));
}

#[test]
fn a_base_over_https_comes_to_what_kubectl_makes_of_it() {
    let repository = GitRepository::new();
    let base = Base::beside(&repository);
    let server = HttpsServer::start(repository.folder.path());
    server.open.store(true, Ordering::SeqCst);
    let (ca, overlay) = (server.ca(), repository.folder.path().join("overlay"));
    std::fs::create_dir(&overlay).unwrap();
    let rendered = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).arg(&overlay).env("SELKIE_CONFIG", "/dev/null").env("SELKIE_DATA_DIR", overlay.join("data"));
        // The one is for libgit2, the other for git, which kubectl calls.
        command.env("SSL_CERT_FILE", &ca).env("GIT_SSL_CAINFO", &ca).env("GIT_TERMINAL_PROMPT", "0");
        text(program, &command.output().unwrap())
    };
    let first = base.push("first base");
    base.push("second base");
    let host = server.address;
    for (entry, greeting) in [
        (format!("https://{host}/base.git//maps?ref=main"), "second base"),
        (format!("https://{host}/base.git//maps?ref={first}"), "first base"),
        (format!("https://{host}/base.git/maps"), "second base"),
        (format!("git::https://{host}/base.git//maps?timeout=60s"), "second base"),
    ] {
        let kustomization = format!("namePrefix: my-\nresources: [\"{entry}\"]\nlabels: [{{pairs: {{team: shop}}}}]\n");
        std::fs::write(overlay.join("kustomization.yaml"), kustomization).unwrap();
        let ours = rendered(SELKIE, &["render", "--remote-bases", "-k"]);
        assert_eq!(ours, rendered("kubectl", &["kustomize"]), "{entry}");
        assert!(ours.contains(greeting) && ours.contains("name: my-greeting"), "{entry}: {ours}");
    }
}

#[test]
fn a_base_over_ssh_is_followed_with_the_own_identity() {
    let repository = GitRepository::new();
    let base = Base::beside(&repository);
    let server = SshServer::start();
    base.push("first base");
    kustomize(&repository, &format!("{}//maps?ref=main", server.url(&base.bare)));
    let login = json!({"identity": server.key("user"), "known_hosts": server.known_host("host")});
    let follower = Follower::start(&server.url(&repository.bare()), login);
    follower.patch(json!({"spec": {"kustomize": {"remoteBases": true}}}));
    follower.wait_greeting("first base");
    base.push("second base");
    follower.wait_greeting("second base");
    // Its host is checked as that of the application itself.
    follower.secret(json!({"identity": server.key("user"), "known_hosts": server.known_host("other_host")}));
    follower.wait_refused(&["not the one that the Secret's known_hosts has"]);
    assert_eq!(follower.greeting(), "second base");
}

/// A daemon that trusts the server.
fn trusting(server: &HttpsServer, data: &Path) -> Daemon {
    Daemon::start_with(data, &["--no-hosts"], &format!("export SSL_CERT_FILE='{}'", server.ca().display()))
}

#[test]
fn the_last_good_state_outlives_the_server_of_a_base() {
    let repository = GitRepository::new();
    let base = Base::beside(&repository);
    let mut server = HttpsServer::start(repository.folder.path());
    server.open.store(true, Ordering::SeqCst);
    base.push("first base");
    kustomize(&repository, &format!("https://{}/base.git//maps?ref=main", server.address));
    let follower = Follower { daemon: trusting(&server, &repository.folder.path().join("data")) };
    follower.application("app", &repository.bare().display().to_string(), "60s");
    follower.patch(json!({"spec": {"kustomize": {"remoteBases": true}}}));
    follower.wait_greeting("first base");

    server.stop();
    base.push("second base");
    follower.wait_refused(&["kustomization.yaml:2:3", &server.address.to_string()]);
    let patch = r#"{"data":{"text":"drifted"}}"#;
    follower.daemon.kubectl(&["patch", "configmap", "greeting", "--type=merge", "-p", patch]);
    follower.wait_greeting("first base");
    server.serve();
    follower.wait_greeting("second base");
    follower.daemon.wait_for("the error is gone", || follower.errors() == "[]");
}
