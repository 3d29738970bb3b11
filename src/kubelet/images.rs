//! Images: whether to pull, with which credentials, and how a failure is worded.

use crate::base::clock::Clock;
use crate::client::EventRecorder;
use crate::kubelet::env::Sources;
use crate::kubelet::pod::spec;
use crate::kubelet::runtime::{ContainerRuntime, ImageInfo, PullFailure, RegistryAuth, RuntimeError};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Secret};
use serde_json::Value;

/// Why there is no image: reason and message of the container's waiting state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageError {
    pub reason: &'static str,
    pub message: String,
}

/// What may happen to get an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// The pull policy; by Kubernetes' default `Always` only for the tag `latest`.
pub fn policy(container: &Container) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some("IfNotPresent") => Policy::IfNotPresent,
        _ if is_latest(container.image.as_deref().unwrap_or_default()) => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Gets the image of `container`, with the events Kubernetes writes on the way.
pub async fn ensure(
    runtime: &dyn ContainerRuntime,
    events: &EventRecorder,
    clock: &Clock,
    involved: &ObjectReference,
    pod: &Pod,
    container: &Container,
    secrets: &Sources,
) -> Result<ImageInfo, ImageError> {
    let name = container.image.as_deref().unwrap_or_default();
    let policy = policy(container);
    let present = if policy == Policy::Always { Ok(None) } else { runtime.image(name).await };
    match present {
        Ok(Some(image)) => {
            let message = format!("Container image {name:?} already present on machine");
            events.record(involved.clone(), "Normal", "Pulled", message);
            return Ok(image);
        }
        Ok(None) if policy == Policy::Never => {
            let message = format!("Container image {name:?} is not present with pull policy of Never");
            events.record(involved.clone(), "Warning", "ErrImageNeverPull", message.clone());
            return Err(ImageError { reason: "ErrImageNeverPull", message });
        }
        Ok(None) => {}
        Err(error) => return Err(failure(name, &error, events, involved)),
    }
    events.record(involved.clone(), "Normal", "Pulling", format!("Pulling image {name:?}"));
    let began = clock.now();
    let auth = auth(name, pod, secrets);
    match runtime.pull(name, auth.as_ref(), None).await {
        Ok(image) => {
            let took = go_millis(clock.now().duration_since(began).as_millis());
            let size = image.size;
            let message = format!(
                "Successfully pulled image {name:?} in {took} ({took} including waiting). Image size: {size} bytes."
            );
            events.record(involved.clone(), "Normal", "Pulled", message);
            Ok(image)
        }
        Err(error) => Err(failure(name, &error, events, involved)),
    }
}

fn failure(name: &str, error: &RuntimeError, events: &EventRecorder, involved: &ObjectReference) -> ImageError {
    let text = error.chain();
    let invalid = match error {
        RuntimeError::PullFailed { reason: PullFailure::InvalidName, message, .. } => Some(message),
        RuntimeError::Invalid { message, .. } if message.contains("invalid reference format") => Some(message),
        _ => None,
    };
    if let Some(message) = invalid {
        let message =
            format!("Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: {message}");
        events.record(involved.clone(), "Warning", "InspectFailed", message.clone());
        return ImageError { reason: "InvalidImageName", message };
    }
    events.record(involved.clone(), "Warning", "Failed", format!("Failed to pull image {name:?}: {text}"));
    ImageError { reason: "ErrImagePull", message: text }
}

/// As Go prints a duration rounded to milliseconds.
fn go_millis(millis: i128) -> String {
    if millis < 1000 { format!("{millis}ms") } else { format!("{}s", millis as f64 / 1000.0) }
}

/// The credentials that the pod's pull secrets hold for the image's registry.
fn auth(image: &str, pod: &Pod, secrets: &Sources) -> Option<RegistryAuth> {
    let registry = registry(image);
    let names = spec(pod).image_pull_secrets.iter().flatten();
    names.filter_map(|name| secrets.secret(&name.name)).find_map(|secret| from_secret(secret, registry))
}

/// Names of the pod's pull secrets.
pub fn references(pod: &Pod) -> Vec<String> {
    spec(pod).image_pull_secrets.iter().flatten().map(|s| s.name.clone()).collect()
}

fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn from_secret(secret: &Secret, registry: &str) -> Option<RegistryAuth> {
    let data = secret.data.as_ref()?;
    let auths: Value = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
        (Some(config), _) => serde_json::from_slice::<Value>(&config.0).ok()?.get("auths")?.clone(),
        (None, Some(config)) => serde_json::from_slice(&config.0).ok()?,
        (None, None) => return None,
    };
    let matches = |key: &str| {
        let host = key.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or(key);
        host == registry || (registry == "docker.io" && host == "index.docker.io")
    };
    let entry = auths.as_object()?.iter().find(|(key, _)| matches(key))?.1;
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_string);
    let (username, password) = match (text("username"), text("password")) {
        (Some(username), Some(password)) => (username, password),
        _ => {
            let decoded = String::from_utf8(STANDARD.decode(text("auth")?).ok()?).ok()?;
            let (username, password) = decoded.split_once(':')?;
            (username.to_string(), password.to_string())
        }
    };
    Some(RegistryAuth { username, password, identity_token: text("identitytoken"), tls_verify: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn policies_follow_the_tag() {
        let check = |image: &str, set: Option<&str>, expect| {
            let container: Container =
                serde_json::from_value(json!({"name": "c", "image": image, "imagePullPolicy": set})).unwrap();
            assert_eq!(policy(&container), expect, "{image}");
        };
        check("busybox", None, Policy::Always);
        check("host:5000/busybox", None, Policy::Always);
        check("busybox:latest", None, Policy::Always);
        check("busybox:1.36", None, Policy::IfNotPresent);
        check("busybox@sha256:00", None, Policy::IfNotPresent);
        check("busybox", Some("Never"), Policy::Never);
    }

    #[test]
    fn finds_credentials_by_registry() {
        let config =
            json!({"auths": {"https://reg.example/v1/": {"auth": STANDARD.encode("me:pass:word")}}}).to_string();
        let secret = json!({"data": {".dockerconfigjson": STANDARD.encode(config)}});
        let secret: Secret = serde_json::from_value(secret).unwrap();
        let found = from_secret(&secret, registry("reg.example/app:1")).unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "pass:word"));
        assert!(from_secret(&secret, registry("busybox")).is_none());
    }
}
