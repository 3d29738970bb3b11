//! `selkie app history` and `selkie app diff`: what was in force when, and how it differs.

use super::find;
use crate::api::registry::Registry;
use crate::cli::connection::Connection;
use crate::cli::get::align;
use crate::cli::output::{self, Either, clean, one_line, yaml};
use crate::cli::{CliError, Global, manifests, resources};
use crate::daemon::Mode;
use crate::gitops::application::Application;
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::Report;
use crate::gitops::render::Rendered;
use crate::gitops::sources::short;
use crate::gitops::sync;
use crate::gitops::sync::history::{self, HistoryError, Record, Verdict};
use clap::Args;
use std::process::ExitCode;

/// Show what an application had in force: who made it, when, and what came of it
#[derive(Args)]
pub struct History {
    name: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

impl History {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let found = find(&connection.client, &self.name).await;
        let records = history::list(&connection.client, &self.name).await;
        connection.close().await;
        let (application, records) = (found?, records.map_err(failed)?);
        match self.output {
            Either::Json => println!("{}", serde_json::to_string_pretty(&records)?),
            Either::Yaml => print!("{}", yaml(&serde_json::to_value(&records)?)),
            Either::Text if records.is_empty() => eprintln!("Nothing of {} was applied yet.", self.name),
            Either::Text => {
                print!("{}", align(&rows(&records)));
                if !application.status.pinned.is_empty() {
                    let Application { status, .. } = &application;
                    let pinned = one_line(&status.pinned);
                    eprintln!("{pinned}; `selkie app resume {}` follows the source again.", self.name);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Newest first.
fn rows(records: &[Record]) -> Vec<Vec<String>> {
    let header = ["NUMBER", "REVISION", "APPLIED", "RESULT", "CHANGES", "AUTHOR", "WHAT"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let newest = records.last().map(|record| record.number);
    for record in records.iter().rev() {
        let result = match record.result {
            Verdict::Ready => "ready",
            Verdict::Failed => "failed",
            Verdict::Progressing if Some(record.number) == newest => "progressing",
            Verdict::Progressing => "superseded",
        };
        let totals = record.totals.unwrap_or_default();
        let commit = record.commit.as_ref();
        let subject = clean(commit.map_or(record.source.as_str(), |commit| commit.subject.as_str()));
        let author = commit.map(|commit| clean(&commit.author)).filter(|author| !author.is_empty());
        rows.push(vec![
            record.number.to_string(),
            short(&record.revision).to_owned(),
            record.applied.clone(),
            result.to_owned(),
            format!("+{} ~{} -{}", totals.add, totals.change, totals.delete),
            author.unwrap_or_else(|| "-".to_owned()),
            if record.via.is_empty() { subject } else { format!("{}: {subject}", record.via) },
        ]);
    }
    rows
}

/// Show what returning to a revision would change, or how two revisions differ
///
/// Exits with 0 when they agree, 1 when they differ, more on errors.
#[derive(Args)]
pub struct Diff {
    name: String,
    /// A number of `selkie app history`: against what runs now; or two of them: FROM..TO
    #[arg(value_name = "REV|FROM..TO")]
    revisions: Revisions,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = output::Format::Text)]
    output: output::Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Revisions {
    One(u64),
    Two(u64, u64),
}

impl std::str::FromStr for Revisions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not the number of a revision"));
        match text.split_once("..") {
            None => number(text).map(Self::One),
            Some((from, to)) => Ok(Self::Two(number(from)?, number(to)?)),
        }
    }
}

impl Diff {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await.map_err(|error| error.code(2))?;
        let report = self.compare(&connection.client).await;
        connection.close().await;
        let report = report.map_err(|error| error.code(2))?;
        anstream::print!("{}", output::report(&report, self.output));
        Ok(if report.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn compare(&self, client: &kube::Client) -> Result<Report, CliError> {
        let application = find(client, &self.name).await?;
        match self.revisions {
            Revisions::One(number) => {
                let wanted = revision(client, &self.name, number).await?;
                let kinds = kinds(client, &[&wanted]).await?;
                let outcome = sync::once(client, &kinds, &wanted, &returning(&application), sync::How::DryRun).await;
                outcome.map(|outcome| outcome.report).map_err(|error| manifests::refused(&error))
            }
            Revisions::Two(from, to) => {
                let before = revision(client, &self.name, from).await?;
                let after = revision(client, &self.name, to).await?;
                let kinds = kinds(client, &[&before, &after]).await?;
                Ok(history::compare(&before, &after, &kinds))
            }
        }
    }
}

/// How a revision is returned to: all of it, and nothing else.
fn returning(application: &Application) -> sync::Options {
    sync::Options {
        application: application.name().to_owned(),
        inventory: application.status.inventory.clone(),
        prune: true,
        prune_confirmed: true,
        force: application.spec.force.unwrap_or(false),
        ..sync::Options::default()
    }
}

pub async fn revision(client: &kube::Client, name: &str, number: u64) -> Result<Rendered, CliError> {
    history::manifests(client, name, number).await.map_err(failed)
}

pub fn failed(error: HistoryError) -> CliError {
    let error_text = CliError::chain(&error);
    match error {
        HistoryError::Missing { application, .. } => {
            CliError::new(error_text).hint(format!("`selkie app history {application}` shows them"))
        }
        _ => CliError::new(error_text),
    }
}

/// The kinds built in, and those of the cluster where that is not enough.
pub async fn kinds(client: &kube::Client, revisions: &[&Rendered]) -> Result<Registry, CliError> {
    let kinds = Registry::builtin();
    let mut objects = revisions.iter().flat_map(|revision| &revision.objects);
    if objects.any(|manifest| kinds.scope(&manifest.id.api_version, &manifest.id.kind).is_none()) {
        resources::definitions(client).await?.iter().for_each(|definition| kinds.learn(definition));
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::render::render;
    use crate::gitops::sources::{Commit, Snapshot};

    #[test]
    fn revisions_are_one_or_two_numbers() {
        assert_eq!("3".parse(), Ok(Revisions::One(3)));
        assert_eq!("3..5".parse(), Ok(Revisions::Two(3, 5)));
        assert!("abc".parse::<Revisions>().is_err() && "3..".parse::<Revisions>().is_err());
    }

    fn records() -> Vec<Record> {
        let commit = |subject: &str| {
            let (author, subject) = ("Ann <ann@host>".to_owned(), subject.to_owned());
            Some(Commit { author, subject, ..Commit::default() })
        };
        let record = |number, result, commit| Record {
            number,
            revision: "0123456789abcdef".into(),
            applied: "2026-05-01T12:00:00Z".into(),
            source: "https://host/shop.git#main".into(),
            objects: 4,
            result,
            commit,
            ..Record::default()
        };
        vec![
            record(1, Verdict::Ready, commit("Add the shop")),
            record(2, Verdict::Progressing, commit("Use the new image")),
            Record { failures: vec!["Deployment shop/web: not ready".into()], ..record(3, Verdict::Failed, None) },
            Record {
                via: "rollback to 1".into(),
                totals: Some(crate::gitops::plan::Totals { add: 1, change: 2, ..Default::default() }),
                ..record(4, Verdict::Ready, commit("Add the shop"))
            },
        ]
    }

    #[test]
    fn a_history_as_text_and_for_programs() {
        insta::assert_snapshot!(align(&rows(&records())));
        let document = serde_json::to_value(records()).unwrap();
        insta::assert_json_snapshot!(document);
        assert_eq!(serde_yaml::from_str::<serde_json::Value>(&yaml(&document)).unwrap(), document);
    }

    #[test]
    fn two_revisions_differ_as_a_plan_does() {
        let at = |image: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{containers: [{{name: web, image: '{image}'}}]}}\n"
            );
            let registry = Registry::builtin();
            render(&Snapshot::of(&[("web.yaml", text.as_str())]), &registry as &dyn Kinds, "default")
        };
        let report = history::compare(&at("web:1"), &at("web:2"), &Registry::builtin());
        let text = output::report(&report, output::Format::Text);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn the_newest_is_first_and_says_how_it_came_about() {
        let record = |number, via: &str| Record { number, via: via.into(), source: "dir".into(), ..Record::default() };
        let rows = rows(&[record(1, ""), record(2, "rollback to 1")]);
        assert_eq!(
            (rows[1][0].as_str(), rows[1][3].as_str(), rows[1][6].as_str()),
            ("2", "progressing", "rollback to 1: dir")
        );
        assert_eq!((rows[2][3].as_str(), rows[2][5].as_str()), ("superseded", "-"));
    }
}
