//! `selkie tree`: an application, the objects of its manifests, what controllers made of them, and the
//! containers.

mod build;
mod text;

use super::connection::Connection;
use super::health::Judges;
use super::objects::{Reader, list};
use super::output::Either;
use super::{CliError, Global, app, output};
use crate::api::changeset::ObjectId;
use crate::daemon::Mode;
use crate::gitops::render::Rendered;
use crate::gitops::sync::history;
use build::{Facts, Tree};
use clap::Args;
use std::process::ExitCode;

/// Show an application's objects as a tree, down to the containers
///
/// Each with the line of its manifest, how it is doing, and what it says of itself.
#[derive(Args)]
pub struct TreeArgs {
    /// Name of the application
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
        let application = app::object(&app::find(client, &self.application).await?)?;
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
}

#[cfg(test)]
mod tests;
