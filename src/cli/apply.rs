//! `selkie apply`: one change set, all or nothing, then wait until it is ready.

use super::connection::Connection;
use super::hosts::HostArgs;
use super::manifests::{self, Manifests};
use super::output::{self, Format, Printer};
use super::values::duration;
use super::{CliError, Global};
use crate::api::registry::Registry;
use crate::daemon::Mode;
use crate::gitops::sync::{self, Event, Reporter, wait};
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Make the cluster what the manifests say, and wait until it is ready
#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    hosts: HostArgs,
    /// Wait until what was applied is ready
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    wait: bool,
    /// How long to wait: 90s, 5m, or a number of seconds
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
    /// Take over fields that someone else set
    #[arg(long)]
    force_conflicts: bool,
    /// none; or server: show what would happen
    #[arg(long, value_parser = ["none", "server"], default_value = "none", value_name = "WHERE")]
    dry_run: String,
    /// Output format of what changed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Apply {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        crate::telemetry::logging::init(&global.log)
            .map_err(|error| CliError::new(format!("--log: {error}")).code(2))?;
        let (registry, rendered) = self.manifests.resolve(&global).await?;
        let dry_run = self.dry_run == "server";
        // Nothing will be applied of a source with errors: no hosts are needed to say so.
        let mode = if dry_run || !rendered.errors.is_empty() { Mode::ReadOnly } else { Mode::OneShot };
        let mut hosts = Ok(());
        let connection = Connection::to_any(&global, mode, |options| hosts = self.hosts.set(options)).await?;
        let result = match hosts {
            Ok(()) => self.apply(&connection, &registry, &rendered, dry_run).await,
            Err(error) => Err(error),
        };
        connection.close().await;
        result
    }

    async fn apply(
        &self,
        connection: &Connection,
        registry: &Registry,
        rendered: &crate::gitops::render::Rendered,
        dry_run: bool,
    ) -> Result<ExitCode, CliError> {
        let begun = Instant::now();
        let options = sync::Options { force: self.force_conflicts, ..sync::Options::default() };
        let outcome = if dry_run {
            sync::plan_once(&connection.client, registry, rendered, &options).await
        } else {
            sync::apply_once(&connection.client, registry, rendered, &options).await
        };
        let outcome = outcome.map_err(|error| manifests::refused(&error))?;
        anstream::print!("{}", output::report(&outcome.report, self.output));
        let waiting = outcome.to_wait_for();
        if dry_run || !self.wait || waiting.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let printer = Printer::stderr();
        let limit = self.timeout;
        let wait =
            wait::Wait { client: &connection.client, kinds: registry, limit, application: "", reporter: &printer };
        let waited = wait.until_ready(&waiting, &mut wait::Memory::default()).await;
        let failed = !waited.failed.is_empty();
        printer.event(
            "",
            Event::Done(sync::Summary {
                revision: String::new(),
                totals: outcome.report.totals(),
                ready: waited.ready,
                failed: waited.failed,
                elapsed: begun.elapsed(),
            }),
        );
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
