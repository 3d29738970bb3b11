//! From what was seen to what is told. Pure.

use super::PATIENCE;
use super::claims;
use super::hosts::{Hosts, PULLING, STARTING, STOPPING};
use super::journal::Entry;
use super::owners::Owners;
use super::pods::{self, Story, stories};
use super::problems::{Problems, Warnings, is_lost_with, short_lived_volumes};
use super::references;
use super::rest::{END, Rest};
use super::verdicts::Verdicts;
use crate::api::changeset::{ChangeAction, ChangeSetStatus, ObjectId};
use crate::api::plan::{Consequences, HostState, Loss, PodAction, PodStep, Pull, Workload};
use crate::gitops::readiness::{Health, Readiness};
use crate::gitops::sync::Progress;
use crate::store::{Record, bucket};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Pods of a workload whose verdicts are told; those of the others are alike.
const VERDICTS: usize = 10;
/// A Node lists this many images and no more.
const LISTED_IMAGES: usize = 50;

/// One run of a copy, over.
pub struct Run<'a> {
    pub owners: &'a Owners<'a>,
    pub journal: &'a [Entry],
    pub change: &'a ChangeSetStatus,
    pub hosts: &'a Hosts,
    pub verdicts: &'a Verdicts,
    pub warnings: &'a Warnings,
    pub unready: Vec<(Value, Readiness)>,
    /// What ended the sync before its last stage.
    pub failed: Vec<Progress>,
    /// Pods were under way before the change set.
    pub busy: bool,
    /// It came in stages.
    pub staged: bool,
    pub health: &'a Health,
    pub rest: Rest,
    pub took: Duration,
}

/// Namespace, kind and name: the order of workloads.
type Place = (String, String, String, String);

#[derive(Default)]
struct Draft<'a> {
    /// What the change set ends.
    ended: Vec<&'a ObjectId>,
    workloads: BTreeMap<Place, Workload>,
    problems: Problems,
    losses: BTreeMap<ObjectId, (u64, BTreeSet<String>)>,
    new_pods: bool,
    jobs: bool,
}

pub fn of(run: &Run<'_>) -> Consequences {
    let cut_short = cut_short(run.rest);
    let mut draft = Draft::of(run.change, Problems::new(!cut_short.is_empty()));
    for story in stories(run.journal) {
        draft.add(run, &story);
    }
    let nodes: Vec<&Arc<Record>> = run.owners.base.bucket(&bucket("", "nodes")).collect();
    draft.problems.stops(&run.failed);
    draft.problems.objects(run.owners, run.warnings);
    draft.problems.unready(&run.unready);
    if nodes.is_empty() {
        // Hosts come with the first apply: that there are none yet is no problem of the manifests.
        draft.problems = Problems::default();
    }
    references::note(run.change, run.owners, &mut draft.problems);
    let pulls = run.hosts.pulls().into_iter().map(|(image, hosts)| Pull { image, hosts }).collect();
    let assumptions = draft.assumptions(run, &nodes);
    let losses = draft.losses.into_iter();
    let workloads = draft.workloads.into_values().map(finish);
    Consequences {
        settled: run.rest == Rest::Settled && run.failed.is_empty(),
        cut_short,
        seconds: seconds(run.took),
        workloads: workloads.collect(),
        pulls,
        problems: draft.problems.list(),
        losses: losses
            .map(|(object, (pods, volumes))| Loss { object, pods, volumes: volumes.into_iter().collect() })
            .collect(),
        claims: claims::at_stake(run.change, run.owners),
        assumptions,
        hosts: nodes.iter().map(|record| host_state(record)).collect(),
    }
}

impl<'a> Draft<'a> {
    fn of(change: &'a ChangeSetStatus, problems: Problems) -> Self {
        let ends = |action| matches!(action, ChangeAction::Deleted | ChangeAction::Replaced);
        let ended = change.results.iter().filter(|result| ends(result.action)).map(|result| &result.id);
        Self { ended: ended.collect(), problems, ..Self::default() }
    }

    fn add(&mut self, run: &Run<'_>, story: &Story) {
        let envelope = &story.last.envelope;
        let root = run.owners.root("v1", "Pod", envelope);
        let (pod, is_new) = (story.object(), story.before.is_none());
        let passed = is_new && story.ended;
        if is_new && story.gone && !passed {
            return;
        }
        let place = (root.namespace.clone(), root.kind.clone(), root.name.clone(), root.api_version.clone());
        let shown = pods::shown_name(&pod, is_new);
        let mut step = PodStep {
            pod: shown,
            host: pods::host(envelope).to_owned(),
            ready: pods::is_ready(&pod),
            ..PodStep::default()
        };
        if let (Some(at), true) = (story.leaving, story.was_active()) {
            (step.action, step.at, step.ready) = (PodAction::Delete, seconds(at), story.gone);
            self.lose(&root, story, &pod);
        } else if story.leaving.is_some() && !passed {
            return;
        } else if is_new {
            (step.action, step.at) = (PodAction::Create, seconds(story.begun));
            self.new_pods = true;
            self.jobs |= root.kind == "Job" || root.kind == "CronJob";
            self.problems.pod(&root, story, &pod, run.warnings);
        } else if let Some(at) = story.bound {
            (step.action, step.at) = (PodAction::Bind, seconds(at));
            self.problems.pod(&root, story, &pod, run.warnings);
        } else if story.was_active() && story.restarts() > 0 {
            (step.action, step.at) = (PodAction::Restart, seconds(story.begun));
            self.problems.pod(&root, story, &pod, run.warnings);
        } else {
            return;
        }
        if matches!(step.action, PodAction::Create | PodAction::Bind) {
            step.verdict = run.verdicts.of(&envelope.uid);
        }
        let workload = self.workloads.entry(place).or_default();
        workload.id = root;
        workload.steps.push(step);
    }

    fn lose(&mut self, root: &ObjectId, story: &Story, pod: &Value) {
        for id in self.ended.iter().filter(|id| is_lost_with(id, root, &story.last.envelope)) {
            let id = ObjectId { uid: String::new(), ..(*id).clone() };
            let (pods, volumes) = self.losses.entry(id).or_default();
            *pods += 1;
            volumes.extend(short_lived_volumes(pod));
        }
    }

    fn assumptions(&self, run: &Run<'_>, nodes: &[&Arc<Record>]) -> Vec<String> {
        let mut all = Vec::new();
        if self.new_pods {
            let pulls = !run.hosts.pulls().is_empty();
            let stops = self.workloads.values().flat_map(|one| &one.steps).any(|s| s.action == PodAction::Delete);
            let pulled = if pulls { "images can be pulled, " } else { "" };
            all.push(format!("{pulled}containers start and stay up, and probes pass"));
            let taking = [(pulls, "pulling an image", PULLING), (stops, "stopping a container", STOPPING)];
            let mut times = vec![format!("starting a container takes {} s", STARTING.as_secs_f64())];
            let taking = taking.iter().filter(|(happens, ..)| *happens);
            times.extend(taking.map(|(_, what, time)| format!("{what} {} s", time.as_secs_f64())));
            all.push(format!("{}: where it takes longer, a host may be free earlier or later", times.join(", ")));
            let creates = |one: &&Workload| one.steps.iter().any(|step| step.action == PodAction::Create);
            if self.workloads.values().filter(creates).count() > 1 {
                all.push(
                    "new pods of several workloads come in this order: in another one they may swap hosts, and where \
                     room is short, others may be left without"
                        .to_owned(),
                );
            }
        }
        if nodes.is_empty() {
            return vec!["no hosts are known yet: where pods go, and whether they can run, is not shown".to_owned()];
        }
        if self.jobs {
            all.push("the containers of Jobs that are not running yet end at once, and well".to_owned());
        }
        if run.busy {
            all.push("pods that are coming or going already get there first".to_owned());
        }
        if run.staged {
            all.push("each stage begins when the one before is ready".to_owned());
        }
        let written = run.change.results.iter().filter(|result| {
            matches!(result.action, ChangeAction::Created | ChangeAction::Configured | ChangeAction::Replaced)
        });
        let written: Vec<&ObjectId> = written.map(|result| &result.id).collect();
        let assumed = written.iter().filter(|id| run.health.assumes(&id.api_version, &id.kind));
        let assumed: BTreeSet<&str> = assumed.map(|id| id.kind.as_str()).collect();
        if !assumed.is_empty() {
            let kinds = assumed.into_iter().collect::<Vec<_>>().join(", ");
            all.push(format!(
                "{kinds}: they become ready by their health checks, as who sees to that takes no part here"
            ));
        }
        let written: BTreeSet<&str> = written.iter().map(|id| id.kind.as_str()).collect();
        if written.contains("CronJob") {
            all.push("CronJobs start nothing: what they will run, when their time comes, is not shown".to_owned());
        }
        if written.contains("HorizontalPodAutoscaler") {
            all.push(
                "autoscalers change nothing: how many replicas they will ask for depends on what pods use".to_owned(),
            );
        }
        if !run.hosts.silent.is_empty() {
            let names = run.hosts.silent.join(", ");
            all.push(format!("hosts that do not answer stay away: {names}"));
        }
        let full = nodes.iter().filter(|node| listed_images(node) >= LISTED_IMAGES);
        let full: Vec<&str> = full.map(|node| node.envelope.name.as_str()).collect();
        if !full.is_empty() && !run.hosts.pulls().is_empty() {
            all.push(format!(
                "images that {} may have beyond the {LISTED_IMAGES} they list count as missing",
                full.join(", ")
            ));
        }
        if run.rest == Rest::Stuck {
            all.push("what was not ready when nothing moved any more stays so".to_owned());
        }
        all
    }
}

/// Why more would have been seen, had the run gone on; empty: it had come to its end.
fn cut_short(rest: Rest) -> String {
    match rest {
        Rest::Settled | Rest::Stuck => String::new(),
        Rest::Moving => format!("after {} hours of its time the cluster still moved", END.as_secs() / 3600),
        Rest::Stopped => format!("looking ahead took longer than {} s", PATIENCE.as_secs()),
    }
}

/// Counts, once all steps are there.
fn finish(mut workload: Workload) -> Workload {
    let count = |action| workload.steps.iter().filter(|step| step.action == action).count() as u64;
    let (made, gone, restarted) = (count(PodAction::Create), count(PodAction::Delete), count(PodAction::Restart));
    workload.replaced = made.min(gone);
    workload.created = made - workload.replaced;
    workload.deleted = gone - workload.replaced;
    workload.restarted = restarted;
    // What happens at one moment happens in no order.
    workload.steps.sort_by(|a, b| {
        a.at.total_cmp(&b.at).then_with(|| (a.action, &a.pod, &a.host).cmp(&(b.action, &b.pod, &b.host)))
    });
    for step in workload.steps.iter_mut().filter(|step| step.verdict.is_some()).skip(VERDICTS) {
        step.verdict = None;
    }
    workload
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

fn listed_images(node: &Record) -> usize {
    let object: Value = serde_json::from_slice(&node.value.bytes()).unwrap_or_default();
    object["status"]["images"].as_array().map_or(0, Vec::len)
}

fn host_state(node: &Record) -> HostState {
    let object: Value = serde_json::from_slice(&node.value.bytes()).unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let ready =
        list(&object["status"]["conditions"]).iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let mut parts = vec![if ready { "Ready" } else { "NotReady" }.to_owned()];
    if object["spec"]["unschedulable"] == true {
        parts.push("cordoned".to_owned());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, amount) in object["status"]["allocatable"].as_object().into_iter().flatten() {
        parts.push(format!("{name} {}", text(amount)));
    }
    for taint in list(&object["spec"]["taints"]) {
        let value = taint["value"].as_str().unwrap_or_default();
        parts.push(format!("taint {}={value}:{}", text(&taint["key"]), text(&taint["effect"])));
    }
    for (name, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        if !name.contains("kubernetes.io/") {
            parts.push(format!("label {name}={}", text(value)));
        }
    }
    HostState { name: node.envelope.name.clone(), ready, state: parts.join(", ") }
}
