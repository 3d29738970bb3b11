//! Lines at the bottom of a terminal that are drawn again while something is waited for. What is printed
//! meanwhile goes above them. Where there is no terminal, there are none.

use super::color::{CHANGE, FAINT, STRONG, paint};
use super::screen::{cut, size};
use super::{clean, one_line};
use crate::gitops::render::describe;
use crate::gitops::sync::Progress;
use anstream::ColorChoice;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

/// Objects of one application that get a line.
const SHOWN: usize = 8;
const TICK: Duration = Duration::from_millis(120);

/// Clones draw on the same lines.
#[derive(Clone)]
pub struct Live {
    all: MultiProgress,
    /// By application.
    blocks: Arc<Mutex<BTreeMap<String, Block>>>,
    coloured: bool,
    /// How wide the terminal is now.
    columns: fn() -> usize,
}

/// What is waited for by one application: a line that moves, and lines for the objects below it. They are
/// one bar, so that all are cut anew each time that one is drawn.
struct Block {
    head: ProgressBar,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Live {
    /// On standard output; `None`: that is no terminal that can be drawn on.
    pub fn stdout() -> Option<Self> {
        let out = io::stdout();
        let columns = || size(io::stdout()).0;
        Self::on(out.is_terminal(), anstream::AutoStream::choice(&out), ProgressDrawTarget::stdout, columns)
    }

    /// On standard error.
    pub fn stderr() -> Option<Self> {
        let out = io::stderr();
        let columns = || size(io::stderr()).0;
        Self::on(out.is_terminal(), anstream::AutoStream::choice(&out), ProgressDrawTarget::stderr, columns)
    }

    fn on(
        terminal: bool,
        colour: ColorChoice,
        target: fn() -> ProgressDrawTarget,
        columns: fn() -> usize,
    ) -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (terminal && !dumb).then(|| Self {
            all: MultiProgress::with_draw_target(target()),
            blocks: Arc::default(),
            coloured: colour != ColorChoice::Never,
            columns,
        })
    }

    /// Shows what an application waits for in the place of what it waited for before.
    pub fn waiting(&self, application: &str, ready: usize, unready: &[Progress]) {
        if unready.is_empty() {
            return self.clear(application);
        }
        self.show(application, &head(application, ready, unready.len()), &lines(unready));
    }

    /// Shows a line that moves and lines below it, those of `key`, until [`Self::clear`].
    pub fn show(&self, key: &str, head: &str, lines: &[String]) {
        let mut blocks = self.blocks.lock();
        let block = blocks.entry(key.to_owned()).or_insert_with(|| Block::new(&self.all, self.columns));
        *block.lines.lock() = lines.iter().map(|line| self.text(line)).collect();
        block.head.set_message(self.text(head));
    }

    /// Takes the lines of `key` away.
    pub fn clear(&self, key: &str) {
        let Some(block) = self.blocks.lock().remove(key) else { return };
        block.head.finish_and_clear();
        self.all.remove(&block.head);
    }

    /// Writes above the lines.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }

    fn text(&self, line: &str) -> String {
        if self.coloured { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() }
    }
}

impl Block {
    fn new(all: &MultiProgress, columns: fn() -> usize) -> Self {
        let (head, lines) = (all.add(ProgressBar::no_length()), Arc::<Mutex<Vec<String>>>::default());
        let drawn = lines.clone();
        let below = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let columns = columns();
            for line in drawn.lock().iter() {
                // Where nothing can be written, nothing is missed.
                let _ = write!(out, "\n{}", cut(&format!("  {line}"), columns));
            }
        };
        // The template is ours: one that is wrong shows the messages alone.
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>4}{below}");
        head.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("below", below));
        head.enable_steady_tick(TICK);
        Self { head, lines }
    }
}

/// `shop: 3 of 8 ready`.
fn head(application: &str, ready: usize, unready: usize) -> String {
    let name = if application.is_empty() { String::new() } else { format!("{}: ", paint(STRONG, clean(application))) };
    format!("{name}{ready} of {} ready", ready + unready)
}

/// A line for each object, as many as are worth the room.
fn lines(unready: &[Progress]) -> Vec<String> {
    let line = |one: &Progress| format!("{} {}", describe(&one.id), paint(CHANGE, one_line(&one.message)));
    let mut lines: Vec<String> = unready.iter().take(SHOWN).map(line).collect();
    if unready.len() > SHOWN {
        lines.push(paint(FAINT, format!("and {} more", unready.len() - SHOWN)));
    }
    lines
}

/// Standard error, above the lines where there are some: for the log.
#[derive(Clone)]
pub struct Above(pub Option<Live>);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write(bytes);
        match &self.0 {
            Some(live) => live.above(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::changeset::ObjectId;

    #[test]
    fn what_is_waited_for_is_shown_in_lines() {
        let one = |at: usize| Progress {
            id: ObjectId {
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: format!("web{at}"),
                ..ObjectId::default()
            },
            message: "1 of 3\npods \u{1b}[2Jupdated".into(),
        };
        let plain = |line: &String| anstream::adapter::strip_str(line).to_string();
        let shown: Vec<String> = lines(&[one(1)]).iter().map(plain).collect();
        assert_eq!(shown, ["Deployment shop/web1 1 of 3 pods �[2Jupdated"]);
        let many: Vec<Progress> = (0..10).map(one).collect();
        assert_eq!(lines(&many).iter().map(plain).next_back().as_deref(), Some("and 2 more"));
        assert_eq!(plain(&head("shop", 3, 5)), "shop: 3 of 8 ready");
        assert_eq!(head("", 0, 1), "0 of 1 ready");
    }
}
