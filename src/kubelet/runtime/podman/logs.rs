//! Container logs: from the file on this machine, with nanoseconds, or through the API, which cuts
//! times to seconds.

use super::{
    Podman,
    http::segment,
    lines::{Frame, chunks, frames},
};
use crate::kubelet::runtime::{LogLine, LogOptions, OutputStream, Result, RuntimeError};
use bytes::{Buf, Bytes, BytesMut};
use futures::{
    Stream, StreamExt,
    future::{BoxFuture, FutureExt, Shared},
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
    time::sleep,
};

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(50);
const BLOCK: usize = 64 << 10;

impl Podman {
    pub(super) async fn read_logs(
        &self,
        container: &str,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let inspected = self.inspected(container).await?;
        let path = inspected.host_config.log_config.path.clone();
        let state = inspected.state();
        if !path.is_empty()
            && self.around().await?.local
            && let Ok(file) = File::open(&path).await
        {
            // A container that has not begun yet will write as well.
            let over = matches!(state, crate::kubelet::runtime::ContainerState::Exited(_));
            let follow = options.follow && !over;
            let ended: Ended = if follow { self.ended(container) } else { async {}.boxed().shared() };
            return Ok(file_lines(Path::new(&path).into(), file, options.clone(), follow, ended).await?.boxed());
        }
        let lines = self.api_lines(container, options, inspected.config.tty).await?;
        Ok(lines)
    }

    /// Completes when the container is not running any more, or nobody can tell.
    fn ended(&self, container: &str) -> Ended {
        let (client, path) = (self.client.clone(), format!("containers/{}/wait", segment(container)));
        let wait = async move {
            let call = client.post(path, "wait").query("condition", "exited").query("condition", "stopped");
            _ = call
                .query("condition", "removing")
                .query("interval", "100ms")
                .deadline(Duration::from_secs(86_400))
                .send()
                .await;
        };
        wait.boxed().shared()
    }

    async fn api_lines(
        &self,
        container: &str,
        options: &LogOptions,
        tty: bool,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let call = self.client.get(format!("containers/{}/logs", segment(container)), format!("logs of {container}"));
        let mut call = call.query("stdout", true).query("stderr", true).query("timestamps", true);
        call = call.query("follow", options.follow);
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
}

type Ended = Shared<BoxFuture<'static, ()>>;

/// Takes the time off a line of the API.
fn stamped(stream: OutputStream, bytes: &Bytes) -> LogLine {
    let space = bytes.iter().position(|byte| *byte == b' ');
    let time = space.and_then(|end| std::str::from_utf8(&bytes[..end]).ok()?.parse::<Timestamp>().ok());
    match (space, time) {
        (Some(end), Some(time)) => LogLine { time, stream, bytes: bytes.slice(end + 1..) },
        _ => LogLine { time: Timestamp::UNIX_EPOCH, stream, bytes: bytes.clone() },
    }
}

/// Reads one record `TIME STREAM F|P TEXT`; `None` for what is not one.
fn record(line: &[u8]) -> Option<LogLine> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time: Timestamp = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let stream = match fields.next()? {
        b"stdout" => OutputStream::Stdout,
        b"stderr" => OutputStream::Stderr,
        _ => return None,
    };
    let whole = fields.next()? == b"F";
    let text = fields.next().unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(text.len() + 1);
    bytes.extend_from_slice(text);
    if whole {
        bytes.extend_from_slice(b"\n");
    }
    Some(LogLine { time, stream, bytes: bytes.freeze() })
}

/// Where the last `count` lines begin.
async fn tail_start(file: &mut File, count: usize) -> io::Result<u64> {
    let end = file.metadata().await?.len();
    if count == 0 {
        return Ok(end);
    }
    let mut size = BLOCK as u64;
    loop {
        let from = end.saturating_sub(size);
        file.seek(SeekFrom::Start(from)).await?;
        let mut bytes = vec![0; (end - from) as usize];
        file.read_exact(&mut bytes).await?;
        // Unless this is the file's beginning, the first piece may be a part of a record.
        let first =
            if from == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1) };
        let mut starts = vec![first];
        let mut at = first;
        while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let whole = record(&bytes[at..at + length]).is_some_and(|line| line.bytes.ends_with(b"\n"));
            at += length + 1;
            if whole && at < bytes.len() {
                starts.push(at);
            }
        }
        if starts.len() > count || from == 0 {
            let skip = starts.len().saturating_sub(count);
            return Ok(from + starts[skip] as u64);
        }
        size *= 4;
    }
}

struct Reader {
    path: Arc<Path>,
    file: File,
    at: u64,
    buffer: BytesMut,
    since: Option<Timestamp>,
    follow: bool,
    ended: Ended,
}

async fn file_lines(
    path: Arc<Path>,
    mut file: File,
    options: LogOptions,
    follow: bool,
    ended: Ended,
) -> Result<impl Stream<Item = Result<LogLine>> + Send + use<>> {
    let failed = |cause: io::Error, path: &Path| RuntimeError::Other {
        method: "read".into(),
        object: format!("log {}", path.display()),
        message: "it cannot be read".into(),
        cause: Some(cause.into()),
    };
    let mut at = 0;
    if let Some(tail) = options.tail {
        at = tail_start(&mut file, tail).await.map_err(|error| failed(error, &path))?;
    }
    file.seek(SeekFrom::Start(at)).await.map_err(|error| failed(error, &path))?;
    let reader = Reader { path, file, at, buffer: BytesMut::new(), since: options.since, follow, ended };
    Ok(stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(line)) => Some((Ok(line), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(failed(error, &reader.path)), None)),
        }
    }))
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if let Some(line) = record(&line).filter(|line| self.since.is_none_or(|since| line.time >= since)) {
                    return Ok(Some(line));
                }
            }
            if self.more().await? {
                continue;
            }
            if !self.follow {
                return Ok(None);
            }
            tokio::select! {
                // Once more round, for what was written before the end.
                () = self.ended.clone() => self.follow = false,
                () = sleep(POLL) => self.reopen().await?,
            }
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        self.buffer.reserve(BLOCK);
        let count = self.file.read_buf(&mut self.buffer).await?;
        self.at += count as u64;
        Ok(count > 0)
    }

    /// conmon begins a new file when the log has reached its limit.
    async fn reopen(&mut self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let Ok(now) = tokio::fs::metadata(&self.path).await else { return Ok(()) };
        let mine = self.file.metadata().await?;
        if now.ino() != mine.ino() || now.len() < self.at {
            while self.more().await? {}
            self.file = File::open(&self.path).await?;
            self.at = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOG: &str = "2026-01-02T03:04:05.100000001+00:00 stdout F one\n\
        2026-01-02T03:04:06.2+00:00 stderr P tw\n\
        2026-01-02T03:04:06.3+00:00 stderr F o\n\
        2026-01-02T03:04:07.4+00:00 stdout F three\n";

    async fn read(options: LogOptions) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctr.log");
        std::fs::write(&path, LOG).unwrap();
        let file = File::open(&path).await.unwrap();
        let lines = file_lines(path.as_path().into(), file, options, false, async {}.boxed().shared()).await.unwrap();
        let lines: Vec<Bytes> = lines.map(|line| line.unwrap().bytes).collect().await;
        String::from_utf8(lines.concat()).unwrap()
    }

    #[tokio::test]
    async fn whole_tail_and_since() {
        assert_eq!(read(LogOptions::default()).await, "one\ntwo\nthree\n");
        for (tail, expect) in [(0, ""), (1, "three\n"), (2, "two\nthree\n"), (9, "one\ntwo\nthree\n")] {
            assert_eq!(read(LogOptions { tail: Some(tail), ..LogOptions::default() }).await, expect, "{tail}");
        }
        let since = Some("2026-01-02T03:04:07Z".parse().unwrap());
        assert_eq!(read(LogOptions { since, ..LogOptions::default() }).await, "three\n");
    }

    #[test]
    fn records() {
        let line = record(b"2026-01-02T03:04:05.100000001+00:00 stdout F a b").unwrap();
        assert_eq!((line.bytes.as_ref(), line.time.subsec_nanosecond()), (&b"a b\n"[..], 100_000_001));
        assert_eq!(record(b"2026-01-02T03:04:05Z stdout F ").unwrap().bytes.as_ref(), b"\n");
        assert_eq!(record(b"garbage"), None);
        let line = stamped(OutputStream::Stdout, &Bytes::from("2026-01-02T03:04:05Z hello\n"));
        assert_eq!((line.time.as_second(), line.bytes.as_ref()), (1_767_323_045, &b"hello\n"[..]));
    }
}
