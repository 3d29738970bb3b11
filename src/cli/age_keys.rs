//! The age keys of whoever runs selkie, where `sops` looks for them.

use super::CliError;
use super::settings::home;
use crate::gitops::sops::{self, Keys};
use crate::gitops::sources::Snapshot;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const KEY: &str = "SOPS_AGE_KEY";
const FILE: &str = "SOPS_AGE_KEY_FILE";

/// With encrypted files decrypted by these keys. They are looked for only where there are such files.
pub fn decrypted(snapshot: Snapshot) -> Result<Snapshot, CliError> {
    if !sops::has_encrypted(&snapshot) {
        return Ok(snapshot);
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let text = set(KEY).map(|text| text.to_string_lossy().into_owned());
    let file = set(FILE).map(PathBuf::from);
    let keys = keys(text.as_deref(), file.as_deref(), home("XDG_CONFIG_HOME", ".config").as_deref())?;
    Ok(sops::decrypt(snapshot, &keys))
}

/// The keys of all three places. The file that is named must be there, the one in the configuration need not.
fn keys(text: Option<&str>, named: Option<&Path>, configuration: Option<&Path>) -> Result<Keys, CliError> {
    let default = configuration.map(|folder| folder.join("sops/age/keys.txt"));
    let shown = default.as_ref().map(|path| format!(" and {}", path.display())).unwrap_or_default();
    let mut keys = Keys::of(format!("{KEY}, {FILE}{shown}"));
    let bad = |why: String| CliError::new(format!("the age keys cannot be read: {why}"));
    if let Some(text) = text {
        keys.read(KEY, text).map_err(bad)?;
    }
    for path in [named, default.as_deref()].into_iter().flatten() {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => keys.read(&name, &text).map_err(bad)?,
            Err(error) if error.kind() == ErrorKind::NotFound && named != Some(path) => {}
            Err(error) => return Err(bad(format!("{name}: {error}"))),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_read_from_all_places_and_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (named, configuration) = (folder.path().join("named"), folder.path().join("config"));
        assert_eq!(keys(None, None, Some(&configuration)).unwrap(), {
            let default = configuration.join("sops/age/keys.txt");
            Keys::of(format!("SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and {}", default.display()))
        });
        let missing = format!("{:?}", keys(None, Some(&named), None).unwrap_err());
        assert!(missing.contains("named: No such file"), "{missing}");
        std::fs::write(&named, "# created: 2026-01-01\n\nAGE-SECRET-KEY-1HUSH\n").unwrap();
        let wrong = format!("{:?}", keys(None, Some(&named), None).unwrap_err());
        assert!(wrong.contains("named, line 3: this is no age key"), "{wrong}");
        assert!(!wrong.contains("HUSH"), "{wrong}");
        let wrong = format!("{:?}", keys(Some("ssh-ed25519 hush"), None, None).unwrap_err());
        assert!(wrong.contains("SOPS_AGE_KEY, line 1") && !wrong.contains("hush"), "{wrong}");
    }
}
