//! `selkie app sync`, `selkie app rollback` and `selkie undo`: the daemon is asked, does it, and what
//! came of it is shown as `apply` shows it.

use super::history::{failed, kinds, revision};
use super::{api, find};
use crate::cli::connection::Connection;
use crate::cli::follow::follow;
use crate::cli::output::color::{STRONG, paint};
use crate::cli::output::{self, Format, Printer, one_line};
use crate::cli::values::duration;
use crate::cli::{CliError, Global};
use crate::gitops::application::{Application, REQUEST};
use crate::gitops::readiness::Health;
use crate::gitops::render::Rendered;
use crate::gitops::sources::short;
use crate::gitops::sync::history;
use crate::gitops::sync::{Event, Reporter, Summary, wait};
use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

#[derive(Args)]
pub struct Waiting {
    /// Wait until what was changed is ready
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub wait: bool,
    /// How long to wait: 90s, 5m, or a number of seconds
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub timeout: Duration,
    /// Output format of what changed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// Look at an application's source now, apply what it says, and wait until it is ready
///
/// Refused, as are rollback and undo, while spec.syncWindows are closed to people, too.
#[derive(Args)]
pub struct Sync {
    name: String,
    /// Also at a revision that failed and was taken back
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Sync {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        self.waiting.ask(&global, &self.name, if self.force { "sync/force" } else { "sync" }).await
    }
}

/// Return to exactly what a revision had in force, and stay there until `selkie app resume`
///
/// What came later is deleted, what was deleted is made again. Suspends the application.
#[derive(Args)]
pub struct Rollback {
    name: String,
    /// A number of `selkie app history`
    #[arg(value_name = "REV")]
    revision: u64,
    #[command(flatten)]
    waiting: Waiting,
}

impl Rollback {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        self.waiting.ask(&global, &self.name, &format!("rollback/{}", self.revision)).await
    }
}

/// Make again what the last sync of an application removed
///
/// Suspends the application until `selkie app resume` where its source still lacks the objects.
#[derive(Args)]
pub struct Undo {
    name: String,
    #[command(flatten)]
    waiting: Waiting,
}

impl Undo {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        self.waiting.ask(&global, &self.name, "undo").await
    }
}

impl Waiting {
    /// Asks the daemon, and shows what came of it.
    pub async fn ask(&self, global: &Global, name: &str, verb: &str) -> Result<ExitCode, CliError> {
        let begun = Instant::now();
        let client = Connection::to_server(global).await?.client;
        let before = find(&client, name).await?;
        let printer = Printer::stderr();
        printer.doing(name, &format!("{}: waiting for the daemon", paint(STRONG, name)));
        let after = self.request(&client, name, &format!("{verb}@{}", jiff::Timestamp::now())).await;
        printer.done(name);
        let after = after?;
        let status = &after.status;
        if !status.request_error.is_empty() {
            return Err(CliError::new(status.request_error.clone()));
        }
        // Errors of a sync are those of the source or of the API server; what runs stays as it is.
        if !status.errors.is_empty() {
            let lines: String = status.errors.iter().map(|line| format!("\n  {line}")).collect();
            return Err(CliError::new(format!("nothing was changed{lines}")));
        }
        let changed = self.show(&client, &before, &after).await?;
        if after.spec.suspend {
            let pinned = one_line(&status.pinned);
            eprintln!("{name} is suspended: {pinned}; `selkie app resume {name}` follows the source again.");
        }
        if !self.wait || !changed {
            return Ok(ExitCode::SUCCESS);
        }
        self.until_ready(&client, &after, begun, &printer).await
    }

    /// The Application once the daemon has done what is asked.
    async fn request(&self, client: &kube::Client, name: &str, request: &str) -> Result<Application, CliError> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {REQUEST: request}}}));
        api(client).patch(name, &PatchParams::default(), &patch).await?;
        let api = api(client);
        let handled = follow(&api, name, |now: Option<Application>| {
            Ok(Some(now.ok_or_else(|| deleted(name))?).filter(|now| now.status.handled_request == request))
        });
        timeout_at(Instant::now() + self.timeout, handled).await.unwrap_or_else(|_| {
            let seconds = self.timeout.as_secs();
            Err(CliError::new(format!("the daemon did not get to it within {seconds} s"))
                .hint(format!("it will, unless something holds it up: `selkie app list`; see {name}'s MESSAGE")))
        })
    }

    /// Prints what is in force now that was not before; false: nothing is.
    async fn show(&self, client: &kube::Client, before: &Application, after: &Application) -> Result<bool, CliError> {
        let (then, now) = (before.status.revision_number, after.status.revision_number);
        if then == now {
            anstream::print!("{}", output::report(&Default::default(), self.output));
            return Ok(!after.status.is_ready());
        }
        let new = revision(client, after.name(), now).await?;
        let records = history::list(client, after.name()).await.map_err(failed)?;
        // The one before may have left the history meanwhile.
        let previous = records.iter().map(|record| record.number).filter(|number| *number <= then).max();
        let old = match previous {
            Some(number) => revision(client, after.name(), number).await?,
            None => Rendered::default(),
        };
        let kinds = kinds(client, &[&old, &new]).await?;
        let report = history::compare(&old, &new, &kinds);
        anstream::print!("{}", output::report(&report, self.output));
        Ok(true)
    }

    /// The Application when the stages of its sync are through; an error, what of them failed.
    async fn last_stage(
        &self,
        client: &kube::Client,
        name: &str,
        begun: Instant,
        printer: &Printer,
    ) -> Result<Result<Application, String>, CliError> {
        let (api, mut shown) = (api(client), String::new());
        let through = follow(&api, name, |now: Option<Application>| {
            let now = now.ok_or_else(|| deleted(name))?;
            let Some(operation) = &now.status.operation else { return Ok(Some(Ok(now))) };
            let (stage, what) = operation.doing.split_once(": ").unwrap_or(("", &operation.doing));
            if shown != operation.doing {
                printer.event(name, Event::Stage { name: stage.to_owned(), what: what.to_owned() });
                shown.clone_from(&operation.doing);
            }
            let failed = now.status.condition("Ready").filter(|condition| condition.reason == "Failed");
            Ok(failed.map(|failed| Err(format!("{stage} of {name} failed: {}", failed.message))))
        });
        match timeout_at(begun + self.timeout, through).await {
            Ok(through) => through,
            Err(_) => Ok(Err(format!("{name} is not through after {} s: {shown}", self.timeout.as_secs()))),
        }
    }

    /// Whether the daemon says that the revision is ready, too: it has pods stay so for a while first. No longer than
    /// that is waited for its word.
    async fn is_agreed(
        &self,
        client: &kube::Client,
        application: &Application,
        begun: Instant,
    ) -> Result<bool, CliError> {
        let (api, name, number) = (api(client), application.name(), application.status.revision_number);
        let said = follow(&api, name, |now: Option<Application>| {
            let status = now.ok_or_else(|| deleted(name))?.status;
            Ok((status.is_ready() || status.revision_number != number).then_some(()))
        });
        let until = (begun + self.timeout).min(Instant::now() + wait::SETTLED * 3);
        timeout_at(until, said).await.map_or(Ok(false), |said| said.map(|()| true))
    }

    async fn until_ready(
        &self,
        client: &kube::Client,
        application: &Application,
        begun: Instant,
        printer: &Printer,
    ) -> Result<ExitCode, CliError> {
        let last_stage = self.last_stage(client, application.name(), begun, printer).await?;
        let application = match &last_stage {
            Ok(application) => application,
            Err(failed) => {
                eprintln!("{}", one_line(failed));
                return Ok(ExitCode::FAILURE);
            }
        };
        let number = application.status.revision_number;
        let applied = revision(client, application.name(), number).await.unwrap_or_default();
        let kinds = kinds(client, &[&applied]).await?;
        let limit = self.timeout.saturating_sub(begun.elapsed());
        let wait = wait::Wait {
            client,
            kinds: &kinds,
            health: &Health::new(&application.spec.health_checks),
            limit,
            application: application.name(),
            reporter: printer,
            patience: Duration::ZERO,
            give_up: None,
            settle: Duration::ZERO,
            moved: None,
        };
        let mut memory = wait::Memory::default();
        let mut waited = wait.until_ready(&application.status.inventory, &mut memory).await;
        if waited.failed.is_empty() && !self.is_agreed(client, application, begun).await? {
            // What was ready just now is so no more.
            waited = wait.until_ready(&application.status.inventory, &mut memory).await;
        }
        let success = waited.failed.is_empty();
        let summary = Summary {
            revision: application.status.revision.clone(),
            totals: Default::default(),
            ready: waited.ready,
            failed: waited.failed,
            elapsed: begun.elapsed(),
        };
        printer.event(application.name(), Event::Done(summary));
        if !success {
            let revision = short(&application.status.revision);
            eprintln!(
                "`selkie app rollback {} REV` returns from {revision} to an earlier revision.",
                application.name()
            );
        }
        Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn deleted(name: &str) -> CliError {
    CliError::new(format!("application {name:?} was deleted meanwhile"))
}
