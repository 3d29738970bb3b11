//! Cuts a watch body into lines, each an event. Lines that lie within one frame are handed on without a copy.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a line says.
#[derive(Deserialize)]
pub struct WatchEvent<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub what: &'a str,
    /// The object, or for an error the `Status`.
    #[serde(borrow)]
    pub object: &'a RawValue,
}

/// The start of a line whose end has not arrived yet.
#[derive(Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Calls `each` for every line that `frame` completes, without its newline; stops at the first error.
    pub fn feed<E>(&mut self, mut frame: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(end) = frame.iter().position(|byte| *byte == b'\n') {
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
