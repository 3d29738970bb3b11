//! Whether objects that left the source may be deleted.
//!
//! The guard: a source that became empty, or lost most of its objects at once, is more often a
//! mistake (a wrong path, a bad merge, an unmounted directory) than an intention. Pruning then waits
//! until someone confirms it for exactly that revision.

use super::inventory;
use crate::api::changeset::ObjectId;
use crate::gitops::application::PRUNE;
use crate::gitops::render::group;
use serde_json::Value;
use std::fmt;

/// With fewer objects than this in the inventory, only an empty source is suspicious.
const SMALL: usize = 4;

/// What to do with objects that left the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prune {
    /// Delete these; may be none.
    Delete(Vec<ObjectId>),
    /// Keep these for now, and say why.
    Hold { kept: Vec<ObjectId>, why: Held },
}

/// Why nothing is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Pruning is switched off.
    Disabled,
    /// The source has no objects at all.
    Empty { had: usize },
    /// More than three quarters of the objects are gone.
    MostlyGone { gone: usize, had: usize },
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("pruning is switched off"),
            Self::Empty { had } => write!(f, "the source is empty, it had {had} objects"),
            Self::MostlyGone { gone, had } => write!(f, "{gone} of {had} objects left the source at once"),
        }
    }
}

/// Decides. `confirmed`: someone confirmed the pruning at this revision.
pub fn decide(inventory: &[ObjectId], desired: &[ObjectId], enabled: bool, confirmed: bool) -> Prune {
    let kept = inventory::gone(inventory, desired);
    let (gone, had) = (kept.len(), inventory.len());
    if gone == 0 {
        return Prune::Delete(kept);
    }
    if !enabled {
        return Prune::Hold { kept, why: Held::Disabled };
    }
    if confirmed {
        return Prune::Delete(kept);
    }
    if desired.is_empty() {
        return Prune::Hold { kept, why: Held::Empty { had } };
    }
    if had >= SMALL && gone * 4 > had * 3 {
        return Prune::Hold { kept, why: Held::MostlyGone { gone, had } };
    }
    Prune::Delete(kept)
}

/// What an object's annotation says about its deletion.
pub fn annotation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(PRUNE)?.as_str()
}

/// Whether an object that is else kept may be deleted.
pub fn is_confirmed(object: &Value) -> bool {
    annotation(object) == Some("confirmed")
}

/// Its data goes with it.
pub fn is_claim(id: &ObjectId) -> bool {
    id.kind == "PersistentVolumeClaim" && group(&id.api_version).is_empty()
}

/// All that it holds goes with it.
pub fn is_namespace(id: &ObjectId) -> bool {
    id.kind == "Namespace" && group(&id.api_version).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(names: impl IntoIterator<Item = usize>) -> Vec<ObjectId> {
        names.into_iter().map(|n| ObjectId { name: n.to_string(), ..ObjectId::default() }).collect()
    }

    #[test]
    fn one_of_many_is_pruned_and_most_of_them_are_held() {
        assert_eq!(decide(&ids(0..3), &ids(0..2), true, false), Prune::Delete(ids(2..3)));
        assert_eq!(decide(&ids(0..4), &ids(0..1), true, false), Prune::Delete(ids(1..4)));
        let held = Prune::Hold { kept: ids(1..5), why: Held::MostlyGone { gone: 4, had: 5 } };
        assert_eq!(decide(&ids(0..5), &ids(0..1), true, false), held);
        assert_eq!(decide(&ids(0..5), &ids(0..1), true, true), Prune::Delete(ids(1..5)));
        let empty = Prune::Hold { kept: ids(0..1), why: Held::Empty { had: 1 } };
        assert_eq!(decide(&ids(0..1), &[], true, false), empty);
        let disabled = Prune::Hold { kept: ids(0..1), why: Held::Disabled };
        assert_eq!(decide(&ids(0..1), &ids(1..2), false, true), disabled);
    }

    proptest! {
        #[test]
        fn never_everything_without_confirmation(had in 0usize..20, from in 0usize..30, count in 0usize..20) {
            let inventory = ids(0..had);
            let desired = ids(from..from + count);
            if let Prune::Delete(deleted) = decide(&inventory, &desired, true, false) {
                prop_assert!(deleted.iter().all(|id| inventory.contains(id) && !desired.contains(id)));
                prop_assert!(had == 0 || !desired.is_empty());
                prop_assert!(had < SMALL || deleted.len() < had);
            }
        }
    }
}
