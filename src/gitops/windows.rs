//! When an Application may be synced: `spec.syncWindows`, with the meaning of Argo CD's. Pure.
//!
//! A deny window that is active closes, whatever else there is. Where there are allow windows, it is
//! closed outside of them. People may sync all the same where all windows that close have `manualSync`.

use crate::base::cron::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Boundaries of windows that are looked at to find when syncs go on.
const LOOKS: usize = 1000;

/// As it is written in an Application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncWindow {
    /// `allow` or `deny`.
    pub kind: String,
    /// When it begins: a cron schedule.
    pub schedule: String,
    /// How long it lasts: `8h`.
    pub duration: String,
    /// Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// People may sync although this window closes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub manual_sync: bool,
}

/// Who wants to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A new revision, or drift to be set right.
    Engine,
    /// Somebody who asks for just this sync.
    Person,
}

/// Why nothing may be synced now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// What closes.
    pub why: String,
    /// When syncs go on by themselves; `None`: not within sight.
    pub opens: Option<Timestamp>,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.opens {
            Some(opens) => write!(f, "{}; syncs go on at {opens}", self.why),
            None => write!(f, "{}; no end of that is in sight", self.why),
        }
    }
}

/// `None`: `who` may sync.
pub fn closed(windows: &[SyncWindow], now: Timestamp, who: Who) -> Option<Closed> {
    let windows = match windows.iter().map(Window::read).collect::<Result<Vec<_>, _>>() {
        Ok(windows) => windows,
        // Not to be stored; what it was meant to close is not known.
        Err(why) => return Some(Closed { why, opens: None }),
    };
    let closing = closing(&windows, now);
    let (first, rest) = closing.split_first()?;
    if who == Who::Person && closing.iter().all(|window| window.spec.manual_sync) {
        return None;
    }
    let why = match (first.denies, rest.len()) {
        (true, _) => format!("the deny window {first} is active"),
        (false, 0) => format!("it is outside of the allow window {first}"),
        (false, more) => format!("it is outside of the allow window {first} and {more} more"),
    };
    Some(Closed { why, opens: opens(&windows, now) })
}

/// A window that can be computed with.
struct Window<'a> {
    spec: &'a SyncWindow,
    denies: bool,
    schedule: Schedule,
    zone: TimeZone,
    duration: SignedDuration,
}

impl std::fmt::Display for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SyncWindow { schedule, duration, time_zone, .. } = self.spec;
        write!(f, "{schedule:?} of {duration} ({})", time_zone.as_deref().unwrap_or("UTC"))
    }
}

impl<'a> Window<'a> {
    fn read(spec: &'a SyncWindow) -> Result<Self, String> {
        let wrong = |what: &str, why: String| format!("a sync window cannot be read: {what}: {why}");
        let denies = match spec.kind.as_str() {
            "deny" => true,
            "allow" => false,
            other => return Err(wrong("kind", format!("{other:?} is neither allow nor deny"))),
        };
        let schedule = Schedule::parse(&spec.schedule).map_err(|why| wrong("schedule", why))?;
        let zone = spec.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(zone).map_err(|error| wrong("timeZone", error.to_string()))?;
        let duration = spec.duration.parse().map_err(|error: jiff::Error| wrong("duration", error.to_string()))?;
        Ok(Self { spec, denies, schedule, zone, duration })
    }

    /// When the run of the window that `time` is in ends; of several, the first to end.
    fn end(&self, time: Timestamp) -> Option<Timestamp> {
        let start = self.schedule.next(time.checked_sub(self.duration).ok()?, &self.zone)?;
        if start > time { None } else { start.checked_add(self.duration).ok() }
    }

    fn is_active(&self, time: Timestamp) -> bool {
        self.end(time).is_some()
    }

    /// When it may next become active, or end.
    fn boundary(&self, time: Timestamp) -> Option<Timestamp> {
        self.end(time).or_else(|| self.schedule.next(time, &self.zone))
    }
}

/// The windows that close at a time: active ones that deny, or else all that allow at other times.
fn closing<'a, 'b>(windows: &'b [Window<'a>], time: Timestamp) -> Vec<&'b Window<'a>> {
    let denying: Vec<_> = windows.iter().filter(|window| window.denies && window.is_active(time)).collect();
    let allowing = windows.iter().filter(|window| !window.denies);
    if !denying.is_empty() || allowing.clone().any(|window| window.is_active(time)) {
        return denying;
    }
    allowing.collect()
}

/// When nothing closes any more, after `now`.
fn opens(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let mut time = now;
    for _ in 0..LOOKS {
        time = windows.iter().filter_map(|window| window.boundary(time)).min()?;
        if closing(windows, time).is_empty() {
            return Some(time);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn window(kind: &str, schedule: &str, duration: &str, manual_sync: bool) -> SyncWindow {
        SyncWindow {
            kind: kind.into(),
            schedule: schedule.into(),
            duration: duration.into(),
            time_zone: None,
            manual_sync,
        }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn opens_at(windows: &[SyncWindow], now: &str) -> Option<String> {
        closed(windows, at(now), Who::Engine).map(|closed| closed.opens.map_or_else(String::new, |at| at.to_string()))
    }

    #[test]
    fn no_windows_close_nothing() {
        assert_eq!(closed(&[], Timestamp::UNIX_EPOCH, Who::Engine), None);
    }

    #[test]
    fn a_deny_window_closes_while_it_lasts() {
        let deny = [window("deny", "0 9 * * *", "8h", false)];
        assert_eq!(opens_at(&deny, "2026-01-05T08:59:59.999Z"), None);
        for within in ["2026-01-05T09:00:00Z", "2026-01-05T12:00:00.5Z", "2026-01-05T16:59:59.999Z"] {
            assert_eq!(opens_at(&deny, within).as_deref(), Some("2026-01-05T17:00:00Z"), "{within}");
        }
        assert_eq!(opens_at(&deny, "2026-01-05T17:00:00Z"), None);
        let said = closed(&deny, at("2026-01-05T12:00:00Z"), Who::Engine).unwrap().to_string();
        assert_eq!(said, "the deny window \"0 9 * * *\" of 8h (UTC) is active; syncs go on at 2026-01-05T17:00:00Z");
    }

    #[test]
    fn outside_of_allow_windows_it_is_closed_and_deny_wins() {
        let night = || window("allow", "0 22 * * *", "4h", false);
        assert_eq!(opens_at(&[night()], "2026-01-05T12:00:00Z").as_deref(), Some("2026-01-05T22:00:00Z"));
        assert_eq!(opens_at(&[night()], "2026-01-06T01:59:59Z"), None);
        let both = [night(), window("deny", "0 23 * * *", "1h", false)];
        assert_eq!(opens_at(&both, "2026-01-05T22:30:00Z"), None);
        assert_eq!(opens_at(&both, "2026-01-05T23:30:00Z").as_deref(), Some("2026-01-06T00:00:00Z"));
        let covered = [night(), window("deny", "0 21 * * *", "3h", false)];
        assert_eq!(opens_at(&covered, "2026-01-05T12:00:00Z").as_deref(), Some("2026-01-06T00:00:00Z"));
        let never = [night(), window("deny", "* * * * *", "1h", false)];
        assert_eq!(opens_at(&never, "2026-01-05T12:00:00Z").as_deref(), Some(""));
    }

    #[test]
    fn people_may_sync_where_all_that_closes_lets_them() {
        let open = |windows: &[SyncWindow]| closed(windows, at("2026-01-05T12:00:00Z"), Who::Person).is_none();
        assert!(open(&[window("deny", "0 9 * * *", "8h", true)]));
        assert!(!open(&[window("deny", "0 9 * * *", "8h", true), window("deny", "0 11 * * *", "8h", false)]));
        assert!(open(&[window("deny", "0 9 * * *", "8h", true), window("deny", "0 20 * * *", "1h", false)]));
        assert!(open(&[window("allow", "0 22 * * *", "1h", true)]));
        assert!(!open(&[window("allow", "0 22 * * *", "1h", true), window("allow", "0 3 * * *", "1h", false)]));
        // An allow window lifts no deny window.
        assert!(!open(&[window("deny", "0 9 * * *", "8h", false), window("allow", "0 11 * * *", "8h", true)]));
    }

    #[test]
    fn windows_follow_the_clocks_of_their_zone() {
        let mut work = window("deny", "0 9 * * *", "8h", false);
        work.time_zone = Some("Europe/Berlin".into());
        assert_eq!(opens_at(&[work.clone()], "2026-07-06T12:00:00Z").as_deref(), Some("2026-07-06T15:00:00Z"));
        assert_eq!(opens_at(&[work], "2026-01-05T12:00:00Z").as_deref(), Some("2026-01-05T16:00:00Z"));
    }

    #[test]
    fn what_cannot_be_read_closes() {
        let closed = closed(&[window("deny", "soon", "8h", false)], at("2026-01-05T12:00:00Z"), Who::Person).unwrap();
        assert!(closed.why.contains("schedule") && closed.opens.is_none(), "{closed}");
    }

    fn windows() -> impl Strategy<Value = Vec<SyncWindow>> {
        let schedules = vec!["0 9 * * *", "30 22 * * 1-5", "*/20 * * * *", "0 */3 * * 6,0", "15 3 1 * *", "@daily"];
        let one = (
            prop::sample::select(vec!["allow", "deny"]),
            prop::sample::select(schedules),
            prop::sample::select(vec!["1m", "19m", "45m", "3h", "26h"]),
            any::<bool>(),
        );
        let one = one.prop_map(|(kind, schedule, duration, manual)| window(kind, schedule, duration, manual));
        prop::collection::vec(one, 1..4)
    }

    /// Whether a window is active, found by looking at every minute in which it could have begun.
    fn is_active(spec: &SyncWindow, now: Timestamp) -> bool {
        let window = Window::read(spec).unwrap();
        let mut start = Timestamp::from_second(now.as_second() / 60 * 60).unwrap();
        while start + window.duration > now {
            if window.schedule.matches(TimeZone::UTC.to_datetime(start)) {
                return true;
            }
            start -= SignedDuration::from_mins(1);
        }
        false
    }

    proptest! {
        /// Nothing is ever synced within a deny window, nor outside of all allow windows; everything
        /// is elsewhere; and when it is said to open, it opens, and not before.
        #[test]
        fn syncs_keep_to_the_windows(windows in windows(), seconds in 0i64..40 * 86400, later in 0i64..1000) {
            let now = at("2026-01-01T00:00:00Z") + SignedDuration::from_secs(seconds);
            let active = |kind: &str| windows.iter().any(|window| window.kind == kind && is_active(window, now));
            let allows = windows.iter().any(|window| window.kind == "allow");
            let open = !active("deny") && (!allows || active("allow"));
            let found = closed(&windows, now, Who::Engine);
            prop_assert_eq!(found.is_none(), open);
            if closed(&windows, now, Who::Person).is_none() && !open {
                let denied = active("deny");
                let closing = windows.iter().filter(|window| if denied { window.kind == "deny" && is_active(window, now) } else { window.kind == "allow" });
                prop_assert!(closing.clone().all(|window| window.manual_sync));
            }
            if let Some(opens) = found.and_then(|found| found.opens) {
                prop_assert!(opens > now);
                prop_assert!(closed(&windows, opens, Who::Engine).is_none());
                let between = now + SignedDuration::from_secs((opens.as_second() - now.as_second()) * later / 1000);
                prop_assert!(closed(&windows, between, Who::Engine).is_some());
            }
        }
    }
}
