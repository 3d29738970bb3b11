//! What a ReplicaSet and a ReplicationController have in common: both keep a number of pods running.

use crate::client::Kind;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::borrow::Cow;

/// One object of either kind, as a ReplicaSet.
#[derive(Debug, Clone)]
pub struct Set<'a> {
    pub metadata: &'a ObjectMeta,
    pub selector: Cow<'a, LabelSelector>,
    /// 1 where the API server's default is missing.
    pub replicas: i32,
    pub min_ready_seconds: i32,
    pub template: Option<&'a PodTemplateSpec>,
    pub status: Option<Cow<'a, ReplicaSetStatus>>,
}

/// A kind whose objects are [`Set`]s. Its status is written in the same words as a ReplicaSet's.
pub trait Replicated: Kind {
    /// Who speaks in events.
    const COMPONENT: &'static str;

    fn set(&self) -> Set<'_>;

    fn selector(&self) -> Cow<'_, LabelSelector>;
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";

    fn set(&self) -> Set<'_> {
        let spec = self.spec.as_ref();
        Set {
            metadata: &self.metadata,
            selector: self.selector(),
            replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            min_ready_seconds: spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0),
            template: spec.and_then(|spec| spec.template.as_ref()),
            status: self.status.as_ref().map(Cow::Borrowed),
        }
    }

    fn selector(&self) -> Cow<'_, LabelSelector> {
        self.spec.as_ref().map_or_else(|| Cow::Owned(nothing()), |spec| Cow::Borrowed(&spec.selector))
    }
}

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";

    fn set(&self) -> Set<'_> {
        let spec = self.spec.as_ref();
        Set {
            metadata: &self.metadata,
            selector: self.selector(),
            replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            min_ready_seconds: spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0),
            template: spec.and_then(|spec| spec.template.as_ref()),
            status: self.status.as_ref().map(|status| {
                let conditions = status.conditions.clone().map(|conditions| {
                    let same = |one: k8s_openapi::api::core::v1::ReplicationControllerCondition| ReplicaSetCondition {
                        type_: one.type_,
                        status: one.status,
                        reason: one.reason,
                        message: one.message,
                        last_transition_time: one.last_transition_time,
                    };
                    conditions.into_iter().map(same).collect()
                });
                Cow::Owned(ReplicaSetStatus {
                    replicas: status.replicas,
                    fully_labeled_replicas: status.fully_labeled_replicas,
                    ready_replicas: status.ready_replicas,
                    available_replicas: status.available_replicas,
                    observed_generation: status.observed_generation,
                    conditions,
                    terminating_replicas: None,
                })
            }),
        }
    }

    /// A plain map; an empty one selects nothing.
    fn selector(&self) -> Cow<'_, LabelSelector> {
        let labels = self.spec.as_ref().and_then(|spec| spec.selector.clone()).filter(|labels| !labels.is_empty());
        Cow::Owned(
            labels.map_or_else(nothing, |labels| LabelSelector { match_labels: Some(labels), match_expressions: None }),
        )
    }
}

/// Where the API server let an object without a selector pass, none of the pods is its.
fn nothing() -> LabelSelector {
    let never = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
        operator: "In".into(),
        ..Default::default()
    };
    LabelSelector { match_labels: None, match_expressions: Some(vec![never]) }
}
