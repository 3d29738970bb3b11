//! What a whole-cluster test stands on: a private Podman with the demo image, a daemon on it, a
//! copy of the examples to edit. Removes the containers of its cluster when it ends.

use crate::daemon::Daemon;
use crate::rig::Rig;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Dropped in the order of the fields: the daemon first, then what it ran.
pub struct Setting {
    pub daemon: Daemon,
    pub folder: Folder,
}

/// A temporary directory, the Podman of this test run, and the cleaning up after a cluster.
pub struct Folder {
    pub rig: Arc<Rig>,
    directory: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let rig = runtime.block_on(async { Rig::shared().await });
        rig.demo_image();
        Self { rig, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// `--host NAME=URL` for the private Podman.
    pub fn host(&self) -> String {
        format!("one={}", self.rig.storage.url)
    }

    /// A copy of one of the examples with `old` replaced by `new` in every file, so that tests that
    /// run at the same time do not meet on a port.
    pub fn example(&self, name: &str, replaced: &[(&str, &str)]) -> PathBuf {
        let to = self.path().join(name);
        std::fs::create_dir_all(&to).expect("a folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        for entry in std::fs::read_dir(&from).expect("the example") {
            let entry = entry.expect("its files");
            let mut text = std::fs::read_to_string(entry.path()).expect("YAML");
            for (old, new) in replaced {
                text = text.replace(old, new);
            }
            std::fs::write(to.join(entry.file_name()), text).expect("a copy");
        }
        to
    }

    /// The cluster's containers that run now, as `podman ps` shows them with `format`.
    pub fn containers(&self, format: &str) -> Vec<String> {
        let Some(filter) = self.cluster_filter() else { return Vec::new() };
        let listing = self.rig.storage.cli(&[
            "ps",
            "--no-trunc",
            "--filter",
            &filter,
            "--filter",
            "label=io.selkie.container.name",
            "--format",
            format,
        ]);
        let mut lines: Vec<String> = listing.lines().map(str::to_string).collect();
        lines.sort();
        lines
    }

    /// The cluster's named volumes on the host.
    pub fn volumes(&self) -> Vec<String> {
        let Some(filter) = self.cluster_filter() else { return Vec::new() };
        let listing = self.rig.storage.cli(&["volume", "ls", "--quiet", "--filter", &filter]);
        listing.lines().map(str::to_string).collect()
    }

    fn cluster_filter(&self) -> Option<String> {
        let id = std::fs::read_to_string(self.data().join("cluster-id")).ok()?;
        Some(format!("label=io.selkie.cluster={}", id.trim()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(filter) = self.cluster_filter() else { return };
        let pods = self.rig.storage.cli(&["pod", "ps", "--quiet", "--filter", &filter]);
        let ids: Vec<&str> = pods.split_whitespace().collect();
        if !ids.is_empty() {
            self.rig.storage.cli(&[&["pod", "rm", "--force", "--time", "0"], ids.as_slice()].concat());
        }
        let left = self.rig.storage.cli(&["ps", "--all", "--quiet", "--filter", &filter]);
        let ids: Vec<&str> = left.split_whitespace().collect();
        if !ids.is_empty() {
            self.rig.storage.cli(&[&["rm", "--force", "--time", "0"], ids.as_slice()].concat());
        }
        for volume in self.volumes() {
            self.rig.storage.cli(&["volume", "rm", "--force", &volume]);
        }
    }
}

impl Setting {
    /// A daemon on the private Podman with `args` more.
    pub fn start(folder: Folder, args: &[&str]) -> Self {
        let host = folder.host();
        let mut all = vec!["--host", host.as_str()];
        all.extend(args);
        Self { daemon: Daemon::start_in(&folder.data(), &all), folder }
    }

    /// Waits until the host takes pods, for a test that gives these little time.
    pub fn wait_host(&self) {
        let path = r#"{.items[*].status.conditions[?(@.type=="Ready")].status} {.items[*].spec.taints}"#;
        self.daemon.wait_for("the host takes pods", || self.daemon.value(&["nodes"], path) == "True");
    }

    /// Waits until a Deployment of `namespace` has `replicas` ready pods of its newest template.
    pub fn wait_rolled_out(&self, namespace: &str, name: &str, replicas: u32) {
        self.daemon.wait_for(&format!("deployment {namespace}/{name} rolled out"), || {
            let path = "{.metadata.generation} {.status.observedGeneration} {.status.updatedReplicas} {.status.readyReplicas} {.status.replicas}";
            let value = self.daemon.value(&["deployment", name, "-n", namespace], path);
            let fields: Vec<&str> = value.split_whitespace().collect();
            let wanted = replicas.to_string();
            matches!(fields.as_slice(), [generation, observed, rest @ ..] if generation == observed && rest.len() == 3 && rest.iter().all(|one| *one == wanted))
        });
    }
}

/// Changes a file as editors do: writes beside it and renames over it.
pub fn edit(path: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(path).expect("the file");
    assert!(text.contains(old), "{} holds {old:?}", path.display());
    let beside = path.with_extension("swp");
    std::fs::write(&beside, text.replace(old, new)).expect("a copy");
    std::fs::rename(&beside, path).expect("the rename");
}
