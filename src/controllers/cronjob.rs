//! Starts the jobs of CronJobs when they are due.
//!
//! Owns the jobs whose controller is a CronJob. Decisions are in [`plan`]; this is the shell.

pub mod due;
pub mod plan;

use super::claim::controller_of;
use super::freshness::Freshness;
use super::replicaset::refusal;
use super::shell::{self, Reconcile};
use super::write;
use crate::base::clock::Clock;
use crate::client::{Change, Context, EventRecorder, Informer, ObjectKey, WorkQueue, raw};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use plan::{Observed, job_name};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("job {job} could not be {done}")]
    Job { job: String, done: &'static str, source: kube::Error },
    #[error("the CronJob's status could not be written")]
    Status(#[source] kube::Error),
}

struct Controller {
    client: kube::Client,
    crons: Informer<CronJob>,
    jobs: Informer<Job>,
    events: EventRecorder,
    clock: Clock,
    jobs_written: Freshness,
    own_written: Freshness,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let controller = Controller {
        client: ctx.client.clone(),
        crons: ctx.informers.of(),
        jobs: ctx.informers.of(),
        events: ctx.events.component("cronjob-controller", None),
        clock: ctx.clock.clone(),
        jobs_written: Freshness::default(),
        own_written: Freshness::default(),
    };
    shell::run(&ctx, workers, controller).await;
}

impl Reconcile for Controller {
    type Error = SyncError;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.crons, queue);
        let to = queue.clone();
        self.jobs.subscribe(Box::new(move |change: &Change<Job>| {
            let job = change.object();
            if let Some(owner) = controller_of(&job.metadata).filter(|owner| owner.kind == "CronJob") {
                to.add(ObjectKey::new(job.metadata.namespace.as_deref().unwrap_or_default(), &owner.name));
            }
        }));
    }

    async fn synced(&self) {
        self.crons.synced().await;
        self.jobs.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, SyncError> {
        let fresh =
            self.jobs_written.caught_up(key, &self.jobs).await && self.own_written.caught_up(key, &self.crons).await;
        if !fresh {
            return Ok(Some(Duration::ZERO));
        }
        let Some(cron) = self.crons.get(&key.namespace, &key.name) else {
            self.jobs_written.forget(key);
            self.own_written.forget(key);
            return Ok(None);
        };
        let jobs = self.jobs.owned_by(cron.metadata.uid.as_deref().unwrap_or_default());
        let plan = plan::plan(&Observed { cron: &cron, jobs: &jobs, now: self.clock.now() });
        let mut status = plan.status;
        for (kind, reason, message) in plan.events {
            self.events.record(kube::Resource::object_ref(&*cron, &()), kind, reason, message);
        }
        for job in &plan.delete {
            self.delete(&cron, job).await?;
        }
        let outcome = match plan.create {
            Some((job, time)) => self.create(key, &cron, &job, time, &mut status).await,
            None => Ok(()),
        };
        self.report(key, &cron, &status).await?;
        outcome.map(|()| plan.again.map(|wait| wait.unsigned_abs()))
    }
}

impl Controller {
    async fn create(
        &self,
        key: &ObjectKey,
        cron: &CronJob,
        job: &Job,
        time: Timestamp,
        status: &mut CronJobStatus,
    ) -> Result<(), SyncError> {
        let name = job_name(job);
        let failed = |source| SyncError::Job { job: name.into(), done: "created", source };
        let body = write::body(job).map_err(failed)?;
        match write::create::<Job>(&self.client, Some(&key.namespace), body).await {
            Ok(written) => {
                self.jobs_written.wrote(key, written.revision());
                status.active.get_or_insert_default().push(plan::reference(job, Some(written.uid)));
                status.last_schedule_time = Some(Time(time));
                self.events.normal(cron, "SuccessfulCreate", format!("Created job {name}"));
                Ok(())
            }
            // Another's job has the name: this run is its.
            Err(error) if raw::is_conflict(&error) => {
                status.last_schedule_time = Some(Time(time));
                Ok(())
            }
            Err(error) => {
                self.events.warning(cron, "FailedCreate", format!("Error creating job: {}", refusal(&error)));
                Err(failed(error))
            }
        }
    }

    async fn delete(&self, cron: &CronJob, job: &Arc<Job>) -> Result<(), SyncError> {
        let name = job_name(job);
        match write::delete(&self.client, &**job).await {
            Ok(()) => {
                self.events.normal(cron, "SuccessfulDelete", format!("Deleted job {name}"));
                Ok(())
            }
            Err(source) => {
                self.events.warning(cron, "FailedDelete", format!("Deleted job: {}", refusal(&source)));
                Err(SyncError::Job { job: name.into(), done: "deleted", source })
            }
        }
    }

    async fn report(&self, key: &ObjectKey, cron: &CronJob, status: &CronJobStatus) -> Result<(), SyncError> {
        let written = write::put_status(&self.client, cron, cron.status.as_ref(), status).await;
        self.own_written.wrote(key, written.map_err(SyncError::Status)?);
        Ok(())
    }
}
