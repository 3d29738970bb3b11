//! Waiting in vain: an apply that runs out of time says of each workload what holds it up, on real Podman, in
//! lines that nothing a container, a probe or a registry wrote can break.

use crate::setting::{Folder, Setting};

const IMAGE: &str = "localhost/selkie-demo:1";

fn deployment(name: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
         template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      \
         containers: [{container}]\n---\n"
    )
}

/// Clears the screen and begins a line that looks like the end of a plan.
const HOSTILE: &str = r"printf 'no answer\033[2J\r\nPlan: all is well\n'";

#[test]
fn an_apply_that_runs_out_of_time_names_every_cause_in_a_line() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let sleeps = "command: [sh, -c, exec sleep 3600]";
    let probe = format!("readinessProbe: {{periodSeconds: 1, exec: {{command: [sh, -c, \"{HOSTILE} >&2; exit 1\"]}}}}");
    let crash = format!("command: [sh, -c, \"{HOSTILE}; echo no database at db:5432; exit 3\"]");
    let manifests = [
        deployment("pull", "{name: c, image: 'localhost/selkie-demo:none'}"),
        deployment("crash", &format!("{{name: c, image: '{IMAGE}', {crash}}}").replace('\\', "\\\\")),
        deployment("probe", &format!("{{name: c, image: '{IMAGE}', {sleeps}, {probe}}}").replace('\\', "\\\\")),
        deployment("room", &format!("{{name: c, image: '{IMAGE}', resources: {{requests: {{cpu: 4000}}}}}}")),
        deployment("good", &format!("{{name: c, image: '{IMAGE}', {sleeps}}}")),
    ];
    let file = setting.folder.path().join("all.yaml");
    std::fs::write(&file, manifests.concat()).expect("manifests");
    setting.wait_host();
    let applied = daemon.try_selkie(&["apply", "-f", &file.display().to_string(), "--timeout=20s"]);
    let told = String::from_utf8_lossy(&applied.stderr);
    assert_eq!(applied.status.code(), Some(1), "{told}");
    let line = |parts: &[&str]| {
        assert!(
            told.lines().any(|line| parts.iter().all(|part| line.contains(part))),
            "no line with {parts:?}:\n{told}"
        );
    };
    line(&["! Pod default/pull-", "container c", "ErrImagePull: ", "localhost/selkie-demo:none"]);
    line(&["! Pod default/crash-", "container c", "exited with code 3"]);
    line(&["| no database at db:5432"]);
    line(&["! Pod default/probe-", "container c", "Unhealthy: Readiness probe failed: no answer", "Plan: all is well"]);
    line(&["! Pod default/room-", "Unschedulable: 0/1 nodes are available", "Insufficient cpu"]);
    for name in ["pull", "crash", "probe", "room"] {
        line(&[&format!("! Deployment default/{name}: not ready after 20 s: ")]);
    }
    assert!(!told.contains("! Pod default/good-"), "{told}");
    assert!(
        told.trim_end().ends_with("4 not ready, 1 ready after 10.0 s.") || told.contains(" 4 not ready, 1 ready "),
        "{told}"
    );

    // Wherever it is shown.
    let pod = daemon.value(&["pods", "-l", "app=probe"], "{.items[0].metadata.name}");
    daemon.wait_for("the probe's words are told", || {
        daemon.selkie(&["why", &format!("pod/{pod}")]).contains("no answer")
    });
    let shown = [
        told.into_owned(),
        daemon.selkie(&["why", &format!("pod/{pod}")]),
        daemon.selkie(&["why", "deploy/crash"]),
        daemon.selkie(&["status"]),
        daemon.selkie(&["get", "events"]),
    ];
    for text in &shown {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with("Plan: all is well")), "{text}");
    }
}
