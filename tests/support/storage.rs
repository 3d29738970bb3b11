//! Private Podman storage and a service on it, started by selkie. Also part of the benchmarks.

use selkie::kubelet::runtime::podman::{ServiceOptions, spawn_service};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Removed with everything in it when dropped.
pub struct Storage {
    /// Of the service.
    pub url: String,
    pub directory: PathBuf,
    /// Options of the podman command that lead to this storage.
    pub arguments: Vec<String>,
    service: i32,
}

impl Storage {
    /// In a temporary directory whose name begins with `prefix`. Takes a second.
    pub async fn start(prefix: &str) -> Self {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir().expect("a directory").keep();
        let path = |name: &str| directory.join(name).display().to_string();
        let arguments: Vec<String> =
            ["--root", &path("root"), "--runroot", &path("run"), "--tmpdir", &path("tmp")].map(str::to_owned).into();
        let options = ServiceOptions { directory: directory.join("service"), arguments: arguments.clone() };
        let url = spawn_service(&options).await.expect("a Podman service");
        let socket = url.trim_start_matches("unix://");
        let service = tokio::net::UnixStream::connect(socket).await.expect("its socket").peer_cred().expect("its pid");
        Self { service: service.pid().expect("its pid"), url, directory, arguments }
    }

    /// The settings that the service runs with.
    pub fn settings(&self) -> PathBuf {
        self.directory.join("service/containers.conf")
    }

    /// Makes the image of an example, under its usual name; that of most is in `image`.
    pub fn build_image(&self, example: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example).join("build");
        let built = Command::new(script)
            .env("PODMAN", format!("podman {}", self.arguments.join(" ")))
            .env("CONTAINERS_CONF", self.settings())
            .output()
            .expect("the script that builds an image runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }

    /// What the podman command prints about this storage.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("podman");
        command.args(&self.arguments).args(arguments).env("CONTAINERS_CONF", self.settings());
        let output = command.output().expect("podman runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.cli(&["pod", "rm", "--all", "--force", "--time", "0"]);
        self.cli(&["rm", "--all", "--force", "--time", "0"]);
        if let Some(service) = rustix::process::Pid::from_raw(self.service) {
            _ = rustix::process::kill_process(service, rustix::process::Signal::TERM);
        }
        _ = Command::new("umount").arg(self.directory.join("root/overlay")).output();
        _ = std::fs::remove_dir_all(&self.directory);
    }
}
