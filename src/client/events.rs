//! Records what happened as core/v1 Events, without ever making the one who reports wait.
//!
//! Reports go through a bounded channel per lane (dropped when it is full), are correlated
//! ([`correlate`]), and written in the background. Reports on one object keep their order.

pub mod correlate;

use super::raw;
use crate::base::clock::Clock;
use correlate::{Correlator, Decision, Report};
use http::Method;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Writers at work: events of different objects share the store's group commits.
const LANES: usize = 4;
/// Reports a lane keeps while the API server is slow or away.
const CAPACITY: usize = 1024;
const TRIES: u32 = 3;
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Clones share lanes; [`Self::component`] gives each component its name.
#[derive(Clone)]
pub struct EventRecorder {
    lanes: Arc<[mpsc::Sender<Report>]>,
    component: Arc<str>,
    host: Option<Arc<str>>,
}

impl EventRecorder {
    /// Starts the writers on the current tokio runtime; they end with `shutdown`.
    pub fn new(client: kube::Client, clock: Clock, shutdown: CancellationToken) -> Self {
        let lanes = (0..LANES).map(|_| {
            let (sender, reports) = mpsc::channel(CAPACITY);
            let writer = write(client.clone(), clock.clone(), reports);
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(writer));
            sender
        });
        Self { lanes: lanes.collect(), component: "selkie".into(), host: None }
    }

    /// A recorder that writes nothing: its reports can be read as they come, up to `capacity` behind.
    pub fn collecting(capacity: usize) -> (Self, mpsc::Receiver<Report>) {
        let (sender, reports) = mpsc::channel(capacity);
        (Self { lanes: [sender].into(), component: "selkie".into(), host: None }, reports)
    }

    /// The recorder of a component as `source.component` names it (`deployment-controller`), on
    /// `host` if it works for one node.
    pub fn component(&self, name: &str, host: Option<&str>) -> Self {
        Self { lanes: self.lanes.clone(), component: name.into(), host: host.map(Into::into) }
    }

    /// Something expected happened to `object`.
    pub fn normal<K: kube::Resource<DynamicType = ()>>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.record(object.object_ref(&()), "Normal", reason, message);
    }

    /// Something went wrong with `object`.
    pub fn warning<K: kube::Resource<DynamicType = ()>>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.record(object.object_ref(&()), "Warning", reason, message);
    }

    /// As [`Self::normal`] and [`Self::warning`], for a reference made by hand (with a `fieldPath`).
    pub fn record(&self, involved: ObjectReference, kind: &'static str, reason: &str, message: impl Into<String>) {
        let mut hasher = DefaultHasher::new();
        (&involved.uid, &involved.name).hash(&mut hasher);
        let lane = hasher.finish() as usize % self.lanes.len();
        let report = Report {
            involved,
            kind,
            reason: reason.into(),
            message: message.into(),
            component: self.component.clone(),
            host: self.host.clone(),
        };
        if self.lanes[lane].try_send(report).is_err() {
            debug!(reason, "event dropped: the event writer is behind");
        }
    }
}

async fn write(client: kube::Client, clock: Clock, mut reports: mpsc::Receiver<Report>) {
    let mut correlator = Correlator::default();
    while let Some(report) = reports.recv().await {
        match correlator.observe(report, clock.now()) {
            Decision::Drop => {}
            Decision::Create(event) => create(&client, &event).await,
            Decision::Bump { event, patch } => {
                let path = format!("{}/{}", collection(&event), event.metadata.name.as_deref().unwrap_or_default());
                let body = patch.to_string().into_bytes();
                let outcome = send(&client, Method::PATCH, &path, STRATEGIC, body).await;
                // Events expire; the next occurrence starts it anew, with the count so far.
                if outcome.is_err_and(|error| raw::is_not_found(&error)) {
                    create(&client, &event).await;
                }
            }
        }
    }
}

fn collection(event: &Event) -> String {
    format!("/api/v1/namespaces/{}/events", event.metadata.namespace.as_deref().unwrap_or("default"))
}

async fn create(client: &kube::Client, event: &Event) {
    let body = match serde_json::to_vec(event) {
        Ok(body) => body,
        Err(error) => return debug!(%error, "event dropped: it cannot be written as JSON"),
    };
    if let Err(error) = send(client, Method::POST, &collection(event), "application/json", body).await {
        debug!(%error, reason = event.reason, "event dropped: the API server refused it");
    }
}

/// Retries what got no answer; a refusal is final (the namespace may be going away).
async fn send(
    client: &kube::Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<(), kube::Error> {
    let mut tries = 0;
    loop {
        let outcome = raw::request(client, method.clone(), path, Some((content_type, body.clone().into()))).await;
        tries += 1;
        match outcome {
            Err(error) if raw::code(&error).is_none_or(|code| code == 429 || code >= 500) && tries < TRIES => {
                tokio::time::sleep(Duration::from_secs(1) * tries).await;
            }
            outcome => return outcome.map(drop),
        }
    }
}
