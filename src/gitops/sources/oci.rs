//! Manifests in an artifact of a registry, as `selkie push` and `flux push artifact` make them: a compressed
//! tar; and Helm charts, as `helm push` makes them. Nothing of it is written to disk.
//!
//! The registry is asked for a digest; only another one than last time is fetched.

pub mod artifact;
mod challenge;
pub mod content;
mod helper;
pub mod location;
pub mod login;
pub mod provenance;
pub mod registry;
mod transfer;

#[cfg(test)]
mod tests;

use super::git::{Teller, read_tree};
use super::remotes::{Fetched, Remotes};
use super::repositories::Repositories;
use super::{Access, Snapshot, Source, SourceError, short};
use crate::base::backoff::Backoff;
use crate::base::wake::Wake;
use crate::base::watch::Guard;
use artifact::{CONFIG, CONTENT, Descriptor, Manifest};
use async_trait::async_trait;
use content::Files;
use location::{OciLocation, Reference};
use login::RegistryAccess;
use parking_lot::Mutex;
use registry::{Failure, Purpose, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a failure counts, doubled by each one that follows.
const FAILURE: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) };

pub struct OciSource {
    location: OciLocation,
    access: Access,
    repositories: Arc<Repositories>,
    /// Repositories that kustomizations name.
    remotes: Remotes,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// When the registry was asked last, and what came of it.
    last: Option<(Instant, Result<Snapshot, SourceError>)>,
    failures: u32,
    /// What the artifact with this digest holds: it never changes, however bad it is, unless it names repositories.
    read: Option<(String, Result<Snapshot, SourceError>)>,
}

impl OciSource {
    pub fn new(location: OciLocation, repositories: &Arc<Repositories>, access: Access) -> Self {
        let remotes = Remotes::new(repositories, None, false, &access);
        Self { location, access, repositories: repositories.clone(), remotes, heard: Mutex::default() }
    }

    async fn ask(&self) -> Result<Snapshot, SourceError> {
        if self.access.signers.is_some() {
            let what = "spec.source.verify is for commits, and an artifact has none: name its digest instead";
            return Err(self.failed(Failure::new(what, "")));
        }
        let fail = |failure| self.failed(failure);
        let registry = Registry::new(&self.location, &self.access.registry, Purpose::Pull).await.map_err(fail)?;
        let digest = registry.resolve(&self.location.reference()).await.map_err(fail)?;
        let known = self.heard.lock().read.clone();
        if let Some((_, read)) = known.filter(|(known, _)| *known == digest) {
            return read;
        }
        let manifest = registry.manifest(&digest).await.map_err(fail)?;
        let layer = manifest.content().map_err(|why| fail(Failure::new(format!("what is there {why}"), "")))?;
        // Never closed. Each takes memory.
        let _unpacking = self.repositories.unpacking.acquire().await.ok();
        let layer = Arc::new(registry.blob(layer).await.map_err(fail)?);
        let manifest = Arc::new(manifest);
        let read = self.remotes.gather(|fetched| {
            let (location, own, layer, manifest) =
                (self.location.clone(), digest.clone(), layer.clone(), manifest.clone());
            let read = tokio::task::spawn_blocking(move || read(&layer, &own, &manifest, &location, &fetched));
            async { read.await.unwrap_or_else(|join| Err(self.failed(Failure::new(join.to_string(), "")))) }
        });
        let read = read.await;
        let is_fixed = match &read {
            Ok(snapshot) => snapshot.bases().is_empty(),
            Err(error) => !matches!(error, SourceError::Base { .. }),
        };
        self.heard.lock().read = is_fixed.then(|| (digest, read.clone()));
        read
    }

    fn failed(&self, failure: Failure) -> SourceError {
        failed(&self.location, failure)
    }

    /// What was heard last, while that counts.
    fn known(&self) -> Option<Result<Snapshot, SourceError>> {
        let heard = self.heard.lock();
        let (asked, last) = heard.last.as_ref()?;
        let lasts = match last {
            Ok(_) => self.access.max_age,
            Err(_) => self.access.max_age.min(FAILURE.after(heard.failures.max(1))),
        };
        (asked.elapsed() < lasts).then(|| last.clone())
    }
}

fn failed(location: &OciLocation, Failure { what, hint }: Failure) -> SourceError {
    SourceError::Registry { url: location.describe(), what, hint }
}

fn read(
    layer: &[u8],
    digest: &str,
    manifest: &Manifest,
    location: &OciLocation,
    fetched: &Fetched,
) -> Result<Snapshot, SourceError> {
    let called = format!("artifact {}", short(digest));
    let fail = |failure: Failure| {
        failed(location, Failure { what: format!("{called}: {}", failure.what), hint: failure.hint })
    };
    let unpacked = content::unpack(layer).map_err(fail)?;
    let is_chart = manifest.content().is_ok_and(|layer| layer.media_type == artifact::CHART);
    let path = match location.path.as_str() {
        "" if is_chart => unpacked.top().map_err(fail)?,
        path => path.to_owned(),
    };
    let broken = |error: git2::Error| fail(Failure::new(error.message().to_owned(), ""));
    let teller = Teller {
        roots: fetched,
        called: called.clone(),
        origin: location.describe(),
        broken: Box::new(broken),
        refuse: Box::new(|what, hint: &str| failed(location, Failure::new(what, hint))),
    };
    let mut snapshot = read_tree(&unpacked.repository, unpacked.tree, &path, &teller)?;
    snapshot.revision = digest.to_owned();
    snapshot.commit = manifest.told();
    Ok(snapshot)
}

/// Writes files as an artifact under the tag that the location names; returns its digest.
pub async fn push(
    location: &OciLocation,
    access: &RegistryAccess,
    files: &Files,
    annotations: BTreeMap<String, String>,
) -> Result<String, Failure> {
    let Reference::Tag(tag) = location.reference() else {
        return Err(Failure::new("what is pushed has a tag", ""));
    };
    let (layer, uncompressed) = content::pack(files).map_err(|why| Failure::new(why, ""))?;
    let config = artifact::config(&uncompressed);
    let manifest = Manifest::of(Descriptor::of(CONFIG, &config), Descriptor::of(CONTENT, &layer), annotations);
    let registry = Registry::new(location, access, Purpose::Push).await?;
    registry.upload(&manifest.layers[0], layer).await?;
    registry.upload(&manifest.config, config).await?;
    registry.tag(&tag, &manifest).await
}

#[async_trait]
impl Source for OciSource {
    async fn fetch(&self) -> Result<Snapshot, SourceError> {
        if let Some(known) = self.known() {
            return known;
        }
        let begun = Instant::now();
        let asked = tokio::time::timeout(self.access.timeout, self.ask()).await;
        let (url, seconds) = (self.location.describe(), self.access.timeout.as_secs());
        let found = asked.unwrap_or(Err(SourceError::Timeout { url, seconds }));
        let mut heard = self.heard.lock();
        heard.failures = if found.is_ok() { 0 } else { heard.failures + 1 };
        heard.last = Some((begun, found.clone()));
        found
    }

    fn expire(&self) {
        self.heard.lock().last = None;
        self.remotes.expire();
    }

    fn watch(&self, wake: Wake) -> Result<Option<Guard>, SourceError> {
        self.remotes.rings(wake);
        Ok(None)
    }

    fn describe(&self) -> String {
        self.location.describe()
    }
}
