//! A program that is run for its output: for so long, and so much of it. Its children end with it.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// What it may say is wrong.
const MAX_ERRORS: u64 = 64 << 10;

pub(super) struct Limits {
    pub time: Duration,
    /// Bytes.
    pub output: u64,
}

#[derive(Debug)]
pub(super) enum Failed {
    /// It could not be started, or not be heard.
    Start(io::Error),
    Time,
    Output,
    /// It failed, saying this.
    Status(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Start(error)
    }
}

/// Its standard output. `input` is small, and all that it may read. Cancelled, it is killed.
pub(super) async fn run(mut command: Command, input: &[u8], limits: Limits) -> Result<Vec<u8>, Failed> {
    use std::os::unix::process::CommandExt;
    let given = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(given).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    if let Some(mut given) = child.stdin.take() {
        // It need not read.
        let _ = given.write_all(input).await;
    }
    let heard = async {
        let (output, errors) = tokio::try_join!(read(output, limits.output), read(errors, MAX_ERRORS))?;
        Ok::<_, Failed>((output, errors, child.wait().await?))
    };
    let (output, errors, status) = tokio::time::timeout(limits.time, heard).await.map_err(|_| Failed::Time)??;
    group.0 = None;
    match status.success() {
        true => Ok(output),
        false => Err(Failed::Status(match String::from_utf8_lossy(&errors).trim() {
            "" => status.to_string(),
            said => said.to_owned(),
        })),
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>, most: u64) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let Some(stream) = stream else { return Ok(bytes) };
    stream.take(most + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > most { Err(Failed::Output) } else { Ok(bytes) }
}

/// Processes that are killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be over.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
