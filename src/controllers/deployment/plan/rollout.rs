//! The steps of a rollout: new pods before old ones go (RollingUpdate), or after (Recreate).

use super::super::sets;
use super::Pass;
use k8s_openapi::api::apps::v1::ReplicaSet;

impl Pass<'_> {
    /// One step of a rolling update.
    pub(super) fn roll(&mut self) {
        match self.new.clone() {
            None => self.create(self.room_for_new(0)),
            Some(new) => {
                let wanted = sets::wanted(&new);
                let to = if wanted > self.limits.replicas { self.limits.replicas } else { self.room_for_new(wanted) };
                if to != wanted {
                    self.resize(&new, to);
                } else if !self.shrink_old() && self.is_complete() {
                    self.clean_up();
                }
            }
        }
    }

    /// How large the new set may be now, being `present`: never more pods in all than allowed.
    fn room_for_new(&self, present: i32) -> i32 {
        // Sets count with what they still have, should that be more than they want.
        let room = (self.limits.most() - sets::total(&self.all(), sets::possible)).max(0);
        present + room.min(self.limits.replicas - present).max(0)
    }

    /// Scales old sets down as far as availability allows; true if anything was.
    fn shrink_old(&mut self) -> bool {
        let old = self.old_active();
        if old.is_empty() {
            return false;
        }
        let all = self.all();
        let not_yet = self.new.as_deref().map_or(0, |new| sets::wanted(new) - sets::lasting(new));
        // Were all pods to become available but the new ones that are not: how many could go?
        let mut budget = sets::total(&all, sets::wanted) - self.limits.fewest() - not_yet;
        if budget <= 0 {
            return false;
        }
        let mut sizes: Vec<i32> = old.iter().map(|set| sets::wanted(set)).collect();
        // Pods that do not work go first, whatever they were waiting for: they serve nobody.
        for (set, size) in old.iter().zip(&mut sizes) {
            let unhealthy = (*size - sets::lasting(set)).clamp(0, budget);
            (*size, budget) = (*size - unhealthy, budget - unhealthy);
        }
        let mut spare = (sets::total(&all, sets::lasting) - self.limits.fewest()).clamp(0, budget);
        for size in &mut sizes {
            let given = spare.min(*size);
            (*size, spare) = (*size - given, spare - given);
        }
        let smaller = old.into_iter().zip(sizes).filter(|(set, size)| *size < sets::wanted(set));
        self.resize_all(smaller)
    }

    /// One step of a replacement in which old and new pods never run side by side.
    pub(super) fn recreate(&mut self, running: &dyn Fn(&ReplicaSet) -> usize) {
        let old = self.old_active();
        if !old.is_empty() {
            self.resize_all(old.into_iter().map(|set| (set, 0)));
            return;
        }
        if self.old.iter().any(|set| sets::existing(set) > 0 || running(set) > 0) {
            return;
        }
        match self.new.clone() {
            None => self.create(self.limits.replicas),
            Some(new) => {
                if !self.resize(&new, self.limits.replicas) && self.is_complete() {
                    self.clean_up();
                }
            }
        }
    }

    /// All wanted pods are of the new set and available, no others exist.
    pub(super) fn is_complete(&self) -> bool {
        let all = self.all();
        let replicas = self.limits.replicas;
        self.new.as_deref().map_or(0, sets::existing) == replicas
            && sets::total(&all, sets::existing) == replicas
            && sets::total(&all, sets::available) == replicas
    }
}
