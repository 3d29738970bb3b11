//! `selkie completion` and `selkie version`.

use super::{Cli, CliError, Global};
use clap::{Args, CommandFactory};
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(Args)]
pub struct Completion {
    shell: clap_complete::Shell,
}

impl Completion {
    pub async fn run(self, _: Global) -> Result<ExitCode, CliError> {
        clap_complete::generate(self.shell, &mut Cli::command(), "selkie", &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}

/// Print the version of selkie and of the Kubernetes API it serves
#[derive(Args)]
pub struct Version {}

impl Version {
    pub async fn run(self, _: Global) -> Result<ExitCode, CliError> {
        println!("selkie {} (Kubernetes API v1.36)", env!("CARGO_PKG_VERSION"));
        Ok(ExitCode::SUCCESS)
    }
}
