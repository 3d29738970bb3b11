//! When a CronJob's next run is due, and how many runs it missed. Pure.

use crate::base::cron::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;

/// More missed runs than these are worth a warning.
pub const MANY: i64 = 100;

/// A schedule and the clocks it goes by.
pub struct Timetable {
    pub schedule: Schedule,
    pub zone: TimeZone,
}

/// Where a CronJob is in its timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The newest time that has passed since the last run.
    pub time: Option<Timestamp>,
    /// How many times have passed, as Kubernetes estimates it: by the first interval.
    pub missed: i64,
}

impl Timetable {
    pub fn due(&self, cron: &CronJob, now: Timestamp) -> Due {
        let deadline = cron.spec.starting_deadline_seconds;
        let limit = deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
        let since = since(cron);
        self.newest(limit.map_or(since, |limit| limit.max(since)), now)
    }

    /// How long until the next time.
    pub fn wait(&self, cron: &CronJob, now: Timestamp) -> Option<SignedDuration> {
        let since = since(cron);
        let last = self.newest(since, now).time.unwrap_or(since);
        let next = self.schedule.next(last, &self.zone)?;
        Some(next.duration_since(now).max(SignedDuration::from_millis(1)))
    }

    fn newest(&self, since: Timestamp, now: Timestamp) -> Due {
        let next = |after: Timestamp| self.schedule.next(after, &self.zone).filter(|time| *time <= now);
        let Some(first) = next(since) else { return Due { time: None, missed: 0 } };
        let Some(second) = next(first) else { return Due { time: Some(first), missed: 1 } };
        let interval = second.duration_since(first).as_secs().max(1);
        let missed = now.duration_since(first).as_secs() / interval + 1;
        // Start near the end, and further back where the intervals differ.
        let mut back = interval.saturating_mul(2);
        let mut time = loop {
            let from = now.checked_sub(SignedDuration::from_secs(back)).unwrap_or(first).max(first);
            // Times of `@every` count from the last run.
            let from = match self.schedule {
                Schedule::Every(_) => {
                    let whole = from.duration_since(first).as_secs() / interval * interval;
                    first.checked_add(SignedDuration::from_secs(whole)).unwrap_or(first)
                }
                Schedule::Fields { .. } => from,
            };
            match next(from) {
                Some(time) => break time,
                None if from <= first => break second,
                None => back = back.saturating_mul(2),
            }
        };
        while let Some(later) = next(time) {
            time = later;
        }
        Due { time: Some(time), missed }
    }
}

/// The last run's time, or when the CronJob was made.
fn since(cron: &CronJob) -> Timestamp {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    last.or(cron.metadata.creation_timestamp.as_ref()).map(|time| time.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn newest(schedule: &str, since: &str, now: &str) -> (Option<String>, i64) {
        let table = Timetable { schedule: Schedule::parse(schedule).unwrap(), zone: TimeZone::UTC };
        let due = table.newest(since.parse().unwrap(), now.parse().unwrap());
        (due.time.map(|time| time.to_string()), due.missed)
    }

    #[test]
    fn the_newest_of_the_missed_times_counts() {
        let is = |text: &str| Some(text.to_owned());
        let check = |schedule, since, now, time, missed| assert_eq!(newest(schedule, since, now), (time, missed));
        check("0 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:59:59Z", None, 0);
        check("0 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z", is("2024-01-01T01:00:00Z"), 1);
        check("0 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T09:30:00Z", is("2024-01-01T09:00:00Z"), 9);
        check("* * * * *", "2024-01-01T00:00:00Z", "2024-01-01T02:00:30Z", is("2024-01-01T02:00:00Z"), 120);
        // Over a weekend that has no times.
        check("0 9 * * 1-5", "2024-01-03T12:00:00Z", "2024-01-08T08:00:00Z", is("2024-01-05T09:00:00Z"), 4);
        check("@every 7s", "2024-01-01T00:00:00Z", "2024-01-01T00:10:00Z", is("2024-01-01T00:09:55Z"), 85);
    }

    proptest! {
        /// The newest time is what counting through all of them finds.
        #[test]
        fn no_time_is_overlooked(hours in 0i64..400, schedule in prop::sample::select(vec![
            "*/7 3-5 * * *", "0 9 * * 1-5", "30 6-16/4 * * 1-5", "15 0 1,15 * *", "@every 11h", "@daily",
        ])) {
            let table = Timetable { schedule: Schedule::parse(schedule).unwrap(), zone: TimeZone::UTC };
            let since: Timestamp = "2024-01-03T12:34:56Z".parse().unwrap();
            let now = since + SignedDuration::from_mins(hours * 60 + 17);
            let mut expected = None;
            while let Some(time) = table.schedule.next(expected.unwrap_or(since), &table.zone).filter(|time| *time <= now) {
                expected = Some(time);
            }
            prop_assert_eq!(table.newest(since, now).time, expected);
        }
    }
}
