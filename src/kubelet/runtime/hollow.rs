//! A simulated host: containers exist in memory only and live under tokio time.
//!
//! Plans, scale tests and scenarios run the real kubelet on it, with the clock paused or not. What
//! its images do is told in [`behaviour`]; nothing here is random, and nothing takes time except the
//! latencies in [`HollowOptions`].

mod adopt;
pub mod behaviour;
mod host;

use super::*;
use crate::base::clock::Clock;
use behaviour::Behaviour;
use futures::{StreamExt, stream};
use host::{Address, HollowContainer, Host, HostPort, image_id};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::{
    net::Ipv4Addr,
    sync::{Arc, Weak},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};

/// Linux's SIGKILL and SIGTERM as exit codes.
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

/// The host to pretend.
#[derive(Clone, Debug)]
pub struct HollowOptions {
    pub hostname: String,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    pub clock: Clock,
    /// How long it takes to make a sandbox, to start a container, to end one, to pull an image.
    pub sandbox_latency: Duration,
    pub start_latency: Duration,
    pub stop_latency: Duration,
    pub pull_latency: Duration,
    /// How long it takes to give a container other limits.
    pub update_latency: Duration,
    /// Where the addresses of its pods begin.
    pub pod_network: Ipv4Addr,
    /// Images that need not be pulled.
    pub images: Vec<String>,
    /// Bytes of its disk, on which there are but images, and of each image. Without a disk none fills.
    pub disk: u64,
    pub image_size: u64,
    /// See [`HostInfo::oci_runtime`].
    pub oci_runtime: String,
    /// See [`HostInfo::unenforced`] and [`HostInfo::lone_containers`].
    pub unenforced: Vec<&'static str>,
    pub lone_containers: bool,
    /// See [`HostInfo::cgroup_version`].
    pub cgroup_version: u8,
}

impl HollowOptions {
    /// A host with 8 CPUs and 32 GiB that does everything at once.
    pub fn named(hostname: &str, clock: Clock) -> Self {
        Self {
            hostname: hostname.to_owned(),
            cpus: 8,
            memory: 32 << 30,
            clock,
            sandbox_latency: Duration::ZERO,
            start_latency: Duration::ZERO,
            stop_latency: Duration::ZERO,
            pull_latency: Duration::ZERO,
            update_latency: Duration::ZERO,
            pod_network: host::network(0),
            images: Vec::new(),
            disk: 0,
            image_size: 0,
            oci_runtime: String::new(),
            unenforced: Vec::new(),
            lone_containers: false,
            cgroup_version: 2,
        }
    }

    /// As the `number`-th host of its cluster: pods of different hosts have different addresses.
    #[must_use]
    pub fn numbered(mut self, number: usize) -> Self {
        self.pod_network = host::network(number);
        self
    }
}

/// One simulated host. Clones share it.
#[derive(Clone)]
pub struct Hollow(Arc<Shared>);

struct Shared {
    options: HollowOptions,
    host: Mutex<Host>,
    /// Wakes whoever waits for a container to end.
    changed: Notify,
}

impl Hollow {
    pub fn new(options: HollowOptions) -> Self {
        let mut host = Host::default();
        host.images = options.images.iter().map(|name| Arc::from(name.as_str())).collect();
        Self(Arc::new(Shared { options, host: Mutex::new(host), changed: Notify::new() }))
    }

    /// The images that are there now.
    pub fn image_names(&self) -> Vec<Arc<str>> {
        self.0.host.lock().images.iter().cloned().collect()
    }

    /// Ends a running container as if its process had ended by itself: a scenario's crash.
    pub fn crash(&self, container: &str, exit_code: i32) {
        self.0.end(self.number(container), exit_code, false);
    }

    /// The limits of a container.
    pub fn resources(&self, container: &str) -> Option<Resources> {
        self.0.host.lock().container(container).ok().map(|found| found.resources)
    }

    /// The limits of all containers of a pod together.
    pub fn pod_resources(&self, uid: &str) -> Option<Resources> {
        let host = self.0.host.lock();
        host.sandbox_of(uid).and_then(|id| host.sandboxes.get(&id)).map(|found| found.resources)
    }

    fn number(&self, id: &str) -> u64 {
        self.0.host.lock().find(id)
    }

    fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }
}

impl Shared {
    fn end(&self, id: u64, code: i32, oom_killed: bool) {
        self.host.lock().end(id, code, oom_killed, self.options.clock.now());
        self.changed.notify_waiters();
    }
}

/// Under a latency of zero, not even a yield: the fewer turns, the faster a simulation.
async fn take(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Ends the run of a container after its time.
async fn run_out(shared: Weak<Shared>, id: u64, run: u32, behaviour: Behaviour, after: Duration) {
    sleep(after).await;
    let Some(shared) = shared.upgrade() else { return };
    let same = shared.host.lock().containers.get(&id).is_some_and(|container| container.run == run);
    if same {
        shared.end(id, behaviour.exit_code, behaviour.out_of_memory);
    }
}

#[async_trait]
impl ContainerRuntime for Hollow {
    async fn info(&self) -> Result<HostInfo> {
        let options = &self.0.options;
        Ok(HostInfo {
            runtime_version: format!("hollow://{}", env!("CARGO_PKG_VERSION")),
            hostname: options.hostname.clone(),
            os_image: "simulated".into(),
            kernel: "simulated".into(),
            arch: "amd64".into(),
            cpus: options.cpus,
            memory: options.memory,
            storage_size: options.disk,
            storage_used: options.image_size.saturating_mul(self.0.host.lock().images.len() as u64),
            oci_runtime: options.oci_runtime.clone(),
            cgroup_version: options.cgroup_version,
            unenforced: options.unenforced.clone(),
            lone_containers: options.lone_containers,
            simulated: true,
            machine_id: image_id(&options.hostname)[..32].to_owned(),
            ..HostInfo::default()
        })
    }

    async fn list(&self) -> Result<Listing> {
        let host = self.0.host.lock();
        Ok(Listing {
            sandboxes: host.sandboxes.keys().filter_map(|id| host.describe_sandbox(*id)).collect(),
            containers: host.containers.keys().filter_map(|id| host.describe_container(*id)).collect(),
        })
    }

    async fn list_pod(&self, pod_uid: &str) -> Result<Listing> {
        let host = self.0.host.lock();
        let Some(sandbox) = host.sandbox_of(pod_uid) else { return Ok(Listing::default()) };
        Ok(Listing {
            sandboxes: host.describe_sandbox(sandbox).into_iter().collect(),
            containers: host.members(sandbox).filter_map(|id| host.describe_container(id)).collect(),
        })
    }

    async fn inspect(&self, container: &str) -> Result<ContainerStatus> {
        let host = self.0.host.lock();
        let found = host.describe_container(host.find(container));
        found.ok_or_else(|| RuntimeError::NotFound { object: format!("container {container}") })
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<RuntimeEvent>>> {
        let (send, receive) = mpsc::unbounded_channel();
        self.0.host.lock().listeners.push(send);
        Ok(stream::unfold(receive, |mut receive| async move { Some((Ok(receive.recv().await?), receive)) }).boxed())
    }

    async fn ensure_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        let known = |host: &Host| host.describe_sandbox(host.sandbox_of(&spec.pod.uid)?);
        if let Some(sandbox) = known(&self.0.host.lock()) {
            return Ok(sandbox);
        }
        take(self.0.options.sandbox_latency).await;
        let now = self.now();
        let mut host = self.0.host.lock();
        if let Some(sandbox) = known(&host) {
            return Ok(sandbox);
        }
        let address = match spec.address {
            _ if spec.host_network => Address::OfHost,
            Some(address) => Address::Given(address),
            None => Address::From(self.0.options.pod_network),
        };
        let ports = spec.ports.iter().map(HostPort::of).collect();
        let id = host.add_sandbox(&spec.pod, address, ports, now)?;
        if let Some(made) = host.sandboxes.get_mut(&id) {
            made.resources = spec.resources;
        }
        host.describe_sandbox(id).ok_or_else(|| RuntimeError::NotFound { object: "sandbox".into() })
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<()> {
        let now = self.now();
        let id = self.number(sandbox);
        self.0.host.lock().remove_sandbox(id, now);
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn create_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<String> {
        let now = self.now();
        let mut host = self.0.host.lock();
        let known = host.images.iter().find(|name| ***name == *spec.image || image_id(name) == spec.image);
        let image = known.cloned().ok_or_else(|| RuntimeError::ImageNotFound { image: spec.image.clone() })?;
        let sandbox = host.find(sandbox);
        let id = host.add_container(HollowContainer {
            identity: spec.identity.clone(),
            sandbox,
            behaviour: Behaviour::of(&image, &spec.annotations).ending(&image, spec.ends),
            image,
            created: now,
            state: ContainerState::Created,
            run: 0,
            resources: spec.resources,
        })?;
        host.describe_container(id)
            .map(|found| found.id)
            .ok_or_else(|| RuntimeError::NotFound { object: "container".into() })
    }

    async fn update(&self, container: &str, resources: &Resources) -> Result<()> {
        take(self.0.options.update_latency).await;
        let mut host = self.0.host.lock();
        let found = host.container(container)?;
        if !found.state.is_running() {
            return Err(RuntimeError::Invalid { object: container.to_owned(), message: "it is not running".into() });
        }
        found.resources = *resources;
        Ok(())
    }

    async fn update_sandbox(&self, sandbox: &str, resources: &Resources) -> Result<()> {
        take(self.0.options.update_latency).await;
        let id = self.number(sandbox);
        match self.0.host.lock().sandboxes.get_mut(&id) {
            Some(found) => found.resources = *resources,
            None => return Err(RuntimeError::NotFound { object: format!("sandbox {sandbox}") }),
        }
        Ok(())
    }

    async fn start(&self, container: &str) -> Result<()> {
        take(self.0.options.start_latency).await;
        let (now, id) = (self.now(), self.number(container));
        let mut host = self.0.host.lock();
        let found = host.container(container)?;
        if found.state.is_running() {
            return Ok(());
        }
        let behaviour = found.behaviour;
        if behaviour.cannot_start {
            let message = "exec: \"no-start\": executable file not found in $PATH".into();
            return Err(RuntimeError::Invalid { object: container.to_owned(), message });
        }
        found.run += 1;
        let run = found.run;
        found.state = ContainerState::Running { started: now, pid: 1 };
        host.tell(EventKind::Started, id, now);
        if let Some(after) = behaviour.run_for {
            tokio::spawn(run_out(Arc::downgrade(&self.0), id, run, behaviour, after));
        }
        Ok(())
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<Exit> {
        let behaviour = self.0.host.lock().container(container)?.behaviour;
        let id = self.number(container);
        let (patience, code) = if behaviour.ignores_term {
            (grace, KILLED)
        } else {
            (self.0.options.stop_latency.min(grace), behaviour.exit_code)
        };
        _ = timeout(patience, self.wait(container)).await;
        self.0.end(id, code, false);
        let status = self.inspect(container).await?;
        Ok(match status.state {
            ContainerState::Exited(exit) => exit,
            _ => Exit { code, started: None, finished: self.now(), oom_killed: false, message: None },
        })
    }

    async fn kill(&self, container: &str, signal: &str) -> Result<()> {
        let ignores = self.0.host.lock().container(container)?.behaviour.ignores_term;
        match signal.trim_start_matches("SIG") {
            "KILL" | "9" => self.0.end(self.number(container), KILLED, false),
            "TERM" | "INT" | "15" | "2" if !ignores => self.0.end(self.number(container), TERMINATED, false),
            _ => {}
        }
        Ok(())
    }

    async fn wait(&self, container: &str) -> Result<Exit> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let ContainerState::Exited(exit) = &self.0.host.lock().container(container)?.state {
                return Ok(exit.clone());
            }
            changed.await;
        }
    }

    async fn remove(&self, container: &str) -> Result<()> {
        let now = self.now();
        let id = self.number(container);
        self.0.host.lock().remove_container(id, now);
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn pull(&self, image: &str, _: Option<&RegistryAuth>, _: Option<ProgressSender>) -> Result<ImageInfo> {
        take(self.0.options.pull_latency).await;
        if let Some((reason, message)) = behaviour::pull_failure(image) {
            return Err(RuntimeError::PullFailed { image: image.to_owned(), reason, message: message.to_owned() });
        }
        self.0.host.lock().images.insert(Arc::from(image));
        Ok(image_info(image))
    }

    async fn image(&self, name: &str) -> Result<Option<ImageInfo>> {
        let host = self.0.host.lock();
        let found = host.images.iter().find(|image| ***image == *name || image_id(image) == name);
        Ok(found.map(|image| image_info(image)))
    }

    async fn images(&self) -> Result<Vec<ImageInfo>> {
        let host = self.0.host.lock();
        let listed = host.images.iter().map(|image| {
            let used = host.containers.values().any(|container| container.image == *image);
            ImageInfo { used, size: self.0.options.image_size, ..image_info(image) }
        });
        Ok(listed.collect())
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let mut host = self.0.host.lock();
        let matches = |name: &str| name == image || image_id(name) == image;
        if host.containers.values().any(|container| matches(&container.image)) {
            return Err(RuntimeError::InUse { object: image.to_owned(), message: "a container uses it".into() });
        }
        host.images.retain(|name| !matches(name));
        Ok(())
    }

    async fn load_image(&self, _: Bytes) -> Result<Vec<String>> {
        Err(unsupported("loading an image archive"))
    }

    async fn logs(&self, container: &str, options: &LogOptions) -> Result<BoxStream<'static, Result<LogLine>>> {
        let status = self.inspect(container).await?;
        let text = format!("{} runs nowhere\n", status.image);
        let line = LogLine { time: status.created, stream: OutputStream::Stdout, bytes: text.into() };
        let wanted = options.since.is_none_or(|since| line.time >= since)
            && options.stream.is_none_or(|stream| stream == line.stream)
            && options.tail != Some(0);
        let first = stream::iter(wanted.then_some(Ok(line)));
        if !options.follow {
            return Ok(first.boxed());
        }
        let (me, container) = (self.clone(), container.to_owned());
        let end = stream::once(async move { me.wait(&container).await.map(|_| ()) });
        Ok(first.chain(end.filter_map(|_| async { None })).boxed())
    }

    async fn exec(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        let result = self.exec_sync(container, &options.command, Duration::MAX).await?;
        let (_, output) = mpsc::channel(1);
        let (send, exit) = oneshot::channel();
        _ = send.send(Ok(result.exit_code));
        let stdin = options.stdin.then(|| mpsc::channel(1).0);
        Ok(ExecSession { stdin, output, resize: options.tty.then(|| mpsc::channel(1).0), exit, guard: None })
    }

    async fn exec_sync(&self, container: &str, _: &[String], _: Duration) -> Result<ExecResult> {
        if self.0.host.lock().container(container)?.state.is_running() {
            return Ok(ExecResult::default());
        }
        Err(RuntimeError::Invalid { object: container.to_owned(), message: "it is not running".into() })
    }

    async fn attach(&self, _: &str, _: &AttachOptions) -> Result<ExecSession> {
        Err(unsupported("attaching"))
    }

    async fn stats(&self) -> Result<Vec<ContainerStats>> {
        Ok(Vec::new())
    }

    async fn ensure_volume(&self, volume: &VolumeSpec) -> Result<()> {
        self.0.host.lock().volumes.insert(volume.name.clone(), volume.clone());
        Ok(())
    }

    async fn volume_files(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    async fn volumes(&self, pod_uid: Option<&str>) -> Result<Vec<VolumeSpec>> {
        let host = self.0.host.lock();
        let wanted = |volume: &&VolumeSpec| pod_uid.is_none_or(|uid| volume.pod_uid == uid);
        Ok(host.volumes.values().filter(wanted).cloned().collect())
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.0.host.lock().volumes.remove(name);
        Ok(())
    }

    async fn write_files(&self, container: &str, _: &str, _: Bytes) -> Result<()> {
        self.0.host.lock().container(container).map(|_| ())
    }
}

fn image_info(name: &str) -> ImageInfo {
    let id = image_id(name);
    ImageInfo { digests: vec![format!("{name}@sha256:{id}")], tags: vec![name.to_owned()], id, ..ImageInfo::default() }
}

fn unsupported(what: &str) -> RuntimeError {
    RuntimeError::Unsupported { what: what.to_owned(), why: "the host is simulated".into() }
}

#[cfg(test)]
mod tests;
