//! From counters that only grow to a rate. Pure; the rules are those of Kubernetes' metrics-server.

use super::PERIOD;
use jiff::{SignedDuration, Timestamp};

/// Younger containers have no rate before their second reading: starting is not what they usually do.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);

/// What a container or a machine has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since when CPU time is counted: the container's start.
    pub started: Timestamp,
    pub time: Timestamp,
    /// CPU time, nanoseconds.
    pub cpu_nanos: u64,
    /// The working set, bytes.
    pub memory: u64,
}

/// What it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The end of the window that CPU is averaged over.
    pub time: Timestamp,
    pub window: SignedDuration,
    /// Billionths of a core.
    pub nanocores: u64,
    /// The working set, bytes.
    pub memory: u64,
}

impl Rate {
    /// The sum, as of the older of the two.
    pub fn plus(self, other: Self) -> Self {
        let older = if other.time < self.time { other } else { self };
        Self {
            nanocores: self.nanocores.saturating_add(other.nanocores),
            memory: self.memory.saturating_add(other.memory),
            ..older
        }
    }
}

/// The last reading, and the time and CPU time of the one that its rate begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series {
    pub last: Reading,
    since: Option<(Timestamp, u64)>,
}

impl Series {
    /// With a new reading after those known before.
    pub fn after(known: Option<&Self>, last: Reading) -> Self {
        let age = last.time.duration_since(last.started);
        let fresh = age >= YOUNG && age.unsigned_abs() < PERIOD;
        // After a restart the counter begins anew.
        let same = known.filter(|known| last.started < known.last.time);
        let since = match same {
            _ if fresh => Some((last.started, 0)),
            Some(known) if last.time > known.last.time => Some((known.last.time, known.last.cpu_nanos)),
            Some(known) => known.since.filter(|(time, _)| *time < last.time),
            None => None,
        };
        Self { last, since }
    }

    /// `None` before a second reading, and where the counter went back.
    pub fn rate(&self) -> Option<Rate> {
        let (from, before) = self.since?;
        let window = self.last.time.duration_since(from);
        let used = self.last.cpu_nanos.checked_sub(before)?;
        let nanocores = u128::from(used) * 1_000_000_000 / u128::try_from(window.as_nanos()).ok().filter(|n| *n > 0)?;
        let nanocores = u64::try_from(nanocores).unwrap_or(u64::MAX);
        Some(Rate { time: self.last.time, window, nanocores, memory: self.last.memory })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn reading(started: i64, time: i64, cpu_seconds: u64) -> Reading {
        Reading { started: at(started), time: at(time), cpu_nanos: cpu_seconds * SECOND, memory: 7 }
    }

    fn rate(readings: &[Reading]) -> Option<(i64, u64)> {
        let series =
            readings.iter().fold(None, |known: Option<Series>, next| Some(Series::after(known.as_ref(), *next)));
        series?.rate().map(|rate| (rate.window.as_secs(), rate.nanocores))
    }

    #[test]
    fn two_readings_make_a_rate() {
        assert_eq!(rate(&[reading(0, 100, 10)]), None);
        assert_eq!(rate(&[reading(0, 100, 10), reading(0, 120, 15)]), Some((20, SECOND / 4)));
        assert_eq!(rate(&[reading(0, 80, 1), reading(0, 100, 10), reading(0, 120, 15)]), Some((20, SECOND / 4)));
    }

    #[test]
    fn a_restart_begins_anew() {
        assert_eq!(rate(&[reading(0, 100, 10), reading(105, 108, 1)]), None);
        assert_eq!(rate(&[reading(0, 100, 10), reading(110, 130, 1)]), None);
        assert_eq!(rate(&[reading(0, 100, 10), reading(110, 130, 1), reading(110, 140, 6)]), Some((10, SECOND / 2)));
    }

    #[test]
    fn what_started_between_readings_counts_from_its_start_if_it_is_not_too_young() {
        assert_eq!(rate(&[reading(100, 112, 3)]), Some((12, SECOND / 4)));
        assert_eq!(rate(&[reading(100, 109, 3)]), None);
    }

    #[test]
    fn counters_and_clocks_may_go_back() {
        assert_eq!(rate(&[reading(0, 100, 10), reading(0, 120, 9)]), None);
        let readings = [reading(0, 100, 10), reading(0, 120, 15)];
        assert_eq!(rate(&[readings[0], readings[1], readings[1]]), Some((20, SECOND / 4)), "read twice");
        assert_eq!(rate(&[readings[0], readings[1], readings[0]]), None);
    }

    #[test]
    fn a_sum_is_as_old_as_its_oldest_part() {
        let part =
            |time, nanocores| Rate { time: at(time), window: SignedDuration::from_secs(15), nanocores, memory: 2 };
        let sum = part(20, 1).plus(part(10, 3));
        assert_eq!((sum.time, sum.nanocores, sum.memory), (at(10), 4, 4));
    }
}
