//! A disk without room: writes fail with the reason, reads go on, the daemon stays, and writes
//! recover with the disk. On a real file system where this user may mount one, and on every machine
//! through the kernel's limit on file sizes, which fails writes just as well.

use crate::daemon::{Daemon, run};
use std::path::{Path, PathBuf};

/// A small file system at a directory, gone when it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0700");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &at.display().to_string()]);
        Self(at.into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["--lazy", &self.0.display().to_string()]);
    }
}

fn put(daemon: &Daemon, folder: &Path, number: usize) -> Result<(), String> {
    let text = "x".repeat(200_000);
    let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: big-{number}\ndata:\n  k: {text}\n");
    let file = folder.join("big.yaml");
    std::fs::write(&file, manifest).unwrap();
    let output = daemon.try_kubectl(&["create", "-f", &file.display().to_string()]);
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Writes until it fails for `reason`, makes room, and finds everything as acknowledged.
fn fails_and_recovers(mut daemon: Daemon, folder: &Path, reason: &str, make_room: impl FnOnce(&Daemon)) {
    let mut stored = 0;
    let refusal = loop {
        match put(&daemon, folder, stored) {
            Ok(()) => stored += 1,
            Err(refusal) => break refusal,
        }
        assert!(stored < 500, "the disk never filled");
    };
    assert!(refusal.contains("store.redb") && refusal.contains(reason), "after {stored}: {refusal}");
    let names = |daemon: &Daemon| daemon.kubectl(&["get", "configmaps", "-o", "name"]).matches("/big-").count();
    assert_eq!(names(&daemon), stored, "reads go on, and nothing is half there");
    assert_eq!(daemon.kubectl(&["get", "--raw", "/livez"]).trim(), "ok");
    assert!(put(&daemon, folder, stored).is_err(), "it still has no room");
    make_room(&daemon);
    daemon.wait_for("writes recover", || put(&daemon, folder, stored).is_ok());
    daemon.kill();
    daemon.restart();
    assert_eq!(names(&daemon), stored + 1, "what was acknowledged is there after a crash");
    let took = daemon.stop();
    assert!(took.as_secs() < 5, "it stopped after {took:?}");
}

#[test]
fn a_full_file_system_stops_writes_only() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root may mount: the limit on file sizes stands for the full file system");
        return limited();
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _mounted = Mounted::new(&data, "12m");
    let daemon = Daemon::start_in(&data, &["--no-hosts"]);
    // Most of the room goes to something else, as it does in life.
    std::fs::write(data.join("ballast"), vec![1; 6 << 20]).unwrap();
    fails_and_recovers(daemon, folder.path(), "No space left on device", |daemon| {
        std::fs::remove_file(daemon.data.join("ballast")).unwrap();
    });
}

#[test]
fn a_file_that_may_not_grow_stops_writes_only() {
    limited();
}

fn limited() {
    let folder = tempfile::tempdir().unwrap();
    // Without this, the kernel would end the daemon instead of failing its write.
    let daemon = Daemon::start_with(&folder.path().join("data"), &["--no-hosts"], "trap '' XFSZ");
    let store = std::fs::metadata(daemon.data.join("store.redb")).unwrap().len();
    let limit = |daemon: &Daemon, soft: &str| {
        run("prlimit", &["--pid", &daemon.pid().to_string(), &format!("--fsize={soft}:unlimited")]);
    };
    limit(&daemon, &(store + (1 << 20)).to_string());
    fails_and_recovers(daemon, folder.path(), "File too large", |daemon| limit(daemon, "unlimited"));
}
