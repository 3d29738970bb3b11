//! Runs Jobs to their end: pods in parallel, replaced when they fail, counted exactly once.
//!
//! Owns the pods whose controller is a Job, and their tracking finalizer. Decisions are in [`plan`].

pub mod indexes;
pub mod plan;

use super::claim::{controller_of, controller_reference};
use super::freshness::Freshness;
use super::replicaset::{refusal, slow_start};
use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use bytes::Bytes;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use plan::{FAILURES, FINALIZER, Failures, IGNORED, INDEX, Observed, Plan};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Pod changes come in bursts; a look after this long sees many at once.
const GATHER: Duration = Duration::from_millis(2);

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("pod {pod} could not be {done}")]
    Pod { pod: String, done: &'static str, source: kube::Error },
    #[error("the Job could not be {done}")]
    Own { done: &'static str, source: kube::Error },
}

struct Controller {
    client: kube::Client,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    events: EventRecorder,
    clock: Clock,
    pods_written: Freshness,
    own_written: Freshness,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        jobs: ctx.informers.of(),
        pods: ctx.informers.of(),
        events: ctx.events.component("job-controller", None),
        clock: ctx.clock.clone(),
        pods_written: Freshness::default(),
        own_written: Freshness::default(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.jobs, queue);
        let to = queue.clone();
        self.pods.subscribe(Box::new(move |change: &Change<Pod>| {
            let pod = change.object();
            if let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job") {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                to.add_after(ObjectKey::new(namespace, &owner.name), GATHER);
            }
        }));
    }

    async fn synced(&self) {
        self.jobs.synced().await;
        self.pods.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let fresh =
            self.pods_written.caught_up(key, &self.pods).await && self.own_written.caught_up(key, &self.jobs).await;
        if !fresh {
            return Ok(Some(Duration::ZERO));
        }
        self.free_orphans(key).await?;
        let job = self.jobs.get(&key.namespace, &key.name);
        if !job.as_ref().is_some_and(|job| is_ours(job)) {
            self.pods_written.forget(key);
            self.own_written.forget(key);
        }
        let Some(job) = job else { return Ok(None) };
        let plan =
            if is_ours(&job) { self.decide(key, &job) } else { Some(plan::of_another(&job, self.clock.now_seconds())) };
        match plan {
            Some(plan) => self.act(key, &job, plan).await,
            None => Ok(None),
        }
    }
}

impl Controller {
    /// Pods of a Job of this name that no longer exists: nobody will count them, so nothing holds them.
    async fn free_orphans(&self, key: &ObjectKey) -> Result<(), SyncError> {
        fn tracked_for(pod: &Pod) -> Option<&str> {
            controller_of(&pod.metadata).filter(|_| plan::is_tracked(pod)).map(|owner| &*owner.name)
        }
        let job = self.jobs.get(&key.namespace, &key.name);
        let current = job.as_ref().and_then(|job| job.metadata.uid.as_ref());
        for pod in self.pods.by_index("tracked by job name", tracked_for, &key.name) {
            let owner = controller_of(&pod.metadata);
            let same_place = pod.metadata.namespace.as_deref() == Some(&*key.namespace);
            if same_place && owner.is_some_and(|owner| owner.kind == "Job" && Some(&owner.uid) != current) {
                self.release(key, &pod).await?;
            }
        }
        Ok(())
    }

    fn decide(&self, key: &ObjectKey, job: &Job) -> Option<Plan> {
        let pods = self.pods.owned_by(job.metadata.uid.as_deref().unwrap_or_default());
        let unaware: HashSet<&str> =
            pods.iter().filter(|pod| !pods::is_terminating(pod)).map(|pod| pods::uid(pod)).collect();
        self.pods_written.settle(key, &unaware);
        let doomed =
            unaware.iter().filter(|uid| self.pods_written.is_deleted(key, uid)).map(|uid| (*uid).to_owned()).collect();
        plan::plan(&Observed { job, pods: &pods, doomed: &doomed, now: self.clock.now_seconds() })
    }

    async fn act(&self, key: &ObjectKey, job: &Arc<Job>, mut plan: Plan) -> Result<Option<Duration>, SyncError> {
        for pod in &plan.release {
            self.release(key, pod).await?;
        }
        for pod in &plan.delete {
            self.release(key, pod).await?;
        }
        for pod in plan.delete.iter().chain(&plan.kill) {
            self.delete(key, job, pod).await?;
        }
        let (created, outcome) = self.create(key, job, &plan).await;
        let missing = (plan.create.len() - created) as i32;
        plan.status.active = plan.status.active.map(|active| active - missing).filter(|active| *active > 0);
        if let Some(change) = write::status_difference(job.status.as_ref(), &plan.status) {
            match write::patch(&self.client, &**job, "/status", change).await {
                Ok(written) => self.own_written.wrote(key, written.revision()),
                Err(error) if raw::is_not_found(&error) => return Ok(None),
                Err(source) => return Err(SyncError::Own { done: "given its status", source }),
            }
        }
        for (kind, reason, message) in plan.events {
            self.events.record(kube::Resource::object_ref(&**job, &()), kind, &reason, message);
        }
        if plan.expired {
            let deleted = write::delete_last(&self.client, &**job).await;
            deleted.map_err(|source| SyncError::Own { done: "deleted", source })?;
        }
        outcome.map(|()| plan.again.map(|wait| wait.unsigned_abs()))
    }

    /// Makes pods; returns how many, and the first failure.
    async fn create(&self, key: &ObjectKey, job: &Arc<Job>, plan: &Plan) -> (usize, Result<(), SyncError>) {
        let wanted = &plan.create;
        let failed = |source| SyncError::Pod { pod: format!("{}-*", key.name), done: "created", source };
        let bodies: Result<Vec<Bytes>, _> = wanted
            .iter()
            .map(|index| {
                let mut pod = new_pod(job, *index);
                if let Some(failures) = index.and_then(|index| plan.failures.get(&index)) {
                    note_failures(&mut pod, *failures);
                }
                write::body(&pod)
            })
            .collect();
        let bodies = match bodies {
            Ok(bodies) => bodies,
            Err(error) => return (0, Err(failed(error))),
        };
        let one = |number: usize| {
            let (client, namespace, body) = (self.client.clone(), key.namespace.clone(), bodies[number].clone());
            async move { write::create::<Pod>(&client, Some(&namespace), body).await }
        };
        let mut created = 0;
        let outcome = slow_start(wanted.len(), one, |written| {
            created += 1;
            self.pods_written.wrote(key, written.revision());
            self.events.normal(&**job, "SuccessfulCreate", format!("Created pod: {}", written.name));
        });
        let outcome = outcome.await.map_err(|error| {
            self.events.warning(&**job, "FailedCreate", format!("Error creating: {}", refusal(&error)));
            failed(error)
        });
        (created, outcome)
    }

    /// Removes the tracking finalizer.
    async fn release(&self, key: &ObjectKey, pod: &Pod) -> Result<(), SyncError> {
        if !plan::is_tracked(pod) {
            return Ok(());
        }
        let left: Vec<_> = pod.metadata.finalizers.iter().flatten().filter(|name| *name != FINALIZER).collect();
        match write::patch(&self.client, pod, "", json!({ "metadata": { "finalizers": left } })).await {
            Ok(written) => self.pods_written.wrote(key, written.revision()),
            Err(error) if raw::is_not_found(&error) => {}
            Err(source) => return Err(SyncError::Pod { pod: pods::name(pod).into(), done: "released", source }),
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, job: &Job, pod: &Pod) -> Result<(), SyncError> {
        let name = pods::name(pod);
        match write::delete(&self.client, pod).await {
            Ok(()) => {
                self.pods_written.deleted(key, pods::uid(pod));
                self.events.normal(job, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(source) => {
                self.events.warning(job, "FailedDelete", format!("Error deleting: {}", refusal(&source)));
                Err(SyncError::Pod { pod: name.into(), done: "deleted", source })
            }
        }
    }
}

/// Whether no other controller was told to manage the Job.
fn is_ours(job: &Job) -> bool {
    let by = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    by.is_none_or(|by| by == "kubernetes.io/job-controller")
}

/// Says how often the pod's index has failed before it.
fn note_failures(pod: &mut Pod, failures: Failures) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(FAILURES.into(), failures.counted.to_string());
    if failures.ignored > 0 {
        annotations.insert(IGNORED.into(), failures.ignored.to_string());
    }
}

/// A pod of the Job; in Indexed mode it knows its index by annotation, label, hostname and variable.
fn new_pod(job: &Job, index: Option<i32>) -> Pod {
    let owner = controller_reference(job);
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let prefix = index.map_or_else(|| owner.name.clone(), |index| format!("{}-{index}", owner.name));
    let labels = [("job-name", &owner.name), ("controller-uid", &owner.uid)];
    let mut pod = pods::from_template(&template, job.metadata.namespace.clone(), &prefix, owner.clone());
    let own = pod.metadata.labels.get_or_insert_default();
    for (key, value) in labels {
        own.entry(key.into()).or_insert_with(|| value.clone());
        own.entry(format!("batch.kubernetes.io/{key}")).or_insert_with(|| value.clone());
    }
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.into());
    let (Some(index), Some(spec)) = (index, pod.spec.as_mut()) else { return pod };
    own.insert(INDEX.into(), index.to_string());
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.into(), index.to_string());
    spec.hostname.get_or_insert(prefix);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let env = container.env.get_or_insert_default();
        if !env.iter().any(|variable| variable.name == "JOB_COMPLETION_INDEX") {
            env.push(EnvVar { name: "JOB_COMPLETION_INDEX".into(), value: Some(index.to_string()), value_from: None });
        }
    }
    pod
}
