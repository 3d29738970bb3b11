//! Who a container is, and the labels that carry it across restarts of the daemon.

use std::collections::BTreeMap;

/// The id of the data directory that owns the container.
pub const CLUSTER: &str = "io.selkie.cluster";
pub const POD_UID: &str = "io.selkie.pod.uid";
pub const POD_NAMESPACE: &str = "io.selkie.pod.namespace";
pub const POD_NAME: &str = "io.selkie.pod.name";
pub const CONTAINER_NAME: &str = "io.selkie.container.name";
/// A hash of the part of the pod's spec that made the container.
pub const CONTAINER_HASH: &str = "io.selkie.container.hash";
/// How many containers of that name the pod had before, in decimal.
pub const RESTART_COUNT: &str = "io.selkie.container.restart-count";
/// On a sandbox that holds nothing, and on the container that has all to itself.
pub const LONE: &str = "io.selkie.sandbox.lone";

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodIdentity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl PodIdentity {
    /// The pod that labels speak of; `None` when they are not of this form.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let get = |key: &str| labels.get(key).cloned();
        Some(Self { namespace: get(POD_NAMESPACE)?, name: get(POD_NAME)?, uid: get(POD_UID)? })
    }

    /// Adds this pod's labels.
    pub fn write(&self, labels: &mut BTreeMap<String, String>) {
        labels.insert(POD_UID.into(), self.uid.clone());
        labels.insert(POD_NAMESPACE.into(), self.namespace.clone());
        labels.insert(POD_NAME.into(), self.name.clone());
    }
}

/// Which container of which pod, and which of its lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerIdentity {
    pub pod: PodIdentity,
    pub container: String,
    pub restart_count: u32,
    /// See [`CONTAINER_HASH`].
    pub hash: String,
}

impl ContainerIdentity {
    /// The container that labels speak of; `None` for a sandbox and for foreign containers.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            pod: PodIdentity::from_labels(labels)?,
            container: labels.get(CONTAINER_NAME)?.clone(),
            restart_count: labels.get(RESTART_COUNT).and_then(|count| count.parse().ok()).unwrap_or(0),
            hash: labels.get(CONTAINER_HASH).cloned().unwrap_or_default(),
        })
    }

    /// Adds this container's labels, its pod's included.
    pub fn write(&self, labels: &mut BTreeMap<String, String>) {
        self.pod.write(labels);
        labels.insert(CONTAINER_NAME.into(), self.container.clone());
        labels.insert(CONTAINER_HASH.into(), self.hash.clone());
        labels.insert(RESTART_COUNT.into(), self.restart_count.to_string());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn identity_survives_labels() {
        let identity = ContainerIdentity {
            pod: PodIdentity { namespace: "shop".into(), name: "web-1".into(), uid: "u-1".into() },
            container: "web".into(),
            restart_count: 7,
            hash: "abc".into(),
        };
        let mut labels = BTreeMap::new();
        identity.write(&mut labels);
        assert_eq!(ContainerIdentity::from_labels(&labels), Some(identity.clone()));
        labels.remove(CONTAINER_NAME);
        assert_eq!(ContainerIdentity::from_labels(&labels), None);
        assert_eq!(PodIdentity::from_labels(&labels), Some(identity.pod));
    }
}
