//! Several Podman hosts on this machine, through hosts.sh. One set at a time: other test runs wait.

use rustix::fs::{FlockOperation, flock};
use std::{
    fs::File,
    process::{Command, Stdio},
};

pub const IMAGE: &str = "localhost/selkie-test:1";
const LOCK: &str = "/tmp/selkie-hosts.lock";

/// Removed with everything on them when dropped; what a killed test leaves, the next one removes. The
/// lock keeps others away until then, however this one ends.
pub struct Hosts {
    count: usize,
    _lock: File,
}

impl Hosts {
    /// Hosts 1 to `count` with the test image. `None`, said aloud, where a machine cannot have them
    /// (not root, no namespaces); under `CI=true` that fails.
    pub fn up(count: usize) -> Option<Self> {
        let quiet = |program: &str, args: &[&str]| {
            let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let able = rustix::process::getuid().is_root()
            && quiet("unshare", &["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]);
        if !able {
            let why = "needs root and the right to make network, mount and process namespaces; not so here";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "a test with several hosts {why}");
            eprintln!("NOT TESTED: this test {why}");
            return None;
        }
        let lock = File::create(LOCK).expect("a lock file");
        flock(&lock, FlockOperation::LockExclusive).expect("the lock");
        let image = tempfile::NamedTempFile::new().expect("a file");
        let archive = image.path().to_str().expect("a path");
        run("image.sh", &[archive, IMAGE]);
        let hosts = Self { count, _lock: lock };
        run("hosts.sh", &["up", &count.to_string(), archive]);
        Some(hosts)
    }

    /// `hK=tcp://...` for every host: only the network shows when a host is gone.
    pub fn flags(&self) -> Vec<String> {
        (1..=self.count).map(|host| format!("h{host}=tcp://10.91.0.{}:8080", 10 + host)).collect()
    }

    /// The host's Podman by its socket, which is a file of this machine.
    pub fn socket(&self, host: usize) -> String {
        format!("unix:///tmp/selkie-hosts/h{host}/podman.sock")
    }

    /// Power off: every process of the host dies at once, its disk stays.
    pub fn stop(&self, host: usize) {
        run("hosts.sh", &["stop", &host.to_string()]);
    }

    /// Power on.
    pub fn start(&self, host: usize) {
        run("hosts.sh", &["start", &host.to_string()]);
    }

    /// This machine, as the hosts reach it.
    pub fn gateway() -> &'static str {
        "10.91.0.1"
    }

    /// Has every host pull from this registry over plain HTTP, from when it is powered on again.
    pub fn trust(&self, registry: &str) {
        for host in 1..=self.count {
            let text = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
            std::fs::write(format!("/tmp/selkie-hosts/h{host}/etc/registries.conf"), text).expect("settings");
            self.stop(host);
            self.start(host);
        }
    }

    /// Lines that the podman command prints on that host.
    pub fn podman(&self, host: usize, arguments: &[&str]) -> Vec<String> {
        let host = host.to_string();
        let all: Vec<&str> = ["podman", &host].into_iter().chain(arguments.iter().copied()).collect();
        run("hosts.sh", &all).lines().map(str::to_owned).collect()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        _ = script("hosts.sh").arg("down").status();
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new(format!("{}/tests/support/{name}", env!("CARGO_MANIFEST_DIR")));
    command.env("SELKIE_HOSTS_LOCKED", "1");
    command
}

fn run(name: &str, arguments: &[&str]) -> String {
    // The hosts inherit the script's errors stream: a pipe would stay open as long as they run.
    let output = script(name).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("it runs");
    assert!(output.status.success(), "{name} {arguments:?} ended with {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
