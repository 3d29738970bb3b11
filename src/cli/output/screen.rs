//! A terminal's whole screen, drawn again in place; the shell's own comes back when it is dropped.

use anstream::ColorChoice;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// The other screen, no cursor, no wrapping of lines; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Where a terminal does not tell its size.
const USUAL: (usize, usize) = (80, 24);

pub struct Screen(());

impl Screen {
    /// `None`: standard output is no terminal that can be drawn on.
    pub fn open() -> io::Result<Option<Self>> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if dumb || !io::stdout().is_terminal() {
            return Ok(None);
        }
        write(ENTER)?;
        Ok(Some(Self(())))
    }

    /// Shows `text` from the top, as much of it as fits.
    pub fn draw(&self, text: &str) -> io::Result<()> {
        let (columns, rows) = size(io::stdout());
        // The controls are written in any case, the colours where they are wanted.
        let plain = anstream::AutoStream::choice(&io::stdout()) == ColorChoice::Never;
        let text = if plain { anstream::adapter::strip_str(text).to_string() } else { text.to_owned() };
        let mut frame = "\x1b[H".to_owned();
        for line in fit(&text, columns, rows) {
            let _ = write!(frame, "{line}\x1b[0m\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        write(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where there is no terminal any more, there is nothing to give back.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Columns and rows of a terminal as they are now.
pub fn size(of: impl AsFd) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(of) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

/// The lines that fit: the last row stays free for the cursor.
fn fit(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    if lines.len() <= room {
        return lines.iter().map(|line| cut(line, columns)).collect();
    }
    let shown = room - 1;
    let mut fitting: Vec<String> = lines.iter().take(shown).map(|line| cut(line, columns)).collect();
    fitting.push(cut(&format!("... {} more lines", lines.len() - shown), columns));
    fitting
}

/// The first `columns` characters of a line; escapes take no room.
pub fn cut(line: &str, columns: usize) -> String {
    let mut kept = String::new();
    let (mut room, mut escape) = (columns, false);
    for c in line.chars() {
        if escape {
            escape = !c.is_ascii_alphabetic();
        } else if c == '\x1b' {
            escape = true;
        } else if room == 0 {
            continue;
        } else {
            room -= 1;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_and_counted() {
        assert_eq!(fit("a\nb\nc", 80, 4), ["a", "b", "c"]);
        assert_eq!(fit("a\nb\nc\nd", 80, 4), ["a", "b", "... 2 more lines"]);
        assert_eq!(fit("abc\nd", 2, 4), ["ab", "d"]);
        assert_eq!(fit("a\nb", 80, 1), ["... 2 more lines"]);
    }

    #[test]
    fn escapes_take_no_room_and_are_all_kept() {
        assert_eq!(cut("\x1b[32mReady\x1b[0m now", 3), "\x1b[32mRea\x1b[0m");
        assert_eq!(cut("äöü", 2), "äö");
    }
}
