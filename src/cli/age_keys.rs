//! The age keys of whoever runs selkie, where `sops` looks for them.

use super::CliError;
use super::settings::home;
use crate::gitops::sops::{self, Keys};
use crate::gitops::sources::Snapshot;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const KEY: &str = "SOPS_AGE_KEY";
const FILE: &str = "SOPS_AGE_KEY_FILE";
const COMMAND: &str = "SOPS_AGE_KEY_CMD";

/// With encrypted files decrypted by these keys. They are looked for only where there are such files.
pub fn decrypted(snapshot: Snapshot) -> Result<Snapshot, CliError> {
    if !sops::has_encrypted(&snapshot) {
        return Ok(snapshot);
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let text = |name: &str| set(name).map(|text| text.to_string_lossy().into_owned());
    let places = Places {
        text: text(KEY),
        file: set(FILE).map(PathBuf::from),
        command: text(COMMAND),
        configuration: home("XDG_CONFIG_HOME", ".config"),
    };
    let keys = places.keys().map_err(|why| CliError::new(format!("the age keys cannot be read: {why}")))?;
    Ok(sops::decrypt(snapshot, &keys))
}

/// Where keys are. All places count.
#[derive(Default)]
struct Places {
    text: Option<String>,
    /// Must be there.
    file: Option<PathBuf>,
    /// Prints them. It may ask whoever runs it.
    command: Option<String>,
    /// Need not have any.
    configuration: Option<PathBuf>,
}

impl Places {
    fn keys(&self) -> Result<Keys, String> {
        let default = self.configuration.as_ref().map(|folder| folder.join("sops/age/keys.txt"));
        let shown = default.as_ref().map(|path| format!(" and {}", path.display())).unwrap_or_default();
        let mut keys = Keys::of(format!("{KEY}, {FILE}, {COMMAND}{shown}"));
        if let Some(text) = &self.text {
            keys.read(KEY, text)?;
        }
        if let Some(command) = &self.command {
            keys.read(COMMAND, &printed(command).map_err(|why| format!("{COMMAND}: {why}"))?)?;
        }
        for path in self.file.iter().chain(&default) {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => keys.read(&name, &text)?,
                Err(error) if error.kind() == ErrorKind::NotFound && self.file.as_ref() != Some(path) => {}
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        Ok(keys)
    }
}

/// What a command prints. As with SOPS, there is no shell around it; its arguments may be secrets.
fn printed(command: &str) -> Result<String, String> {
    let words = shlex::split(command).ok_or("a quote is not closed")?;
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("what {program} prints is not text"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    const HUSH: &str = "AGE-SECRET-KEY-1HUSH";

    fn wrong(places: Places) -> String {
        let told = places.keys().unwrap_err();
        assert!(!told.to_lowercase().contains("hush"), "{told}");
        told
    }

    #[test]
    fn keys_are_read_from_all_places_and_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (named, configuration) = (folder.path().join("named"), folder.path().join("config"));
        let places = Places { configuration: Some(configuration.clone()), ..Places::default() };
        assert_eq!(places.keys().unwrap(), {
            let default = configuration.join("sops/age/keys.txt");
            Keys::of(format!("SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, SOPS_AGE_KEY_CMD and {}", default.display()))
        });
        let file = || Places { file: Some(named.clone()), ..Places::default() };
        assert!(wrong(file()).contains("named: No such file"));
        std::fs::write(&named, format!("# created: 2026-01-01\n\n{HUSH}\n")).unwrap();
        assert!(wrong(file()).contains("named, line 3: this is no age key"));
        let text = Places { text: Some("ssh-ed25519 hush".into()), ..Places::default() };
        assert!(wrong(text).contains("SOPS_AGE_KEY, line 1"));
    }

    #[test]
    fn a_command_prints_keys_and_is_not_told_either() {
        let command = |text: &str| Places { command: Some(text.into()), ..Places::default() };
        let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gitops/sops/fixtures/one.txt");
        let text = std::fs::read_to_string(&key).unwrap();
        let by_text = Places { text: Some(text), ..Places::default() }.keys();
        assert_eq!(command(&format!("cat '{}'", key.display())).keys(), by_text);
        for (text, expected) in [
            (&*format!("echo {HUSH}"), "SOPS_AGE_KEY_CMD, line 1: this is no age key"),
            ("false hush", "SOPS_AGE_KEY_CMD: false failed: exit status: 1"),
            ("/nonexistent/program hush", "SOPS_AGE_KEY_CMD: /nonexistent/program cannot be run: No such file"),
            ("echo 'hush", "SOPS_AGE_KEY_CMD: a quote is not closed"),
            (" ", "SOPS_AGE_KEY_CMD: there is no command"),
        ] {
            let told = wrong(command(text));
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
