//! Reports a pod's status to the API: level-triggered, one report of a host at a time.
//!
//! A report takes as long as a disk does, and waits its turn among the host's other pods, as in
//! Kubernetes' status manager. The worker goes on meanwhile: what is sent is the status at the time
//! of the turn, and a pod that is being started or stopped has a moment for that first: the states in between of
//! one that starts quickly are never written.

use crate::client::raw;
use crate::kubelet::host::Host;
use crate::kubelet::pod::identity;
use crate::kubelet::status;
use bytes::Bytes;
use http::Method;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// An API server that is silent for longer must not hold up the other pods' reports.
const ANSWER: Duration = Duration::from_secs(30);
/// After a report that failed.
const AGAIN: Duration = Duration::from_secs(3);

/// The reports of one pod.
#[derive(Default)]
pub struct Reports {
    /// What is under way: waiting for the turn, or for the API's answer. At most one.
    step: JoinSet<Step>,
    turn: Option<OwnedSemaphorePermit>,
    change: Change,
    /// After a failure: nothing is sent before.
    not_before: Option<Instant>,
    /// What was last accepted, until the API shows it. Sent again, it would change nothing, even
    /// where the API shows it in other words.
    accepted: Option<Box<Written>>,
}

/// What the API accepted, and the revision of the pod that it left.
#[derive(Clone)]
pub struct Written {
    pub revision: String,
    pub status: PodStatus,
}

/// A start or end of the pod.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Change {
    #[default]
    None,
    /// It may be over soon.
    New,
    /// It takes longer: what it has come to is worth a report.
    Long,
}

enum Step {
    ChangeIsLong,
    Turn(OwnedSemaphorePermit),
    Written(Box<Written>),
    /// Deleted or replaced; the informer will say so.
    Refused,
    Failed,
}

/// What an answer is read for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revision {
    resource_version: String,
}

impl Reports {
    /// Brings the API's view of the pod closer to `status`. Returns when to try again if it must wait
    /// after a failure; otherwise [`Self::next`] tells when to look again. `changing`: the pod is
    /// being started or stopped.
    pub fn report(&mut self, host: &Arc<Host>, pod: &Arc<Pod>, new: &PodStatus, changing: bool) -> Option<Instant> {
        if !changing {
            if self.change == Change::New {
                self.step = JoinSet::new();
            }
            self.change = Change::None;
        }
        if !self.step.is_empty() {
            return None;
        }
        let turn = self.turn.take();
        if pod.status.as_ref() == Some(new) {
            self.accepted = None;
            return None;
        }
        if self.is_accepted(pod, new) {
            return None;
        }
        if let Some(at) = self.not_before.filter(|at| *at > Instant::now()) {
            return Some(at);
        }
        match turn {
            None if changing && self.change == Change::None => {
                self.change = Change::New;
                let patience = host.node.report_patience;
                self.step.spawn(async move {
                    sleep(patience).await;
                    Step::ChangeIsLong
                });
            }
            None => {
                let turns = host.turns.clone();
                self.step.spawn(async move { turns.acquire_owned().await.map_or(Step::Failed, Step::Turn) });
            }
            Some(turn) => {
                let body = status::patch::patch(pod, new)?.to_string();
                let (host, pod, new) = (host.clone(), pod.clone(), new.clone());
                self.step.spawn(async move {
                    let step = send(&host, &pod, new, body.into()).await;
                    drop(turn);
                    step
                });
            }
        }
        None
    }

    /// Whether nothing is under way or waits.
    pub fn is_idle(&self) -> bool {
        self.step.is_empty() && self.turn.is_none() && self.not_before.is_none_or(|at| at <= Instant::now())
    }

    fn is_accepted(&self, pod: &Pod, new: &PodStatus) -> bool {
        let known = self.accepted.as_ref();
        known.is_some_and(|known| {
            pod.metadata.resource_version.as_ref() == Some(&known.revision) && known.status == *new
        })
    }

    /// Waits for what is under way; pending while nothing is. `Some`: what was written.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Box<Written>> {
        match self.step.join_next().await {
            None => std::future::pending().await,
            Some(Ok(Step::ChangeIsLong)) => {
                self.change = Change::Long;
                None
            }
            Some(Ok(Step::Turn(turn))) => {
                self.turn = Some(turn);
                None
            }
            Some(Ok(Step::Written(written))) => {
                self.not_before = None;
                self.accepted = Some(written.clone());
                Some(written)
            }
            Some(Ok(Step::Refused)) => None,
            Some(Ok(Step::Failed) | Err(_)) => {
                self.not_before = Some(Instant::now() + AGAIN);
                None
            }
        }
    }
}

async fn send(host: &Host, pod: &Arc<Pod>, new: PodStatus, body: Bytes) -> Step {
    let identity = identity(pod);
    let path = format!("/api/v1/namespaces/{}/pods/{}/status", identity.namespace, identity.name);
    let sent = raw::request(&host.ctx.client, Method::PATCH, &path, Some((STRATEGIC, body)));
    let why = match timeout(ANSWER, sent).await {
        Ok(Ok(answer)) => match raw::metadata::<Revision>(&answer) {
            Ok(answer) => {
                return Step::Written(Box::new(Written { revision: answer.resource_version, status: new }));
            }
            Err(error) => error.to_string(),
        },
        Ok(Err(error)) if matches!(raw::code(&error), Some(404 | 409)) => return Step::Refused,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
    };
    let (name, namespace) = (identity.name, identity.namespace);
    warn!(pod = name, namespace, "cannot report a pod's status; trying again: {why}");
    Step::Failed
}
