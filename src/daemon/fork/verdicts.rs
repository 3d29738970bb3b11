//! What the scheduler said of each pod, and why; what components warned of.

use crate::api::plan::Verdict;
use crate::client::events::correlate::Report;
use crate::daemon::verdicts::reasoned;
use crate::scheduler::snapshot::Snapshot;
use crate::scheduler::{Observer, cycle::Verdict as Decision};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Looks at single hosts that may be spent on reasons: all pods of a small cluster, some of a large one.
const LOOKS: usize = 50_000;
/// Hosts that a verdict names.
const NAMED: usize = 8;

/// By the pod's uid; the last verdict counts.
#[derive(Clone, Default)]
pub struct Verdicts(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    looks: usize,
    by_pod: HashMap<String, Verdict>,
}

impl Verdicts {
    pub fn observer(&self) -> Observer {
        let state = self.0.clone();
        Arc::new(move |pod, snapshot, decision| state.lock().add(pod, snapshot, decision))
    }

    pub fn of(&self, uid: &str) -> Option<Verdict> {
        self.0.lock().by_pod.get(uid).cloned()
    }
}

impl State {
    fn add(&mut self, pod: &Pod, snapshot: &Snapshot, decision: &Decision) {
        self.looks += snapshot.hosts().count();
        let verdict = reasoned(pod, snapshot, decision, self.looks <= LOOKS, NAMED);
        self.by_pod.insert(pod.metadata.uid.clone().unwrap_or_default(), verdict);
    }
}

/// Who it is about, of the reports that say that something is wrong: kind, namespace, name, uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// The last warning of each reason about each object.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<BTreeMap<About, BTreeMap<String, String>>>>);

impl Warnings {
    /// Keeps what comes until the reporters are gone.
    pub fn collect(mut reports: mpsc::Receiver<Report>) -> Self {
        let warnings = Self::default();
        let kept = warnings.0.clone();
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                if report.kind == "Warning" {
                    let text = |part: &Option<String>| part.clone().unwrap_or_default();
                    let about = About {
                        api_version: text(&report.involved.api_version),
                        kind: text(&report.involved.kind),
                        namespace: text(&report.involved.namespace),
                        name: text(&report.involved.name),
                        uid: text(&report.involved.uid),
                    };
                    kept.lock().entry(about).or_default().insert(report.reason, report.message);
                }
            }
        });
        warnings
    }

    pub fn forget(&self) {
        self.0.lock().clear();
    }

    pub fn all(&self) -> BTreeMap<About, BTreeMap<String, String>> {
        self.0.lock().clone()
    }
}
