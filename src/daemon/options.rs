//! What a cluster is started with, parsed from flags once and checked in one place.

use crate::gitops::push::Wording;
use crate::gitops::sync::{Reporter, reporter::Silent};
use crate::kubelet::drift::{DriftObserver, unobserved};
use crate::kubelet::settings::{Settings, StaticPods};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How much of a cluster to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything, serving HTTPS until told to stop.
    Daemon,
    /// Everything but the server: a one-shot apply that leaves its containers running.
    OneShot,
    /// The API alone, over what the data directory holds; no containers are looked at.
    ReadOnly,
}

/// Everything [`super::Cluster::start`] needs to know.
#[derive(Clone)]
pub struct Options {
    pub data_dir: PathBuf,
    pub mode: Mode,
    pub listen: SocketAddr,
    /// Hosts to run containers on. Empty and not `no_hosts`: the local Podman.
    pub hosts: Vec<Host>,
    pub no_hosts: bool,
    /// Simulated hosts, for trying things at scale.
    pub hollow_hosts: usize,
    /// How hosts are used.
    pub settings: Settings,
    /// Applications to declare, and who listens to their syncs.
    pub apps: Vec<App>,
    pub reporter: Arc<dyn Reporter>,
    /// How whoever pushes to an application is told what becomes of it; without it no pushes are taken.
    pub wording: Option<Arc<dyn Wording>>,
    /// Hears of containers that others took away.
    pub observer: Arc<dyn DriftObserver>,
    pub timing: Timing,
}

impl Options {
    pub fn new(data_dir: PathBuf, mode: Mode) -> Self {
        // A one-shot that is told of no static pods is not the daemon that runs them.
        let static_pods = if mode == Mode::Daemon { StaticPods::None } else { StaticPods::Others };
        let settings = Settings { seccomp_root: data_dir.join("seccomp"), static_pods, ..Settings::default() };
        Self {
            data_dir,
            mode,
            listen: SocketAddr::from(([127, 0, 0, 1], 6443)),
            hosts: Vec::new(),
            no_hosts: false,
            hollow_hosts: 0,
            settings,
            apps: Vec::new(),
            reporter: Arc::new(Silent),
            wording: None,
            observer: unobserved(),
            timing: Timing::default(),
        }
    }
}

/// How fast a lost host is noticed and its pods are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A host is NotReady when its lease is older than this. Kubernetes: 40 s.
    pub node_monitor_grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { node_monitor_grace: Duration::from_secs(40) }
    }
}

/// `NAME=URL`: a Podman host and the name of its Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    /// `unix:///path/podman.sock` or `tcp://address:port`.
    pub url: String,
}

/// `NAME=SOURCE`: an application and where its manifests are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub name: String,
    pub source: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error("{given:?}: expected {expected}")]
    Shape { given: String, expected: &'static str },
    #[error(
        "{name:?} is not a name: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
    )]
    Name { name: String },
    #[error("{url:?} is not a Podman address: expected unix:///path/to/podman.sock or tcp://address:port")]
    Url { url: String },
}

impl FromStr for Host {
    type Err = OptionError;

    fn from_str(given: &str) -> Result<Self, OptionError> {
        let (name, url) = name_and_value(given, "NAME=URL, e.g. h1=tcp://10.0.0.5:8080", true)?;
        let path = url.strip_prefix("unix://").is_some_and(|path| path.starts_with('/'));
        let address = url.strip_prefix("tcp://").is_some_and(|rest| {
            rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        });
        if !path && !address {
            return Err(OptionError::Url { url });
        }
        Ok(Self { name, url })
    }
}

impl FromStr for App {
    type Err = OptionError;

    fn from_str(given: &str) -> Result<Self, OptionError> {
        let (name, source) = name_and_value(
            given,
            "NAME=SOURCE, e.g. hello=examples/hello or hello=https://host/repo.git#main:deploy/",
            false,
        )?;
        Ok(Self { name, source })
    }
}

/// `dots`: Node names may have several parts.
fn name_and_value(given: &str, expected: &'static str, dots: bool) -> Result<(String, String), OptionError> {
    let (name, value) = given
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| OptionError::Shape { given: given.into(), expected })?;
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = name.len() <= 63
        && name.chars().all(|c| letter(c) || c == '-' || dots && c == '.')
        && name.starts_with(letter)
        && name.ends_with(letter);
    if !fits {
        return Err(OptionError::Name { name: name.into() });
    }
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_a_name_and_a_podman_address() {
        let host: Host = "h1=unix:///run/podman/podman.sock".parse().unwrap();
        assert_eq!((host.name.as_str(), host.url.as_str()), ("h1", "unix:///run/podman/podman.sock"));
        assert!("h2=tcp://10.0.0.5:8080".parse::<Host>().is_ok());
        for wrong in
            ["h1", "=tcp://a:1", "H1=tcp://a:1", "h1=http://a:1", "h1=tcp://a", "h1=unix://relative", "h1-=tcp://a:1"]
        {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_daemon_that_has_none_ends_static_pods() {
        let of = |mode| Options::new(PathBuf::from("/data"), mode).settings.static_pods;
        assert_eq!((of(Mode::Daemon), of(Mode::OneShot)), (StaticPods::None, StaticPods::Others));
    }

    #[test]
    fn an_application_source_may_hold_an_equals_sign() {
        let app: App = "hello=https://host/repo?a=b".parse().unwrap();
        assert_eq!(app.source, "https://host/repo?a=b");
    }
}
