//! Several hosts under one daemon: pods spread over them, and a reboot of one concerns no other.

use crate::daemon::Daemon;
use crate::hosts::{Hosts, IMAGE};
use std::collections::BTreeMap;

const OURS: &[&str] = &["ps", "--filter", "label=io.selkie.container.name=main", "--format", "{{.ID}}"];

fn manifest() -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 6
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: {IMAGE}
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
"#
    )
}

/// Running pods that are not on their way out, by node.
fn spread(daemon: &Daemon) -> BTreeMap<String, usize> {
    let template = "{range .items[*]}{.spec.nodeName} {.status.phase} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let mut counts = BTreeMap::new();
    for line in daemon.value(&["pods", "-l", "app=web"], template).lines() {
        if let [node, "Running"] = line.split_whitespace().collect::<Vec<_>>()[..] {
            *counts.entry(node.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn ready(daemon: &Daemon, node: &str) -> String {
    daemon.value(&["node", node], "{.status.conditions[?(@.type==\"Ready\")].status}")
}

#[test]
fn pods_spread_over_hosts_and_one_reboots_alone() {
    let Some(hosts) = Hosts::up(3) else { return };
    let flags = hosts.flags();
    let arguments: Vec<&str> = flags.iter().flat_map(|flag| ["--host", flag.as_str()]).collect();
    let daemon = Daemon::start(&arguments);
    let file = daemon.data.join("web.yaml");
    std::fs::write(&file, manifest()).expect("the manifest");
    for node in ["h1", "h2", "h3"] {
        daemon.wait_for("the nodes are ready", || ready(&daemon, node) == "True");
    }
    daemon.kubectl(&["apply", "-f", file.to_str().expect("a path")]);
    let even = BTreeMap::from(["h1", "h2", "h3"].map(|node| (node.to_owned(), 2)));
    daemon.wait_for("two pods on each host", || spread(&daemon) == even);
    let others = [hosts.podman(1, OURS), hosts.podman(3, OURS)];
    let lost = hosts.podman(2, OURS);
    assert_eq!((lost.len(), others[0].len(), others[1].len()), (2, 2, 2));
    let status = daemon.selkie(&["status"]);
    assert!(["h1", "h2", "h3"].iter().all(|host| status.contains(host)), "{status}");

    hosts.stop(2);
    hosts.start(2);
    daemon.wait_for("the daemon notices", || daemon.log().contains("the host answers again"));
    assert!(hosts.podman(2, OURS).len() <= lost.len(), "nothing runs twice");
    assert_eq!([hosts.podman(1, OURS), hosts.podman(3, OURS)], others, "the other hosts were not disturbed");
}
