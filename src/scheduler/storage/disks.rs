//! Disks that stand in pods themselves, and which of them two pods of one host can not share. Source:
//! Kubernetes' VolumeRestrictions.

use k8s_openapi::api::core::v1::{Pod, Volume};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    Gce { name: String, read_only: bool },
    Ebs { id: String },
    Iscsi { iqn: String, read_only: bool },
    Rbd { monitors: Vec<String>, pool: String, image: String, read_only: bool },
}

impl Disk {
    pub fn of(volume: &Volume) -> Option<Self> {
        let is = |flag: Option<bool>| flag == Some(true);
        if let Some(disk) = &volume.gce_persistent_disk {
            return Some(Self::Gce { name: disk.pd_name.clone(), read_only: is(disk.read_only) });
        }
        if let Some(disk) = &volume.aws_elastic_block_store {
            return Some(Self::Ebs { id: disk.volume_id.clone() });
        }
        if let Some(disk) = &volume.iscsi {
            return Some(Self::Iscsi { iqn: disk.iqn.clone(), read_only: is(disk.read_only) });
        }
        let disk = volume.rbd.as_ref()?;
        Some(Self::Rbd {
            monitors: disk.monitors.clone(),
            pool: disk.pool.clone().unwrap_or_default(),
            image: disk.image.clone(),
            read_only: is(disk.read_only),
        })
    }

    /// Those of a pod.
    pub fn all(pod: &Pod) -> impl Iterator<Item = Self> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes.filter_map(Self::of)
    }

    /// Whether two pods with these can not be on one host.
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gce { name, read_only }, Self::Gce { name: other, read_only: also }) => {
                name == other && !(*read_only && *also)
            }
            // Not even to read.
            (Self::Ebs { id }, Self::Ebs { id: other }) => id == other,
            (Self::Iscsi { iqn, read_only }, Self::Iscsi { iqn: other, read_only: also }) => {
                iqn == other && !(*read_only && *also)
            }
            (
                Self::Rbd { monitors, pool, image, read_only },
                Self::Rbd { monitors: others, pool: other_pool, image: other_image, read_only: also },
            ) => {
                let same = pool == other_pool && image == other_image;
                same && monitors.iter().any(|one| others.contains(one)) && !(*read_only && *also)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, from_value, json};

    fn disk(kind: &str, source: Value) -> Disk {
        Disk::of(&from_value(json!({"name": "v", kind: source})).unwrap()).unwrap()
    }

    #[test]
    fn disks_are_shared_by_readers_only_and_some_by_nobody() {
        let gce =
            |name: &str, read_only: bool| disk("gcePersistentDisk", json!({"pdName": name, "readOnly": read_only}));
        let ebs = |id: &str| disk("awsElasticBlockStore", json!({"volumeID": id, "readOnly": true}));
        let iscsi = |iqn: &str, read_only: bool| {
            disk("iscsi", json!({"iqn": iqn, "targetPortal": "p", "lun": 0, "readOnly": read_only}))
        };
        let rbd = |monitors: &[&str], pool: &str, image: &str, read_only: bool| {
            disk("rbd", json!({"monitors": monitors, "pool": pool, "image": image, "readOnly": read_only}))
        };
        let cases = [
            (gce("a", false), gce("a", true), true),
            (gce("a", true), gce("a", true), false),
            (gce("a", false), gce("b", false), false),
            (ebs("a"), ebs("a"), true),
            (ebs("a"), ebs("b"), false),
            (iscsi("a", true), iscsi("a", true), false),
            (iscsi("a", true), iscsi("a", false), true),
            (iscsi("a", false), iscsi("b", false), false),
            (rbd(&["m", "n"], "p", "i", false), rbd(&["n"], "p", "i", true), true),
            (rbd(&["m"], "p", "i", true), rbd(&["m"], "p", "i", true), false),
            (rbd(&["m"], "p", "i", false), rbd(&["n"], "p", "i", false), false),
            (rbd(&["m"], "p", "i", false), rbd(&["m"], "q", "i", false), false),
            (rbd(&["m"], "p", "i", false), rbd(&["m"], "p", "j", false), false),
            (gce("a", false), ebs("a"), false),
        ];
        for (one, other, excluded) in &cases {
            assert_eq!(one.excludes(other), *excluded, "{one:?} beside {other:?}");
            assert_eq!(other.excludes(one), *excluded, "{other:?} beside {one:?}");
        }
    }
}
