//! What a pod's worker does besides its plan: asks whether the host takes the pod, keeps the volumes of a
//! running pod with the objects and tokens that they show, and probes its containers.

use crate::kubelet::admission::{self, NODE_AFFINITY, Verdict};
use crate::kubelet::host::Host;
use crate::kubelet::pod::facts::{Doom, Facts};
use crate::kubelet::pod::ops;
use crate::kubelet::pod::plan::{Failure, PREEMPTED};
use crate::kubelet::pod::worker::{WHOLE, Worker};
use crate::kubelet::pod::{Role, all_containers, is_terminal, spec};
use crate::kubelet::probes::{Kind, Report};
use crate::kubelet::runtime::{ContainerState, ContainerStatus};
use crate::kubelet::{status, volumes};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Resource};
use std::sync::Arc;

/// How far a pod has come to its host.
pub(super) enum Admission {
    /// To be decided.
    Open,
    /// It may come when these have gone.
    After(Vec<Arc<Pod>>),
    /// It is taken, which others are told until it is in the API.
    Taken,
    /// It is the host's own, or refused for good.
    Over,
}

/// How soon to look again whether others have made way.
const ROOM: SignedDuration = SignedDuration::from_millis(500);

/// What a pod that made way is told.
const MADE_WAY: &str = "Preempted in order to admit critical pod";

impl Worker {
    /// Whether the host took the pod at some time: then it is its own, whatever else has changed.
    pub(super) fn has_begun(&self) -> bool {
        has_begun(&self.pod) || self.sandbox.is_some() || !self.lives.is_empty()
    }

    /// Asks, once nothing stands against an answer, whether the host takes the pod.
    pub(super) async fn admit(&mut self) {
        if self.pod.metadata.deletion_timestamp.is_some() || is_terminal(&self.pod) {
            self.settle();
        }
        match &self.admission {
            Admission::Over => return,
            Admission::Taken if has_begun(&self.pod) => return self.settle(),
            Admission::Taken => return,
            Admission::After(leaving) => {
                let (host, leaving) = (self.host.clone(), leaving.clone());
                if is_any_left(&host, &leaving).await {
                    return;
                }
            }
            Admission::Open => {}
        }
        self.decide().await;
    }

    async fn decide(&mut self) {
        let known = self.host.nodes.get("", &self.host.node.name);
        let was_known = known.is_some();
        let node = match known {
            Some(node) => Some(node),
            None => fetch_node(&self.host).await,
        };
        let mut verdict = self.ask(node.as_deref());
        // The host's labels may be newer than what is known of them.
        if was_known && matches!(&verdict, Verdict::Refuse(failure) if failure.reason == NODE_AFFINITY) {
            let node = fetch_node(&self.host).await;
            verdict = self.ask(node.as_deref());
        }
        let involved = self.pod.object_ref(&());
        self.admission = match verdict {
            Verdict::Admit => Admission::Taken,
            Verdict::Refuse(Failure { reason, message }) => {
                self.host.events.record(involved, "Warning", &reason, message.clone());
                self.refused = Some(Failure { reason, message: format!("Pod was rejected: {message}") });
                Admission::Over
            }
            Verdict::MakeWay(pods) => {
                pods.iter().for_each(|pod| self.host.preempt(pod));
                Admission::After(pods)
            }
        };
    }

    /// One pod of a host at a time: each sees those that were taken before it.
    fn ask(&self, node: Option<&Node>) -> Verdict {
        let leaving = match &self.admission {
            Admission::After(leaving) => leaving.as_slice(),
            _ => &[],
        };
        let mut taken = self.host.taken.lock();
        let mut others = self.host.pods.on_node(&self.host.node.name);
        others.retain(|other| {
            let uid = other.metadata.uid.as_ref();
            uid != Some(&self.identity.uid)
                && !is_terminal(other)
                && (has_begun(other) || uid.is_some_and(|uid| taken.contains(uid)))
                && !leaving.iter().any(|leaving| leaving.metadata.uid.as_ref() == uid)
        });
        // What they ask for and are not granted takes no room.
        others.iter_mut().for_each(|other| *other = self.host.allocations.allocated(other));
        let verdict = admission::decide(&self.pod, node, &others);
        match verdict {
            Verdict::Refuse(_) => taken.remove(&self.identity.uid),
            _ => taken.insert(self.identity.uid.clone()),
        };
        verdict
    }

    /// What the API says of the pod is enough now.
    fn settle(&mut self) {
        if !matches!(std::mem::replace(&mut self.admission, Admission::Over), Admission::Over) {
            self.host.taken.lock().remove(&self.identity.uid);
        }
    }

    /// When to look again, while others still have to make way for the pod.
    pub(super) fn waits_for_room(&self) -> Option<jiff::Timestamp> {
        let waits = matches!(self.admission, Admission::After(_));
        waits.then(|| self.host.ctx.clock.now().saturating_add(ROOM).ok()).flatten()
    }

    /// Makes way for a critical pod.
    pub(super) fn give_way(&mut self) {
        if self.refused.is_some() || is_terminal(&self.pod) {
            return;
        }
        self.host.events.record(self.pod.object_ref(&()), "Warning", PREEMPTED, MADE_WAY.to_owned());
        self.refused = Some(Failure { reason: PREEMPTED.into(), message: MADE_WAY.to_owned() });
    }

    /// Follows objects that changed under a running pod.
    pub(super) fn refresh(&mut self) {
        self.stale_volumes |= self.token_due().is_some_and(|due| due <= self.host.ctx.clock.now());
        let quiet = self.busy.is_empty() && self.sandbox.is_some();
        if !self.stale_volumes || !quiet || self.pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        self.stale_volumes = false;
        if volumes::of(&self.pod).any(volumes::is_projected) {
            let job = self.job();
            self.spawn(WHOLE, &job.cancel.clone(), ops::refresh(job));
        }
    }

    /// When a token in the pod's volumes is to be replaced; `None` while nothing could be done then.
    pub(super) fn token_due(&self) -> Option<jiff::Timestamp> {
        let quiet = self.busy.is_empty() && self.sandbox.is_some() && self.pod.metadata.deletion_timestamp.is_none();
        if quiet { self.host.tokens.due(&self.identity.uid) } else { None }
    }

    /// Takes in what probes found.
    pub(super) fn hear(&mut self, reports: &[Report]) {
        for report in reports {
            let container = self.facts.container_mut(&report.container);
            let life = container.lives.entry(report.id.clone()).or_default();
            match (report.kind, report.passed) {
                (Kind::Readiness, passed) => life.ready = Some(passed),
                (Kind::Startup, true) => life.startup = Some(true),
                (Kind::Liveness, true) => {}
                (kind, false) => {
                    let title = kind.title().to_lowercase();
                    let message = format!("Container {} failed {title} probe, will be restarted", report.container);
                    let all = all_containers(spec(&self.pod));
                    let of_spec = all.map(|(_, c)| c).find(|c| c.name == report.container);
                    let grace = of_spec.and_then(|c| kind.of(c)).and_then(|p| p.termination_grace_period_seconds);
                    container.doom = Some(Doom { id: report.id.clone(), message, grace });
                }
            }
        }
    }

    /// Starts the probes whose time has come and ends the others.
    pub(super) fn probe(&mut self) {
        let mut wanted: Vec<(Kind, ContainerStatus, k8s_openapi::api::core::v1::Container)> = Vec::new();
        let busy = self.busy();
        let view = self.view(&busy);
        if !view.deleting() {
            for (role, container) in all_containers(view.spec()).filter(|(role, _)| *role != Role::Init) {
                debug_assert!(role != Role::Init);
                let Some(life) = status::running_life(&view, container) else { continue };
                let facts = view.facts.life(&container.name, &life.id);
                if container.startup_probe.is_some() && facts.startup != Some(true) {
                    wanted.push((Kind::Startup, life.clone(), container.clone()));
                } else if status::started(&view, container, life) {
                    wanted.push((Kind::Liveness, life.clone(), container.clone()));
                    wanted.push((Kind::Readiness, life.clone(), container.clone()));
                }
            }
        }
        let job = self.job();
        self.probers.retain(|id, kind| wanted.iter().any(|(k, life, _)| *k == kind && life.id == id));
        for (kind, life, container) in wanted {
            self.probers.ensure(kind, || job.subject(&container, &life), &life.id, &container);
        }
    }
}

/// Whether anything of these pods still runs on their host.
async fn is_any_left(host: &Host, pods: &[Arc<Pod>]) -> bool {
    for pod in pods {
        let meta = &pod.metadata;
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        let now = host.pods.get(namespace.unwrap_or_default(), name.unwrap_or_default());
        if now.is_some_and(|now| now.metadata.uid == meta.uid && !is_terminal(&now)) {
            return true;
        }
        let listing = host.runtime.list_pod(meta.uid.as_deref().unwrap_or_default()).await;
        let is_gone = listing.is_ok_and(|listing| !listing.containers.iter().any(|life| life.state.is_running()));
        if !is_gone {
            return true;
        }
    }
    false
}

async fn fetch_node(host: &Host) -> Option<Arc<Node>> {
    let api: Api<Node> = Api::all(host.ctx.client.clone());
    api.get_opt(&host.node.name).await.ok().flatten().map(Arc::new)
}

/// Its status begins with the time when the host took it.
fn has_begun(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

/// A life whose process could not be run has ended so, whatever Podman says of it.
pub(super) fn count_failed_start(facts: &Facts, life: &mut ContainerStatus) {
    let ran = match &life.state {
        ContainerState::Created => false,
        ContainerState::Exited(exit) => exit.started.is_some(),
        _ => return,
    };
    if !ran && let Some(exit) = facts.life(&life.identity.container, &life.id).failed_start {
        life.state = ContainerState::Exited(exit);
    }
}
