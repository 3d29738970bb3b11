//! Which hosts to run containers on: flags that `up` and a one-shot `apply` share.

use super::CliError;
use crate::daemon::Options;
use crate::daemon::options::Host;
use clap::Args;

#[derive(Args, Clone)]
pub struct HostArgs {
    /// A Podman host: NAME=unix:///path or NAME=tcp://address:port; repeatable [default: the local Podman]
    #[arg(long, env = "SELKIE_HOST", value_name = "NAME=URL", value_delimiter = ',')]
    host: Vec<String>,
    /// Run no containers
    #[arg(long, env = "SELKIE_NO_HOSTS", conflicts_with = "host")]
    no_hosts: bool,
    /// Add N simulated hosts
    #[arg(long, env = "SELKIE_HOLLOW_HOSTS", value_name = "N", default_value_t = 0)]
    hollow_hosts: usize,
}

impl HostArgs {
    pub fn set(&self, options: &mut Options) -> Result<(), CliError> {
        options.no_hosts = self.no_hosts;
        options.hollow_hosts = self.hollow_hosts;
        options.hosts = parse_all::<Host>("--host", &self.host)?;
        Ok(())
    }
}

pub fn parse_all<T: std::str::FromStr>(flag: &str, given: &[String]) -> Result<Vec<T>, CliError>
where
    T::Err: std::fmt::Display,
{
    given.iter().map(|one| one.parse().map_err(|error| CliError::new(format!("{flag} {error}")).code(2))).collect()
}
