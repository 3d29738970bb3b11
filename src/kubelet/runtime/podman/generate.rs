//! From specs to the JSON that `pods/create` and `containers/create` take. Pure.
//!
//! Limits go through `resource_limits` only: the flat fields came and went between versions.

use super::library::Volume;
use crate::kubelet::runtime::{
    AppArmor, ContainerSpec, DnsSpec, Mount, MountSource, Propagation, Resources, SandboxSpec, Seccomp,
    SecurityContext, VolumeSpec, labels,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the JSON depends on besides the spec.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The id of the data directory.
    pub cluster: String,
    /// The host's own name, for pods in its network.
    pub hostname: String,
    /// The host swaps, so a memory limit must cover swap as well.
    pub swap: bool,
    /// Processes may be protected from the out-of-memory killer.
    pub may_lower_oom_score: bool,
    /// CPU or memory limits are available.
    pub resource_limits: bool,
    /// Also for pods as a whole.
    pub pod_limits: bool,
}

/// Marks a sandbox in the host's network.
pub const HOST_NETWORK: &str = "io.selkie.sandbox.host-network";
/// A volume's name as the kubelet knows it.
pub const VOLUME_NAME: &str = "io.selkie.volume.name";
/// conmon drops what a log holds at this size, so that no pod fills the host's disk while no kubelet looks after it, and
/// on hosts that are other machines. Well above the size at which a kubelet has it begin another file.
const LOG_SIZE: u64 = 64 << 20;

/// The Podman name of a pod's sandbox.
pub fn sandbox_name(spec: &SandboxSpec) -> String {
    let pod = &spec.pod;
    format!("selkie_{}_{}_{}", pod.namespace, pod.name, pod.uid)
}

/// The Podman name of the sandbox's infra container.
pub fn infra_name(spec: &SandboxSpec) -> String {
    format!("{}-infra", sandbox_name(spec))
}

/// The Podman name of a container: unique per restart, so that the previous one can stay for its log.
pub fn container_name(spec: &ContainerSpec) -> String {
    let identity = &spec.identity;
    let pod = &identity.pod;
    let count = identity.restart_count;
    format!("selkie_{}_{}_{}_{}_{count}", pod.namespace, pod.name, identity.container, pod.uid)
}

/// The Podman name of a volume.
pub fn volume_name(cluster: &str, name: &str) -> String {
    format!("selkie-{cluster}-{name}")
}

/// The body of `pods/create`.
pub fn sandbox(spec: &SandboxSpec, around: &Surroundings) -> Value {
    let mut labels = spec.labels.clone();
    spec.pod.write(&mut labels);
    labels.insert(labels::CLUSTER.into(), around.cluster.clone());
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| _ = body.insert(key.to_owned(), value);
    set("name", json!(sandbox_name(spec)));
    set("exit_policy", json!("continue"));
    if spec.host_network {
        labels.insert(HOST_NETWORK.into(), "true".into());
    }
    if spec.lone {
        labels.insert(labels::LONE.into(), "true".into());
        set("labels", json!(labels));
        set("no_infra", json!(true));
        return Value::Object(body);
    }
    let mut shared = vec!["net", "uts"];
    if !spec.host_ipc {
        shared.push("ipc");
    }
    if spec.host_pid {
        set("pidns", json!({"nsmode": "host"}));
    }
    if spec.host_pid || spec.share_pid {
        shared.push("pid");
    }
    dns(&spec.dns, &mut set);
    surroundings(spec, around, &mut set);
    if !spec.se_linux.is_empty() {
        set("security_opt", spec.se_linux.iter().map(|label| format!("label={label}")).collect());
    }
    set("infra_name", json!(infra_name(spec)));
    set("shared_namespaces", json!(shared));
    if around.pod_limits && spec.resources != Resources::default() {
        set("resource_limits", limits(&spec.resources, around.swap));
    }
    set("labels", json!(labels));
    Value::Object(body)
}

/// What a pod is given to share, and a container that has it alone.
fn surroundings(spec: &SandboxSpec, around: &Surroundings, set: &mut impl FnMut(&str, Value)) {
    if spec.host_network {
        set("netns", json!({"nsmode": "host"}));
        set("hostname", json!(around.hostname));
    } else {
        set("hostname", json!(spec.hostname));
        network(spec, set);
    }
    let aliases = spec.host_aliases.iter();
    let hosts: Vec<String> =
        aliases.flat_map(|(address, names)| names.iter().map(move |name| format!("{name}:{address}"))).collect();
    if !hosts.is_empty() {
        set("hostadd", json!(hosts));
    }
    if !spec.sysctls.is_empty() {
        set("sysctl", json!(spec.sysctls));
    }
}

fn dns(spec: &DnsSpec, set: &mut impl FnMut(&str, Value)) {
    for (key, list) in [("dns_server", &spec.servers), ("dns_search", &spec.searches), ("dns_option", &spec.options)] {
        if !list.is_empty() {
            set(key, json!(list));
        }
    }
}

fn network(spec: &SandboxSpec, set: &mut impl FnMut(&str, Value)) {
    set("netns", json!({"nsmode": "bridge"}));
    if !spec.networks.is_empty() || spec.address.is_some() {
        let options = spec.address.map_or(json!({}), |address| json!({"static_ips": [address]}));
        let default = ["podman".to_owned()];
        let names = if spec.networks.is_empty() { &default[..] } else { &spec.networks[..] };
        let networks: Map<String, Value> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.clone(), if at == 0 { options.clone() } else { json!({}) }))
            .collect();
        set("Networks", Value::Object(networks));
    }
    if !spec.ports.is_empty() {
        let ports = spec.ports.iter().map(|port| {
            let mut mapping = json!({
                "host_port": port.host_port, "container_port": port.container_port, "protocol": port.protocol.as_str(),
            });
            if let Some(address) = port.host_ip.filter(|address| !address.is_unspecified()) {
                mapping["host_ip"] = json!(address);
            }
            mapping
        });
        set("portmappings", ports.collect());
    }
}

/// The body of `containers/create`.
pub fn container(sandbox: &str, spec: &ContainerSpec, around: &Surroundings) -> Value {
    let mut labels = spec.labels.clone();
    spec.identity.write(&mut labels);
    labels.insert(labels::CLUSTER.into(), around.cluster.clone());
    if let Some(pod) = &spec.alone {
        labels.insert(labels::LONE.into(), "true".into());
        if pod.host_network {
            labels.insert(HOST_NETWORK.into(), "true".into());
        }
    }
    let env: BTreeMap<&str, &str> = spec.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut log = json!({"driver": "k8s-file", "size": LOG_SIZE});
    if let Some(path) = &spec.log_path {
        log["path"] = json!(path);
    }
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| _ = body.insert(key.to_owned(), value);
    set("name", json!(container_name(spec)));
    set("pod", json!(sandbox));
    set("image", json!(spec.image));
    set("labels", json!(labels));
    set("env", json!(env));
    // Podman would hand the service's own proxy variables on to every container.
    set("httpproxy", json!(false));
    set("restart_policy", json!("no"));
    set("log_configuration", log);
    set("terminal", json!(spec.tty));
    set("stdin", json!(spec.stdin));
    set("create_working_dir", json!(true));
    if !spec.command.is_empty() {
        set("entrypoint", json!(spec.command));
    }
    if !spec.args.is_empty() {
        set("command", json!(spec.args));
    }
    if let Some(pod) = &spec.alone {
        surroundings(pod, around, &mut set);
        // Said outright: what Podman does otherwise, its containers.conf may say.
        set("pidns", json!({"nsmode": if pod.host_pid { "host" } else { "private" }}));
        set("utsns", json!({"nsmode": "private"}));
        set("ipcns", json!({"nsmode": "private"}));
    }
    if spec.host_ipc {
        // Podman's pods have IPC of their own or none in common.
        set("ipcns", json!({"nsmode": "host"}));
    }
    if let Some(target) = &spec.processes_of {
        set("pidns", json!({"nsmode": "container", "value": target}));
    }
    if let Some(directory) = &spec.working_dir {
        set("work_dir", json!(directory));
    }
    if let Some(signal) = spec.stop_signal.as_deref().and_then(signal_number) {
        set("stop_signal", json!(signal));
    }
    if !spec.devices.is_empty() {
        let path = |device: &crate::kubelet::runtime::Device| json!({"path": format!("{}:{}:{}", device.host_path, device.container_path, device.permissions)});
        set("devices", spec.devices.iter().map(path).collect());
    }
    if let Some(score) = spec.resources.oom_score_adj {
        set("oom_score_adj", json!(if around.may_lower_oom_score { score } else { score.max(0) }));
    }
    if around.resource_limits {
        set("resource_limits", limits(&spec.resources, around.swap));
    }
    let all = || spec.mounts.iter();
    set("mounts", all().filter_map(mount).collect());
    set("volumes", all().filter_map(|mount| volume(mount, &around.cluster)).collect());
    let images: Vec<Value> = all().filter_map(image).collect();
    if !images.is_empty() {
        set("image_volumes", json!(images));
    }
    dns(&spec.dns, &mut set);
    security(&spec.security, &mut set);
    Value::Object(body)
}

/// The body of `containers/{id}/update`: OCI's resources, as in 4.3 and since. What has no limit any more is
/// told so. `swap_limited`: made with a limit of memory and swap together, which is to stay above that of memory.
pub fn update(resources: &Resources, swap_limited: bool, around: &Surroundings) -> Value {
    let mut body = limits(resources, around.swap);
    if let Some(bytes) = resources.memory_limit.filter(|_| swap_limited && !around.swap) {
        // What Podman makes of a memory limit where nothing is said of swap.
        body["memory"]["swap"] = json!(bytes.saturating_mul(2));
    }
    if body["cpu"].is_object() && resources.cpu_quota.is_none() {
        body["cpu"]["quota"] = json!(-1);
    }
    body
}

fn limits(resources: &Resources, swap: bool) -> Value {
    let mut limits = json!({});
    let mut cpu = Map::new();
    if let Some(shares) = resources.cpu_shares {
        cpu.insert("shares".into(), json!(shares));
    }
    if let Some(quota) = resources.cpu_quota {
        cpu.insert("quota".into(), json!(quota));
        cpu.insert("period".into(), json!(resources.cpu_period.unwrap_or(100_000)));
    }
    if !cpu.is_empty() {
        limits["cpu"] = Value::Object(cpu);
    }
    if let Some(bytes) = resources.memory_limit {
        limits["memory"] = json!({"limit": bytes});
        if swap {
            limits["memory"]["swap"] = json!(bytes);
        }
    }
    if let Some(count) = resources.pids_limit {
        limits["pids"] = json!({"limit": count});
    }
    limits
}

fn options(mount: &Mount) -> Vec<&'static str> {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    vec![if mount.read_only { "ro" } else { "rw" }, propagation]
}

fn mount(mount: &Mount) -> Option<Value> {
    match &mount.source {
        MountSource::Tmpfs { size_bytes } => {
            let mut options = vec!["rw".to_owned(), "mode=0777".to_owned()];
            options.extend(size_bytes.map(|size| format!("size={size}")));
            Some(json!({"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}))
        }
        MountSource::Host(source) => {
            let mut options = options(mount);
            options.push("rbind");
            Some(json!({"destination": mount.target, "type": "bind", "source": source, "options": options}))
        }
        MountSource::Volume(_) | MountSource::Image(_) => None,
    }
}

fn volume(mount: &Mount, cluster: &str) -> Option<Value> {
    let MountSource::Volume(name) = &mount.source else { return None };
    // What the image has at that path stays out of it, as in Kubernetes.
    let options = [if mount.read_only { "ro" } else { "rw" }, "nocopy"];
    Some(json!({"Name": volume_name(cluster, name), "Dest": mount.target, "Options": options}))
}

fn image(mount: &Mount) -> Option<Value> {
    let MountSource::Image(name) = &mount.source else { return None };
    Some(json!({"Source": name, "Destination": mount.target, "ReadWrite": false}))
}

fn security(context: &SecurityContext, set: &mut impl FnMut(&str, Value)) {
    match (context.run_as_user, context.run_as_group) {
        (Some(user), Some(group)) => set("user", json!(format!("{user}:{group}"))),
        (Some(user), None) => set("user", json!(user.to_string())),
        (None, Some(group)) => set("user", json!(format!(":{group}"))),
        (None, None) => {}
    }
    if !context.supplemental_groups.is_empty() {
        let groups: Vec<String> = context.supplemental_groups.iter().map(i64::to_string).collect();
        set("groups", json!(groups));
    }
    let capability = |name: &String| match name.to_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    if !context.add_capabilities.is_empty() {
        set("cap_add", context.add_capabilities.iter().map(capability).collect());
    }
    if !context.drop_capabilities.is_empty() {
        set("cap_drop", context.drop_capabilities.iter().map(capability).collect());
    }
    if context.privileged {
        set("privileged", json!(true));
    }
    if context.read_only_root {
        set("read_only_filesystem", json!(true));
    }
    if context.allow_privilege_escalation == Some(false) {
        set("no_new_privileges", json!(true));
    }
    match &context.seccomp {
        Seccomp::RuntimeDefault => {}
        Seccomp::Unconfined => set("seccomp_profile_path", json!("unconfined")),
        Seccomp::Localhost(path) => set("seccomp_profile_path", json!(path)),
    }
    match &context.app_armor {
        AppArmor::RuntimeDefault => {}
        AppArmor::Unconfined => set("apparmor_profile", json!("unconfined")),
        AppArmor::Localhost(name) => set("apparmor_profile", json!(name)),
    }
    if !context.se_linux.is_empty() {
        set("selinux_opts", json!(context.se_linux));
    }
    if context.unmasked_proc {
        set("unmask", json!(["ALL"]));
    }
}

/// The labels and options of a volume.
pub fn named_volume(spec: &VolumeSpec, cluster: &str) -> Volume {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let labels = pairs(&[(labels::CLUSTER, cluster), (labels::POD_UID, &spec.pod_uid), (VOLUME_NAME, &spec.name)]);
    let options = spec.tmpfs.map(|size| {
        let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
        pairs(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", &format!("mode=0777{size}"))])
    });
    let owner = || spec.group.map(|group| pairs(&[("o", &format!("uid=0,gid={group}"))]));
    Volume { labels, options: options.or_else(owner).unwrap_or_default() }
}

/// Linux's number of a signal given by name (with or without `SIG`) or number.
pub fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = name.trim().to_uppercase();
    if let Ok(number) = upper.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let bare = upper.trim_start_matches("SIG");
    NAMES.iter().position(|known| *known == bare).map(|at| at as i32 + 1)
}

#[cfg(test)]
mod tests;
