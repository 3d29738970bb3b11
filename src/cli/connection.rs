//! Finds the cluster a verb speaks to: a named kubeconfig, a running daemon, or the data directory
//! itself, opened for the time of the verb.

use super::{CliError, Global};
use crate::daemon::{Cluster, Mode, Options, paths::Paths};
use std::time::Duration;

/// A way to the API, and the cluster behind it where this process is it.
pub struct Connection {
    pub client: kube::Client,
    /// Set when no daemon runs and this process opened the data directory.
    pub cluster: Option<Cluster>,
}

impl Connection {
    /// For verbs that need a server that stays: logs, exec, wait, delete.
    pub async fn to_server(global: &Global) -> Result<Self, CliError> {
        if let Some(client) = server(global).await? {
            return Ok(Self { client, cluster: None });
        }
        Err(CliError::new(format!("no daemon runs on {}", global.data_dir()?.display()))
            .hint("start one with `selkie up`, or name another cluster with --kubeconfig or --data-dir"))
    }

    /// For verbs that work without a daemon: `mode` says how much of the cluster to start.
    pub async fn to_any(global: &Global, mode: Mode, options: impl FnOnce(&mut Options)) -> Result<Self, CliError> {
        if let Some(client) = server(global).await? {
            return Ok(Self { client, cluster: None });
        }
        let mut settings = Options::new(global.data_dir()?, mode);
        options(&mut settings);
        let cluster = Cluster::start(settings).await?;
        Ok(Self { client: cluster.client(), cluster: Some(cluster) })
    }

    /// Closes what this process opened.
    pub async fn close(self) {
        if let Some(cluster) = self.cluster {
            cluster.shutdown().await;
        }
    }
}

/// The server named by the user, else the daemon that holds the data directory's lock.
async fn server(global: &Global) -> Result<Option<kube::Client>, CliError> {
    if let Some(path) = global.named_kubeconfig() {
        let client = crate::client::connect(&path)
            .await
            .map_err(|error| CliError::new(format!("kubeconfig {}: {}", path.display(), CliError::chain(&error))))?;
        return Ok(Some(client));
    }
    let paths = Paths::new(global.data_dir()?);
    if !paths.daemon_runs() {
        return Ok(None);
    }
    // The daemon writes its kubeconfig before it listens, and listens a moment after it locks.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let tried = match crate::client::connect(&paths.kubeconfig()).await {
            Ok(client) => match client.apiserver_version().await {
                Ok(_) => return Ok(Some(client)),
                Err(error) => CliError::chain(&error),
            },
            Err(error) => CliError::chain(&error),
        };
        if tokio::time::Instant::now() > deadline || !paths.daemon_runs() {
            return Err(CliError::new(format!("the daemon on {} does not answer: {tried}", paths.root().display()))
                .hint("see what it prints; `selkie up --log info` says more"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
