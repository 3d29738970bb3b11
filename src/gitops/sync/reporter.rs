//! What a sync tells while it goes on. Values only: showing them is the listener's business.

use crate::api::changeset::ObjectId;
use crate::gitops::plan::{Report, Totals};
use std::time::Duration;

/// Listens to syncs. Called on the sync's task: must be quick.
pub trait Reporter: Send + Sync {
    /// `application` is empty for a one-shot.
    fn event(&self, application: &str, event: Event);

    /// All that is waited for now, told whenever that changes, for those who show it in place; `ready`:
    /// how many objects are. Empty when the wait is over. [`Event::Progress`] tells the same in steps.
    fn waiting(&self, _application: &str, _ready: usize, _unready: &[Progress]) {}
}

/// Tells nobody.
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _: &str, _: Event) {}
}

#[derive(Debug, Clone)]
pub enum Event {
    /// A revision is about to be applied.
    Started {
        origin: String,
        revision: String,
    },
    /// What was changed.
    Applied(Report),
    /// A stage of a sync begins, of those that are applied in order.
    Stage {
        name: String,
        what: String,
    },
    /// A revision is not applied yet: another Application comes first.
    Blocked {
        revision: String,
        why: String,
    },
    /// What others had changed, and was set right.
    Drift(Report),
    /// What others have changed, and is left as it is; what would set it right.
    DriftLeft(Report),
    /// What is still waited for; told when something moves.
    Progress(Vec<Progress>),
    /// A pod that does not become ready; told once per reason.
    Failing(FailingPod),
    /// Everything that was changed is ready, or has failed.
    Done(Summary),
    /// What was not ready for a while, though nothing had changed, is ready again.
    Recovered {
        elapsed: Duration,
    },
    /// Nothing was applied: each thing wrong, with its place.
    Failed {
        revision: String,
        errors: Vec<String>,
    },
    Warning(String),
    /// The Application is deleted, and so many objects with it.
    Ending {
        objects: usize,
    },
    /// The Application is gone; its objects too, or why they were kept.
    Ended {
        objects: usize,
        kept: Option<String>,
    },
}

/// How far one object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Progress {
    pub id: ObjectId,
    pub message: String,
}

/// A pod with trouble, and the last lines it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingPod {
    pub namespace: String,
    pub pod: String,
    /// Empty where the pod as a whole has the trouble.
    pub container: String,
    pub reason: String,
    pub message: String,
    pub log: Vec<String>,
}

/// How a sync ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub revision: String,
    pub totals: Totals,
    /// Objects that became ready.
    pub ready: usize,
    /// Objects that did not, with the reason.
    pub failed: Vec<Progress>,
    pub elapsed: Duration,
}
