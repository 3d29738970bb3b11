//! `selkie up`: the daemon.

use super::hosts::{HostArgs, parse_all};
use super::output::{Printer, Words};
use super::{CliError, Global};
use crate::daemon::options::App;
use crate::daemon::{Cluster, Mode, Options, Timing};
use clap::Args;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Run the daemon: API server, controllers, scheduler, kubelets, GitOps
#[derive(Args)]
pub struct Up {
    /// Address to serve the Kubernetes API on, and the webhooks (/hooks/NAME) and pushes (/git/NAME) of
    /// applications
    #[arg(long, env = "SELKIE_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// An application: NAME=DIR, NAME=GIT-URL#REF:PATH or NAME=oci://HOST/REPOSITORY:TAG; repeatable
    #[arg(long, env = "SELKIE_APP", value_name = "NAME=SOURCE", value_delimiter = ',')]
    app: Vec<String>,
    /// Seconds without a heartbeat until a host counts as lost
    #[arg(long, env = "SELKIE_NODE_MONITOR_GRACE", value_name = "SECONDS", default_value_t = 40)]
    node_monitor_grace: u64,
    // The last: what follows would be under its last heading.
    #[command(flatten)]
    hosts: HostArgs,
}

impl Up {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let printer = Arc::new(Printer::stdout());
        global.start_logging(printer.above())?;
        let mut options = Options::new(global.data_dir()?, Mode::Daemon);
        options.listen = self.listen;
        self.hosts.set(&mut options)?;
        options.timing = Timing { node_monitor_grace: Duration::from_secs(self.node_monitor_grace.max(1)) };
        options.apps = parse_all::<App>("--app", &self.app)?;
        options.reporter = printer.clone();
        options.wording = Some(Arc::new(Words));
        options.observer = printer;

        // Before anything starts, so that an early signal is not lost.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let started = std::time::Instant::now();
        let cluster = tokio::select! {
            cluster = Cluster::start(options) => cluster?,
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        };
        if let Some(address) = cluster.address() {
            eprintln!(
                "selkie serves https://{address} ({} ms), data in {}",
                started.elapsed().as_millis(),
                cluster.paths().root().display()
            );
            eprintln!("kubectl --kubeconfig {} get pods", cluster.paths().kubeconfig().display());
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("selkie stops; containers keep running");
        cluster.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }
}
