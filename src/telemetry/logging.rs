//! Where log lines go: stderr, filtered by what the user asked for.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts logging with `filter`, e.g. `info` or `warn,selkie::kubelet=debug`. A second call in one
/// process has no effect.
pub fn init(filter: &str) -> Result<(), ParseError> {
    // The client logs every refusal of the server; who asked says it better.
    let filter = EnvFilter::try_new(format!("kube_client::client::builder=off,{filter}"))?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .compact()
        .try_init();
    Ok(())
}
