//! A Podman with storage of its own, spoken to over its REST API: the baseline for what a daemon does on
//! the same host. Removed with everything in it when dropped.

use crate::storage::Storage;
use jiff::Timestamp;
use selkie::kubelet::runtime::podman::http::{Client, SLOW};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

pub const IMAGE: &str = "localhost/selkie-demo:1";

pub struct Podman {
    pub storage: Storage,
    client: Client,
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
        let storage = Storage::start("selkie-bench-").await;
        storage.build_image("image");
        Self { client: Client::new(&storage.url).expect("a client"), storage }
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

    /// Runs a command in a container to its end, with as few calls as it takes.
    pub async fn exec(&self, container: &str, command: &[&str]) {
        let post = |path: String| self.client.post(path, "a baseline").deadline(SLOW);
        let session = json!({"Cmd": command, "AttachStdout": true, "AttachStderr": true});
        let made: Value = post(format!("containers/{container}/exec"))
            .json(&session)
            .expect("JSON")
            .fetch()
            .await
            .expect("a session");
        let id = made["Id"].as_str().expect("an id");
        let start = json!({"Detach": false, "Tty": false});
        let mut output = post(format!("exec/{id}/start")).json(&start).expect("JSON").hijack().await.expect("output");
        // It ends with the command.
        output.read_to_end(&mut Vec::new()).await.expect("output");
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
