//! Autoscalers and what they lead to.
#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::{Value, from_value, json};

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn cpu(percent: i32) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn autoscaler(metrics: Value) -> HorizontalPodAutoscaler {
    from_value(json!({
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 6, "metrics": metrics},
    }))
    .unwrap()
}

/// `count` pods that request a core and have been ready for an hour.
fn pods(count: usize) -> Vec<Arc<Pod>> {
    let pod = |number| {
        json!({
            "metadata": {"name": format!("p{number}")},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "startTime": "2026-01-01T11:00:00Z", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}]},
        })
    };
    (0..count).map(|number| Arc::new(from_value(pod(number)).unwrap())).collect()
}

fn metrics(count: usize, cpu: &str) -> PodMetricsList {
    let items: Value = (0..count)
        .map(|number| {
            json!({"metadata": {"name": format!("p{number}")}, "timestamp": "2026-01-01T11:59:59Z", "window": "15s",
                "containers": [{"name": "c", "usage": {"cpu": cpu}}]})
        })
        .collect();
    from_value(json!({ "items": items })).unwrap()
}

fn decide(autoscaler: &HorizontalPodAutoscaler, current: i32, cpu: &str) -> Plan {
    let (pods, metrics) = (pods(current as usize), metrics(current as usize, cpu));
    let measured = is_measured(&autoscaler.spec, current);
    let measured =
        measured.then(|| Measured { selector: Ok("app=web"), autoscalers: &[], pods: &pods, metrics: Ok(&metrics) });
    plan(&Observed { autoscaler, current, measured, history: &History::default(), now: now() })
}

fn condition<'a>(plan: &'a Plan, kind: &str) -> (&'a str, &'a str, &'a str) {
    let condition = plan.status.conditions.iter().flatten().find(|condition| condition.type_ == kind).unwrap();
    (&condition.status, condition.reason.as_deref().unwrap(), condition.message.as_deref().unwrap())
}

#[test]
fn load_above_the_target_adds_replicas() {
    let autoscaler = autoscaler(json!([cpu(50)]));
    let mut plan = decide(&autoscaler, 2, "900m");
    let name = "cpu resource utilization (percentage of request)";
    assert_eq!(plan.rescale, Some(Rescale { replicas: 4, reason: format!("{name} above target") }));
    assert_eq!(plan.recommendation, Some(4));
    let found = "the HPA was able to successfully calculate a replica count from";
    assert_eq!(condition(&plan, "ScalingActive"), ("True", "ValidMetricFound", format!("{found} {name}").as_str()));
    assert_eq!(condition(&plan, "ScalingLimited").1, "DesiredWithinRange");
    assert_eq!(condition(&plan, "AbleToScale").1, "ReadyForNewScale");
    plan.rescaled(Ok(()), now());
    assert_eq!(plan.events, [("Normal", "SuccessfulRescale", format!("New size: 4; reason: {name} above target"))]);
    let message = "the HPA controller was able to update the target scale to 4";
    assert_eq!(condition(&plan, "AbleToScale"), ("True", "SucceededRescale", message));
    let status = &plan.status;
    assert_eq!((status.current_replicas, status.desired_replicas), (Some(2), 4));
    assert_eq!(status.last_scale_time, Some(Time(now())));
    let current = serde_json::to_value(&status.current_metrics).unwrap();
    assert_eq!(current[0]["resource"]["current"], json!({"averageUtilization": 90, "averageValue": "900m"}));
}

#[test]
fn a_refused_change_is_told() {
    let mut plan = decide(&autoscaler(json!([cpu(50)])), 2, "900m");
    plan.rescaled(Err("the object has been modified".into()), now());
    assert_eq!(condition(&plan, "AbleToScale").1, "FailedUpdateScale");
    assert_eq!((plan.status.desired_replicas, plan.status.last_scale_time.clone()), (2, None));
    assert_eq!(plan.events[0].1, "FailedRescale");
}

#[test]
fn the_bounds_come_before_all_metrics() {
    let autoscaler = autoscaler(json!([cpu(50)]));
    let rescale = |current| decide(&autoscaler, current, "1").rescale.unwrap();
    assert_eq!(rescale(9), Rescale { replicas: 6, reason: "Current number of replicas above Spec.MaxReplicas".into() });
    assert_eq!(rescale(1), Rescale { replicas: 2, reason: "Current number of replicas below Spec.MinReplicas".into() });
    let off = decide(&autoscaler, 0, "1");
    assert_eq!((off.rescale.as_ref(), off.status.desired_replicas), (None, 0));
    assert_eq!(condition(&off, "ScalingActive").1, "ScalingDisabled");
    let limited = decide(&autoscaler, 4, "1");
    assert_eq!(limited.rescale.as_ref().unwrap().replicas, 6);
    assert_eq!(condition(&limited, "ScalingLimited").1, "TooManyReplicas");
}

#[test]
fn less_load_takes_replicas_away() {
    let plan = decide(&autoscaler(json!([cpu(50)])), 5, "200m");
    assert_eq!(plan.rescale, Some(Rescale { replicas: 2, reason: "All metrics below target".into() }));
    assert_eq!(decide(&autoscaler(json!([cpu(50)])), 5, "480m").rescale, None);
}

#[test]
fn the_metric_that_asks_for_most_decides() {
    let value = json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
        "target": {"type": "AverageValue", "averageValue": "200m"}}});
    let plan = decide(&autoscaler(json!([cpu(90), value])), 2, "500m");
    assert_eq!(plan.rescale.as_ref().unwrap().replicas, 4, "at once, at most");
    assert_eq!(plan.rescale.as_ref().unwrap().reason, "cpu resource above target");
    let current = serde_json::to_value(&plan.status.current_metrics).unwrap();
    assert_eq!(
        current[1]["containerResource"],
        json!({"container": "c", "name": "cpu", "current": {"averageValue": "500m"}})
    );
}

#[test]
fn other_metrics_are_refused_plainly_and_hold_replicas_where_they_are() {
    let external = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1"}}});
    let plan = decide(&autoscaler(json!([external])), 3, "1");
    let why = "unable to fetch metrics from external.metrics.k8s.io: nothing serves it; use Resource or ContainerResource metrics of cpu or memory";
    let message = format!("the HPA was unable to compute the replica count: {why}");
    assert_eq!(condition(&plan, "ScalingActive"), ("False", "FailedGetExternalMetric", message.as_str()));
    assert_eq!(plan.events[0], ("Warning", "FailedGetExternalMetric", why.to_owned()));
    let summary =
        format!("invalid metrics (1 invalid out of 1), first error is: failed to get external metric value: {why}");
    assert_eq!(plan.events[1], ("Warning", "FailedComputeMetricsReplicas", summary));
    assert_eq!((plan.rescale.as_ref(), plan.recommendation), (None, None));
    // With one that works: up, but not down.
    let mixed = autoscaler(json!([external, cpu(50)]));
    assert_eq!(decide(&mixed, 3, "1").rescale.unwrap().replicas, 6);
    let down = decide(&mixed, 3, "100m");
    assert_eq!((down.rescale.as_ref(), condition(&down, "ScalingActive").1), (None, "FailedGetExternalMetric"));
}

#[test]
fn silence_of_the_metrics_is_told_in_kubernetes_words() {
    let autoscaler = autoscaler(json!([cpu(50)]));
    let (pods, history) = (pods(3), History::default());
    let with = |measured| {
        plan(&Observed { autoscaler: &autoscaler, current: 3, measured: Some(measured), history: &history, now: now() })
    };
    let none = PodMetricsList::default();
    let silent = with(Measured { selector: Ok("app=web"), autoscalers: &[], pods: &pods, metrics: Ok(&none) });
    let why = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API";
    assert_eq!(silent.events[0], ("Warning", "FailedGetResourceMetric", why.to_owned()));
    assert_eq!(
        silent.events[1].2,
        format!("invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {why}")
    );
    assert_eq!(condition(&silent, "ScalingActive").1, "FailedGetResourceMetric");
    assert_eq!(silent.status.current_replicas, Some(3));

    let rivals = ["ns/other".to_owned(), "ns/web".to_owned()];
    let torn = with(Measured { selector: Ok("app=web"), autoscalers: &rivals, pods: &pods, metrics: Ok(&none) });
    let message = "pods by selector app=web are controlled by multiple HPAs: [ns/other ns/web]";
    assert_eq!(condition(&torn, "ScalingActive"), ("False", "AmbiguousSelector", message));
    let blind = with(Measured { selector: Ok(""), autoscalers: &[], pods: &[], metrics: Ok(&none) });
    assert_eq!(condition(&blind, "ScalingActive").1, "InvalidSelector");
}

#[test]
fn a_target_without_a_scale() {
    let plan = unscalable(&autoscaler(json!([cpu(50)])), "deployments.apps \"web\" not found", now());
    let message = "the HPA controller was unable to get the target's current scale: deployments.apps \"web\" not found";
    assert_eq!(condition(&plan, "AbleToScale"), ("False", "FailedGetScale", message));
    assert_eq!(plan.events, [("Warning", "FailedGetScale", "deployments.apps \"web\" not found".to_owned())]);
}

#[test]
fn conditions_change_their_time_with_their_status_only() {
    let mut autoscaler = autoscaler(json!([cpu(50)]));
    autoscaler.status = Some(decide(&autoscaler, 2, "900m").status);
    let later = now() + jiff::SignedDuration::from_mins(1);
    let plan = plan(&Observed {
        autoscaler: &autoscaler,
        current: 0,
        measured: None,
        history: &History::default(),
        now: later,
    });
    let time = |kind: &str| {
        let conditions = plan.status.conditions.iter().flatten();
        conditions
            .filter(|condition| condition.type_ == kind)
            .map(|condition| condition.last_transition_time.clone())
            .next()
    };
    assert_eq!((time("AbleToScale"), time("ScalingActive")), (Some(Some(Time(now()))), Some(Some(Time(later)))));
}
