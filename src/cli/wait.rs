//! `selkie wait`: until objects are ready, deleted, or have a condition.

use super::connection::Connection;
use super::resources;
use super::{CliError, Global};
use crate::gitops::readiness::{self, Readiness};
use clap::Args;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, api::DynamicObject};
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
    /// What to wait for: ready, delete, or condition=NAME
    #[arg(long = "for", value_name = "WHAT", default_value = "ready")]
    goal: String,
    /// How long to wait, in seconds
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

impl Wait {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let known_goal = self.goal == "ready" || self.goal == "delete" || self.goal.starts_with("condition=");
        if !known_goal {
            return Err(CliError::new(format!("--for {}: expected ready, delete or condition=NAME", self.goal)).code(2));
        }
        let connection = Connection::to_server(&global).await?;
        let known = resources::discover(&connection.client).await?;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.timeout);
        for asked in resources::parse(&known, &self.what)? {
            let name =
                asked.name.ok_or_else(|| CliError::new("name the object to wait for, e.g. deploy/web").code(2))?;
            let api = asked.resource.api(&connection.client, Some(&self.namespace));
            let label = format!("{}/{name}", asked.resource.api.plural);
            match tokio::time::timeout_at(deadline, self.one(&api, &name)).await {
                Ok(done) => done?,
                Err(_) => {
                    let last = api.get_opt(&name).await?.and_then(|object| serde_json::to_value(object).ok());
                    let state = last.map_or_else(|| "it does not exist".to_string(), |object| state(&object));
                    return Err(CliError::new(format!("{label} is not there after {} s: {state}", self.timeout)));
                }
            }
            println!("{label} {}", if self.goal == "delete" { "deleted" } else { "condition met" });
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn one(&self, api: &Api<DynamicObject>, name: &str) -> Result<(), CliError> {
        use futures::TryStreamExt;
        loop {
            let list = api.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
            let version = list.metadata.resource_version.clone().unwrap_or_else(|| "0".into());
            let current = list.items.into_iter().next().and_then(|object| serde_json::to_value(object).ok());
            if self.met(current.as_ref())? {
                return Ok(());
            }
            let watch = WatchParams::default().fields(&format!("metadata.name={name}"));
            let mut events = std::pin::pin!(api.watch(&watch, &version).await?);
            while let Some(event) = events.try_next().await? {
                let current = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => serde_json::to_value(object).ok(),
                    WatchEvent::Deleted(_) => None,
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(_) => break,
                };
                if self.met(current.as_ref())? {
                    return Ok(());
                }
            }
        }
    }

    fn met(&self, object: Option<&Value>) -> Result<bool, CliError> {
        let Some(object) = object else { return Ok(self.goal == "delete") };
        if self.goal == "ready" {
            return match readiness::of(object) {
                Readiness::Ready => Ok(true),
                Readiness::Failed(why) => Err(CliError::new(format!("it failed: {why}"))),
                Readiness::Progressing(_) => Ok(false),
            };
        }
        let Some(wanted) = self.goal.strip_prefix("condition=") else { return Ok(false) };
        let (name, status) = wanted.split_once('=').unwrap_or((wanted, "True"));
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        Ok(conditions.is_some_and(|all| {
            all.iter().any(|one| {
                one["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(name))
                    && one["status"].as_str().is_some_and(|value| value.eq_ignore_ascii_case(status))
            })
        }))
    }
}

fn state(object: &Value) -> String {
    match readiness::of(object) {
        Readiness::Ready => "it is ready".to_string(),
        Readiness::Progressing(why) | Readiness::Failed(why) => why,
    }
}
