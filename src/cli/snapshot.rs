//! `selkie snapshot export`: the cluster's objects in a file, for plans where no cluster is: in CI.

mod file;
mod redact;

pub use file::SnapshotFile;

use super::connection::Connection;
use super::{CliError, Global};
use crate::client::raw;
use crate::controllers::objects;
use crate::daemon::Mode;
use crate::daemon::paths::write_private;
use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keep the state of the cluster in a file
#[derive(Args)]
pub struct Snapshot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Export(Export),
}

/// Write all objects to a file, for `selkie plan --snapshot FILE`
#[derive(Args)]
struct Export {
    /// Put fingerprints in the place of Secrets' values: a plan sees that they change, nobody sees them
    #[arg(long)]
    redacted: bool,
    /// The file; - for standard output, which is where it goes without one. Not redacted, Secrets are shown
    /// on a terminal only if - asks for it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Export {
    /// Secrets' values must not end up on a screen, and in its scrollback, by leaving out a word.
    fn refuse_to_show(&self, terminal: bool) -> Result<(), CliError> {
        if self.file.is_some() || self.redacted || !terminal {
            return Ok(());
        }
        Err(CliError::new("this would show all Secrets on the terminal: nothing was written")
            .code(2)
            .hint("name a file, take --redacted to put fingerprints in the place of their values, or - to show them"))
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<Value>>,
}

/// Kinds that say nothing about what is wanted or what runs.
const LEFT_OUT: [&str; 2] = ["Event", "Lease"];

impl Snapshot {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let Verb::Export(export) = self.verb;
        export.refuse_to_show(std::io::stdout().is_terminal())?;
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let read = read(&connection.client).await;
        connection.close().await;
        let mut snapshot = SnapshotFile::new(read?);
        if export.redacted {
            snapshot.redact_objects();
        }
        let text = snapshot.text()?;
        match export.file.filter(|file| file.as_os_str() != "-") {
            None => print!("{text}"),
            Some(file) => {
                let failed = |error| CliError::new(format!("cannot write {}: {error}", file.display()));
                write_private(&file, text.as_bytes()).map_err(failed)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn read(client: &kube::Client) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for resource in objects::deletable(client).await? {
        if LEFT_OUT.contains(&resource.kind.as_str()) {
            continue;
        }
        let body = raw::request(client, Method::GET, &resource.collection(""), None).await?;
        let list: List = serde_json::from_slice(&body)?;
        for mut item in list.items.unwrap_or_default() {
            item["apiVersion"] = resource.api_version.as_str().into();
            item["kind"] = resource.kind.as_str().into();
            all.push(item);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_on_a_terminal_only_if_asked_for() {
        let export = |redacted, file: Option<&str>| Export { redacted, file: file.map(PathBuf::from) };
        assert!(export(false, None).refuse_to_show(true).is_err());
        assert!(export(false, None).refuse_to_show(false).is_ok(), "a pipe");
        for allowed in [export(true, None), export(false, Some("-")), export(false, Some("f.json"))] {
            assert!(allowed.refuse_to_show(true).is_ok());
        }
    }
}
