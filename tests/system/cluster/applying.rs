//! One-shots: plan, apply, diff, status, get, logs, exec, wait, delete, with and without a daemon.

use crate::daemon::{selkie, text};
use crate::ports;
use crate::setting::{Folder, Setting, edit};

fn guestbook(folder: &Folder) -> String {
    let port = ports::free();
    let reached = format!("HOST\" {port}");
    let listen = format!("\"{port}\"");
    let number = format!(": {port}");
    let path = folder.example("guestbook", &[("HOST\" 8091", &reached), ("\"8091\"", &listen), (": 8091", &number)]);
    path.display().to_string()
}

#[test]
fn a_two_tier_application_is_planned_applied_changed_and_deleted() {
    let folder = Folder::new();
    let example = guestbook(&folder);
    let setting = Setting::start(folder, &[]);
    let daemon = &setting.daemon;

    let plan = daemon.selkie(&["plan", "-f", &example]);
    assert!(
        plan.contains("+ ") && plan.contains("Plan: 8 to add, 0 to change, 0 to delete; 0 pods to restart."),
        "{plan}"
    );
    assert!(
        !plan.contains("example-only-token") && !plan.contains("ZXhhbXBsZS1vbmx5"),
        "the Secret is not shown:\n{plan}"
    );
    assert_eq!(daemon.try_selkie(&["diff", "-f", &example]).status.code(), Some(1));

    daemon.selkie(&["apply", "-f", &example]);
    setting.wait_rolled_out("guestbook", "web", 2);
    setting.wait_rolled_out("guestbook", "store", 1);
    let pod = daemon.value(&["pods", "-n", "guestbook", "-l", "app=web"], "{.items[0].metadata.name}");
    let get = "printf 'GET /cgi-bin/guestbook HTTP/1.0\\r\\n\\r\\n' | nc -w 30 127.0.0.1 8080";
    let page = daemon.selkie(&["exec", "-n", "guestbook", &pod, "--", "sh", "-c", get]);
    assert!(page.contains("The guestbook") && page.contains("The first entry"), "{page}");
    assert_eq!(
        daemon.try_selkie(&["exec", "-n", "guestbook", &pod, "--", "sh", "-c", "exit 7"]).status.code(),
        Some(7)
    );
    let again = daemon.selkie(&["plan", "-f", &example]);
    assert!(again.contains("Plan: 0 to add, 0 to change, 0 to delete; 0 pods to restart."), "{again}");
    let diff = daemon.try_selkie(&["diff", "-f", &example]);
    assert_eq!(
        diff.status.code(),
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&diff.stdout),
        String::from_utf8_lossy(&diff.stderr)
    );
    let machine = daemon.selkie(&["diff", "-f", &example, "-o", "json"]);
    let machine: serde_json::Value = serde_json::from_str(&machine).unwrap();
    assert_eq!(machine["containers"], serde_json::json!({"differences": [], "notCompared": []}), "{machine}");
    // Pods by their workload, as kubectl finds them.
    assert_eq!(daemon.selkie(&["exec", "-n", "guestbook", "deploy/web", "--", "echo", "inside"]), "inside\n");
    assert!(daemon.try_selkie(&["logs", "-n", "guestbook", "deploy/web", "--since=5m"]).status.success());
    let all = daemon.selkie(&["get", "all", "-n", "guestbook"]);
    assert!(
        ["pod/web-", "deployment.apps/store", "replicaset.apps/web-"].iter().all(|name| all.contains(name)),
        "{all}"
    );
    daemon.selkie(&["wait", "-n", "guestbook", "deploy", "--all", "--for=condition=Available", "--timeout=30s"]);
    daemon.selkie(&["wait", "-n", "guestbook", "pods", "-l", "app=web", "--for=jsonpath={.status.phase}=Running"]);
    let status = daemon.selkie(&["status"]);
    assert!(status.contains("guestbook") && status.contains("web") && status.contains("one"), "{status}");
    let got = daemon.selkie(&["get", "deploy,pods", "-n", "guestbook"]);
    assert!(got.contains("deployment.apps/web") && got.contains("2/2"), "{got}");

    // A rolling update never has fewer than two ready pods.
    edit(
        std::path::Path::new(&example).join("web.yaml").as_path(),
        "replicas: 2\n",
        "replicas: 2\n  minReadySeconds: 1\n",
    );
    edit(
        std::path::Path::new(&example).join("web.yaml").as_path(),
        "timeoutSeconds: 3\n          readinessProbe",
        "timeoutSeconds: 4\n          readinessProbe",
    );
    let plan = daemon.selkie(&["plan", "-f", &example]);
    assert!(
        plan.contains("~ ") && plan.contains("Plan: 0 to add, 1 to change, 0 to delete; 2 pods to restart."),
        "{plan}"
    );
    daemon.selkie(&["apply", "-f", &example, "--wait=false"]);
    let mut fewest = u32::MAX;
    daemon.wait_for("the update is done", || {
        let value = daemon.value(&["deploy", "web", "-n", "guestbook"], "{.metadata.generation} {.status.observedGeneration} {.status.readyReplicas} {.status.updatedReplicas} {.status.replicas}");
        let fields: Vec<u32> = value.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        fewest = fewest.min(fields.get(2).copied().unwrap_or(0));
        matches!(fields.as_slice(), [generation, observed, 2, 2, 2] if generation == observed)
    });
    assert!(fewest >= 2, "there were only {fewest} ready pods at one time");

    daemon.selkie(&["delete", "-f", &example]);
    daemon.wait_for("every container is gone", || setting.folder.containers("{{.ID}}").is_empty());
    assert!(!daemon.try_kubectl(&["get", "namespace", "guestbook"]).status.success());
}

#[test]
fn a_one_shot_needs_no_daemon_and_a_later_daemon_adopts_it() {
    let folder = Folder::new();
    let example = guestbook(&folder);
    let host = folder.host();
    let plan = text("plan", &selkie(&folder.data(), &["plan", "-f", &example]));
    assert!(plan.contains("Plan: 8 to add"), "{plan}");
    assert!(!folder.data().join("store.redb").exists(), "a plan leaves nothing behind");

    text("apply", &selkie(&folder.data(), &["apply", "-f", &example, "--host", &host]));
    let running = folder.containers("{{.ID}}");
    assert_eq!(running.len(), 3, "{running:?}");
    let listed = text("get", &selkie(&folder.data(), &["get", "deploy", "-n", "guestbook"]));
    assert!(listed.contains("2/2"), "{listed}");

    let setting = Setting::start(folder, &[]);
    setting.wait_rolled_out("guestbook", "web", 2);
    assert_eq!(setting.folder.containers("{{.ID}}"), running, "the daemon adopts what runs");
}

#[test]
fn a_container_that_ends_as_soon_as_it_has_begun_is_not_taken_for_ready() {
    let setting = Setting::start(Folder::new(), &[]);
    setting.wait_host();
    let manifest = setting.folder.path().join("brief.yaml");
    let brief = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: brief\nspec:\n  selector:\n    matchLabels: {app: brief}\n  template:\n    metadata:\n      labels: {app: brief}\n    spec:\n      containers:\n        - name: brief\n          image: localhost/selkie-demo:1\n          command: [sh, -c, 'echo no database at db:5432; exit 3']\n";
    std::fs::write(&manifest, brief).unwrap();
    let applied = setting.daemon.try_selkie(&["apply", "-f", &manifest.display().to_string(), "--timeout=12s"]);
    let told = String::from_utf8_lossy(&applied.stderr);
    assert_eq!(applied.status.code(), Some(1), "{told}");
    assert!(told.contains("no database at db:5432") && told.contains("CrashLoopBackOff"), "{told}");
}

#[test]
fn logs_wait_and_kubectl_work_on_a_job() {
    let setting = Setting::start(Folder::new(), &[]);
    let manifest = setting.folder.path().join("job.yaml");
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: count\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - name: count\n          image: localhost/selkie-demo:1\n          command: [sh, -c, 'for i in 1 2 3; do echo line $i; done']\n";
    std::fs::write(&manifest, job).unwrap();
    let file = manifest.display().to_string();
    setting.daemon.selkie(&["apply", "-f", &file]);
    setting.daemon.kubectl(&["wait", "--for=condition=complete", "job/count", "--timeout=60s"]);
    let met = setting.daemon.selkie(&["wait", "job/count", "--for=jsonpath='{.status.succeeded}'=1", "--timeout=10"]);
    assert_eq!(met, "job.batch/count condition met\n");
    assert_eq!(setting.daemon.selkie(&["logs", "job/count"]), "line 1\nline 2\nline 3\n");
    assert_eq!(setting.daemon.kubectl(&["logs", "job/count", "--tail=1"]), "line 3\n");
    assert_eq!(setting.daemon.selkie(&["delete", "job", "count"]), "job.batch \"count\" deleted\n");
    setting.daemon.wait_for("its pods go with it", || setting.daemon.value(&["pods"], "{.items}") == "[]");
}
