//! Tells others what happens to Applications: programs, people in a chat, and git servers, whose
//! commits get a status.
//!
//! It watches Applications as anybody could, so that no sync ever waits for it. What has reached whom is
//! in `status.notifications`: a daemon that starts again tells the newest state to those who have
//! not heard of it. So the newest state is told at least once; what had passed when a daemon was
//! killed, perhaps not.

mod answer;
mod commit;
mod forge;
mod message;
mod outbox;
mod request;
mod send;
mod target;

use super::application::{Application, NAMESPACE};
use super::metrics::SyncMetrics;
use super::notices::{self, Notice};
use crate::api::notifications::FORGES;
use crate::base::backoff::Backoff;
use crate::base::limits::Limits;
use crate::client::{Change, Context, EventRecorder, Informer};
use outbox::Axis;
use parking_lot::Mutex;
use send::Sender;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use target::Target;

use super::application::SecretRef;

/// As it is written in an Application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Notification {
    pub name: String,
    /// `webhook`, `slack`, `github`, `gitlab` or `gitea`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is sent; of forges the base of their API.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Reasons of notices; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// `OWNER/REPOSITORY`; empty: the source's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
    #[serde(rename = "targetURL", skip_serializing_if = "String::is_empty")]
    pub target_url: String,
}

impl Notification {
    pub fn is_forge(&self) -> bool {
        FORGES.contains(&self.kind.as_str())
    }

    fn wants(&self, notice: &Notice) -> bool {
        self.events.is_empty() || self.events.iter().any(|event| event == notice.reason.name())
    }
}

/// What has reached somebody, as `status.notifications` keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delivery {
    /// The newest state of the sync, of health, and of a commit that was told: `Healthy@REVISION`.
    pub sync: String,
    pub health: String,
    pub commit: String,
    /// RFC 3339; when something was told last.
    pub last_sent_time: String,
    /// Why the newest does not get through; empty: it did.
    pub error: String,
}

/// How patient senders are; real values by default.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The longest that an answer may take.
    pub timeout: Duration,
    pub retry: Backoff,
    /// How long something is tried to be sent.
    pub give_up: Duration,
    /// At once, and then a second, to one destination.
    pub burst: f64,
    pub rate: f64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            retry: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(300) },
            give_up: Duration::from_secs(3600),
            burst: 10.0,
            rate: 1.0,
        }
    }
}

/// What all targets share.
struct Shared {
    context: Context,
    applications: Informer<Application>,
    events: EventRecorder,
    metrics: Arc<SyncMetrics>,
    sender: Sender,
    timing: Timing,
    /// By destination.
    limits: Limits<String>,
}

/// Application and notification.
type Key = (String, String);

/// From now on, until the context's informers end. To be called once, within a tokio runtime.
pub fn attach(context: &Context, metrics: Arc<SyncMetrics>, timing: Timing) {
    let applications = context.informers.of::<Application>();
    let shared = Arc::new(Shared {
        context: context.clone(),
        applications: applications.clone(),
        events: context.events.component("notification-controller", None),
        metrics,
        sender: Sender::new(timing.timeout),
        timing,
        limits: Limits::new(timing.burst, timing.rate),
    });
    let targets: Mutex<HashMap<Key, Target>> = Mutex::default();
    applications.subscribe(Box::new(move |change| {
        let mut targets = targets.lock();
        match change {
            Change::Added(application) => see(&shared, &mut targets, None, application),
            Change::Updated { old, new } => see(&shared, &mut targets, Some(old), new),
            Change::Deleted(application) => targets.retain(|(name, _), _| name != application.name()),
        }
    }));
}

/// Gives each target of an Application what is news to it.
fn see(
    shared: &Arc<Shared>,
    targets: &mut HashMap<Key, Target>,
    old: Option<&Arc<Application>>,
    application: &Arc<Application>,
) {
    let wanted = &application.spec.notifications;
    targets.retain(|(name, target), _| {
        name != application.name() || wanted.iter().any(|notification| notification.name == *target)
    });
    let passing = old.map(|old| notices::passing(old, application)).unwrap_or_default();
    for notification in wanted {
        let key = (application.name().to_owned(), notification.name.clone());
        let target = targets.entry(key).or_insert_with(|| {
            let told = application.status.notifications.get(&notification.name).cloned().unwrap_or_default();
            Target::start(shared.clone(), application.name().to_owned(), notification.clone(), told)
        });
        target.configure(notification);
        if notification.is_forge() {
            commit::status(application).into_iter().for_each(|status| target.offer_commit(status));
            continue;
        }
        for notice in &passing {
            target.offer(Axis::Passing, notice, notification.wants(notice));
        }
        for (axis, notice) in [(Axis::Sync, notices::sync(application)), (Axis::Health, notices::health(application))] {
            if let Some(notice) = notice {
                target.offer(axis, &notice, notification.wants(&notice));
            }
        }
    }
    forget(shared, application);
}

/// Removes what the status says of notifications that the spec has no more.
fn forget(shared: &Arc<Shared>, application: &Arc<Application>) {
    let names: Vec<_> = application.spec.notifications.iter().map(|notification| &notification.name).collect();
    let stale = application.status.notifications.keys().filter(|name| !names.contains(name));
    let gone: BTreeMap<String, Option<Delivery>> = stale.map(|name| (name.clone(), None)).collect();
    if !gone.is_empty() {
        let (shared, name) = (shared.clone(), application.name().to_owned());
        tokio::spawn(async move { target::write(&shared, &name, &gone).await });
    }
}

#[cfg(test)]
mod tests;
