//! Which change of the cluster can help which pod: a pod that was refused is looked at again when something
//! changed that kept it from a host. Pure. Source: the queueing hints of Kubernetes' default plugins.

use super::filters::{host::cordon, taints};
use super::host::{HostState, priority};
use super::promises::Promises;
use super::requests::{self, Amounts};
use super::snapshot::Snapshot;
use super::topology::selection::terms;
use super::topology::{Claim, Group};
use crate::api::placement::{selects, tolerates};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

/// Which filter kept a pod from a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    Name,
    Unschedulable,
    Taints,
    Affinity,
    Ports,
    Room,
    Volumes,
    Spread,
    Neighbours,
    /// Something else: any change may help.
    Other,
}

/// A change of the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A host came (no old state), or is another than before.
    Host {
        old: Option<&'a Node>,
        new: &'a Node,
    },
    HostGone,
    /// A pod is on a host now, or says other things of itself.
    Placed(&'a Pod),
    /// A pod was told to go; it is still there, and counts for spreading no more.
    Leaving(&'a Pod),
    /// A pod left its host, where there is this room now.
    Left(&'a Pod, Room<'a>),
    /// A pod takes less of its host, where there is this room now.
    Shrunk(Room<'a>),
    /// A namespace has other labels.
    Namespace,
    /// Claims, volumes or classes.
    Storage,
    /// A host is promised to a pod no more.
    PromiseOver,
}

/// What there is on a host.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// `None`: it is not known which host it is.
    host: Option<&'a HostState>,
    promises: &'a Promises,
}

/// A pod that waits, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Waiter<'a> {
    pub pod: &'a Pod,
    pub requests: &'a Amounts,
}

impl<'a> Room<'a> {
    fn of_host_of(pod: &Pod, snapshot: &'a Snapshot) -> Self {
        let host = pod.spec.as_ref().and_then(|spec| snapshot.host(spec.node_name.as_deref()?));
        Self { host, promises: &snapshot.promises }
    }

    /// Whether the pod has room there now, or could if lesser ones left. With those that the host was promised:
    /// when they let go of it, that is another event.
    fn is_enough(&self, Waiter { pod, requests }: Waiter<'_>) -> bool {
        let Some(host) = self.host else { return true };
        let (own, uid) = (priority(pod), pod.metadata.uid.as_deref().unwrap_or_default());
        let promised = self.promises.before(&host.name, own, uid);
        // For one that was promised a host others have left already.
        let lesser = host.pods().filter(|placed| placed.priority < own);
        let lesser: Vec<_> = if self.promises.host_of(uid).is_some() { Vec::new() } else { lesser.collect() };
        if lesser.is_empty() && (promised.is_empty() || !host.has_room(requests)) {
            return host.has_room(requests);
        }
        let mut host = host.emptied();
        lesser.into_iter().for_each(|placed| host.give_back(placed));
        promised.iter().for_each(|(_, placed)| host.take(placed));
        host.has_room(requests)
    }
}

impl<'a> Event<'a> {
    /// The pod left its host, as the snapshot shows already.
    pub fn left(pod: &'a Pod, snapshot: &'a Snapshot) -> Self {
        Self::Left(pod, Room::of_host_of(pod, snapshot))
    }

    /// The pod takes less of its host, as the snapshot shows already.
    pub fn shrunk(pod: &'a Pod, snapshot: &'a Snapshot) -> Self {
        Self::Shrunk(Room::of_host_of(pod, snapshot))
    }

    /// The causes that it can do away with for some pod.
    pub fn helps(&self) -> &'static [Cause] {
        use Cause::{Affinity, Name, Neighbours, Other, Ports, Room, Spread, Taints, Unschedulable, Volumes};
        match self {
            Self::Host { .. } => {
                &[Name, Unschedulable, Taints, Affinity, Ports, Room, Volumes, Spread, Neighbours, Other]
            }
            Self::HostGone | Self::Leaving(_) => &[Spread, Other],
            Self::Placed(_) => &[Spread, Neighbours, Other],
            Self::Left(..) => &[Ports, Room, Volumes, Spread, Neighbours, Other],
            Self::Shrunk(_) => &[Room, Other],
            Self::Namespace => &[Neighbours, Other],
            Self::Storage => &[Volumes, Other],
            Self::PromiseOver => &[Ports, Room, Spread, Neighbours, Other],
        }
    }
}

/// Whether the event may have done away with what kept the pod from a host. Rather one look too many than a
/// pod that waits for nothing.
pub fn may_help(cause: Cause, event: &Event<'_>, waiter: Waiter<'_>) -> bool {
    let pod = waiter.pod;
    let Some(spec) = pod.spec.as_ref() else { return true };
    match event {
        Event::Host { old, new } => {
            let opened = old.is_none_or(|old| !could_run(spec, old)) && could_run(spec, new);
            // Where hosts that it can not run on count, any of them may.
            let counts = matches!(cause, Cause::Spread | Cause::Other) || could_run(spec, new);
            opened || counts && old.is_none_or(|old| changed(cause, old, new))
        }
        Event::Placed(other) => match cause {
            Cause::Neighbours => is_meant(pod, other, Claim::Requires),
            Cause::Spread => pod.metadata.namespace == other.metadata.namespace,
            _ => true,
        },
        Event::Left(other, room) => match cause {
            Cause::Room => room.is_enough(waiter),
            Cause::Neighbours => is_meant(pod, other, Claim::Forbids) || is_meant(other, pod, Claim::Forbids),
            Cause::Spread => pod.metadata.namespace == other.metadata.namespace,
            Cause::Ports => other.spec.as_ref().is_some_and(|other| clash(spec, other)),
            _ => true,
        },
        Event::Shrunk(room) => cause != Cause::Room || room.is_enough(waiter),
        Event::Leaving(other) => pod.metadata.namespace == other.metadata.namespace,
        Event::HostGone | Event::Namespace | Event::Storage | Event::PromiseOver => true,
    }
}

/// Whether a host is another in anything that has a say: heartbeats change it every few seconds.
pub fn is_news(old: &Node, new: &Node) -> bool {
    changed(Cause::Other, old, new)
}

/// Whether the host is another in what the filter looks at, beyond what [`could_run`] does.
fn changed(cause: Cause, old: &Node, new: &Node) -> bool {
    let room = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    let labels = old.metadata.labels != new.metadata.labels;
    match cause {
        Cause::Name | Cause::Ports | Cause::Taints | Cause::Unschedulable | Cause::Affinity => false,
        Cause::Room => room(old) != room(new),
        Cause::Volumes | Cause::Neighbours => labels,
        Cause::Spread => labels || old.spec != new.spec,
        Cause::Other => labels || old.spec != new.spec || room(old) != room(new),
    }
}

/// Whether the pod could run on the host if it were empty and alone.
fn could_run(spec: &PodSpec, node: &Node) -> bool {
    let cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let room = requests::Amounts::of(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    selects(spec, node.metadata.name.as_deref().unwrap_or_default(), node.metadata.labels.as_ref())
        && (!cordoned || tolerates(spec, &cordon()))
        && taints::untolerated(spec, node).is_none()
        && requests::of(spec).fits(&room)
}

/// Whether a term of `one` means `other`, as far as can be told without the labels of namespaces.
fn is_meant(one: &Pod, other: &Pod, claim: Claim) -> bool {
    let group = Group::of(other);
    let none = std::collections::HashMap::new();
    let terms = terms(one);
    let mut of = terms.iter().filter(|term| term.claim == claim);
    of.any(|term| term.clause.looks_at_namespaces() || term.clause.selects(&group, &none))
}

fn clash(one: &PodSpec, other: &PodSpec) -> bool {
    let taken = requests::host_ports(other);
    requests::host_ports(one).iter().any(|port| taken.iter().any(|other| port.clashes(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::rig::{REQUIRED, cluster, node, pod};
    use crate::scheduler::snapshot::Placed;
    use serde_json::{Value, json};

    fn helps(cause: Cause, event: &Event<'_>, pod: &Pod) -> bool {
        let requests = pod.spec.as_ref().map(requests::of).unwrap_or_default();
        may_help(cause, event, Waiter { pod, requests: &requests })
    }

    #[test]
    fn a_host_helps_those_who_may_and_can_run_there() {
        let host = node("a", "east");
        let event = Event::Host { old: None, new: &host };
        let picky = pod("p", "web", &json!({"nodeSelector": {"zone": "west"}}));
        assert!(!helps(Cause::Affinity, &event, &picky));
        let big = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "9"}}}]});
        assert!(!helps(Cause::Room, &event, &pod("p", "web", &big)));
        assert!(helps(Cause::Room, &event, &pod("p", "web", &Value::Null)));
        let beat = Event::Host { old: Some(&host), new: &host };
        assert!(!helps(Cause::Other, &beat, &pod("p", "web", &Value::Null)), "nothing changed");
        let mut tainted = (*host).clone();
        tainted.spec = Some(serde_json::from_value(json!({"taints": [{"key": "k", "effect": "NoSchedule"}]})).unwrap());
        let untainted = Event::Host { old: Some(&tainted), new: &host };
        assert!(helps(Cause::Taints, &untainted, &pod("p", "web", &Value::Null)));
        assert!(helps(Cause::Room, &untainted, &pod("p", "web", &Value::Null)), "it had no say before");
        assert!(!helps(Cause::Room, &untainted, &pod("p", "web", &big)));
    }

    #[test]
    fn a_pod_helps_those_that_it_matters_to() {
        let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
        let follower = pod("f", "front", &json!({"affinity": {"podAffinity": { REQUIRED: [term] }}}));
        let shy = pod("s", "shy", &json!({"affinity": {"podAntiAffinity": { REQUIRED: [term] }}}));
        let (web, db) = (pod("w", "web", &Value::Null), pod("d", "db", &Value::Null));
        let snapshot = Snapshot::default();
        let left = |pod| Event::left(pod, &snapshot);
        assert!(helps(Cause::Neighbours, &Event::Placed(&web), &follower));
        assert!(!helps(Cause::Neighbours, &Event::Placed(&db), &follower));
        assert!(helps(Cause::Neighbours, &left(&web), &shy));
        assert!(helps(Cause::Neighbours, &left(&shy), &web));
        assert!(!helps(Cause::Neighbours, &left(&db), &shy));
        assert!(!Event::Placed(&web).helps().contains(&Cause::Room));
    }

    #[test]
    fn room_helps_those_who_have_enough_of_it() {
        let asks = |name: &str, priority: i32, cores: &str| {
            let requests = json!({"requests": {"cpu": cores}});
            let on =
                json!({"nodeName": "a", "priority": priority, "containers": [{"name": "c", "resources": requests}]});
            pod(name, name, &on)
        };
        let mut snapshot = cluster(&[("a", "east")]);
        for (name, priority, cores) in [("stays", 5, "4"), ("lesser", 1, "2")] {
            snapshot.place(name, "a", Placed::of(&asks(name, priority, cores)));
        }
        let less = asks("stays", 5, "4");
        assert!(self::helps(Cause::Room, &Event::shrunk(&less, &snapshot), &asks("small", 1, "2")));
        assert!(!self::helps(Cause::Room, &Event::shrunk(&less, &snapshot), &asks("large", 1, "3")));
        assert!(!Event::shrunk(&less, &snapshot).helps().contains(&Cause::Ports));
        let gone = asks("gone", 1, "2");
        let helps = |snapshot: &Snapshot, pod: &Pod| helps(Cause::Room, &Event::left(&gone, snapshot), pod);
        assert!(helps(&snapshot, &asks("small", 1, "2")));
        assert!(!helps(&snapshot, &asks("large", 1, "3")));
        assert!(helps(&snapshot, &asks("large", 2, "3")), "the lesser one can make way");
        assert!(!helps(&snapshot, &asks("huge", 2, "5")));
        snapshot.promise("other", "a", Placed::of(&asks("other", 1, "1")));
        assert!(!helps(&snapshot, &asks("small", 1, "2")), "some of it is promised");
        assert!(helps(&snapshot, &asks("small", 2, "2")), "promises yield to a higher priority");
        assert!(helps(&snapshot, &asks("other", 1, "2")), "its own does not stand in its way");
        assert!(!helps(&snapshot, &asks("other", 2, "3")), "who was promised a host does not take another's");
    }
}
