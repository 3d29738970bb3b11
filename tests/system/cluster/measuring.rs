//! Usage and what follows from it: `kubectl top`, and an autoscaler, on real containers and on
//! simulated ones.

use crate::daemon::Daemon;
use crate::setting::{Folder, Setting};

fn apply(daemon: &Daemon, manifest: &str) {
    let path = daemon.data.join("manifest.yaml");
    std::fs::write(&path, manifest).expect("a manifest");
    daemon.kubectl(&["apply", "-f", path.to_str().expect("a path")]);
}

/// The figures that `kubectl top` shows in the line with these words, without their units.
fn figures(said: &str, words: &[&str]) -> Option<Vec<u64>> {
    let line = said.lines().find(|line| words.iter().all(|word| line.split_whitespace().any(|one| one == *word)))?;
    let number = |field: &str| field.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    Some(line.split_whitespace().skip(words.len()).filter_map(number).collect())
}

fn top(daemon: &Daemon, args: &[&str], words: &[&str]) -> Option<Vec<u64>> {
    let said = daemon.try_kubectl(&[&["top"][..], args].concat());
    figures(&String::from_utf8_lossy(&said.stdout), words)
}

#[test]
fn top_shows_what_containers_use() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    apply(
        daemon,
        "apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: busy
    image: localhost/selkie-demo:1
    command: [sh, -c, 'while :; do :; done']
  - name: idle
    image: localhost/selkie-demo:1
    command: [sleep, '1000']
",
    );
    daemon.kubectl(&["wait", "--for=condition=Ready", "pod/pair", "--timeout=60s"]);
    // How much a busy loop gets depends on who else is busy; a sleeping one gets nothing.
    daemon.wait_for("both containers are measured", || {
        let of = |container| top(daemon, &["pods", "--containers"], &["pair", container]);
        let (Some(busy), Some(idle)) = (of("busy"), of("idle")) else { return false };
        busy[0] > 10 && idle[0] < busy[0] && idle[1] < 64
    });
    let node = daemon.value(&["nodes"], "{.items[0].metadata.name}");
    let machine = top(daemon, &["nodes"], &[&node]).expect("the machine is measured");
    assert!(machine[0] > 0 && machine[2] > 0, "{machine:?}");
    let kubelet = |path: &str| daemon.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/{path}")]);
    assert_eq!(kubelet("healthz"), "ok");
    let summary: serde_json::Value = serde_json::from_str(&kubelet("stats/summary")).expect("JSON");
    let pod = &summary["pods"][0];
    assert_eq!((&summary["node"]["nodeName"], &pod["podRef"]["name"]), (&node.as_str().into(), &"pair".into()));
    let used = |of: &serde_json::Value| of["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap_or_default();
    let [busy, idle] = [&pod["containers"][0], &pod["containers"][1]];
    assert_eq!((&busy["name"], &idle["name"]), (&"busy".into(), &"idle".into()));
    assert!(used(busy) > used(idle) && used(pod) == used(busy) + used(idle), "{summary}");
    assert!(used(&summary["node"]) > 0, "{summary}");
    let metrics = kubelet("metrics/resource");
    let sample = "container_memory_working_set_bytes{container=\"idle\",namespace=\"default\",pod=\"pair\"} ";
    assert!(metrics.contains(sample) && metrics.contains("\nresource_scrape_error 0\n"), "{metrics}");
    let pods: serde_json::Value = serde_json::from_str(&kubelet("pods")).expect("JSON");
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1), "{pods}");
    assert_eq!(kubelet("containerLogs/default/pair/idle"), "");
    let settings: serde_json::Value = serde_json::from_str(&kubelet("configz")).expect("JSON");
    assert_eq!(settings["kubeletconfig"]["maxPods"], 110, "{settings}");
    assert!(kubelet("logs/").contains("<pre>\n"));
    let window = daemon.kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/pair"]);
    assert!(window.contains("\"window\":\"") && window.contains("\"kind\":\"PodMetrics\""), "{window}");
}

#[test]
fn an_autoscaler_follows_the_load() {
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    apply(
        &daemon,
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {hollow.selkie.dev/cpu: 200m, hollow.selkie.dev/memory: 64Mi}
    spec: {containers: [{name: web, image: 'web:1', resources: {requests: {cpu: 100m}}}]}
",
    );
    daemon.kubectl(&["rollout", "status", "deploy/web", "--timeout=60s"]);
    daemon.wait_for("the pod is measured", || {
        top(&daemon, &["pods", "-l", "app=web", "--no-headers"], &[]).is_some_and(|found| found.ends_with(&[200, 64]))
    });
    daemon.kubectl(&["autoscale", "deploy", "web", "--min=1", "--max=3", "--cpu-percent=50"]);
    daemon.wait_for("there are as many pods as it may have", || {
        daemon.value(&["deploy", "web"], "{.status.readyReplicas}") == "3"
    });
    let said = daemon.kubectl(&["describe", "hpa", "web"]);
    assert!(said.contains("SuccessfulRescale") && said.contains("(percentage of request) above target"), "{said}");
    assert!(said.contains("200% (200m) / 50%"), "{said}");
    assert!(daemon.kubectl(&["top", "nodes"]).contains("hollow-1"));
}

/// The example, whose load is turned on before the autoscaler comes and off when it has done its work.
#[test]
fn an_autoscaler_follows_the_load_of_real_containers() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let calm = ("stabilizationWindowSeconds: 60", "stabilizationWindowSeconds: 0");
    let example = setting.folder.example("workloads", &[calm]).join("worker.yaml");
    let text = std::fs::read_to_string(example).expect("the example");
    let (workers, autoscaler) = text.split_once("\n---\n").expect("a Deployment and its autoscaler");
    apply(daemon, workers);
    daemon.kubectl(&["rollout", "status", "deploy/worker", "--timeout=60s"]);
    let busy = daemon.value(&["pods", "-l", "app=worker"], "{.items[0].metadata.name}");
    daemon.kubectl(&["exec", &busy, "--", "touch", "/tmp/busy"]);
    apply(daemon, autoscaler);
    daemon.wait_for("there are two workers", || daemon.value(&["deploy", "worker"], "{.status.readyReplicas}") == "2");
    // How much a busy loop gets depends on who else is busy; its target is 16m.
    let cores = |pod: &str| top(daemon, &["pods", "-l", "app=worker"], &[pod]).map(|found| found[0]);
    assert!(cores(&busy).is_some_and(|cores| cores > 16), "{:?}", cores(&busy));
    let said = daemon.kubectl(&["describe", "hpa", "worker"]);
    let why = "New size: 2; reason: cpu resource utilization (percentage of request) above target";
    assert!(said.contains("SuccessfulRescale") && said.contains(why), "{said}");

    daemon.kubectl(&["exec", &busy, "--", "rm", "/tmp/busy"]);
    daemon.wait_for("there is one worker again", || daemon.value(&["deploy", "worker"], "{.status.replicas}") == "1");
    let said = daemon.kubectl(&["describe", "hpa", "worker"]);
    assert!(said.contains("New size: 1; reason: All metrics below target"), "{said}");
    let left = daemon.value(&["pods", "-l", "app=worker"], "{.items[*].metadata.name}");
    daemon.wait_for("what is left is idle for all who ask", || {
        let found: Vec<u64> = left.split(' ').filter_map(cores).collect();
        !found.is_empty() && found.iter().all(|cores| *cores < 16)
    });
}
