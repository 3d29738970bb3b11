//! A pretended host takes over what a real one runs, as far as the API tells: for simulations that
//! begin in the middle.

use super::behaviour::Behaviour;
use super::host::{Address, HollowContainer, Host, HostPort};
use super::{ContainerState, Exit, Hollow};
use crate::kubelet::pod::{all_containers, container_hash, identity, is_terminal, spec};
use crate::kubelet::runtime::{ContainerIdentity, PodIdentity, Resources};
use crate::kubelet::sandbox::sandbox;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use std::sync::Arc;

impl Hollow {
    /// Takes over the pod's sandbox and containers under the ids its status names. A pod that has not
    /// got there, or has ended, leaves nothing to take over.
    pub fn adopt(&self, pod: &Pod) {
        let Some(status) = pod.status.as_ref().filter(|_| !is_terminal(pod)) else { return };
        let of = |list: &Option<Vec<ContainerStatus>>| list.clone().unwrap_or_default();
        let statuses = [of(&status.init_container_statuses), of(&status.container_statuses)].concat();
        let statuses: Vec<_> = statuses.into_iter().filter(|status| status.container_id.is_some()).collect();
        if statuses.is_empty() {
            return;
        }
        let wanted = sandbox(pod);
        let ip = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
        let address = match ip {
            _ if wanted.host_network => Address::OfHost,
            Some(ip) => Address::Given(ip),
            None => Address::From(self.0.options.pod_network),
        };
        let ports = wanted.ports.iter().map(HostPort::of).collect();
        let created = status.start_time.as_ref().map_or_else(|| self.now(), |time| time.0);
        let mut host = self.0.host.lock();
        host.count_apart();
        let Ok(sandbox) = host.add_sandbox(&identity(pod), address, ports, created) else { return };
        for (_, container) in all_containers(spec(pod)) {
            if let Some(status) = statuses.iter().find(|status| status.name == container.name) {
                add(&mut host, &identity(pod), sandbox, container, status, created);
            }
        }
    }
}

fn add(host: &mut Host, pod: &PodIdentity, sandbox: u64, spec: &Container, status: &ContainerStatus, since: Timestamp) {
    let Some(id) = status.container_id.as_deref().and_then(|id| id.rsplit('/').next()) else { return };
    let image: Arc<str> = spec.image.as_deref().unwrap_or_default().into();
    host.images.insert(image.clone());
    let identity = ContainerIdentity {
        pod: pod.clone(),
        container: spec.name.clone(),
        restart_count: u32::try_from(status.restart_count).unwrap_or(0),
        hash: container_hash(spec),
    };
    let behaviour = Behaviour { run_for: None, ..Behaviour::of(&image, &Default::default()) };
    let container = HollowContainer {
        identity,
        sandbox,
        image,
        created: since,
        state: state(status, since),
        behaviour,
        run: 1,
        resources: Resources::default(),
    };
    if let Ok(number) = host.add_container(container) {
        host.name(number, id);
    }
}

fn state(status: &ContainerStatus, since: Timestamp) -> ContainerState {
    let (now, last) = (status.state.clone().unwrap_or_default(), status.last_state.clone().unwrap_or_default());
    if let Some(running) = now.running {
        return ContainerState::Running { started: running.started_at.map_or(since, |time| time.0), pid: 1 };
    }
    let Some(ended) = now.terminated.or(last.terminated) else { return ContainerState::Created };
    ContainerState::Exited(Exit {
        code: ended.exit_code,
        started: ended.started_at.map(|time| time.0),
        finished: ended.finished_at.map_or(since, |time| time.0),
        oom_killed: ended.reason.as_deref() == Some("OOMKilled"),
        message: None,
    })
}
