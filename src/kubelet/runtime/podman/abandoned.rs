//! Ends commands in containers that nobody waits for any more, such as probes that hang: one more of
//! them would begin with every period.
//!
//! Podman 4 has no call for that, so it takes a process of this machine. Podman says which one it is.

use super::http::{Client, QUICK};
use rustix::process::{self, Pid, PidfdFlags, Signal};
use serde::Deserialize;
use std::{fs, io, time::Duration};
use tokio::time::sleep;
use tracing::warn;

/// When a command's process is looked for: it may be about to start.
const LOOKS: [u64; 5] = [0, 200, 1000, 5000, 20_000];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    pid: i32,
    #[serde(default, rename = "ContainerID")]
    container: String,
}

/// A command that is killed when this is dropped before it is over.
pub struct Watched(Option<(Client, String)>);

impl Watched {
    pub fn new(client: &Client, exec: &str, local: bool) -> Self {
        Self(local.then(|| (client.clone(), exec.to_owned())))
    }

    pub fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some((client, exec)) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(end(client, exec));
        }
    }
}

async fn end(client: Client, exec: String) {
    for pause in LOOKS.map(Duration::from_millis) {
        sleep(pause).await;
        let asked = client.get(format!("exec/{exec}/json"), "exec session").deadline(QUICK).fetch::<Session>().await;
        match asked {
            Ok(session) if session.running && session.pid > 0 => {
                if let Err(error) = kill(session.pid, &session.container).await {
                    warn!("a command of container {} was left running: {error}", session.container);
                }
                return;
            }
            Err(error) if error.is_not_found() => return,
            _ => {}
        }
    }
}

/// Kills the process if it is one of that container, and what it started unless that left its group.
async fn kill(pid: i32, container: &str) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let process = Pid::from_raw(pid).ok_or_else(gone)?;
    // From here on it is known whose the number was, whoever has it later.
    let handle = process::pidfd_open(process, PidfdFlags::empty())?;
    if container.is_empty() || !fs::read_to_string(format!("/proc/{pid}/cgroup"))?.contains(container) {
        return Err(io::Error::other(format!("process {pid} is not in its cgroup")));
    }
    let leads = process::getpgid(Some(process)).is_ok_and(|group| group == process);
    let killed = match leads {
        true => process::kill_process_group(process, Signal::KILL),
        false => process::pidfd_send_signal(&handle, Signal::KILL),
    };
    match killed {
        // Rootless Podman's containers have users of their own, over whom only root of their namespace has power.
        Err(rustix::io::Errno::PERM) => from_inside(pid, leads).await,
        // It ended by itself.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

async fn from_inside(pid: i32, leads: bool) -> io::Result<()> {
    let mut command = tokio::process::Command::new("nsenter");
    command.args(["--target", &pid.to_string(), "--user", "--preserve-credentials", "--", "kill", "-KILL", "--"]);
    command.arg(if leads { format!("-{pid}") } else { pid.to_string() });
    let done = command.output().await?;
    let words = || io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned());
    if done.status.success() { Ok(()) } else { Err(words()) }
}
