//! `selkie exec`: runs a command in a container, with its exit code.

use super::connection::Connection;
use super::pods::{self, Target};
use super::{CliError, Global};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, TerminalSize};
use kube::{Api, ResourceExt};
use std::process::ExitCode;
use tokio::io::{AsyncWriteExt, copy};

/// Run a command in a container
#[derive(Args)]
pub struct Exec {
    #[command(flatten)]
    target: Target,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &self.target.namespace);
        let tty = self.tty && rustix::termios::isatty(std::io::stdin());
        let mut parameters = AttachParams::default().stdin(self.stdin).stdout(true).stderr(!tty).tty(tty);
        let pod = pods::of(&connection.client, &self.target.namespace, &self.target.what).await?.swap_remove(0);
        let (container, about) = self.target.container_of(&pod);
        if let Some(about) = about {
            eprintln!("{about}");
        }
        parameters.container = container;
        let pod = pod.name_any();
        let mut process = pods.exec(&pod, self.command.clone(), &parameters).await?;
        let _raw = if tty { Some(RawTerminal::enter()?) } else { None };
        if let (true, Some(mut sizes)) = (tty, process.terminal_size()) {
            tokio::spawn(async move {
                let Ok(mut changed) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())
                else {
                    return;
                };
                loop {
                    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) {
                        use futures::SinkExt;
                        if sizes.send(TerminalSize { width: size.ws_col, height: size.ws_row }).await.is_err() {
                            return;
                        }
                    }
                    changed.recv().await;
                }
            });
        }
        if let Some(mut input) = process.stdin() {
            tokio::spawn(async move {
                let _ = copy(&mut tokio::io::stdin(), &mut input).await;
                let _ = input.shutdown().await;
            });
        }
        let mut output = process.stdout();
        let mut errors = process.stderr();
        let status = process.take_status();
        let print_output = async {
            if let Some(output) = output.as_mut() {
                let mut out = tokio::io::stdout();
                let _ = copy(output, &mut out).await;
                let _ = out.flush().await;
            }
        };
        let print_errors = async {
            if let Some(errors) = errors.as_mut() {
                let mut err = tokio::io::stderr();
                let _ = copy(errors, &mut err).await;
                let _ = err.flush().await;
            }
        };
        tokio::join!(print_output, print_errors);
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        exit_code(status)
    }
}

fn exit_code(status: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status>) -> Result<ExitCode, CliError> {
    let Some(status) = status else {
        return Err(CliError::new("the connection ended before the command did"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(ExitCode::SUCCESS);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes
        .into_iter()
        .flatten()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse::<u8>().ok());
    match code {
        Some(code) => Ok(ExitCode::from(code)),
        None => Err(CliError::new(status.message.unwrap_or_else(|| "the command could not run".into()))),
    }
}

/// Raw mode for as long as it lives.
struct RawTerminal(rustix::termios::Termios);

impl RawTerminal {
    fn enter() -> Result<Self, CliError> {
        let before = rustix::termios::tcgetattr(std::io::stdin()).map_err(std::io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &raw)
            .map_err(std::io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}
