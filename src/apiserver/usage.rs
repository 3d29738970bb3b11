//! What hosts and containers use: the last readings of the kubelets, and the rates between them. In
//! memory only: put in by the kubelets, read at `metrics.k8s.io`.
//!
//! A reading costs its host work, and mostly nobody asks. So kubelets read only while somebody has asked
//! lately; who asks first waits for two readings, a second apart.

mod series;

pub use series::{Rate, Reading};

use parking_lot::Mutex;
use series::Series;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Between two readings of a host.
pub const PERIOD: Duration = Duration::from_secs(15);
/// Between the first two, which somebody waits for.
pub const FIRST_PERIOD: Duration = Duration::from_secs(1);
/// Who asked longer ago than this has lost interest.
const INTEREST: Duration = Duration::from_secs(120);
/// How long who asks first waits at most: a host may not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A rate needs so many readings.
const ENOUGH: u8 = 2;

/// What one host read in one go.
#[derive(Debug, Clone, Default)]
pub struct HostReadings {
    /// Of the whole machine, where it can be read.
    pub machine: Option<Reading>,
    pub containers: Vec<ContainerReading>,
}

#[derive(Debug, Clone)]
pub struct ContainerReading {
    pub pod_uid: String,
    pub container: String,
    pub reading: Reading,
}

/// Shared by the API server and the kubelets.
#[derive(Default)]
pub struct Usage {
    hosts: Mutex<HashMap<String, Host>>,
    asked: watch::Sender<Option<Instant>>,
    /// Hosts that have not read often enough to answer for themselves.
    unready: watch::Sender<usize>,
}

#[derive(Default)]
struct Host {
    /// Readings since somebody asked, up to [`ENOUGH`].
    readings: u8,
    machine: Option<Series>,
    /// By the pod's uid; containers by name.
    pods: HashMap<String, Vec<(String, Series)>>,
}

impl Usage {
    /// A kubelet will read `host` when somebody asks.
    pub fn join(&self, host: &str) {
        self.change(host, |hosts| drop(hosts.insert(host.to_owned(), Host::default())));
    }

    pub fn leave(&self, host: &str) {
        self.change(host, |hosts| drop(hosts.remove(host)));
    }

    /// Nobody asks any more: forgets what was read.
    pub fn pause(&self, host: &str) {
        self.change(host, |hosts| {
            if let Some(host) = hosts.get_mut(host) {
                *host = Host::default();
            }
        });
    }

    /// Returns once somebody has asked lately.
    pub async fn wanted(&self) {
        let mut asked = self.asked.subscribe();
        // The sender is ours: the channel is open.
        let _ = asked.wait_for(|at| is_recent(*at)).await;
    }

    pub fn is_wanted(&self) -> bool {
        is_recent(*self.asked.borrow())
    }

    /// Takes in what a host read; `None` when it could not be read.
    pub fn record(&self, host: &str, read: Option<HostReadings>) {
        self.change(host, |hosts| {
            let Some(host) = hosts.get_mut(host) else { return };
            match read {
                Some(read) => {
                    host.readings = host.readings.saturating_add(1).min(ENOUGH);
                    host.take_in(read);
                }
                // What was true a while ago is not shown as if it were now.
                None => *host = Host { readings: ENOUGH, ..Host::default() },
            }
        });
    }

    /// The last reading of a container.
    pub fn last(&self, host: &str, pod_uid: &str, container: &str) -> Option<Reading> {
        let hosts = self.hosts.lock();
        let containers = hosts.get(host)?.pods.get(pod_uid)?;
        containers.iter().find(|(name, _)| name == container).map(|(_, series)| series.last)
    }

    /// Somebody wants to know: returns when every host has read enough, or is taking too long.
    pub async fn ask(&self) {
        self.asked.send_replace(Some(Instant::now()));
        let mut unready = self.unready.subscribe();
        let _ = timeout(PATIENCE, unready.wait_for(|count| *count == 0)).await;
    }

    /// What each container of the pod uses, by name; empty until that is known of all of them.
    pub fn of_pod(&self, host: &str, uid: &str) -> Vec<(String, Rate)> {
        let hosts = self.hosts.lock();
        let Some(containers) = hosts.get(host).and_then(|host| host.pods.get(uid)) else { return Vec::new() };
        let rates = containers.iter().map(|(name, series)| Some((name.clone(), series.rate()?)));
        rates.collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// What the machine uses, or where that cannot be read, what its containers use together.
    pub fn of_host(&self, host: &str) -> Option<Rate> {
        let hosts = self.hosts.lock();
        let host = hosts.get(host)?;
        if let Some(machine) = &host.machine {
            return machine.rate();
        }
        host.pods.values().flatten().filter_map(|(_, series)| series.rate()).reduce(Rate::plus)
    }

    /// The last reading of the machine, where it can be read.
    pub fn machine(&self, host: &str) -> Option<Reading> {
        self.hosts.lock().get(host)?.machine.as_ref().map(|series| series.last)
    }

    /// The last reading of each container of the pod, by name, and its rate where that is known.
    pub fn readings(&self, host: &str, uid: &str) -> Vec<(String, Reading, Option<Rate>)> {
        let hosts = self.hosts.lock();
        let containers = hosts.get(host).and_then(|host| host.pods.get(uid));
        containers.into_iter().flatten().map(|(name, series)| (name.clone(), series.last, series.rate())).collect()
    }

    /// Changes what is known of one host, and counts it among those that are not ready, or not.
    fn change(&self, host: &str, change: impl FnOnce(&mut HashMap<String, Host>)) {
        let mut hosts = self.hosts.lock();
        let unready = |hosts: &HashMap<String, Host>| hosts.get(host).is_some_and(|host| host.readings < ENOUGH);
        let before = unready(&hosts);
        change(&mut hosts);
        let after = unready(&hosts);
        if before != after {
            self.unready.send_modify(|count| *count = *count + usize::from(after) - usize::from(before));
        }
    }
}

impl Host {
    fn take_in(&mut self, read: HostReadings) {
        self.machine = read.machine.map(|reading| Series::after(self.machine.as_ref(), reading));
        let mut pods: HashMap<String, Vec<(String, Series)>> = HashMap::with_capacity(self.pods.len());
        for ContainerReading { pod_uid, container, reading } in read.containers {
            let known = self.pods.get(&pod_uid).into_iter().flatten().find(|(name, _)| *name == container);
            let series = Series::after(known.map(|(_, series)| series), reading);
            pods.entry(pod_uid).or_default().push((container, series));
        }
        self.pods = pods;
    }
}

fn is_recent(asked: Option<Instant>) -> bool {
    asked.is_some_and(|at| at.elapsed() < INTEREST)
}

#[cfg(test)]
mod tests;
