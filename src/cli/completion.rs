//! `selkie completion` and `selkie version`.

use super::output::{Either, yaml};
use super::{Cli, CliError, Global};
use crate::apiserver::KUBERNETES_VERSION;
use clap::{Args, CommandFactory};
use serde_json::json;
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
pub struct Version {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

impl Version {
    pub async fn run(self, _: Global) -> Result<ExitCode, CliError> {
        let version = json!({"selkie": env!("CARGO_PKG_VERSION"), "kubernetes": KUBERNETES_VERSION});
        match self.output {
            Either::Text => println!("selkie {} (Kubernetes API {KUBERNETES_VERSION})", env!("CARGO_PKG_VERSION")),
            Either::Json => println!("{}", serde_json::to_string_pretty(&version)?),
            Either::Yaml => print!("{}", yaml(&version)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
