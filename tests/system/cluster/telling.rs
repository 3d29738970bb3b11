//! What applications tell people and their tools: Events by kubectl, and metrics.

use crate::daemon::Daemon;
use crate::repository::GitRepository;
use serde_json::json;

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

#[test]
fn a_held_commit_says_when_it_goes_ahead() {
    let repository = GitRepository::new();
    let daemon = follow(&repository);
    // Closed from the last minute on, for almost a day: it cannot open within this test.
    let window = json!({"spec": {"syncWindows": [{"kind": "deny", "schedule": "* * * * *", "duration": "23h",
        "manualSync": true}]}});
    let patch = window.to_string();
    daemon.kubectl(&[&["patch"], APPLICATION.as_slice(), &["--type=merge", "-p", &patch]].concat());
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
