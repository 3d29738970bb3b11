//! The examples for CI, as far as a runner can be imitated: their scripts run in order, in one checkout,
//! with `curl` and `gh` replaced by programs that write down what they were asked.

use crate::daemon::{Daemon, SELKIE, write_program};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const MANIFEST: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: 'web:1'}]}\n";

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    let all: Vec<Value> = serde_saphyr::from_multiple(&example(name)).expect("YAML");
    all.into_iter().next().expect("a document")
}

/// A checkout with the manifests, the script, the snapshot where `curl` takes it from, and the fakes.
struct Checkout {
    folder: tempfile::TempDir,
    selkie: String,
}

impl Checkout {
    fn new() -> Self {
        let checkout = Self { folder: tempfile::tempdir().expect("a folder"), selkie: SELKIE.to_owned() };
        for folder in ["deploy", "ci", "bin"] {
            std::fs::create_dir(checkout.path().join(folder)).expect("a folder");
        }
        checkout.write("deploy/web.yaml", MANIFEST);
        checkout.program("ci/plan", &example("plan"));
        checkout.program("ci/export", &example("export"));
        let curl = "#!/bin/sh\nfor last; do :; done\necho \"curl $*\" >> calls\ncase $last in *snapshot) cp served.json cluster.json ;; esac\n";
        checkout.program("bin/curl", curl);
        checkout.program("bin/gh", "#!/bin/sh\necho \"gh $*\" >> calls\n");
        checkout
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn program(&self, name: &str, content: &str) {
        write_program(&self.path().join(name), content);
    }

    /// Runs a script as runners do: `sh -e`, in the checkout.
    fn sh(&self, script: &str, data: &Path) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-e", "-c", script])
            .current_dir(self.path())
            .env("PATH", format!("{}:{path}", self.path().join("bin").display()))
            .env("SELKIE", &self.selkie)
            .env("SELKIE_DATA_DIR", data)
            .env("SELKIE_CONFIG", "/dev/null")
            .env_remove("KUBECONFIG")
            .env("GITHUB_OUTPUT", self.path().join("outputs"))
            .env("SNAPSHOT_URL", "https://files.example/snapshot")
            .envs([("SNAPSHOT_TOKEN", "t"), ("COMMENT_TOKEN", "t"), ("GH_TOKEN", "t"), ("PULL_REQUEST", "7")])
            .envs([
                ("CI_API_V4_URL", "https://gitlab.example/api/v4"),
                ("CI_PROJECT_ID", "3"),
                ("CI_MERGE_REQUEST_IID", "9"),
            ])
            .output()
            .expect("sh")
    }

    /// The steps of the workflow, with their conditions as GitHub evaluates them.
    fn github(&self, data: &Path) -> bool {
        let workflow = yaml("github.yaml");
        let steps = workflow["jobs"]["plan"]["steps"].as_array().cloned().expect("steps");
        let mut planned = None;
        for step in steps.iter().filter(|step| step["run"].is_string()) {
            let changes = self.read("outputs").contains("changes=true");
            if step["if"].is_string() && !(planned == Some(false) || changes) {
                continue;
            }
            let output = self.sh(step["run"].as_str().expect("a script"), data);
            if step["id"] == "plan" {
                planned = Some(output.status.success());
            } else {
                assert!(output.status.success(), "{step}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        planned == Some(true)
    }

    /// The job's script lines, in one shell.
    fn gitlab(&self, data: &Path) -> bool {
        let job = yaml("gitlab-ci.yml");
        let lines = job["plan"]["script"].as_array().cloned().expect("a script");
        let lines: Vec<&str> = lines.iter().map(|line| line.as_str().expect("a line")).collect();
        self.sh(&lines.join("\n"), data).status.success()
    }
}

#[test]
fn the_examples_for_ci_comment_on_changes() {
    let checkout = Checkout::new();
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    daemon.selkie(&["apply", "-f", &checkout.path().join("deploy").display().to_string()]);
    assert!(checkout.sh("./ci/export served.json", &daemon.data).status.success());
    drop(daemon);
    let data = checkout.path().join("none");

    for run in [Checkout::github, Checkout::gitlab] {
        checkout.write("outputs", "");
        checkout.write("calls", "");
        checkout.write("deploy/web.yaml", MANIFEST);
        assert!(run(&checkout, &data));
        let calls = checkout.read("calls");
        assert!(calls.contains("snapshot") && !calls.contains("comment") && !calls.contains("notes"), "{calls}");

        checkout.write("deploy/web.yaml", &MANIFEST.replace("web:1", "web:2"));
        assert!(run(&checkout, &data));
        let (calls, comment) = (checkout.read("calls"), checkout.read("plan.md"));
        assert!(calls.contains("gh pr comment 7") || calls.contains("merge_requests/9/notes"), "{calls}");
        assert!(comment.contains("1 to change") && comment.contains("2 pods to restart"), "{comment}");

        checkout.write("outputs", "");
        checkout.write("deploy/web.yaml", &MANIFEST.replace("replicas: 2", "replicas: many"));
        assert!(!run(&checkout, &data), "errors fail the job");
        let comment = checkout.read("plan.md");
        assert!(comment.contains("web.yaml:5") && comment.contains("replicas"), "{comment}");
    }
}

#[test]
fn a_plan_that_is_not_known_to_the_end_is_shown_and_fails_the_job() {
    let mut checkout = Checkout::new();
    let plan = "#!/bin/sh\necho 'at least 3 pods to restart'\necho 'error: not known to the end' >&2\nexit 3\n";
    checkout.program("bin/cut-short", plan);
    checkout.selkie = checkout.path().join("bin/cut-short").display().to_string();
    checkout.write("served.json", "{}");
    for run in [Checkout::github, Checkout::gitlab] {
        checkout.write("outputs", "");
        checkout.write("calls", "");
        assert!(!run(&checkout, &checkout.path().join("none")), "nobody can rely on it");
        let calls = checkout.read("calls");
        assert!(calls.contains("gh pr comment 7") || calls.contains("merge_requests/9/notes"), "{calls}");
        assert_eq!(checkout.read("plan.md"), "at least 3 pods to restart\n");
    }
}
