//! Asks whether the host takes a pod, and has others make way for it.

use crate::kubelet::admission::{self, NODE_AFFINITY, Verdict};
use crate::kubelet::eviction;
use crate::kubelet::host::Host;
use crate::kubelet::pod::plan::{EVICTED, Failure, PREEMPTED};
use crate::kubelet::pod::worker::Worker;
use crate::kubelet::pod::{has_begun, is_terminal};
use crate::kubelet::settings::StaticPods;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Resource};
use std::sync::Arc;
use tracing::debug;

/// How far a pod has come to its host.
pub(super) enum Admission {
    /// To be decided.
    Open,
    /// To be decided again when these have gone. It has their room meanwhile.
    After(Vec<Arc<Pod>>),
    /// It is the host's own, or refused for good.
    Over,
}

/// How soon to look again whether others have made way, and whether the API tells of the host.
const ROOM: SignedDuration = SignedDuration::from_millis(500);

/// What a pod that made way is told.
const MADE_WAY: &str = "Preempted in order to admit critical pod";

impl Worker {
    /// Whether the host took the pod at some time: then it is its own, whatever else has changed.
    pub(super) fn has_begun(&self) -> bool {
        has_begun(&self.pod) || self.sandbox.is_some() || !self.lives.is_empty()
    }

    /// A pod that was taken before has its room from the beginning.
    pub(super) fn stay(&mut self) {
        if self.has_begun() {
            self.admission = Admission::Over;
            self.host.residents.lock().enter(&self.pod);
        }
    }

    /// Asks, once nothing stands against an answer, whether the host takes the pod.
    pub(super) async fn admit(&mut self) {
        if self.pod.metadata.deletion_timestamp.is_some() || is_terminal(&self.pod) {
            self.give_up();
        }
        match &self.admission {
            Admission::Over => {}
            // It goes, and nobody makes way for it.
            _ if self.is_forged() => {}
            Admission::After(leaving) if leaving.iter().any(|pod| self.host.still_makes_way(pod)) => {}
            // Apart, as all that is rare: a worker that waits takes the memory of whatever it may ever wait for.
            Admission::After(_) | Admission::Open => Box::pin(self.decide()).await,
        }
        self.host.residents.lock().see(&self.pod);
        if is_terminal(&self.pod) {
            self.leave();
        }
    }

    /// Whether the pod says that it is of a manifest which this host does not have.
    fn is_forged(&self) -> bool {
        self.host.node.settings.static_pods != StaticPods::Others && self.host.mirrors.is_forged(&self.pod)
    }

    /// The pod is over as far as the API knows; others may have its room once nothing of it runs.
    fn leave(&self) {
        if self.busy.is_empty() && !self.lives.iter().any(|life| life.state.is_running()) {
            self.host.free(&self.identity.uid);
        } else {
            self.host.residents.lock().make_way(&self.pod);
        }
    }

    /// No answer is of interest any more.
    fn give_up(&mut self) {
        if !matches!(std::mem::replace(&mut self.admission, Admission::Over), Admission::Over) {
            self.host.free(&self.identity.uid);
        }
    }

    /// Stays undecided where the API does not tell of the host: that says nothing against the pod.
    async fn decide(&mut self) {
        let known = self.host.nodes.get("", &self.host.node.name);
        let was_known = known.is_some();
        let node = match known {
            Some(node) => Some(node),
            None => match fetch_node(&self.host).await {
                Some(node) => node,
                None => return,
            },
        };
        let mut verdict = self.ask(node.as_deref());
        // The host's labels may be newer than what is known of them.
        if was_known && matches!(&verdict, Verdict::Refuse(failure) if failure.reason == NODE_AFFINITY) {
            match fetch_node(&self.host).await {
                Some(Some(node)) => verdict = self.ask(Some(&node)),
                Some(None) => {}
                None => return,
            }
        }
        self.admission = match verdict {
            Verdict::Admit => Admission::Over,
            Verdict::Refuse(Failure { reason, message }) => {
                self.host.events.record(self.pod.object_ref(&()), "Warning", &reason, message.clone());
                self.refused = Some(Failure { reason, message: format!("Pod was rejected: {message}") });
                Admission::Over
            }
            Verdict::MakeWay(pods) => {
                pods.iter().for_each(|pod| self.host.preempt(pod));
                Admission::After(pods)
            }
        };
    }

    /// One pod of a host at a time: each sees those that were taken before it. Where there is room only when those
    /// have gone that make way for others, it is to wait for them.
    fn ask(&self, node: Option<&Node>) -> Verdict {
        if let Some(failure) = admission::unenforceable(&self.pod, &self.host.info()) {
            return Verdict::Refuse(failure);
        }
        let conditions = self.host.pressure.lock().conditions();
        if let Some(message) = eviction::refusal(&self.pod, &conditions) {
            self.host.residents.lock().forget(&self.identity.uid);
            return Verdict::Refuse(Failure { reason: EVICTED.into(), message });
        }
        let mut residents = self.host.residents.lock();
        let mut others = residents.among(self.host.pods.on_node(&self.host.node.name));
        others.retain(|other| other.metadata.uid.as_ref() != Some(&self.identity.uid));
        // What they ask for and are not granted takes no room.
        others.iter_mut().for_each(|other| *other = self.host.allocations.allocated(other));
        let (leaving, staying): (Vec<_>, Vec<_>) = others.iter().cloned().partition(|pod| residents.makes_way(pod));
        let verdict = match admission::decide(&self.pod, node, &staying) {
            Verdict::Admit if leaving.is_empty() => Verdict::Admit,
            Verdict::Admit => match admission::decide(&self.pod, node, &others) {
                Verdict::Admit => Verdict::Admit,
                Verdict::Refuse(_) | Verdict::MakeWay(_) => Verdict::MakeWay(leaving),
            },
            Verdict::MakeWay(victims) => {
                victims.iter().for_each(|victim| residents.make_way(victim));
                Verdict::MakeWay(leaving.into_iter().chain(victims).collect())
            }
            refused => refused,
        };
        if matches!(verdict, Verdict::Refuse(_)) {
            residents.forget(&self.identity.uid);
        } else {
            residents.enter(&self.pod);
        }
        verdict
    }

    /// When to look again, while nothing is decided about the pod.
    pub(super) fn waits_for_room(&self) -> Option<Timestamp> {
        let waits = !matches!(self.admission, Admission::Over);
        waits.then(|| self.host.ctx.clock.now().saturating_add(ROOM).ok()).flatten()
    }

    /// Goes: it makes way for a critical pod, or uses what its host is short of.
    pub(super) fn turn_out(&mut self, failure: Failure) {
        if self.refused.is_some() || is_terminal(&self.pod) {
            return;
        }
        self.host.events.record(self.pod.object_ref(&()), "Warning", &failure.reason, failure.message.clone());
        self.refused = Some(failure);
        self.give_up();
    }
}

impl Host {
    /// Has the pod make way for a critical one.
    fn preempt(self: &Arc<Self>, pod: &Arc<Pod>) {
        self.turn_out(pod, Failure { reason: PREEMPTED.into(), message: MADE_WAY.to_owned() });
    }

    /// The room of a pod is free, which others may wait for.
    pub(super) fn free(self: &Arc<Self>, uid: &str) {
        let is_news = self.residents.lock().leave(uid);
        if is_news {
            self.judge_pending();
        }
    }

    /// Whether a pod that is to make way has not gone yet. One that nobody looks after is told again, or was gone
    /// before it was told.
    fn still_makes_way(self: &Arc<Self>, pod: &Arc<Pod>) -> bool {
        if !self.residents.lock().makes_way(pod) {
            return false;
        }
        let meta = &pod.metadata;
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        let shown = self.pods.get(namespace.unwrap_or_default(), name.unwrap_or_default());
        let uid = meta.uid.as_deref().unwrap_or_default();
        if self.knows(uid) || shown.is_some_and(|now| now.metadata.uid == meta.uid && !is_terminal(&now)) {
            self.preempt(pod);
            return true;
        }
        self.residents.lock().forget(uid);
        false
    }
}

/// The host's object, if there is one; `None` where the API does not tell.
async fn fetch_node(host: &Host) -> Option<Option<Arc<Node>>> {
    let api: Api<Node> = Api::all(host.ctx.client.clone());
    match api.get_opt(&host.node.name).await {
        Ok(node) => Some(node.map(Arc::new)),
        Err(error) => {
            debug!(node = host.node.name, %error, "cannot ask for the node; its pods wait");
            None
        }
    }
}
