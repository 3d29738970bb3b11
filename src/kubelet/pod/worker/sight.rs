//! What a worker sees of its pod on the host.

use super::{WHOLE, Worker};
use crate::kubelet::drift::{What, taken_away};
use crate::kubelet::pod::around::count_failed_start;
use crate::kubelet::pod::facts::Facts;
use crate::kubelet::pod::step::STREAK;
use crate::kubelet::runtime::{ContainerState, ContainerStatus, Listing, Sandbox};
use std::collections::BTreeMap;
use tracing::debug;

impl Worker {
    pub(super) fn set_listing(&mut self, listing: Listing) {
        self.set_sandbox(listing.sandboxes.into_iter().max_by_key(|s| (s.ready, s.created)));
        let before = std::mem::replace(&mut self.lives, listing.containers);
        self.notice(&before);
        self.lives.iter_mut().for_each(|life| take_in(&self.facts, life));
        self.facts.retain_lives(|id| self.lives.iter().any(|life| life.id == id));
        self.take_address();
    }

    /// A lone sandbox has the address of its container, also after its end.
    fn take_address(&mut self) {
        let Some(sandbox) = self.sandbox.as_mut().filter(|sandbox| sandbox.lone && !sandbox.host_network) else {
            return;
        };
        if let Some(life) = self.lives.iter_mut().find(|life| !life.ips.is_empty()) {
            sandbox.ips = std::mem::take(&mut life.ips);
        } else if sandbox.ips.is_empty() {
            let told = self.pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
            sandbox.ips = told.filter_map(|told| told.ip.parse().ok()).collect();
        }
    }

    pub(super) fn set_sandbox(&mut self, mut sandbox: Option<Sandbox>) {
        sandbox.iter_mut().for_each(|sandbox| sandbox.labels = BTreeMap::new());
        self.sandbox = sandbox;
    }

    pub(super) async fn list(&mut self) {
        self.seen = self.host.moments.next();
        match self.host.runtime.list_pod(&self.identity.uid).await {
            Ok(listing) => self.set_listing(listing),
            Err(error) => {
                debug!(pod = self.identity.name, error = error.chain(), "cannot list a pod's containers");
                self.inbox.keep(|news| news.relist = true);
                self.retry = true;
            }
        }
    }

    pub(super) async fn inspect(&mut self, id: &str) {
        self.seen = self.host.moments.next();
        match self.host.runtime.inspect(id).await {
            Ok(mut life) => {
                take_in(&self.facts, &mut life);
                match self.lives.iter_mut().find(|known| known.id == id) {
                    Some(known) => *known = life,
                    None => {
                        self.lives.reserve_exact(1);
                        self.lives.push(life);
                    }
                }
                self.take_address();
            }
            Err(error) if error.is_not_found() => {
                let before = self.lives.clone();
                self.lives.retain(|life| life.id != id);
                self.notice(&before);
                let lives = &self.lives;
                self.facts.retain_lives(|id| lives.iter().any(|life| life.id == id));
            }
            Err(error) => {
                debug!(pod = self.identity.name, error = error.chain(), "cannot inspect a container");
                self.inbox.keep(|news| {
                    news.stale.insert(id.to_string());
                });
                self.retry = true;
            }
        }
    }

    /// Tells of what was there `before` and was taken away by somebody else.
    pub(super) fn notice(&self, before: &[ContainerStatus]) {
        if self.busy.contains_key(WHOLE) {
            return;
        }
        for life in taken_away(&self.pod, before, &self.lives, &self.removing, self.host.ctx.clock.now()) {
            self.host.drifted(What::Missing, life);
        }
    }

    /// The lives that ended and of which the last words are not known yet.
    pub(in crate::kubelet::pod) fn ended(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.lives.iter().filter(|life| {
            matches!(life.state, ContainerState::Exited(_))
                && self.facts.life(&life.identity.container, &life.id).message.is_none()
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended().next().is_some()
    }
}

/// Takes in what is known of a life; of its labels, only what is read again is kept: there is a worker for every pod.
fn take_in(facts: &Facts, life: &mut ContainerStatus) {
    count_failed_start(facts, life);
    let streak = life.labels.remove_entry(STREAK);
    // One without an entry takes nothing, where one that lost its last has room for eleven.
    life.labels = streak.into_iter().collect();
}
