//! Scales workloads by what their pods use: HorizontalPodAutoscalers.
//!
//! Looks at each autoscaler every [`PERIOD`], and when its spec changes. Owns no objects: replicas are
//! written through the target's scale, and metrics read at `metrics.k8s.io`, which makes the kubelets read
//! them. Where there is no autoscaler, nothing is read. Decisions are in [`plan`].

mod limits;
mod metrics;
pub mod plan;
mod replicas;
mod target;

use super::replicaset::refusal;
use super::shell::Reconcile;
use super::write;
use crate::api::selector::LabelSelector;
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use http::Method;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use limits::History;
use metrics::PodMetricsList;
use parking_lot::Mutex;
use plan::{Measured, Observed, Plan};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use target::Scale;

/// Kubernetes' `--horizontal-pod-autoscaler-sync-period`.
const PERIOD: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
#[error("the autoscaler's status could not be written")]
struct StatusError(#[source] kube::Error);

struct Controller {
    client: kube::Client,
    autoscalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    events: EventRecorder,
    clock: Clock,
    memories: Mutex<HashMap<ObjectKey, Memory>>,
}

/// What is remembered of one autoscaler.
#[derive(Default)]
struct Memory {
    history: History,
    /// Which pods it scales.
    selector: Option<LabelSelector>,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        autoscalers: ctx.informers.of(),
        pods: ctx.informers.of(),
        events: ctx.events.component("horizontal-pod-autoscaler", None),
        clock: ctx.clock.clone(),
        memories: Mutex::default(),
    };
    super::shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = StatusError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        let to = queue.clone();
        self.autoscalers.subscribe(Box::new(move |change| match change {
            // Its status changes every time that we look.
            Change::Updated { old, new } if old.spec == new.spec && old.uid() == new.uid() => {}
            change => to.add(ObjectKey::of(&**change.object())),
        }));
    }

    async fn synced(&self) {
        self.autoscalers.synced().await;
        self.pods.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, StatusError> {
        let Some(autoscaler) = self.autoscalers.get(&key.namespace, &key.name) else {
            self.memories.lock().remove(key);
            return Ok(None);
        };
        let mut plan = match target::scale(&self.client, &autoscaler).await {
            Ok(scale) => {
                let mut plan = self.plan(key, &autoscaler, &scale).await;
                self.rescale(key, scale, &mut plan).await;
                plan
            }
            Err(why) => plan::unscalable(&autoscaler, &why, self.clock.now()),
        };
        for (kind, reason, message) in plan.events.drain(..) {
            self.events.record(kube::Resource::object_ref(&*autoscaler, &()), kind, reason, message);
        }
        let status = write::put_status(&self.client, &*autoscaler, autoscaler.status.as_ref(), &plan.status).await;
        match status {
            // Whoever changed it wakes us.
            Err(error) if raw::is_conflict(&error) => Ok(Some(PERIOD)),
            outcome => outcome.map(|_| Some(PERIOD)).map_err(StatusError),
        }
    }
}

impl Controller {
    async fn plan(&self, key: &ObjectKey, autoscaler: &HorizontalPodAutoscaler, scale: &Scale) -> Plan {
        let (now, current) = (self.clock.now(), scale.replicas());
        let selector = LabelSelector::parse(scale.selector()).map_err(|error| error.message);
        let history = {
            let mut memories = self.memories.lock();
            let memory = memories.entry(key.clone()).or_default();
            memory.selector = selector.as_ref().ok().filter(|_| !scale.selector().is_empty()).cloned();
            if memory.history.is_empty() {
                memory.history.recommended(now, current);
            }
            memory.history.clone()
        };
        let is_measured = plan::is_measured(&autoscaler.spec, current);
        let (mut pods, mut metrics) = (Vec::new(), Err(String::new()));
        if let (true, Ok(selector)) = (is_measured, &selector) {
            pods = self.pods.list_namespace(&key.namespace);
            pods.retain(|pod| selector.matches(pod.labels()));
            metrics = self.measure(&key.namespace, scale.selector()).await;
        }
        let autoscalers = self.autoscalers_of(&key.namespace, &pods);
        let measured = is_measured.then(|| Measured {
            selector: selector.map(|_| scale.selector()),
            autoscalers: &autoscalers,
            pods: &pods,
            metrics: metrics.as_ref().map_err(Clone::clone),
        });
        let plan = plan::plan(&Observed { autoscaler, current, measured, history: &history, now });
        if let (Some(replicas), Some(memory)) = (plan.recommendation, self.memories.lock().get_mut(key)) {
            memory.history.recommended(now, replicas);
        }
        plan
    }

    /// The autoscalers that scale one of these pods.
    fn autoscalers_of(&self, namespace: &str, pods: &[Arc<Pod>]) -> Vec<String> {
        let memories = self.memories.lock();
        let scales = |memory: &Memory| {
            memory.selector.as_ref().is_some_and(|selector| pods.iter().any(|pod| selector.matches(pod.labels())))
        };
        let found = memories.iter().filter(|(key, memory)| *key.namespace == *namespace && scales(memory));
        let mut names: Vec<String> = found.map(|(key, _)| key.to_string()).collect();
        names.sort_unstable();
        names
    }

    async fn measure(&self, namespace: &str, selector: &str) -> Result<PodMetricsList, String> {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("labelSelector", selector).finish();
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?{query}");
        let body = raw::request(&self.client, Method::GET, &path, None).await.map_err(|error| refusal(&error))?;
        PodMetricsList::read(&body).map_err(|error| format!("the answer is not understood: {error}"))
    }

    async fn rescale(&self, key: &ObjectKey, scale: Scale, plan: &mut Plan) {
        let Some(replicas) = plan.rescale.as_ref().map(|rescale| rescale.replicas) else { return };
        let (current, now) = (scale.replicas(), self.clock.now());
        let outcome = scale.set(&self.client, replicas).await;
        if let (Ok(()), Some(memory)) = (&outcome, self.memories.lock().get_mut(key)) {
            memory.history.scaled(now, replicas - current);
        }
        plan.rescaled(outcome, now);
    }
}

#[cfg(test)]
mod tests;
