//! Reading and writing artifacts in a registry. What arrives is what its digest says, or does not count.

use super::artifact::{ACCEPTED, Descriptor, MANIFEST, Manifest, digest};
use super::location::{DIGEST, Reference};
use super::registry::{Failure, Registry, collect};
use crate::gitops::sources::dir::mib;
use crate::gitops::sources::name;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

/// The specification's limit of a manifest.
const MAX_MANIFEST: usize = 4 << 20;
/// A layer, compressed.
pub const MAX_LAYER: u64 = 64 << 20;
const MAX_TAGS_ANSWER: usize = 16 << 20;
/// Pages of a list of tags.
const MAX_PAGES: usize = 100;
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Registry {
    /// The digest that a reference means now.
    pub async fn resolve(&self, reference: &Reference) -> Result<String, Failure> {
        match reference {
            Reference::Digest(digest) => Ok(digest.clone()),
            Reference::Tag(tag) => self.digest_of(tag).await,
            Reference::Range(range) => {
                let tags = self.tags().await?;
                let highest = range.highest(tags.iter().map(String::as_str)).map(str::to_owned);
                let none = || Failure::new("no tag is a version in the range", "see spec.source.ref");
                self.digest_of(&highest.ok_or_else(none)?).await
            }
        }
    }

    async fn digest_of(&self, tag: &str) -> Result<String, Failure> {
        let url = self.url(&format!("manifests/{tag}")).await?;
        let answer = self.send(Method::HEAD, &url, accepted(), Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(Failure::new(format!("there is no tag {tag:?}, or no such repository"), ""));
        }
        if !answer.status().is_success() {
            return Err(self.refused(answer, "asking for the tag").await);
        }
        let told = answer.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        match told.filter(|told| told.starts_with(DIGEST)) {
            Some(told) => Ok(told.to_owned()),
            // Not every registry tells.
            None => Ok(digest(&self.raw_manifest(tag).await?)),
        }
    }

    /// The manifest with this digest.
    pub async fn manifest(&self, wanted: &str) -> Result<Manifest, Failure> {
        let bytes = self.raw_manifest(wanted).await?;
        let found = digest(&bytes);
        if found != wanted {
            return Err(Failure::new(format!("the manifest is not what its digest says: it has {found}"), ""));
        }
        Manifest::parse(&bytes).map_err(|why| Failure::new(format!("what is there {why}"), ""))
    }

    async fn raw_manifest(&self, reference: &str) -> Result<Bytes, Failure> {
        let url = self.url(&format!("manifests/{reference}")).await?;
        let answer = self.send(Method::GET, &url, accepted(), Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => collect(answer, MAX_MANIFEST).await,
            StatusCode::NOT_FOUND => Err(Failure::new(format!("there is no {reference}, or no such repository"), "")),
            _ => Err(self.refused(answer, "reading the manifest").await),
        }
    }

    pub async fn blob(&self, wanted: &Descriptor) -> Result<Bytes, Failure> {
        if wanted.size > MAX_LAYER {
            let (size, most) = (mib(wanted.size), mib(MAX_LAYER));
            return Err(Failure::new(format!("the artifact has {size}, more than the {most} it may have"), ""));
        }
        if !wanted.digest.starts_with(DIGEST) {
            return Err(Failure::new(format!("{:?} is no digest by SHA-256", name::shown(&wanted.digest)), ""));
        }
        let url = self.url(&format!("blobs/{}", wanted.digest)).await?;
        let answer = self.send(Method::GET, &url, HeaderMap::new(), Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused(answer, "reading the layer").await);
        }
        let bytes = collect(answer, usize::try_from(wanted.size).unwrap_or(usize::MAX)).await?;
        match digest(&bytes) == wanted.digest {
            true => Ok(bytes),
            false => Err(Failure::new("the layer is not what its digest says", "")),
        }
    }

    /// All tags of the repository.
    async fn tags(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let (mut url, mut tags) = (self.url("tags/list?n=1000").await?, Vec::new());
        for _ in 0..MAX_PAGES {
            let answer = self.send(Method::GET, &url, HeaderMap::new(), Bytes::new()).await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Err(Failure::new("there is no such repository", "")),
                _ => return Err(self.refused(answer, "reading the tags").await),
            }
            let next = answer.headers().get(header::LINK).and_then(|link| next_page(link.to_str().ok()?));
            let body = collect(answer, MAX_TAGS_ANSWER).await?;
            let page: Page =
                serde_json::from_slice(&body).map_err(|_| Failure::new("its list of tags cannot be read", ""))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) => url = self.follow(&url, &next)?,
                None => return Ok(tags),
            }
        }
        Err(Failure::new(format!("it has more than {MAX_PAGES} pages of tags"), "name a tag or a digest"))
    }

    /// Puts bytes there, if they are not there yet.
    pub async fn upload(&self, blob: &Descriptor, bytes: Vec<u8>) -> Result<(), Failure> {
        let known = self.url(&format!("blobs/{}", blob.digest)).await?;
        if self.send(Method::HEAD, &known, HeaderMap::new(), Bytes::new()).await?.status() == StatusCode::OK {
            return Ok(());
        }
        let begin = self.url("blobs/uploads/").await?;
        let answer = self.send(Method::POST, &begin, HeaderMap::new(), Bytes::new()).await?;
        let place = answer.headers().get(header::LOCATION).and_then(|place| place.to_str().ok()).map(str::to_owned);
        let mut target: Url = match place {
            Some(place) if answer.status() == StatusCode::ACCEPTED => self.follow(&begin, &place)?,
            _ => return Err(self.refused(answer, "beginning an upload").await),
        };
        target.query_pairs_mut().append_pair("digest", &blob.digest);
        let kind = typed("application/octet-stream");
        let answer = self.send(Method::PUT, &target, kind, bytes.into()).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.refused(answer, "uploading").await),
        }
    }

    /// Makes the manifest known under a tag; returns its digest.
    pub async fn tag(&self, tag: &str, manifest: &Manifest) -> Result<String, Failure> {
        let bytes = serde_json::to_vec(manifest).map_err(|error| Failure::new(error.to_string(), ""))?;
        let (own, url) = (digest(&bytes), self.url(&format!("manifests/{tag}")).await?);
        let answer = self.send(Method::PUT, &url, typed(MANIFEST), bytes.into()).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(own),
            _ => Err(self.refused(answer, "writing the manifest").await),
        }
    }
}

fn accepted() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(ACCEPTED))])
}

fn typed(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

/// The address in `<...>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (place, about) = link.strip_prefix('<')?.split_once('>')?;
    about.replace('"', "").contains("rel=next").then(|| place.to_owned())
}
