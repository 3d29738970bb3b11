//! How many replicas one resource asks for. Pure; the rules and words are Kubernetes'.

use super::metrics::{Metric, milli};
use crate::controllers::pods;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So long after its start a pod's CPU counts only if it is ready, and was for all of the window.
const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
/// A pod that turned unready so soon after its start has never been ready.
const INITIAL_READINESS_DELAY: SignedDuration = SignedDuration::from_secs(30);

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `cpu` or `memory`.
    pub resource: &'a str,
    /// `None`: all containers of a pod together.
    pub container: Option<&'a str>,
    pub goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Percent of what pods request.
    Utilization(i32),
    /// Thousandths of the resource's unit, of each pod.
    AverageValue(i64),
}

/// Ratios of usage to goal that are taken for good.
#[derive(Debug, Clone, Copy)]
pub struct Tolerances {
    pub down: f64,
    pub up: f64,
}

impl Tolerances {
    fn allow(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What a metric asks for, and what it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub replicas: i32,
    /// Percent of the requests, under [`Goal::Utilization`].
    pub utilization: Option<i32>,
    /// Thousandths, of each pod.
    pub average: i64,
}

/// Decides for pods of which there are to be `current` now; `metrics` are those of `target`.
pub fn propose(
    target: Target<'_>,
    pods: &[Arc<Pod>],
    metrics: &BTreeMap<String, Metric>,
    current: i32,
    tolerances: Tolerances,
    now: Timestamp,
) -> Result<Proposal, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let groups = group(pods, metrics, target.resource, now);
    if groups.values.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let requests = match target.goal {
        Goal::Utilization(_) => requests(pods, target)?,
        Goal::AverageValue(_) => BTreeMap::new(),
    };
    let measured = ratio(target.goal, &groups.values, &requests)?;
    let proposal = |replicas| Proposal { replicas, utilization: measured.utilization, average: measured.average };
    let up_with_unready = !groups.unready.is_empty() && measured.ratio > 1.0;
    if !up_with_unready && groups.missing.is_empty() {
        let stay = tolerances.allow(measured.ratio);
        return Ok(proposal(if stay { current } else { times(measured.ratio, groups.ready) }));
    }
    // Those that nothing is known of are taken for what changes least.
    let mut values = groups.values;
    for pod in groups.missing {
        if measured.ratio < 1.0 {
            values.insert(pod, assumed(target.goal, requests.get(pod).copied().unwrap_or(0)));
        } else if measured.ratio > 1.0 {
            values.insert(pod, 0);
        }
    }
    if up_with_unready {
        values.extend(groups.unready.iter().map(|pod| (*pod, 0)));
    }
    let assumed = ratio(target.goal, &values, &requests)?.ratio;
    let turned = (measured.ratio < 1.0 && assumed > 1.0) || (measured.ratio > 1.0 && assumed < 1.0);
    let replicas = times(assumed, values.len());
    let against = (assumed < 1.0 && replicas > current) || (assumed > 1.0 && replicas < current);
    Ok(proposal(if tolerances.allow(assumed) || turned || against { current } else { replicas }))
}

fn times(ratio: f64, pods: usize) -> i32 {
    // Saturates.
    (ratio * pods as f64).ceil() as i32
}

/// On the way down, a pod without metrics uses all that it may.
fn assumed(goal: Goal, request: i64) -> i64 {
    match goal {
        Goal::Utilization(percent) => {
            i64::try_from(i128::from(request) * i128::from(percent.max(100)) / 100).unwrap_or(i64::MAX)
        }
        Goal::AverageValue(value) => value,
    }
}

/// Pods by what their metrics are worth.
struct Groups<'a> {
    /// The metrics that count.
    values: BTreeMap<&'a str, i64>,
    ready: usize,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
}

fn group<'a>(
    pods: &'a [Arc<Pod>],
    metrics: &'a BTreeMap<String, Metric>,
    resource: &str,
    now: Timestamp,
) -> Groups<'a> {
    let values = metrics.iter().map(|(name, metric)| (name.as_str(), metric.value)).collect();
    let mut groups = Groups { values, ready: 0, unready: Vec::new(), missing: Vec::new() };
    for pod in pods {
        let name = pods::name(pod);
        let metric = metrics.get(name);
        if pods::is_terminating(pod) || pods::phase(pod) == "Failed" {
            groups.values.remove(name);
        } else if pods::phase(pod) == "Pending" {
            groups.unready.push(name);
            groups.values.remove(name);
        } else if let Some(metric) = metric {
            if resource == "cpu" && is_starting(pod, metric, now) {
                groups.unready.push(name);
                groups.values.remove(name);
            } else {
                groups.ready += 1;
            }
        } else {
            groups.missing.push(name);
        }
    }
    groups
}

/// Whether what the pod uses is the work of starting rather than its own.
fn is_starting(pod: &Pod, metric: &Metric, now: Timestamp) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready: Option<&PodCondition> = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let started = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    let (Some(ready), Some(started)) = (ready, started) else { return true };
    let unready = ready.status == "False";
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let after = |time: Timestamp, by: SignedDuration| time.saturating_add(by).unwrap_or(Timestamp::MAX);
    if after(started, CPU_INITIALIZATION) > now {
        unready || metric.time < after(since, metric.window)
    } else {
        unready && after(started, INITIAL_READINESS_DELAY) > since
    }
}

/// What each pod requests, in thousandths. A container that requests nothing cannot be measured by it.
fn requests<'a>(pods: &'a [Arc<Pod>], target: Target<'_>) -> Result<BTreeMap<&'a str, i64>, String> {
    pods.iter().map(|pod| Ok((pods::name(pod), request(pod, target)?))).collect()
}

fn request(pod: &Pod, Target { resource, container, .. }: Target<'_>) -> Result<i64, String> {
    let (name, spec) = (pods::name(pod), pod.spec.as_ref());
    let whole = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref()).filter(|_| container.is_none());
    if let Some(found) = whole.and_then(|requests| milli(&requests.get(resource)?.0)) {
        return Ok(found);
    }
    let is_sidecar = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten().filter(is_sidecar);
    let containers = spec.map(|spec| spec.containers.iter()).into_iter().flatten().chain(sidecars);
    let chosen: Vec<&Container> = containers.filter(|one| container.is_none_or(|name| one.name == name)).collect();
    if let (Some(container), true) = (container, chosen.is_empty()) {
        return Err(format!("container {container} not found in Pod {name}"));
    }
    let mut sum = 0i64;
    for one in chosen {
        let requests = one.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        match requests.and_then(|requests| milli(&requests.get(resource)?.0)) {
            Some(found) => sum = sum.saturating_add(found),
            None => return Err(format!("missing request for {resource} in container {} of Pod {name}", one.name)),
        }
    }
    Ok(sum)
}

/// Usage against the goal.
struct Measured {
    ratio: f64,
    utilization: Option<i32>,
    average: i64,
}

fn ratio(goal: Goal, values: &BTreeMap<&str, i64>, requests: &BTreeMap<&str, i64>) -> Result<Measured, String> {
    let whole = |number: i128| i64::try_from(number).unwrap_or(i64::MAX);
    let percent = match goal {
        Goal::AverageValue(goal) => {
            let average = whole(values.values().copied().map(i128::from).sum::<i128>() / values.len().max(1) as i128);
            return Ok(Measured { ratio: average as f64 / goal as f64, utilization: None, average });
        }
        Goal::Utilization(percent) => percent,
    };
    // Metrics of pods that are not there (any more) say nothing.
    let known = values.iter().filter_map(|(pod, value)| Some((i128::from(*value), i128::from(*requests.get(pod)?))));
    let (mut used, mut requested, mut count) = (0, 0, 0);
    for (value, request) in known {
        (used, requested, count) = (used + value, requested + request, count + 1);
    }
    if requested == 0 {
        return Err("no metrics returned matched known pods".into());
    }
    let utilization = i32::try_from(used * 100 / requested).unwrap_or(i32::MAX);
    let ratio = f64::from(utilization) / f64::from(percent);
    Ok(Measured { ratio, utilization: Some(utilization), average: whole(used / count) })
}

#[cfg(test)]
mod tests;
