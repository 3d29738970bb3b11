//! Container logs: from the files on this machine, with nanoseconds, all that is kept; or through the API, which cuts
//! times to seconds and tells only what conmon has not dropped. Here they are kept within limits as well.

mod reader;

use super::{
    Podman,
    http::segment,
    lines::{Frame, chunks, frames},
};
use crate::kubelet::runtime::{
    ContainerState, LogLimits, LogLine, LogOptions, OutputStream, Result, RuntimeError, log_files,
};
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt, Shared},
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use reader::Reader;
use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What conmon understands as: begin the log anew.
const REOPEN: &[u8] = b"2 0 0\n";
/// Before asking conmon again; it makes sure that all is on the disk first.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before asking again whether a container runs, where there was no answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The logs of running containers, as seen last, by container id.
pub type Logs = HashMap<String, Log>;

/// One log that is kept within limits.
pub struct Log {
    path: PathBuf,
    /// Of the file that is written to; 0 before the first look.
    inode: u64,
    length: u64,
    /// When conmon was asked to begin another one.
    asked: Option<Instant>,
    /// What is wrong with it was told.
    told: bool,
}

impl Log {
    fn at(path: &str) -> Self {
        Self { path: path.into(), inode: 0, length: 0, asked: None, told: false }
    }
}

type Ended = Shared<BoxFuture<'static, ()>>;

impl Podman {
    pub(super) async fn read_logs(
        &self,
        container: &str,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let inspected = self.inspected(container).await?;
        let path = inspected.host_config.log_config.path.clone();
        let state = inspected.state();
        if !path.is_empty() && self.around().await?.local {
            // A container that has not begun yet will write as well.
            let follow = options.follow && !matches!(state, ContainerState::Exited(_));
            let ended: Ended = if follow { self.ended(container) } else { async {}.boxed().shared() };
            match Reader::open(Path::new(&path), options, follow, ended).await {
                Ok(reader) => return Ok(lines(reader, path)),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(failed(error, &path)),
            }
        }
        self.api_lines(container, options, inspected.config.tty).await
    }

    /// Completes when the container is not running any more.
    fn ended(&self, container: &str) -> Ended {
        let (client, path) = (self.client.clone(), format!("containers/{}/wait", segment(container)));
        let wait = async move {
            loop {
                let call = client.post(path.clone(), "wait").query("condition", "exited").query("condition", "stopped");
                let call = call.query("condition", "removing").query("interval", "100ms");
                match call.deadline(Duration::from_secs(86_400)).send().await {
                    // A service that is started again is no end.
                    Err(error) if error.is_silence() => tokio::time::sleep(ASK_AGAIN).await,
                    _ => return,
                }
            }
        };
        wait.boxed().shared()
    }

    async fn api_lines(
        &self,
        container: &str,
        options: &LogOptions,
        tty: bool,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let wants = |stream| options.stream.is_none_or(|wanted| wanted == stream);
        let call = self.client.get(format!("containers/{}/logs", segment(container)), format!("logs of {container}"));
        let mut call = call.query("timestamps", true).query("follow", options.follow);
        call = call.query("stdout", wants(OutputStream::Stdout)).query("stderr", wants(OutputStream::Stderr));
        if let Some(tail) = options.tail {
            call = call.query("tail", tail);
        }
        if let Some(since) = options.since {
            call = call.query("since", since.as_second());
        }
        let chunks = chunks(call.stream().await?, "logs");
        let frames: BoxStream<'static, Result<Frame>> = if tty {
            chunks.map(|chunk| chunk.map(|bytes| (OutputStream::Stdout, bytes))).boxed()
        } else {
            frames(chunks).boxed()
        };
        Ok(frames.map(|frame| frame.map(|(stream, bytes)| stamped(stream, &bytes))).boxed())
    }

    /// Where the log of a container that runs is: nobody needs to ask for it then.
    pub(super) fn note_log(&self, id: &str, path: &str) {
        if !path.is_empty() {
            self.logs.lock().entry(id.to_owned()).or_insert_with(|| Log::at(path));
        }
    }

    /// Looks after the logs of these containers, which run; only these are known of afterwards.
    pub(super) async fn tend_logs(&self, running: &[String], limits: LogLimits) -> Result<u64> {
        if !self.around().await?.local {
            return Ok(0);
        }
        let mut known = std::mem::take(&mut *self.logs.lock());
        let mut logs = Logs::new();
        for id in running {
            let log = match known.remove(id) {
                Some(log) => log,
                None => match self.inspected(id).await.map(|found| found.host_config.log_config.path) {
                    Ok(path) if path.is_empty() => continue,
                    Ok(path) => Log::at(&path),
                    // It is gone, or is asked for again.
                    Err(_) => continue,
                },
            };
            logs.insert(id.clone(), log);
        }
        let (logs, most) = tokio::task::spawn_blocking(move || keep_all(logs, limits)).await.unwrap_or_default();
        let mut known = self.logs.lock();
        let noted = std::mem::replace(&mut *known, logs);
        noted.into_iter().for_each(|(id, log)| _ = known.entry(id).or_insert(log));
        Ok(most)
    }
}

/// Those that are there still, and the most that was written to one of them since the last look: bytes.
fn keep_all(mut logs: Logs, limits: LogLimits) -> (Logs, u64) {
    let mut most = 0;
    logs.retain(|_, log| {
        match log.keep(limits) {
            Ok(written) => most = most.max(written),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) if !log.told => {
                let path = log.path.display();
                tracing::warn!(%error, log = %path, "the log of a container cannot be kept within its limits");
                log.told = true;
            }
            Err(_) => {}
        }
        true
    });
    (logs, most)
}

impl Log {
    /// Returns how many bytes were written since the last look.
    fn keep(&mut self, limits: LogLimits) -> io::Result<u64> {
        let mut now = fs::metadata(&self.path)?;
        let mut before = self.length;
        if now.ino() != self.inode {
            now = log_files::keep(&self.path, limits.files)?;
            (before, self.asked) = (0, None);
        }
        // It may be slow to, and would begin one more each time that it is asked.
        let may_ask = self.asked.is_none_or(|asked| asked.elapsed() >= PATIENCE);
        if now.len() >= limits.size && may_ask {
            self.asked = Some(Instant::now());
            begin_anew(&self.path)?;
        }
        (self.inode, self.length) = (now.ino(), now.len());
        Ok(now.len().saturating_sub(before))
    }
}

/// Asks the container's conmon to. It does so in its own time, between two lines.
fn begin_anew(log: &Path) -> io::Result<()> {
    let pipe = log.with_file_name("ctl");
    // Opening a pipe that nobody reads must not wait for a reader.
    match OpenOptions::new().write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(pipe) {
        Ok(mut pipe) => pipe.write_all(REOPEN),
        // Its end has not been noticed yet.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => Ok(()),
        Err(error) => Err(error),
    }
}

fn failed(cause: io::Error, path: &str) -> RuntimeError {
    RuntimeError::Other {
        method: "read".into(),
        object: format!("log {path}"),
        message: "it cannot be read".into(),
        cause: Some(cause.into()),
    }
}

fn lines(reader: Reader, path: String) -> BoxStream<'static, Result<LogLine>> {
    let next = |state: Option<(Reader, String)>| async move {
        let (mut reader, path) = state?;
        match reader.next().await {
            Ok(Some(line)) => Some((Ok(line), Some((reader, path)))),
            Ok(None) => None,
            Err(error) => Some((Err(failed(error, &path)), None)),
        }
    };
    stream::unfold(Some((reader, path)), next).boxed()
}

/// Takes the time off a line of the API.
fn stamped(stream: OutputStream, bytes: &Bytes) -> LogLine {
    let space = bytes.iter().position(|byte| *byte == b' ');
    let time = space.and_then(|end| std::str::from_utf8(&bytes[..end]).ok()?.parse::<Timestamp>().ok());
    match (space, time) {
        (Some(end), Some(time)) => LogLine { time, stream, bytes: bytes.slice(end + 1..) },
        _ => LogLine { time: Timestamp::UNIX_EPOCH, stream, bytes: bytes.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_api_begin_with_a_time() {
        let line = stamped(OutputStream::Stdout, &Bytes::from("2026-01-02T03:04:05Z hello\n"));
        assert_eq!((line.time.as_second(), line.bytes.as_ref()), (1_767_323_045, &b"hello\n"[..]));
    }
}
