//! `selkie apply`: one change set, all or nothing, then wait until it is ready.

use super::app::requests::Waiting;
use super::connection::Connection;
use super::hosts::HostArgs;
use super::manifests::{self, Manifests};
use super::output::{self, Format, Printer};
use super::plan::{complete, input, saved::Saved};
use super::values::duration;
use super::{CliError, Global};
use crate::api::registry::Registry;
use crate::daemon::Mode;
use crate::gitops::plan::{Report, Totals};
use crate::gitops::render::Rendered;
use crate::gitops::sync::{self, Event, Reporter, wait};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Make the cluster what the manifests say, and wait until it is ready
#[derive(Args)]
pub struct Apply {
    /// A plan saved by `selkie plan --out`: do exactly that, or refuse and show what moved
    #[arg(value_name = "PLAN", conflicts_with_all = ["filename", "kustomize", "force_conflicts", "adopt", "replace"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    manifests: Manifests,
    /// Wait until what was applied is ready
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    wait: bool,
    /// How long to wait: 90s, 5m, or a number of seconds
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
    /// Take over fields that someone else set
    #[arg(long)]
    force_conflicts: bool,
    /// Take over what applications hold, which then let go of it for good, and what others set
    #[arg(long)]
    adopt: bool,
    /// Delete and make again what cannot change in place
    #[arg(long)]
    replace: bool,
    /// none; or server: show what would happen
    #[arg(long, value_parser = ["none", "server"], default_value = "none", value_name = "WHERE")]
    dry_run: String,
    /// Output format of what changed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    // The last: what follows would be under its last heading.
    #[command(flatten)]
    hosts: HostArgs,
}

impl Apply {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let printer = Printer::stderr();
        global.start_logging(printer.above())?;
        let saved = self.plan.as_deref().map(Saved::read).transpose()?;
        let (registry, rendered) = match &saved {
            Some(saved) => saved.resolve(&global).await?,
            None => self.manifests.resolve(&global).await?,
        };
        let dry_run = self.is_dry_run();
        if let Some((saved, name)) = saved.as_ref().and_then(|saved| Some((saved, saved.application()?))) {
            return self.by_application(&global, &registry, saved, name).await;
        }
        // Nothing will be applied of a source with errors: no hosts are needed to say so.
        let mode = if dry_run || !rendered.errors.is_empty() { Mode::ReadOnly } else { Mode::OneShot };
        let mut hosts = Ok(());
        let connection = Connection::to_any(&global, mode, |options| hosts = self.hosts.set(options)).await?;
        let result = match hosts {
            Ok(()) => self.apply(&connection, &registry, &rendered, saved.as_ref(), &printer).await,
            Err(error) => Err(error),
        };
        connection.close().await;
        result
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run == "server"
    }

    /// Has the daemon do what the plan of an application says.
    async fn by_application(
        &self,
        global: &Global,
        registry: &Registry,
        saved: &Saved,
        name: &str,
    ) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(global).await?;
        let checked = saved.check(&connection.client, registry).await?;
        if self.is_dry_run() {
            anstream::print!("{}", output::report(&checked, self.output));
            return Ok(ExitCode::SUCCESS);
        }
        let waiting = Waiting { wait: self.wait, timeout: self.timeout, output: self.output };
        waiting.ask(global, name, &saved.request(&checked)).await
    }

    async fn apply(
        &self,
        connection: &Connection,
        registry: &Registry,
        rendered: &Rendered,
        saved: Option<&Saved>,
        printer: &Printer,
    ) -> Result<ExitCode, CliError> {
        let begun = Instant::now();
        let options = match saved {
            Some(saved) => {
                saved.check(&connection.client, registry).await?;
                saved.options(&connection.client).await?
            }
            None => {
                let (force, adopt, replace) = (self.force_conflicts, self.adopt, self.replace);
                let health = input::health_of(rendered);
                sync::Options {
                    force,
                    adopt,
                    replace,
                    health,
                    stage_limit: Some(self.timeout),
                    ..sync::Options::default()
                }
            }
        };
        let dry_run = self.is_dry_run();
        if !dry_run {
            let how = sync::InOrder { reporter: printer, limit: self.timeout, to_the_end: self.wait };
            let show = |report: &Report| anstream::print!("{}", output::report(report, self.output));
            let staged = sync::apply_in_order(&connection.client, registry, rendered, &options, &how, show);
            if let Some(waited) = staged.await.map_err(|error| manifests::refused(&error))? {
                if !self.wait && waited.failed.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
                return Ok(ended(printer, waited, Totals::default(), begun));
            }
        }
        let how = if dry_run { sync::How::LookAhead } else { sync::How::Apply };
        let outcome = sync::once(&connection.client, registry, rendered, &options, how).await;
        let outcome = outcome.map_err(|error| manifests::refused(&error))?;
        anstream::print!("{}", output::report(&outcome.report, self.output));
        complete(&outcome.report)?;
        let waiting = outcome.to_wait_for(&options.health);
        if dry_run || !self.wait || waiting.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let wait = wait::Wait {
            client: &connection.client,
            kinds: registry,
            health: &options.health,
            limit: self.timeout,
            application: "",
            reporter: printer,
            patience: Duration::ZERO,
            give_up: None,
            settle: wait::SETTLED,
            moved: None,
        };
        let waited = wait.until_ready(&waiting, &mut wait::Memory::default()).await;
        Ok(ended(printer, waited, outcome.report.totals(), begun))
    }
}

/// Tells what came of it.
fn ended(printer: &Printer, waited: wait::Waited, totals: Totals, begun: Instant) -> ExitCode {
    let failed = !waited.failed.is_empty();
    let summary = sync::Summary {
        revision: String::new(),
        totals,
        ready: waited.ready,
        failed: waited.failed,
        elapsed: begun.elapsed().saturating_sub(waited.settled),
    };
    printer.event("", Event::Done(summary));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
