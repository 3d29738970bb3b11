//! What the scheduler last said of each pod, for those who ask why. In memory only: put in by whoever
//! listens to the scheduler, read at `verdicts/POD`.

use crate::api::verdict::PodVerdict;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Pods whose verdicts are kept; those that were spoken of longest ago are forgotten first.
const KEPT: usize = 4096;

#[derive(Default)]
pub struct Verdicts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// By the pod's uid, each with its turn.
    by_pod: HashMap<Arc<str>, (u64, Arc<PodVerdict>)>,
    by_turn: BTreeMap<u64, Arc<str>>,
    turn: u64,
}

impl Verdicts {
    /// Keeps a verdict in the place of an earlier one on the same pod.
    pub fn keep(&self, said: PodVerdict) {
        let mut kept = self.0.lock();
        let uid: Arc<str> = said.metadata.uid.as_str().into();
        kept.turn += 1;
        let turn = kept.turn;
        if let Some((earlier, _)) = kept.by_pod.insert(uid.clone(), (turn, Arc::new(said))) {
            kept.by_turn.remove(&earlier);
        }
        kept.by_turn.insert(turn, uid);
        if kept.by_turn.len() > KEPT
            && let Some((_, oldest)) = kept.by_turn.pop_first()
        {
            kept.by_pod.remove(&oldest);
        }
    }

    /// The last verdict on the pod with this uid.
    pub fn of(&self, uid: &str) -> Option<Arc<PodVerdict>> {
        self.0.lock().by_pod.get(uid).map(|(_, said)| said.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::verdict::PodName;

    fn said(uid: &str, time: &str) -> PodVerdict {
        let metadata = PodName { uid: uid.to_owned(), ..PodName::default() };
        PodVerdict { metadata, time: time.to_owned(), ..PodVerdict::default() }
    }

    #[test]
    fn the_last_word_counts_and_the_oldest_goes_first() {
        let verdicts = Verdicts::default();
        verdicts.keep(said("a", "1"));
        verdicts.keep(said("b", "2"));
        verdicts.keep(said("a", "3"));
        assert_eq!(verdicts.of("a").unwrap().time, "3");
        for pod in 0..KEPT - 1 {
            verdicts.keep(said(&format!("p{pod}"), "4"));
        }
        assert!(verdicts.of("b").is_none(), "a was spoken of after it");
        assert!(verdicts.of("a").is_some() && verdicts.of("p0").is_some());
        let kept = verdicts.0.lock();
        assert_eq!((kept.by_pod.len(), kept.by_turn.len()), (KEPT, KEPT));
    }
}
