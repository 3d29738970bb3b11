//! Who has to leave one host: all who may are taken off it, and come back, the most important first, as long
//! as the pod still fits.

use super::Mortal;
use crate::scheduler::cycle;
use crate::scheduler::filters::{self, Rejection, Wanted};
use crate::scheduler::host::{HostState, Placed};
use crate::scheduler::snapshot::Snapshot;
use k8s_openapi::api::core::v1::Pod;

/// A host to try on.
pub trait Trial {
    fn remove(&mut self, mortal: &Mortal);
    fn add(&mut self, mortal: &Mortal);
    /// Why the pod does not fit; empty if it does.
    fn judge(&mut self) -> Vec<Rejection>;
}

/// Of a pod that looks at nothing but the host's own room.
pub struct Local<'a> {
    pub wanted: &'a Wanted<'a>,
    pub host: HostState,
}

impl Trial for Local<'_> {
    fn remove(&mut self, (_, placed): &Mortal) {
        self.host.give_back(placed);
    }

    fn add(&mut self, (_, placed): &Mortal) {
        self.host.take(placed);
    }

    fn judge(&mut self) -> Vec<Rejection> {
        filters::check(self.wanted, &self.host)
    }
}

/// Of a pod that looks at other pods, wherever they are.
pub struct Whole<'a> {
    pub pod: &'a Pod,
    pub snapshot: &'a mut Snapshot,
    pub host: &'a str,
}

impl Trial for Whole<'_> {
    fn remove(&mut self, (uid, _): &Mortal) {
        self.snapshot.forget(uid);
    }

    fn add(&mut self, (uid, placed): &Mortal) {
        self.snapshot.place(uid, self.host, Placed::clone(placed));
    }

    fn judge(&mut self) -> Vec<Rejection> {
        cycle::judge(self.pod, self.snapshot, self.host)
    }
}

/// The victims, the most important first, and how many of them their budgets do not allow for. `parts`: those
/// whose budgets do not, then the others, each the most important first. Errors: the pod does not fit even
/// when all have left.
pub fn choose(parts: [Vec<Mortal>; 2], trial: &mut impl Trial) -> Result<(Vec<Mortal>, usize), Vec<Rejection>> {
    parts.iter().flatten().for_each(|mortal| trial.remove(mortal));
    let why = trial.judge();
    if !why.is_empty() {
        return Err(why);
    }
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (part, mortals) in parts.into_iter().enumerate() {
        for mortal in mortals {
            trial.add(&mortal);
            if !trial.judge().is_empty() {
                trial.remove(&mortal);
                violations += usize::from(part == 0);
                victims.push(mortal);
            }
        }
    }
    victims.sort_by(|a, b| super::importance(a).cmp(&super::importance(b)));
    Ok((victims, violations))
}
