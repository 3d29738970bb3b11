//! Pods: when one is ready, and what keeps one from it.

use super::{Readiness, condition, progressing};
use crate::gitops::hooks::is_hook;
use serde_json::Value;

pub(super) fn readiness(object: &Value) -> Readiness {
    match object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending") {
        "Succeeded" => return Readiness::Ready,
        "Failed" => {
            let reason = object.pointer("/status/reason").and_then(Value::as_str).unwrap_or("the pod failed");
            return Readiness::Failed(reason.to_owned());
        }
        // A hook is there for what it does, not for being there.
        "Running" if is_hook(object) => return progressing("running"),
        _ => {}
    }
    match (condition(object, "Ready"), troubles(object).into_iter().next()) {
        (Some(("True", ..)), _) => Readiness::Ready,
        (_, Some(trouble)) => progressing(trouble.reason),
        (_, None) => progressing("starting"),
    }
}

/// Something that keeps a pod from being ready and that a person should see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Empty where the pod as a whole has it.
    pub container: String,
    /// `CrashLoopBackOff`, `ErrImagePull`, `Unschedulable`, `Error`...
    pub reason: String,
    pub message: String,
    /// The container ran: there may be lines that it wrote.
    pub ran: bool,
}

const WAITING: [&str; 9] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PostStartHookError",
];

/// What is wrong with a pod, containers in their order.
pub fn troubles(pod: &Value) -> Vec<Trouble> {
    let mut found = Vec::new();
    if let Some(("False", "Unschedulable", message)) = condition(pod, "PodScheduled") {
        let reason = "Unschedulable".to_owned();
        found.push(Trouble { container: String::new(), reason, message: message.to_owned(), ran: false });
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        let statuses = pod.pointer(&format!("/status/{list}")).and_then(Value::as_array);
        found.extend(statuses.into_iter().flatten().filter_map(of_container));
    }
    found
}

fn of_container(status: &Value) -> Option<Trouble> {
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let container = text("/name");
    let waiting = text("/state/waiting/reason");
    let last_code = status.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
    if WAITING.contains(&waiting.as_str()) {
        let message = match last_code {
            Some(code) if waiting == "CrashLoopBackOff" => match text("/lastState/terminated/reason").as_str() {
                "" | "Error" | "Completed" => format!("exited with code {code}"),
                // The code alone does not tell who killed it.
                reason => format!("{reason}, exited with code {code}"),
            },
            _ => text("/state/waiting/message"),
        };
        return Some(Trouble { container, reason: waiting, message, ran: last_code.is_some() });
    }
    let code = status.pointer("/state/terminated/exitCode").and_then(Value::as_i64).filter(|code| *code != 0)?;
    let (reason, said) = (text("/state/terminated/reason"), text("/state/terminated/message"));
    let reason = if reason.is_empty() { "Error".to_owned() } else { reason };
    let message =
        if said.is_empty() { format!("exited with code {code}") } else { format!("exited with code {code}: {said}") };
    Some(Trouble { container, reason, message, ran: true })
}
