//! What syncs and notifications count, for each Application.
//!
//! The only label with unbounded values is the Application's name: its series go when it goes, and
//! nothing that comes late brings them back.

use super::application::{Application, ApplicationStatus};
use super::notices::{Notice, Reason};
use super::sync::{Summary, SyncError};
use crate::api::notifications::{FORGES, LISTENERS};
use crate::telemetry::Metrics;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Upper bounds of the buckets, in seconds: from one ConfigMap to a rollout that waits for an image.
const SECONDS: [f64; 12] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
const CONDITIONS: [&str; 2] = ["Synced", "Ready"];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    name: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    name: String,
    r#type: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Info {
    name: String,
    revision: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Notified {
    name: String,
    r#type: &'static str,
    result: &'static str,
}

type Seconds = Family<Name, Histogram, fn() -> Histogram>;

/// What became of something that was to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Sent,
    /// Not yet; it is tried again.
    Retried,
    Failed,
    /// There was too much to be told.
    Dropped,
}

impl Sent {
    const ALL: [Self; 4] = [Self::Sent, Self::Retried, Self::Failed, Self::Dropped];

    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

const SYNCED: [&str; 3] = ["succeeded", "failed", "refused"];
const ROLLED_OUT: [&str; 2] = ["ready", "unready"];
const FETCHED: [&str; 2] = ["succeeded", "failed"];
const DRIFTED: [&str; 2] = ["corrected", "left"];

pub struct SyncMetrics {
    /// The Applications there are, with the revision that `info` shows.
    known: Mutex<HashMap<String, String>>,
    syncs: Family<Outcome, Counter>,
    sync_seconds: Seconds,
    rollouts: Family<Outcome, Counter>,
    rollout_seconds: Seconds,
    fetches: Family<Outcome, Counter>,
    fetch_seconds: Seconds,
    drifts: Family<Outcome, Counter>,
    notifications: Family<Notified, Counter>,
    info: Family<Info, Gauge>,
    conditions: Family<Condition, Gauge>,
    suspended: Family<Name, Gauge>,
    last_sync: Family<Name, Gauge<f64, AtomicU64>>,
}

impl Default for SyncMetrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self {
            known: Mutex::default(),
            syncs: Family::default(),
            sync_seconds: Family::new_with_constructor(histogram),
            rollouts: Family::default(),
            rollout_seconds: Family::new_with_constructor(histogram),
            fetches: Family::default(),
            fetch_seconds: Family::new_with_constructor(histogram),
            drifts: Family::default(),
            notifications: Family::default(),
            info: Family::default(),
            conditions: Family::default(),
            suspended: Family::default(),
            last_sync: Family::default(),
        }
    }
}

impl SyncMetrics {
    pub fn count_in(&self, metrics: &Metrics) {
        metrics.register("selkie_app_syncs", "Times a revision was applied, by outcome", self.syncs.clone());
        let help = "Seconds that applying a revision took, or its first stage";
        metrics.register("selkie_app_sync_duration_seconds", help, self.sync_seconds.clone());
        let help = "Rollouts of what syncs had changed, by outcome";
        metrics.register("selkie_app_rollouts", help, self.rollouts.clone());
        let help = "Seconds until all that a sync had changed was ready, or had failed";
        metrics.register("selkie_app_rollout_duration_seconds", help, self.rollout_seconds.clone());
        metrics.register("selkie_app_source_fetches", "Times the source was read, by outcome", self.fetches.clone());
        let help = "Seconds that reading the source took";
        metrics.register("selkie_app_source_fetch_duration_seconds", help, self.fetch_seconds.clone());
        let help = "Times that others had changed objects, by what was done about it";
        metrics.register("selkie_app_drifts", help, self.drifts.clone());
        let help = "Notifications by type and by what became of them";
        metrics.register("selkie_app_notifications", help, self.notifications.clone());
        metrics.register("selkie_app_info", "The revision in force; always 1", self.info.clone());
        let help = "Conditions of an application: 1 for the status that it has";
        metrics.register("selkie_app_condition", help, self.conditions.clone());
        metrics.register("selkie_app_suspended", "Whether an application is suspended", self.suspended.clone());
        let help = "When the revision in force was applied, in seconds since 1970";
        metrics.register("selkie_app_last_sync_timestamp_seconds", help, self.last_sync.clone());
    }

    /// An Application as it is now.
    pub fn show(&self, application: &Application) {
        let (name, status) = (application.name().to_owned(), &application.status);
        let mut known = self.known.lock();
        let shown = known.insert(name.clone(), status.revision.clone());
        if let Some(revision) = shown.filter(|shown| *shown != status.revision) {
            self.info.remove(&Info { name: name.clone(), revision });
        }
        self.info.get_or_create(&Info { name: name.clone(), revision: status.revision.clone() }).set(1);
        for kind in CONDITIONS {
            let now = condition(status, kind);
            for status in STATUSES {
                let labels = Condition { name: name.clone(), r#type: kind, status };
                self.conditions.get_or_create(&labels).set(i64::from(status == now));
            }
        }
        self.suspended.get_or_create(&Name { name: name.clone() }).set(i64::from(application.spec.suspend));
        if let Ok(time) = status.last_sync_time.parse::<jiff::Timestamp>() {
            self.last_sync.get_or_create(&Name { name }).set(time.as_second() as f64);
        }
    }

    /// The Application is gone.
    pub fn forget(&self, name: &str) {
        let mut known = self.known.lock();
        let Some(revision) = known.remove(name) else { return };
        let labels = Name { name: name.to_owned() };
        self.info.remove(&Info { name: name.to_owned(), revision });
        for (kind, status) in CONDITIONS.iter().flat_map(|kind| STATUSES.map(|status| (*kind, status))) {
            self.conditions.remove(&Condition { name: name.to_owned(), r#type: kind, status });
        }
        let results: [(_, &[_]); 4] = [
            (&self.syncs, &SYNCED),
            (&self.rollouts, &ROLLED_OUT),
            (&self.fetches, &FETCHED),
            (&self.drifts, &DRIFTED),
        ];
        for (family, outcome) in results.iter().flat_map(|(family, all)| all.iter().map(move |one| (family, *one))) {
            family.remove(&Outcome { name: name.to_owned(), result: outcome });
        }
        for (kind, what) in types().flat_map(|kind| Sent::ALL.map(|what| (kind, what.name()))) {
            self.notifications.remove(&Notified { name: name.to_owned(), r#type: kind, result: what });
        }
        for family in [&self.sync_seconds, &self.rollout_seconds, &self.fetch_seconds] {
            family.remove(&labels);
        }
        self.suspended.remove(&labels);
        self.last_sync.remove(&labels);
    }

    /// A source was read, or could not be.
    pub fn fetched(&self, name: &str, took: Duration, succeeded: bool) {
        let result = if succeeded { FETCHED[0] } else { FETCHED[1] };
        self.count(name, result, took, &self.fetches, &self.fetch_seconds);
    }

    /// A revision was applied, or could not be.
    pub fn synced(&self, name: &str, took: Duration, error: Option<&SyncError>) {
        let result = match error {
            None => SYNCED[0],
            Some(error) if error.is_temporary() => SYNCED[1],
            Some(_) => SYNCED[2],
        };
        self.count(name, result, took, &self.syncs, &self.sync_seconds);
    }

    /// What a sync had changed is ready, or is not going to be.
    pub fn rolled_out(&self, name: &str, summary: &Summary) {
        let result = if summary.failed.is_empty() { ROLLED_OUT[0] } else { ROLLED_OUT[1] };
        self.count(name, result, summary.elapsed, &self.rollouts, &self.rollout_seconds);
    }

    /// Something was to be told to a target of this type.
    pub fn sent(&self, name: &str, kind: &str, what: Sent) {
        let Some(kind) = types().find(|known| *known == kind) else { return };
        self.of_known(name, || {
            let labels = Notified { name: name.to_owned(), r#type: kind, result: what.name() };
            self.notifications.get_or_create(&labels).inc();
        });
    }

    fn count(
        &self,
        name: &str,
        result: &'static str,
        took: Duration,
        counts: &Family<Outcome, Counter>,
        seconds: &Seconds,
    ) {
        self.of_known(name, || {
            counts.get_or_create(&Outcome { name: name.to_owned(), result }).inc();
            seconds.get_or_create(&Name { name: name.to_owned() }).observe(took.as_secs_f64());
        });
    }

    pub fn noticed(&self, name: &str, notice: &Notice) {
        let result = match notice.reason {
            Reason::DriftCorrected => DRIFTED[0],
            Reason::DriftDetected => DRIFTED[1],
            _ => return,
        };
        self.of_known(name, || {
            self.drifts.get_or_create(&Outcome { name: name.to_owned(), result }).inc();
        });
    }

    fn of_known(&self, name: &str, count: impl FnOnce()) {
        let known = self.known.lock();
        if known.contains_key(name) {
            count();
        }
    }
}

fn types() -> impl Iterator<Item = &'static str> {
    LISTENERS.into_iter().chain(FORGES)
}

fn condition(status: &ApplicationStatus, kind: &str) -> &'static str {
    match status.condition(kind).map(|condition| condition.status.as_str()) {
        Some("True") => "True",
        Some("False") => "False",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::plan::Totals;
    use serde_json::json;

    fn shop(revision: &str) -> Application {
        let status = json!({"revision": revision, "lastSyncTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Synced", "status": "True"}]});
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {}, "status": status})).unwrap()
    }

    #[test]
    fn an_application_leaves_no_series_behind() {
        let (metrics, counts) = (Metrics::default(), SyncMetrics::default());
        counts.count_in(&metrics);
        let drift = Notice { reason: Reason::DriftCorrected, revision: String::new(), message: String::new() };
        let refused = SyncError::Manifests(Vec::new());
        let took = Duration::from_secs(2);
        let rollout =
            Summary { revision: String::new(), totals: Totals::default(), ready: 1, failed: Vec::new(), elapsed: took };
        let count_all = || {
            counts.fetched("shop", took, true);
            counts.fetched("shop", took, false);
            counts.synced("shop", took, None);
            counts.synced("shop", took, Some(&refused));
            counts.rolled_out("shop", &rollout);
            counts.noticed("shop", &drift);
            counts.sent("shop", "gitea", Sent::Retried);
        };
        count_all();
        assert!(!metrics.render().contains("shop"), "it is not known yet");
        counts.show(&shop("a"));
        counts.show(&shop("b"));
        count_all();
        let text = metrics.render();
        for line in [
            "selkie_app_syncs_total{name=\"shop\",result=\"refused\"} 1",
            "selkie_app_sync_duration_seconds_count{name=\"shop\"} 2",
            "selkie_app_rollouts_total{name=\"shop\",result=\"ready\"} 1",
            "selkie_app_rollout_duration_seconds_sum{name=\"shop\"} 2.0",
            "selkie_app_source_fetches_total{name=\"shop\",result=\"failed\"} 1",
            "selkie_app_source_fetch_duration_seconds_count{name=\"shop\"} 2",
            "selkie_app_drifts_total{name=\"shop\",result=\"corrected\"} 1",
            "selkie_app_notifications_total{name=\"shop\",type=\"gitea\",result=\"retried\"} 1",
            "selkie_app_info{name=\"shop\",revision=\"b\"} 1",
            "selkie_app_condition{name=\"shop\",type=\"Synced\",status=\"True\"} 1",
            "selkie_app_condition{name=\"shop\",type=\"Ready\",status=\"Unknown\"} 1",
            "selkie_app_suspended{name=\"shop\"} 0",
            "selkie_app_last_sync_timestamp_seconds{name=\"shop\"} 1767225600",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        assert!(!text.contains("revision=\"a\""), "{text}");
        counts.forget("shop");
        count_all();
        assert!(!metrics.render().contains("shop"), "{}", metrics.render());
    }
}
