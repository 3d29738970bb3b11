//! Pods that have a host and wait for their volumes there: asked for by the writes that
//! [`storage`](crate::scheduler::storage) names, made by others.

use super::{News, Scheduler, name_of};
use crate::client::raw;
use crate::controllers::write;
use crate::scheduler::hints::Event;
use crate::scheduler::storage::{Request, Storage};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Kubernetes' bindTimeoutSeconds.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) struct Preparing {
    pod: Arc<Pod>,
    attempts: u32,
    host: String,
    /// Each with the revision that its write left, once it is known.
    requests: Vec<(Request, Option<u64>)>,
    until: Instant,
}

/// What came of one of a pod's requests: its number, and the revision of the write.
pub(super) type Asked = (usize, Result<u64, kube::Error>);

impl Preparing {
    fn is_done(&self, storage: &Storage) -> bool {
        self.requests.iter().all(|(request, _)| storage.is_bound(request.claim()))
    }

    fn has_failed(&self, storage: &Storage) -> bool {
        self.requests.iter().any(|(request, written)| storage.has_failed(request, &self.host, *written))
    }
}

impl Scheduler {
    /// Asks for the volumes; the pod is bound when they are there.
    pub(super) fn prepare(&mut self, uid: String, pod: Arc<Pod>, attempts: u32, host: String, requests: Vec<Request>) {
        self.snapshot.storage.promise(&requests);
        for (number, request) in requests.iter().cloned().enumerate() {
            let (client, sender, shutdown) = (self.ctx.client.clone(), self.sender.clone(), self.ctx.shutdown.clone());
            let (uid, change) = (uid.clone(), request.patch(&host));
            tokio::spawn(async move {
                let asked = async {
                    match &request {
                        Request::Reserve(volume, _) => write::patch(&client, &**volume, "", change).await,
                        Request::Provision(claim) => write::patch(&client, &**claim, "", change).await,
                    }
                };
                if let Some(outcome) = shutdown.run_until_cancelled(asked).await {
                    let _ = sender.send(News::Asked(uid, (number, outcome.map(|written| written.revision()))));
                }
            });
        }
        let requests = requests.into_iter().map(|request| (request, None)).collect();
        let until = Instant::now() + PATIENCE;
        self.preparing.insert(uid, Preparing { pod, attempts, host, requests, until });
    }

    pub(super) fn asked(&mut self, uid: &str, (number, outcome): Asked, now: Instant) {
        let Some(preparing) = self.preparing.get_mut(uid) else { return };
        match outcome {
            Ok(revision) => {
                if let Some((_, written)) = preparing.requests.get_mut(number) {
                    *written = Some(revision);
                }
            }
            Err(error) => {
                if !matches!(raw::code(&error), Some(404 | 409)) {
                    tracing::warn!(
                        pod = name_of(&preparing.pod),
                        "a volume could not be asked for, trying again: {error}"
                    );
                }
                self.give_up(uid, now);
            }
        }
    }

    /// Binds the pods whose volumes are there, and gives those another try that will not get theirs.
    pub(super) async fn look_at_preparing(&mut self, now: Instant) {
        let storage = &self.snapshot.storage;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (uid, preparing) in &self.preparing {
            if preparing.is_done(storage) {
                done.push(uid.clone());
            } else if preparing.has_failed(storage) || preparing.until <= now {
                failed.push(uid.clone());
            }
        }
        for uid in done {
            if let Some(Preparing { pod, attempts, host, .. }) = self.preparing.remove(&uid) {
                self.bind(uid, pod, attempts, host).await;
            }
        }
        failed.iter().for_each(|uid| self.give_up(uid, now));
    }

    fn give_up(&mut self, uid: &str, now: Instant) {
        let Some(preparing) = self.drop_preparing(uid) else { return };
        if preparing.until <= now {
            let why = format!("its volumes were not bound on {} within {PATIENCE:?}", preparing.host);
            self.events.warning(&*preparing.pod, "FailedScheduling", why);
        }
        self.binding.remove(uid);
        self.snapshot.forget(uid);
        self.queue.wake(&Event::left(&preparing.pod, &self.snapshot), now);
        self.queue.retry(uid, preparing.pod, preparing.attempts, now);
    }

    /// The pod is gone, or starts anew.
    pub(super) fn drop_preparing(&mut self, uid: &str) -> Option<Preparing> {
        let preparing = self.preparing.remove(uid)?;
        for (request, _) in &preparing.requests {
            self.snapshot.storage.break_promises(request.claim());
        }
        Some(preparing)
    }

    /// When the first of them has waited for too long.
    pub(super) fn next_patience(&self) -> Option<Instant> {
        self.preparing.values().map(|preparing| preparing.until).min()
    }
}
