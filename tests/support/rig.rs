//! A Podman of the tests' own: private storage, a service started by selkie, a tiny image. Shared by
//! the tests that run at the same time, removed with everything in it when the last one ends.

use crate::storage::Storage;
use crate::wait::{self, Pace};
use bytes::Bytes;
use selkie::kubelet::runtime::{
    ContainerIdentity, ContainerRuntime, ContainerSpec, PodIdentity, SandboxSpec, podman::Podman,
};
use std::{
    process::Command,
    sync::{Arc, OnceLock, Weak, atomic::AtomicU32, atomic::Ordering},
};
use tokio::sync::Mutex;

pub const IMAGE: &str = "localhost/selkie-test:1";

static SHARED: Mutex<Weak<Rig>> = Mutex::const_new(Weak::new());
static PODS: AtomicU32 = AtomicU32::new(0);

pub struct Rig {
    pub storage: Storage,
    demo: OnceLock<()>,
}

impl Rig {
    /// The Podman of this test run.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(rig) = shared.upgrade() {
            return rig;
        }
        let rig = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&rig);
        rig
    }

    /// One with storage of its own. Starting one takes a second: share where nothing forbids it.
    pub async fn start() -> Self {
        let rig = Self { storage: Storage::start("selkie-test-").await, demo: OnceLock::new() };
        rig.podman("loader").await.load_image(rig.image()).await.expect("an image");
        rig
    }

    fn image(&self) -> Bytes {
        let archive = self.storage.directory.join("image.tar");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/image.sh");
        let made = Command::new(script).arg(&archive).arg(IMAGE).status().expect("image.sh runs");
        assert!(made.success());
        std::fs::read(archive).expect("the archive").into()
    }

    /// Makes sure that the examples' image is in this storage, under its usual name.
    pub fn demo_image(&self) {
        self.demo.get_or_init(|| self.storage.build_image("image"));
    }

    pub async fn podman(&self, cluster: &str) -> Podman {
        Podman::connect(&self.storage.url, cluster).await.expect("a connection")
    }

    /// A second service on the same storage, across the (loopback) network.
    pub async fn serve_tcp(&self) -> TcpService {
        self.serve_configured("infra_image = \"\"").await
    }

    /// Like [`serve_tcp`](Self::serve_tcp), with another line about the infra image in its containers.conf.
    pub async fn serve_configured(&self, infra_image: &str) -> TcpService {
        self.serve(infra_image, None).await
    }

    /// A second service that pulls from a registry at this address whoever vouches for it.
    pub async fn serve_trusting(&self, registry: &str) -> TcpService {
        let text = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
        self.serve("infra_image = \"\"", Some(&text)).await
    }

    async fn serve(&self, infra_image: &str, registries: Option<&str>) -> TcpService {
        let port = crate::ports::free();
        let url = format!("tcp://127.0.0.1:{port}");
        let settings = std::fs::read_to_string(self.storage.settings()).expect("settings");
        let configured = self.storage.directory.join(format!("containers-{port}.conf"));
        std::fs::write(&configured, settings.replace("infra_image = \"\"", infra_image)).expect("settings");
        let mut command = Command::new("podman");
        command.args(&self.storage.arguments).args(["system", "service", "--time=0", &url]);
        command.env("CONTAINERS_CONF", &configured);
        if let Some(text) = registries {
            let file = self.storage.directory.join(format!("registries-{port}.conf"));
            std::fs::write(&file, text).expect("settings");
            command.env("CONTAINERS_REGISTRIES_CONF", &file);
        }
        let process = command.stderr(std::process::Stdio::null()).spawn().expect("podman runs");
        let service = TcpService { url, process };
        let probe = async || Podman::connect(&service.url, "probe").await.map(drop);
        wait::until("the service answers", Pace::default(), probe).await;
        service
    }
}

/// Killed when dropped.
pub struct TcpService {
    pub url: String,
    process: std::process::Child,
}

impl Drop for TcpService {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A pod that no other test knows.
pub fn pod(name: &str) -> PodIdentity {
    let number = PODS.fetch_add(1, Ordering::Relaxed);
    PodIdentity { namespace: "tests".into(), name: name.into(), uid: format!("{}-{number}", std::process::id()) }
}

pub fn sandbox(pod: &PodIdentity) -> SandboxSpec {
    SandboxSpec { pod: pod.clone(), hostname: pod.name.clone(), ..SandboxSpec::default() }
}

/// A container that runs a shell script.
pub fn container(pod: &PodIdentity, name: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        identity: ContainerIdentity { pod: pod.clone(), container: name.into(), restart_count: 0, hash: "h".into() },
        image: IMAGE.into(),
        command: vec!["sh".into(), "-c".into(), script.into()],
        ..ContainerSpec::default()
    }
}
