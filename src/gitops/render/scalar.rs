//! What a plain YAML scalar means to Kubernetes.
//!
//! The rules are those of Go's sigs.k8s.io/yaml (YAML 1.1 as go-yaml v2 reads it): `yes`, `on` and
//! `y` are booleans, `0644` is octal, `1_000` is a number, `1:30` and dates are strings. Manifests
//! that kubectl accepts must mean the same here.

use serde_json::{Number, Value};

/// The value of an unquoted scalar, or why it has none in JSON.
pub fn plain(text: &str) -> Result<Value, String> {
    if let Some(value) = word(text) {
        return Ok(value);
    }
    if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
    {
        return Err(format!("{text} is a floating point value that JSON does not have"));
    }
    Ok(number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// A scalar with an explicit tag of the core schema (`!!str`, `!!int`...), whatever its quotes.
pub fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    let value = match tag {
        "str" => return Ok(Value::String(text.to_owned())),
        "binary" => return binary(text),
        "null" | "bool" => word(text),
        "int" => number(text).filter(|n| !n.is_f64()).map(Value::Number),
        "float" => number(text).map(Value::Number),
        _ => return Ok(Value::String(text.to_owned())),
    };
    let fits = match tag {
        "null" => value.as_ref().is_some_and(Value::is_null),
        "bool" => value.as_ref().is_some_and(Value::is_boolean),
        _ => true,
    };
    value.filter(|_| fits).ok_or_else(|| format!("cannot read {text:?} as !!{tag}"))
}

fn binary(text: &str) -> Result<Value, String> {
    use base64::Engine;
    let compact: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map_err(|e| format!("!!binary value contains invalid base64 data: {e}"))?;
    String::from_utf8(bytes).map(Value::String).map_err(|_| "!!binary value is not text".to_owned())
}

fn word(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => return None,
    })
}

fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    if first == b'.' {
        // Go takes underscores out of numbers that begin with a digit or sign only.
        return float(text);
    }
    let compact = text.replace('_', "");
    integer(&compact).or_else(|| float(&compact))
}

/// As Go's `strconv.ParseInt(s, 0, 64)`: a prefix chooses the base, a bare leading zero is octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = i64::try_from(-i128::from(magnitude)).ok()?;
        return Some(Number::from(value));
    }
    Some(Number::from(magnitude))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`; whole values become integers, as Go's
/// JSON encoder prints them.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let starts_well = !whole.is_empty() || !fraction.is_empty();
    if !starts_well || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !all_digits(digits) {
            return None;
        }
    }
    let value: f64 = text.parse().ok()?;
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// The JSON name of a map key: numbers and booleans become text, as sigs.k8s.io/yaml does.
pub fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_read_as_kubernetes_reads_them() {
        for (text, value) in [
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("08", json!(8)),
            ("0x1F", json!(31)),
            ("-0b11", json!(-3)),
            ("1_000", json!(1000)),
            ("+5", json!(5)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.0", json!(1)),
            ("1e3", json!(1000)),
            (".5", json!(0.5)),
            ("5.", json!(5)),
            ("0.1", json!(0.1)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("~", json!(null)),
            ("", json!(null)),
            ("tRuE", json!("tRuE")),
            ("1:30", json!("1:30")),
            ("2024-01-01", json!("2024-01-01")),
            ("1.2.3", json!("1.2.3")),
            ("100m", json!("100m")),
            ("1e", json!("1e")),
            ("-", json!("-")),
            (".", json!(".")),
            ("_1", json!("_1")),
            (".5_0", json!(".5_0")),
            ("nullable", json!("nullable")),
        ] {
            assert_eq!(plain(text).unwrap(), value, "{text:?}");
        }
        assert!(plain(".inf").is_err());
        assert!(plain("-.Inf").is_err());
        assert!(plain(".nan").is_err());
    }

    #[test]
    fn tags_force_the_type() {
        assert_eq!(tagged("str", "yes").unwrap(), json!("yes"));
        assert_eq!(tagged("int", "12").unwrap(), json!(12));
        assert_eq!(tagged("binary", "aGk=").unwrap(), json!("hi"));
        assert!(tagged("int", "x").is_err());
        assert!(tagged("bool", "~").is_err());
    }
}
