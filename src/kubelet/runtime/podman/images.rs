//! Images: look up, list, pull, load, remove.

use super::{
    Podman, fault,
    http::{SLOW, segment},
    lines,
};
use crate::kubelet::runtime::{ImageInfo, ProgressSender, RegistryAuth, Result, RuntimeError};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// A registry that says nothing for so long will not any more. Podman says nothing while it copies
/// one layer, so this is also the time the largest layer may take.
const PULL_SILENCE: Duration = Duration::from_secs(600);

/// One line of a pull's answer, which is 200 whatever happens.
#[derive(Debug, Deserialize)]
struct PullLine {
    #[serde(default)]
    error: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    id: String,
}

impl Podman {
    /// An image with several names is refused by its id: it goes with the last of them.
    pub(super) async fn delete_image(&self, image: &str) -> Result<()> {
        let names = match self.library.image(image).await? {
            Some(found) if found.id == image && found.tags.len() > 1 => found.tags,
            _ => vec![image.to_owned()],
        };
        for name in names {
            self.delete_name(&name).await?;
        }
        Ok(())
    }

    async fn delete_name(&self, image: &str) -> Result<()> {
        match self.client.delete(format!("images/{}", segment(image)), image).deadline(SLOW).send().await {
            Err(RuntimeError::NotFound { .. } | RuntimeError::ImageNotFound { .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn load_archive(&self, archive: Bytes) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Loaded {
            #[serde(rename = "Names")]
            names: Vec<String>,
        }
        let call = self.client.post("images/load", "image archive").body("application/x-tar", archive);
        Ok(call.deadline(PULL_SILENCE).fetch::<Loaded>().await?.names)
    }

    pub(super) async fn pull_image(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
        progress: Option<ProgressSender>,
    ) -> Result<ImageInfo> {
        let mut call =
            self.client.post("images/pull", image).query("reference", qualified(image)).query("policy", "always");
        if let Some(auth) = auth {
            if let Some(verify) = auth.tls_verify {
                call = call.query("tlsVerify", verify);
            }
            if let Some(value) = credentials(auth) {
                call = call.header("x-registry-auth", value);
            }
        }
        let silent = || fault::pull_failed(image, &format!("timeout: no progress within {PULL_SILENCE:?}"));
        let body = match call.deadline(PULL_SILENCE).stream().await {
            Ok(body) => body,
            Err(RuntimeError::Timeout { .. }) => return Err(silent()),
            // A bad name is refused before the pull begins.
            Err(RuntimeError::Invalid { message, .. } | RuntimeError::Other { message, .. }) => {
                return Err(fault::pull_failed(image, &message));
            }
            Err(error) => return Err(error),
        };
        let mut answer = lines::lines(body, image);
        let mut id = String::new();
        while let Some(line) = timeout(PULL_SILENCE, answer.next()).await.map_err(|_| silent())? {
            let line: PullLine = serde_json::from_slice(&line?)
                .map_err(|error| fault::pull_failed(image, &format!("Podman's answer is not understood: {error}")))?;
            if !line.error.is_empty() {
                return Err(fault::pull_failed(image, &line.error));
            }
            if !line.id.is_empty() {
                id = line.id;
            }
            if let (Some(progress), false) = (&progress, line.stream.is_empty()) {
                _ = progress.try_send(line.stream.trim_end().to_owned());
            }
        }
        if id.is_empty() {
            return Err(fault::pull_failed(image, "Podman ended the pull without an image"));
        }
        self.library.image(&id).await?.ok_or_else(|| fault::pull_failed(image, "the pulled image is gone again"))
    }
}

/// The value of `X-Registry-Auth`, if there is something to say.
fn credentials(auth: &RegistryAuth) -> Option<String> {
    let value = match &auth.identity_token {
        Some(token) => json!({"identitytoken": token}),
        None if auth.username.is_empty() => return None,
        None => json!({"username": auth.username, "password": auth.password}),
    };
    Some(URL_SAFE.encode(value.to_string()))
}

/// The full name of an image as Kubernetes reads short ones: `nginx` is `docker.io/library/nginx`.
/// Left to Podman, it would depend on the host's search registries.
pub fn qualified(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
        None => format!("docker.io/library/{image}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn short_names_are_docker_hubs() {
        assert_eq!(qualified("nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(qualified("library/nginx"), "docker.io/library/nginx");
        assert_eq!(qualified("localhost/web:1"), "localhost/web:1");
        assert_eq!(qualified("reg:5000/web"), "reg:5000/web");
        assert_eq!(qualified("ghcr.io/a/b@sha256:00"), "ghcr.io/a/b@sha256:00");
    }

    #[test]
    fn secrets_are_sent_but_not_shown() {
        let auth = RegistryAuth { username: "me".into(), password: "hush".into(), ..RegistryAuth::default() };
        let sent = URL_SAFE.decode(credentials(&auth).unwrap()).unwrap();
        assert_eq!(sent, br#"{"password":"hush","username":"me"}"#);
        assert!(!format!("{auth:?}").contains("hush"));
        assert_eq!(credentials(&RegistryAuth::default()), None);
    }
}
