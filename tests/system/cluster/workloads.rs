//! Deployments, StatefulSets, DaemonSets and CronJobs against a real daemon with hollow hosts, by kubectl.

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

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {kubernetes.io/change-cause: first}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

#[test]
fn a_deployment_rolls_out_waits_and_goes_back_as_kubectl_says() {
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    let done = || {
        let said = daemon.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        assert!(said.contains("deployment \"web\" successfully rolled out"), "{said}");
    };
    let all = |image: &str| daemon.wait_for(image, || images(&daemon, "web") == [image; 3].join(" "));
    apply(&daemon, WEB);
    done();
    all("web:1");

    // What is paused is changed but not rolled out.
    daemon.kubectl(&["rollout", "pause", "deployment/web"]);
    apply(&daemon, &WEB.replace("web:1", "web:2").replace("first", "second"));
    daemon.wait_for("the change is seen", || {
        daemon
            .value(&["deployment", "web"], "{.metadata.generation} {.status.observedGeneration}")
            .split(' ')
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            == 1
    });
    assert_eq!(images(&daemon, "web"), ["web:1"; 3].join(" "));
    assert_eq!(
        daemon.value(&["deployment", "web"], "{.status.conditions[?(@.type=='Progressing')].reason}"),
        "DeploymentPaused"
    );
    daemon.kubectl(&["rollout", "resume", "deployment/web"]);
    done();
    all("web:2");
    assert_eq!(
        daemon.value(&["deployment", "web"], "{.status.conditions[?(@.type=='Progressing')].reason}"),
        "NewReplicaSetAvailable"
    );

    let history = daemon.kubectl(&["rollout", "history", "deployment/web"]);
    let lines: Vec<Vec<&str>> = history.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[..2], [["1", "first"], ["2", "second"]], "{history}");
    let first = daemon.kubectl(&["rollout", "history", "deployment/web", "--revision=1"]);
    assert!(first.contains("web:1"), "{first}");
    daemon.kubectl(&["rollout", "pause", "deployment/web"]);
    let refused = daemon.try_kubectl(&["rollout", "undo", "deployment/web"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("paused deployment"), "{refused:?}");
    daemon.kubectl(&["rollout", "resume", "deployment/web"]);
    daemon.kubectl(&["rollout", "undo", "deployment/web"]);
    done();
    all("web:1");
    assert_eq!(
        daemon.value(&["deployment", "web"], "{.metadata.annotations.deployment\\.kubernetes\\.io/revision}"),
        "3"
    );
    daemon.kubectl(&["rollout", "undo", "deployment/web", "--to-revision=2"]);
    done();
    all("web:2");
    let sets = daemon.value(&["replicasets", "-l", "app=web"], "{.items[*].metadata.name}");
    assert_eq!(sets.split(' ').count(), 2, "sets are used again: {sets}");

    let before = names(&daemon, "web");
    daemon.kubectl(&["rollout", "restart", "deployment/web"]);
    done();
    daemon.wait_for("the former pods are gone", || {
        let now = names(&daemon, "web");
        now.split(' ').count() == 3 && now.split(' ').all(|name| !before.contains(name))
    });
    let stamp = "{.spec.template.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt}";
    assert!(!daemon.value(&["deployment", "web"], stamp).is_empty());
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
