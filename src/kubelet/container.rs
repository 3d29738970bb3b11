//! The container a pod's spec asks for, in the runtime's terms. Pure.

pub mod security;

use crate::kubelet::env;
use crate::kubelet::pod::step::STREAK;
use crate::kubelet::pod::{Role, all_containers, container_hash, identity, spec};
use crate::kubelet::resources;
use crate::kubelet::runtime::{ContainerIdentity, ContainerSpec, HostInfo, ImageInfo, Mount, Resources};
use crate::scheduler::requests::{self, Amounts};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;

/// What the kernel takes: the least and the most weight, and microseconds of CPU in a period.
const SHARES: (u64, u64) = (2, 262_144);
const MOST_QUOTA: i64 = 1 << 40;

/// Why a host cannot limit pods as a whole, only each container.
const LONE: &str = "rootless Podman gives pods a cgroup of their own only on cgroup version 2 with systemd; \
                    each container is limited by itself";

/// Everything besides the pod that a container is made from.
pub struct Inputs<'a> {
    pub image: &'a ImageInfo,
    pub env: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
    pub attempt: u32,
    pub streak: u32,
    pub host: &'a HostInfo,
}

/// An error is the message of `CreateContainerConfigError`.
pub fn container(pod: &Pod, container: &Container, inputs: Inputs) -> Result<ContainerSpec, String> {
    let security = security::security(pod, container, inputs.image, inputs.host)?;
    let command = env::expand_all(container.command.as_deref().unwrap_or_default(), &inputs.env);
    let args = env::expand_all(container.args.as_deref().unwrap_or_default(), &inputs.env);
    let tty = container.tty == Some(true);
    Ok(ContainerSpec {
        identity: ContainerIdentity {
            pod: identity(pod),
            container: container.name.clone(),
            restart_count: inputs.attempt,
            hash: container_hash(container),
        },
        image: inputs.image.id.clone(),
        command,
        args,
        env: inputs.env.into_iter().collect(),
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        mounts: inputs.mounts,
        resources: limits(pod, container, inputs.host),
        security,
        tty,
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        stop_signal: container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()),
        labels: [(STREAK.to_string(), inputs.streak.to_string())].into(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        host_ipc: spec(pod).host_ipc == Some(true),
        ends: ends(pod, container),
        ..ContainerSpec::default()
    })
}

/// Whether the container is there to do its work and end.
fn ends(pod: &Pod, container: &Container) -> bool {
    let mut all = all_containers(spec(pod));
    let init = all.any(|(role, one)| role == Role::Init && one.name == container.name);
    let owners = pod.metadata.owner_references.iter().flatten();
    init || owners.filter(|owner| owner.controller == Some(true)).any(|owner| owner.kind == "Job")
}

/// What the kernel is told of a container's resources on that host.
pub fn limits(pod: &Pod, container: &Container, host: &HostInfo) -> Resources {
    let limits = resources::limits(pod, container, i64::try_from(host.memory).unwrap_or(i64::MAX));
    let oom_score_adj = i32::try_from(limits.oom_score_adj).ok();
    Resources {
        // Only root may make processes less killable than their parent; Podman 4.3 refuses the attempt.
        // What a user's session runs is made more killable than most containers would be.
        oom_score_adj: oom_score_adj.filter(|score| *score >= 0 && !host.rootless),
        pids_limit: pids(host).filter(|_| host.lone_containers),
        ..bounds(limits.cpu_request_milli, limits.cpu_limit_milli, limits.memory_limit, host)
    }
}

/// What the kernel is told of a pod as a whole: its containers share it, and weigh as much as they ask for together.
pub fn whole(pod: &Pod, host: &HostInfo) -> Resources {
    let limits = resources::whole(spec(pod)).and_then(|all| all.limits.as_ref());
    let limits = Amounts::of(limits);
    let limit = |amount: i64| Some(amount).filter(|amount| *amount > 0);
    let bounds = bounds(Some(requests::of(spec(pod)).cpu), limit(limits.cpu), limit(limits.memory), host);
    Resources { pids_limit: pids(host), ..bounds }
}

/// How many processes and threads a pod may have, where somebody sees to it.
fn pids(host: &HostInfo) -> Option<i64> {
    host.pod_pids_limit.filter(|_| !host.no_pids_limit)
}

/// That the host's limit of processes does not hold there, for people.
pub fn unenforced_pids(host: &HostInfo) -> Option<String> {
    let limit = host.pod_pids_limit?;
    match (host.no_pids_limit, host.lone_containers) {
        (true, _) => Some(format!(
            "Pod: pids limit {limit} not enforced: rootless Podman needs cgroup version 2 with the controller pids \
             delegated to its user"
        )),
        (false, true) => Some(format!("Pod: pids limit {limit} of all containers together not enforced: {LONE}")),
        (false, false) => None,
    }
}

/// CPU in thousandths, memory in bytes.
fn bounds(request: Option<i64>, limit: Option<i64>, memory_limit: Option<i64>, host: &HostInfo) -> Resources {
    let shares = |milli: i64| u64::try_from(milli.saturating_mul(1024) / 1000).unwrap_or(0).clamp(SHARES.0, SHARES.1);
    let (cpu, memory) = (host.enforces("cpu"), host.enforces("memory"));
    Resources {
        cpu_shares: cpu.then(|| request.map_or(SHARES.0, shares)),
        cpu_quota: limit.map(|milli| milli.saturating_mul(100).clamp(1000, MOST_QUOTA)).filter(|_| cpu),
        cpu_period: limit.map(|_| 100_000).filter(|_| cpu),
        memory_limit: memory_limit.filter(|_| memory),
        ..Resources::default()
    }
}

/// The container's limits that will not hold on this host, and why, for people.
pub fn unenforced(container: &Container, host: &HostInfo) -> Option<String> {
    let why = why_unenforced(host)?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    let lost = host.unenforced.iter().filter_map(|name| Some(format!("{name} limit {}", limits.get(*name)?.0)));
    let lost: Vec<String> = lost.collect();
    (!lost.is_empty()).then(|| format!("Container {}: {} not enforced: {why}", container.name, lost.join(" and ")))
}

/// The limits of the pod as a whole that will not hold on this host, and why, for people.
pub fn unenforced_whole(pod: &Pod, host: &HostInfo) -> Option<String> {
    let why = why_unenforced(host)?;
    let limits = resources::whole(spec(pod))?.limits.as_ref()?;
    let lost = ["cpu", "memory"].into_iter().filter(|name| host.lone_containers || !host.enforces(name));
    let lost: Vec<String> = lost.filter_map(|name| Some(format!("{name} limit {}", limits.get(name)?.0))).collect();
    (!lost.is_empty()).then(|| format!("Pod: {} of all containers together not enforced: {why}", lost.join(" and ")))
}

/// Why limits do not hold on a host where some do not.
pub fn why_unenforced(host: &HostInfo) -> Option<String> {
    if host.unenforced.is_empty() {
        return host.lone_containers.then(|| LONE.to_owned());
    }
    let names = host.unenforced.join(" and ");
    Some(if host.cgroup_version == 2 {
        format!(
            "the cgroup controllers for {names} are not delegated to the user of this host's rootless Podman; \
             set Delegate=cpu cpuset io memory pids for user@.service in systemd"
        )
    } else {
        format!("rootless Podman cannot limit {names} on cgroup version 1; boot with cgroup version 2 or run as root")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn build(spec: Value, user: &str) -> Result<ContainerSpec, String> {
        let meta = json!({"name": "p", "namespace": "ns", "uid": "u"});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        let mut image = ImageInfo { id: "abc".into(), ..ImageInfo::default() };
        image.config.user = user.into();
        let host = HostInfo { memory: 1 << 30, ..HostInfo::default() };
        let env = [("A".to_string(), "1".to_string())].into();
        let inputs = Inputs { image: &image, env, mounts: vec![], attempt: 2, streak: 1, host: &host };
        container(&pod, &pod.spec.as_ref().unwrap().containers[0], inputs)
    }

    #[test]
    fn carries_identity_command_and_limits() {
        let made = build(
            json!({"containers": [{"name": "c", "image": "i", "command": ["sh", "-c", "echo $(A)"],
            "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "64Mi"}}}]}),
            "",
        )
        .unwrap();
        assert_eq!(made.command[2], "echo 1");
        assert_eq!(made.identity.restart_count, 2);
        assert_eq!((made.resources.cpu_quota, made.resources.cpu_shares), (Some(100_000), Some(512)));
        assert_eq!(made.resources.memory_limit, Some(64 << 20));
        assert_eq!(made.labels[STREAK], "1");
    }

    #[test]
    fn asks_the_kernel_for_no_more_than_it_takes() {
        let greedy =
            json!({"requests": {"cpu": "9e18", "memory": "16Ei"}, "limits": {"cpu": "9e18", "memory": "16Ei"}});
        let made = build(json!({"containers": [{"name": "c", "image": "i", "resources": greedy}]}), "").unwrap();
        assert_eq!((made.resources.cpu_quota, made.resources.cpu_shares), (Some(MOST_QUOTA), Some(SHARES.1)));
        let tiny = json!({"limits": {"cpu": "1m"}});
        let made = build(json!({"containers": [{"name": "c", "image": "i", "resources": tiny}]}), "").unwrap();
        assert_eq!((made.resources.cpu_quota, made.resources.cpu_shares), (Some(1000), Some(SHARES.0)));
    }

    #[test]
    fn says_which_limits_do_not_hold() {
        let limited: Container = serde_json::from_value(json!(
            {"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}
        ))
        .unwrap();
        let bare = HostInfo { cgroup_version: 2, unenforced: vec!["cpu"], ..HostInfo::default() };
        let text = unenforced(&limited, &bare).unwrap();
        assert!(text.starts_with("Container c: cpu limit 500m not enforced: the cgroup controllers for cpu"), "{text}");
        let none = HostInfo { cgroup_version: 1, unenforced: vec!["cpu", "memory"], ..HostInfo::default() };
        let text = unenforced(&limited, &none).unwrap();
        assert!(text.starts_with("Container c: cpu limit 500m and memory limit 64Mi not enforced: rootless"), "{text}");
        assert_eq!(unenforced(&limited, &HostInfo::default()), None);
        assert_eq!(unenforced(&Container::default(), &none), None);
    }

    #[test]
    fn pods_are_limited_as_a_whole() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}},
            "containers": [{"name": "a"}, {"name": "b"}]}}))
        .unwrap();
        let host = HostInfo { memory: 1 << 30, ..HostInfo::default() };
        let limits = whole(&pod, &host);
        assert_eq!(
            (limits.cpu_shares, limits.cpu_quota, limits.memory_limit),
            (Some(256), Some(50_000), Some(64 << 20))
        );
        assert_eq!(unenforced_whole(&pod, &host), None);
        let plain: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}}}]}}))
        .unwrap();
        let limits = whole(&plain, &host);
        assert_eq!((limits.cpu_shares, limits.cpu_quota, limits.memory_limit), (Some(1024), None, None));
        let lone = HostInfo { lone_containers: true, ..host };
        let text = unenforced_whole(&pod, &lone).unwrap();
        let begin = "Pod: cpu limit 500m and memory limit 64Mi of all containers together not enforced: rootless";
        assert!(text.starts_with(begin), "{text}");
        assert_eq!(unenforced_whole(&plain, &lone), None);
        let few = HostInfo { pod_pids_limit: Some(64), lone_containers: false, ..lone.clone() };
        assert_eq!((whole(&plain, &few).pids_limit, unenforced_pids(&few)), (Some(64), None));
        assert_eq!(super::limits(&plain, &plain.spec.as_ref().unwrap().containers[0], &few).pids_limit, None);
        let few_each = HostInfo { lone_containers: true, ..few.clone() };
        assert_eq!(super::limits(&plain, &plain.spec.as_ref().unwrap().containers[0], &few_each).pids_limit, Some(64));
        assert!(unenforced_pids(&few_each).unwrap().starts_with("Pod: pids limit 64 of all containers together not"));
        let none = HostInfo { no_pids_limit: true, ..few };
        assert_eq!(whole(&plain, &none).pids_limit, None);
        assert!(unenforced_pids(&none).unwrap().starts_with("Pod: pids limit 64 not enforced: rootless"));
        assert_eq!(unenforced(&plain.spec.as_ref().unwrap().containers[0], &lone), None);
    }
}
