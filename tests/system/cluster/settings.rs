//! Flags, variables and the configuration file; refusals at start.

use crate::daemon::{Daemon, SELKIE, selkie};
use std::process::Command;

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_daemon_and_a_taken_port_are_refused_with_the_reason() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let second = selkie(&daemon.data, &["up", "--listen", "127.0.0.1:0", "--no-hosts"]);
    assert!(!second.status.success());
    let message = said(&second);
    assert!(
        message.contains("is in use by a selkie daemon") && message.contains(&daemon.pid().to_string()),
        "{message}"
    );

    let server = std::fs::read_to_string(daemon.kubeconfig()).unwrap();
    let address = server.split("https://").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_string();
    let other = tempfile::tempdir().unwrap();
    let taken = selkie(other.path(), &["up", "--listen", &address, "--no-hosts"]);
    let message = said(&taken);
    assert!(!taken.status.success() && message.contains(&address) && message.contains("in use"), "{message}");
}

#[test]
fn the_configuration_file_and_variables_are_flags_in_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, "host:\n  h1: nonsense\n").unwrap();
    let run = |file: &std::path::Path, variable: Option<(&str, &str)>| {
        let mut command = Command::new(SELKIE);
        command
            .arg("up")
            .env("SELKIE_CONFIG", file)
            .env("SELKIE_DATA_DIR", folder.path().join("data"))
            .env("NO_COLOR", "1");
        command.envs(variable);
        said(&command.output().expect("selkie runs"))
    };
    let message = run(&config, None);
    assert!(message.contains("--host") && message.contains("nonsense"), "{message}");
    let message = run(std::path::Path::new("/dev/null"), Some(("SELKIE_HOST", "bad")));
    assert!(message.contains("--host") && message.contains("NAME=URL"), "{message}");
    std::fs::write(&config, "colour: red\n").unwrap();
    let message = run(&config, None);
    assert!(message.contains("unknown key \"colour\"") && message.contains("color"), "{message}");
}

#[test]
fn verbs_without_a_daemon_say_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let logs = selkie(&data, &["logs", "web"]);
    assert!(!logs.status.success() && said(&logs).contains("selkie up"), "{}", said(&logs));
    let kubeconfig = selkie(&data, &["kubeconfig"]);
    assert!(!kubeconfig.status.success() && said(&kubeconfig).contains("selkie up"), "{}", said(&kubeconfig));
    assert!(!data.exists(), "looking makes nothing");
}

#[test]
fn health_and_metrics_answer() {
    let daemon = Daemon::start(&["--no-hosts"]);
    for path in ["/readyz", "/livez", "/healthz"] {
        assert_eq!(daemon.kubectl(&["get", "--raw", path]).trim(), "ok");
    }
    let metrics = daemon.kubectl(&["get", "--raw", "/metrics"]);
    assert!(metrics.contains("apiserver_request_total") && metrics.contains("selkie_store_commits_total"), "{metrics}");
}

#[test]
fn the_kubeconfig_is_one_export_away_and_other_clusters_containers_are_not_ours() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let path = daemon.selkie(&["kubeconfig", "--path"]);
    let path = std::path::Path::new(path.trim());
    assert_eq!(path, daemon.kubeconfig());
    let kubectl = Command::new("kubectl").args(["get", "namespace", "default"]).env("KUBECONFIG", path).output();
    assert!(kubectl.unwrap().status.success());

    let manifest = daemon.data.join("map.yaml");
    std::fs::write(&manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n").unwrap();
    let manifest = manifest.display().to_string();
    daemon.selkie(&["apply", "-f", &manifest]);
    // The data directory's own kubeconfig is no other cluster; a copy might be any.
    let own = path.display().to_string();
    let diff = daemon.selkie(&["--kubeconfig", &own, "diff", "-f", &manifest]);
    assert!(diff.contains("Containers: as the API says."), "{diff}");
    let copy = daemon.data.join("copied-kubeconfig").display().to_string();
    std::fs::copy(path, &copy).unwrap();
    let diff = daemon.try_selkie(&["--kubeconfig", &copy, "diff", "-f", &manifest]);
    assert!(
        said(&diff).contains("all hosts not compared") && said(&diff).contains("where the daemon runs"),
        "{}",
        said(&diff)
    );
    assert!(String::from_utf8_lossy(&diff.stdout).contains("not all compared"));
}
