//! Values that flags of several verbs take.

use super::CliError;
use std::time::Duration;

/// A time as kubectl takes it: `90s`, `5m`, `1h30m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time: expected e.g. 90s, 5m or a number of seconds");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// Reads each `NAME=VALUE`. A value may be secret, and is in no error.
pub fn substitutions(texts: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pair = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let pairs: Option<Vec<_>> = texts.iter().map(pair).collect();
    pairs.ok_or_else(|| CliError::new("--substitute: expected NAME=VALUE, found no =").code(2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_read_as_kubectl_does() {
        let seconds = |text: &str| duration(text).unwrap().as_secs();
        assert_eq!(["90", "90s", "5m", "1h30m", "0"].map(seconds), [90, 90, 300, 5400, 0]);
        assert!(duration("soon").unwrap_err().contains("5m") && duration("-3s").is_err());
    }
}
