//! The memory of a pretended host: its sandboxes, containers, images and volumes, and who listens.
//!
//! A hundred and fifty thousand pods live in one process, so a pod costs its names and little more:
//! labels are made when they are asked for, and a container that does not end by itself has no task.

use super::behaviour::Behaviour;
use crate::kubelet::runtime::{
    ContainerIdentity, ContainerState, ContainerStatus, EventKind, Exit, PodIdentity, PortMapping, Resources, Result,
    RuntimeError, RuntimeEvent, Sandbox, VolumeSpec,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tokio::sync::mpsc;

/// Where the addresses of pretended pods begin: half of 10.0.0.0/8, apart from what Podman and services use.
const FIRST: u32 = 0x0a80_0000;
/// Addresses of one host, and hosts that have their own. Further ones share.
const ADDRESSES: u32 = 1 << 10;
const NETWORKS: u32 = 1 << 13;
/// The network's own address and its gateway's.
const RESERVED: u32 = 2;

/// A port that a sandbox holds on its host: with its protocol, on one address or (`None`) on all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort(u16, &'static str, Option<IpAddr>);

impl HostPort {
    pub fn of(port: &PortMapping) -> Self {
        Self(port.host_port, port.protocol.as_str(), port.host_ip.filter(|address| !address.is_unspecified()))
    }

    fn excludes(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1) && (self.2 == other.2 || self.2.is_none() || other.2.is_none())
    }
}

#[derive(Debug)]
pub struct HollowSandbox {
    pub pod: PodIdentity,
    pub address: Option<IpAddr>,
    pub created: Timestamp,
    pub ports: Box<[HostPort]>,
    pub resources: Resources,
}

#[derive(Debug)]
pub struct HollowContainer {
    pub identity: ContainerIdentity,
    pub sandbox: u64,
    pub image: Arc<str>,
    pub created: Timestamp,
    pub state: ContainerState,
    pub behaviour: Behaviour,
    /// Counts starts, so that the end of an earlier run does not end this one.
    pub run: u32,
    pub resources: Resources,
}

#[derive(Default)]
pub struct Host {
    next: u64,
    /// Boxed: half of a table is empty.
    pub sandboxes: HashMap<u64, Box<HollowSandbox>>,
    pub containers: HashMap<u64, Box<HollowContainer>>,
    /// Containers by sandbox, to answer for one pod without a look at all.
    members: BTreeSet<(u64, u64)>,
    by_pod: HashMap<String, u64>,
    ports: BTreeSet<HostPort>,
    addresses: HashSet<IpAddr>,
    /// The last address given out, counted from the network's.
    last_address: u32,
    pub images: BTreeSet<Arc<str>>,
    pub volumes: BTreeMap<String, VolumeSpec>,
    pub listeners: Vec<mpsc::UnboundedSender<RuntimeEvent>>,
    /// Ids that were given elsewhere, to what was adopted.
    foreign: HashMap<Box<str>, u64>,
    foreign_names: HashMap<u64, Box<str>>,
}

/// Where a sandbox has its address from.
#[derive(Debug, Clone, Copy)]
pub enum Address {
    /// It has its host's.
    OfHost,
    Given(IpAddr),
    /// A free one of the host's network, which begins here.
    From(Ipv4Addr),
}

/// More than one host ever makes.
const APART: u64 = 1 << 48;

/// Ids look like Podman's: 64 hex digits.
fn id_text(id: u64) -> String {
    format!("{id:064x}")
}

impl Host {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Finds the number of an id; an id of another form was never given out.
    pub fn find(&self, id: &str) -> u64 {
        self.foreign.get(id).copied().or_else(|| u64::from_str_radix(id, 16).ok()).unwrap_or(0)
    }

    fn text(&self, id: u64) -> String {
        self.foreign_names.get(&id).map_or_else(|| id_text(id), |name| name.to_string())
    }

    /// Counts from where no other pretended host gets to: what is adopted from one has ids like ours.
    pub fn count_apart(&mut self) {
        self.next = self.next.max(APART);
    }

    /// Gives a container the id it has elsewhere.
    pub fn name(&mut self, id: u64, foreign: &str) {
        self.foreign.insert(foreign.into(), id);
        self.foreign_names.insert(id, foreign.into());
    }

    pub fn sandbox_of(&self, pod_uid: &str) -> Option<u64> {
        self.by_pod.get(pod_uid).copied()
    }

    pub fn members(&self, sandbox: u64) -> impl Iterator<Item = u64> + '_ {
        self.members.range((sandbox, 0)..=(sandbox, u64::MAX)).map(|(_, container)| *container)
    }

    pub fn add_sandbox(
        &mut self,
        pod: &PodIdentity,
        address: Address,
        ports: Box<[HostPort]>,
        now: Timestamp,
    ) -> Result<u64> {
        if let Some(HostPort(port, protocol, _)) = ports.iter().find(|port| self.is_taken(port)) {
            return Err(RuntimeError::PortInUse {
                object: format!("sandbox of pod {}/{}", pod.namespace, pod.name),
                message: format!("{protocol} port {port}: address already in use"),
            });
        }
        let address = self.address(address)?;
        let id = self.number();
        self.addresses.extend(address);
        self.ports.extend(ports.iter().copied());
        self.by_pod.insert(pod.uid.clone(), id);
        self.sandboxes.insert(
            id,
            HollowSandbox { pod: pod.clone(), address, created: now, ports, resources: Resources::default() }.into(),
        );
        self.tell(EventKind::Started, id, now);
        Ok(id)
    }

    fn is_taken(&self, port: &HostPort) -> bool {
        let of_number = self.ports.range(HostPort(port.0, "", None)..);
        of_number.take_while(|held| held.0 == port.0).any(|held| held.excludes(port))
    }

    /// The next free address after the last one: what was freed just now is not given out again at once.
    fn address(&mut self, wanted: Address) -> Result<Option<IpAddr>> {
        let network = match wanted {
            Address::OfHost => return Ok(None),
            Address::Given(address) => return Ok(Some(address)),
            Address::From(network) => network,
        };
        for _ in 0..ADDRESSES {
            self.last_address = (self.last_address + 1) % ADDRESSES;
            let address = IpAddr::V4(Ipv4Addr::from(u32::from(network).wrapping_add(self.last_address)));
            if self.last_address >= RESERVED && !self.addresses.contains(&address) {
                return Ok(Some(address));
            }
        }
        let message = format!("all {} addresses are taken", ADDRESSES - RESERVED);
        Err(RuntimeError::InUse { object: format!("network {network}"), message })
    }

    pub fn remove_sandbox(&mut self, id: u64, now: Timestamp) {
        for container in self.members(id).collect::<Vec<_>>() {
            self.remove_container(container, now);
        }
        if self.sandboxes.contains_key(&id) {
            self.tell(EventKind::Removed, id, now);
        }
        if let Some(sandbox) = self.sandboxes.remove(&id) {
            self.by_pod.remove(&sandbox.pod.uid);
            if let Some(address) = sandbox.address {
                self.addresses.remove(&address);
            }
            for port in &sandbox.ports {
                self.ports.remove(port);
            }
        }
    }

    pub fn add_container(&mut self, container: HollowContainer) -> Result<u64> {
        let identity = &container.identity;
        if !self.sandboxes.contains_key(&container.sandbox) {
            return Err(RuntimeError::NotFound { object: format!("sandbox {}", id_text(container.sandbox)) });
        }
        let twin = self.members(container.sandbox).any(|other| {
            self.containers.get(&other).is_some_and(|other| {
                other.identity.container == identity.container && other.identity.restart_count == identity.restart_count
            })
        });
        if twin {
            return Err(RuntimeError::AlreadyExists { object: format!("container {}", identity.container) });
        }
        let (id, now) = (self.number(), container.created);
        self.members.insert((container.sandbox, id));
        self.containers.insert(id, container.into());
        self.tell(EventKind::Created, id, now);
        Ok(id)
    }

    pub fn remove_container(&mut self, id: u64, now: Timestamp) {
        if let Some(container) = self.containers.get(&id) {
            let sandbox = container.sandbox;
            self.tell(EventKind::Removed, id, now);
            self.members.remove(&(sandbox, id));
            self.containers.remove(&id);
        }
    }

    pub fn container(&mut self, id: &str) -> Result<&mut HollowContainer> {
        let number = self.find(id);
        let found = self.containers.get_mut(&number).map(|found| &mut **found);
        found.ok_or_else(|| RuntimeError::NotFound { object: format!("container {id}") })
    }

    /// Ends a running container; does nothing to one that does not run.
    pub fn end(&mut self, id: u64, code: i32, oom_killed: bool, now: Timestamp) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        if let ContainerState::Running { started, .. } = container.state {
            container.state =
                ContainerState::Exited(Exit { code, started: Some(started), finished: now, oom_killed, message: None });
            self.tell(EventKind::Died { exit_code: code }, id, now);
        }
    }

    pub fn tell(&mut self, kind: EventKind, id: u64, time: Timestamp) {
        let (pod, container) = match (self.containers.get(&id), self.sandboxes.get(&id)) {
            (Some(container), _) => (container.identity.pod.clone(), Some(container.identity.clone())),
            (_, Some(sandbox)) => (sandbox.pod.clone(), None),
            _ => return,
        };
        let event = RuntimeEvent { time, kind, id: self.text(id), pod, container };
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    pub fn describe_sandbox(&self, id: u64) -> Option<Sandbox> {
        let found = self.sandboxes.get(&id)?;
        let mut labels = BTreeMap::new();
        found.pod.write(&mut labels);
        Some(Sandbox {
            id: id_text(id),
            pod: found.pod.clone(),
            ready: true,
            ips: found.address.into_iter().collect(),
            host_network: found.address.is_none(),
            lone: false,
            created: found.created,
            labels,
        })
    }

    pub fn describe_container(&self, id: u64) -> Option<ContainerStatus> {
        let found = self.containers.get(&id)?;
        let mut labels = BTreeMap::new();
        found.identity.write(&mut labels);
        Some(ContainerStatus {
            id: self.text(id),
            identity: found.identity.clone(),
            sandbox: id_text(found.sandbox),
            image: found.image.to_string(),
            image_id: image_id(&found.image),
            created: found.created,
            state: found.state.clone(),
            labels,
            log_path: String::new(),
            user: None,
            ips: Vec::new(),
        })
    }
}

/// An id that is always the same for a name and an id for itself.
pub fn image_id(name: &str) -> String {
    use sha2::{Digest, Sha256};
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return name.to_owned();
    }
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the addresses of the pods of the `number`-th pretended host of a cluster begin.
pub fn network(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number % NETWORKS as usize).unwrap_or_default();
    Ipv4Addr::from(FIRST + number * ADDRESSES)
}
