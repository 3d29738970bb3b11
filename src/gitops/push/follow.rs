//! What of an application's events concerns who pushed a commit, and when it is over for them. Pure; a
//! push changes nothing any more at this point, so that it may end at any time.

use super::Wording;
use crate::gitops::plan::ObjectChange;
use crate::gitops::sources::short;
use crate::gitops::sync::Event;
use std::time::Duration;

/// Trouble that does not change for this long is told; to wait for its end is not worth it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Follower<'a> {
    pub application: &'a str,
    pub commit: &'a str,
    /// What the plan said, which need not be said again.
    pub planned: Vec<ObjectChange>,
    /// A rollout that fails is taken back.
    pub rolls_back: bool,
    pub wording: &'a dyn Wording,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// What is told belongs to earlier commits.
    Waiting,
    Begun,
    /// A pod does not come up.
    Troubled,
    /// It failed, and is being taken back.
    TakenBack,
}

/// What to say, and whether it is the last word.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub text: String,
    pub over: bool,
}

impl<'a> Follower<'a> {
    pub fn new(application: &'a str, commit: &'a str, wording: &'a dyn Wording) -> Self {
        Self { application, commit, planned: Vec::new(), rolls_back: false, wording, state: State::Waiting }
    }

    pub fn hear(&mut self, event: &Event) -> Heard {
        let text = |over| Heard { text: self.wording.event(self.application, event), over };
        let ours = |revision: &str| revision == self.commit;
        if self.state == State::Waiting {
            return match event {
                Event::Started { revision, .. } if ours(revision) => {
                    self.state = State::Begun;
                    Heard::default()
                }
                Event::Blocked { revision, .. } if ours(revision) => self.goes_on(text(true)),
                Event::Failed { revision, .. } if ours(revision) || revision.is_empty() => self.goes_on(text(true)),
                Event::Done(summary) if ours(&summary.revision) => text(true),
                _ => Heard::default(),
            };
        }
        match event {
            Event::Started { revision, .. } => {
                let line = format!("{}: {} takes its place.\n", self.application, short(revision));
                Heard { text: line, over: true }
            }
            Event::Applied(report) if self.state == State::Begun && is_as_planned(&report.objects, &self.planned) => {
                Heard { text: format!("{}: applied as planned\n", self.application), over: false }
            }
            Event::Failing(_) => {
                let heard = text(false);
                self.state = if self.state == State::TakenBack { self.state } else { State::Troubled };
                heard
            }
            Event::Done(summary) if !summary.failed.is_empty() && self.rolls_back => {
                let heard = text(false);
                self.state = State::TakenBack;
                heard
            }
            Event::Failed { .. } | Event::Blocked { .. } => self.goes_on(text(true)),
            Event::Done(_) | Event::Recovered { .. } | Event::Ending { .. } | Event::Ended { .. } => text(true),
            Event::Warning(_) => text(self.state == State::TakenBack),
            _ => text(false),
        }
    }

    /// Nothing was heard for so long.
    pub fn silence(&self, silent: Duration) -> Heard {
        let over = silent >= PATIENCE && self.state != State::Begun;
        if over { self.goes_on(Heard { text: String::new(), over }) } else { Heard::default() }
    }

    /// Whether the sync was seen to begin.
    pub fn has_begun(&self) -> bool {
        self.state != State::Waiting
    }

    fn goes_on(&self, heard: Heard) -> Heard {
        let line =
            format!("{}: this goes on without you; `selkie app list` shows what comes of it\n", self.application);
        Heard { text: heard.text + &line, over: heard.over }
    }
}

/// Whether the same happens to the same objects; restarts are known to a plan only.
fn is_as_planned(applied: &[ObjectChange], planned: &[ObjectChange]) -> bool {
    use crate::gitops::plan::Action;
    let changes = |all: &[ObjectChange]| {
        let changed = all.iter().filter(|object| object.action != Action::Unchanged);
        changed.map(|object| (object.action, crate::gitops::render::describe(&object.id))).collect::<Vec<_>>()
    };
    changes(applied) == changes(planned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::plan::Report;
    use crate::gitops::sync::{FailingPod, Progress, Summary};

    struct Debugged;

    impl Wording for Debugged {
        fn plan(&self, _: &Report) -> String {
            String::new()
        }
        fn event(&self, _: &str, event: &Event) -> String {
            format!("{event:?}").chars().take_while(|c| c.is_alphabetic()).collect()
        }
    }

    fn started(revision: &str) -> Event {
        Event::Started { origin: String::new(), revision: revision.into() }
    }

    fn done(revision: &str, failed: usize) -> Event {
        let one = Progress { id: Default::default(), message: String::new() };
        let (revision, failed) = (revision.into(), vec![one; failed]);
        Event::Done(Summary { revision, totals: Default::default(), ready: 0, failed, elapsed: Duration::ZERO })
    }

    fn failing() -> Event {
        let text = String::new;
        let (namespace, pod, container, reason, message) = (text(), text(), text(), text(), text());
        Event::Failing(FailingPod { namespace, pod, container, reason, message, log: Vec::new() })
    }

    fn hear(rolls_back: bool, events: &[Event]) -> Vec<(String, bool)> {
        let mut follower = Follower { rolls_back, ..Follower::new("shop", "new", &Debugged) };
        events.iter().map(|event| follower.hear(event)).map(|heard| (heard.text, heard.over)).collect()
    }

    #[test]
    fn only_what_belongs_to_the_commit_is_told() {
        let heard = hear(false, &[done("old", 0), failing(), started("new"), failing(), done("new", 0)]);
        let texts: Vec<&str> = heard.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["", "", "", "Failing", "Done"]);
        assert_eq!(heard.iter().map(|(_, over)| *over).collect::<Vec<_>>(), [false, false, false, false, true]);
    }

    #[test]
    fn a_newer_commit_ends_it() {
        let heard = hear(false, &[started("new"), started("newer0123")]);
        assert_eq!(heard[1], ("shop: newer01 takes its place.\n".to_owned(), true));
    }

    #[test]
    fn a_failure_that_is_taken_back_is_told_to_its_end() {
        let warning = || Event::Warning("back at revision 1".into());
        let heard = hear(true, &[started("new"), warning(), done("new", 1), warning()]);
        assert_eq!(heard.iter().map(|(_, over)| *over).collect::<Vec<_>>(), [false, false, false, true]);
        assert!(hear(false, &[started("new"), done("new", 1)])[1].1, "it stays as it is");
    }

    #[test]
    fn trouble_without_end_is_left() {
        let mut follower = Follower::new("shop", "new", &Debugged);
        follower.hear(&started("new"));
        assert!(!follower.silence(PATIENCE * 2).over, "slow is no trouble");
        follower.hear(&failing());
        assert!(!follower.silence(PATIENCE / 2).over);
        assert!(follower.silence(PATIENCE).text.contains("selkie app list"));
    }

    #[test]
    fn what_was_planned_is_not_told_twice() {
        let report = Report::default();
        let heard = hear(false, &[started("new"), Event::Applied(report)]);
        assert_eq!(heard[1].0, "shop: applied as planned\n");
    }
}
