//! The cells Ready, Status and Restarts of a pod, in the order of rules kubectl users know.

use crate::api::kinds::json::{integer, list, text};
use crate::api::kinds::table;
use jiff::Timestamp;
use serde_json::Value;

/// What a pod's row says of its containers.
pub struct Summary {
    /// `1/2`.
    pub ready: String,
    /// `Running`, `CrashLoopBackOff`, `Init:0/1`, ...
    pub status: String,
    /// `3` or `3 (5m ago)`.
    pub restarts: String,
}

#[derive(Default)]
struct Tally {
    ready: usize,
    total: usize,
    restarts: i64,
    /// When the last restart's predecessor ended, RFC 3339.
    last_end: String,
    sidecar_restarts: i64,
    last_sidecar_end: String,
}

/// Reads a pod's status.
pub fn summarize(pod: &Value, now: Timestamp) -> Summary {
    let mut tally = Tally { total: list(pod, &["spec", "containers"]).len(), ..Tally::default() };
    let mut reason = match (text(pod, &["status", "phase"]), text(pod, &["status", "reason"])) {
        (phase, "") => phase.to_string(),
        (_, reason) => reason.to_string(),
    };
    let gated = list(pod, &["status", "conditions"])
        .iter()
        .any(|c| text(c, &["type"]) == "PodScheduled" && text(c, &["reason"]) == "SchedulingGated");
    if gated {
        reason = "SchedulingGated".into();
    }
    let initializing = init_reason(pod, &mut tally);
    let initialized = table::condition(pod, "Initialized") == Some("True");
    match initializing {
        Some(init) if !initialized => reason = init,
        init => {
            if let Some(init) = init {
                reason = init;
            }
            tally.restarts = tally.sidecar_restarts;
            tally.last_end = std::mem::take(&mut tally.last_sidecar_end);
            reason = container_reason(pod, reason, &mut tally);
        }
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        let phase = text(pod, &["status", "phase"]);
        if text(pod, &["status", "reason"]) == "NodeLost" {
            reason = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            reason = "Terminating".into();
        }
    }
    let restarts = match tally.last_end.as_str() {
        end if tally.restarts > 0 && !end.is_empty() => {
            format!("{} ({} ago)", tally.restarts, table::since(end, now))
        }
        _ => tally.restarts.to_string(),
    };
    Summary { ready: format!("{}/{}", tally.ready, tally.total), status: reason, restarts }
}

/// The reason that initialization is not over, if so. Counts init containers' restarts and ready
/// sidecars on the way.
fn init_reason(pod: &Value, tally: &mut Tally) -> Option<String> {
    let specs = list(pod, &["spec", "initContainers"]);
    let is_sidecar = |name: &str| {
        specs.iter().any(|spec| text(spec, &["name"]) == name && text(spec, &["restartPolicy"]) == "Always")
    };
    tally.total += specs.iter().filter(|spec| text(spec, &["restartPolicy"]) == "Always").count();
    for (i, status) in list(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        let sidecar = is_sidecar(text(status, &["name"]));
        count(status, &mut tally.restarts, &mut tally.last_end);
        if sidecar {
            count(status, &mut tally.sidecar_restarts, &mut tally.last_sidecar_end);
        }
        let terminated = &status["state"]["terminated"];
        let waiting = text(status, &["state", "waiting", "reason"]);
        if !terminated.is_null() && integer(terminated, &["exitCode"]).unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && status["started"] == Value::Bool(true) {
            tally.ready += usize::from(status["ready"] == Value::Bool(true));
            continue;
        }
        return Some(if !terminated.is_null() {
            format!("Init:{}", terminated_reason(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", specs.len())
        });
    }
    None
}

fn container_reason(pod: &Value, mut reason: String, tally: &mut Tally) -> String {
    let mut running = false;
    let mut failed = String::new();
    for status in list(pod, &["status", "containerStatuses"]).iter().rev() {
        count(status, &mut tally.restarts, &mut tally.last_end);
        let state = &status["state"];
        let waiting = text(state, &["waiting", "reason"]);
        let terminated = &state["terminated"];
        if !waiting.is_empty() {
            reason = waiting.to_string();
        } else if !terminated.is_null() {
            reason = terminated_reason(terminated);
            if integer(terminated, &["exitCode"]).unwrap_or(0) != 0 {
                failed = reason.clone();
            }
        } else if status["ready"] == Value::Bool(true) && !state["running"].is_null() {
            running = true;
            tally.ready += 1;
        }
    }
    if reason != "Completed" || !running {
        return reason;
    }
    if table::condition(pod, "Ready") == Some("True") {
        "Running".into()
    } else if !failed.is_empty() {
        failed
    } else {
        "NotReady".into()
    }
}

fn terminated_reason(terminated: &Value) -> String {
    match (text(terminated, &["reason"]), integer(terminated, &["signal"]).unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", integer(terminated, &["exitCode"]).unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

fn count(status: &Value, restarts: &mut i64, last_end: &mut String) {
    *restarts += integer(status, &["restartCount"]).unwrap_or(0);
    let end = text(status, &["lastState", "terminated", "finishedAt"]);
    // RFC 3339 in UTC sorts as text.
    if end > last_end.as_str() {
        *last_end = end.to_string();
    }
}

/// `ready/total` of the readiness gates, `<none>` without any.
pub fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let ready = gates.iter().filter(|gate| table::condition(pod, text(gate, &["conditionType"])) == Some("True"));
    format!("{}/{}", ready.count(), gates.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn status(status: Value, spec: Value, metadata: Value) -> (String, String, String) {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let summary = summarize(&json!({"metadata": metadata, "spec": spec, "status": status}), now);
        (summary.ready, summary.status, summary.restarts)
    }

    fn row(pod_status: Value) -> String {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let (ready, status, restarts) = status(pod_status, spec, json!({}));
        format!("{ready} {status} {restarts}")
    }

    #[test]
    fn rules_apply_in_order() {
        for (pod_status, expected) in [
            (json!({"phase": "Pending"}), "0/2 Pending 0"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "0/2 Evicted 0"),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
                "0/2 Init:0/1 0",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                "0/2 Init:CrashLoopBackOff 2",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 3}}}]}),
                "0/2 Init:ExitCode:3 0",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [
                    {"ready": true, "state": {"running": {}}},
                    {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                     "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}}]}),
                "1/2 CrashLoopBackOff 3 (5m ago)",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [
                    {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, {"ready": true, "state": {"running": {}}}]}),
                "1/2 NotReady 0",
            ),
        ] {
            assert_eq!(row(pod_status.clone()), expected, "{pod_status}");
        }
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_ended() {
        let dying = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let spec = json!({"containers": [{"name": "a"}]});
        assert_eq!(status(json!({"phase": "Running"}), spec.clone(), dying.clone()).1, "Terminating");
        assert_eq!(status(json!({"phase": "Succeeded"}), spec, dying).1, "Succeeded");
    }

    #[test]
    fn ready_sidecars_count() {
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
        let pod_status = json!({"phase": "Running",
            "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]});
        assert_eq!(status(pod_status, spec, json!({})), ("2/2".into(), "Running".into(), "0".into()));
    }
}
