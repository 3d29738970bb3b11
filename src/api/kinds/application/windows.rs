//! Validation of `spec.syncWindows`.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::Context;
use crate::api::kinds::timetable;
use jiff::SignedDuration;
use serde_json::Value;

/// A window that lasts longer is a permanent state; `suspend` says that better.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

pub fn validate(spec: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    for (index, window) in list(spec, &["syncWindows"]).iter().enumerate() {
        let field = |name: &str| format!("spec.syncWindows[{index}].{name}");
        match text(window, &["kind"]) {
            "" => cx.required(field("kind"), "must be allow or deny"),
            _ => cx.one_of(field("kind"), &window["kind"], &["allow", "deny"]),
        }
        let schedule = text(window, &["schedule"]);
        if schedule.starts_with("@every") {
            let why = "a window begins at times of the day, not every so often since it was made";
            cx.invalid(field("schedule"), &schedule.into(), why);
        } else {
            timetable::schedule(&field("schedule"), schedule, &mut cx);
        }
        timetable::time_zone(&field("timeZone"), &window["timeZone"], &mut cx);
        match text(window, &["duration"]).parse::<SignedDuration>() {
            Ok(duration) if duration > SignedDuration::ZERO && duration <= LONGEST => {}
            Ok(_) => cx.invalid(field("duration"), &window["duration"], "must be more than 0 and at most 8784h"),
            Err(_) if text(window, &["duration"]).is_empty() => cx.required(field("duration"), "e.g. 8h"),
            Err(_) => cx.invalid(field("duration"), &window["duration"], "must be a duration, e.g. 8h or 1h30m"),
        }
    }
    cx.errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(window: Value) -> Vec<String> {
        validate(&json!({"syncWindows": [window]})).into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn windows_are_checked_field_by_field() {
        let good = json!({"kind": "deny", "schedule": "0 9 * * 1-5", "duration": "8h", "timeZone": "Europe/Berlin"});
        assert!(wrong(good.clone()).is_empty());
        let with = |field: &str, value: Value| {
            let mut window = good.clone();
            window[field] = value;
            wrong(window)
        };
        for (field, value) in [
            ("kind", json!("block")),
            ("kind", json!("")),
            ("schedule", json!("every day")),
            ("schedule", json!("@every 1h")),
            ("schedule", json!("TZ=UTC 0 9 * * *")),
            ("duration", json!("0s")),
            ("duration", json!("9000h")),
            ("duration", json!("long")),
            ("duration", Value::Null),
            ("timeZone", json!("Mars/Base")),
            ("timeZone", json!("Local")),
        ] {
            let fields = with(field, value.clone());
            assert!(!fields.is_empty(), "{field}: {value}");
            assert!(fields.iter().all(|wrong| *wrong == format!("spec.syncWindows[0].{field}")), "{fields:?}");
        }
        assert!(wrong(json!({})).len() >= 3);
    }
}
