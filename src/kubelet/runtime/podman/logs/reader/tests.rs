//! A log in several files, which are begun while it is read.
#![allow(clippy::unwrap_used)]

use super::*;
use futures::future::FutureExt;
use std::fs;

const OLD: &str = "2026-01-02T03:04:05.100000001+00:00 stdout F one\n2026-01-02T03:04:06.2+00:00 stderr P tw\n";
const NEW: &str = "2026-01-02T03:04:06.3+00:00 stderr F o\n2026-01-02T03:04:07.4+00:00 stdout F three\n";

struct Log {
    _directory: tempfile::TempDir,
    path: Box<Path>,
}

impl Log {
    /// In two files, or all in one.
    fn new(two: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctr.log");
        if two {
            fs::write(&path, OLD).unwrap();
        }
        let log = Self { _directory: directory, path: path.into() };
        if two {
            log.rotate(NEW)
        } else {
            fs::write(&log.path, format!("{OLD}{NEW}")).unwrap()
        }
        log
    }

    fn rotate(&self, text: &str) {
        log_files::keep(&self.path, 5).unwrap();
        let next = self.path.with_extension("tmp");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &self.path).unwrap();
    }

    fn append(&self, text: &str) {
        use std::io::Write;
        fs::OpenOptions::new().append(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    async fn read(&self, options: LogOptions) -> String {
        let reader = Reader::open(&self.path, &options, false, async {}.boxed().shared()).await.unwrap();
        rest(reader).await
    }
}

async fn rest(mut reader: Reader) -> String {
    let mut text = Vec::new();
    while let Some(line) = reader.next().await.unwrap() {
        text.extend_from_slice(&line.bytes);
    }
    String::from_utf8(text).unwrap()
}

fn line(number: u32) -> String {
    format!("2026-01-02T03:04:08Z stdout F {number}\n")
}

#[tokio::test]
async fn whole_tail_since_and_stream_in_one_file_or_two() {
    for two in [false, true] {
        let log = Log::new(two);
        assert_eq!(log.read(LogOptions::default()).await, "one\ntwo\nthree\n");
        for (tail, expect) in
            [(0, ""), (1, "three\n"), (2, "two\nthree\n"), (3, "one\ntwo\nthree\n"), (9, "one\ntwo\nthree\n")]
        {
            assert_eq!(
                log.read(LogOptions { tail: Some(tail), ..LogOptions::default() }).await,
                expect,
                "{tail} {two}"
            );
        }
        let since = Some("2026-01-02T03:04:07Z".parse().unwrap());
        assert_eq!(log.read(LogOptions { since, ..LogOptions::default() }).await, "three\n");
        let stream = Some(OutputStream::Stderr);
        assert_eq!(log.read(LogOptions { stream, ..LogOptions::default() }).await, "two\n");
    }
}

#[tokio::test]
async fn the_tail_of_a_line_that_goes_on_is_a_line() {
    let log = Log::new(true);
    log.append("2026-01-02T03:04:09Z stdout P fo");
    log.append("\n");
    for (tail, expect) in [(1, "fo"), (2, "three\nfo"), (3, "two\nthree\nfo")] {
        assert_eq!(log.read(LogOptions { tail: Some(tail), ..LogOptions::default() }).await, expect, "{tail}");
    }
}

#[tokio::test]
async fn a_long_tail_reaches_over_blocks_and_files() {
    let log = Log::new(false);
    // Some longer than a block.
    let long = |number: u32| if number.is_multiple_of(1000) { "x".repeat(3 * BLOCK) } else { number.to_string() };
    let lines: Vec<String> = (0..20_000).map(long).collect();
    for (at, lines) in lines.chunks(5000).enumerate() {
        let text: String = lines.iter().map(|line| format!("2026-01-02T03:04:08Z stdout F {line}\n")).collect();
        if at == 0 { fs::write(&log.path, text).unwrap() } else { log.rotate(&text) }
    }
    for tail in [1, 2, 4_999, 5_000, 5_001, 12_345, 19_999, 20_000, 30_000] {
        let expect: String =
            lines.iter().skip(20_000_usize.saturating_sub(tail)).map(|line| format!("{line}\n")).collect();
        assert!(log.read(LogOptions { tail: Some(tail), ..LogOptions::default() }).await == expect, "{tail}");
    }
}

#[tokio::test]
async fn who_follows_misses_and_doubles_nothing_however_slowly() {
    let log = Log::new(true);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let ended: Ended = async move { drop(ended.await) }.boxed().shared();
    let options = LogOptions { tail: Some(1), ..LogOptions::default() };
    let mut reader = Reader::open(&log.path, &options, true, ended).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().bytes, "three\n");
    // Written to the file that is being read, and to three that are begun before anybody reads on.
    log.append(&line(1));
    log.rotate(&line(2));
    log.append(&line(3));
    log.rotate(&line(4));
    log.rotate(&line(5));
    for number in 1..=5 {
        assert_eq!(reader.next().await.unwrap().unwrap().bytes, format!("{number}\n"));
    }
    // A file without a number is not met again under one.
    log_files::keep(&log.path, 5).unwrap();
    log.append(&line(6));
    assert_eq!(reader.next().await.unwrap().unwrap().bytes, "6\n");
    // What it reads is long gone, and some that came after.
    for number in 7..=14 {
        log.rotate(&line(number));
    }
    assert_eq!(reader.next().await.unwrap().unwrap().bytes, "9\n", "the oldest that is left");
    drop(end);
    assert_eq!(rest(reader).await, "10\n11\n12\n13\n14\n");
}

#[tokio::test]
async fn an_emptied_log_is_read_from_its_beginning() {
    let log = Log::new(false);
    let mut reader = Reader::open(&log.path, &LogOptions::default(), true, async {}.boxed().shared()).await.unwrap();
    for _ in 0..4 {
        reader.next().await.unwrap().unwrap();
    }
    fs::write(&log.path, line(1)).unwrap();
    assert_eq!(rest(reader).await, "1\n");
}

#[test]
fn records() {
    let line = record(b"2026-01-02T03:04:05.100000001+00:00 stdout F a b").unwrap();
    assert_eq!((line.bytes.as_ref(), line.time.subsec_nanosecond()), (&b"a b\n"[..], 100_000_001));
    assert_eq!(record(b"2026-01-02T03:04:05Z stdout F ").unwrap().bytes.as_ref(), b"\n");
    assert_eq!(record(b"garbage"), None);
}
