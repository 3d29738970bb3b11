//! The pages of the README on one-shots and CI: every command in them, in order, as it is written there.

use crate::daemon::{Daemon, SELKIE, run};
use crate::ports;
use crate::setting::Folder;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The commands of each block in a section.
fn blocks(section: &str) -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let heading = format!("\n## {section}\n");
    let (_, text) = readme.split_once(&heading).unwrap_or_else(|| panic!("no section {section}"));
    let text = text.split("\n## ").next().unwrap_or(text);
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
    let commands: Vec<Vec<String>> = blocks.map(|block| block.lines().map(str::to_owned).collect()).collect();
    assert!(!commands.is_empty(), "{section} has commands");
    commands
}

/// A shell whose `selkie` is the one that is tested.
struct Shell {
    directory: PathBuf,
    data: PathBuf,
    config: PathBuf,
    bin: tempfile::TempDir,
}

impl Shell {
    fn new(directory: &Path, data: &Path, config: &Path) -> Self {
        let bin = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(SELKIE, bin.path().join("selkie")).expect("a link");
        Self { directory: directory.into(), data: data.into(), config: config.into(), bin }
    }

    fn sh(&self, command: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-e", "-c", command])
            .current_dir(&self.directory)
            .env("PATH", format!("{}:{path}", self.bin.path().display()))
            .env("SELKIE_DATA_DIR", &self.data)
            .env("SELKIE_CONFIG", &self.config)
            .env("NO_COLOR", "1")
            .env_remove("KUBECONFIG")
            .output()
            .expect("sh")
    }

    /// What each command printed.
    fn all(&self, commands: &[String]) -> Vec<String> {
        let each = |command: &String| {
            let output = self.sh(command);
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{command}\nended with {}:\n{out}{err}", output.status);
            out.into_owned()
        };
        commands.iter().map(each).collect()
    }
}

#[test]
fn the_page_on_one_shots_is_true() {
    let folder = Folder::new();
    let port = ports::free();
    folder.example("hello", &[("hostPort: 8080", &format!("hostPort: {port}"))]);
    let examples = folder.path().join("examples");
    std::fs::create_dir(&examples).expect("a folder");
    std::fs::rename(folder.path().join("hello"), examples.join("hello")).expect("a rename");
    let config = folder.path().join("config.yaml");
    let (name, url) =
        folder.host().split_once('=').map(|(name, url)| (name.to_owned(), url.to_owned())).expect("a host");
    std::fs::write(&config, format!("host:\n  {name}: {url}\n")).expect("a configuration");
    let shell = Shell::new(folder.path(), &folder.data(), &config);
    let [commands] = <[Vec<String>; 1]>::try_from(blocks("One-shots")).expect("one block");
    let said = shell.all(&commands);
    assert!(said[0].contains("Plan: 3 to add") && said[1].contains("3 to add"), "{said:?}");
    assert_eq!(folder.containers("{{.ID}}").len(), 3, "the containers stay");
    assert!(said[2].contains("hello-web") && said[3].contains("deployment.apps/hello-worker"), "{said:?}");
}

#[test]
fn the_page_on_ci_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let deploy = folder.path().join("deploy");
    std::fs::create_dir(&deploy).expect("a folder");
    let web = |image: &str| {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
             template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: '{image}'}}]}}\n"
        );
        std::fs::write(deploy.join("web.yaml"), text).expect("a manifest");
    };
    web("web:1");
    let [export, plans, application] = <[Vec<String>; 3]>::try_from(blocks("In CI")).expect("three blocks");
    let daemon = Daemon::start(&["--hollow-hosts", "2", "--app", &format!("shop={}", deploy.display())]);
    daemon.wait_for("the pod runs", || daemon.value(&["deploy", "web"], "{.status.readyReplicas}") == "1");
    let none = Path::new("/dev/null");
    let machine = Shell::new(folder.path(), &daemon.data, none);
    machine.all(&export);

    let runner = Shell::new(folder.path(), &folder.path().join("no-data"), none);
    web("web:2");
    let said = runner.all(&plans);
    assert!(said[0].contains("Plan: 0 to add, 1 to change, 0 to delete; 1 pod to restart."), "{said:?}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    let plan: serde_json::Value = serde_json::from_str(&read("plan.json")).expect("JSON");
    assert_eq!(plan["schema"], "selkie.dev/plan/v1");
    assert!(read("plan.md").contains("1 to change"), "{}", read("plan.md"));

    // The commit above is in force by now, or on its way: somebody suspends, and looks at the next one.
    let image = || daemon.value(&["deploy", "web"], "{.spec.template.spec.containers[0].image}");
    daemon.wait_for("the change is in force", || {
        let path = "{.metadata.generation} {.status.observedGeneration} {.status.updatedReplicas} {.status.replicas}";
        let seen = daemon.value(&["deploy", "web"], path);
        image() == "web:2" && matches!(seen.split(' ').collect::<Vec<_>>()[..], [a, b, "1", "1"] if a == b)
    });
    machine.all(&application[..1]);
    web("web:3");
    let said = machine.all(&application[1..]);
    assert!(said[0].contains("1 to change") && image() == "web:3", "{said:?}");
    assert!(run("ls", &[folder.path()]).contains("shop.plan"));
    assert!(machine.all(&["selkie app list".to_owned()])[0].contains("Suspended"));
}
