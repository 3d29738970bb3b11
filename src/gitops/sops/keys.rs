//! Private keys that files may be encrypted for.

use super::age::Identity;
use k8s_openapi::api::core::v1::Secret;

/// What the entries of a Secret that hold keys are called, as in Flux.
const SUFFIX: &str = ".agekey";

/// Keys, and where they are from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    pub(super) identities: Vec<Identity>,
    /// For people: `Secret selkie-system/sops-age`.
    pub(super) place: String,
}

impl Keys {
    /// None so far, from this place.
    pub fn of(place: impl Into<String>) -> Self {
        Self { identities: Vec::new(), place: place.into() }
    }

    /// Reads the entries of a Secret that end in `.agekey`. The error holds no key.
    pub fn from_secret(secret: &Secret, place: impl Into<String>) -> Result<Self, String> {
        let mut keys = Self::of(place);
        for (name, value) in secret.data.iter().flatten().filter(|(name, _)| name.ends_with(SUFFIX)) {
            let text = std::str::from_utf8(&value.0).map_err(|_| format!("{name} is not text"))?;
            keys.read(name, text)?;
        }
        if keys.identities.is_empty() {
            return Err(format!("it holds no age key: expected an entry NAME{SUFFIX} with a line AGE-SECRET-KEY-1..."));
        }
        Ok(keys)
    }

    /// Adds the keys of a text, as `age-keygen` writes it: one a line, with comments. A line may hold several.
    pub fn read(&mut self, name: &str, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            // What is no key may have spaces; it is told as one.
            let words = if line.starts_with("-----") { vec![line] } else { line.split_whitespace().collect() };
            for word in words {
                let identity =
                    Identity::parse(word).map_err(|what| format!("{name}, line {}: this {what}", number + 1))?;
                self.identities.push(identity);
            }
        }
        Ok(())
    }
}
