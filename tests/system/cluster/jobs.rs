//! Jobs with policies, on real containers: each index has its own limit, some exit codes end an index or
//! the whole, some ends do not count, and enough can be less than all.

use crate::daemon::Daemon;
use crate::setting::{Folder, Setting};

/// An Indexed Job named `name` with these fields of its spec, whose pods run `script`.
fn indexed(name: &str, script: &str, spec: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  completionMode: Indexed
{spec}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: localhost/selkie-demo:1
        command: [sh, -c, '{script}']
---
"
    )
}

const FOREVER: &str = "trap \"exit 143\" TERM; while :; do sleep 1 & wait $!; done";

/// Index 0 is good, 1 fails for good, 2 fails whenever it is tried.
fn per_index() -> String {
    let script = "case $JOB_COMPLETION_INDEX in 0) exit 0;; 1) exit 42;; *) exit 1;; esac";
    indexed(
        "each",
        script,
        "  completions: 3
  parallelism: 3
  backoffLimitPerIndex: 1
  podFailurePolicy:
    rules:
    - {action: FailIndex, onExitCodes: {operator: In, values: [42]}}",
    )
}

/// One index is enough; the others would never end.
fn enough() -> String {
    indexed(
        "enough",
        &format!("[ $JOB_COMPLETION_INDEX = 1 ] && exit 0; {FOREVER}"),
        "  completions: 3
  parallelism: 3
  successPolicy:
    rules:
    - {succeededIndexes: \"1-2\", succeededCount: 1}",
    )
}

/// The first failure of that kind ends all.
fn fatal() -> String {
    indexed(
        "fatal",
        &format!("[ $JOB_COMPLETION_INDEX = 0 ] && exit 3; {FOREVER}"),
        "  completions: 2
  parallelism: 2
  backoffLimit: 6
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: c, operator: In, values: [3]}}",
    )
}

/// Not one failure is allowed, but evictions are none.
fn patient() -> String {
    indexed(
        "patient",
        FOREVER,
        "  completions: 1
  backoffLimit: 0
  podFailurePolicy:
    rules:
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget, status: \"True\"}]}",
    )
}

/// Somebody else's, who never comes.
const ELSEWHERE: &str = "apiVersion: batch/v1
kind: Job
metadata: {name: elsewhere}
spec:
  managedBy: example.com/manager
  ttlSecondsAfterFinished: 0
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'localhost/selkie-demo:1'}]}}
";

/// As its manager would.
fn complete(daemon: &Daemon, job: &str) {
    let at = "2024-01-01T00:00:00Z";
    let condition = |kind: &str| {
        format!(
            r#"{{"type":"{kind}","status":"True","reason":"CompletionsReached","lastTransitionTime":"{at}","lastProbeTime":"{at}"}}"#
        )
    };
    let (criteria, complete) = (condition("SuccessCriteriaMet"), condition("Complete"));
    let status = format!(
        r#"{{"status":{{"startTime":"{at}","completionTime":"{at}","succeeded":1,"conditions":[{criteria},{complete}]}}}}"#
    );
    daemon.kubectl(&["patch", "job", job, "--subresource=status", "--type=merge", "-p", &status]);
}

fn condition(daemon: &Daemon, job: &str, kind: &str) -> String {
    let of = format!("?(@.type=='{kind}')");
    let path = format!("{{.status.conditions[{of}].reason}}: {{.status.conditions[{of}].message}}");
    daemon.value(&["job", job], &path)
}

/// The pods of a Job, as `index phase`, in order.
fn pods(daemon: &Daemon, job: &str) -> Vec<String> {
    let path = "{range .items[*]}{.metadata.labels.batch\\.kubernetes\\.io/job-completion-index} {.status.phase}{\"\\n\"}{end}";
    let listed = daemon.value(&["pods", "-l", &format!("job-name={job}")], path);
    let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn jobs_follow_their_policies() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let file = setting.folder.path().join("jobs.yaml");
    std::fs::write(&file, [per_index(), enough(), fatal(), patient(), ELSEWHERE.to_owned()].concat())
        .expect("manifests");
    daemon.kubectl(&["apply", "-f", file.to_str().expect("a path")]);

    daemon.kubectl(&["wait", "--for=condition=Complete", "job/enough", "--timeout=60s"]);
    assert_eq!(condition(daemon, "enough", "SuccessCriteriaMet"), "SuccessPolicy: Matched rules at index 0");
    assert_eq!(daemon.value(&["job", "enough"], "{.status.completedIndexes} {.status.succeeded}"), "1 1");
    daemon.wait_for("the others end with it", || pods(daemon, "enough") == ["1 Succeeded"]);

    daemon.kubectl(&["wait", "--for=condition=Failed", "job/fatal", "--timeout=60s"]);
    let why = condition(daemon, "fatal", "Failed");
    assert!(why.starts_with("PodFailurePolicy: Container c for pod default/fatal-0-"), "{why}");
    assert!(why.ends_with(" failed with exit code 3 matching FailJob rule at index 0"), "{why}");
    daemon.wait_for("the others end with it", || pods(daemon, "fatal").iter().all(|pod| pod.ends_with(" Failed")));

    let first = || daemon.value(&["pods", "-l", "job-name=patient"], "{.items[0].metadata.name}");
    daemon.wait_for("it runs", || pods(daemon, "patient") == ["0 Running"]);
    let evicted = first();
    let eviction = setting.folder.path().join("eviction.json");
    let body = format!(
        r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{evicted}","namespace":"default"}}}}"#
    );
    std::fs::write(&eviction, body).expect("a file");
    let path = format!("/api/v1/namespaces/default/pods/{evicted}/eviction");
    daemon.kubectl(&["create", "--raw", &path, "-f", eviction.to_str().expect("a path")]);
    daemon.wait_for("another runs in its place", || {
        pods(daemon, "patient").contains(&"0 Running".to_owned()) && first() != evicted
    });
    assert_eq!(daemon.value(&["job", "patient"], "{.status.failed}{.status.conditions}"), "");

    daemon.kubectl(&["wait", "--for=condition=Failed", "job/each", "--timeout=60s"]);
    assert_eq!(condition(daemon, "each", "Failed"), "FailedIndexes: Job has failed indexes");
    let counts = "{.status.completedIndexes} {.status.failedIndexes} {.status.succeeded} {.status.failed}";
    assert_eq!(daemon.value(&["job", "each"], counts), "0 1,2 1 3");
    assert_eq!(pods(daemon, "each"), ["0 Succeeded", "1 Failed", "2 Failed", "2 Failed"]);

    assert_eq!(pods(daemon, "elsewhere"), [""; 0], "its manager makes its pods");
    complete(daemon, "elsewhere");
    daemon.wait_for("its time is up", || !daemon.try_kubectl(&["get", "job", "elsewhere"]).status.success());
}
