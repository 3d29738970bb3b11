//! StatefulSets, DaemonSets and CronJobs against a real daemon with hollow hosts, by kubectl.

use crate::daemon::Daemon;

fn apply(daemon: &Daemon, manifest: &str) {
    let path = daemon.data.join("manifest.yaml");
    std::fs::write(&path, manifest).expect("a manifest");
    daemon.kubectl(&["apply", "-f", path.to_str().expect("a path")]);
}

fn names(daemon: &Daemon, app: &str) -> String {
    daemon.value(&["pods", "-l", &format!("app={app}"), "--sort-by=.metadata.name"], "{.items[*].metadata.name}")
}

fn images(daemon: &Daemon, app: &str) -> String {
    daemon.value(
        &["pods", "-l", &format!("app={app}"), "--sort-by=.metadata.name"],
        "{.items[*].spec.containers[0].image}",
    )
}

const DB: &str = "apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: 'db:1'}]}
";

#[test]
fn a_stateful_set_keeps_names_and_rolls_out_and_back() {
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    apply(&daemon, DB);
    let said = daemon.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    assert!(said.contains("roll out complete: 3 new pods"), "{said}");
    assert_eq!(names(&daemon, "db"), "db-0 db-1 db-2");
    let identity = "{.spec.hostname} {.spec.subdomain} {.metadata.labels.apps\\.kubernetes\\.io/pod-index}";
    assert_eq!(daemon.value(&["pod", "db-1"], identity), "db-1 db 1");

    apply(&daemon, &DB.replace("db:1", "db:2"));
    daemon.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    assert_eq!(images(&daemon, "db"), "db:2 db:2 db:2");
    let history = daemon.kubectl(&["rollout", "history", "statefulset/db"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    daemon.kubectl(&["rollout", "undo", "statefulset/db"]);
    daemon.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    assert_eq!(images(&daemon, "db"), "db:1 db:1 db:1");

    daemon.kubectl(&["scale", "statefulset/db", "--replicas=1"]);
    daemon.wait_for("the last ones go", || names(&daemon, "db") == "db-0");
    daemon.kubectl(&["delete", "pod", "db-0"]);
    daemon.wait_for("its successor bears its name", || {
        daemon.value(&["statefulset", "db"], "{.status.readyReplicas}") == "1" && names(&daemon, "db") == "db-0"
    });
}

const AGENT: &str = "apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: 'agent:1'}]}
";

fn hosts(daemon: &Daemon) -> Vec<String> {
    let nodes = daemon.value(&["pods", "-l", "app=agent"], "{.items[*].spec.nodeName}");
    let mut nodes: Vec<_> = nodes.split_whitespace().map(str::to_owned).collect();
    nodes.sort();
    nodes
}

#[test]
fn a_daemon_set_has_a_pod_on_every_host_it_is_for() {
    let daemon = Daemon::start(&["--hollow-hosts", "3"]);
    let nodes = daemon.value(&["nodes", "--sort-by=.metadata.name"], "{.items[*].metadata.name}");
    let nodes: Vec<_> = nodes.split_whitespace().map(str::to_owned).collect();
    // A host that takes no other pods has its agent all the same.
    daemon.kubectl(&["cordon", &nodes[0]]);
    apply(&daemon, AGENT);
    daemon.kubectl(&["rollout", "status", "daemonset/agent", "--timeout=60s"]);
    assert_eq!(hosts(&daemon), nodes);

    apply(&daemon, &AGENT.replace("agent:1", "agent:2"));
    daemon.kubectl(&["rollout", "status", "daemonset/agent", "--timeout=60s"]);
    assert_eq!(images(&daemon, "agent"), ["agent:2"; 3].join(" "));
    daemon.kubectl(&["rollout", "undo", "daemonset/agent"]);
    daemon.kubectl(&["rollout", "status", "daemonset/agent", "--timeout=60s"]);
    daemon.wait_for("the former image is back", || images(&daemon, "agent") == ["agent:1"; 3].join(" "));

    daemon.kubectl(&["taint", "node", &nodes[1], "gpu=yes:NoExecute"]);
    daemon.wait_for("the tainted host is left", || hosts(&daemon) == [nodes[0].clone(), nodes[2].clone()]);
    daemon.kubectl(&["taint", "node", &nodes[1], "gpu-"]);
    daemon.wait_for("it is welcome back", || hosts(&daemon) == nodes);
}

#[test]
fn a_cron_job_starts_jobs_when_they_are_due() {
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let job = "{spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'c:1'}]}}}}";
    let cron = |name: &str, suspend: bool| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: {name}}}\nspec: {{schedule: '@every 1s', \
             suspend: {suspend}, successfulJobsHistoryLimit: 1000, jobTemplate: {job}}}\n---\n"
        )
    };
    apply(&daemon, &(cron("tick", false) + &cron("rest", true)));
    // Hollow containers of jobs end soon: the job may be active no more.
    let jobs = || daemon.value(&["jobs"], "{.items[*].metadata.name}");
    daemon.wait_for("the job is made", || jobs().starts_with("tick-"));
    let name = jobs().split_whitespace().next().unwrap_or_default().to_owned();
    assert_eq!(daemon.value(&["job", &name], "{.metadata.ownerReferences[0].name}"), "tick");
    daemon
        .wait_for("the run is noted", || !daemon.value(&["cronjob", "tick"], "{.status.lastScheduleTime}").is_empty());
    daemon.wait_for("the job has its pod", || {
        !daemon.value(&["pods", "-l", &format!("job-name={name}")], "{.items[0].metadata.name}").is_empty()
    });
    assert!(!jobs().contains("rest-"));
}
