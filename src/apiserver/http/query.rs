//! Query strings as clients write them: `+` for space, repeated keys, stray separators.

use crate::api::error::ApiError;

/// Decoded pairs in the order sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(raw: Option<&str>) -> Self {
        let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Self::default() };
        let pairs = raw.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value; empty values count as absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.clone()).collect()
    }

    /// A key without a value counts as true, as in Kubernetes' conversion of query parameters.
    pub fn flag(&self, key: &str) -> bool {
        self.flag_given(key).unwrap_or(false)
    }

    pub fn flag_given(&self, key: &str) -> Option<bool> {
        let (_, value) = self.0.iter().find(|(k, _)| k == key)?;
        Some(!matches!(value.as_str(), "false" | "0" | "f" | "F" | "False" | "FALSE"))
    }

    /// A number, or 400 naming the parameter.
    pub fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax (parameter {key})"))
        })
    }
}

/// Percent-decoding; `plus` turns `+` into a space (query strings, not paths).
pub fn decode(text: &str, plus: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_string();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
        let hex = || u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok();
        match (bytes[at], hex()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerates_what_clients_send() {
        let query = Query::parse(Some("?&a=b&command=x&command=y+z&stdin=false&tty&n=%7B1%7D&"));
        assert_eq!(query.get("a"), Some("b"));
        assert_eq!(query.all("command"), ["x", "y z"]);
        assert_eq!((query.flag("stdin"), query.flag("tty"), query.flag("none")), (false, true, false));
        assert_eq!(query.get("n"), Some("{1}"));
        assert!(query.number("a").is_err());
        assert_eq!(decode("%+1%4", false), "%+1%4", "no digits, no byte");
    }
}
