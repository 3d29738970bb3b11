//! The pods behind workloads that do not become ready: what is wrong, and what they last wrote.

use super::reporter::FailingPod;
use super::wait::path;
use crate::client::raw;
use crate::gitops::readiness::{Trouble, troubles};
use http::Method;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;

/// How much of a log is told.
const LOG_LINES: usize = 10;
const LOG_LIMIT: Duration = Duration::from_secs(3);

/// Which troubles were told already: pod uid, container, reason.
pub(super) type Told = HashSet<(String, String, String)>;

/// What a look at the pods of a workload finds.
#[derive(Default)]
pub(super) struct Found {
    /// Troubles that were not told yet.
    pub fresh: Vec<FailingPod>,
    /// A pod that time does not help, told or not.
    pub hopeless: Option<FailingPod>,
}

/// Reasons that come back at every try; others come right by themselves more often than not.
const HOPELESS: [&str; 5] =
    ["CrashLoopBackOff", "OOMKilled", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];

/// Whether a pod that was made since then fails at every try. One crash is none: many a program
/// starts before what it needs.
fn is_hopeless(pod: &Value, trouble: &Trouble, since: Option<Timestamp>) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().parse::<Timestamp>().ok();
    let made = text(&pod["metadata"]["creationTimestamp"]);
    let new = since.is_some_and(|since| made.is_some_and(|made| made >= since));
    let lists = ["initContainerStatuses", "containerStatuses"].iter();
    let mut statuses = lists.flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let tries = statuses.find(|one| one["name"] == trouble.container.as_str());
    let crashes = tries.and_then(|one| one["restartCount"].as_u64()).unwrap_or(0);
    new && HOPELESS.contains(&trouble.reason.as_str()) && (trouble.reason != "CrashLoopBackOff" || crashes >= 1)
}

/// Troubles of the pods of `workload` (or of the pod itself). `since`: those made since then may be
/// hopeless. `late`: it should have been ready by now, so that any warning counts, such as of a probe.
pub(super) async fn failing(
    client: &kube::Client,
    workload: &Value,
    told: &mut Told,
    since: Option<Timestamp>,
    late: bool,
) -> Found {
    let mut found = Found::default();
    for pod in pods_of(client, workload).await {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            continue;
        }
        let mut troubles = troubles(&pod);
        if troubles.is_empty() && (is_stuck(&pod) || late && is_unready(&pod)) {
            troubles.extend(warning(client, &pod).await);
        }
        for trouble in troubles {
            let fresh = told.insert((text("/metadata/uid"), trouble.container.clone(), trouble.reason.clone()));
            let hopeless = found.hopeless.is_none() && is_hopeless(&pod, &trouble, since);
            if !fresh && !hopeless {
                continue;
            }
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            let log = log(client, &namespace, &name, &trouble).await;
            let Trouble { container, reason, message, .. } = trouble;
            let failing = FailingPod { namespace, pod: name, container, reason, message, log };
            if hopeless {
                found.hopeless = Some(failing.clone());
            }
            if fresh {
                found.fresh.push(failing);
            }
        }
    }
    found
}

async fn pods_of(client: &kube::Client, workload: &Value) -> Vec<Value> {
    if workload.get("kind").is_some_and(|kind| kind == "Pod") {
        return vec![workload.clone()];
    }
    let Some(selector) = selector(workload) else { return Vec::new() };
    let namespace = workload.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let path = format!("{}?labelSelector={selector}", path("v1", "pods", namespace, ""));
    // The next look may have more luck.
    let Ok(bytes) = raw::request(client, Method::GET, &path, None).await else { return Vec::new() };
    let list: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    items.into_iter().map(typed).collect()
}

/// On a host, but without what its containers run in: no status says why, only events do.
fn is_stuck(pod: &Value) -> bool {
    pod.pointer("/spec/nodeName").is_some() && has_condition(pod, "PodReadyToStartContainers", "False")
}

fn is_unready(pod: &Value) -> bool {
    pod["status"]["phase"] != "Succeeded" && !has_condition(pod, "Ready", "True")
}

fn has_condition(pod: &Value, kind: &str, status: &str) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == status)
}

/// The last warning about a pod or one of its containers.
async fn warning(client: &kube::Client, pod: &Value) -> Option<Trouble> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let metadata = &pod["metadata"];
    let events = path("v1", "events", &text(metadata, "namespace"), "");
    let path = format!("{events}?fieldSelector=type%3DWarning%2CinvolvedObject.uid%3D{}", text(metadata, "uid"));
    let bytes = raw::request(client, Method::GET, &path, None).await.ok()?;
    let list: Value = serde_json::from_slice(&bytes).ok()?;
    // It has a host by now.
    let is_over = |event: &Value| event["reason"] == "FailedScheduling" && pod.pointer("/spec/nodeName").is_some();
    let warnings = list["items"].as_array()?.iter().filter(|event| !is_over(event));
    let last = warnings.max_by_key(|event| text(event, "lastTimestamp"))?;
    let (reason, message) = (text(last, "reason"), text(last, "message"));
    // `spec.containers{web}`
    let field = text(&last["involvedObject"], "fieldPath");
    let container = field.split_once('{').and_then(|(_, name)| name.strip_suffix('}')).unwrap_or_default().to_owned();
    Some(Trouble { ran: !container.is_empty(), container, reason, message })
}

/// Items of a list carry no kind.
fn typed(mut pod: Value) -> Value {
    pod["kind"] = Value::String("Pod".to_owned());
    pod
}

/// The workload's label selector, URL-encoded; its controller made sure that it selects its pods.
fn selector(workload: &Value) -> Option<String> {
    let labels = workload.pointer("/spec/selector/matchLabels").or_else(|| workload.pointer("/spec/selector"))?;
    let pairs = labels.as_object()?.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let encoded: Vec<String> = pairs.map(|(key, value)| format!("{}%3D{value}", key.replace('/', "%2F"))).collect();
    if encoded.is_empty() { None } else { Some(encoded.join("%2C")) }
}

async fn log(client: &kube::Client, namespace: &str, pod: &str, trouble: &Trouble) -> Vec<String> {
    if !trouble.ran || trouble.container.is_empty() {
        return Vec::new();
    }
    last_lines(client, namespace, pod, &trouble.container, trouble.reason == "CrashLoopBackOff").await
}

/// The last lines that a container wrote, or (`previous`) the one before its last restart. None where
/// they cannot be had in time.
pub async fn last_lines(
    client: &kube::Client,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
) -> Vec<String> {
    let pod = path("v1", "pods", namespace, pod);
    let path = format!("{pod}/log?container={container}&tailLines={LOG_LINES}&previous={previous}");
    let request = raw::request(client, Method::GET, &path, None);
    match tokio::time::timeout(LOG_LIMIT, request).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
