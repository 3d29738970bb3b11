//! What happens to the objects of a scenario, in lines.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::Resource;
use selkie::client::{Change, Context};
use selkie::controllers::{daemonset, pods};
use selkie::kubelet::runtime::hollow::Hollow;
use selkie::kubelet::runtime::{ContainerRuntime, EventKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// Clones share it.
#[derive(Clone)]
pub struct Log {
    begun: Instant,
    lines: Arc<Mutex<Vec<(u64, String, String)>>>,
}

impl Log {
    pub fn new() -> Self {
        Self { begun: Instant::now(), lines: Arc::default() }
    }

    pub fn note(&self, who: &str, what: impl Into<String>) {
        self.lines.lock().unwrap().push((self.begun.elapsed().as_secs(), who.to_owned(), what.into()));
    }

    /// What was noted since the last call: what happens in one second in the order of names.
    pub fn take(&self) -> String {
        let mut lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let lines: Vec<String> = lines.iter().map(|(at, who, what)| format!("{at} {who} {what}")).collect();
        lines.join("\n")
    }

    pub fn follow(&self, ctx: &Context) {
        let log = self.clone();
        ctx.informers.of::<Pod>().subscribe(Box::new(move |change| log.pod(change)));
        let log = self.clone();
        ctx.informers.of::<Job>().subscribe(Box::new(move |change| log.job(change)));
        let log = self.clone();
        ctx.informers.of::<PersistentVolumeClaim>().subscribe(Box::new(move |change| {
            let name = format!("claim {}", change.object().meta().name.as_deref().unwrap_or_default());
            match change {
                Change::Added(_) => log.note(&name, "made"),
                Change::Deleted(_) => log.note(&name, "gone"),
                Change::Updated { .. } => {}
            }
        }));
        let log = self.clone();
        ctx.informers.of::<Event>().subscribe(Box::new(move |change| {
            let event = change.object();
            let kind = event.involved_object.kind.as_deref().unwrap_or_default();
            let reason = event.reason.as_deref().unwrap_or_default();
            let usual = ["SuccessfulCreate", "SuccessfulDelete", "SawCompletedJob"].contains(&reason);
            if kind == "CronJob" && !usual && !matches!(change, Change::Deleted(_)) {
                log.note("cron", reason);
            }
        }));
    }

    fn pod(&self, change: &Change<Pod>) {
        let pod = change.object();
        let name = name(pod);
        let old = match change {
            Change::Added(_) => {
                self.note(&name, "made");
                Pod::default()
            }
            Change::Deleted(_) => return self.note(&name, "gone"),
            Change::Updated { old, .. } => (**old).clone(),
        };
        let host = pods::node(pod).unwrap_or_default();
        if pods::is_ready(pod) != pods::is_ready(&old) && !pods::is_terminating(pod) {
            self.note(&name, if pods::is_ready(pod) { format!("ready on {host}") } else { "not ready".into() });
        }
        if pods::is_terminating(pod) && !pods::is_terminating(&old) {
            self.note(&name, "leaves");
        }
        if pods::phase(pod) != pods::phase(&old) && ["Failed", "Succeeded"].contains(&pods::phase(pod)) {
            self.note(&name, pods::phase(pod).to_lowercase());
        }
    }

    fn job(&self, change: &Change<Job>) {
        let job = change.object();
        let name = format!("job {}", job.metadata.name.as_deref().unwrap_or_default());
        let ended = |job: &Job| selkie::controllers::job::plan::finished(job).map(|end| end.type_.to_lowercase());
        match change {
            Change::Added(job) => {
                let annotations = job.metadata.annotations.clone().unwrap_or_default();
                let time = annotations.get("batch.kubernetes.io/cronjob-scheduled-timestamp");
                self.note(&name, format!("made for {}", time.map_or("nothing", String::as_str)));
            }
            Change::Updated { old, new } => {
                if let Some(end) = ended(new).filter(|end| Some(end) != ended(old).as_ref()) {
                    self.note(&name, end);
                }
            }
            Change::Deleted(_) => self.note(&name, "gone"),
        }
    }

    /// Says so when containers of two pods of one name run at a time, wherever they do.
    pub async fn watch_identities(self, hosts: Arc<Mutex<BTreeMap<String, Hollow>>>, of: Hollow) {
        use futures::StreamExt;
        let mut events = of.events().await.unwrap();
        while let Some(event) = events.next().await {
            if !matches!(event, Ok(ref event) if event.kind == EventKind::Started) {
                continue;
            }
            let all: Vec<Hollow> = hosts.lock().unwrap().values().cloned().collect();
            let mut running: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for host in all {
                let containers = host.list().await.unwrap().containers;
                for found in containers.into_iter().filter(|container| container.state.is_running()) {
                    running.entry(found.identity.pod.name).or_default().insert(found.identity.pod.uid);
                }
            }
            for (name, _) in running.into_iter().filter(|(_, uids)| uids.len() > 1) {
                self.note(&name, "RUNS TWICE");
            }
        }
    }
}

/// A pod's name, or that of its Job, or of its DaemonSet and its host: not a random one. And its image's tag.
fn name(pod: &Pod) -> String {
    let image = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()).unwrap_or_default();
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    let owner = pod.metadata.owner_references.iter().flatten().next();
    let name = match owner.filter(|owner| owner.kind == "DaemonSet") {
        Some(owner) => format!("{}@{}", owner.name, daemonset::hosts::target(pod).unwrap_or_default()),
        None => owner.filter(|owner| owner.kind == "Job").map_or(pods::name(pod), |owner| &owner.name).to_owned(),
    };
    format!("{name}:{tag}")
}
