//! What a container says when it ends: its termination message, and the back-off events of a pod.

use crate::kubelet::pod::plan::Plan;
use crate::kubelet::pod::worker::Worker;
use crate::kubelet::pod::{find_container, identity, spec};
use crate::kubelet::runtime::{ContainerState, ContainerStatus, LogOptions};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, ObjectReference};
use kube::Resource;

/// Kubernetes' limits of a termination message: bytes of the file; lines and bytes of the log.
const FILE_LIMIT: usize = 4096;
const LOG_LINES: usize = 80;
const LOG_LIMIT: usize = 2048;

/// Reads the termination messages of lives that ended since the last look.
pub async fn collect(worker: &mut Worker) {
    let ended: Vec<ContainerStatus> = worker.ended().cloned().collect();
    for life in ended {
        let name = life.identity.container.clone();
        let container = find_container(spec(&worker.pod), &name).map(|(_, container)| container.into_owned());
        let message = match container {
            Some(container) => read(worker, &container, &life).await,
            None => String::new(),
        };
        worker.facts.container_mut(&name).lives.at(&life.id).message = Some(message);
    }
}

async fn read(worker: &Worker, container: &Container, life: &ContainerStatus) -> String {
    let uid = worker.pod.metadata.uid.as_deref().unwrap_or_default();
    let file = worker.host.pod_dir(uid).map(|dir| dir.termination_log(&container.name, life.identity.restart_count));
    let bytes = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    if !bytes.is_empty() {
        return String::from_utf8_lossy(&bytes[..bytes.len().min(FILE_LIMIT)]).into_owned();
    }
    let failed = matches!(&life.state, ContainerState::Exited(exit) if exit.code != 0);
    if !failed || container.termination_message_policy.as_deref() != Some("FallbackToLogsOnError") {
        return String::new();
    }
    let options = LogOptions { tail: Some(LOG_LINES), ..LogOptions::default() };
    let Ok(mut lines) = worker.host.runtime.logs(&life.id, &options).await else { return String::new() };
    let mut text = Vec::new();
    while let Some(Ok(line)) = lines.next().await {
        text.extend_from_slice(&line.bytes);
    }
    let from = text.len().saturating_sub(LOG_LIMIT);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

impl Worker {
    /// Writes the events of containers that began to wait.
    pub(super) fn tell(&mut self, plan: &Plan) {
        for (name, waiting) in &plan.waiting {
            if self.told.get(name) == Some(waiting) {
                continue;
            }
            let events = &self.host.events;
            match waiting.0 {
                "CrashLoopBackOff" => {
                    let pod = identity(&self.pod);
                    let text = format!(
                        "Back-off restarting failed container {name} in pod {}_{}({})",
                        pod.name, pod.namespace, pod.uid
                    );
                    events.record(self.involved(name), "Warning", "BackOff", text);
                }
                "ImagePullBackOff" => {
                    // What it is, without why.
                    let text = waiting.1.split(": ErrImagePull").next().unwrap_or_default();
                    events.record(self.involved(name), "Normal", "BackOff", text);
                    events.record(self.involved(name), "Warning", "Failed", "Error: ImagePullBackOff");
                }
                _ => {}
            }
        }
        self.told = plan.waiting.clone();
    }

    fn involved(&self, container: &str) -> ObjectReference {
        let init = spec(&self.pod).init_containers.iter().flatten().any(|c| c.name == container);
        let list = if init { "initContainers" } else { "containers" };
        ObjectReference { field_path: Some(format!("spec.{list}{{{container}}}")), ..self.pod.object_ref(&()) }
    }
}
