//! How an object is doing, in a word and a sentence: the same wherever it is shown. Pure.

use super::health::Judges;
use super::objects::{condition, text};
use crate::base::url::redact;
use crate::gitops::readiness::Readiness;
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// `Ready`, `Progressing`, `Failed`; of hosts `Ready`, `NotReady`, `Unknown`; of applications also
    /// `Syncing`, `Suspended`, `Waiting`, `Held`, `PruneHeld`, `Deleting`; `Missing`.
    pub status: &'static str,
    /// Why; empty where there is nothing to say.
    pub message: String,
}

impl Standing {
    pub fn new(status: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The object ought to be there and is not.
    pub fn missing() -> Self {
        Self::new("Missing", "not there")
    }

    pub fn is_ready(&self) -> bool {
        self.status == "Ready"
    }
}

/// How an object with its apiVersion and kind is doing, by the rules that a sync waits by.
pub fn of(object: &Value, judges: &Judges) -> Standing {
    match (text(object, "/apiVersion"), text(object, "/kind")) {
        ("selkie.dev/v1alpha1", "Application") => application(object),
        ("selkie.dev/v1alpha1", "ApplicationSet") => application_set(object),
        ("v1", "Node") => host(object),
        _ => match judges.readiness(object) {
            Readiness::Ready => Standing::new("Ready", ""),
            Readiness::Progressing(why) => Standing::new("Progressing", why),
            Readiness::Failed(why) => Standing::new("Failed", why),
        },
    }
}

/// A source that is refused comes before how its last good revision is doing.
pub fn application(object: &Value) -> Standing {
    let of =
        |name| condition(object, name).map(|one| (text(one, "/status"), text(one, "/reason"), text(one, "/message")));
    let (status, message) = match (of("Synced"), of("Ready")) {
        (_, Some((_, "Deleting", why))) => ("Deleting", why),
        (Some(("False", "Suspended", why)), _) => ("Suspended", why),
        (Some(("False", "WindowClosed", why)), _) => ("Held", why),
        (Some(("False", "NothingPushed", why)), _) => ("Waiting", why),
        (Some(("False", _, why)), _) => ("Failed", why),
        (Some((_, "PruneHeld", why)), _) => ("PruneHeld", why),
        (_, Some(("True", _, why))) => ("Ready", why),
        (_, Some(("False", "Progressing", why))) => ("Syncing", why),
        (_, Some(("False", _, why))) => ("Failed", why),
        _ => ("Syncing", ""),
    };
    Standing::new(status, message)
}

/// An ApplicationSet.
pub fn application_set(object: &Value) -> Standing {
    let ready = condition(object, "Ready");
    let of = |field: &str| ready.map_or("", |one| text(one, field));
    match (of("/status"), of("/reason")) {
        ("True", "PruneHeld") => Standing::new("PruneHeld", of("/message")),
        ("True", _) => Standing::new("Ready", ""),
        ("False", _) => Standing::new("Failed", of("/message")),
        _ => Standing::new("Syncing", ""),
    }
}

/// Where an Application's manifests come from, without credentials.
pub fn source(application: &Value) -> String {
    let named = ["/spec/source/path", "/spec/source/repoURL"].map(|pointer| text(application, pointer));
    let pushed = application.pointer("/spec/source/push").is_some_and(|push| push == true);
    redact(named.into_iter().chain(pushed.then_some("git push")).find(|text| !text.is_empty()).unwrap_or_default())
}

/// A Node.
pub fn host(object: &Value) -> Standing {
    let ready = condition(object, "Ready");
    match ready.map_or("", |one| text(one, "/status")) {
        "True" => Standing::new("Ready", pressure(object)),
        "False" => Standing::new("NotReady", ready.map_or("", |one| text(one, "/message"))),
        _ => Standing::new("Unknown", ready.map_or("", |one| text(one, "/message"))),
    }
}

/// Why a host that is ready takes no new pods all the same; empty where it does.
fn pressure(node: &Value) -> &'static str {
    let known = [
        ("DiskPressure", "takes no new pods: less than 15 % of the disk is free for images, or 10 % for volumes"),
        ("MemoryPressure", "takes no new pods: it is short of memory"),
        ("PIDPressure", "takes no new pods: it is short of process ids"),
    ];
    let is_under = |name| condition(node, name).is_some_and(|one| text(one, "/status") == "True");
    known.into_iter().find(|(name, _)| is_under(name)).map_or("", |(_, why)| why)
}

/// Of how many it wants how many are ready; `None` for kinds that want none.
pub fn replicas(object: &Value) -> Option<(i64, i64)> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let wanted = |pointer| number(pointer).unwrap_or(1);
    let (ready, wanted) = match text(object, "/kind") {
        "Job" => (number("/status/succeeded"), wanted("/spec/completions")),
        "DaemonSet" => (number("/status/numberReady"), number("/status/desiredNumberScheduled").unwrap_or(0)),
        "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
            (number("/status/readyReplicas"), wanted("/spec/replicas"))
        }
        _ => return None,
    };
    Some((ready.unwrap_or(0), wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_host_whose_disk_is_nearly_full_says_why_it_takes_no_pods() {
        let node = |pressure: &str| {
            let conditions =
                [json!({"type": "DiskPressure", "status": pressure}), json!({"type": "Ready", "status": "True"})];
            host(&json!({"kind": "Node", "status": {"conditions": conditions}}))
        };
        assert_eq!(node("False"), Standing::new("Ready", ""));
        let full = node("True");
        assert!(full.is_ready() && full.message.starts_with("takes no new pods"), "{full:?}");
    }
}
