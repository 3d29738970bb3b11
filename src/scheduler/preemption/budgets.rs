//! Disruption budgets: whose pods should rather stay.

use super::Mortal;
use crate::api::selector::LabelSelector;
use crate::client::ObjectKey;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
struct Budget {
    selector: LabelSelector,
    allowed: i32,
    /// Names of pods whose eviction is counted in `allowed` already.
    disrupted: BTreeSet<String>,
}

/// Kept up to date by changes.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    budgets: BTreeMap<ObjectKey, Budget>,
    generation: u64,
}

impl Budgets {
    pub fn set(&mut self, budget: &PodDisruptionBudget) {
        let status = budget.status.as_ref();
        let kept = Budget {
            selector: LabelSelector::from_typed(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
            disrupted: status
                .and_then(|status| status.disrupted_pods.clone())
                .unwrap_or_default()
                .into_keys()
                .collect(),
        };
        self.generation += 1;
        self.budgets.insert(ObjectKey::of(budget), kept);
    }

    pub fn remove(&mut self, budget: &PodDisruptionBudget) {
        self.generation += 1;
        self.budgets.remove(&ObjectKey::of(budget));
    }

    /// Another with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Those whose going would overdraw a budget, and the others; in their order.
    pub fn part(&self, mortals: Vec<Mortal>) -> [Vec<Mortal>; 2] {
        if self.budgets.is_empty() {
            return [Vec::new(), mortals];
        }
        let mut left: BTreeMap<&ObjectKey, i32> =
            self.budgets.iter().map(|(key, budget)| (key, budget.allowed)).collect();
        let (overdrawing, others) = mortals.into_iter().partition(|(_, placed)| {
            let (group, mut overdraws) = (&placed.group, false);
            for (key, budget) in &self.budgets {
                let counts = *key.namespace == *group.namespace
                    && !group.labels.is_empty()
                    && !budget.selector.is_everything()
                    && budget.selector.matches(&group.labels)
                    && !budget.disrupted.contains(&placed.name);
                if counts && let Some(left) = left.get_mut(key) {
                    *left -= 1;
                    overdraws |= *left < 0;
                }
            }
            overdraws
        });
        [overdrawing, others]
    }
}
