//! `selkie logs`: a pod's output, or that of all pods of a workload.

use super::connection::Connection;
use super::pods::{self, Target};
use super::values::duration;
use super::{CliError, Global};
use clap::Args;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, ResourceExt};
use std::process::ExitCode;
use std::time::Duration;

/// Print the output of containers
#[derive(Args)]
pub struct Logs {
    #[command(flatten)]
    target: Target,
    /// Keep printing what is written
    #[arg(short, long)]
    follow: bool,
    /// The output of the container before its last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<i64>,
    /// Only what is newer: 90s, 5m, or a number of seconds
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// Put the time in front of each line
    #[arg(long)]
    timestamps: bool,
}

impl Logs {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &self.target.namespace);
        let found = pods::of(&connection.client, &self.target.namespace, &self.target.what).await?;
        let names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        let parameters = LogParams {
            container: self.target.container.clone(),
            follow: self.follow,
            previous: self.previous,
            tail_lines: self.tail,
            since_seconds: self.since.and_then(|since| i64::try_from(since.as_secs()).ok()),
            timestamps: self.timestamps,
            ..LogParams::default()
        };
        let many = names.len() > 1;
        let mut streams = Vec::new();
        for name in names {
            let lines = match pods.log_stream(&name, &parameters).await {
                Ok(stream) => stream.lines(),
                // The other pods have something to say.
                Err(error) if many => {
                    eprintln!("[{name}] {}", CliError::chain(&error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
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
}
