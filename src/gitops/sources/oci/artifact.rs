//! Artifacts as Flux's source-controller reads them and `flux push artifact` writes them: an image manifest
//! whose layer is a compressed tar of manifests. Pure.

use super::location::DIGEST;
use crate::gitops::sources::Commit;
use crate::gitops::sources::name;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.cncf.flux.config.v1+json";
pub const CONTENT: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
/// What else is asked for, so that the answer says what is there.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
                            application/vnd.docker.distribution.manifest.v2+json, \
                            application/vnd.oci.image.index.v1+json";
/// What `helm push` makes: a chart's directory in a compressed tar.
pub const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Endings of the media types of compressed tars: Flux's, OCI's, Docker's.
const ARCHIVES: [&str; 2] = [".tar+gzip", ".tar.gzip"];

pub const CREATED: &str = "org.opencontainers.image.created";
pub const SOURCE: &str = "org.opencontainers.image.source";
pub const REVISION: &str = "org.opencontainers.image.revision";
pub const AUTHORS: &str = "org.opencontainers.image.authors";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u8,
    #[serde(default)]
    pub media_type: String,
    #[serde(default)]
    pub config: Descriptor,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: digest(bytes), size: bytes.len() as u64 }
    }
}

impl Manifest {
    /// Of an artifact with one layer.
    pub fn of(config: Descriptor, layer: Descriptor, annotations: BTreeMap<String, String>) -> Self {
        Self { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers: vec![layer], annotations }
    }

    /// The error says what it is instead.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("is no manifest: {error}"))?;
        match manifest.layers.is_empty() {
            true => Err("has no layers: it is an index of images, or an empty artifact".to_owned()),
            false => Ok(manifest),
        }
    }

    /// The layer with the manifests: the first archive, as in Flux.
    pub fn content(&self) -> Result<&Descriptor, String> {
        let archive = |layer: &&Descriptor| ARCHIVES.iter().any(|ending| layer.media_type.ends_with(ending));
        self.layers.iter().find(archive).ok_or_else(|| {
            let types: Vec<_> = self.layers.iter().take(3).map(|layer| name::shown(&layer.media_type)).collect();
            format!("has no layer that is a compressed tar, as `selkie push` makes it, but {}", types.join(", "))
        })
    }

    /// What it says of what it was made from, in the way that commits are told.
    pub fn told(&self) -> Option<Commit> {
        let text = |key: &str| self.annotations.get(key).map(|text| name::shown(text)).unwrap_or_default();
        let subject = match (text(REVISION), text(SOURCE)) {
            (revision, source) if revision.is_empty() => source,
            (revision, source) if source.is_empty() => revision,
            (revision, source) => format!("{revision} of {}", crate::base::url::redact(&source)),
        };
        let time = text(CREATED).parse::<jiff::Timestamp>().map(|time| time.to_string()).unwrap_or_default();
        let author = text(AUTHORS);
        (!subject.is_empty()).then_some(Commit { committer: author.clone(), author, time, subject })
    }
}

/// The image configuration of a layer: what tools for images want to see.
pub fn config(uncompressed: &str) -> Vec<u8> {
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [uncompressed]});
    serde_json::json!({"architecture": "", "os": "", "config": {}, "rootfs": rootfs}).to_string().into_bytes()
}

/// `sha256:...`
pub fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{DIGEST}{digits}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifest_is_what_flux_writes() {
        let layer = Descriptor::of(CONTENT, b"x");
        let annotations = BTreeMap::from([(REVISION.to_owned(), "main@sha1:0123".to_owned())]);
        let manifest = Manifest::of(Descriptor::of(CONFIG, b"{}"), layer.clone(), annotations);
        let text = serde_json::to_string(&manifest).unwrap();
        for part in ["\"schemaVersion\":2", MANIFEST, CONFIG, CONTENT, "\"size\":1", "\"mediaType\""] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let read = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!((read.content().unwrap(), read.told().unwrap().subject.as_str()), (&layer, "main@sha1:0123"));
    }

    #[test]
    fn other_things_say_what_they_are() {
        let index = br#"{"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "y", "size": 1}]}"#;
        assert!(Manifest::parse(index).unwrap_err().contains("an index"));
        assert!(Manifest::parse(b"[]").unwrap_err().contains("is no manifest"));
        let chart = r#"{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar", "digest": "d", "size": 1}"#;
        let manifest = Manifest::parse(format!(r#"{{"schemaVersion": 2, "layers": [{chart}]}}"#).as_bytes()).unwrap();
        assert!(manifest.content().unwrap_err().contains("helm.chart"));
    }
}
