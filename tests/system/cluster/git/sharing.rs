//! Many applications of one repository: one mirror, one fetch for all; and the end of mirrors.

use super::Follower;
use crate::git_https::{HttpsServer, PASSWORD, TOKEN, USER};
use crate::repository::GitRepository;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Instant;

const APPS: usize = 40;
const INTERVAL: u64 = 5;

fn write(repository: &GitRepository, text: &str) {
    for n in 0..APPS {
        let directory = repository.work().join(format!("d{n}"));
        std::fs::create_dir_all(&directory).unwrap();
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("map-{n}")},
            "data": {"text": text}});
        std::fs::write(directory.join("map.json"), manifest.to_string()).unwrap();
    }
    repository.commit(text);
    repository.push();
}

fn application(name: &str, url: &str, directory: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "selkie.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "selkie-system"},
        "spec": {"interval": format!("{INTERVAL}s"),
            "source": {"repoURL": url, "ref": "main", "directory": directory, "secretRef": {"name": secret}}},
    })
}

fn secret(name: &str, values: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "selkie-system"},
        "stringData": values})
}

#[test]
fn a_repository_is_asked_once_for_all_its_applications() {
    let repository = GitRepository::new();
    write(&repository, "one");
    let server = HttpsServer::start(repository.folder.path());
    let authority = &server.authority;
    let follower = Follower { daemon: crate::daemon::Daemon::start(&["--no-hosts"]) };
    let mut items = vec![
        secret("password", json!({"ca.crt": authority, "username": USER, "password": PASSWORD})),
        secret("token", json!({"ca.crt": authority, "bearerToken": TOKEN})),
        secret("wrong", json!({"ca.crt": authority, "username": USER, "password": "a guess"})),
    ];
    // Two spellings of one repository.
    let url = |n: usize| if n.is_multiple_of(2) { server.url() } else { format!("{}/", server.url()) };
    items.extend((0..APPS).map(|n| application(&format!("app-{n}"), &url(n), &format!("d{n}"), "password")));
    let begun = Instant::now();
    follower.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    let all_say = |text: &str| {
        let maps = follower.daemon.value(&["configmaps"], "{.items[*].data.text}");
        maps.split(' ').filter(|one| *one == text).count() == APPS
    };
    follower.daemon.wait_for("all are in force", || all_say("one"));
    assert_eq!(follower.mirrors().len(), 1);
    write(&repository, "two");
    follower.daemon.wait_for("all follow", || all_say("two"));
    let (asked, elapsed) = (server.asked.load(Ordering::SeqCst) as u64, begun.elapsed().as_secs());
    // A fetch that finds nothing new is one request, one that does is a few. Each application by itself
    // would have asked several times.
    let most = elapsed / INTERVAL + 12;
    assert!(asked <= most && most < 2 * APPS as u64, "{asked} requests for {APPS} applications in {elapsed} s");

    // Who has other credentials sees what these give, whatever others fetched.
    follower.apply(&application("intruder", &server.url(), "d0", "wrong"));
    follower.wait_errors("intruder", &["refuses the user name or password"]);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    follower.apply(&namespace);
    let mut other = application("other", &server.url(), "d0", "token");
    other["spec"]["namespace"] = json!("other");
    follower.apply(&other);
    let greeting = || follower.daemon.value(&["configmap", "map-0", "-n", "other"], "{.data.text}");
    follower.daemon.wait_for("the other credentials do, too", || greeting() == "two");
    assert_eq!(follower.mirrors().len(), 3);

    // A mirror goes with the last application that uses it.
    let delete = |names: &[&str]| {
        let mut args = vec!["delete", "applications.selkie.dev", "-n", "selkie-system"];
        args.extend(names);
        follower.daemon.kubectl(&args);
    };
    delete(&["intruder", "other", "app-0"]);
    follower.wait_mirrors(1);
    delete(&["--all"]);
    follower.wait_mirrors(0);
    let metrics = follower.daemon.kubectl(&["get", "--raw", "/metrics"]);
    assert!(metrics.contains("selkie_git_fetches_total{outcome=\"ok\"}"), "{metrics}");
}
