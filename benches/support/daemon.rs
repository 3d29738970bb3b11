//! A daemon in a process of its own, and how much memory it takes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Daemon {
    pub child: Child,
    pub folder: tempfile::TempDir,
    /// From the start of the process to the first answer of `/readyz`.
    pub cold_start: Duration,
}

impl Daemon {
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let data = folder.path().join("data");
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_selkie"))
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .args(args)
            .env("SELKIE_CONFIG", "/dev/null")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a log file"))
            .spawn()
            .expect("selkie starts");
        let mut daemon = Self { child, folder, cold_start: Duration::ZERO };
        // The kubeconfig is written when the socket listens.
        while !daemon.kubeconfig().exists() {
            assert!(daemon.child.try_wait().expect("its state").is_none(), "the daemon ended:\n{}", daemon.log());
            assert!(begun.elapsed() < Duration::from_secs(30), "the daemon does not start:\n{}", daemon.log());
            std::thread::park_timeout(Duration::from_millis(1));
        }
        daemon.cold_start = begun.elapsed();
        daemon
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Resident memory in MB.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident size");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
