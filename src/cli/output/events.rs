//! What the daemon and a waiting `apply` print while a sync goes on.

use super::color::{ADD, CHANGE, DELETE, ERROR, FAINT, STRONG, WARNING, paint};
use super::live::{Above, Live};
use super::plan::changes;
use super::{clean, count, lines, near, one_line};
use crate::gitops::render::describe;
use crate::gitops::sources::short;
use crate::gitops::sync::{Event, FailingPod, Progress, Reporter, Summary};
use crate::kubelet::drift::{Drift, DriftObserver, What};
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::io::Write;

/// Prints events of all Applications to one stream, each whole. In a terminal, what is waited for is
/// shown below them and drawn again; elsewhere each step of it is a line.
pub struct Printer {
    out: Mutex<Box<dyn Write + Send>>,
    live: Option<Live>,
}

impl Printer {
    /// To standard output, with colours where it wants them.
    pub fn stdout() -> Self {
        Self::new(Box::new(anstream::stdout()), Live::stdout())
    }

    /// To standard error: where standard output carries a result.
    pub fn stderr() -> Self {
        Self::new(Box::new(anstream::stderr()), Live::stderr())
    }

    pub fn new(out: Box<dyn Write + Send>, live: Option<Live>) -> Self {
        Self { out: Mutex::new(out), live }
    }

    /// Standard error for others, in step with what is drawn here.
    pub fn above(&self) -> Above {
        Above(self.live.clone())
    }

    /// In a terminal: shows what is done right now, until something else is, or [`Self::done`].
    pub fn doing(&self, application: &str, what: &str) {
        if let Some(live) = &self.live {
            live.show(application, what, &[]);
        }
    }

    /// Takes away what is shown as being done.
    pub fn done(&self, application: &str) {
        if let Some(live) = &self.live {
            live.clear(application);
        }
    }

    fn print(&self, text: &str) {
        let write = || {
            let mut out = self.out.lock();
            // Nobody may be reading any more; syncs go on.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        };
        match &self.live {
            Some(live) => live.above(write),
            None => write(),
        }
    }
}

impl Reporter for Printer {
    fn event(&self, application: &str, event: Event) {
        // What is waited for is on the screen already.
        if self.live.is_none() || !matches!(event, Event::Progress(_)) {
            self.print(&text(application, &event));
        }
    }

    fn waiting(&self, application: &str, ready: usize, unready: &[Progress]) {
        if let Some(live) = &self.live {
            live.waiting(application, ready, unready);
        }
    }
}

impl DriftObserver for Printer {
    fn drift(&self, drift: Drift) {
        self.print(&drift_text(&drift));
    }
}

/// Drift of a host's containers, as it is printed.
pub fn drift_text(drift: &Drift) -> String {
    let (symbol, why) = match drift.what {
        What::Missing => (paint(ADD, "+"), "was removed by somebody else; it is started again"),
        What::Extra => (paint(DELETE, "-"), "belongs to no pod; it is removed"),
    };
    let (head, title) = (paint(STRONG, &drift.host), paint(WARNING, "drift"));
    let Drift { pod, container, .. } = drift;
    let id = drift.id.get(..12).unwrap_or(&drift.id);
    // Anybody may have labelled a container.
    let named = clean(&format!("Container {container} of Pod {}/{}", pod.namespace, pod.name));
    format!("{head}: {title}, set right:\n  {symbol} {named}  {}\n", paint(FAINT, format!("{id} {why}")))
}

/// An event as it is printed; empty for events that need no line.
pub fn text(application: &str, event: &Event) -> String {
    let head = if application.is_empty() { String::new() } else { format!("{}: ", paint(STRONG, application)) };
    match event {
        Event::Started { origin, revision } => {
            format!("{head}applying {} of {}\n", short(revision), clean(near(origin)))
        }
        Event::Applied(report) => {
            format!("{}{head}{} {}\n", changes(report), paint(STRONG, "Plan:"), report.totals())
        }
        Event::Blocked { revision, why } => format!("{head}{} waits: {}\n", short(revision), one_line(why)),
        Event::Stage { name, what } => format!("{head}{name}: {}\n", one_line(what)),
        Event::DriftLeft(report) => {
            let title = paint(WARNING, "drift");
            format!("{head}{title}, left as it is; a sync that corrects it would do this:\n{}", changes(report))
        }
        Event::Drift(report) => {
            let title = paint(WARNING, "drift");
            format!(
                "{head}{title}, set right:\n{}{head}{} {}\n",
                changes(report),
                paint(STRONG, "Plan:"),
                report.totals()
            )
        }
        Event::Progress(objects) => objects.iter().map(|progress| waiting(&head, progress)).collect(),
        Event::Failing(pod) => failing(&head, pod),
        Event::Done(summary) => summary_line(&head, summary),
        Event::Recovered { elapsed } => {
            format!("{head}{} ready again after {:.1} s.\n", paint(ADD, "done:"), elapsed.as_secs_f64())
        }
        Event::Failed { revision, errors } => failed(&head, revision, errors),
        Event::Ending { objects } => format!("{head}deleted; deleting its {}\n", count(*objects, "object")),
        Event::Ended { kept: Some(why), objects } => {
            format!("{head}{} deleted; its {} left alone: {why}.\n", paint(ADD, "done:"), stays(*objects))
        }
        Event::Ended { objects: 0, .. } => format!("{head}{} deleted.\n", paint(ADD, "done:")),
        Event::Ended { objects, .. } => {
            format!("{head}{} deleted, and its {} with it.\n", paint(ADD, "done:"), count(*objects, "object"))
        }
        Event::Warning(warning) => format!("{head}{} {}\n", paint(WARNING, "Warning:"), lines(warning)),
    }
}

fn stays(objects: usize) -> String {
    format!("{} {}", count(objects, "object"), if objects == 1 { "is" } else { "are" })
}

fn waiting(head: &str, progress: &Progress) -> String {
    format!("{head}{}\n", paint(FAINT, format!("{}: {}", describe(&progress.id), one_line(&progress.message))))
}

fn failing(head: &str, pod: &FailingPod) -> String {
    let container = if pod.container.is_empty() { String::new() } else { format!(" container {}", pod.container) };
    let message = if pod.message.is_empty() { String::new() } else { format!(": {}", one_line(&pod.message)) };
    let what = paint(DELETE, format!("{}{message}", one_line(&pod.reason)));
    let mut text = format!("{head}{} Pod {}/{}{container}: {what}\n", paint(ERROR, "!"), pod.namespace, pod.pod);
    for line in &pod.log {
        let _ = writeln!(text, "    {} {}", paint(FAINT, "|"), clean(line).trim_end());
    }
    text
}

fn summary_line(head: &str, summary: &Summary) -> String {
    let seconds = summary.elapsed.as_secs_f64();
    let revision = short(&summary.revision);
    if summary.failed.is_empty() && summary.ready == 0 && !revision.is_empty() {
        // Nothing of what changed takes any time.
        return format!("{head}{} {revision} is in force.\n", paint(ADD, "done:"));
    }
    if summary.failed.is_empty() {
        let what = if revision.is_empty() { String::new() } else { format!("{revision} is ") };
        return format!("{head}{} {what}ready after {seconds:.1} s.\n", paint(ADD, "done:"));
    }
    let mut text = String::new();
    for progress in &summary.failed {
        let _ =
            writeln!(text, "{head}{} {}: {}", paint(ERROR, "!"), describe(&progress.id), one_line(&progress.message));
    }
    let (failed, ready) = (summary.failed.len(), summary.ready);
    let what = if revision.is_empty() { String::new() } else { format!("{revision}: ") };
    let _ = writeln!(
        text,
        "{head}{} {what}{failed} not ready, {ready} ready after {seconds:.1} s.",
        paint(CHANGE, "done:")
    );
    text
}

fn failed(head: &str, revision: &str, errors: &[String]) -> String {
    let mut text = String::new();
    for error in errors {
        let _ = writeln!(text, "{head}{} {}", paint(ERROR, "error:"), lines(near(error)));
    }
    let what = if revision.is_empty() { String::new() } else { format!(" of {}", short(revision)) };
    let _ = writeln!(text, "{head}nothing{what} was applied; what runs stays as it is.");
    text
}
