//! Cron schedules and time zones, wherever a kind has them.

use super::pod_spec::Context;
use crate::base::cron::Schedule;
use serde_json::Value;

pub fn schedule(field: &str, given: &str, cx: &mut Context) {
    let field = || field.to_string();
    if given.is_empty() {
        return cx.required(field(), "");
    }
    // A schedule with its own zone is read without it.
    let zoned = given.contains("TZ");
    let plain = if zoned { given.split_once(' ').map_or("", |(_, rest)| rest) } else { given };
    if let Err(why) = Schedule::parse(plain.trim()) {
        cx.invalid(field(), &given.into(), &why);
    }
    if zoned {
        cx.invalid(field(), &given.into(), "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
}

pub fn time_zone(field: &str, zone: &Value, cx: &mut Context) {
    let Some(name) = zone.as_str() else { return };
    let why = match name {
        "" => "timeZone must be nil or non-empty string".to_string(),
        name if name.eq_ignore_ascii_case("local") => {
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".into()
        }
        name if jiff::tz::TimeZone::get(name).is_err() => format!("unknown time zone {name}"),
        _ => return,
    };
    cx.invalid(field.to_string(), zone, &why);
}
