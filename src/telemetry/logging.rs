//! Where log lines go: stderr, filtered by what the user asked for.

use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts logging to `writer`, which is standard error in some way, with `filter`, e.g. `info` or
/// `warn,selkie::kubelet=debug`. A second call in one process has no effect.
pub fn init<W: Write + 'static>(
    filter: &str,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Result<(), ParseError> {
    // The client logs every refusal of the server; who asked says it better.
    let filter = EnvFilter::try_new(format!("kube_client::client::builder=off,{filter}"))?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour)
        .with_target(false)
        .compact()
        .try_init();
    Ok(())
}
