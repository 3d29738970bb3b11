//! The calls that the podman-api crate makes for us: the host, images, volumes, usage.
//!
//! Only what it gets right on every version we speak to, which is what Podman answers from its
//! database in one piece; what it breaks (stop, wait, create, 304 answers, the inspections of 5.0) and
//! what must not wait for a pool goes through [`http::Client`](super::http::Client). No type of the
//! crate leaves this file: outside are our types, our errors and a deadline for every call.

use super::{
    facts::Info,
    fault,
    http::{Endpoint, QUICK, SLOW, segment},
    infra,
};
use crate::kubelet::runtime::{ContainerStats, ImageConfig, ImageInfo, Result, RuntimeError};
use http::StatusCode;
use jiff::Timestamp;
use podman_api::{
    ApiVersion, Error, Podman, models,
    opts::{ContainerStatsOpts, ImageListOpts, VolumeCreateOpts, VolumeListFilter, VolumeListOpts},
};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// Served in the same shapes by everything from 4.0 to 5.x.
const VERSION: ApiVersion = ApiVersion::new(4, Some(0), Some(0));

/// Speaks to one service through podman-api.
#[derive(Clone, Debug)]
pub struct Library {
    endpoint: Endpoint,
    url: String,
}

/// A volume as Podman lists it.
#[derive(Clone, Debug)]
pub struct Volume {
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

impl Library {
    pub fn new(endpoint: Endpoint, url: String) -> Self {
        Self { endpoint, url }
    }

    /// A connection per call: a pooled one to a host that was cut off would hang for its whole
    /// deadline after the host is back.
    fn open(&self) -> Result<Podman> {
        let opened = match &self.endpoint {
            Endpoint::Unix(path) => Ok(Podman::unix_versioned(path, VERSION)),
            Endpoint::Tcp(address) => Podman::tcp_versioned(address, VERSION),
        };
        opened.map_err(|error| self.error("GET", "host address", error))
    }

    async fn answer<T>(
        &self,
        (method, object): (&str, &str),
        deadline: Duration,
        call: impl Future<Output = podman_api::Result<T>>,
    ) -> Result<T> {
        let what = || format!("{method} {object}");
        let answer = timeout(deadline, call).await;
        let answer = answer.map_err(|_| RuntimeError::Timeout { what: what(), after: deadline })?;
        answer.map_err(|error| self.error(method, object, error))
    }

    fn error(&self, method: &str, object: &str, error: Error) -> RuntimeError {
        match error {
            Error::Fault { code, message } => {
                let status = StatusCode::from_u16(code.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                fault::classify(method, object, status, once(&message))
            }
            Error::Error(cause) if !matches!(cause, podman_api::conn::Error::SerdeJsonError(_)) => {
                RuntimeError::Unreachable { url: self.url.clone(), cause: cause.into() }
            }
            cause => RuntimeError::Other {
                method: method.to_owned(),
                object: object.to_owned(),
                message: "Podman's answer is not understood".to_owned(),
                cause: Some(cause.into()),
            },
        }
    }

    pub async fn info(&self) -> Result<Info> {
        let info = self.answer(("GET", "host"), QUICK, self.open()?.info()).await?;
        host(info).ok_or_else(|| self.error("GET", "host", Error::InvalidResponse("no host or store in it".into())))
    }

    pub async fn images(&self) -> Result<Vec<ImageInfo>> {
        let (podman, options) = (self.open()?, ImageListOpts::builder().build());
        let images = self.answer(("GET", "images"), QUICK, podman.images().list(&options)).await?;
        Ok(images.into_iter().map(listed_image).collect())
    }

    pub async fn image(&self, name: &str) -> Result<Option<ImageInfo>> {
        let image = self.open()?.images().get(segment(name));
        match self.answer(("GET", name), QUICK, image.inspect()).await {
            Ok(image) => Ok(Some(inspected_image(image))),
            Err(RuntimeError::NotFound { .. } | RuntimeError::ImageNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The volumes with any (Podman 4.3) or all of these labels.
    pub async fn volumes(&self, labels: &[(&str, &str)]) -> Result<Vec<Volume>> {
        let filter = labels.iter().map(|(key, value)| VolumeListFilter::LabelKeyVal((*key).into(), (*value).into()));
        let (podman, options) = (self.open()?, VolumeListOpts::builder().filter(filter).build());
        let volumes = self.answer(("GET", "volumes"), QUICK, podman.volumes().list(&options)).await?;
        let of = |volume: models::Volume| Volume {
            labels: volume.labels.into_iter().collect(),
            options: volume.options.into_iter().collect(),
        };
        Ok(volumes.into_iter().map(of).collect())
    }

    pub async fn create_volume(&self, name: &str, volume: &Volume) -> Result<()> {
        let options =
            VolumeCreateOpts::builder().name(name).driver("local").labels(&volume.labels).options(&volume.options);
        let (podman, options) = (self.open()?, options.build());
        let object = format!("volume {name}");
        self.answer(("POST", &object), QUICK, podman.volumes().create(&options)).await.map(|_| ())
    }

    /// Fails when a container uses it.
    /// The directory of a volume on the host.
    pub async fn volume_files(&self, name: &str) -> Result<Option<String>> {
        let volume = self.open()?.volumes().get(segment(name));
        let found = self.answer(("GET", &format!("volume {name}")), QUICK, volume.inspect()).await?;
        Ok(Some(found.mountpoint).filter(|path| !path.is_empty()))
    }

    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let volume = self.open()?.volumes().get(segment(name));
        self.answer(("DELETE", &format!("volume {name}")), QUICK, volume.delete()).await
    }

    /// Usage of these containers, which should be running; of all when none is named.
    pub async fn usage(&self, containers: impl Iterator<Item = String>) -> Result<Vec<ContainerStats>> {
        let (podman, options) = (self.open()?, ContainerStatsOpts::builder().containers(containers).build());
        let stats = self.answer(("GET", "usage of containers"), SLOW, podman.containers().stats(&options)).await?;
        let usage =
            Usages::deserialize(stats).map_err(|error| self.error("GET", "usage of containers", error.into()))?;
        if usage.error.is_some() {
            // Podman's errors have no fields that JSON shows.
            let why = "Podman could not read the usage of one of them: it may have just ended";
            return Err(self.error("GET", "usage of containers", Error::InvalidResponse(why.into())));
        }
        let now = Timestamp::now();
        let of = |usage: models::ContainerStats| ContainerStats {
            id: usage.container_id.unwrap_or_default(),
            time: usage.system_nano.and_then(|at| Timestamp::from_nanosecond(at.into()).ok()).unwrap_or(now),
            cpu_nanos: usage.cpu_nano.unwrap_or_default(),
            memory: usage.mem_usage.unwrap_or_default(),
        };
        Ok(usage.stats.unwrap_or_default().into_iter().map(of).collect())
    }
}

/// What the crate leaves as plain JSON.
#[derive(Deserialize)]
struct Usages {
    #[serde(default, rename = "Error")]
    error: Option<serde_json::Value>,
    #[serde(default, rename = "Stats")]
    stats: Option<Vec<models::ContainerStats>>,
}

/// The crate writes "message: cause", where Podman's message ends with its cause already.
fn once(message: &str) -> &str {
    match message.rsplit_once(": ") {
        Some((head, cause)) if head.ends_with(cause) => head,
        _ => message,
    }
}

/// `None` where the answer is no description of a host.
fn host(info: models::Info) -> Option<Info> {
    let (host, store) = (info.host?, info.store?);
    let security = host.security.as_ref();
    let count = |number: Option<i64>| u64::try_from(number.unwrap_or_default()).unwrap_or_default();
    let name = |found: models::DistributionInfo| [found.distribution, found.version].map(Option::unwrap_or_default);
    let os_image = host.distribution.map(|found| name(found).join(" ")).unwrap_or_default();
    Some(Info {
        version: info.version.and_then(|version| version.version).unwrap_or_default(),
        hostname: host.hostname.unwrap_or_default(),
        os_image: os_image.trim().to_owned(),
        kernel: host.kernel.unwrap_or_default(),
        arch: host.arch.unwrap_or_default(),
        cpus: u32::try_from(host.cpus.unwrap_or_default()).unwrap_or_default(),
        memory: count(host.mem_total),
        swap: count(host.swap_total),
        oci_runtime: host.oci_runtime.and_then(|runtime| runtime.name).unwrap_or_default(),
        cgroup_version: if host.cgroup_version.as_deref() == Some("v2") { 2 } else { 1 },
        cgroup_controllers: host.cgroup_controllers.unwrap_or_default(),
        cgroup_manager: host.cgroup_manager.unwrap_or_default(),
        rootless: security.and_then(|security| security.rootless).unwrap_or_default(),
        apparmor: security.and_then(|security| security.apparmor_enabled).unwrap_or_default(),
        selinux: security.and_then(|security| security.selinux_enabled).unwrap_or_default(),
        store: store.graph_root.unwrap_or_default(),
        store_size: store.graph_root_allocated.unwrap_or_default(),
        store_used: store.graph_root_used.unwrap_or_default(),
    })
}

fn listed_image(image: models::LibpodImageSummary) -> ImageInfo {
    let id = image.id.unwrap_or_default();
    let tags = image.repo_tags.unwrap_or_default();
    ImageInfo {
        id: id.trim_start_matches("sha256:").to_owned(),
        used: image.containers.is_some_and(|count| count > 0) || tags.iter().any(|tag| infra::is_infra(tag)),
        tags,
        digests: image.repo_digests.unwrap_or_default(),
        size: image.size.and_then(|size| size.try_into().ok()).unwrap_or_default(),
        config: ImageConfig::default(),
    }
}

fn inspected_image(image: models::ImageData) -> ImageInfo {
    let user = image.user.unwrap_or_default();
    ImageInfo {
        id: image.id.unwrap_or_default().trim_start_matches("sha256:").to_owned(),
        tags: image.repo_tags.unwrap_or_default(),
        digests: image.repo_digests.unwrap_or_default(),
        size: image.size.and_then(|size| size.try_into().ok()).unwrap_or_default(),
        used: false,
        config: image.config.map(|config| image_config(config, user)).unwrap_or_default(),
    }
}

fn image_config(config: models::ImageConfig, user: String) -> ImageConfig {
    let mut volumes: Vec<String> = config.volumes.into_iter().flatten().map(|(path, _)| path).collect();
    volumes.sort();
    ImageConfig {
        user: config.user.filter(|user| !user.is_empty()).unwrap_or(user),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        stop_signal: config.stop_signal.unwrap_or_default(),
        volumes,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kubelet::runtime::podman::facts::Version;

    #[test]
    fn a_debian_host() {
        let info = host(serde_json::from_str(include_str!("recorded/info-4.3.1.json")).unwrap()).unwrap();
        assert_eq!(info.check("unix:///p").unwrap(), Version(4, 3, 1));
        let host = info.describe(false);
        assert_eq!(host.runtime_version, "podman://4.3.1");
        assert_eq!((host.os_image.as_str(), host.arch.as_str(), host.cpus), ("debian 12", "amd64", 2));
        assert_eq!((host.cgroup_version, host.rootless, host.local), (1, false, false));
        assert_eq!(host.oci_runtime, "runc");
        assert_eq!(host.memory, 25_276_514_304);
        assert!(host.unenforced.is_empty() && !host.lone_containers && !host.no_pids_limit);
        assert!(host.no_apparmor && host.no_selinux);
    }

    #[test]
    fn an_image_of_4_3_1() {
        let info = inspected_image(serde_json::from_str(include_str!("recorded/image-4.3.1.json")).unwrap());
        assert_eq!((info.id.len(), info.size), (64, 2_141_304));
        assert_eq!((info.config.cmd, info.config.user.as_str()), (vec!["sh".to_owned()], ""));
        assert_eq!(info.tags, ["localhost/selkie-test:1"]);
    }

    #[test]
    fn nothing_is_said_twice() {
        assert_eq!(once("finding image x: x: image not known: image not known"), "finding image x: x: image not known");
        assert_eq!(once("no such volume: another cause"), "no such volume: another cause");
    }

    #[tokio::test]
    async fn no_service_is_unreachable() {
        let url = "unix:///nowhere/podman.sock".to_owned();
        let error = Library::new(Endpoint::parse(&url).unwrap(), url).info().await.unwrap_err();
        assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error:?}");
        assert!(error.chain().contains("No such file"), "{}", error.chain());
    }
}
