//! `selkie why`: from the commit to the error of Podman, what makes an object what it is.

mod chain;
mod gather;
mod source;
mod text;

use super::connection::Connection;
use super::objects::{Reader, typed};
use super::output::Either;
use super::{CliError, Global, output, resources};
use crate::client::raw;
use crate::daemon::Mode;
use chain::Why;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Explain an object: its commit and line, its controllers, the scheduler's verdict, its containers
///
/// Shows where the manifest is, what controllers decided, what the scheduler said of every host, and
/// what Podman and the containers said, the first thing wrong at the top.
#[derive(Args)]
pub struct WhyArgs {
    /// TYPE/NAME, e.g. deploy/web or pod/web-1; of an application app/NAME
    #[arg(value_name = "TYPE/NAME")]
    object: String,
    /// Namespace of the object
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

impl WhyArgs {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_any(&global, Mode::ReadOnly, |_| ()).await?;
        let why = self.explain(&connection.client).await;
        connection.close().await;
        let why = why?;
        match self.output {
            Either::Text => anstream::print!("{}", text::text(&why, jiff::Timestamp::now())),
            Either::Json => println!("{}", serde_json::to_string_pretty(&why)?),
            Either::Yaml => print!("{}", output::yaml(&serde_json::to_value(&why)?)),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn explain(&self, client: &kube::Client) -> Result<Why, CliError> {
        let reader = Reader::new(client).await?;
        let object = self.object(&reader).await?;
        gather::facts(&reader, object).await.map(chain::explain)
    }

    /// The object that is asked about.
    async fn object(&self, reader: &Reader<'_>) -> Result<Value, CliError> {
        let unnamed =
            || CliError::new(format!("{:?} names no object: expected TYPE/NAME, e.g. deploy/web", self.object));
        let (kind, name) = self.object.split_once('/').ok_or_else(|| unnamed().code(2))?;
        if kind.is_empty() || name.is_empty() || kind.contains(',') {
            return Err(unnamed().code(2));
        }
        let found = resources::find(&reader.known, kind)?;
        let [resource] = found.as_slice() else { return Err(unnamed().code(2)) };
        // Applications live in one namespace only.
        let of_selkie = resource.api.group == "selkie.dev";
        let namespace = if of_selkie { crate::gitops::application::NAMESPACE } else { &self.namespace };
        let path = format!("{}/{name}", resource.path(Some(namespace)));
        match raw::request(reader.client, http::Method::GET, &path, None).await {
            Ok(bytes) => {
                let object = serde_json::from_slice(&bytes)?;
                Ok(typed(object, &resource.api.api_version, &resource.api.kind))
            }
            Err(error) if raw::is_not_found(&error) => {
                let place = if resource.namespaced { format!(" in namespace {namespace}") } else { String::new() };
                let scope = if resource.namespaced { " -A" } else { "" };
                Err(CliError::new(format!("there is no {}{place}", resource.quoted(name)))
                    .hint(format!("`selkie get {}{scope}` shows which there are", resource.api.plural)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
