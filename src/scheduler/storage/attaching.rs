//! What is attached to hosts by drivers, and how much of it a host takes. Source: Kubernetes'
//! NodeVolumeLimits; volumes of the plugins that it had built in count for the drivers that follow them, on
//! hosts that say so.

use crate::controllers::volume_binder::matching;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Volume};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use std::collections::{BTreeMap, BTreeSet};

const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";
const EBS: &str = "kubernetes.io/aws-ebs";
const GCE_PD: &str = "kubernetes.io/gce-pd";
const AZURE_DISK: &str = "kubernetes.io/azure-disk";
const CINDER: &str = "kubernetes.io/cinder";
const PORTWORX: &str = "kubernetes.io/portworx-volume";
/// The plugins whose volumes count, with the drivers that follow them.
const DRIVERS: [(&str, &str); 5] = [
    (EBS, "ebs.csi.aws.com"),
    (GCE_PD, "pd.csi.storage.gke.io"),
    (AZURE_DISK, "disk.csi.azure.com"),
    (CINDER, "cinder.csi.openstack.org"),
    (PORTWORX, "pxd.portworx.com"),
];
const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// Something that a driver attaches; the same for all pods of a host that use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    driver: String,
    handle: String,
    /// The plugin that has it attached where the driver does not follow it.
    plugin: Option<&'static str>,
}

/// What a host says of its drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDrivers {
    /// How many volumes each may attach there. Where nothing is said there is no limit.
    limits: BTreeMap<String, usize>,
    migrated: BTreeSet<String>,
}

impl Attachment {
    fn of_plugin(plugin: &'static str, handle: impl Into<String>) -> Option<Self> {
        let driver = driver_after(plugin)?.1;
        Some(Self { driver: driver.to_owned(), handle: handle.into(), plugin: Some(plugin) })
    }

    /// A volume that stands in the pod itself, other than a claim.
    pub fn inline(volume: &Volume) -> Option<Self> {
        if let Some(disk) = &volume.aws_elastic_block_store {
            return Self::of_plugin(EBS, ebs_id(&disk.volume_id));
        }
        if let Some(disk) = &volume.gce_persistent_disk {
            return Self::of_plugin(GCE_PD, gce_id("UNSPECIFIED", &disk.pd_name));
        }
        if let Some(disk) = &volume.azure_disk {
            return Self::of_plugin(AZURE_DISK, &disk.disk_uri);
        }
        if let Some(disk) = &volume.cinder {
            return Self::of_plugin(CINDER, &disk.volume_id);
        }
        volume.portworx_volume.as_ref().and_then(|disk| Self::of_plugin(PORTWORX, &disk.volume_id))
    }

    pub fn of_volume(volume: &PersistentVolume) -> Option<Self> {
        let spec = volume.spec.as_ref()?;
        if let Some(csi) = &spec.csi {
            return Some(Self { driver: csi.driver.clone(), handle: csi.volume_handle.clone(), plugin: None });
        }
        if let Some(disk) = &spec.aws_elastic_block_store {
            return Self::of_plugin(EBS, ebs_id(&disk.volume_id));
        }
        if let Some(disk) = &spec.gce_persistent_disk {
            let labels = volume.metadata.labels.as_ref();
            let zone = labels.and_then(|labels| ZONES.iter().find_map(|key| labels.get(*key)));
            return Self::of_plugin(GCE_PD, gce_id(zone.map_or("UNSPECIFIED", String::as_str), &disk.pd_name));
        }
        if let Some(disk) = &spec.azure_disk {
            return Self::of_plugin(AZURE_DISK, &disk.disk_uri);
        }
        if let Some(disk) = &spec.cinder {
            return Self::of_plugin(CINDER, &disk.volume_id);
        }
        spec.portworx_volume.as_ref().and_then(|disk| Self::of_plugin(PORTWORX, &disk.volume_id))
    }

    /// The volume that the claim is to get of its class: another for each claim.
    pub fn expected(claim: &PersistentVolumeClaim, class: &StorageClass) -> Self {
        let meta = &claim.metadata;
        let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref());
        // No driver has such a handle.
        let handle = format!("\0{namespace}/{}", name.unwrap_or_default());
        let (plugin, driver) = match driver_after(&class.provisioner) {
            Some((plugin, driver)) => (Some(plugin), driver.to_owned()),
            None => (None, class.provisioner.clone()),
        };
        Self { driver, handle, plugin }
    }
}

fn driver_after(plugin: &str) -> Option<(&'static str, &'static str)> {
    DRIVERS.into_iter().find(|(name, _)| *name == plugin)
}

/// `aws://ZONE/vol-1` names the same as `vol-1`.
fn ebs_id(id: &str) -> &str {
    match id.strip_prefix("aws://") {
        Some(rest) => rest.rsplit('/').next().unwrap_or(rest),
        None => id,
    }
}

fn gce_id(zone: &str, name: &str) -> String {
    format!("{zone}/{name}")
}

impl HostDrivers {
    pub fn of(node: &CSINode) -> Self {
        let limit = |count: i32| usize::try_from(count).unwrap_or(0);
        let counted = node.spec.drivers.iter().filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.clone(), limit(count)))
        });
        let migrated = matching::annotation(&node.metadata.annotations, MIGRATED_PLUGINS).unwrap_or_default();
        Self { limits: counted.collect(), migrated: migrated.split(',').map(str::to_owned).collect() }
    }

    pub fn are_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Whether a driver of the host attaches it.
    fn attach(&self, attachment: &Attachment) -> bool {
        attachment.plugin.is_none_or(|plugin| self.migrated.contains(plugin))
    }

    fn ours<'a>(&self, all: &'a [Attachment]) -> BTreeSet<(&'a str, &'a str)> {
        all.iter().filter(|one| self.attach(one)).map(|one| (&*one.driver, &*one.handle)).collect()
    }

    /// Whether what is new is too much beside what is attached already.
    pub fn are_exceeded(&self, new: &[Attachment], attached: &[Attachment]) -> bool {
        let (new, attached) = (self.ours(new), self.ours(attached));
        self.limits.iter().any(|(driver, limit)| {
            let more = new.difference(&attached).filter(|(name, _)| name == driver).count();
            more > 0 && attached.iter().filter(|(name, _)| name == driver).count() + more > *limit
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, from_value, json};

    fn drivers(annotations: Value) -> HostDrivers {
        let limited = |name: &str, count: Value| json!({"name": name, "nodeID": "n", "allocatable": {"count": count}});
        let all = [
            limited("d", json!(2)),
            limited("none", json!(0)),
            limited("unknown", Value::Null),
            limited("ebs.csi.aws.com", json!(1)),
            json!({"name": "free", "nodeID": "n"}),
        ];
        let node = json!({"metadata": {"name": "h", "annotations": annotations}, "spec": {"drivers": all}});
        HostDrivers::of(&from_value(node).unwrap())
    }

    fn volume(source: Value) -> Attachment {
        let volume: PersistentVolume = from_value(json!({"metadata": {"name": "v"}, "spec": source})).unwrap();
        Attachment::of_volume(&volume).unwrap()
    }

    fn csi(driver: &str, handle: &str) -> Attachment {
        volume(json!({"csi": {"driver": driver, "volumeHandle": handle}}))
    }

    #[test]
    fn drivers_attach_up_to_their_limit() {
        let drivers = drivers(Value::Null);
        let many = |driver: &str, handles: &[&str]| handles.iter().map(|one| csi(driver, one)).collect::<Vec<_>>();
        let cases = [
            ("d", &["1", "2"][..], &[][..], false),
            ("d", &["1", "2", "3"], &[], true),
            ("d", &["3"], &["1", "2"], true),
            ("d", &["2"], &["1", "2"], false),
            ("d", &["1", "1"], &["2"], false),
            // More than is allowed there already: what asks for nothing new is not kept away.
            ("d", &["1"], &["1", "2", "3"], false),
            ("none", &["1"], &[], true),
            ("unknown", &["1"], &["2"], false),
            ("free", &["1", "2", "3", "4"], &[], false),
            ("elsewhere", &["1"], &[], false),
        ];
        for (driver, new, attached, exceeded) in cases {
            let found = drivers.are_exceeded(&many(driver, new), &many(driver, attached));
            assert_eq!(found, exceeded, "{driver}: {new:?} beside {attached:?}");
        }
        assert!(!drivers.are_exceeded(&many("d", &["3"]), &many("free", &["1", "2"])), "each has its own");
    }

    #[test]
    fn the_volumes_of_plugins_count_for_the_drivers_that_follow_them() {
        let ebs = |id: &str| volume(json!({"awsElasticBlockStore": {"volumeID": id}}));
        let inline: Volume = from_value(json!({"name": "v", "awsElasticBlockStore": {"volumeID": "vol-2"}})).unwrap();
        let inline = Attachment::inline(&inline).unwrap();
        let (migrated, not) =
            (drivers(json!({ MIGRATED_PLUGINS: "kubernetes.io/gce-pd,kubernetes.io/aws-ebs" })), drivers(Value::Null));
        assert!(migrated.are_exceeded(&[ebs("vol-1")], std::slice::from_ref(&inline)));
        assert!(!not.are_exceeded(&[ebs("vol-1")], std::slice::from_ref(&inline)), "the plugin attaches it there");
        assert!(
            !migrated.are_exceeded(&[ebs("aws://zone/vol-2")], std::slice::from_ref(&inline)),
            "it is the same one"
        );
        assert!(migrated.are_exceeded(&[csi("ebs.csi.aws.com", "vol-1")], &[inline]));
        let of = |source: Value| volume(source).driver;
        assert_eq!(of(json!({"gcePersistentDisk": {"pdName": "d"}})), "pd.csi.storage.gke.io");
        assert_eq!(of(json!({"azureDisk": {"diskName": "d", "diskURI": "u"}})), "disk.csi.azure.com");
        assert_eq!(of(json!({"cinder": {"volumeID": "d"}})), "cinder.csi.openstack.org");
        assert_eq!(of(json!({"portworxVolume": {"volumeID": "d"}})), "pxd.portworx.com");
    }

    #[test]
    fn each_claim_is_to_get_a_volume_of_its_own() {
        let claim = |name: &str| from_value(json!({"metadata": {"name": name, "namespace": "ns"}})).unwrap();
        let class =
            |provisioner: &str| from_value(json!({"metadata": {"name": "c"}, "provisioner": provisioner})).unwrap();
        let expected = |name: &str, provisioner: &str| Attachment::expected(&claim(name), &class(provisioner));
        assert_ne!(expected("a", "d"), expected("b", "d"));
        assert_eq!(expected("a", "kubernetes.io/cinder").driver, "cinder.csi.openstack.org");
        assert_eq!(expected("a", "kubernetes.io/cinder").plugin, Some(CINDER));
    }
}
