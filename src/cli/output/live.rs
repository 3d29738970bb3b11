//! Lines at the bottom of a terminal that are drawn again while something is waited for. What is printed
//! meanwhile goes above them. Where there is no terminal, there are none.

use super::clean;
use super::color::{CHANGE, FAINT, STRONG, paint};
use crate::gitops::render::describe;
use crate::gitops::sync::Progress;
use anstream::ColorChoice;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use std::collections::BTreeMap;
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
}

/// What is waited for by one application: a line that moves, and lines for the objects below it.
struct Block {
    head: ProgressBar,
    lines: Vec<ProgressBar>,
}

impl Live {
    /// On standard output; `None`: that is no terminal that can be drawn on.
    pub fn stdout() -> Option<Self> {
        let out = io::stdout();
        Self::on(out.is_terminal(), anstream::AutoStream::choice(&out), ProgressDrawTarget::stdout)
    }

    /// On standard error.
    pub fn stderr() -> Option<Self> {
        let out = io::stderr();
        Self::on(out.is_terminal(), anstream::AutoStream::choice(&out), ProgressDrawTarget::stderr)
    }

    fn on(terminal: bool, colour: ColorChoice, target: fn() -> ProgressDrawTarget) -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (terminal && !dumb).then(|| Self {
            all: MultiProgress::with_draw_target(target()),
            blocks: Arc::default(),
            coloured: colour != ColorChoice::Never,
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
        let block = blocks.entry(key.to_owned()).or_insert_with(|| Block::new(&self.all));
        block.head.set_message(self.text(head));
        while block.lines.len() > lines.len() {
            if let Some(surplus) = block.lines.pop() {
                self.all.remove(&surplus);
            }
        }
        while block.lines.len() < lines.len() {
            let above = block.lines.last().unwrap_or(&block.head);
            let line = self.all.insert_after(above, ProgressBar::no_length());
            line.set_style(style("  {wide_msg}"));
            block.lines.push(line);
        }
        block.lines.iter().zip(lines).for_each(|(bar, line)| bar.set_message(self.text(line)));
    }

    /// Takes the lines of `key` away.
    pub fn clear(&self, key: &str) {
        let Some(block) = self.blocks.lock().remove(key) else { return };
        for bar in block.lines.iter().chain([&block.head]) {
            bar.finish_and_clear();
            self.all.remove(bar);
        }
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
    fn new(all: &MultiProgress) -> Self {
        let head = all.add(ProgressBar::no_length());
        head.set_style(style("{spinner} {wide_msg} {elapsed:>4}"));
        head.enable_steady_tick(TICK);
        Self { head, lines: Vec::new() }
    }
}

/// The templates are ours: one that is wrong shows the messages alone.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// `shop: 3 of 8 ready`.
fn head(application: &str, ready: usize, unready: usize) -> String {
    let name = if application.is_empty() { String::new() } else { format!("{}: ", paint(STRONG, clean(application))) };
    format!("{name}{ready} of {} ready", ready + unready)
}

/// A line for each object, as many as are worth the room.
fn lines(unready: &[Progress]) -> Vec<String> {
    let message = |one: &Progress| one.message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = |one: &Progress| format!("{} {}", describe(&one.id), paint(CHANGE, clean(&message(one))));
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
