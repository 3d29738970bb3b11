//! A git server over ssh: the machine's own sshd on a free port of 127.0.0.1, as the current user,
//! with keys of its own. Ends when it is dropped.

use crate::daemon::{run, wait_until};
use crate::ports;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

pub struct SshServer {
    pub port: u16,
    child: Child,
    folder: tempfile::TempDir,
    _separation: Separation,
}

/// Where sshd of root puts its unprivileged part; without it every connection ends before it begins.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// Keeps that directory there, which the package's service makes otherwise, while any server of ours runs.
struct Separation;

/// How many servers there are, and whether the directory is ours.
static SEPARATED: Mutex<(usize, bool)> = Mutex::new((0, false));

impl Separation {
    fn new() -> Self {
        let mut separated = SEPARATED.lock().unwrap_or_else(PoisonError::into_inner);
        if separated.0 == 0 {
            separated.1 = user() == "root" && std::fs::create_dir(PRIVILEGE_SEPARATION).is_ok();
        }
        separated.0 += 1;
        Self
    }
}

impl Drop for Separation {
    fn drop(&mut self) {
        let mut separated = SEPARATED.lock().unwrap_or_else(PoisonError::into_inner);
        separated.0 -= 1;
        if *separated == (0, true) {
            let _ = std::fs::remove_dir(PRIVILEGE_SEPARATION);
        }
    }
}

/// What each connection runs. While there is a file `cuts`, one that sends more than this is cut: the process that has
/// it is killed.
const SERVE: &str = r#"[ -e FOLDER/cuts ] || exec sh -c "$SSH_ORIGINAL_COMMAND"
sh -c "$SSH_ORIGINAL_COMMAND" | {
    stdbuf -o0 head -c 100000
    [ "$(head -c 1 | wc -c)" -gt 0 ] || exit 0
    echo cut >>FOLDER/cut
    process=$PPID
    until grep -q sshd "/proc/$process/comm"; do process=$(cut -d ' ' -f 4 "/proc/$process/stat"); done
    kill -9 "$process"
}
"#;

impl SshServer {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "other_host", "user", "other_user"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &path(key)]);
        }
        let public = std::fs::read_to_string(path("user.pub")).expect("a key");
        std::fs::write(path("authorized_keys"), format!("command=\"sh {}\" {public}", path("serve"))).expect("a file");
        std::fs::write(path("serve"), SERVE.replace("FOLDER", &folder.path().display().to_string())).expect("a script");
        let port = ports::free();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n",
            path("host"),
            path("authorized_keys"),
        );
        std::fs::write(path("config"), config).expect("its settings");
        let separation = Separation::new();
        let log = std::fs::File::create(path("log")).expect("a log");
        let child = Command::new(sshd())
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd of openssh-server");
        let server = Self { port, child, folder, _separation: separation };
        let log = || std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
        wait_until("sshd listens", log, &mut || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// Whether connections are cut from now on, in the middle of what is large.
    pub fn cut(&self, cuts: bool) {
        let file = self.folder.path().join("cuts");
        if cuts { std::fs::write(file, "") } else { std::fs::remove_file(file) }.expect("a file");
    }

    /// How many were.
    pub fn was_cut(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("cut")).unwrap_or_default().lines().count()
    }

    pub fn url(&self, repository: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, repository.display())
    }

    /// A file of its keys: `user` may log in, `other_user` may not.
    pub fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("a key")
    }

    /// A line of known_hosts with the key in this file.
    pub fn known_host(&self, name: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.key(&format!("{name}.pub")))
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user() -> String {
    run("id", &["-un"]).trim().to_string()
}

/// sshd insists on being called by its whole path.
fn sshd() -> PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join("sshd")).find(|path| path.exists());
    found.expect("sshd: run ./examples/setup test, which installs openssh-server")
}
