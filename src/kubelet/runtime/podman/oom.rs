//! Tells a process that ran out of memory from one that somebody killed: both exit with 137.
//!
//! Podman 4.3 does not know, and the cgroup that does is gone once the container is. So on this
//! machine we listen while it runs: on cgroup v1 to the kernel's out-of-memory notification of the
//! container's cgroup, on v2 by the pod's cgroup, which counts for its children and outlives them.

use super::cgroup::{self, CGROUPS};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use std::{
    collections::HashMap,
    fs, io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long a verdict may lag behind the exit: until the container's cgroup is removed.
const VERDICT: Duration = Duration::from_secs(1);
/// How long the kernel takes from the removal of a cgroup's files to its signal.
const REMOVAL: Duration = Duration::from_millis(400);
/// How long it takes to choose what to kill.
const CHOICE: Duration = Duration::from_millis(500);

/// What is known about one container.
enum Watched {
    /// It has no memory limit of its own, so there is nothing to watch.
    Unlimited,
    /// Created, limited, not running yet.
    Expected,
    /// The verdict, once there is one.
    Notified(watch::Receiver<Option<bool>>),
    /// The pod's cgroup on v2.
    Counted(PathBuf),
}

/// The containers of this machine whose memory is watched, by container id.
#[derive(Default)]
pub struct OomWatch {
    containers: Mutex<HashMap<String, Watched>>,
    /// Kills counted so far, by pod cgroup.
    counts: Arc<Mutex<HashMap<PathBuf, u64>>>,
}

impl OomWatch {
    /// Notes a new container and whether its memory is limited.
    pub fn expect(&self, id: &str, limited: bool) {
        let watched = if limited { Watched::Expected } else { Watched::Unlimited };
        self.containers.lock().insert(id.to_owned(), watched);
    }

    /// Whether that container was made with a memory limit and is not watched yet.
    pub fn expects(&self, id: &str) -> bool {
        self.containers.lock().get(id).is_some_and(|watched| matches!(watched, Watched::Expected))
    }

    /// Whether nothing is left to be done for that container.
    pub fn knows(&self, id: &str) -> bool {
        self.containers.lock().get(id).is_some_and(|watched| !matches!(watched, Watched::Expected))
    }

    /// Whether kills of that container are noticed.
    pub fn watches(&self, id: &str) -> bool {
        let containers = self.containers.lock();
        containers.get(id).is_some_and(|watched| matches!(watched, Watched::Notified(_) | Watched::Counted(_)))
    }

    /// Begins to watch a running container, by its main process. Where that is not possible (it has
    /// ended, or may not be seen), kills go unexplained and nothing else is lost.
    pub fn watch(&self, id: &str, pid: u32, cgroup_version: u8) {
        let Ok(cgroups) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return };
        let watched = if cgroup_version == 2 {
            let Some(pod) = pod_cgroup(&cgroups) else { return };
            let count = kills(&pod);
            self.counts.lock().entry(pod.clone()).or_insert(count);
            Watched::Counted(pod)
        } else {
            let path = cgroup::path(&cgroups, "memory").map(|path| Path::new(CGROUPS).join("memory").join(path));
            match path.map(|path| notified(&path)) {
                Some(Ok(verdict)) => Watched::Notified(verdict),
                _ => return,
            }
        };
        self.containers.lock().insert(id.to_owned(), watched);
    }

    pub fn forget(&self, id: &str) {
        self.containers.lock().remove(id);
    }

    /// Whether the kernel killed that container, which has ended, for want of memory.
    pub async fn killed(&self, id: &str) -> bool {
        let mut verdict = match self.containers.lock().get(id) {
            Some(Watched::Notified(verdict)) => verdict.clone(),
            Some(Watched::Counted(pod)) => {
                let now = kills(pod);
                let before = self.counts.lock().insert(pod.clone(), now).unwrap_or(0);
                if now <= before {
                    return false;
                }
                // Remembered, since the count is used up.
                let (_, known) = watch::channel(Some(true));
                known
            }
            _ => return false,
        };
        // No verdict in time is no proof.
        let killed = timeout(VERDICT, verdict.wait_for(Option::is_some))
            .await
            .is_ok_and(|known| matches!(known.as_deref(), Ok(Some(true))));
        self.containers.lock().insert(id.to_owned(), Watched::Notified(verdict));
        killed
    }
}

/// The directory of the pod around the container, from the text of /proc/PID/cgroup on v2.
fn pod_cgroup(text: &str) -> Option<PathBuf> {
    let container = Path::new(cgroup::unified(text)?)
        .ancestors()
        .find(|part| part.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libpod-")))?;
    Some(Path::new(CGROUPS).join(container.parent()?))
}

/// The kills counted for a cgroup of v2; 0 when unreadable.
fn kills(cgroup: &Path) -> u64 {
    cgroup::counter(&cgroup.join("memory.events"), "oom_kill").unwrap_or(0)
}

/// Asks the kernel to signal when the cgroup runs out of memory, or the pod around it. It signals before it
/// chooses what to kill, so the count of kills says nothing yet; and once more when the cgroup is removed, always
/// after its files have gone. So every signal but that last one is for want of memory, though perhaps it is
/// another container of the pod that is killed: then the count stays.
fn notified(cgroup: &Path) -> io::Result<watch::Receiver<Option<bool>>> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let control_file = cgroup.join("memory.oom_control");
    let control = fs::File::open(&control_file)?;
    let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    fs::write(cgroup.join("cgroup.event_control"), registration)?;
    // Not a pipe, but read like one: tokio has no event counters of its own.
    let mut event = pipe::Receiver::from_owned_fd_unchecked(event)?;
    let (say, verdict) = watch::channel(None);
    tokio::spawn(async move {
        let _open = control;
        let killed = loop {
            match signals(&mut event).await {
                Ok(_) if control_file.exists() => {
                    if is_killed(&control_file).await {
                        break true;
                    }
                }
                Ok(count) if count > 1 => break true,
                // The removal; or a kill that we looked at so late that the removal is on its way.
                Ok(_) => break timeout(REMOVAL, signals(&mut event)).await.is_ok_and(|more| more.is_ok()),
                Err(_) => break false,
            }
        };
        _ = say.send(Some(killed));
    });
    Ok(verdict)
}

/// Whether it is this cgroup that the kernel kills in, once it has chosen.
async fn is_killed(control_file: &Path) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < CHOICE {
        let Ok(text) = fs::read_to_string(control_file) else { return true };
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
        // Old kernels do not count.
        if count != Some(0) {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn signals(event: &mut pipe::Receiver) -> io::Result<u64> {
    let mut count = [0; 8];
    event.read_exact(&mut count).await?;
    Ok(u64::from_ne_bytes(count))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_pods_cgroup_is_around_the_containers() {
        let v2 = "0::/machine.slice/machine-libpod_pod_p.slice/libpod-c.scope/container\n";
        assert_eq!(pod_cgroup(v2).unwrap(), Path::new("/sys/fs/cgroup/machine.slice/machine-libpod_pod_p.slice"));
        assert_eq!(pod_cgroup("0::/user.slice\n"), None);
    }

    #[tokio::test]
    async fn the_pod_counts_for_its_containers() {
        let pod = tempfile::tempdir().unwrap();
        let events = pod.path().join("memory.events");
        fs::write(&events, "low 0\noom 0\noom_kill 3\n").unwrap();
        let watch = OomWatch::default();
        watch.counts.lock().insert(pod.path().to_owned(), kills(pod.path()));
        for id in ["a", "b"] {
            watch.containers.lock().insert(id.into(), Watched::Counted(pod.path().to_owned()));
        }
        assert!(!watch.killed("a").await, "killed by somebody");
        fs::write(&events, "low 0\noom 1\noom_kill 4\n").unwrap();
        assert!(watch.killed("a").await);
        assert!(watch.killed("a").await, "the verdict stays");
        assert!(!watch.killed("b").await, "the neighbour was not killed");
        assert!(!watch.killed("unknown").await);
    }
}
