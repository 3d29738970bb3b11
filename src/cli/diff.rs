//! `selkie diff`: the layers of difference: manifests against the API, the API against Podman.

use super::actual;
use super::connection::Connection;
use super::manifests::{self, Manifests};
use super::output::{self, Format};
use super::{CliError, Global};
use crate::daemon::Mode;
use crate::gitops::sync;
use clap::Args;
use std::process::ExitCode;

/// Show how the manifests, the API and the containers differ
///
/// Exits with 0 when they agree, 1 when they differ, more on errors.
#[derive(Args)]
pub struct Diff {
    #[command(flatten)]
    manifests: Manifests,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Diff {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        self.compare(global).await.map_err(|error| error.code(2))
    }

    async fn compare(self, global: Global) -> Result<ExitCode, CliError> {
        let (registry, rendered) = self.manifests.resolve(&global).await?;
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let options = sync::Options { force: true, ..sync::Options::default() };
        let outcome = sync::once(&connection.client, &registry, &rendered, &options, sync::How::DryRun).await;
        let containers = actual::compare(&connection.client, &global).await;
        connection.close().await;
        let outcome = outcome.map_err(|error| manifests::refused(&error))?;
        let containers = containers?;
        match self.output {
            Format::Json => print!("{}", output::json::json_with(&outcome.report, "containers", &containers)),
            Format::Yaml => print!("{}", output::json::yaml_with(&outcome.report, "containers", &containers)),
            Format::Text | Format::Name | Format::Markdown => {
                anstream::print!("{}", output::report(&outcome.report, self.output))
            }
        }
        if self.output == Format::Text {
            anstream::eprint!("{}", containers.omissions());
            anstream::print!("{}", containers.text());
        }
        Ok(if outcome.report.is_empty() && containers.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
