//! `examples/workloads`, as it is: each does what its first lines say.

use crate::setting::{Folder, Setting};

#[test]
fn the_examples_of_workloads_do_what_they_say() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let folder = setting.folder.example("workloads", &[]);
    daemon.selkie(&["apply", "-f", folder.to_str().expect("a path"), "--timeout", "60s"]);
    daemon.kubectl(&["exec", "deploy/worker", "--", "touch", "/tmp/busy"]);
    // Half a minute later there is another worker, as `measuring` sees.
    daemon.wait_for("the autoscaler has found its workers", || {
        let able = "{.status.currentReplicas} {.status.conditions[?(@.type=='AbleToScale')].status}";
        daemon.value(&["hpa", "worker"], able) == "1 True"
    });
    daemon.wait_for("the journal is begun", || {
        let journal = daemon.try_kubectl(&["exec", "journal-0", "--", "cat", "/data/journal"]);
        journal.stdout.starts_with(b"journal-0 starts after 0 lines\n")
    });
    daemon.wait_for("the host's load is told", || daemon.kubectl(&["logs", "ds/watcher"]).starts_with("one "));
    daemon.kubectl(&["create", "job", "--from=cronjob/report", "now"]);
    daemon.kubectl(&["wait", "--for=condition=Complete", "job/now", "--timeout=60s"]);
    daemon.kubectl(&["delete", "pod", "journal-0"]);
    daemon.wait_for("the next one goes on in the same journal", || {
        let said =
            daemon.try_kubectl(&["exec", "journal-0", "--", "grep", "-c", "starts after [1-9]", "/data/journal"]);
        String::from_utf8_lossy(&said.stdout).trim() == "1"
    });
}
