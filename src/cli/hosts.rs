//! Which hosts to run containers on: flags that `up` and a one-shot `apply` share.

mod kubelet;

use super::CliError;
use crate::daemon::Options;
use crate::daemon::options::Host;
use clap::Args;
use kubelet::KubeletArgs;

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
    #[command(flatten)]
    kubelet: KubeletArgs,
}

impl HostArgs {
    pub fn set(&self, options: &mut Options) -> Result<(), CliError> {
        options.no_hosts = self.no_hosts;
        options.hollow_hosts = self.hollow_hosts;
        self.kubelet.set(&mut options.settings)?;
        options.hosts = parse_all::<Host>("--host", &self.host)?;
        let hint = "give each host once, with a name and a Podman of its own";
        distinct(&options.hosts).map_err(|message| CliError::new(message).hint(hint).code(2))
    }
}

/// Two kubelets on one Podman, or for one Node, would undo each other's work.
fn distinct(hosts: &[Host]) -> Result<(), String> {
    for (at, host) in hosts.iter().enumerate() {
        let Some(other) = hosts[..at].iter().find(|other| other.name == host.name || other.url == host.url) else {
            continue;
        };
        let same = if other.name == host.name { "the name" } else { "the Podman" };
        return Err(format!("--host {}={} has {same} of --host {}={}", host.name, host.url, other.name, other.url));
    }
    Ok(())
}

pub fn parse_all<T: std::str::FromStr>(flag: &str, given: &[String]) -> Result<Vec<T>, CliError>
where
    T::Err: std::fmt::Display,
{
    given.iter().map(|one| one.parse().map_err(|error| CliError::new(format!("{flag} {error}")).code(2))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_given_once() {
        let told = |hosts: &[&str]| {
            let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().expect("a host")).collect();
            distinct(&hosts)
        };
        assert_eq!(told(&["a=unix:///a", "b=unix:///b"]), Ok(()));
        let name = "--host a=unix:///b has the name of --host a=unix:///a";
        assert_eq!(told(&["a=unix:///a", "a=unix:///b"]), Err(name.to_owned()));
        let podman = "--host b=unix:///a has the Podman of --host a=unix:///a";
        assert_eq!(told(&["a=unix:///a", "b=unix:///a"]), Err(podman.to_owned()));
    }
}
