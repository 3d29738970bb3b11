//! Finding this machine's Podman service, or starting one that outlives us.
//!
//! The user's own configuration is never touched: a service of ours gets its settings from a file in
//! the data directory. Containers belong to their monitors, not to the service, so a service may be
//! stopped and started at any time without harm to them.

use super::http::Client;
use crate::base::socket;
use crate::kubelet::runtime::{Result, RuntimeError};
use rustix::process::{Resource, getrlimit};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::sleep};

/// A service opens its database and storage before it listens; a cold disk takes seconds.
const START: Duration = Duration::from_secs(30);
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// More open files or processes than that is refused on machines that may not raise limits.
const MODEST_LIMIT: u64 = 16_384;
const CAP_SYS_RESOURCE: u32 = 24;

/// How to start a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceOptions {
    /// Where the socket, the settings and the service's log go.
    pub directory: PathBuf,
    /// Options before `system service`, such as `--root`; none for the machine's usual storage.
    pub arguments: Vec<String>,
}

/// Whether the service behind a socket is in our PID namespace. One in a container, or in another
/// machine made of namespaces, speaks of other processes under the same numbers.
pub(super) async fn sees_our_processes(socket: &Path) -> bool {
    let Ok(stream) = tokio::net::UnixStream::connect(socket).await else { return true };
    let listener = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    match listener {
        // The kernel shows processes outside our namespace as 0.
        Some(0) => false,
        // What may not be looked at is root's socket activation.
        Some(pid) => namespace(&pid.to_string()).is_none_or(|theirs| Some(theirs) == namespace("self")),
        None => true,
    }
}

/// The URL of the Podman service that listens on this machine for this user, if one does.
pub async fn local_socket() -> Option<String> {
    for path in candidates() {
        let url = format!("unix://{}", path.display());
        // One that is slow to answer is still the one.
        if path.exists() && state(&url).await != State::Absent {
            return Some(url);
        }
    }
    None
}

fn candidates() -> Vec<PathBuf> {
    let user = rustix::process::getuid();
    if user.is_root() {
        return vec![PathBuf::from("/run/podman/podman.sock")];
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{}", user.as_raw()));
    runtime.into_iter().chain([usual]).map(|directory| directory.join("podman/podman.sock")).collect()
}

/// How the service at a socket is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Answering,
    /// Somebody listens, and does not answer in time: a busy host, a suspended service.
    Silent,
    Absent,
}

async fn state(url: &str) -> State {
    let Ok(client) = Client::new(url) else { return State::Absent };
    match client.get("_ping", "service").deadline(SIGN_OF_LIFE).send().await {
        Ok(()) => State::Answering,
        Err(RuntimeError::Unreachable { .. }) => State::Absent,
        Err(_) => State::Silent,
    }
}

async fn answers(url: &str) -> bool {
    state(url).await == State::Answering
}

/// Makes sure that a service of ours runs and returns its URL. One that listens already, started by
/// an earlier daemon, is used as it is. A new one belongs to no terminal and stays when we end.
pub async fn spawn_service(options: &ServiceOptions) -> Result<String> {
    let failed = |message: &str, cause: io::Error| RuntimeError::Other {
        method: "start".into(),
        object: "Podman service".into(),
        message: message.to_owned(),
        cause: Some(cause.into()),
    };
    let directory = &options.directory;
    fs::create_dir_all(directory).map_err(|error| failed("its directory cannot be made", error))?;
    let socket = socket::path(&directory.join("podman.sock"))
        .map_err(|error| failed("its socket's directory cannot be made", error))?;
    let url = format!("unix://{}", socket.display());
    if socket.exists() {
        match state(&url).await {
            State::Answering => return Ok(url),
            // A second one beside it would take its socket away from whoever waits for an answer.
            State::Silent => {
                return Err(RuntimeError::Timeout {
                    what: format!("the Podman service at {url}"),
                    after: SIGN_OF_LIFE,
                });
            }
            State::Absent => {}
        }
    }
    _ = fs::remove_file(&socket);
    let version = podman_version().await?;
    let config = directory.join("containers.conf");
    fs::write(&config, Machine::observe().settings())
        .map_err(|error| failed("its settings cannot be written", error))?;
    let log_path = directory.join("podman.log");
    let log = fs::File::create(&log_path).map_err(|error| failed("its log cannot be written", error))?;
    let errors = log.try_clone().map_err(|error| failed("its log cannot be written", error))?;
    let mut command = Command::new("podman");
    command.args(&options.arguments).args(["system", "service", "--time=0", &url]);
    if std::env::var_os("CONTAINERS_CONF").is_none() {
        // From 4.6 on, settings can be laid over the machine's; before, they replace them.
        let variable =
            if version >= super::facts::Version(4, 6, 0) { "CONTAINERS_CONF_OVERRIDE" } else { "CONTAINERS_CONF" };
        command.env(variable, &config);
    }
    // Its own process group: a terminal's Ctrl-C is for us, not for it.
    command.current_dir(directory).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    let mut child = command.spawn().map_err(|error| failed("podman cannot be run", error))?;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < START {
        if answers(&url).await {
            return Ok(url);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let words = fs::read_to_string(&log_path).unwrap_or_default();
            let last = words.trim().lines().last().unwrap_or_default().to_owned();
            return Err(failed(&format!("it ended with {status}"), io::Error::other(last)));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(RuntimeError::Timeout { what: format!("starting a Podman service at {url}"), after: START })
}

async fn podman_version() -> Result<super::facts::Version> {
    let missing = |why: String| RuntimeError::Unsupported { what: "running containers on this machine".into(), why };
    let output = Command::new("podman").arg("--version").output().await;
    let output = output.map_err(|error| missing(format!("podman cannot be run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().last().and_then(super::facts::Version::parse);
    version.ok_or_else(|| missing(format!("podman --version says {text:?}")))
}

/// What decides the settings.
#[derive(Clone, Debug, Default)]
struct Machine {
    cgroup_v2: bool,
    systemd: bool,
    root: bool,
    sys_resource: bool,
    runc: bool,
    netavark: bool,
    cni: bool,
    open_files: u64,
    processes: u64,
}

impl Machine {
    fn observe() -> Self {
        let limit = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let any = |paths: &[&str]| paths.iter().any(|path| Path::new(path).exists());
        Self {
            cgroup_v2: any(&["/sys/fs/cgroup/cgroup.controllers"]),
            systemd: any(&["/run/systemd/system"]),
            root: rustix::process::getuid().is_root(),
            sys_resource: has_sys_resource(),
            runc: any(&["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", "/usr/local/bin/runc"]),
            netavark: any(&[
                "/usr/lib/podman/netavark",
                "/usr/libexec/podman/netavark",
                "/usr/local/libexec/podman/netavark",
            ]),
            cni: any(&["/usr/lib/cni/bridge", "/usr/libexec/cni/bridge", "/opt/cni/bin/bridge"]),
            open_files: limit(Resource::Nofile),
            processes: limit(Resource::Nproc),
        }
    }

    /// The text of containers.conf.
    fn settings(&self) -> String {
        let mut text =
            "# Written by selkie at each start of its Podman service; changes are lost.\n[containers]\n".to_owned();
        text.push_str("log_driver = \"k8s-file\"\n");
        if self.root && !self.sys_resource {
            let (files, processes) = (self.open_files.min(MODEST_LIMIT), self.processes.min(MODEST_LIMIT));
            text.push_str(&format!(
                "default_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
            ));
        }
        text.push_str("[engine]\nevents_logger = \"file\"\n");
        // Empty: Podman builds its own from catatonit; a configured one would have to be pulled.
        text.push_str("infra_image = \"\"\n");
        // After an exec, a monitor lingers so long for somebody to ask how it ended.
        text.push_str("exit_command_delay = 5\n");
        if !self.cgroup_v2 && self.runc {
            // crun refuses hybrid hierarchies.
            text.push_str("runtime = \"runc\"\n");
        }
        if !self.cgroup_v2 || !self.systemd {
            text.push_str("cgroup_manager = \"cgroupfs\"\n");
        }
        if self.netavark && !self.cni {
            text.push_str("[network]\nnetwork_backend = \"netavark\"\n");
        }
        text
    }
}

/// Whether this process may raise limits and protect processes from the out-of-memory killer.
pub(super) fn has_sys_resource() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|caps| caps >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_follow_the_machine() {
        let modern = Machine {
            cgroup_v2: true,
            systemd: true,
            root: true,
            sys_resource: true,
            runc: true,
            ..Machine::default()
        };
        for word in ["runtime =", "cgroup_manager", "default_ulimits", "network_backend"] {
            assert!(!modern.settings().contains(word), "{word}");
        }
        let confined = Machine {
            root: true,
            runc: true,
            netavark: true,
            open_files: 20_000,
            processes: 900,
            ..Machine::default()
        };
        let settings = confined.settings();
        for line in [
            "default_ulimits = [\"nofile=16384:16384\", \"nproc=900:900\"]",
            "runtime = \"runc\"",
            "cgroup_manager = \"cgroupfs\"",
            "network_backend = \"netavark\"",
        ] {
            assert!(settings.contains(line), "{line} in {settings}");
        }
        let rootless = Machine { cgroup_v2: true, ..Machine::default() };
        assert!(!rootless.settings().contains("default_ulimits"));
        assert!(rootless.settings().contains("cgroupfs"), "there is no systemd to ask");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_service_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("podman.sock");
        let _silent = tokio::net::UnixListener::bind(&socket).unwrap();
        let options = ServiceOptions { directory: directory.path().into(), arguments: Vec::new() };
        let refused = spawn_service(&options).await.unwrap_err();
        assert!(matches!(refused, RuntimeError::Timeout { .. }), "{refused:?}");
        assert!(socket.exists(), "its socket is still its own");
    }
}
