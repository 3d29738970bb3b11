//! `selkie plan`: what an apply would change, computed by the API server itself.

use super::connection::Connection;
use super::manifests::{self, Manifests};
use super::output::{self, Format};
use super::{CliError, Global};
use crate::daemon::Mode;
use crate::gitops::sync;
use clap::Args;
use std::process::ExitCode;

/// Show what applying the manifests would change
#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    manifests: Manifests,
    /// Take over fields that someone else set
    #[arg(long)]
    force_conflicts: bool,
    /// Exit with 2 when there are changes, 0 when there are none
    #[arg(long)]
    detailed_exitcode: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Plan {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let (registry, rendered) = self.manifests.resolve(&global).await?;
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let options = sync::Options { force: self.force_conflicts, ..sync::Options::default() };
        let outcome = sync::plan_once(&connection.client, &registry, &rendered, &options).await;
        connection.close().await;
        let outcome = outcome.map_err(|error| manifests::refused(&error))?;
        anstream::print!("{}", output::report(&outcome.report, self.output));
        let changes = self.detailed_exitcode && !outcome.report.is_empty();
        Ok(if changes { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }
}
