//! `selkie tree`: an application, the objects of its manifests, what controllers made of them, and the
//! containers.

mod build;
mod text;

use super::connection::Connection;
use super::health::Judges;
use super::objects::{Reader, items, list, text};
use super::output::Either;
use super::{CliError, Global, app, output};
use crate::api::changeset::ObjectId;
use crate::daemon::Mode;
use crate::gitops::render::Rendered;
use crate::gitops::sets::LABEL;
use crate::gitops::sync::history;
use build::{Facts, Tree};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Show an application's objects as a tree, down to the containers; of an application set its applications
///
/// Each with the line of its manifest, how it is doing, and what it says of itself.
#[derive(Args)]
pub struct TreeArgs {
    /// Name of the application, or of an application set
    #[arg(value_name = "APP")]
    application: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

impl TreeArgs {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let tree = self.read(&connection.client).await;
        connection.close().await;
        let tree = tree?;
        match self.output {
            Either::Text => anstream::print!("{}", text::text(&tree)),
            Either::Json => println!("{}", serde_json::to_string_pretty(&tree)?),
            Either::Yaml => print!("{}", output::yaml(&serde_json::to_value(&tree)?)),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn read(&self, client: &kube::Client) -> Result<Tree, CliError> {
        let application = match app::find(client, &self.application).await {
            Ok(found) => app::object(&found)?,
            Err(error) => return self.set(client).await?.ok_or(error),
        };
        let reader = Reader::new(client).await?;
        let inventory: Vec<ObjectId> = list(&application, "/status/inventory")
            .iter()
            .map(|id| serde_json::from_value(id.clone()))
            .collect::<Result<_, _>>()?;
        let objects = reader.get_all(&inventory).await?;
        let number = application["status"]["revisionNumber"].as_u64().unwrap_or(0);
        // The tree is worth something without the lines: the history may be out of bounds for who asks.
        let manifests = match number {
            0 => Rendered::default(),
            number => history::manifests(client, &self.application, number).await.unwrap_or_default(),
        };
        let family = reader.family(objects.iter().flatten()).await?;
        let judges = Judges::of(std::slice::from_ref(&application));
        let facts = Facts { application, inventory, objects, manifests, family, judges };
        Ok(build::build(&facts, jiff::Timestamp::now()))
    }

    /// The application set of that name.
    async fn set(&self, client: &kube::Client) -> Result<Option<Tree>, CliError> {
        let named = |object: &Value| text(object, "/metadata/name") == self.application;
        let sets = items(client, "/apis/selkie.dev/v1alpha1/applicationsets").await?;
        let Some(set) = sets.into_iter().find(named) else { return Ok(None) };
        let mut applications = items(client, "/apis/selkie.dev/v1alpha1/applications").await?;
        applications.retain(|one| one["metadata"]["labels"][LABEL] == self.application.as_str());
        Ok(Some(build::of_set(&set, &applications)))
    }
}

#[cfg(test)]
mod tests;
