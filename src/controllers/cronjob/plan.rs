//! Decides what a CronJob needs. Pure.

use super::due::{MANY, Timetable};
use crate::base::cron::Schedule;
use crate::controllers::claim::controller_reference;
use crate::controllers::job::plan::finished;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::cmp::Reverse;
use std::sync::Arc;

/// Annotation of a job: the time it is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What the controller sees.
pub struct Observed<'a> {
    pub cron: &'a CronJob,
    /// The jobs it controls.
    pub jobs: &'a [Arc<Job>],
    pub now: Timestamp,
}

/// What to do, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Type, reason and message.
    pub events: Vec<(&'static str, &'static str, String)>,
    /// Jobs that run on but give way to the next, and finished ones beyond the history limits.
    pub delete: Vec<Arc<Job>>,
    /// The next job and the time it is for.
    pub create: Option<(Box<Job>, Timestamp)>,
    /// The status without the job that is made.
    pub status: CronJobStatus,
    /// When to look again.
    pub again: Option<SignedDuration>,
}

pub fn plan(observed: &Observed) -> Plan {
    let status = observed.cron.status.clone().unwrap_or_default();
    let mut plan = Plan { status, ..Plan::default() };
    track(observed, &mut plan);
    prune(observed, &mut plan);
    if observed.cron.metadata.deletion_timestamp.is_none()
        && let Some(table) = timetable(observed.cron, &mut plan)
    {
        start(observed, &table, &mut plan);
        plan.again = table.wait(observed.cron, observed.now);
    }
    plan.status.active = plan.status.active.take().filter(|active| !active.is_empty());
    plan
}

pub fn job_name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}

/// The reference the active list holds.
pub fn reference(job: &Job, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".into()),
        kind: Some("Job".into()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid,
        ..ObjectReference::default()
    }
}

/// Brings the active list and the last success up to date.
fn track(observed: &Observed, plan: &mut Plan) {
    let mut active = plan.status.active.take().unwrap_or_default();
    for job in observed.jobs {
        let known = active.iter().position(|one| one.uid == job.metadata.uid);
        match (finished(job), known) {
            (None, None) if is_own(observed.cron, job) => {
                // Made just before the status could be written.
                active.push(reference(job, job.metadata.uid.clone()));
                let time = scheduled(job).map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
                plan.status.last_schedule_time = plan.status.last_schedule_time.take().max(time);
            }
            (None, None) => {
                let message = format!("Saw a job that the controller did not create or forgot: {}", job_name(job));
                plan.events.push(("Warning", "UnexpectedJob", message));
            }
            (Some(end), Some(known)) => {
                active.remove(known);
                let message = format!("Saw completed job: {}, condition: {}", job_name(job), end.type_);
                plan.events.push(("Normal", "SawCompletedJob", message));
            }
            _ => {}
        }
        let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
        if finished(job).is_some_and(|end| end.type_ == "Complete") {
            plan.status.last_successful_time = plan.status.last_successful_time.take().max(completed);
        }
    }
    active.retain(|one| {
        let there = observed.jobs.iter().any(|job| job.metadata.uid == one.uid);
        if !there {
            let name = one.name.as_deref().unwrap_or_default();
            plan.events.push(("Normal", "MissingJob", format!("Active job went missing: {name}")));
        }
        there
    });
    plan.status.active = Some(active);
}

fn scheduled(job: &Job) -> Option<Timestamp> {
    job.metadata.annotations.as_ref()?.get(SCHEDULED)?.parse().ok()
}

/// Whether the controller made the job, by its name: others may make jobs after the template too.
fn is_own(cron: &CronJob, job: &Job) -> bool {
    scheduled(job).is_some_and(|time| name(cron, time) == job_name(job))
}

/// Finished jobs beyond the history limits, oldest first.
fn prune(observed: &Observed, plan: &mut Plan) {
    let spec = &observed.cron.spec;
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    for (kind, limit) in limits {
        let Some(limit) = limit else { continue };
        let ended = observed.jobs.iter().filter(|job| finished(job).is_some_and(|end| end.type_ == kind));
        let mut ended: Vec<_> = ended.filter(|job| job.metadata.deletion_timestamp.is_none()).collect();
        let begun = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref().map(|time| time.0));
        ended.sort_by_key(|job| Reverse((begun(job), job_name(job).to_owned())));
        plan.delete.extend(ended.into_iter().skip(limit.max(0) as usize).cloned());
    }
}

/// `None` where there is nothing to go by; why, is an event.
fn timetable(cron: &CronJob, plan: &mut Plan) -> Option<Timetable> {
    let spec = &cron.spec;
    let zone = match &spec.time_zone {
        None => TimeZone::UTC,
        Some(name) => match TimeZone::get(name) {
            Ok(zone) => zone,
            Err(_) => {
                let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                plan.events.push(("Warning", "UnknownTimeZone", message));
                return None;
            }
        },
    };
    if spec.suspend == Some(true) {
        return None;
    }
    match Schedule::parse(&spec.schedule) {
        Ok(schedule) => Some(Timetable { schedule, zone }),
        Err(why) => {
            let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
            plan.events.push(("Warning", "UnParseableCronJobSchedule", message));
            None
        }
    }
}

/// Starts the newest run that is due, if it may.
fn start(observed: &Observed, table: &Timetable, plan: &mut Plan) {
    let (cron, now) = (observed.cron, observed.now);
    // What was just found out counts: a job that was made needs no second one.
    let current = CronJob { status: Some(plan.status.clone()), ..cron.clone() };
    let due = table.due(&current, now);
    if due.missed > MANY {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.events.push(("Warning", "TooManyMissedTimes", message.into()));
    }
    let Some(time) = due.time else { return };
    let spec = &cron.spec;
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if deadline.is_some_and(|deadline| now.duration_since(time) > deadline) {
        let shown = time.strftime("%a, %d %b %Y %H:%M:%S %z");
        plan.events.push(("Warning", "MissSchedule", format!("Missed scheduled time to start a job: {shown}")));
        return;
    }
    let active = plan.status.active.get_or_insert_default();
    let name = name(cron, time);
    let exists = observed.jobs.iter().any(|job| job_name(job) == name);
    if exists || active.iter().any(|one| one.name.as_deref() == Some(&name)) {
        return;
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid".to_owned();
            plan.events.push(("Normal", "JobAlreadyActive", message));
            return;
        }
        Some("Replace") => {
            let running = observed.jobs.iter().filter(|job| active.iter().any(|one| one.uid == job.metadata.uid));
            plan.delete.extend(running.cloned());
            active.clear();
        }
        _ => {}
    }
    plan.create = Some((Box::new(new_job(cron, table, name, time)), time));
}

fn name(cron: &CronJob, time: Timestamp) -> String {
    format!("{}-{}", cron.metadata.name.as_deref().unwrap_or_default(), time.as_second() / 60)
}

fn new_job(cron: &CronJob, table: &Timetable, name: String, time: Timestamp) -> Job {
    let template = cron.spec.job_template.clone();
    let wanted = template.metadata.unwrap_or_default();
    let mut annotations = wanted.annotations.unwrap_or_default();
    let shown = if table.zone == TimeZone::UTC {
        time.to_string()
    } else {
        time.to_zoned(table.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    annotations.insert(SCHEDULED.into(), shown);
    Job {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: cron.metadata.namespace.clone(),
            labels: wanted.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests;
