//! Values that flags of several verbs take.

use super::CliError;
use crate::gitops::application::Helm;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// How a Helm chart is rendered, where the source is one.
#[derive(Args)]
pub struct HelmFlags {
    /// Of a Helm chart: a YAML file with values, which cover those of the chart
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Of a Helm chart: the release's name
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
}

impl HelmFlags {
    /// `None`: nothing is said.
    pub fn options(&self) -> Result<Option<Helm>, CliError> {
        if self.values.is_none() && self.release.is_none() {
            return Ok(None);
        }
        let values = match &self.values {
            Some(path) => values_of(path)?,
            None => serde_json::Value::Null,
        };
        Ok(Some(Helm { release_name: self.release.clone().unwrap_or_default(), values, ..Helm::default() }))
    }
}

fn values_of(path: &std::path::Path) -> Result<serde_json::Value, CliError> {
    let bad = |why: String| CliError::new(format!("--values {}: {why}", path.display())).code(2);
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let documents = crate::gitops::render::yaml::documents(&path.display().to_string().into(), &text);
    let mut documents = documents.map_err(|error| bad(error.to_string()))?.into_iter();
    match (documents.next().map(|document| document.value), documents.next()) {
        (Some(values), None) if values.is_object() => Ok(values),
        _ => Err(bad("expected a map of values".to_owned())),
    }
}

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
