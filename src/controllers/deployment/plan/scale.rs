//! Scaling a Deployment that is paused, or in the middle of a rollout: its sets grow and shrink in
//! proportion, so that a rollout that goes wrong does not gain weight.

use super::super::sets;
use super::Pass;
use k8s_openapi::api::apps::v1::ReplicaSet;
use std::cmp::Reverse;
use std::sync::Arc;

impl Pass<'_> {
    /// The Deployment's replicas changed since its active sets were last scaled.
    pub(super) fn is_scaling(&self) -> bool {
        let stale = |set: &Arc<ReplicaSet>| {
            sets::is_active(set) && sets::desired(set).is_some_and(|desired| desired != self.limits.replicas)
        };
        self.all().iter().any(stale)
    }

    pub(super) fn scale(&mut self) {
        let mut active: Vec<_> = self.all().into_iter().filter(|set| sets::is_active(set)).collect();
        if active.len() <= 1 {
            let latest = active.pop().or_else(|| self.new.clone()).or_else(|| self.old.last().cloned());
            if let Some(set) = latest {
                self.resize(&set, self.limits.replicas);
            }
            return;
        }
        if self.is_saturated() {
            self.resize_all(self.old_active().into_iter().map(|set| (set, 0)));
            return;
        }
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate");
        if rolling {
            self.scale_in_proportion(active);
        }
    }

    /// The new set alone is all that is wanted.
    fn is_saturated(&self) -> bool {
        let replicas = self.limits.replicas;
        self.new.as_deref().is_some_and(|new| {
            sets::wanted(new) == replicas && sets::desired(new) == Some(replicas) && sets::available(new) == replicas
        })
    }

    fn scale_in_proportion(&mut self, mut active: Vec<Arc<ReplicaSet>>) {
        let allowed = if self.limits.replicas > 0 { self.limits.most() } else { 0 };
        let change = match allowed - sets::total(&active, sets::wanted) {
            // Pods that a set has yet to delete leave no room for others.
            growth @ 1.. => (allowed - sets::total(&self.all(), sets::possible)).clamp(0, growth),
            shrinkage => shrinkage,
        };
        // The largest first; among equals the newest grows and the oldest shrinks.
        active.sort_by_key(|set| Reverse(sets::wanted(set)));
        let created = |set: &Arc<ReplicaSet>| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if change > 0 {
            active.sort_by_key(|set| (Reverse(sets::wanted(set)), Reverse(created(set))));
        } else {
            active.sort_by_key(|set| (Reverse(sets::wanted(set)), created(set)));
        }
        let mut given = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for set in &active {
            let part = if change == given { 0 } else { self.proportion(set) };
            let left = change - given;
            let part = if change > 0 { part.clamp(0, left) } else { part.clamp(left, 0) };
            given += part;
            sizes.push(sets::wanted(set) + part);
        }
        // What rounding left over.
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + change - given).max(0);
        }
        self.resize_all(active.into_iter().zip(sizes));
    }

    /// By how much a set should change for its share to stay what it was.
    fn proportion(&self, set: &ReplicaSet) -> i32 {
        let size = sets::wanted(set);
        if self.limits.replicas == 0 {
            return -size;
        }
        let status = self.deployment.status.as_ref();
        let before = sets::maximum(set).or_else(|| status.and_then(|status| status.replicas)).unwrap_or(0);
        if before <= 0 {
            return 0;
        }
        let target = f64::from(size) * f64::from(self.limits.most()) / f64::from(before);
        target.round() as i32 - size
    }
}
