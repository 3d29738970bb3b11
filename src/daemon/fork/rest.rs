//! When everything has come to rest: nothing is written any more, and what was waited for is there.

use crate::store::Store;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The first look after this long; while nothing moves each next one after twice as long.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(20);
/// Nothing written for this long, and nothing is waited for: at rest.
const QUIET: Duration = Duration::from_secs(1);
/// Nothing written for this long: what is waited for will not come. Longer than every back-off.
const STUCK: Duration = Duration::from_secs(330);
/// A cluster that still moves after this long may do so forever.
pub const END: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    Settled,
    /// Nothing moves, but not everything came to be.
    Stuck,
    /// It still moved when the time was over.
    Moving,
    /// Told to stop before that.
    Stopped,
}

/// Waits, in virtual time, until `store` rests; of its writes, `retries` says how many were none of something
/// that moves. `is_done` is asked when nothing moved for a while, and of the same state once.
pub async fn rest(
    store: &dyn Store,
    retries: impl Fn() -> u64,
    stop: &CancellationToken,
    mut is_done: impl FnMut() -> bool,
) -> Rest {
    let begun = Instant::now();
    let news = || store.revision().saturating_sub(retries());
    let (mut revision, mut moved, mut step) = (news(), begun, FIRST);
    let mut asked = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Rest::Stopped,
            () = sleep(step) => {}
        }
        let now = news();
        if now != revision {
            (revision, moved, step) = (now, Instant::now(), FIRST);
        } else {
            step = (step * 2).min(LONGEST);
            let state = Some(store.revision());
            if moved.elapsed() >= QUIET && asked != state {
                asked = state;
                if is_done() {
                    return Rest::Settled;
                }
            }
            if moved.elapsed() >= STUCK {
                return Rest::Stuck;
            }
        }
        if begun.elapsed() >= END {
            return Rest::Moving;
        }
    }
}
