//! `selkie plan`: what an apply would change, and what the cluster would do because of it. The real
//! chain says so, on a copy of the cluster: of the daemon's, of the data directory, or of a snapshot.

pub mod input;
pub mod saved;

use super::connection::Connection;
use super::manifests;
use super::output::{self, Format};
use super::snapshot::SnapshotFile;
use super::{CliError, Global};
use crate::daemon::Mode;
use crate::gitops::plan::Report;
use crate::gitops::sync;
use clap::Args;
use input::{Input, Wanted};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what applying the manifests would change, and what the cluster would then do
///
/// Runs the real controllers, scheduler and kubelets on a copy of the cluster, until nothing moves any
/// more; waves and hooks come one after the other there, too. Changes nothing. Exits with 0, or with
/// --detailed-exitcode with 2 when there are changes; with 3 when it shows what it saw but had to end before
/// nothing moved.
#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    wanted: Wanted,
    /// Take over fields that someone else set
    #[arg(long)]
    force_conflicts: bool,
    /// Take over what applications hold, which then let go of it for good, and what others set; who loses
    /// what is shown
    #[arg(long, conflicts_with = "app")]
    adopt: bool,
    /// Delete and make again what cannot change in place
    #[arg(long)]
    replace: bool,
    /// Exit with 2 when there are changes, 0 when there are none
    #[arg(long)]
    detailed_exitcode: bool,
    /// Save the plan: `selkie apply FILE` does exactly that, or refuses and shows what moved. One of an
    /// application is applied by it. Holds the manifests, Secrets too
    #[arg(long, value_name = "FILE", conflicts_with = "snapshot")]
    out: Option<PathBuf>,
    /// Plan against this file, made by `selkie snapshot export`, instead of a cluster
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Plan {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let snapshot = self.snapshot.as_deref().map(SnapshotFile::read).transpose()?;
        let connection = match &snapshot {
            Some(snapshot) => Connection { client: snapshot.serve()?, cluster: None },
            None => Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?,
        };
        let planned = self.plan(&global, &connection, snapshot.as_ref()).await;
        connection.close().await;
        let (input, outcome) = planned?;
        anstream::print!("{}", output::report(&outcome.report, self.output));
        let code = exit_code(&outcome.report, self.detailed_exitcode)?;
        if let Some(file) = &self.out {
            saved::write(file, &input, &outcome)?;
        }
        // The process is at its end: thousands of objects need not be taken apart before.
        std::mem::forget((input, outcome));
        Ok(code)
    }

    async fn plan(
        &self,
        global: &Global,
        connection: &Connection,
        snapshot: Option<&SnapshotFile>,
    ) -> Result<(Input, sync::Outcome), CliError> {
        let mut input = self.wanted.read(global, &connection.client).await?;
        input.options.force |= self.force_conflicts;
        input.options.adopt |= self.adopt;
        input.options.replace = self.replace;
        if let Some(snapshot) = snapshot {
            snapshot.redact(&mut input.rendered);
        }
        let outcome =
            sync::once(&connection.client, &input.kinds, &input.rendered, &input.options, sync::How::LookAhead).await;
        let mut outcome = outcome.map_err(|error| manifests::refused(&error))?;
        if let (Some(snapshot), Some(found)) = (snapshot, &mut outcome.report.consequences) {
            found.assumptions.push(format!("the cluster is as it was at {}", snapshot.taken));
        }
        Ok((input, outcome))
    }
}

/// Whether there are changes, where that is asked for; an error of a plan that is not known to the end.
fn exit_code(report: &Report, detailed: bool) -> Result<ExitCode, CliError> {
    complete(report)?;
    Ok(if detailed && !report.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// What a plan that was cut short exits with, once it has told what it saw.
const CUT_SHORT: u8 = 3;

/// Refuses a report of which the end is not known: nothing can be held to it.
pub fn complete(report: &Report) -> Result<(), CliError> {
    let Some(why) = report.cut_short() else { return Ok(()) };
    let hint = "nothing was saved or changed; plan less at once, or again when the machine has less to do";
    Err(CliError::new(format!("what the cluster would do is not known to the end: {why}")).hint(hint).code(CUT_SHORT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::changeset::{ChangeAction, ChangeResult};
    use crate::api::plan::Consequences;
    use crate::api::registry::Registry;

    fn report(changes: bool, cut_short: &str) -> Report {
        let action = if changes { ChangeAction::Created } else { ChangeAction::Unchanged };
        let result = ChangeResult { action, ..ChangeResult::default() };
        let mut report = Report::new(&[result], &[], &Registry::builtin());
        report.foresee(Consequences { cut_short: cut_short.to_owned(), ..Consequences::default() });
        report
    }

    #[test]
    fn exit_codes_tell_changes_and_what_is_not_known() {
        let code = |changes: bool, cut_short: &str, detailed: bool| {
            exit_code(&report(changes, cut_short), detailed).unwrap_or_else(CliError::report)
        };
        assert_eq!([code(false, "", true), code(false, "", false), code(true, "", false)], [ExitCode::SUCCESS; 3]);
        assert_eq!(code(true, "", true), ExitCode::from(2));
        let late = "looking ahead took longer than 30 s";
        assert_eq!([code(true, late, true), code(true, late, false), code(false, late, true)], [ExitCode::from(3); 3]);
    }
}
