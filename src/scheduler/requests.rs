//! What a pod asks of a host: cpu, memory, other resources, ports.

use crate::api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use std::collections::BTreeMap;

/// Amounts of resources: cpu in thousandths of a core, everything else in whole units (bytes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub cpu: i64,
    pub memory: i64,
    /// `ephemeral-storage`, `hugepages-*` and extended resources.
    pub other: BTreeMap<String, i64>,
}

/// More than any host has of anything, and little enough for the sums of all pods of a host to be exact.
const MOST: i64 = i64::MAX >> 12;

impl Amounts {
    pub fn of(list: Option<&BTreeMap<String, Text>>) -> Self {
        let mut amounts = Self::default();
        for (name, text) in list.into_iter().flatten() {
            // The API server refuses what does not parse; a node that says nonsense offers nothing.
            let Ok(quantity) = text.0.parse::<Quantity>() else { continue };
            match name.as_str() {
                "cpu" => amounts.cpu = quantity.milli_value(),
                "memory" => amounts.memory = quantity.value(),
                "pods" => {}
                _ => {
                    amounts.other.insert(name.clone(), quantity.value());
                }
            }
        }
        amounts
    }

    /// Whether there is so much of everything that is asked for.
    pub fn fits(&self, room: &Self) -> bool {
        let enough = |(name, amount): (&String, &i64)| *amount <= room.other.get(name).copied().unwrap_or(0);
        self.cpu <= room.cpu && self.memory <= room.memory && self.other.iter().all(enough)
    }

    pub fn add(&mut self, more: &Self) {
        self.cpu = self.cpu.saturating_add(more.cpu);
        self.memory = self.memory.saturating_add(more.memory);
        for (name, amount) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub fn subtract(&mut self, less: &Self) {
        self.cpu = self.cpu.saturating_sub(less.cpu);
        self.memory = self.memory.saturating_sub(less.memory);
        for (name, amount) in &less.other {
            if let Some(sum) = self.other.get_mut(name) {
                *sum = sum.saturating_sub(*amount);
            }
        }
    }

    /// Nothing of it more than [`MOST`].
    fn bounded(mut self) -> Self {
        (self.cpu, self.memory) = (self.cpu.min(MOST), self.memory.min(MOST));
        self.other.values_mut().for_each(|amount| *amount = (*amount).min(MOST));
        self
    }

    fn raise_to(&mut self, least: &Self) {
        self.cpu = self.cpu.max(least.cpu);
        self.memory = self.memory.max(least.memory);
        for (name, amount) in &least.other {
            let kept = self.other.entry(name.clone()).or_default();
            *kept = (*kept).max(*amount);
        }
    }
}

fn container(container: &Container) -> Amounts {
    Amounts::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn restarts_always(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What a pod reserves while it runs: its containers and sidecars together, or the largest moment of
/// its initialisation, plus overhead; the pod's own requests where it sets them.
/// Source: Kubernetes' resource helper, `PodRequests`.
pub fn of(spec: &PodSpec) -> Amounts {
    sum(spec, own(spec), container)
}

/// What a pod's containers reserve, whatever it says of itself as a whole.
pub fn of_containers(spec: &PodSpec) -> Amounts {
    sum(spec, None, container)
}

type List<'a> = Option<&'a BTreeMap<String, Text>>;

/// What the pod asks for as a whole, where it says so.
fn own(spec: &PodSpec) -> List<'_> {
    spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

/// What a pod on a host takes: what it asks for, and while that is being changed, what its host has set
/// aside for it and its containers have, where that is more. A change that its host can never make does not
/// count. Source: Kubernetes' resource helper with `UseStatusResources`.
pub fn held(pod: &Pod) -> Amounts {
    let Some(spec) = pod.spec.as_ref() else { return Amounts::default() };
    most(pod, spec, container, of(spec))
}

/// [`held`], as [`for_scoring`] counts it.
pub fn held_for_scoring(pod: &Pod) -> (i64, i64) {
    let Some(spec) = pod.spec.as_ref() else { return (0, 0) };
    let (cpu, memory) = for_scoring(spec);
    let most = most(pod, spec, at_least, Amounts { cpu, memory, ..Amounts::default() });
    (most.cpu, most.memory)
}

/// The most of what is asked for, set aside and had; `count` counts the requests of a container.
fn most(pod: &Pod, spec: &PodSpec, count: fn(&Container) -> Amounts, asked: Amounts) -> Amounts {
    let Some(status) = pod.status.as_ref() else { return asked };
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let all = || lists.into_iter().flatten().flatten();
    let requests = |one: &ContainerStatus| {
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let own = all.into_iter().find(|container| container.name == one.name);
        own.and_then(|container| container.resources.as_ref()).and_then(|resources| resources.requests.as_ref())
    };
    let settled = |one: &ContainerStatus| {
        let (wanted, actual) = (requests(one), one.resources.as_ref().and_then(|all| all.requests.as_ref()));
        one.allocated_resources.as_ref().is_none_or(|all| Some(all) == wanted) && (actual.is_none() || actual == wanted)
    };
    let whole = own(spec).is_none() || status.allocated_resources.as_ref().is_none_or(|all| Some(all) == own(spec));
    // As almost always.
    if whole && all().all(settled) {
        return asked;
    }
    let mut conditions = status.conditions.iter().flatten();
    let infeasible = conditions.any(|c| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible"));
    let said = |of: fn(&ContainerStatus) -> Option<&BTreeMap<String, Text>>| {
        move |one: &Container| {
            let requests = all().find(|status| status.name == one.name).and_then(of);
            let requests = requests.or_else(|| one.resources.as_ref()?.requests.as_ref().filter(|_| !infeasible));
            let mut one = Container { restart_policy: one.restart_policy.clone(), ..Container::default() };
            one.resources.get_or_insert_default().requests = requests.cloned();
            count(&one)
        }
    };
    let mut most = if infeasible { Amounts::default() } else { asked };
    let whole = own(spec).and_then(|asked| status.allocated_resources.as_ref().or((!infeasible).then_some(asked)));
    most.raise_to(&sum(spec, whole, said(|status| status.allocated_resources.as_ref())));
    let actual = said(|status| {
        let actual = status.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        actual.or(status.allocated_resources.as_ref())
    });
    most.raise_to(&sum(spec, whole, actual));
    most
}

/// `whole`: what the pod asks for as a whole.
fn sum(spec: &PodSpec, whole: List<'_>, container: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut running = Amounts::default();
    for one in &spec.containers {
        running.add(&container(one));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for one in spec.init_containers.iter().flatten() {
        let mut moment = container(one);
        if restarts_always(one) {
            running.add(&moment);
            sidecars.add(&moment);
            moment = sidecars.clone();
        } else {
            moment.add(&sidecars);
        }
        starting.raise_to(&moment);
    }
    running.raise_to(&starting);
    if let Some(pod) = whole {
        let own = Amounts::of(Some(pod));
        if pod.contains_key("cpu") {
            running.cpu = own.cpu;
        }
        if pod.contains_key("memory") {
            running.memory = own.memory;
        }
        running.other.extend(own.other.into_iter().filter(|(name, _)| name.starts_with("hugepages-")));
    }
    running.add(&Amounts::of(spec.overhead.as_ref()));
    running.bounded()
}

/// For scores: a container without requests counts as a little, so that such pods spread too.
pub fn for_scoring(spec: &PodSpec) -> (i64, i64) {
    let asked = sum(spec, own(spec), at_least);
    (asked.cpu, asked.memory)
}

fn at_least(one: &Container) -> Amounts {
    const CPU: i64 = 100;
    const MEMORY: i64 = 200 << 20;
    let asked = container(one);
    let or = |amount: i64, least: i64| if amount == 0 { least } else { amount };
    Amounts { cpu: or(asked.cpu, CPU), memory: or(asked.memory, MEMORY), ..Amounts::default() }
}

/// A port of the host that a pod takes: address (empty for all), protocol, number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both can not be had on one host.
    pub fn clashes(&self, other: &Self) -> bool {
        let everywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere(&self.ip) || everywhere(&other.ip) || self.ip == other.ip)
    }
}

pub fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network == Some(true);
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten().filter(|one| restarts_always(one)))
        .flat_map(|one| one.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0).or(on_host.then_some(port.container_port))?;
            Some(HostPort {
                ip: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: number,
            })
        })
        .collect()
}

/// Whether the pod no longer holds what it asked for.
pub fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(value: serde_json::Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    fn asks(cpu: &str) -> serde_json::Value {
        json!({"requests": {"cpu": cpu, "memory": "1Mi"}})
    }

    #[test]
    fn initialisation_and_running_share_the_room() {
        let spec = spec(json!({
            "containers": [{"name": "a", "resources": asks("100m")}, {"name": "b", "resources": asks("200m")}],
            "initContainers": [
                {"name": "first", "resources": asks("250m")},
                {"name": "side", "restartPolicy": "Always", "resources": asks("50m")},
                {"name": "big", "resources": asks("400m")}
            ],
            "overhead": {"cpu": "5m"}
        }));
        // big starts while side runs: 450; all running: 350.
        assert_eq!(of(&spec).cpu, 455);
        assert_eq!(of(&spec).memory, 3 << 20);
    }

    #[test]
    fn a_pod_that_changes_holds_the_most_of_before_and_after() {
        let with = |asked: &str, allocated: &str, actual: &str, reason: &str| {
            let pod: Pod = serde_json::from_value(json!({
                "spec": {"containers": [{"name": "c", "resources": asks(asked)}]},
                "status": {"conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                    "containerStatuses": [{"name": "c", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                        "allocatedResources": {"cpu": allocated}, "resources": asks(actual)}]}}))
            .unwrap();
            (held(&pod).cpu, held_for_scoring(&pod).0)
        };
        assert_eq!(with("3", "1", "1", "Deferred"), (3000, 3000));
        assert_eq!(with("1", "1", "2", ""), (2000, 2000), "it has not let go yet");
        assert_eq!(with("1", "2", "1", ""), (2000, 2000));
        assert_eq!(with("9", "1", "1", "Infeasible"), (1000, 1000), "it will never have that");
    }

    #[test]
    fn what_nobody_has_leaves_the_sums_of_others_right() {
        let greedy = json!({"requests": {"cpu": "9e18", "memory": "16Ei", "x.y/z": "9e18"}});
        let of = |resources: &[serde_json::Value]| {
            let all: Vec<_> = resources.iter().map(|resources| json!({"name": "c", "resources": resources})).collect();
            of(&spec(json!({"containers": all})))
        };
        let (modest, greedy) = (of(&[asks("1")]), of(&[greedy.clone(), greedy]));
        let mut used = Amounts::default();
        used.add(&modest);
        for _ in 0..2000 {
            used.add(&greedy);
        }
        for _ in 0..2000 {
            used.subtract(&greedy);
        }
        assert_eq!((used.cpu, used.memory), (modest.cpu, modest.memory));
        (0..3).for_each(|_| used.subtract(&Amounts { cpu: i64::MAX, memory: i64::MAX, ..Amounts::default() }));
        assert_eq!(used.cpu, i64::MIN);
    }

    #[test]
    fn ports_clash_on_the_same_address_or_on_all() {
        let port = |ip: &str, number| HostPort { ip: ip.into(), protocol: "TCP".into(), port: number };
        assert!(port("", 80).clashes(&port("127.0.0.1", 80)));
        assert!(!port("127.0.0.2", 80).clashes(&port("127.0.0.1", 80)));
        assert!(!port("", 80).clashes(&port("", 81)));
    }

    #[test]
    fn host_network_takes_the_container_ports() {
        let spec = spec(
            json!({"hostNetwork": true, "containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]}),
        );
        assert_eq!(host_ports(&spec), [HostPort { ip: String::new(), protocol: "UDP".into(), port: 53 }]);
    }
}
