//! Views of a CronJob and what they lead to, and weeks of CronJobs in a random world.
#![allow(clippy::unwrap_used)]

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

struct World {
    cron: CronJob,
    jobs: Vec<Arc<Job>>,
    now: Timestamp,
    made: usize,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut whole = json!({"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {"containers": []}}}}});
        json_patch::merge(&mut whole, &spec);
        let meta =
            json!({"name": "tick", "namespace": "ns", "uid": "cron", "creationTimestamp": "2024-01-01T00:00:00Z"});
        let cron = from_value(json!({"metadata": meta, "spec": whole})).unwrap();
        Self { cron, jobs: vec![], now: "2024-01-01T00:00:00Z".parse().unwrap(), made: 0 }
    }

    fn minutes(&mut self, minutes: i64) -> &mut Self {
        self.now += SignedDuration::from_mins(minutes);
        self
    }

    fn decide(&self) -> Plan {
        plan(&Observed { cron: &self.cron, jobs: &self.jobs, now: self.now })
    }

    /// One pass; returns the name of the job that was made. The status gets lost if the controller
    /// dies before it writes it.
    fn pass(&mut self, dies: bool) -> Option<String> {
        let Plan { delete, create, mut status, .. } = self.decide();
        self.jobs.retain(|job| !delete.contains(job));
        let made = create.map(|(job, time)| {
            self.made += 1;
            let (mut job, uid) = (*job, format!("j{}", self.made));
            assert!(self.jobs.iter().all(|known| job_name(known) != job_name(&job)), "the run was there already");
            job.metadata.uid = Some(uid.clone());
            status.active.get_or_insert_default().push(reference(&job, Some(uid)));
            status.last_schedule_time = Some(Time(time));
            let name = job_name(&job).to_owned();
            self.jobs.push(Arc::new(job));
            name
        });
        if !dies {
            self.cron.status = Some(status);
        }
        made
    }

    fn end(&mut self, index: usize, kind: &str) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        let status = json!({"startTime": self.now, "completionTime": self.now, "conditions": [{"type": kind, "status": "True"}]});
        Arc::make_mut(job).status = Some(from_value(status).unwrap());
    }

    fn reasons(&self) -> Vec<&'static str> {
        self.decide().events.iter().map(|event| event.1).collect()
    }
}

#[test]
fn a_job_is_made_when_it_is_due() {
    let mut world = World::new(json!({}));
    assert_eq!(world.decide().again, Some(SignedDuration::from_mins(10)));
    assert_eq!(world.minutes(10).pass(false).as_deref(), Some("tick-28401130"));
    assert_eq!(world.pass(false), None);
    let job = &world.jobs[0].metadata;
    assert_eq!(job.annotations.as_ref().unwrap()[SCHEDULED], "2024-01-01T00:10:00Z");
    assert_eq!(
        (&*job.labels.as_ref().unwrap()["a"], &*job.owner_references.as_ref().unwrap()[0].kind),
        ("b", "CronJob")
    );
    assert_eq!(world.decide().status.active.unwrap().len(), 1);
    world.end(0, "Complete");
    assert_eq!(world.reasons(), ["SawCompletedJob"]);
    world.pass(false);
    let status = world.cron.status.as_ref().unwrap();
    assert_eq!((status.active.is_none(), status.last_successful_time.is_some()), (true, true));
}

#[test]
fn a_running_job_is_let_be_waited_for_or_replaced() {
    for (policy, made, kept) in [("Allow", true, 2), ("Forbid", false, 1), ("Replace", true, 1)] {
        let mut world = World::new(json!({ "concurrencyPolicy": policy }));
        world.minutes(10).pass(false);
        world.minutes(10);
        assert_eq!(world.reasons().contains(&"JobAlreadyActive"), !made, "{policy}");
        assert_eq!((world.pass(false).is_some(), world.jobs.len()), (made, kept), "{policy}");
        assert_eq!(world.cron.status.as_ref().unwrap().active.as_ref().unwrap().len(), kept, "{policy}");
    }
}

#[test]
fn a_waiting_run_starts_late_unless_its_deadline_passed() {
    let mut world = World::new(json!({"concurrencyPolicy": "Forbid"}));
    world.minutes(10).pass(false);
    world.minutes(25).pass(false);
    world.end(0, "Failed");
    assert_eq!(world.pass(false).as_deref(), Some("tick-28401150"), "the run of 00:30");
    let mut world = World::new(json!({"startingDeadlineSeconds": 90}));
    assert_eq!(world.minutes(15).pass(false), None);
    assert_eq!(world.minutes(6).pass(false), Some("tick-28401140".into()));
}

#[test]
fn many_missed_runs_are_reported_and_only_the_last_is_made_up_for() {
    let mut world = World::new(json!({"schedule": "* * * * *"}));
    world.minutes(100);
    assert_eq!(world.reasons(), [""; 0]);
    world.minutes(1);
    assert_eq!(world.reasons(), ["TooManyMissedTimes"]);
    assert_eq!(world.pass(false).as_deref(), Some("tick-28401221"));
    assert_eq!(world.pass(false), None);
}

#[test]
fn what_cannot_be_read_or_is_suspended_starts_nothing() {
    let check = |spec: Value, reasons: &[&str]| {
        let mut world = World::new(spec);
        world.minutes(60);
        assert_eq!(world.reasons(), reasons);
        let plan = world.decide();
        assert_eq!((plan.create, plan.again), (None, None));
    };
    check(json!({"suspend": true}), &[]);
    check(json!({"schedule": "x"}), &["UnParseableCronJobSchedule"]);
    check(json!({"timeZone": "Mars/Base"}), &["UnknownTimeZone"]);
}

#[test]
fn zones_have_clocks_of_their_own() {
    let mut world = World::new(json!({"schedule": "0 9 * * *", "timeZone": "Asia/Tokyo"}));
    assert_eq!(world.decide().again, Some(SignedDuration::from_hours(24)), "it is 9 o'clock");
    world.minutes(24 * 60).pass(false);
    assert_eq!(world.jobs[0].metadata.annotations.as_ref().unwrap()[SCHEDULED], "2024-01-02T09:00:00+09:00");
}

#[test]
fn the_history_is_limited_and_foreign_jobs_are_told() {
    let mut world = World::new(json!({}));
    for kind in ["Complete", "Failed", "Complete", "Complete", "Failed", "Complete"] {
        world.minutes(10).pass(false);
        world.end(world.jobs.len() - 1, kind);
    }
    world.pass(false);
    let kinds: Vec<_> = world.jobs.iter().map(|job| finished(job).unwrap().type_.clone()).collect();
    assert_eq!(kinds, ["Complete", "Complete", "Failed", "Complete"]);
    world.jobs.push(Arc::new(from_value(json!({"metadata": {"name": "by-hand", "uid": "x"}})).unwrap()));
    assert_eq!(world.reasons(), ["UnexpectedJob"]);
    assert_eq!(world.decide().status.active, None);
}

proptest! {
    /// Whatever happens, dying between two writes included: no run is made twice, with Forbid and
    /// Replace no two run at once, and every time someone looks, the newest run has been made.
    #[test]
    fn runs_are_made_once(
        steps in prop::collection::vec((0i64..30, any::<bool>(), 0usize..3), 1..40),
        policy in prop::sample::select(vec!["Allow", "Forbid", "Replace"]),
    ) {
        let mut world = World::new(json!({"concurrencyPolicy": policy}));
        let mut seen = std::collections::BTreeSet::new();
        for (minutes, dies, ended) in steps {
            if let Some(name) = world.minutes(minutes).pass(dies) {
                prop_assert!(seen.insert(name));
            }
            let running = world.jobs.iter().filter(|job| finished(job).is_none()).count();
            prop_assert!(policy == "Allow" || running <= 1, "{policy}: {running}");
            let listed = world.decide().status.active.map_or(0, |active| active.len());
            prop_assert!(listed == running || policy == "Replace", "{listed} {running}");
            if ended > 0 {
                world.end(world.jobs.len().saturating_sub(ended), "Complete");
            }
        }
    }
}
