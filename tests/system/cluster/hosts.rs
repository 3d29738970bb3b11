//! Several hosts under one daemon: pods spread over them, a reboot of one concerns no other, the pods of
//! a lost one move, and it is welcome when it is back.

use crate::daemon::Daemon;
use crate::hosts::{Hosts, IMAGE};
use crate::registry::Registry;
use crate::rig;
use selkie::kubelet::runtime::podman::Podman;
use selkie::kubelet::runtime::{ContainerRuntime, ContainerState};
use serde_json::Value;
use std::collections::BTreeMap;

const OURS: &[&str] = &["ps", "--filter", "label=io.selkie.container.name=main", "--format", "{{.ID}}"];

const NODES: [&str; 3] = ["h1", "h2", "h3"];
const TAINTS: [&str; 2] = ["unreachable", "not-ready"];

/// Six pods that leave a lost host after two seconds.
fn manifest() -> String {
    let leave = TAINTS.map(|taint| {
        format!("{{key: node.kubernetes.io/{taint}, operator: Exists, effect: NoExecute, tolerationSeconds: 2}}")
    });
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
      tolerations: [{}]
      containers:
      - name: main
        image: {IMAGE}
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
"#,
        leave.join(", ")
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

/// A daemon with six pods, two on each of the hosts.
fn daemon_with_pods(hosts: &Hosts, more: &[&str]) -> Daemon {
    let flags = hosts.flags();
    let flags = flags.iter().flat_map(|flag| ["--host", flag.as_str()]);
    let daemon = Daemon::start(&flags.chain(more.iter().copied()).collect::<Vec<_>>());
    let file = daemon.data.join("web.yaml");
    std::fs::write(&file, manifest()).expect("the manifest");
    for node in NODES {
        daemon.wait_for("the nodes are ready", || ready(&daemon, node) == "True");
    }
    daemon.kubectl(&["apply", "-f", file.to_str().expect("a path")]);
    daemon.wait_for("two pods on each host", || spread(&daemon) == even());
    daemon
}

fn even() -> BTreeMap<String, usize> {
    NODES.iter().map(|node| ((*node).to_owned(), 2)).collect()
}

#[test]
fn pods_spread_over_hosts_and_one_reboots_alone() {
    let Some(hosts) = Hosts::up(3) else { return };
    let daemon = daemon_with_pods(&hosts, &[]);
    let others = [hosts.podman(1, OURS), hosts.podman(3, OURS)];
    let lost = hosts.podman(2, OURS);
    assert_eq!((lost.len(), others[0].len(), others[1].len()), (2, 2, 2));
    let status = daemon.selkie(&["status"]);
    assert!(NODES.iter().all(|host| status.contains(host)), "{status}");

    hosts.stop(2);
    hosts.start(2);
    daemon.wait_for("two containers run on it again", || hosts.podman(2, OURS).len() == lost.len());
    daemon.wait_for("two pods on each host again", || spread(&daemon) == even());
    assert_eq!(hosts.podman(2, OURS).len(), lost.len(), "nothing runs twice");
    assert_eq!([hosts.podman(1, OURS), hosts.podman(3, OURS)], others, "the other hosts were not disturbed");
}

/// Workloads that differ in where their pods may run, one after the other.
fn mixed(replicas: usize) -> [String; 4] {
    let pod = |app: &str, more: &str| {
        format!(
            "selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    metadata: {{labels: {{app: {app}}}}}\n    spec:\n      \
             terminationGracePeriodSeconds: 1\n      {more}\n      containers:\n      - {{name: main, image: '{IMAGE}', imagePullPolicy: \
             IfNotPresent, command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.1; done\"], \
             resources: {{requests: {{cpu: 50m}}}}}}\n---\n"
        )
    };
    let deployment = |app: &str, replicas: usize, more: &str| {
        let spec = pod(app, more);
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {app}}}\nspec:\n  replicas: {replicas}\n  {spec}"
        )
    };
    let spread = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: \
                  DoNotSchedule, labelSelector: {matchLabels: {app: spread}}}]";
    [
        deployment("pinned", 2, "nodeSelector: {kubernetes.io/hostname: h3}"),
        format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  {}",
            pod("agent", "restartPolicy: Always")
        ),
        deployment("spread", 4, spread),
        deployment("web", replicas, "restartPolicy: Always"),
    ]
}

type Placed = BTreeMap<String, Vec<String>>;

/// The hosts of the pods that a plan says will be made, by workload.
fn predicted(plan: &Value) -> Placed {
    let mut placed = Placed::new();
    for workload in plan["consequences"]["workloads"].as_array().expect("workloads") {
        let name = workload["id"]["name"].as_str().expect("a name").to_owned();
        let steps = workload["steps"].as_array().expect("steps").iter();
        let hosts = steps.filter(|step| step["action"] == "create");
        let mut hosts: Vec<String> = hosts.map(|step| step["host"].as_str().unwrap_or("nowhere").to_owned()).collect();
        hosts.sort();
        if !hosts.is_empty() {
            placed.insert(name, hosts);
        }
    }
    placed
}

/// The hosts of the pods that were not there before and run, by workload.
fn actual(daemon: &Daemon, before: &[String]) -> Placed {
    let template = "{range .items[*]}{.metadata.uid} {.metadata.labels.app} {.spec.nodeName} {.status.phase} \
                    {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let mut placed = Placed::new();
    for line in daemon.value(&["pods"], template).lines() {
        if let [uid, app, host, "Running"] = line.split_whitespace().collect::<Vec<_>>()[..]
            && !before.iter().any(|old| old == uid)
        {
            placed.entry(app.to_owned()).or_default().push(host.to_owned());
        }
    }
    placed.values_mut().for_each(|hosts| hosts.sort());
    placed
}

/// On real Podman hosts, as on the simulated ones that the plan is made with.
#[test]
fn pods_come_to_the_hosts_that_the_plan_names() {
    let Some(hosts) = Hosts::up(3) else { return };
    let flags = hosts.flags();
    let daemon = Daemon::start(&flags.iter().flat_map(|flag| ["--host", flag.as_str()]).collect::<Vec<_>>());
    for node in NODES {
        daemon.wait_for("the nodes are ready", || ready(&daemon, node) == "True");
    }
    let file = daemon.data.join("mixed.yaml");
    let path = file.display().to_string();
    // One workload after the other, then more of one: only that one has new pods. At last all have another command.
    let rounds = (1..=4).map(|count| mixed(2)[..count].concat());
    let more = mixed(5).concat();
    for manifest in rounds.chain([more.clone(), more.replace("sleep 0.1", "sleep 0.2")]) {
        std::fs::write(&file, manifest).expect("the manifest");
        let before = daemon.value(&["pods"], "{.items[*].metadata.uid}");
        let before: Vec<String> = before.split_whitespace().map(str::to_owned).collect();
        let plan: Value = serde_json::from_str(&daemon.selkie(&["plan", "-f", &path, "-o", "json"])).expect("JSON");
        assert_eq!(plan["consequences"]["settled"], true, "{plan:#}");
        let mut predicted = predicted(&plan);
        assert!(!predicted.is_empty(), "{plan:#}");
        daemon.selkie(&["apply", "-f", &path, "--timeout", "2m"]);
        let count = |placed: &Placed| placed.values().map(Vec::len).sum::<usize>();
        daemon.wait_for("the new pods run", || count(&actual(&daemon, &before)) == count(&predicted));
        let mut actual = actual(&daemon, &before);
        let assumptions = plan["consequences"]["assumptions"].as_array().expect("assumptions");
        let may_swap =
            assumptions.iter().any(|one| one.as_str().is_some_and(|one| one.contains("they may swap hosts")));
        assert_eq!(may_swap, predicted.len() > 1, "announced of several workloads, and of no other: {plan:#}");
        if may_swap {
            for app in ["spread", "web"] {
                let counts = [&mut predicted, &mut actual].map(|placed| placed.remove(app).map(|hosts| hosts.len()));
                assert_eq!(counts[0], counts[1], "pods of {app}; the plan: {plan:#}");
            }
        }
        assert_eq!(actual, predicted, "the plan: {plan:#}");
    }
}

/// Which hosts have an image is known of each: the others pull it, and nobody else.
#[test]
fn images_are_pulled_by_the_hosts_that_the_plan_names() {
    let Some(hosts) = Hosts::up(3) else { return };
    let registry = Registry::start_plain();
    let at = format!("{}:{}", Hosts::gateway(), registry.port);
    hosts.trust(&at);
    let image = format!("{at}/shop/web:1");
    hosts.podman(2, &["tag", IMAGE, &image]);
    hosts.podman(2, &["push", "--quiet", &image]);
    let flags = hosts.flags();
    let daemon = Daemon::start(&flags.iter().flat_map(|flag| ["--host", flag.as_str()]).collect::<Vec<_>>());
    for node in NODES {
        daemon.wait_for("the nodes are ready", || ready(&daemon, node) == "True");
    }
    let listed = |node: &str| daemon.value(&["node", node], "{.status.images[*].names}").contains(&image);
    daemon.wait_for("the image of h2 is known", || listed("h2"));
    assert!(!listed("h1") && !listed("h3"));
    let agent = mixed(1)[1].replace(IMAGE, &image);
    let file = daemon.data.join("agent.yaml");
    std::fs::write(&file, agent).expect("the manifest");
    let path = file.display().to_string();
    let text = daemon.selkie(&["plan", "-f", &path]);
    assert!(text.contains(&image), "{text}");
    let plan: Value = serde_json::from_str(&daemon.selkie(&["plan", "-f", &path, "-o", "json"])).expect("JSON");
    let expected = serde_json::json!([{"image": image, "hosts": ["h1", "h3"]}]);
    assert_eq!(plan["consequences"]["pulls"], expected, "{plan:#}");
    assert_eq!(predicted(&plan)["agent"], NODES);

    daemon.selkie(&["apply", "-f", &path, "--timeout", "2m"]);
    assert_eq!(actual(&daemon, &[])["agent"], NODES);
    let template = "{range .items[*]}{.source.host} {.reason}: {.message}{\"\\n\"}{end}";
    let events = daemon.value(&["events", "--field-selector", "involvedObject.kind=Pod"], template);
    let did = |node: &str, what: &str| {
        events.lines().any(|line| line.starts_with(&format!("{node} ")) && line.contains(what) && line.contains(&image))
    };
    for node in ["h1", "h3"] {
        assert!(did(node, "Successfully pulled image") && !did(node, "already present"), "{node}: {events}");
    }
    assert!(did("h2", "already present") && !did("h2", "Successfully pulled image"), "{events}");
    let again: Value = serde_json::from_str(&daemon.selkie(&["plan", "-f", &path, "-o", "json"])).expect("JSON");
    assert_eq!(again["consequences"]["pulls"], serde_json::json!([]), "{again:#}");
}

#[test]
fn pods_of_a_lost_host_move_and_it_is_welcome_back() {
    let Some(hosts) = Hosts::up(3) else { return };
    let daemon = daemon_with_pods(&hosts, &["--node-monitor-grace", "4"]);

    hosts.stop(2);
    daemon.wait_for("h2 is not ready", || !["True", ""].contains(&ready(&daemon, "h2").as_str()));
    let status = daemon.selkie(&["status"]);
    assert!(status.lines().any(|line| line.contains("h2") && line.contains("Unknown")), "{status}");
    daemon.wait_for("its pods are replaced", || {
        let counts = spread(&daemon);
        let on = |node| counts.get(node).copied().unwrap_or_default();
        on("h1") + on("h3") == 6
    });
    let before = [hosts.podman(1, OURS), hosts.podman(3, OURS)];
    assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 6, "{before:?}");

    hosts.start(2);
    daemon.wait_for("h2 is ready again", || ready(&daemon, "h2") == "True");
    daemon.wait_for("h2 is rid of what was moved", || {
        let pods = daemon.value(&["pods", "-l", "app=web"], "{.items[*].metadata.name}");
        hosts.podman(2, &["ps", "--all", "--quiet"]).is_empty() && pods.split_whitespace().count() == 6
    });
    assert_eq!([hosts.podman(1, OURS), hosts.podman(3, OURS)], before, "nobody else was disturbed");
}

#[tokio::test]
async fn a_socket_does_not_make_a_host_this_machine() {
    let Some(hosts) = tokio::task::spawn_blocking(|| Hosts::up(1)).await.expect("hosts") else { return };
    let podman = Podman::connect(&hosts.socket(1), "socket").await.expect("Podman");
    assert!(!podman.info().await.expect("facts").local, "its processes are not ours");
    let pod = rig::pod("elsewhere");
    let made = podman.ensure_sandbox(&rig::sandbox(&pod)).await.expect("a pod");
    let id = podman.create_container(&made.id, &rig::container(&pod, "main", "sleep 60")).await.expect("a container");
    podman.start(&id).await.expect("a process");
    let state = podman.inspect(&id).await.expect("its state").state;
    assert!(matches!(state, ContainerState::Running { .. }), "{state:?}");
}
