//! Pages of the README: every command in them, in order, as it is written there.

use crate::daemon::{Daemon, SELKIE, run};
use crate::ports;
use crate::setting::Folder;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The blocks of a language in a section, to the next one of its level.
fn fenced(section: &str, language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let found = ["## ", "### "].into_iter().find_map(|level| {
        let (_, text) = readme.split_once(&format!("\n{level}{section}\n"))?;
        text.split(&format!("\n{level}")).next()
    });
    let text = found.unwrap_or_else(|| panic!("no section {section}"));
    let fence = format!("```{language}\n");
    let blocks: Vec<_> =
        text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest).to_owned()).collect();
    assert!(!blocks.is_empty(), "{section} has blocks of {language}");
    blocks
}

/// The commands of each block in a section.
fn blocks(section: &str) -> Vec<Vec<String>> {
    fenced(section, "sh").iter().map(|block| block.lines().map(str::to_owned).collect()).collect()
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

/// Whoever tries the pages: with a home and a name for commits, and no certificates of others.
fn at_home(folder: &Path, script: &str) -> String {
    let home = folder.display();
    format!(
        "HOME={home} GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b\n\
         export HOME GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL\n\
         unset GIT_SSL_CAINFO\n{script}"
    )
}

fn map(text: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: greeting}}\ndata: {{text: {text}}}\n")
}

#[test]
fn the_page_on_pushing_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let shell = Shell::new(folder.path(), &daemon.data, Path::new("/dev/null"));
    let run = |script: &str| {
        let script = at_home(folder.path(), script);
        let [said] = <[String; 1]>::try_from(shell.all(&[format!("exec 2>&1\n{script}")])).expect("one answer");
        said
    };
    let commit = |text: &str| {
        std::fs::create_dir_all(&shop).expect("a folder");
        std::fs::write(shop.join("greeting.yaml"), map(text)).expect("a manifest");
        run("cd ~/shop && git init -q -b main && git add . && git commit -qm change");
    };
    let greeting = || daemon.value(&["configmap", "greeting"], "{.data.text}");
    let [deploy, ci] = <[String; 2]>::try_from(fenced("git push deploys", "sh")).expect("two blocks");
    commit("first");
    let said = run(&deploy);
    assert!(said.contains("remote: shop: the plan for") && said.contains("is in force"), "{said}");
    assert_eq!(greeting(), "first");

    // The account and its token, and a push with these alone.
    let (accounts, push) = ci.split_at(ci.find("git -c").expect("the push"));
    let (accounts, token) = accounts.trim_end().rsplit_once('\n').expect("the token comes last");
    let address = run("git -C ~/shop remote get-url selkie");
    let address = address.trim().trim_end_matches("/git/shop").trim_start_matches("https://").to_owned();
    let push =
        push.replace("HOST:6443", &address).replace("ca.crt ", &format!("{}/pki/ca.crt ", daemon.data.display()));
    let push = push.replace("=ca.crt", &format!("={}/pki/ca.crt", daemon.data.display()));
    commit("second");
    let export = "export KUBECONFIG=$(selkie kubeconfig --path)";
    let said = run(&format!("{export}\n{accounts}\nTOKEN=$({token})\nexport TOKEN\ncd ~/shop\n{push}"));
    assert!(said.contains("~ ConfigMap default/greeting") && said.contains("HEAD -> main"), "{said}");
    assert_eq!(greeting(), "second");
}

#[test]
fn the_page_on_previews_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bare, work) = (folder.path().join("shop.git"), folder.path().join("work"));
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let shell = Shell::new(folder.path(), &daemon.data, Path::new("/dev/null"));
    let git = |script: &str| shell.all(&[at_home(folder.path(), script)]);
    std::fs::create_dir_all(work.join("deploy")).expect("a folder");
    let write = |text: &str| std::fs::write(work.join("deploy/greeting.yaml"), map(text)).expect("a manifest");
    write("main");
    git("git init -q --bare -b main shop.git && git -C work init -q -b main && cd work && git add . && \
         git commit -qm one && git push -q ../shop.git main");
    let [spec] = <[String; 1]>::try_from(fenced("Previews", "yaml")).expect("one block");
    let spec =
        spec.replace("https://host/shop.git", &bare.display().to_string()).replace("interval: 30s", "interval: 1s");
    let object = format!(
        "apiVersion: selkie.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop, namespace: selkie-system}}\n{spec}"
    );
    let file = folder.path().join("application.yaml");
    std::fs::write(&file, object).expect("a manifest");
    daemon.kubectl(&["apply", "-f", &file.display().to_string()]);

    write("cart");
    git("cd work && git checkout -q -b feature/cart && git commit -qam two && \
         git push -q ../shop.git feature/cart HEAD:refs/pull/7/head");
    // Which namespace says what.
    let path = "{range .items[?(@.metadata.name=='greeting')]}{.metadata.namespace}={.data.text} {end}";
    let greetings = || daemon.value(&["configmaps", "-A"], path);
    daemon.wait_for("each has a copy", || {
        let found = greetings();
        let of = |start: &str| found.split(' ').any(|one| one.starts_with(start) && one.ends_with("=cart"));
        found.contains("default=main") && of("shop-feature-cart-") && of("shop-pull-7-")
    });
    assert!(shell.all(&["selkie app list".to_owned()])[0].contains("shop-feature-cart-"));
    git("cd work && git push -q ../shop.git :feature/cart :refs/pull/7/head");
    daemon.wait_for("they are gone", || greetings().trim() == "default=main");
}
