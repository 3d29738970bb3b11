//! Times and durations.

use super::value::{Outcome, Val, error, no_overload};
use cel::common::ast::operators as op;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

const SECOND: i64 = 1_000_000_000;

pub fn arithmetic<'a>(name: &str, a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    let moved = |time: &Timestamp, nanos: i64| {
        let moved = time.checked_add(SignedDuration::from_nanos(nanos));
        moved.map_or_else(|_| error("timestamp overflow"), |time| Ok(Val::Time(time)))
    };
    let long = |nanos: Option<i64>| nanos.map_or_else(|| error("duration overflow"), |nanos| Ok(Val::Duration(nanos)));
    match (name, a, b) {
        (op::ADD, Val::Duration(a), Val::Duration(b)) => long(a.checked_add(*b)),
        (op::SUBSTRACT, Val::Duration(a), Val::Duration(b)) => long(a.checked_sub(*b)),
        (op::ADD, Val::Time(time), Val::Duration(nanos)) | (op::ADD, Val::Duration(nanos), Val::Time(time)) => {
            moved(time, *nanos)
        }
        (op::SUBSTRACT, Val::Time(time), Val::Duration(nanos)) => moved(time, nanos.saturating_neg()),
        (op::SUBSTRACT, Val::Time(a), Val::Time(b)) => long(i64::try_from(a.duration_since(*b).as_nanos()).ok()),
        _ => no_overload(),
    }
}

/// Functions of a time or a duration.
pub fn call<'a>(name: &str, target: &Val<'a>, args: &[Val<'a>]) -> Outcome<'a> {
    match (target, args) {
        (Val::Duration(nanos), []) => {
            let number = match name {
                "getHours" => nanos / SECOND / 3600,
                "getMinutes" => nanos / SECOND / 60,
                "getSeconds" => nanos / SECOND,
                "getMilliseconds" => nanos / 1_000_000 % 1000,
                _ => return no_overload(),
            };
            Ok(Val::Int(number))
        }
        (Val::Time(time), []) => part(name, &time.to_zoned(TimeZone::UTC)),
        (Val::Time(time), [Val::Text(zone)]) => match zone_of(zone) {
            Some(zone) => part(name, &time.to_zoned(zone)),
            None => error(format!("unknown time zone {zone}")),
        },
        _ => no_overload(),
    }
}

fn zone_of(name: &str) -> Option<TimeZone> {
    let (sign, rest) = match name.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, name.strip_prefix('+').unwrap_or(name)),
    };
    match rest.split_once(':').and_then(|(h, m)| Some((h.parse::<i32>().ok()?, m.parse::<i32>().ok()?))) {
        Some((hours, minutes)) => {
            let offset = Offset::from_seconds(sign * (hours.checked_mul(3600)? + minutes.checked_mul(60)?));
            Some(TimeZone::fixed(offset.ok()?))
        }
        None => TimeZone::get(name).ok(),
    }
}

fn part<'a>(name: &str, time: &Zoned) -> Outcome<'a> {
    let number = match name {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month()) - 1,
        "getDate" => i64::from(time.day()),
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDayOfWeek" => i64::from(time.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(time.day_of_year()) - 1,
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.millisecond()),
        _ => return no_overload(),
    };
    Ok(Val::Int(number))
}
