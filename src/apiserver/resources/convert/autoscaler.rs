//! HorizontalPodAutoscalers are stored as autoscaling/v2. v1 knows a target for CPU only: what else there
//! is travels in annotations, so that a client of v1 that writes what it read loses nothing.

use serde_json::{Value, json};

type Object = serde_json::Map<String, Value>;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// autoscaling/v1 to autoscaling/v2.
pub fn to_v2(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    let mut kept = |name: &str| {
        let annotations = child(child(fields, "metadata")?, "annotations")?;
        serde_json::from_str::<Value>(annotations.remove(name)?.as_str()?).ok()
    };
    let (metrics, behavior, current, conditions) = (kept(METRICS), kept(BEHAVIOR), kept(CURRENT), kept(CONDITIONS));
    if let Some(spec) = child(fields, "spec") {
        let cpu = spec.remove("targetCPUUtilizationPercentage").filter(|percent| !percent.is_null()).map(|percent| {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
        });
        join(spec, "metrics", cpu, metrics);
        restore(spec, "behavior", behavior);
    }
    if let Some(status) = child(fields, "status") {
        let cpu = status.remove("currentCPUUtilizationPercentage").map(|percent| {
            json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}})
        });
        join(status, "currentMetrics", cpu, current);
        restore(status, "conditions", conditions);
    }
    fields.insert("apiVersion".into(), "autoscaling/v2".into());
}

/// autoscaling/v2 to autoscaling/v1.
pub fn to_v1(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    let mut kept = Vec::new();
    if let Some(spec) = child(fields, "spec") {
        let (cpu, others) = split(spec.remove("metrics"), |metric| &metric["target"]["averageUtilization"]);
        cpu.and_then(|percent| spec.insert("targetCPUUtilizationPercentage".into(), percent));
        kept.push((METRICS, others));
        kept.push((BEHAVIOR, spec.remove("behavior")));
    }
    if let Some(status) = child(fields, "status") {
        let (cpu, others) = split(status.remove("currentMetrics"), |metric| &metric["current"]["averageUtilization"]);
        cpu.and_then(|percent| status.insert("currentCPUUtilizationPercentage".into(), percent));
        kept.push((CURRENT, others));
        kept.push((CONDITIONS, status.remove("conditions")));
        for name in ["currentReplicas", "desiredReplicas"] {
            status.entry(name).or_insert(0.into());
        }
    }
    let kept: Vec<(&str, Value)> = kept.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if !kept.is_empty()
        && let Some(annotations) = ensure(fields, "metadata").and_then(|metadata| ensure(metadata, "annotations"))
    {
        annotations.extend(kept.into_iter().map(|(name, value)| (name.to_string(), value.to_string().into())));
    }
    fields.insert("apiVersion".into(), "autoscaling/v1".into());
}

/// The utilization of the CPU, and the metrics that say something else.
fn split(metrics: Option<Value>, utilization: fn(&Value) -> &Value) -> (Option<Value>, Option<Value>) {
    let Some(Value::Array(mut metrics)) = metrics else { return (None, None) };
    let cpu = metrics
        .iter()
        .position(|metric| metric["resource"]["name"] == "cpu" && utilization(&metric["resource"]).is_number());
    let cpu = cpu.map(|index| utilization(&metrics.remove(index)["resource"]).clone());
    (cpu, (!metrics.is_empty()).then(|| metrics.into()))
}

fn child<'a>(fields: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    fields.get_mut(name)?.as_object_mut()
}

fn ensure<'a>(fields: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    fields.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

fn join(fields: &mut Object, name: &str, first: Option<Value>, others: Option<Value>) {
    let others = others.and_then(|others| others.as_array().cloned()).unwrap_or_default();
    let all: Vec<Value> = first.into_iter().chain(others).collect();
    if !all.is_empty() {
        fields.insert(name.into(), all.into());
    }
}

fn restore(fields: &mut Object, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(name.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory",
            "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}});
        let stored = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "a", "annotations": {"x": "y"}},
            "spec": {"maxReplicas": 3, "metrics": [cpu, memory], "behavior": {"scaleDown": {}}},
            "status": {"currentReplicas": 1, "desiredReplicas": 2, "conditions": [{"type": "AbleToScale"}]}});
        let mut object = stored.clone();
        to_v1(&mut object);
        assert_eq!(object["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        to_v2(&mut object);
        assert_eq!(object, stored);
    }
}
