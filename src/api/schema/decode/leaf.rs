//! Values without parts: checks, and the form they are stored in.

use super::time;
use crate::api::quantity::{Quantity, QuantityError};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use serde_json::Value;

/// A float that is a whole number, as YAML and JavaScript may write one.
pub fn whole(number: f64) -> Option<i64> {
    // 2^53: beyond, a float no longer says which whole number it is.
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

pub fn quantity(text: &str) -> Result<Value, String> {
    text.trim().parse::<Quantity>().map(|quantity| quantity.to_string().into()).map_err(|e| e.to_string())
}

pub fn no_quantity() -> String {
    QuantityError::Format.to_string()
}

/// As lenient as Go: bits beyond the last byte do not matter.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Base64 in canonical form, line breaks removed.
pub fn base64(text: &str) -> Result<Value, String> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let at = match BASE64.decode(&plain) {
        Ok(bytes) => return Ok(BASE64.encode(bytes).into()),
        Err(base64::DecodeError::InvalidByte(at, _)) => at,
        Err(_) => plain.len().saturating_sub(1) / 4 * 4,
    };
    Err(format!("illegal base64 data at input byte {at}"))
}

/// RFC 3339 in UTC, whole seconds.
pub fn time(text: &str) -> Result<Value, String> {
    time::seconds(text).map(Value::from)
}

/// RFC 3339 in UTC with microseconds.
pub fn micro_time(text: &str) -> Result<Value, String> {
    time::micros(text).map(Value::from)
}

/// Go's duration syntax: `1h30m`, `-1.5s`, `0`. Kept as written.
pub fn duration(text: &str) -> Result<Value, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut rest = unsigned;
    let mut parts = 0;
    while !rest.is_empty() && unsigned != "0" {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = &rest[..rest.len() - number.len()];
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().filter(|unit| number.starts_with(unit));
        let Some(unit) = unit.max_by_key(|unit| unit.len()) else { return Err(not_a_duration(text)) };
        if digits.parse::<f64>().is_err() {
            return Err(not_a_duration(text));
        }
        rest = &number[unit.len()..];
        parts += 1;
    }
    if parts == 0 && unsigned != "0" { Err(not_a_duration(text)) } else { Ok(text.into()) }
}

fn not_a_duration(text: &str) -> String {
    format!("time: invalid duration {text:?}")
}
