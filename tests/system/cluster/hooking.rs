//! Hooks as Argo CD and Helm write them, and what is undone, with real containers.

use crate::daemon::Daemon;
use crate::setting::{Folder, Setting};
use std::path::Path;

const IMAGE: &str = "localhost/selkie-demo:1";
const APPLICATION: [&str; 3] = ["applications.selkie.dev/shop", "-n", "selkie-system"];

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a manifest");
}

fn map(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{k: '{value}'}}\n")
}

/// A Job with annotations that runs a line of shell.
fn job(name: &str, annotations: &str, script: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{{annotations}}}\nspec:\n  \
         backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        \
         - {{name: c, image: '{IMAGE}', command: [sh, -c, '{script}']}}\n"
    )
}

/// A daemon on Podman with an application `shop` of `source` that nobody syncs but the test.
fn shop(write_source: impl FnOnce(&Path)) -> (Setting, std::path::PathBuf) {
    let folder = Folder::new();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).expect("a folder");
    write_source(&source);
    (Setting::start(folder, &[]), source)
}

fn value(daemon: &Daemon) -> String {
    daemon.value(&["configmap", "settings"], "{.data.k}")
}

fn uid(daemon: &Daemon, job: &str) -> String {
    daemon.value(&["job", job], "{.metadata.uid}")
}

fn succeeded(daemon: &Daemon, job: &str) -> bool {
    daemon.value(&["job", job], "{.status.succeeded}") == "1"
}

#[test]
fn a_sync_that_fails_runs_the_hooks_for_that_and_says_what_the_container_wrote() {
    let argo = |phase: &str| format!("argocd.argoproj.io/hook: {phase}");
    let (setting, source) = shop(|source| {
        write(source, "settings.yaml", &map("one"));
        write(source, "migrate.yaml", &job("migrate", &argo("PreSync"), "echo migrated"));
        write(source, "sorry.yaml", &job("sorry", &argo("SyncFail"), "echo sorry for that"));
    });
    let daemon = &setting.daemon;
    daemon.selkie(&["app", "add", &format!("shop={}", source.display())]);
    daemon.wait_for("the first revision is in force", || value(daemon) == "one" && succeeded(daemon, "migrate"));
    let ready = r#"{.status.conditions[?(@.type=="Ready")]}"#;
    daemon.wait_for("and ready", || daemon.value(&APPLICATION, ready).contains("\"status\":\"True\""));
    assert_eq!(uid(daemon, "sorry"), "", "nothing failed");

    // Both at once, as a commit would come.
    daemon.selkie(&["app", "suspend", "shop"]);
    write(&source, "settings.yaml", &map("two"));
    write(&source, "migrate.yaml", &job("migrate", &argo("PreSync"), "echo no such table; exit 3"));
    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("the hook for failures has run", || succeeded(daemon, "sorry"));
    assert_eq!(daemon.kubectl(&["logs", "job/sorry"]), "sorry for that\n");
    assert_eq!(value(daemon), "one", "what comes after a hook that fails is not applied");
    daemon.wait_for("the status names the pod and its last words", || {
        let failed = daemon.value(&APPLICATION, ready);
        ["\"reason\":\"Failed\"", "Job default/migrate", "Pod migrate-", "exited with code 3", "no such table"]
            .iter()
            .all(|part| failed.contains(part))
    });

    write(&source, "migrate.yaml", &job("migrate", &argo("PreSync"), "echo migrated again"));
    daemon.wait_for("a mended one goes ahead", || value(daemon) == "two" && succeeded(daemon, "migrate"));
    daemon.wait_for("and is ready", || daemon.value(&APPLICATION, ready).contains("\"status\":\"True\""));
}

#[test]
fn hooks_of_helm_are_run_when_it_would_run_them() {
    let helm = |hook: &str, more: &str| format!("helm.sh/hook: {hook}{more}");
    let (setting, source) = shop(|source| {
        write(source, "settings.yaml", &map("one"));
        let both = "pre-install, pre-upgrade";
        write(source, "a.yaml", &job("schema", &helm("pre-install", ", helm.sh/hook-weight: \"-5\""), "echo a"));
        write(source, "b.yaml", &job("seed", &helm("pre-install", ", helm.sh/hook-weight: \"5\""), "echo b"));
        write(source, "c.yaml", &job("check", &helm("post-install", ""), "echo c"));
        write(source, "d.yaml", &job("upgrade", &helm("pre-upgrade", ""), "echo d"));
        let gone = format!("helm.sh/hook: \"{both}\", helm.sh/hook-delete-policy: hook-succeeded");
        write(source, "e.yaml", &job("brief", &gone, "echo e"));
        write(source, "f.yaml", &job("test", &helm("test", ""), "echo f"));
    });
    let daemon = &setting.daemon;
    daemon.selkie(&["app", "add", &format!("shop={}", source.display())]);
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    daemon.wait_for("it is installed", || succeeded(daemon, "check") && daemon.value(&APPLICATION, ready) == "True");
    let log = daemon.log();
    let at = |line: &str| log.find(line).unwrap_or_else(|| panic!("no {line:?} in\n{log}"));
    let order = [
        "PreSync wave -5: Job default/schema",
        "PreSync: Job default/brief",
        "PreSync wave 5: Job default/seed",
        "wave 0: ConfigMap default/settings",
        "PostSync: Job default/check",
    ];
    assert!(order.map(at).is_sorted(), "{log}");
    let times = |job: &str| daemon.value(&["job", job], "{.status.startTime} {.status.completionTime}");
    let (schema, seed, check) = (times("schema"), times("seed"), times("check"));
    let ended = |times: &str| times.split_once(' ').map(|(_, end)| end.to_owned()).expect("an end");
    assert!(ended(&schema) <= seed && ended(&seed) <= check, "{schema}; {seed}; {check}");
    for absent in ["upgrade", "test", "brief"] {
        assert_eq!(uid(daemon, absent), "", "{absent}");
    }

    let installed = ["schema", "seed", "check"].map(|job| uid(daemon, job));
    write(&source, "settings.yaml", &map("two"));
    daemon.wait_for("it is upgraded", || succeeded(daemon, "upgrade") && value(daemon) == "two");
    daemon.wait_for("and ready", || daemon.value(&APPLICATION, ready) == "True");
    let later = &daemon.log()[log.len()..];
    let (before, after) = (later.find("Job default/upgrade"), later.find("wave 0: ConfigMap default/settings"));
    assert!(before.is_some() && before < after && later.contains("Job default/brief"), "{later}");
    assert_eq!(["schema", "seed", "check"].map(|job| uid(daemon, job)), installed, "they are not run again");
    assert_eq!(uid(daemon, "brief"), "");
}

#[test]
fn containers_that_a_sync_removed_run_again_when_that_is_undone() {
    let web = |name: &str, replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
             terminationGracePeriodSeconds: 1\n      containers:\n        \
             - {{name: c, image: '{IMAGE}', command: [sh, -c, 'exec sleep 3600']}}\n"
        )
    };
    let (setting, source) = shop(|source| {
        write(source, "settings.yaml", &map("one"));
        write(source, "kept.yaml", &web("kept", 1));
        write(source, "web.yaml", &web("web", 2));
    });
    let daemon = &setting.daemon;
    daemon.selkie(&["app", "add", &format!("shop={}", source.display())]);
    setting.wait_rolled_out("default", "web", 2);
    setting.wait_rolled_out("default", "kept", 1);
    let of = |name: &str| {
        let all = setting.folder.containers("{{.ID}} {{index .Labels \"io.selkie.pod.name\"}}");
        all.into_iter().filter(|line| line.contains(&format!(" {name}-"))).collect::<Vec<_>>()
    };
    let (kept, removed) = (of("kept"), of("web"));
    assert_eq!((kept.len(), removed.len()), (1, 2));
    std::fs::remove_file(source.join("settings.yaml")).expect("a manifest");
    std::fs::remove_file(source.join("web.yaml")).expect("a manifest");
    daemon.wait_for("its containers are gone", || of("web").is_empty() && value(daemon).is_empty());

    let undone = daemon.try_selkie(&["undo", "shop"]);
    let (said, shown) = (String::from_utf8_lossy(&undone.stderr), String::from_utf8_lossy(&undone.stdout));
    assert!(undone.status.success(), "{said}");
    assert!(said.contains("shop is suspended: made 2 objects again that revision 2 ("), "{said}");
    assert!(shown.contains("+ Deployment default/web") && shown.contains("+ ConfigMap default/settings"), "{shown}");
    assert!(shown.contains("Plan: 2 to add, 0 to change, 0 to delete"), "{shown}");
    let again = of("web");
    assert!(again.len() == 2 && again.iter().all(|one| !removed.contains(one)), "{removed:?} {again:?}");
    assert_eq!((of("kept"), value(daemon).as_str()), (kept.clone(), "one"), "nobody else was disturbed");

    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("the source is followed again", || of("web").is_empty() && value(daemon).is_empty());
    assert_eq!(of("kept"), kept);
}
