//! Cron schedules as Kubernetes reads them: five fields, names, steps, `@daily` and its like. The
//! texts of errors are those of the parser that Kubernetes uses.

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// When something is due. Fields are sets of bits: bit 5 of `minutes` is minute 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    Fields {
        minutes: u64,
        hours: u64,
        days: u64,
        months: u64,
        weekdays: u64,
    },
    /// `@every`: seconds.
    Every(u64),
}

struct Field {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field { least: 1, most: 12, names: &MONTHS },
    Field { least: 0, most: 6, names: &WEEKDAYS },
];
/// A schedule that has no time within this many years never has one.
const HORIZON: i16 = 5;
/// Set where a field was `*`: a day then matches by the other of the two day fields alone.
const STAR: u64 = 1 << 63;

impl Schedule {
    /// Reads `*/5 * * * *`, `@hourly`, `@every 90s`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".into());
        }
        if text.starts_with('@') {
            return descriptor(text);
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        }
        let mut bits = [0; 5];
        for ((bits, field), part) in bits.iter_mut().zip(&FIELDS).zip(&parts) {
            *bits = field.parse(part)?;
        }
        let [minutes, hours, days, months, weekdays] = bits;
        Ok(Self::Fields { minutes, hours, days, months, weekdays })
    }

    /// Whether the minute of `time` is one of the schedule's; never true for `@every`.
    pub fn matches(&self, time: DateTime) -> bool {
        let Self::Fields { minutes, hours, .. } = *self else { return false };
        has(minutes, time.minute()) && has(hours, time.hour()) && self.has_day(time)
    }

    fn has_day(&self, time: DateTime) -> bool {
        let Self::Fields { days, months, weekdays, .. } = *self else { return false };
        let weekday = time.weekday().since(Weekday::Sunday);
        let (by_date, by_weekday) = (has(days, time.day()), has(weekdays, weekday));
        let day = if days & STAR != 0 || weekdays & STAR != 0 { by_date && by_weekday } else { by_date || by_weekday };
        has(months, time.month()) && day
    }

    /// The first time after `after`, by the clocks of `zone`: what these skip has no time, what they
    /// repeat has two. `None` if there is none in the next years (30 February).
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = Timestamp::from_second(after.as_second()).ok()?;
        let (minutes, hours) = match *self {
            Self::Every(seconds) => {
                return second.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok();
            }
            Self::Fields { minutes, hours, .. } => (minutes, hours),
        };
        let forward = |time: Timestamp, seconds: i64| time.checked_add(SignedDuration::from_secs(seconds)).ok();
        let mut time = forward(second, 60 - i64::from(zone.to_datetime(second).second()))?;
        let last = zone.to_datetime(time).year().saturating_add(HORIZON);
        loop {
            let local = zone.to_datetime(time);
            if local.year() > last {
                return None;
            }
            time = if !self.has_day(local) {
                let tomorrow = local.date().tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
                tomorrow.max(forward(time, 60)?)
            } else if !has(hours, local.hour()) {
                forward(time, 60 * (60 - i64::from(local.minute())))?
            } else if !has(minutes, local.minute()) {
                forward(time, 60)?
            } else {
                return Some(time);
            };
        }
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits & (1 << value) != 0
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(duration) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let wrong = || format!("failed to parse duration {text}: time: invalid duration {duration:?}");
            return seconds(duration).map(|seconds| Schedule::Every(seconds.max(1))).ok_or_else(wrong);
        }
    };
    Schedule::parse(fields)
}

/// `1h30m`, `90s`: whole seconds of a Go duration.
fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        total += match &rest[digits..unit] {
            "h" => number.checked_mul(3600)?,
            "m" => number.checked_mul(60)?,
            "s" => number,
            "ms" => number / 1000,
            _ => return None,
        };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |bits, range| Ok(bits | self.range(range)?))
    }

    fn range(&self, text: &str) -> Result<u64, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let ends: Vec<&str> = parts[0].split('-').collect();
        let star = matches!(ends[0], "*" | "?");
        let (start, mut end) = match ends.as_slice() {
            _ if star => (self.least, self.most),
            [one] => (self.number(one)?, self.number(one)?),
            [start, end] => (self.number(start)?, self.number(end)?),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = match parts.as_slice() {
            [_] => 1,
            [_, step] => {
                if ends.len() == 1 {
                    end = self.most;
                }
                integer(step)?
            }
            _ => return Err(format!("too many slashes: {text}")),
        };
        if start < self.least {
            return Err(format!("beginning of range ({start}) below minimum ({}): {text}", self.least));
        }
        if end > self.most {
            return Err(format!("end of range ({end}) above maximum ({}): {text}", self.most));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        let extra = if star && step == 1 { STAR } else { 0 };
        Ok((start..=end).step_by(step as usize).fold(extra, |bits, value| bits | 1 << value))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        match self.names.iter().position(|name| *name == lower) {
            Some(index) => Ok(index as u32 + self.least),
            None => integer(text),
        }
    }
}

fn integer(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wrong_schedules_are_explained_as_in_kubernetes() {
        for (text, why) in [
            ("bad", "expected exactly 5 fields, found 1: [bad]"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(Schedule::parse(text).unwrap_err(), why);
        }
    }

    #[test]
    fn fields_choose_minutes() {
        let at = |text: &str, time: &str| Schedule::parse(text).unwrap().matches(time.parse().unwrap());
        assert!(at("*/15 9-17 * * MON-FRI", "2026-11-23T09:45:00"));
        assert!(!at("*/15 9-17 * * MON-FRI", "2026-11-22T09:45:00"));
        assert!(at("0 0 1 * 0", "2026-11-22T00:00:00"), "a weekday or a date");
        assert!(!at("0 0 1 * *", "2026-11-22T00:00:00"));
        assert_eq!(Schedule::parse("@every 1h30m").unwrap(), Schedule::Every(5400));
    }

    #[test]
    fn the_next_time_follows_the_clocks_of_the_zone() {
        let next = |schedule: &str, zone: &str, after: &str| {
            let zone = TimeZone::get(zone).unwrap();
            Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone).map(|time| time.to_string())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(next("* * * * *", "UTC", "2026-01-01T00:00:00Z"), is("2026-01-01T00:01:00Z"));
        assert_eq!(next("*/15 * * * *", "UTC", "2026-01-01T00:14:59.5Z"), is("2026-01-01T00:15:00Z"));
        assert_eq!(next("0 9 * * mon", "Europe/Berlin", "2026-07-01T00:00:00Z"), is("2026-07-06T07:00:00Z"));
        assert_eq!(next("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z"), is("2028-02-29T00:00:00Z"));
        assert_eq!(next("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z"), None);
        assert_eq!(next("@every 90s", "UTC", "2026-01-01T00:00:10.5Z"), is("2026-01-01T00:01:40Z"));
        // 02:30 is skipped in spring, and comes twice in autumn.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z"), is("2026-03-30T00:30:00Z"));
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z"), is("2026-10-25T00:30:00Z"));
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z"), is("2026-10-25T01:30:00Z"));
    }
}
