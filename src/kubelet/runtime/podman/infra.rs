//! The image of infra containers, on hosts where the configured one cannot be had.
//!
//! By default Podman builds that image itself, from the catatonit on the host. Where the host's
//! containers.conf names one instead (`infra_image`), Podman insists on pulling it, and without that
//! registry there would be no pods. Then sandboxes get an image that is on the host: one that Podman
//! built earlier, or one that we make from this machine's catatonit.

use super::{Podman, http::SLOW};
use crate::kubelet::{
    runtime::{Result, RuntimeError},
    volumes::{payload::File, remote},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const OURS: &str = "localhost/selkie-pause:1";
const BUILT_BY_PODMAN: &str = "localhost/podman-pause:";
const COMMAND: [&str; 2] = ["/catatonit", "-P"];
/// Where distributions put it.
const CATATONIT: [&str; 5] = [
    "/usr/libexec/podman/catatonit",
    "/usr/libexec/catatonit/catatonit",
    "/usr/lib/podman/catatonit",
    "/usr/bin/catatonit",
    "/usr/local/bin/catatonit",
];
/// What Podman says while it looks for an image in a registry, in lower case.
const PULLING: [&str; 4] = ["initializing source", "pinging container registry", "reading manifest", "short-name"];

/// Whether a sandbox could not be made for want of its infra image. Without a route to the registry,
/// Podman tries for minutes.
pub fn is_missing(error: &RuntimeError) -> bool {
    match error {
        RuntimeError::ImageNotFound { .. } | RuntimeError::Timeout { .. } => true,
        RuntimeError::Other { message, .. } | RuntimeError::Invalid { message, .. } => {
            let message = message.to_lowercase();
            PULLING.iter().any(|phrase| message.contains(phrase))
        }
        _ => false,
    }
}

/// Puts the image into the body of `pods/create`. The command as well: the host may have configured one
/// for its own image.
pub fn set(body: &mut Value, image: &str) {
    body["infra_image"] = json!(image);
    body["infra_command"] = json!(COMMAND);
}

/// Whether sandboxes are made of an image of that name.
pub fn is_infra(tag: &str) -> bool {
    tag == OURS || tag.starts_with(BUILT_BY_PODMAN)
}

impl Podman {
    /// The name of an infra image that is on the host, made if need be.
    pub(super) async fn local_infra(&self) -> Result<String> {
        let images = self.library.images().await?;
        let mut tags = images.into_iter().flat_map(|image| image.tags);
        if let Some(found) = tags.find(|tag| is_infra(tag)) {
            return Ok(found);
        }
        let arch = self.library.info().await?.arch;
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let program = CATATONIT.iter().find_map(|path| std::fs::read(path).ok()).filter(|_| arch == here);
        let Some(data) = program else {
            return Err(RuntimeError::Unsupported {
                what: format!("a sandbox on the Podman host {}", self.url()),
                why: format!(
                    "its containers.conf names an infra_image that cannot be pulled, and there is no catatonit for \
                     {arch} on this machine to make another from; empty infra_image, or install catatonit here"
                ),
            });
        };
        let files = BTreeMap::from([("catatonit".to_owned(), File::of_root(data, 0o755))]);
        let call = self.client.post("images/import", OURS).query("reference", OURS);
        let call = call.query("changes", format!("ENTRYPOINT {}", json!(COMMAND)));
        call.body("application/x-tar", remote::tar(&files)).deadline(SLOW).send().await?;
        Ok(OURS.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_pull_is_told_from_other_failures() {
        let other = |message: &str| RuntimeError::Other {
            method: "POST".into(),
            object: "sandbox".into(),
            message: message.into(),
            cause: None,
        };
        assert!(is_missing(&other(
            "failed to make pod: initializing source docker://127.0.0.1:1/pause:1: pinging container registry \
             127.0.0.1:1: Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"
        )));
        assert!(!is_missing(&other("failed to make pod: no space left on device")));
        assert!(!is_missing(&RuntimeError::AlreadyExists { object: "sandbox".into() }));
    }
}
