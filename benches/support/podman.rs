//! A Podman with storage of its own, spoken to over its REST API: the baseline for what a daemon does on
//! the same host. Removed with everything in it when dropped.

use jiff::Timestamp;
use selkie::kubelet::runtime::podman::http::{Client, SLOW};
use selkie::kubelet::runtime::podman::{ServiceOptions, spawn_service};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

pub const IMAGE: &str = "localhost/selkie-demo:1";

pub struct Podman {
    pub url: String,
    client: Client,
    directory: PathBuf,
    arguments: Vec<String>,
    service: i32,
}

/// A pod of one container, as the kubelet asks Podman for it.
#[derive(Clone)]
pub struct Pod {
    pub name: String,
    /// The body of `pods/create` besides the name.
    pub sandbox: Value,
    /// The body of `containers/create` besides name, pod and image.
    pub container: Value,
}

impl Podman {
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("selkie-bench-").tempdir().expect("a directory").keep();
        let path = |name: &str| directory.join(name).display().to_string();
        let arguments: Vec<String> =
            ["--root", &path("root"), "--runroot", &path("run"), "--tmpdir", &path("tmp")].map(str::to_owned).into();
        let options = ServiceOptions { directory: directory.join("service"), arguments: arguments.clone() };
        let url = spawn_service(&options).await.expect("a Podman service");
        let socket = url.trim_start_matches("unix://");
        let service = tokio::net::UnixStream::connect(socket).await.expect("its socket").peer_cred().expect("its pid");
        let service = service.pid().expect("its pid");
        let podman = Self { client: Client::new(&url).expect("a client"), url, directory, arguments, service };
        podman.build_image();
        podman
    }

    fn build_image(&self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/image/build");
        let built = self.environment(Command::new(script)).output().expect("examples/image/build runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }

    fn environment(&self, mut command: Command) -> Command {
        command.env("PODMAN", format!("podman {}", self.arguments.join(" ")));
        command.env("CONTAINERS_CONF", self.directory.join("service/containers.conf"));
        command
    }

    fn cli(&self, arguments: &[&str]) {
        let mut command = self.environment(Command::new("podman"));
        let _ = command.args(&self.arguments).args(arguments).output();
    }

    /// Makes and starts a pod with as few calls as it takes.
    pub async fn run(&self, pod: &Pod) {
        let post = |path: String| self.client.post(path, "a baseline").deadline(SLOW);
        let infra = format!("{}-infra", pod.name);
        let mut sandbox = json!({
            "name": pod.name, "infra_name": infra, "shared_namespaces": ["net", "uts", "ipc"], "exit_policy": "continue",
            "hostname": pod.name, "netns": {"nsmode": "bridge"}, "labels": {"bench": "sandbox"},
        });
        merge(&mut sandbox, &pod.sandbox);
        let made: Value = post("pods/create".into()).json(&sandbox).expect("JSON").fetch().await.expect("a pod");
        post(format!("containers/{infra}/start")).send().await.expect("the infra container starts");
        let mut container = json!({
            "name": format!("{}-main", pod.name), "pod": made["Id"], "image": IMAGE, "labels": {"bench": "main"},
            "httpproxy": false, "restart_policy": "no", "create_working_dir": true,
            "log_configuration": {"driver": "k8s-file", "size": 64 << 20},
        });
        merge(&mut container, &pod.container);
        let made: Value =
            post("containers/create".into()).json(&container).expect("JSON").fetch().await.expect("a container");
        let id = made["Id"].as_str().expect("an id");
        post(format!("containers/{id}/start")).send().await.expect("the container starts");
    }

    pub async fn remove(&self, pod: &Pod) {
        let call = self.client.delete(format!("pods/{}", pod.name), "a baseline").deadline(SLOW);
        call.query("force", true).query("timeout", 0).send().await.expect("the pod is removed");
    }

    /// When each container with `label` was started, by Podman's own clock.
    pub async fn started(&self, label: &str) -> Vec<Timestamp> {
        let mut all = Vec::new();
        for id in self.containers(label).await {
            let found: Value =
                self.client.get(format!("containers/{id}/json"), "a container").fetch().await.expect("JSON");
            let at = found["State"]["StartedAt"].as_str().expect("a time");
            all.push(at.parse().expect("a time"));
        }
        all
    }

    pub async fn containers(&self, label: &str) -> Vec<String> {
        let call = self.client.get("containers/json", "containers").query("all", true);
        let found: Option<Vec<Value>> =
            call.query("filters", json!({"label": [label]})).deadline(SLOW).fetch().await.expect("a list");
        found.unwrap_or_default().iter().filter_map(|one| one["Id"].as_str().map(str::to_owned)).collect()
    }
}

fn merge(body: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.cli(&["pod", "rm", "--all", "--force", "--time", "0"]);
        self.cli(&["rm", "--all", "--force", "--time", "0"]);
        if let Some(service) = rustix::process::Pid::from_raw(self.service) {
            let _ = rustix::process::kill_process(service, rustix::process::Signal::TERM);
        }
        let _ = Command::new("umount").arg(self.directory.join("root/overlay")).output();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
