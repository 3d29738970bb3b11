//! Keeps the status of PodDisruptionBudgets. Evictions count for themselves when they are asked for;
//! the status tells people, and what drains nodes, how much is left.

use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::api::disruption::Count;
use crate::api::selector::LabelSelector;
use crate::base::clock::Clock;
use crate::client::{Context, Informer, Kind, ObjectKey, WorkQueue, raw};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pods become ready in bursts: their budgets are counted once a burst.
const GATHER: Duration = Duration::from_millis(100);

struct Controller {
    client: kube::Client,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
    replication_controllers: Informer<ReplicationController>,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("the budget's selector is not valid: {0}")]
    Selector(String),
    #[error("the budget's status could not be written")]
    Status(#[from] kube::Error),
    #[error("the budget could not be read")]
    Read(#[from] serde_json::Error),
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        budgets: ctx.informers.of(),
        pods: ctx.informers.of(),
        deployments: ctx.informers.of(),
        replica_sets: ctx.informers.of(),
        stateful_sets: ctx.informers.of(),
        replication_controllers: ctx.informers.of(),
        clock: ctx.clock.clone(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.budgets, queue);
        self.count_again_after(&self.pods, queue);
        self.count_again_after(&self.deployments, queue);
    }

    async fn synced(&self) {
        self.budgets.synced().await;
        self.pods.synced().await;
        self.deployments.synced().await;
        self.replica_sets.synced().await;
        self.stateful_sets.synced().await;
        self.replication_controllers.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let Some(budget) = self.budgets.get(&key.namespace, &key.name) else { return Ok(None) };
        let value = serde_json::to_value(&*budget)?;
        let count = self.count(&key.namespace, &value["spec"])?;
        let status = self.status(&value, count);
        let Some(change) = write::difference(&value["status"], &status) else { return Ok(None) };
        match write::patch(&self.client, &*budget, "/status", json!({ "status": change })).await {
            Err(error) if raw::is_not_found(&error) => Ok(None),
            Err(error) if raw::is_conflict(&error) => Ok(Some(GATHER)),
            outcome => Ok(outcome.map(|_| None)?),
        }
    }
}

impl Controller {
    /// The budgets of its namespace, when an object of this kind changes.
    fn count_again_after<K: Kind>(&self, informer: &Informer<K>, queue: &WorkQueue<ObjectKey>) {
        let (to, budgets) = (queue.clone(), self.budgets.clone());
        informer.subscribe(Box::new(move |change| {
            for budget in budgets.list_namespace(change.object().meta().namespace.as_deref().unwrap_or_default()) {
                to.add_after(ObjectKey::of(&*budget), GATHER);
            }
        }));
    }

    fn count(&self, namespace: &str, spec: &Value) -> Result<Count, SyncError> {
        let selector = LabelSelector::from_object(&spec["selector"]).map_err(SyncError::Selector)?;
        let (mut healthy, mut expected) = (0, BTreeMap::new());
        for pod in self.pods.list_namespace(namespace) {
            if !selector.matches(pod.labels()) {
                continue;
            }
            healthy += i64::from(pods::is_ready(&pod) && !pods::is_terminating(&pod));
            let (uid, replicas) = self.scaled(&pod).unwrap_or((pods::uid(&pod).to_string(), 1));
            expected.insert(uid, replicas);
        }
        Ok(Count::new(spec, expected.values().sum(), healthy))
    }

    /// Who says how many of a pod there are to be, and how many.
    fn scaled(&self, pod: &Pod) -> Option<(String, i64)> {
        let namespace = pod.namespace().unwrap_or_default();
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
        let found = |uid: Option<String>, replicas: Option<i32>| Some((uid?, i64::from(replicas.unwrap_or(1))));
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.get(&namespace, &owner.name)?;
                let above = set.owner_references().iter().find(|owner| owner.controller == Some(true));
                let deployment = above.and_then(|owner| self.deployments.get(&namespace, &owner.name));
                match deployment {
                    Some(deployment) => found(deployment.uid(), deployment.spec.as_ref()?.replicas),
                    None => found(set.uid(), set.spec.as_ref()?.replicas),
                }
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(&namespace, &owner.name)?;
                found(set.uid(), set.spec.as_ref()?.replicas)
            }
            "ReplicationController" => {
                let set = self.replication_controllers.get(&namespace, &owner.name)?;
                found(set.uid(), set.spec.as_ref()?.replicas)
            }
            _ => None,
        }
    }

    fn status(&self, budget: &Value, count: Count) -> Value {
        let (state, reason) =
            if count.allowed() > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        let generation = &budget["metadata"]["generation"];
        let before = budget["status"]["conditions"].as_array().into_iter().flatten();
        let before = before.clone().find(|condition| condition["type"] == "DisruptionAllowed");
        let since = before.filter(|condition| condition["status"] == state).map(|c| c["lastTransitionTime"].clone());
        let since = since.unwrap_or_else(|| self.clock.now_seconds().to_string().into());
        json!({
            "conditions": [{"type": "DisruptionAllowed", "status": state, "reason": reason, "message": "",
                "observedGeneration": generation, "lastTransitionTime": since}],
            "currentHealthy": count.healthy, "desiredHealthy": count.desired, "expectedPods": count.expected,
            "disruptionsAllowed": count.allowed(), "observedGeneration": generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::rig::Rig;

    #[tokio::test(start_paused = true)]
    async fn the_status_counts_healthy_pods() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), 1));
        let root = "/api/v1/namespaces/default/pods";
        for name in ["a", "b"] {
            let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}});
            rig.post(root, pod).await;
        }
        let budget = json!({"metadata": {"name": "b"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
        rig.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget).await;
        let path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b";
        let counted = |budget: &Value| budget["status"]["expectedPods"] == 2;
        assert_eq!(rig.until(path, counted).await["status"]["disruptionsAllowed"], 0);
        for name in ["a", "b"] {
            let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            rig.status(&format!("{root}/{name}"), ready).await;
        }
        let budget = rig.until(path, |budget| budget["status"]["disruptionsAllowed"] == 1).await;
        assert_eq!(budget["status"]["conditions"][0]["reason"], "SufficientPods");
        assert_eq!(budget["status"]["currentHealthy"], 2);
    }
}
