//! Named volumes: the cluster's own among the host's.

use super::{Podman, generate, library::Volume};
use crate::kubelet::runtime::{Result, RuntimeError, VolumeSpec, labels};

impl Podman {
    pub(super) async fn make_volume(&self, spec: &VolumeSpec) -> Result<()> {
        let volume = generate::named_volume(spec, &self.cluster);
        match self.library.create_volume(&generate::volume_name(&self.cluster, &spec.name), &volume).await {
            Err(RuntimeError::AlreadyExists { .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn find_volume_files(&self, name: &str) -> Result<Option<String>> {
        match self.library.volume_files(&generate::volume_name(&self.cluster, name)).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other,
        }
    }

    pub(super) async fn list_volumes(&self, pod_uid: Option<&str>) -> Result<Vec<VolumeSpec>> {
        let mut wanted = vec![(labels::CLUSTER, self.cluster.as_str())];
        wanted.extend(pod_uid.map(|uid| (labels::POD_UID, uid)));
        let of = |Volume { labels, options }: Volume| {
            // Podman 4.3 matches any of the labels asked for, not all of them.
            let ours = wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|found| found == value));
            ours.then_some(())?;
            let tmpfs = options.get("type").is_some_and(|kind| kind == "tmpfs");
            Some(VolumeSpec {
                name: labels.get(generate::VOLUME_NAME)?.clone(),
                pod_uid: labels.get(labels::POD_UID).cloned().unwrap_or_default(),
                tmpfs: tmpfs.then_some(None),
                group: None,
            })
        };
        Ok(self.library.volumes(&wanted).await?.into_iter().filter_map(of).collect())
    }

    pub(super) async fn delete_volume(&self, name: &str) -> Result<()> {
        match self.library.remove_volume(&generate::volume_name(&self.cluster, name)).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}
