//! What applications tell people and their tools: Events by kubectl, metrics, notifications.

use crate::daemon::Daemon;
use crate::http_server::{HttpServer, Received};
use crate::repository::GitRepository;
use serde_json::{Value, json};
use std::time::Duration;

const APPLICATION: [&str; 3] = ["applications.selkie.dev/app", "-n", "selkie-system"];

/// A daemon that follows the `main` of a repository.
fn follow(repository: &GitRepository) -> Daemon {
    let app = format!("app={}#main", repository.bare().display());
    let daemon = Daemon::start(&["--no-hosts", "--app", &app]);
    daemon.wait_for("the first commit is in force", || greeting(&daemon) == "first");
    daemon
}

fn greeting(daemon: &Daemon) -> String {
    daemon.value(&["configmap", "greeting"], "{.data.text}")
}

#[test]
fn kubectl_shows_what_happened_to_an_application() {
    let repository = GitRepository::new();
    let daemon = follow(&repository);
    std::fs::write(repository.work().join("broken.yaml"), "kind: ConfigMap\n").unwrap();
    let refused = repository.commit("second");
    repository.push();
    daemon.wait_for("the refusal is described, with commit and file", || {
        let described = daemon.kubectl(&[&["describe"], APPLICATION.as_slice()].concat());
        described.lines().any(|line| {
            ["Warning", "Refused", "application-controller", &refused[..7], "broken.yaml:"]
                .iter()
                .all(|part| line.contains(part))
        })
    });
    std::fs::remove_file(repository.work().join("broken.yaml")).unwrap();
    let mended = repository.commit("third");
    repository.push();
    daemon.wait_for("the mended commit is in force", || greeting(&daemon) == "third");
    daemon.kubectl(&["patch", "configmap", "greeting", "--type=merge", "-p", r#"{"data":{"text":"mine"}}"#]);
    daemon.wait_for("that is set right", || greeting(&daemon) == "third");
    daemon.selkie(&["app", "suspend", "app"]);
    daemon.wait_for("kubectl events lists everything in order", || {
        let events = daemon.kubectl(&["events", "-n", "selkie-system", "--for", "applications.selkie.dev/app"]);
        let line = |reason: &str, part: &str| {
            events.lines().position(|line| line.contains(&format!(" {reason} ")) && line.contains(part))
        };
        let drift = line("DriftCorrected", "ConfigMap default/greeting (changed by");
        line("Synced", &mended[..7]).is_some() && drift.is_some() && line("Suspended", "spec.suspend").is_some()
    });
}

#[test]
fn metrics_of_an_application_come_and_go_with_it() {
    let repository = GitRepository::new();
    let daemon = follow(&repository);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let metrics = || daemon.kubectl(&["get", "--raw", "/metrics"]);
    let expected = [
        format!("selkie_app_info{{name=\"app\",revision=\"{}\"}} 1", commit.trim()),
        "selkie_app_condition{name=\"app\",type=\"Ready\",status=\"True\"} 1".to_owned(),
        "selkie_app_syncs_total{name=\"app\",result=\"succeeded\"} 1".to_owned(),
        "selkie_app_sync_duration_seconds_count{name=\"app\"} 1".to_owned(),
        "selkie_app_last_sync_timestamp_seconds{name=\"app\"} ".to_owned(),
    ];
    daemon.wait_for("the metrics tell the commit in force", || {
        let text = metrics();
        expected.iter().all(|line| text.contains(line))
    });
    daemon.kubectl(&[&["delete"], APPLICATION.as_slice()].concat());
    daemon.wait_for("they are gone with it", || !metrics().contains("name=\"app\""));
}

/// What a sent document says in a field.
fn field(received: &Received, name: &str) -> String {
    let document: Value = serde_json::from_str(&received.body).unwrap();
    document[name].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_push_is_followed_by_a_status_of_its_commit_and_a_message() {
    let (repository, server) = (GitRepository::new(), HttpServer::start_tls());
    let (forge, chat) = (server.url(), HttpServer::start());
    let mut daemon = follow(&repository);
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    daemon.wait_for("all of it is ready", || daemon.value(&APPLICATION, ready) == "True");
    let authority = daemon.data.with_extension("crt");
    std::fs::write(&authority, &server.authority).unwrap();
    let authority = format!("--from-file=ca.crt={}", authority.display());
    let secret = ["create", "secret", "generic", "forge", "-n", "selkie-system", "--from-literal=token=hush-token"];
    daemon.kubectl(&[&secret[..], &[authority.as_str()]].concat());
    let notifications = json!({"spec": {"notifications": [
        {"name": "commits", "type": "gitea", "url": format!("{forge}/api/v1"), "repository": "ann/shop",
            "secretRef": {"name": "forge"}},
        {"name": "chat", "type": "slack", "url": chat.url(), "events": ["Refused"],
            "template": "${shortRevision}: ${message}"},
    ]}});
    server.answer("503 Service Unavailable\r\nRetry-After: 1");
    let patch = notifications.to_string();
    daemon.kubectl(&[&["patch"], APPLICATION.as_slice(), &["--type=merge", "-p", &patch]].concat());
    let posts = |commit: &str, state: &str| {
        let line = format!("POST /api/v1/repos/ann/shop/statuses/{commit}");
        let is_it = |one: &Received| one.line == line && field(one, "state") == state;
        server.received().into_iter().filter(is_it).collect::<Vec<_>>()
    };
    let posted = |commit: &str, state: &str| !posts(commit, state).is_empty();
    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    daemon.wait_for("the commit in force succeeds at the second try", || posts(&first, "success").len() == 2);
    let tries = posts(&first, "success");
    assert!(tries[1].at - tries[0].at >= Duration::from_millis(900), "Retry-After is kept");
    assert_eq!(tries[1].headers["authorization"], "token hush-token");

    std::fs::write(repository.work().join("broken.yaml"), "kind: ConfigMap\n").unwrap();
    let broken = repository.commit("second");
    repository.push();
    daemon.wait_for("the broken commit fails", || posted(&broken, "failure"));
    daemon.wait_for("the chat hears why", || {
        chat.received().iter().any(|one| field(one, "text").contains("broken.yaml:"))
    });
    let told = "{.status.notifications.chat.sync}";
    daemon.wait_for("the status says that the chat has heard", || {
        daemon.value(&APPLICATION, told) == format!("Refused@{broken}")
    });

    // A commit that is pushed while the daemon is away gets its status, too.
    daemon.kill();
    std::fs::remove_file(repository.work().join("broken.yaml")).unwrap();
    let mended = repository.commit("third");
    repository.push();
    daemon.restart();
    daemon.wait_for("the mended commit succeeds", || posted(&mended, "success"));
    assert_eq!(chat.received().len(), 1, "the refusal is told once");
    let shown = [daemon.log(), daemon.kubectl(&["get", "events,applications.selkie.dev", "-A", "-o", "yaml"])];
    assert!(shown.iter().all(|text| !text.contains("hush-token")));
}

#[test]
fn the_example_is_accepted() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/notifications");
    let applied = daemon.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", example]);
    assert!(applied.contains("shop serverside-applied"), "{applied}");
}

#[test]
fn a_held_commit_says_when_it_goes_ahead() {
    let repository = GitRepository::new();
    let daemon = follow(&repository);
    // Closed from the last minute on, for almost a day: it cannot open within this test.
    let window = json!({"spec": {"syncWindows": [{"kind": "deny", "schedule": "* * * * *", "duration": "23h",
        "manualSync": true}]}});
    let patch = window.to_string();
    daemon.kubectl(&[&["patch"], APPLICATION.as_slice(), &["--type=merge", "-p", &patch]].concat());
    daemon.wait_for("the window is known", || {
        let seen = daemon.value(&APPLICATION, "{.metadata.generation} {.status.observedGeneration}");
        seen.split_once(' ').is_some_and(|(generation, observed)| generation == observed)
    });
    repository.commit("second");
    repository.push();
    daemon.wait_for("selkie status says that it is held, and by what", || {
        let status = daemon.selkie(&["status"]);
        status.lines().any(|line| ["app", "Held", "deny window"].iter().all(|part| line.contains(part)))
    });
    daemon.wait_for("an Event says it, too", || {
        daemon.kubectl(&["get", "events", "-n", "selkie-system"]).contains("WindowClosed")
    });
    assert_eq!(greeting(&daemon), "first");
    daemon.selkie(&["app", "sync", "app"]);
    assert_eq!(greeting(&daemon), "second");
}
