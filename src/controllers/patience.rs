//! Statuses that may wait for more: a count that only begins to change, in a cluster where nobody reads it on the
//! way.

use crate::client::ObjectKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long each key's status waits already.
pub(super) struct Patience {
    most: Duration,
    since: Mutex<HashMap<ObjectKey, Instant>>,
}

impl Patience {
    pub fn new(most: Duration) -> Self {
        Self { most, since: Mutex::default() }
    }

    /// How much longer a change of the key's status may wait; `None`: it is to be written. Of a change that `may`
    /// not wait, nothing is kept.
    pub fn left(&self, key: &ObjectKey, may: bool) -> Option<Duration> {
        if self.most.is_zero() {
            return None;
        }
        let mut since = self.since.lock();
        if may {
            let waited = since.entry(key.clone()).or_insert_with(Instant::now).elapsed();
            if waited < self.most {
                return Some(self.most - waited);
            }
        }
        since.remove(key);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_once_and_not_for_long() {
        let second = Duration::from_secs(1);
        let (patience, key) = (Patience::new(3 * second), ObjectKey::new("default", "web"));
        assert_eq!(patience.left(&key, true), Some(3 * second));
        tokio::time::advance(second).await;
        assert_eq!(patience.left(&key, true), Some(2 * second), "it waits since it was first asked");
        tokio::time::advance(2 * second).await;
        assert_eq!(patience.left(&key, true), None);
        assert_eq!(patience.left(&key, true), Some(3 * second), "the next one");
        assert_eq!(patience.left(&key, false), None);
        assert_eq!(patience.left(&key, true), Some(3 * second));
        assert_eq!(Patience::new(Duration::ZERO).left(&key, true), None);
    }
}
