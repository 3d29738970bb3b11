//! What a Deployment asks about its ReplicaSets, and the annotations it keeps on them. Pure.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's `spec.replicas` when the set was last scaled ...
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// ... and the most pods it allowed then: what proportional scaling is in proportion to.
pub const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
];
/// Characters of the revision history annotation.
const HISTORY_LENGTH: usize = 2000;

pub type Annotations = BTreeMap<String, String>;

pub fn name(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// `spec.replicas`.
pub fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub fn is_active(set: &ReplicaSet) -> bool {
    wanted(set) > 0
}

fn status<T: Default>(set: &ReplicaSet, field: impl FnOnce(&ReplicaSetStatus) -> T) -> T {
    set.status.as_ref().map(field).unwrap_or_default()
}

/// Pods that exist, as last reported.
pub fn existing(set: &ReplicaSet) -> i32 {
    status(set, |status| status.replicas)
}

pub fn ready(set: &ReplicaSet) -> i32 {
    status(set, |status| status.ready_replicas.unwrap_or(0))
}

pub fn available(set: &ReplicaSet) -> i32 {
    status(set, |status| status.available_replicas.unwrap_or(0))
}

/// Whether the set has reported since its spec last changed. Before that its numbers say nothing
/// about the pods it may have made or deleted meanwhile.
pub fn has_reported(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed >= set.metadata.generation
}

/// Pods that will still be available once the set has followed its spec.
pub fn lasting(set: &ReplicaSet) -> i32 {
    available(set).min(wanted(set))
}

/// Pods that may exist: the set may yet make what its spec asks for.
pub fn possible(set: &ReplicaSet) -> i32 {
    existing(set).max(wanted(set))
}

pub fn total(sets: &[Arc<ReplicaSet>], of: fn(&ReplicaSet) -> i32) -> i32 {
    sets.iter().map(|set| of(set)).sum()
}

pub fn created(set: &ReplicaSet) -> (Option<jiff::Timestamp>, &str) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), name(set))
}

fn number<T: std::str::FromStr>(set: &ReplicaSet, annotation: &str) -> Option<T> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// 0 for a set without a revision.
pub fn revision(set: &ReplicaSet) -> i64 {
    number(set, REVISION).unwrap_or(0)
}

pub fn desired(set: &ReplicaSet) -> Option<i32> {
    number(set, DESIRED)
}

pub fn maximum(set: &ReplicaSet) -> Option<i32> {
    number(set, MAXIMUM)
}

/// The Deployment's replicas and how far a rollout may stray from them, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub replicas: i32,
    pub surge: i32,
    pub unavailable: i32,
}

impl Limits {
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let strategy = spec.and_then(|spec| spec.strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            return Self { replicas, surge: 0, unavailable: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = pods(rolling.and_then(|rolling| rolling.max_surge.as_ref()), replicas, true);
        let mut unavailable = pods(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), replicas, false);
        // Rounding may leave no room at all, and then nothing would ever move.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { replicas, surge, unavailable: unavailable.min(replicas) }
    }

    /// The most pods there may be.
    pub fn most(&self) -> i32 {
        self.replicas + self.surge
    }

    /// The fewest pods that must be available.
    pub fn fewest(&self) -> i32 {
        self.replicas - self.unavailable
    }

    /// What sets are annotated with.
    pub fn annotations(&self) -> Annotations {
        [(DESIRED.to_owned(), self.replicas.to_string()), (MAXIMUM.to_owned(), self.most().to_string())].into()
    }
}

/// A number or a percentage of `replicas`; 25% if absent or unreadable, which validation prevents.
fn pods(value: Option<&IntOrString>, replicas: i32, round_up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(count)) => return (*count).max(0),
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse::<i64>().unwrap_or(25),
        None => 25,
    };
    let scaled = percent * i64::from(replicas);
    (if round_up { (scaled + 99) / 100 } else { scaled / 100 }).max(0) as i32
}

/// The annotations a set should have: the Deployment's own, and `revision` if that is newer than the
/// set's, whose old one then goes into the history. What the set has besides stays.
pub fn annotations(deployment: &Deployment, set: Option<&ReplicaSet>, newest: i64) -> Annotations {
    let mut wanted = set.and_then(|set| set.metadata.annotations.clone()).unwrap_or_default();
    let own = deployment.metadata.annotations.iter().flatten();
    wanted.extend(
        own.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())),
    );
    let known = set.map_or(0, revision);
    if known < newest {
        wanted.insert(REVISION.into(), newest.to_string());
        if known > 0 {
            let past = wanted.get(HISTORY).filter(|past| !past.is_empty());
            let mut history = past.map_or_else(|| known.to_string(), |past| format!("{past},{known}"));
            while history.len() > HISTORY_LENGTH {
                history = history.split_once(',').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
            }
            wanted.insert(HISTORY.into(), history);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, from_value, json};

    fn check(replicas: i32, surge: Value, unavailable: Value, expect: (i32, i32)) {
        let deployment: Deployment = from_value(json!({"metadata": {}, "spec": {
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        }}))
        .unwrap();
        let limits = Limits::of(&deployment);
        assert_eq!((limits.surge, limits.unavailable), expect);
    }

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        check(10, json!("25%"), json!("25%"), (3, 2));
        check(3, json!("25%"), json!("25%"), (1, 0));
        check(1, json!(0), json!("25%"), (0, 1));
        check(2, json!(1), json!(5), (1, 2));
        check(0, json!("25%"), json!("25%"), (0, 0));
        check(1000, Value::Null, Value::Null, (250, 250));
    }

    #[test]
    fn revisions_go_into_history() {
        let deployment: Deployment =
            from_value(json!({"metadata": {"annotations": {"team": "a", REVISION: "7"}}})).unwrap();
        let set: ReplicaSet =
            from_value(json!({"metadata": {"annotations": {REVISION: "2", HISTORY: "1", "own": "x"}}})).unwrap();
        let wanted = annotations(&deployment, Some(&set), 5);
        let expect = [(HISTORY, "1,2"), (REVISION, "5"), ("own", "x"), ("team", "a")];
        assert_eq!(wanted, expect.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(annotations(&deployment, Some(&set), 2)[REVISION], "2");
    }
}
