//! `selkie logs`: a pod's output, or that of all pods of a workload.

mod lives;

use super::connection::Connection;
use super::pods::{self, Target};
use super::values::duration;
use super::{CliError, Global};
use clap::Args;
use futures::stream::BoxStream;
use futures::{AsyncBufReadExt, Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

/// Print the output of containers
#[derive(Args)]
pub struct Logs {
    #[command(flatten)]
    target: Target,
    /// Keep printing what is written, also by the container after its restarts
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

/// Whose output is read.
#[derive(Clone)]
struct Source {
    client: Client,
    pods: Api<Pod>,
    name: String,
    uid: Option<String>,
    parameters: LogParams,
}

impl Source {
    /// The lines of the container's newest life, or of the one with that number.
    async fn open(
        &self,
        parameters: &LogParams,
        restart: Option<u32>,
    ) -> Result<impl Stream<Item = Result<String, CliError>> + Send + Unpin + use<>, kube::Error> {
        let request = kube::core::Request::new(self.pods.resource_url()).logs(&self.name, parameters);
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        if let Some(restart) = restart {
            // selkie's own parameter: Kubernetes has none for it.
            let uri = format!("{}&restartCount={restart}", request.uri());
            *request.uri_mut() =
                uri.parse().map_err(|error: http::uri::InvalidUri| kube::Error::HttpError(error.into()))?;
        }
        let body = Box::pin(self.client.request_stream(request).await?);
        Ok(body.lines().map_err(CliError::from))
    }
}

impl Logs {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &self.target.namespace);
        let found = pods::of(&connection.client, &self.target.namespace, &self.target.what).await?;
        let parameters = LogParams {
            container: None,
            follow: self.follow,
            previous: self.previous,
            tail_lines: self.tail,
            since_seconds: self.since.and_then(|since| i64::try_from(since.as_secs()).ok()),
            timestamps: self.timestamps,
            ..LogParams::default()
        };
        let many = found.len() > 1;
        let (mut streams, mut said) = (Vec::new(), BTreeSet::new());
        for pod in found {
            let (container, about) = self.target.container_of(&pod);
            if let Some(about) = about.filter(|about| said.insert(about.clone())) {
                eprintln!("{about}");
            }
            let name = pod.name_any();
            let prefix = if many { format!("[{name}] ") } else { String::new() };
            let source = Source {
                client: connection.client.clone(),
                pods: pods.clone(),
                name: name.clone(),
                uid: pod.metadata.uid.clone(),
                parameters: LogParams { container, ..parameters.clone() },
            };
            match self.lines(source, &pod).await {
                Ok(lines) => streams.push(lines.map_ok(move |line| format!("{prefix}{line}")).boxed()),
                // The other pods have something to say.
                Err(error) if many => eprintln!("[{name}] {}", CliError::chain(&error)),
                Err(error) => return Err(error.into()),
            }
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

    async fn lines(
        &self,
        source: Source,
        pod: &Pod,
    ) -> Result<BoxStream<'static, Result<String, CliError>>, kube::Error> {
        match source.parameters.container.clone() {
            Some(container) if self.follow && !self.previous => {
                let number = lives::newest(pod, &container);
                let first = source.open(&source.parameters, Some(number)).await?;
                Ok(lives::lines(source, container, number, first).boxed())
            }
            _ => Ok(source.open(&source.parameters, None).await?.boxed()),
        }
    }
}
