//! Wall-clock time as an input.
//!
//! Sleeping is always `tokio::time`; under a runtime whose clock is paused, [`Clock::virtual_from`]
//! makes the wall clock follow tokio's, so a whole cluster runs under virtual time without any of
//! its parts knowing.

use jiff::Timestamp;
use tokio::time::Instant;

/// Tells the time of day. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// `start` at tokio instant `origin`, moving as tokio's (possibly paused) clock moves.
    Virtual { start: Timestamp, origin: Instant },
}

impl Clock {
    /// A clock that shows `start` now and follows tokio's clock from here on.
    pub fn virtual_from(start: Timestamp) -> Self {
        Self::Virtual { start, origin: Instant::now() }
    }

    /// The present moment, with nanoseconds.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Virtual { start, origin } => {
                let passed = Instant::now().saturating_duration_since(*origin);
                start.saturating_add(jiff::SignedDuration::try_from(passed).unwrap_or_default()).unwrap_or(*start)
            }
        }
    }

    /// The present moment cut to whole seconds, as `metadata.creationTimestamp` and conditions carry it.
    pub fn now_seconds(&self) -> Timestamp {
        Timestamp::from_second(self.now().as_second()).unwrap_or_default()
    }
}
