//! What was found out for one pod is kept for others that ask for the same: a host that refused the first refuses
//! the next until it changes, and whom it would cost to make way there stays the same too.
//!
//! Only of pods that look at nothing but the hosts' own room, and only of refusals: where a pod fits, the next
//! finds another host. Nothing here can change a decision, only how soon it is made.

use super::filters::{Rejection, Wanted};
use super::host::{HostState, priority};
use super::preemption::Candidate;
use super::rejections::Why;
use super::requests::{Amounts, HostPort};
use k8s_openapi::api::core::v1::{NodeAffinity, Toleration};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kinds of pods that are remembered, the last that were refused. Each takes 40 bytes per host.
const KINDS: usize = 8;

/// Everything that the filters, and the search for victims, look at in a pod that looks at hosts alone.
#[derive(Clone, Debug, PartialEq)]
struct Asks {
    priority: i32,
    node_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    node_affinity: Option<NodeAffinity>,
    tolerations: Option<Vec<Toleration>>,
    requests: Amounts,
    ports: Vec<HostPort>,
    devices: bool,
}

/// Whether and how a host could be had if others left it.
pub type Tried = Result<Arc<Candidate>, Why>;

/// What is known of one host.
#[derive(Clone, Debug)]
struct Look {
    /// The host's generation then; no host has 0.
    generation: u64,
    why: Why,
    /// With the generation of the disruption budgets.
    tried: Option<(u64, Tried)>,
}

/// What is known of one kind of pods, in the order of the hosts.
#[derive(Clone, Debug)]
pub struct Known {
    asks: Asks,
    looks: Vec<Look>,
    /// Whether it holds beyond this decision.
    lasts: bool,
}

/// The least recently asked first.
#[derive(Clone, Debug, Default)]
pub struct Memory(Vec<Known>);

impl Asks {
    fn of(wanted: &Wanted<'_>) -> Self {
        let spec = wanted.spec;
        Self {
            priority: priority(wanted.pod),
            node_name: spec.node_name.clone(),
            node_selector: spec.node_selector.clone(),
            node_affinity: spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone()),
            tolerations: spec.tolerations.clone(),
            requests: wanted.requests.clone(),
            ports: wanted.ports.clone(),
            devices: wanted.claims_devices(),
        }
    }

    fn are_of(&self, wanted: &Wanted<'_>) -> bool {
        let spec = wanted.spec;
        self.priority == priority(wanted.pod)
            && self.requests == wanted.requests
            && self.ports == wanted.ports
            && self.devices == wanted.claims_devices()
            && self.node_name == spec.node_name
            && self.node_selector == spec.node_selector
            && self.node_affinity.as_ref() == spec.affinity.as_ref().and_then(|one| one.node_affinity.as_ref())
            && self.tolerations == spec.tolerations
    }
}

impl Memory {
    /// What is known of such pods; give it back by [`keep`](Self::keep). Volumes change without any host that
    /// does: what is found out for a pod that has some is not kept.
    pub fn recall(&mut self, wanted: &Wanted<'_>) -> Known {
        let lasts = wanted.claims.is_empty();
        match self.0.iter().position(|known| lasts && known.asks.are_of(wanted)) {
            Some(at) => self.0.remove(at),
            None => Known { asks: Asks::of(wanted), looks: Vec::new(), lasts },
        }
    }

    pub fn keep(&mut self, known: Known) {
        if known.looks.is_empty() || !known.lasts {
            return;
        }
        if self.0.len() >= KINDS {
            self.0.remove(0);
        }
        self.0.push(known);
    }
}

impl Known {
    fn look(&self, at: usize, host: &HostState) -> Option<&Look> {
        self.looks.get(at).filter(|look| look.generation == host.generation)
    }

    /// Why the host, `at` that place in the order, refuses the pod; `None` if that is not known.
    pub fn refusal(&self, at: usize, host: &HostState) -> Option<&Why> {
        self.look(at, host).map(|look| &look.why)
    }

    /// Why each host refuses the pod. `but`: of this one it says nothing about other pods.
    pub fn learn<'a>(&mut self, refusals: impl Iterator<Item = (&'a HostState, &'a Why)>, but: Option<&str>) {
        let mut hosts = 0;
        for (at, (host, why)) in refusals.enumerate() {
            hosts = at + 1;
            if self.look(at, host).is_some() {
                continue;
            }
            let generation = if but == Some(&*host.name) { 0 } else { host.generation };
            let look = Look { generation, why: why.clone(), tried: None };
            match self.looks.get_mut(at) {
                Some(old) => *old = look,
                None => self.looks.push(look),
            }
        }
        self.looks.truncate(hosts);
    }

    /// What came of the trial on this host, which is made if it is not known. `budgets`: their generation.
    pub fn tried(
        &mut self,
        at: usize,
        host: &HostState,
        budgets: u64,
        trial: impl FnOnce() -> Result<Candidate, Vec<Rejection>>,
    ) -> Tried {
        let look = self.looks.get_mut(at).filter(|look| look.generation == host.generation);
        match look {
            Some(Look { tried: Some((then, tried)), .. }) if *then == budgets => tried.clone(),
            look => {
                let tried: Tried = trial().map(Arc::new).map_err(Why::from);
                if let Some(look) = look {
                    look.tried = Some((budgets, tried.clone()));
                }
                tried
            }
        }
    }
}
