//! `selkie wait`: until objects are ready, deleted, or have a condition.

mod goal;

use super::connection::Connection;
use super::follow::follow;
use super::health::Judges;
use super::output::Printer;
use super::resources::{self, Known};
use super::values::duration;
use super::{CliError, Global};
use crate::api::changeset::ObjectId;
use crate::gitops::readiness::Readiness;
use crate::gitops::sync::{Event, Progress, Reporter};
use clap::Args;
use goal::Goal;
use kube::api::ListParams;
use kube::{Api, ResourceExt, api::DynamicObject};
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

/// Wait until objects are ready
#[derive(Args)]
pub struct Wait {
    /// TYPE NAME... or TYPE/NAME...
    #[arg(required = true, value_name = "TYPE/NAME")]
    what: Vec<String>,
    /// Namespace of the objects
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Label selector instead of names
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// All objects of the type
    #[arg(long, conflicts_with = "selector")]
    all: bool,
    /// What to wait for: ready, create, delete, condition=NAME[=VALUE], or jsonpath='{.FIELD}'[=VALUE]
    #[arg(long = "for", value_name = "WHAT", default_value = "ready")]
    goal: Goal,
    /// How long to wait: 90s, 5m, or a number of seconds
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
}

impl Wait {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let known = resources::discover(&connection.client).await?;
        let deadline = tokio::time::Instant::now() + self.timeout;
        let judges = if self.goal == Goal::Ready { Judges::read(&connection.client).await } else { Judges::default() };
        let mut targets = Vec::new();
        for asked in resources::parse(&known, &self.what)? {
            let api = asked.resource.api(&connection.client, Some(&self.namespace));
            for name in self.names(&api, asked.name).await? {
                targets.push((api.clone(), asked.resource.clone(), name));
            }
        }
        if targets.is_empty() && self.goal != Goal::Delete {
            return Err(CliError::new("no object matches").hint("`selkie get` shows which there are"));
        }
        let printer = Printer::stderr();
        for (api, resource, name) in targets {
            let label = format!("{}/{name}", resource.kind());
            let (id, told) = (self.id(&resource, &name), String::new());
            let mut steps = Steps { printer: &printer, judges: &judges, id, told };
            let waited = tokio::time::timeout_at(deadline, self.one(&api, &name, &mut steps)).await;
            drop(steps);
            match waited {
                Ok(done) => done?,
                Err(_) => {
                    let last = api.get_opt(&name).await?.and_then(|object| serde_json::to_value(object).ok());
                    let state = match &last {
                        None => ": it does not exist".to_string(),
                        Some(object) if self.goal == Goal::Ready => format!(": {}", state(object, &judges)),
                        Some(_) => String::new(),
                    };
                    return Err(CliError::new(format!(
                        "{label} {} after {} s{state}",
                        self.goal.unmet(),
                        self.timeout.as_secs()
                    )));
                }
            }
            println!("{label} condition met");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn names(&self, api: &Api<DynamicObject>, given: Option<String>) -> Result<Vec<String>, CliError> {
        if let Some(name) = given {
            return Ok(vec![name]);
        }
        let parameters = match &self.selector {
            Some(selector) => ListParams::default().labels(selector),
            None if self.all => ListParams::default(),
            None => {
                let error =
                    CliError::new("name the objects to wait for, e.g. deploy/web, or select them with -l or --all");
                return Err(error.code(2));
            }
        };
        Ok(api.list_metadata(&parameters).await?.iter().map(ResourceExt::name_any).collect())
    }

    fn met(&self, object: Option<&Value>, judges: &Judges) -> Result<bool, CliError> {
        self.goal
            .met(object, |object| judges.readiness(object))
            .map_err(|why| CliError::new(format!("it failed: {why}")))
    }

    fn id(&self, resource: &Known, name: &str) -> ObjectId {
        let namespace = if resource.namespaced { self.namespace.clone() } else { String::new() };
        let (api_version, kind) = (resource.api.api_version.clone(), resource.api.kind.clone());
        ObjectId { api_version, kind, namespace, name: name.to_owned(), uid: String::new() }
    }

    async fn one(&self, api: &Api<DynamicObject>, name: &str, steps: &mut Steps<'_>) -> Result<(), CliError> {
        let reached = |now: Option<DynamicObject>| {
            let now = now.map(serde_json::to_value).transpose()?;
            let met = self.met(now.as_ref(), steps.judges)?;
            if !met {
                steps.tell(&self.goal, now.as_ref());
            }
            Ok(met.then_some(()))
        };
        follow(api, name, reached).await
    }
}

/// Tells how far an object is, whenever that changes: a line, or in a terminal one that is drawn again.
struct Steps<'a> {
    printer: &'a Printer,
    judges: &'a Judges,
    id: ObjectId,
    told: String,
}

impl Steps<'_> {
    fn tell(&mut self, goal: &Goal, object: Option<&Value>) {
        let message = match object {
            None => "not there yet".to_owned(),
            Some(object) if *goal == Goal::Ready => state(object, self.judges),
            Some(_) => goal.unmet(),
        };
        if self.told != message {
            self.told.clone_from(&message);
            let step = vec![Progress { id: self.id.clone(), message }];
            self.printer.waiting("", 0, &step);
            self.printer.event("", Event::Progress(step));
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        self.printer.waiting("", 0, &[]);
    }
}

fn state(object: &Value, judges: &Judges) -> String {
    match judges.readiness(object) {
        Readiness::Ready => "it is ready".to_string(),
        Readiness::Progressing(why) | Readiness::Failed(why) => why,
    }
}
