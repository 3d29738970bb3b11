//! `selkie logs`: a pod's output, or that of all pods of a workload.

use super::connection::Connection;
use super::resources;
use super::{CliError, Global};
use clap::Args;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use std::process::ExitCode;

/// Print the output of containers
#[derive(Args)]
pub struct Logs {
    /// POD, or TYPE/NAME for all pods of a workload
    #[arg(value_name = "POD|TYPE/NAME")]
    what: String,
    /// Namespace of the pod
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Container, when the pod has several
    #[arg(short, long)]
    container: Option<String>,
    /// Keep printing what is written
    #[arg(short, long)]
    follow: bool,
    /// The output of the container before its last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<i64>,
    /// Only the last N seconds
    #[arg(long, value_name = "SECONDS")]
    since: Option<i64>,
    /// Put the time in front of each line
    #[arg(long)]
    timestamps: bool,
}

impl Logs {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &self.namespace);
        let names = self.pods(&connection.client, &pods).await?;
        let parameters = LogParams {
            container: self.container.clone(),
            follow: self.follow,
            previous: self.previous,
            tail_lines: self.tail,
            since_seconds: self.since,
            timestamps: self.timestamps,
            ..LogParams::default()
        };
        let many = names.len() > 1;
        let mut streams = Vec::new();
        for name in names {
            let lines = pods.log_stream(&name, &parameters).await?.lines();
            let prefix = if many { format!("[{name}] ") } else { String::new() };
            streams.push(Box::pin(lines.map_ok(move |line| format!("{prefix}{line}"))));
        }
        let mut lines = futures::stream::select_all(streams);
        while let Some(line) = lines.next().await {
            use std::io::Write;
            if let Err(error) = writeln!(std::io::stdout(), "{}", line?) {
                // `selkie logs | head`: the reader has had enough.
                return if error.kind() == std::io::ErrorKind::BrokenPipe {
                    Ok(ExitCode::SUCCESS)
                } else {
                    Err(error.into())
                };
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn pods(&self, client: &Client, pods: &Api<Pod>) -> Result<Vec<String>, CliError> {
        let (kind, name) = self.what.split_once('/').unwrap_or(("pod", &self.what));
        if ["pod", "pods", "po"].contains(&kind) {
            return Ok(vec![name.to_string()]);
        }
        let known = resources::discover(client).await?;
        let resource = resources::find(&known, kind)?.swap_remove(0);
        let object = resource.api(client, Some(&self.namespace)).get(name).await?;
        let labels =
            object.data.pointer("/spec/selector/matchLabels").or_else(|| object.data.pointer("/spec/selector"));
        let selector = labels
            .and_then(Value::as_object)
            .map(|labels| {
                labels
                    .iter()
                    .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .filter(|selector| !selector.is_empty())
            .ok_or_else(|| CliError::new(format!("{} has no pods of its own", self.what)))?;
        let found: Vec<String> =
            pods.list(&ListParams::default().labels(&selector)).await?.iter().map(ResourceExt::name_any).collect();
        if found.is_empty() {
            return Err(CliError::new(format!("{} has no pods now", self.what)));
        }
        Ok(found)
    }
}
