//! Helpers for table columns and cells: column lists from a compact form, ages, image lists.

use super::Column;
use super::json::{at, integer, list, text};
use jiff::Timestamp;
use serde_json::Value;

/// Columns from `Name:type[:format][:priority]` items separated by `, `, e.g.
/// `Name:string:name, Age:string, IP:string:1`.
pub fn columns(spec: &str) -> Vec<Column> {
    spec.split(", ").map(column).collect()
}

fn column(spec: &str) -> Column {
    // A column's own name may hold a colon only inside a type of ours, never in Kubernetes' tables.
    let mut parts = spec.split(':');
    let name = parts.next().unwrap_or_default();
    let kind = parts.next().unwrap_or("string");
    let (mut format, mut priority) = ("", 0);
    for part in parts {
        match part.parse() {
            Ok(number) => priority = number,
            Err(_) => format = part,
        }
    }
    Column {
        name: name.into(),
        kind: kind.into(),
        format: format.into(),
        priority,
        description: if name == "Age" { "CreationTimestamp of the object".into() } else { String::new() },
    }
}

/// `metadata.name` as a cell.
pub fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

/// The age of an object, as kubectl shows it.
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, &["metadata", "creationTimestamp"]), now).into()
}

/// How long ago an RFC 3339 time was: `<unknown>` when absent.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human_duration(now.as_second() - time.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

/// A duration as Kubernetes' `HumanDuration` prints it: two units at most, the finer dropped as it
/// stops to matter.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{part}"),
    };
    let s = seconds;
    if s < -1 {
        "<invalid>".into()
    } else if s < 2 * MINUTE {
        format!("{}s", s.max(0))
    } else if s < 10 * MINUTE {
        two(s / MINUTE, "m", s % MINUTE, "s")
    } else if s < 3 * HOUR {
        format!("{}m", s / MINUTE)
    } else if s < 8 * HOUR {
        two(s / HOUR, "h", s / MINUTE % 60, "m")
    } else if s < 2 * DAY {
        format!("{}h", s / HOUR)
    } else if s < 8 * DAY {
        two(s / DAY, "d", s / HOUR % 24, "h")
    } else if s < 2 * YEAR {
        format!("{}d", s / DAY)
    } else if s < 8 * YEAR {
        two(s / YEAR, "y", s / DAY % 365, "d")
    } else {
        format!("{}y", s / YEAR)
    }
}

/// The text, or `<none>` when empty.
pub fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// An integer field as a number, 0 when absent.
pub fn number(object: &Value, path: &[&str]) -> i64 {
    integer(object, path).unwrap_or(0)
}

/// Container names and images of a pod spec, comma separated: the cells `Containers` and `Images`.
pub fn containers(pod_spec: &Value) -> (Value, Value) {
    let join = |field| list(pod_spec, &["containers"]).iter().map(|c| text(c, &[field])).collect::<Vec<_>>().join(",");
    (join("name").into(), join("image").into())
}

/// `a=b,c=d` of a map of strings, `<none>` when empty.
pub fn pairs(map: &Value) -> String {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// A label selector as `metav1.FormatLabelSelector` prints it.
pub fn selector(selector: &Value) -> String {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .chain(list(selector, &["matchExpressions"]).iter().map(expression))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_values()
        .collect();
    if parts.is_empty() {
        parts.push("<none>".into());
    }
    parts.join(",")
}

fn expression(requirement: &Value) -> (String, String) {
    let key = text(requirement, &["key"]);
    let mut values: Vec<&str> = list(requirement, &["values"]).iter().filter_map(Value::as_str).collect();
    values.sort_unstable();
    let values = values.join(",");
    let printed = match text(requirement, &["operator"]) {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_string(),
    };
    (key.to_string(), printed)
}

/// The status (`True`, `False`, `Unknown`) of a condition in `status.conditions`.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    list(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == kind)
        .map(|condition| text(condition, &["status"]))
}

/// An int-or-string as text, or `otherwise` when absent.
pub fn int_or_string(object: &Value, path: &[&str], otherwise: &str) -> String {
    match at(object, path) {
        Value::String(text) => text.clone(),
        Value::Null => otherwise.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        let minute = 60;
        let hour = 3600;
        let day = 24 * hour;
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (9 * minute + 59, "9m59s"),
            (10 * minute + 3, "10m"),
            (3 * hour, "3h"),
            (3 * hour + 5 * minute, "3h5m"),
            (8 * hour + 5 * minute, "8h"),
            (2 * day + hour, "2d1h"),
            (8 * day + hour, "8d"),
            (2 * 365 * day + day, "2y1d"),
            (9 * 365 * day, "9y"),
        ] {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn columns_take_type_format_and_priority() {
        let columns = columns("Name:string:name, Port(s):string, IP:string:1, Attacher:string:name:1");
        let read: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.format.as_str(), c.priority)).collect();
        assert_eq!(read, [("Name", "name", 0), ("Port(s)", "", 0), ("IP", "", 1), ("Attacher", "name", 1)]);
    }
}
