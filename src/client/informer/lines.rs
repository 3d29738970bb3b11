//! Cuts a watch body into lines, each an event. Lines that lie within one frame are handed on without a copy.

use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchEvent<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub what: &'a str,
    /// The object, or for an error the `Status`: JSON, or what was to be.
    pub object: &'a str,
}

impl<'a> WatchEvent<'a> {
    pub fn read(line: &'a [u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Written<'a> {
            #[serde(rename = "type")]
            what: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        if let Some(event) = std::str::from_utf8(line).ok().and_then(Self::plain) {
            return Ok(event);
        }
        let Written { what, object } = serde_json::from_slice(line)?;
        Ok(Self { what, object: object.get() })
    }

    /// As every API server writes it: the object is parsed by whoever wants it, and not before that.
    fn plain(line: &'a str) -> Option<Self> {
        let (what, rest) = line.strip_prefix("{\"type\":\"")?.split_once('"')?;
        let object = rest.strip_prefix(",\"object\":")?.strip_suffix('}')?;
        Some(Self { what, object })
    }
}

/// The start of a line whose end has not arrived yet.
#[derive(Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Calls `each` for every line that `frame` completes, without its newline; stops at the first error.
    pub fn feed<E>(&mut self, mut frame: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(end) = memchr(b'\n', frame) {
            let (line, rest) = (&frame[..end], &frame[end + 1..]);
            if self.pending.is_empty() {
                each(line)?;
            } else {
                self.pending.extend_from_slice(line);
                each(&std::mem::take(&mut self.pending))?;
            }
            frame = rest;
        }
        self.pending.extend_from_slice(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_are_read_however_they_are_written() {
        let event = WatchEvent { what: "ADDED", object: r#"{"kind":"Pod"}"# };
        for line in [
            r#"{"type":"ADDED","object":{"kind":"Pod"}}"#,
            r#"{ "type": "ADDED", "object": {"kind":"Pod"} }"#,
            r#"{"object":{"kind":"Pod"},"type":"ADDED"}"#,
        ] {
            assert_eq!(WatchEvent::read(line.as_bytes()).ok().as_ref(), Some(&event), "{line}");
        }
        for line in [&b"{"[..], b"{\"type\":\"ADDED\"}", b"\xff"] {
            assert!(WatchEvent::read(line).is_err());
        }
    }

    proptest! {
        /// However the body is cut into frames, the lines are the same.
        #[test]
        fn frames_do_not_matter(lines in proptest::collection::vec("[a-z]{0,8}", 0..10), cuts in proptest::collection::vec(1usize..7, 1..20)) {
            let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (mut rest, mut seen, mut splitter) = (body.as_bytes(), Vec::new(), Lines::default());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (frame, after) = rest.split_at((*cut).min(rest.len()));
                splitter.feed(frame, |line| { seen.push(String::from_utf8_lossy(line).into_owned()); Ok::<_, ()>(()) }).ok();
                rest = after;
            }
            prop_assert_eq!(seen, lines);
        }
    }
}
