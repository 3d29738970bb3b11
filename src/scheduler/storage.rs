//! Claims, volumes and classes as the scheduler sees them, and what a pod's claims ask of a host.
//!
//! A claim that is bound ties its pods to the hosts that reach its volume. A claim that waits for its
//! first consumer gets a volume of the chosen host: one that is there and free, or one that the class's
//! provisioner makes. Both are asked for before the pod is bound, and waited for.

mod attaching;
mod disks;

use super::filters::Rejection;
use super::snapshot::HostState;
use crate::client::ObjectKey;
use crate::controllers::volume_binder::matching::{self, BIND_COMPLETED, SELECTED_NODE, annotation};
use crate::controllers::volume_binder::{self, plan, provision};
use attaching::{Attachment, HostDrivers};
use disks::Disk;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass, VolumeAttachment};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Labels of places, each with the one that a node may have in its stead.
const ZONES: [(&str, &str); 4] = [
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// Kept up to date by changes.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    claims: HashMap<ObjectKey, Arc<PersistentVolumeClaim>>,
    volumes: BTreeMap<String, Arc<PersistentVolume>>,
    classes: HashMap<String, Arc<StorageClass>>,
    /// Volumes that were promised to a claim, by uid, and do not show it yet.
    promised: HashMap<String, String>,
    /// How many pods on hosts use each claim.
    used: HashMap<ObjectKey, usize>,
    /// Hosts whose drivers attach only so much, by name.
    drivers: HashMap<String, HostDrivers>,
    /// Volumes that are attached, by host and by the attachment's name.
    attached: HashMap<String, BTreeMap<String, String>>,
}

/// What a pod has of volumes that are not claims, where it matters who else has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inline {
    disks: Vec<Disk>,
    attachments: Vec<Attachment>,
}

impl Inline {
    pub fn of(pod: &Pod) -> Option<Box<Self>> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let attachments: Vec<_> = volumes.filter_map(Attachment::inline).collect();
        let disks: Vec<_> = Disk::all(pod).collect();
        (!disks.is_empty() || !attachments.is_empty()).then(|| Box::new(Self { disks, attachments }))
    }
}

/// What a pod's claims ask of every host; worked out once per cycle.
#[derive(Debug, Default)]
pub struct Needs {
    /// The volumes of its bound claims.
    bound: Vec<Arc<PersistentVolume>>,
    /// A claim says that it has a volume, and there is none.
    lost: bool,
    /// Claims that wait for the pod's host.
    waiting: Vec<Arc<PersistentVolumeClaim>>,
    /// A claim that one pod may use at a time is in use.
    taken: bool,
    /// What can not be shared with pods of the same host.
    disks: Vec<Disk>,
    /// What is to be attached, where any host limits that.
    attachments: Vec<Attachment>,
    /// No host will do.
    refused: Option<String>,
}

/// A write that comes before the pod's binding.
#[derive(Clone, Debug)]
pub enum Request {
    /// This volume is for this claim.
    Reserve(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>),
    /// A volume is to be made for the claim.
    Provision(Arc<PersistentVolumeClaim>),
}

impl Request {
    /// The merge patch of the volume, or of the claim.
    pub fn patch(&self, host: &str) -> Value {
        match self {
            Self::Reserve(_, claim) => plan::reserve(claim, true),
            Self::Provision(_) => json!({"metadata": {"annotations": { SELECTED_NODE: host }}}),
        }
    }

    pub fn claim(&self) -> &Arc<PersistentVolumeClaim> {
        let (Self::Reserve(_, claim) | Self::Provision(claim)) = self;
        claim
    }
}

impl Storage {
    pub fn set_claim(&mut self, claim: Arc<PersistentVolumeClaim>) {
        self.claims.insert(ObjectKey::of(&*claim), claim);
    }

    pub fn remove_claim(&mut self, claim: &PersistentVolumeClaim) {
        self.claims.remove(&ObjectKey::of(claim));
        self.break_promises(claim);
    }

    pub fn set_volume(&mut self, volume: Arc<PersistentVolume>) {
        let name = volume.metadata.name.clone().unwrap_or_default();
        if volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some()) {
            self.promised.remove(&name);
        }
        self.volumes.insert(name, volume);
    }

    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
        self.promised.remove(name);
    }

    pub fn set_class(&mut self, class: Arc<StorageClass>) {
        self.classes.insert(class.metadata.name.clone().unwrap_or_default(), class);
    }

    pub fn remove_class(&mut self, name: &str) {
        self.classes.remove(name);
    }

    pub fn set_drivers(&mut self, node: &CSINode) {
        let (name, drivers) = (node.metadata.name.clone().unwrap_or_default(), HostDrivers::of(node));
        match drivers.are_limited() {
            true => drop(self.drivers.insert(name, drivers)),
            false => self.remove_drivers(&name),
        }
    }

    pub fn remove_drivers(&mut self, node: &str) {
        self.drivers.remove(node);
    }

    pub fn set_attachment(&mut self, attachment: &VolumeAttachment) {
        if let Some(volume) = &attachment.spec.source.persistent_volume_name {
            let of_host = self.attached.entry(attachment.spec.node_name.clone()).or_default();
            of_host.insert(attachment.metadata.name.clone().unwrap_or_default(), volume.clone());
        }
    }

    pub fn remove_attachment(&mut self, attachment: &VolumeAttachment) {
        if let Some(of_host) = self.attached.get_mut(&attachment.spec.node_name) {
            of_host.remove(attachment.metadata.name.as_deref().unwrap_or_default());
            if of_host.is_empty() {
                self.attached.remove(&attachment.spec.node_name);
            }
        }
    }

    /// The next pod must not count on these volumes.
    pub fn promise(&mut self, requests: &[Request]) {
        for request in requests {
            if let Request::Reserve(volume, claim) = request {
                let name = volume.metadata.name.clone().unwrap_or_default();
                self.promised.insert(name, claim.metadata.uid.clone().unwrap_or_default());
            }
        }
    }

    /// The claim did not get, or no longer wants, what it was promised.
    pub fn break_promises(&mut self, claim: &PersistentVolumeClaim) {
        let uid = claim.metadata.uid.as_deref().unwrap_or_default();
        self.promised.retain(|_, promised| promised != uid);
    }

    /// A pod on a host uses these claims, or no longer does.
    pub fn use_claims(&mut self, namespace: &str, names: &[String], uses: bool) {
        for name in names {
            let key = ObjectKey::new(namespace, name);
            let count = self.used.entry(key.clone()).or_default();
            *count = if uses { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.used.remove(&key);
            }
        }
    }

    /// The claim as it is now, while it is the same one.
    fn now(&self, claim: &PersistentVolumeClaim) -> Option<&Arc<PersistentVolumeClaim>> {
        self.claims.get(&ObjectKey::of(claim)).filter(|now| now.metadata.uid == claim.metadata.uid)
    }

    pub fn is_bound(&self, claim: &PersistentVolumeClaim) -> bool {
        self.now(claim).is_some_and(|claim| is_bound(claim))
    }

    /// Whether the request came to nothing: the claim is gone, its host is to be chosen again, or its volume
    /// is another's. `written`: the revision of the request itself; what is older says nothing.
    pub fn has_failed(&self, request: &Request, host: &str, written: Option<u64>) -> bool {
        let Some(claim) = self.now(request.claim()) else { return true };
        if is_bound(claim) {
            return false;
        }
        match request {
            Request::Provision(_) => {
                let shows = |written: u64| revision(claim) >= written;
                written.is_some_and(shows) && annotation(&claim.metadata.annotations, SELECTED_NODE) != Some(host)
            }
            Request::Reserve(volume, _) => {
                let now = self.volumes.get(volume.metadata.name.as_deref().unwrap_or_default());
                now.is_none_or(|volume| matching::reserved(volume, claim) == matching::For::Another)
            }
        }
    }

    pub fn needs(&self, pod: &Pod) -> Needs {
        let mut needs = Needs { disks: Disk::all(pod).collect(), ..Needs::default() };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if !self.drivers.is_empty() {
            needs.attachments = self.attachments(namespace, volume_binder::claims(pod));
            needs.attachments.extend(Inline::of(pod).into_iter().flat_map(|inline| inline.attachments));
        }
        for name in volume_binder::claims(pod) {
            let Some(claim) = self.claims.get(&ObjectKey::new(namespace, &name)) else {
                return Needs { refused: Some(format!("persistentvolumeclaim \"{name}\" not found")), ..needs };
            };
            let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
            let alone = modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod"));
            needs.taken |= alone && self.used.contains_key(&ObjectKey::of(&**claim));
            let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
            let why = if claim.metadata.deletion_timestamp.is_some() {
                format!("persistentvolumeclaim \"{name}\" is being deleted")
            } else if phase == Some("Lost") {
                let lost = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
                format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{lost}\"")
            } else if is_bound(claim) {
                match claim.spec.as_ref().and_then(|spec| self.volumes.get(spec.volume_name.as_deref()?)) {
                    Some(volume) => needs.bound.push(volume.clone()),
                    None => needs.lost = true,
                }
                continue;
            } else if self.is_delayed(claim) {
                needs.waiting.push(claim.clone());
                continue;
            } else {
                "pod has unbound immediate PersistentVolumeClaims".to_owned()
            };
            return Needs { refused: Some(why), ..needs };
        }
        needs
    }

    fn class(&self, claim: &PersistentVolumeClaim) -> Option<&StorageClass> {
        self.classes.get(matching::class_of(claim)).map(Arc::as_ref)
    }

    /// A claim that asks for a volume by name does not wait for a host.
    fn is_delayed(&self, claim: &PersistentVolumeClaim) -> bool {
        let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
        named.is_empty() && matching::waits_for_consumer(self.class(claim))
    }

    /// What claims have attached, or will have.
    fn attachments(&self, namespace: &str, names: impl Iterator<Item = String>) -> Vec<Attachment> {
        let of_claim = |name: String| {
            let claim = self.claims.get(&ObjectKey::new(namespace, &name))?;
            let volume = claim.spec.as_ref().and_then(|spec| self.volumes.get(spec.volume_name.as_deref()?));
            match volume {
                Some(volume) => Attachment::of_volume(volume),
                None => self.class(claim).map(|class| Attachment::expected(claim, class)),
            }
        };
        names.filter_map(of_claim).collect()
    }

    /// Whether other pods leave the volumes to this one.
    pub fn restrictions(&self, needs: &Needs, host: &HostState) -> Option<Rejection> {
        if needs.taken {
            return Some(Rejection::room(
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            ));
        }
        let excluded = |disk: &Disk| {
            let others = host.pods().filter_map(|placed| placed.inline.as_deref());
            others.flat_map(|inline| &inline.disks).any(|other| disk.excludes(other))
        };
        needs.disks.iter().any(excluded).then(|| Rejection::room("node(s) had no available disk"))
    }

    /// Whether the host's drivers attach so much.
    pub fn limits(&self, needs: &Needs, host: &HostState) -> Option<Rejection> {
        let drivers = self.drivers.get(&*host.name).filter(|_| !needs.attachments.is_empty())?;
        let of_pods = host.pods().flat_map(|placed| {
            let inline = placed.inline.iter().flat_map(|inline| inline.attachments.clone());
            self.attachments(&placed.group.namespace, placed.claims.iter().cloned()).into_iter().chain(inline)
        });
        // What a pod that is gone left is detached some time later.
        let volumes = self.attached.get(&*host.name).into_iter().flat_map(BTreeMap::values);
        let left = volumes.filter_map(|name| Attachment::of_volume(self.volumes.get(name)?));
        let attached: Vec<Attachment> = of_pods.chain(left).collect();
        let exceeded = drivers.are_exceeded(&needs.attachments, &attached);
        exceeded.then(|| Rejection::room("node(s) exceed max volume count"))
    }

    /// Whether the volumes are where the host is.
    pub fn zones(&self, needs: &Needs, node: &Node) -> Option<Rejection> {
        let elsewhere = needs.bound.iter().any(|volume| !is_in_zone(volume, node));
        elsewhere.then(|| Rejection::never("node(s) had no available volume zone"))
    }

    /// What the host must be asked for; why it will not do instead.
    pub fn requests(&self, needs: &Needs, node: &Node) -> Result<Vec<Request>, Rejection> {
        let no_volume = || Rejection::never("node(s) didn't find available persistent volumes to bind");
        if needs.lost {
            return Err(Rejection::never("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"));
        }
        if !needs.bound.iter().all(|volume| matching::reachable(volume, node)) {
            return Err(Rejection::never("node(s) had volume node affinity conflict"));
        }
        let mut requests: Vec<Request> = Vec::new();
        for claim in &needs.waiting {
            let selected = annotation(&claim.metadata.annotations, SELECTED_NODE);
            if selected.is_some_and(|name| Some(name) != node.metadata.name.as_deref()) {
                return Err(no_volume());
            }
            let taken = |volume: &Arc<PersistentVolume>| {
                let promised = self.promised.get(volume.metadata.name.as_deref().unwrap_or_default());
                let of_ours =
                    |request: &Request| matches!(request, Request::Reserve(one, _) if Arc::ptr_eq(one, volume));
                promised.is_some_and(|uid| Some(uid) != claim.metadata.uid.as_ref()) || requests.iter().any(of_ours)
            };
            let free = self.volumes.values().filter(|volume| !taken(volume));
            let found = if selected.is_some() { None } else { matching::best(claim, free, Some(node), true) };
            let request = match found {
                Some(volume) => Request::Reserve(volume.clone(), claim.clone()),
                None => {
                    let class =
                        self.class(claim).filter(|class| is_provisioned_on(class, node)).ok_or_else(no_volume)?;
                    if let Some(why) = provision::obstacle(class, node) {
                        return Err(Rejection::never(why));
                    }
                    Request::Provision(claim.clone())
                }
            };
            requests.push(request);
        }
        Ok(requests)
    }
}

impl Needs {
    /// Why no host will do.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    pub fn is_empty(&self) -> bool {
        let of_claims = !self.bound.is_empty() || !self.waiting.is_empty() || self.lost || self.refused.is_some();
        !of_claims && !self.look_at_pods()
    }

    /// Whether other pods, and not only the room they take, may be in the way.
    pub fn look_at_pods(&self) -> bool {
        self.taken || !self.disks.is_empty() || !self.attachments.is_empty()
    }
}

/// Whether the class makes volumes, and for this host.
fn is_provisioned_on(class: &StorageClass, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    let topologies = class.allowed_topologies.as_deref().unwrap_or_default();
    let allowed = topologies.iter().any(|term| {
        let all = term.match_label_expressions.iter().flatten();
        all.clone().all(|one| label(&one.key).is_some_and(|value| one.values.contains(value)))
    });
    class.provisioner != "kubernetes.io/no-provisioner" && (topologies.is_empty() || allowed)
}

/// Whether the node is in the zone and region that the volume's labels name, if the node is in any. A zone may
/// be several, joined by `__`; what is no such list is not looked at. Source: Kubernetes' VolumeZone.
fn is_in_zone(volume: &PersistentVolume, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let is_zoned = ZONES.iter().any(|(key, _)| label(key).is_some());
    let of_volume = volume.metadata.labels.as_ref();
    let fits = |(key, instead): &(&str, &str)| {
        let Some(values) = of_volume.and_then(|labels| labels.get(*key)) else { return true };
        let mut values = values.split("__").map(str::trim);
        values.clone().any(str::is_empty)
            || label(key).or_else(|| label(instead)).is_some_and(|own| values.any(|one| one == own))
    };
    !is_zoned || ZONES.iter().all(fits)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    !named.is_empty() && annotation(&claim.metadata.annotations, BIND_COMPLETED).is_some()
}

fn revision(claim: &PersistentVolumeClaim) -> u64 {
    claim.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
