//! Reads all files of a log as one, and goes on with the next file when one is begun.

use super::Ended;
use crate::kubelet::runtime::log_files::{self, LogFile};
use crate::kubelet::runtime::{LogLine, LogOptions, OutputStream};
use bytes::{Buf, BytesMut};
use jiff::Timestamp;
use std::{
    collections::VecDeque,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
    time::sleep,
};

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(50);
const BLOCK: usize = 64 << 10;
/// A file's time may be that much before those of its lines.
const COARSE: Duration = Duration::from_secs(1);

pub struct Reader {
    path: Arc<Path>,
    /// What is being read, its inode, and how far.
    file: File,
    inode: u64,
    at: u64,
    /// To be read after it.
    next: VecDeque<LogFile>,
    /// The highest number that a file had at the last look: what is newer has a higher one.
    seen: u64,
    buffer: BytesMut,
    since: Option<Timestamp>,
    stream: Option<OutputStream>,
    follow: bool,
    ended: Ended,
}

impl Reader {
    /// `NotFound` where there is no such log. Under `follow` until `ended` and all that was written by then is read.
    pub async fn open(path: &Path, options: &LogOptions, follow: bool, ended: Ended) -> io::Result<Self> {
        let (path, tail, since) = (Arc::<Path>::from(path), options.tail, options.since);
        let log = path.clone();
        let open = move || {
            let mut files = log_files::open_all(&log)?;
            // Also of those that are not read.
            let seen = files.iter().filter_map(|file| file.number).max().unwrap_or_default();
            let mut at = 0;
            if let Some(count) = tail {
                let (first, from) = tail_start(&files, count)?;
                files.drain(..first);
                at = from;
            }
            while files.len() > 1 && since.is_some_and(|since| is_before(&files[0], since)) {
                files.remove(0);
                at = 0;
            }
            Ok::<_, io::Error>((VecDeque::from(files), at, seen))
        };
        let (mut next, at, seen) = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
        let first = next.pop_front().ok_or(io::ErrorKind::NotFound)?;
        let (inode, mut file) = (first.inode, File::from_std(first.file));
        file.seek(SeekFrom::Start(at)).await?;
        let (since, stream, buffer) = (options.since, options.stream, BytesMut::new());
        Ok(Self { path, file, inode, at, next, seen, buffer, since, stream, follow, ended })
    }

    /// The next line, or part of one; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<LogLine>> {
        let mut last_look = !self.follow;
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if let Some(line) = record(&line).filter(|line| self.wants(line)) {
                    return Ok(Some(line));
                }
            }
            if self.more().await? || self.follow && self.look().await? {
                continue;
            }
            if last_look {
                return Ok(None);
            }
            tokio::select! {
                // Once more round, for what was written before the end.
                () = self.ended.clone() => last_look = true,
                () = sleep(POLL) => {}
            }
        }
    }

    fn wants(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.time >= since) && self.stream.is_none_or(|stream| line.stream == stream)
    }

    /// Reads on, in the next file where one has been read to its end.
    async fn more(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.reserve(BLOCK);
            let count = self.file.read_buf(&mut self.buffer).await?;
            self.at += count as u64;
            if count > 0 {
                return Ok(true);
            }
            let Some(next) = self.next.pop_front() else { return Ok(false) };
            // Nobody completes what a full disk cut off.
            self.buffer.clear();
            (self.inode, self.file, self.at) = (next.inode, File::from_std(next.file), 0);
        }
    }

    /// Whether there is more than was known of when the last file began. It gets no more lines then: what there is
    /// of them is read before the next.
    async fn look(&mut self) -> io::Result<bool> {
        let now = match tokio::fs::metadata(&self.path).await {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if now.ino() == self.inode {
            if now.len() >= self.at {
                return Ok(false);
            }
            // Somebody emptied it.
            self.buffer.clear();
            self.at = 0;
            self.file.seek(SeekFrom::Start(0)).await?;
            return Ok(true);
        }
        let path = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || log_files::open_all(&path)).await.map_err(io::Error::other)?;
        let mut files = match opened {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let before = self.seen;
        // The one that is being read, too: it may have got its number since.
        self.seen = files.iter().filter_map(|file| file.number).fold(before, u64::max);
        files.retain(|file| file.inode != self.inode && file.number.is_none_or(|number| number > before));
        self.next.extend(files);
        Ok(!self.next.is_empty())
    }
}

fn is_before(file: &LogFile, since: Timestamp) -> bool {
    let since = SystemTime::from(since);
    file.modified.and_then(|time| time.checked_add(COARSE)).is_some_and(|time| time < since)
}

/// Reads one record `TIME STREAM F|P TEXT`; `None` for what is not one.
pub fn record(line: &[u8]) -> Option<LogLine> {
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

fn ends_line(record_line: &[u8]) -> bool {
    record(record_line).is_some_and(|line| line.bytes.ends_with(b"\n"))
}

/// Where the last `count` lines begin: in which file, and where in it.
fn tail_start(files: &[LogFile], count: usize) -> io::Result<(usize, u64)> {
    if count == 0 {
        return Ok((files.len() - 1, files.last().map_or(0, |file| file.length)));
    }
    // Ends of lines to go back over. The last line's own is one of them, unless more of it is to come.
    let mut left = count;
    let mut newest = true;
    for (index, file) in files.iter().enumerate().rev() {
        let (mut end, mut size) = (file.length, BLOCK as u64);
        while end > 0 {
            let from = end.saturating_sub(size);
            let mut bytes = vec![0; (end - from) as usize];
            file.file.read_exact_at(&mut bytes, from)?;
            // Unless this is the file's beginning, the first piece may be a part of a record.
            let first = match bytes.iter().position(|byte| *byte == b'\n') {
                _ if from == 0 => 0,
                Some(at) if at + 1 < bytes.len() => at + 1,
                _ => {
                    size *= 4;
                    continue;
                }
            };
            let mut to = bytes.len();
            while to > first {
                let begin =
                    bytes[first..to - 1].iter().rposition(|byte| *byte == b'\n').map_or(first, |at| first + at + 1);
                if ends_line(bytes[begin..to].strip_suffix(b"\n").unwrap_or(&bytes[begin..to])) {
                    if newest {
                        left += 1;
                    }
                    left -= 1;
                    if left == 0 {
                        return Ok((index, from + to as u64));
                    }
                }
                newest = false;
                to = begin;
            }
            end = from + first as u64;
        }
    }
    Ok((0, 0))
}

#[cfg(test)]
mod tests;
