//! Waiting in tests: for what can be seen, never for a time to pass. Also part of the library's own tests.

use std::fmt::Display;
use std::panic::Location;
use std::time::Duration;
use tokio::time::Instant;

/// How often to look and for how long, in the runtime's time: virtual where its clock is paused.
#[derive(Clone, Copy)]
pub struct Pace {
    pub every: Duration,
    /// Long enough for a loaded machine; a passing test never waits for it.
    pub at_most: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_millis(20), at_most: Duration::from_secs(60) }
    }
}

/// What `look` finds. `Err` is what it saw instead: the last one is shown where the wait is in vain.
#[track_caller]
pub fn until<T, Seen: Display>(
    what: &str,
    pace: Pace,
    mut look: impl AsyncFnMut() -> Result<T, Seen>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let begun = Instant::now();
        loop {
            match look().await {
                Ok(found) => return found,
                Err(seen) if begun.elapsed() >= pace.at_most => {
                    panic!("{caller}: waited {:?} in vain until {what}; last seen: {seen:#}", pace.at_most)
                }
                Err(_) => tokio::time::sleep(pace.every).await,
            }
        }
    }
}
