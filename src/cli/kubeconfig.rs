//! `selkie kubeconfig`: how kubectl reaches this cluster.

use super::{CliError, Global};
use crate::daemon::paths::Paths;
use clap::Args;
use std::process::ExitCode;

/// Print a kubeconfig for kubectl, with the cluster's CA and an administrator's token
#[derive(Args)]
pub struct Kubeconfig {
    /// Print where the file is instead: export KUBECONFIG=$(selkie kubeconfig --path)
    #[arg(long)]
    path: bool,
}

impl Kubeconfig {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let paths = Paths::new(global.data_dir()?);
        let file = paths.kubeconfig();
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                if self.path {
                    println!("{}", file.display());
                } else {
                    print!("{text}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(CliError::new(format!(
                "{} does not exist: no daemon has run on this data directory",
                file.display()
            ))
            .hint("start one with `selkie up`, or name its data directory with --data-dir")),
            Err(error) => Err(CliError::new(format!("cannot read {}: {error}", file.display()))),
        }
    }
}
