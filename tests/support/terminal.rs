//! Runs selkie in a pseudo-terminal, by util-linux' script(1).

use crate::daemon::SELKIE;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A command in a terminal of its own.
pub struct Terminal {
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// `selkie ARGS` on a data directory, in a terminal of that size.
    pub fn run(data: &Path, args: &str, columns: u16, rows: u16) -> Self {
        // exec: signals reach selkie itself.
        let command = format!("stty cols {columns} rows {rows}; exec {SELKIE} {args}");
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
            .env("SELKIE_DATA_DIR", data)
            .env("SELKIE_CONFIG", "/dev/null")
            .env("TERM", "xterm")
            .env_remove("KUBECONFIG")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script of util-linux");
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (into, mut out) = (seen.clone(), child.stdout.take().expect("its output"));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                into.lock().expect("the buffer").extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, seen, reader: Some(reader) }
    }

    /// Everything that was written to the terminal so far, escapes included.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("the buffer")).into_owned()
    }

    /// Makes the terminal as wide as that, as a window's user does.
    pub fn resize(&self, columns: u16) {
        let script = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children")).expect("its children");
        let command = children.split_whitespace().next().expect("the command still runs");
        let terminal = std::fs::read_link(format!("/proc/{command}/fd/0")).expect("its terminal");
        let device = terminal.to_str().expect("a path");
        crate::daemon::run("stty", &["-F", device, "cols", &columns.to_string()]);
    }

    /// Types Ctrl-C and returns whether the command then ended well.
    pub fn interrupt(&mut self) -> bool {
        use std::io::Write;
        let input = self.child.stdin.as_mut().expect("its input");
        input.write_all(b"\x03").and_then(|()| input.flush()).expect("the terminal");
        self.wait()
    }

    /// Whether the command ended well. Everything that it wrote is [seen](Self::seen) then.
    pub fn wait(&mut self) -> bool {
        let ended = self.child.wait().expect("its end").success();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its output");
        }
        ended
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
