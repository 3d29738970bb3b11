//! Decides what an autoscaler does. Pure; the rules, reasons and messages are Kubernetes'.

use super::limits::{self, History, Limited, Wish};
use super::metrics::{PodMetricsList, milli};
use super::replicas::{self, Goal, Proposal, Target};
use crate::api::quantity::Quantity as Amount;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// What the controller sees.
pub struct Observed<'a> {
    pub autoscaler: &'a HorizontalPodAutoscaler,
    /// The replicas that the target asks for.
    pub current: i32,
    /// What decides by metrics: `None` unless [`is_measured`].
    pub measured: Option<Measured<'a>>,
    pub history: &'a History,
    pub now: Timestamp,
}

/// The pods of the target and what they use.
pub struct Measured<'a> {
    /// The target's selector, as it is written; what is wrong with it.
    pub selector: Result<&'a str, String>,
    /// Other autoscalers that these pods belong to, `namespace/name`, this one among them.
    pub autoscalers: &'a [String],
    pub pods: &'a [Arc<Pod>],
    /// Why there is no answer, in the API server's words.
    pub metrics: Result<&'a PodMetricsList, String>,
}

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub status: HorizontalPodAutoscalerStatus,
    pub rescale: Option<Rescale>,
    /// Kind, reason and message.
    pub events: Vec<(&'static str, &'static str, String)>,
    /// To be remembered for [`limits::stabilize`].
    pub recommendation: Option<i32>,
}

/// Replicas the target is to have, and why.
#[derive(Debug, PartialEq)]
pub struct Rescale {
    pub replicas: i32,
    pub reason: String,
}

/// Whether metrics decide: between its bounds, and not switched off by a target of no replicas.
pub fn is_measured(spec: &HorizontalPodAutoscalerSpec, current: i32) -> bool {
    (current > 0 || smallest(spec) == 0) && current >= smallest(spec) && current <= spec.max_replicas
}

fn smallest(spec: &HorizontalPodAutoscalerSpec) -> i32 {
    spec.min_replicas.unwrap_or(1)
}

pub fn plan(observed: &Observed) -> Plan {
    let mut plan = Plan { status: known(observed.autoscaler), ..Plan::default() };
    let spec = &observed.autoscaler.spec;
    let able = "the HPA controller was able to get the target's current scale";
    plan.condition("AbleToScale", true, "SucceededGetScale", able, observed.now);
    plan.status.current_replicas = Some(observed.current);
    let (current, min, max) = (observed.current, smallest(spec), spec.max_replicas);
    let rescale = |replicas, reason: &str| Some(Rescale { replicas, reason: reason.into() });
    if current == 0 && min != 0 {
        let why = "scaling is disabled since the replica count of the target is zero";
        plan.condition("ScalingActive", false, "ScalingDisabled", why, observed.now);
        plan.settle(0);
    } else if current > max {
        plan.rescale = rescale(max, "Current number of replicas above Spec.MaxReplicas");
    } else if current < min {
        plan.rescale = rescale(min, "Current number of replicas below Spec.MinReplicas");
    } else if let Some(measured) = &observed.measured {
        follow_metrics(observed, spec, measured, &mut plan);
    }
    plan
}

/// The scale of the target could not be read.
pub fn unscalable(autoscaler: &HorizontalPodAutoscaler, why: &str, now: Timestamp) -> Plan {
    let mut plan = Plan { status: known(autoscaler), ..Plan::default() };
    plan.events.push(("Warning", "FailedGetScale", why.to_owned()));
    let message = format!("the HPA controller was unable to get the target's current scale: {why}");
    plan.condition("AbleToScale", false, "FailedGetScale", &message, now);
    plan
}

fn known(autoscaler: &HorizontalPodAutoscaler) -> HorizontalPodAutoscalerStatus {
    autoscaler.status.clone().unwrap_or_default()
}

fn follow_metrics(observed: &Observed, spec: &HorizontalPodAutoscalerSpec, measured: &Measured, plan: &mut Plan) {
    let Some((desired, name)) = wanted(observed, spec, measured, plan) else { return };
    let (now, behavior) = (observed.now, spec.behavior.as_ref());
    let current = observed.current;
    let wish = Wish { current, desired, min: smallest(spec), max: spec.max_replicas };
    plan.recommendation = Some(desired);
    let Limited { replicas: desired, reason, message } = limits::stabilize(wish, behavior, observed.history, now);
    plan.condition("AbleToScale", true, reason, message, now);
    let limited = limits::limit(Wish { desired, ..wish }, behavior, observed.history, now);
    plan.condition("ScalingLimited", limited.replicas != desired, limited.reason, limited.message, now);
    plan.settle(current);
    if limited.replicas != current {
        let up = wish.desired > current;
        let reason = if up { format!("{name} above target") } else { "All metrics below target".into() };
        plan.rescale = Some(Rescale { replicas: limited.replicas, reason });
    }
}

/// The largest number that a metric asks for, and which metric that is; `None` when nothing can be said.
fn wanted(
    observed: &Observed,
    spec: &HorizontalPodAutoscalerSpec,
    measured: &Measured,
    plan: &mut Plan,
) -> Option<(i32, String)> {
    if let Err((reason, why)) = measured.check() {
        plan.events.push(("Warning", reason, why.clone()));
        plan.condition("ScalingActive", false, reason, &why, observed.now);
        plan.fail(why);
        return None;
    }
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    let (mut found, mut failed): (Option<(i32, String)>, Vec<Failure>) = Default::default();
    let mut statuses = Vec::new();
    for metric in metrics {
        match evaluate(observed, spec, measured, metric) {
            Ok((proposal, name, status)) => {
                if found.as_ref().is_none_or(|(most, _)| proposal > *most) {
                    found = Some((proposal, name));
                }
                statuses.push(status);
            }
            Err((reason, what, why)) => {
                plan.events.push(("Warning", reason, why.clone()));
                failed.push((reason, what, why));
                statuses.push(MetricStatus::default());
            }
        }
    }
    // A metric that fails could ask for more: nothing is taken away without it.
    let usable = found.filter(|(most, _)| failed.is_empty() || *most >= observed.current);
    if let Some((reason, what, why)) = failed.first() {
        let summary = format!(
            "invalid metrics ({} invalid out of {}), first error is: {what}: {why}",
            failed.len(),
            metrics.len()
        );
        if usable.is_none() {
            let message = format!("the HPA was unable to compute the replica count: {why}");
            plan.condition("ScalingActive", false, reason, &message, observed.now);
            plan.fail(summary);
            return None;
        }
    }
    let (most, name) = usable?;
    plan.status.current_metrics = Some(statuses);
    let message = format!("the HPA was able to successfully calculate a replica count from {name}");
    plan.condition("ScalingActive", true, "ValidMetricFound", &message, observed.now);
    Some((most, name))
}

impl Measured<'_> {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let selector = match &self.selector {
            Ok("") => return Err(("InvalidSelector", "the HPA target's scale is missing a selector".into())),
            Ok(selector) => selector,
            Err(why) => {
                let what = "couldn't convert selector into a corresponding internal selector object";
                return Err(("InvalidSelector", format!("{what}: {why}")));
            }
        };
        if self.autoscalers.len() < 2 {
            return Ok(());
        }
        let all = self.autoscalers.join(" ");
        Err(("AmbiguousSelector", format!("pods by selector {selector} are controlled by multiple HPAs: [{all}]")))
    }
}

/// Reason, what was tried, and what went wrong.
type Failure = (&'static str, String, String);

fn evaluate(
    observed: &Observed,
    spec: &HorizontalPodAutoscalerSpec,
    measured: &Measured,
    metric: &MetricSpec,
) -> Result<(i32, String, MetricStatus), Failure> {
    let (target, container, reason, what) = match (metric.type_.as_str(), &metric.resource, &metric.container_resource)
    {
        ("Resource", Some(source), _) => {
            let what = format!("failed to get {} resource metric value", source.name);
            ((&source.name, &source.target), None, "FailedGetResourceMetric", what)
        }
        ("ContainerResource", _, Some(source)) => {
            let what = format!("failed to get {} container metric value", source.container);
            ((&source.name, &source.target), Some(&source.container), "FailedGetContainerResourceMetric", what)
        }
        (kind, ..) => return Err(unserved(kind)),
    };
    let fail = |why: String| (reason, what.clone(), why);
    let (resource, target) = target;
    let goal = goal(target).map_err(fail)?;
    let target = Target { resource, container: container.map(String::as_str), goal };
    let proposed = measured.metrics.clone().and_then(|metrics| metrics.of(resource, target.container));
    let proposed =
        proposed.map_err(|why| format!("unable to get metrics for resource {resource}: {why}")).and_then(|metrics| {
            let tolerances = limits::tolerances(spec.behavior.as_ref());
            replicas::propose(target, measured.pods, &metrics, observed.current, tolerances, observed.now)
        });
    let proposal = proposed.map_err(|why| fail(format!("failed to get {resource} utilization: {why}")))?;
    let name = match (goal, container) {
        (Goal::AverageValue(_), _) => format!("{resource} resource"),
        (_, None) => format!("{resource} resource utilization (percentage of request)"),
        (_, Some(_)) => format!("{resource} container resource utilization (percentage of request)"),
    };
    Ok((proposal.replicas, name, status(metric, proposal)))
}

/// Nothing here serves metrics but those of CPU and memory.
fn unserved(kind: &str) -> Failure {
    let (reason, api, what) = match kind {
        "Object" => ("FailedGetObjectMetric", "custom.metrics.k8s.io", "object metric"),
        "Pods" => ("FailedGetPodsMetric", "custom.metrics.k8s.io", "pods metric"),
        "External" => ("FailedGetExternalMetric", "external.metrics.k8s.io", "external metric"),
        _ => {
            return (
                "InvalidMetricSourceType",
                "failed to read the metric".into(),
                format!("unknown metric source type {kind:?}"),
            );
        }
    };
    let why = format!(
        "unable to fetch metrics from {api}: nothing serves it; use Resource or ContainerResource metrics of cpu or memory"
    );
    (reason, format!("failed to get {what} value"), why)
}

fn goal(target: &MetricTarget) -> Result<Goal, String> {
    if let Some(value) = target.average_value.as_ref().and_then(|value| milli(&value.0)) {
        return Ok(Goal::AverageValue(value));
    }
    let why =
        "invalid resource metric source: neither an average utilization target nor an average value target was set";
    target.average_utilization.map(Goal::Utilization).ok_or_else(|| why.into())
}

fn status(metric: &MetricSpec, proposal: Proposal) -> MetricStatus {
    let average = Quantity(Amount::millis(proposal.average).to_string());
    let current =
        MetricValueStatus { average_utilization: proposal.utilization, average_value: Some(average), value: None };
    let (of_pod, of_container) = (metric.resource.as_ref(), metric.container_resource.as_ref());
    MetricStatus {
        type_: metric.type_.clone(),
        resource: of_pod.map(|source| ResourceMetricStatus { name: source.name.clone(), current: current.clone() }),
        container_resource: of_container.map(|source| ContainerResourceMetricStatus {
            name: source.name.clone(),
            container: source.container.clone(),
            current,
        }),
        ..MetricStatus::default()
    }
}

impl Plan {
    fn condition(&mut self, kind: &str, holds: bool, reason: &str, message: &str, now: Timestamp) {
        let status = if holds { "True" } else { "False" };
        let conditions = self.status.conditions.get_or_insert_default();
        let at = conditions.iter().position(|known| known.type_ == kind).unwrap_or_else(|| {
            conditions.push(HorizontalPodAutoscalerCondition { type_: kind.into(), ..Default::default() });
            conditions.len() - 1
        });
        let condition = &mut conditions[at];
        if condition.status != status {
            condition.last_transition_time = Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)));
        }
        condition.status = status.into();
        (condition.reason, condition.message) = (Some(reason.into()), Some(message.into()));
    }

    fn settle(&mut self, replicas: i32) {
        self.status.desired_replicas = replicas;
    }

    fn fail(&mut self, why: String) {
        self.events.push(("Warning", "FailedComputeMetricsReplicas", why));
    }

    /// Notes how the change of the target went; what went wrong, in the API server's words.
    pub fn rescaled(&mut self, outcome: Result<(), String>, now: Timestamp) {
        let Some(Rescale { replicas, reason }) = self.rescale.take() else { return };
        match outcome {
            Ok(()) => {
                let message = format!("the HPA controller was able to update the target scale to {replicas}");
                self.condition("AbleToScale", true, "SucceededRescale", &message, now);
                self.events.push(("Normal", "SuccessfulRescale", format!("New size: {replicas}; reason: {reason}")));
                self.status.last_scale_time = Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)));
                self.settle(replicas);
            }
            Err(error) => {
                let what = format!("New size: {replicas}; reason: {reason}; error: {error}");
                self.events.push(("Warning", "FailedRescale", what));
                let message = format!("the HPA controller was unable to update the target scale: {error}");
                self.condition("AbleToScale", false, "FailedUpdateScale", &message, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
