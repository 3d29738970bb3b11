//! `selkie app`: applications and their histories. All of it is edits of the Application object, which
//! kubectl can make too.

mod edit;
mod history;
mod list;
mod remote;
pub mod requests;

use super::output::yaml;
use super::{CliError, Global};
use crate::gitops::application::{Application, NAMESPACE};
use clap::{Args, ValueEnum};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use std::process::ExitCode;

/// List, add, suspend, sync and roll back applications
#[derive(Args)]
pub struct App {
    #[command(subcommand)]
    verb: Verb,
}

verbs! {
    List(list::List),
    Add(Box<edit::Add>),
    Remote(remote::Remote),
    Suspend(edit::Suspend),
    Resume(edit::Resume),
    Sync(requests::Sync),
    History(history::History),
    Diff(history::Diff),
    Rollback(requests::Rollback),
}

impl App {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        self.verb.run(global).await
    }
}

/// `-o` of lists and edits.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
    Name,
}

fn api(client: &kube::Client) -> Api<Application> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// The application of that name; the error says which there are.
pub async fn find(client: &kube::Client, name: &str) -> Result<Application, CliError> {
    if let Some(found) = api(client).get_opt(name).await? {
        return Ok(found);
    }
    let all = api(client).list(&ListParams::default()).await?.items;
    let names: Vec<&str> = all.iter().map(Application::name).collect();
    let hint = if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
    Err(CliError::new(format!("no application {name:?}")).hint(hint))
}

/// Prints an edited application, or what was done to it.
fn print(application: &Application, done: &str, format: Format) -> Result<(), CliError> {
    let name = format!("application.selkie.dev/{}", application.name());
    match format {
        Format::Text => println!("{name} {done}"),
        Format::Name => println!("{name}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(&object(application)?)?),
        Format::Yaml => print!("{}", yaml(&object(application)?)),
    }
    Ok(())
}

/// The object as the API serves it.
pub fn object(application: &Application) -> Result<Value, CliError> {
    let mut object = serde_json::to_value(application)?;
    object["apiVersion"] = "selkie.dev/v1alpha1".into();
    object["kind"] = "Application".into();
    Ok(object)
}
