//! How often what a set makes has failed, and how long its successor waits for that.
//!
//! Kept in memory only: after a restart waits begin anew.

use crate::base::backoff::Backoff;
use crate::client::ObjectKey;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use std::collections::HashMap;

/// By set, and by the place in it (a host, a pod's name).
pub struct Failures {
    backoff: Backoff,
    all: Mutex<HashMap<ObjectKey, HashMap<String, Failure>>>,
}

#[derive(Clone, Copy)]
struct Failure {
    count: u32,
    last: Timestamp,
}

impl Failures {
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, all: Mutex::default() }
    }

    pub fn note(&self, key: &ObjectKey, place: &str, now: Timestamp) {
        let mut all = self.all.lock();
        let failures = all.entry(key.clone()).or_default();
        let count = failures.get(place).map_or(0, |known| known.count).saturating_add(1);
        failures.insert(place.to_owned(), Failure { count, last: now });
    }

    /// The places that wait, and for how long; failures long past are forgotten.
    pub fn held(&self, key: &ObjectKey, now: Timestamp) -> HashMap<String, SignedDuration> {
        let mut all = self.all.lock();
        let Some(failures) = all.get_mut(key) else { return HashMap::new() };
        let long = SignedDuration::try_from(self.backoff.max * 2).unwrap_or_default();
        failures.retain(|_, failure| now.duration_since(failure.last) < long);
        let wait = |failure: &Failure| {
            SignedDuration::try_from(self.backoff.after(failure.count)).unwrap_or_default()
                - now.duration_since(failure.last)
        };
        let waits = failures.iter().map(|(place, failure)| (place.clone(), wait(failure)));
        waits.filter(|(_, wait)| wait.is_positive()).collect()
    }

    pub fn forget(&self, key: &ObjectKey) {
        self.all.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_double_and_are_forgotten() {
        let failures = Failures::new(Backoff { base: Duration::from_secs(1), max: Duration::from_secs(300) });
        let key = ObjectKey { namespace: "ns".into(), name: "set".into() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let held = |second| failures.held(&key, at(second)).get("h1").map(|wait| wait.as_secs());
        assert_eq!(held(0), None);
        failures.note(&key, "h1", at(0));
        assert_eq!((held(0), held(1)), (Some(1), None));
        failures.note(&key, "h1", at(1));
        assert_eq!((held(1), held(2), held(3)), (Some(2), Some(1), None));
        failures.note(&key, "h1", at(10));
        assert_eq!(held(10), Some(4));
        assert_eq!(held(1000), None);
        failures.note(&key, "h1", at(1000));
        assert_eq!(held(1000), Some(1), "what was long ago does not count");
        failures.forget(&key);
        assert_eq!(held(1000), None);
    }
}
