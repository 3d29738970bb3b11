//! Exponential backoff, per key or alone.

use std::time::Duration;

/// Doubles from `base` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait before try number `failures` (1 = after the first failure); 0 for 0.
    pub fn after(&self, failures: u32) -> Duration {
        match failures {
            0 => Duration::ZERO,
            n => self.base.saturating_mul(1u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum() {
        let backoff = Backoff { base: Duration::from_secs(10), max: Duration::from_secs(300) };
        let waits: Vec<_> = [0, 1, 2, 3, 6, 40].map(|n| backoff.after(n).as_secs()).into();
        assert_eq!(waits, [0, 10, 20, 40, 300, 300]);
    }
}
