//! Applies that are known to change nothing: a sync says again of most objects what it said before,
//! and working that out anew is most of its price.

use crate::store::Revision;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// More are forgotten all at once: they only save time.
const KEPT: usize = 1 << 16;

/// By the object's key: the revision of its state, and the apply.
type Known = HashMap<Arc<str>, (Revision, Fingerprint)>;

/// What was applied to which state of an object, and left it as it was. Holds for built-in kinds
/// alone: what an apply of another kind does also depends on its definition.
#[derive(Clone, Default)]
pub struct Settled {
    known: Arc<Mutex<Known>>,
    /// Keyed by chance, so that nobody can make two applies look the same.
    keys: RandomState,
    /// Where this belongs to a copy of a cluster: the last revision that both have.
    until: Option<Revision>,
}

/// Of an apply: what is applied, by whom, how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64, u64);

impl Settled {
    /// For a copy of the cluster as it is at `revision`: what is known of the objects that nothing has happened
    /// to in the copy holds in both; what happens there says nothing about the cluster.
    pub fn copied_at(&self, revision: Revision) -> Self {
        Self { until: Some(revision), ..self.clone() }
    }

    pub fn fingerprint(&self, intent: &Value, manager: &str, force: bool) -> Fingerprint {
        let half = |which: bool| self.keys.hash_one((which, manager, force, intent));
        Fingerprint(half(false), half(true))
    }

    /// Whether this apply is known to leave the object at `key` as it is since `modified`.
    pub fn holds(&self, key: &str, modified: Revision, apply: Fingerprint) -> bool {
        self.is_shared(modified) && self.known.lock().get(key).is_some_and(|known| *known == (modified, apply))
    }

    /// Remembers that it does.
    pub fn note(&self, key: &Arc<str>, modified: Revision, apply: Fingerprint) {
        if !self.is_shared(modified) {
            return;
        }
        let mut known = self.known.lock();
        if known.len() >= KEPT && !known.contains_key(key) {
            known.clear();
        }
        known.insert(key.clone(), (modified, apply));
    }

    /// Whether the cluster has this state of an object too.
    pub fn is_shared(&self, modified: Revision) -> bool {
        self.until.is_none_or(|until| modified <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_apply_is_known_by_all_that_decides_what_it_does() {
        let (settled, key) = (Settled::default(), Arc::<str>::from("/configmaps/default/a"));
        let intent = json!({"data": {"a": "1"}});
        let apply = settled.fingerprint(&intent, "selkie", false);
        assert!(!settled.holds(&key, 7, apply));
        settled.note(&key, 7, apply);
        assert!(settled.holds(&key, 7, settled.fingerprint(&intent.clone(), "selkie", false)));
        assert!(!settled.holds(&key, 8, apply), "somebody wrote");
        assert!(!settled.holds("/configmaps/default/b", 7, apply));
        for other in [
            settled.fingerprint(&json!({"data": {"a": 1}}), "selkie", false),
            settled.fingerprint(&intent, "kubectl", false),
            settled.fingerprint(&intent, "selkie", true),
        ] {
            assert!(!settled.holds(&key, 7, other));
        }
    }

    #[test]
    fn a_copy_shares_what_is_known_of_what_was() {
        let (settled, key) = (Settled::default(), Arc::<str>::from("/configmaps/default/a"));
        let apply = settled.fingerprint(&json!({}), "selkie", false);
        settled.note(&key, 7, apply);
        let copy = settled.copied_at(7);
        assert!(copy.holds(&key, 7, apply));
        copy.note(&key, 8, apply);
        settled.note(&key, 8, apply);
        assert!(settled.holds(&key, 8, apply) && !copy.holds(&key, 8, apply), "revisions part after the copy");
        let other = Arc::<str>::from("/configmaps/default/b");
        copy.note(&other, 7, apply);
        assert!(settled.holds(&other, 7, apply), "the cluster has that state too");
    }
}
