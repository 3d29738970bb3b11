//! Images: whether to pull, with which credentials, and how a failure is worded.

mod seen;

pub use seen::Seen;

use crate::client::EventRecorder;
use crate::kubelet::env::Sources;
use crate::kubelet::host::Host;
use crate::kubelet::pod::spec;
use crate::kubelet::runtime::{ContainerRuntime, ImageInfo, ProgressSender, PullFailure, RegistryAuth, RuntimeError};
use crate::kubelet::volumes;
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Secret};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::Instant;

/// Why there is no image: reason and message of the container's waiting state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageError {
    pub reason: &'static str,
    pub message: String,
}

/// How often it is told how far a pull is.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// What may happen to get an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// An image that somebody needs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub name: &'a str,
    pub policy: Policy,
}

impl<'a> Wanted<'a> {
    /// That of a container.
    pub fn by(container: &'a Container) -> Self {
        let name = container.image.as_deref().unwrap_or_default();
        Self { name, policy: policy(name, container.image_pull_policy.as_deref()) }
    }

    /// Those of the volumes that a container mounts, each once.
    pub fn mounted(pod: &'a Pod, container: &Container) -> Vec<Self> {
        let is_mounted = |name: &str| container.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        let images = volumes::of(pod).filter(|volume| is_mounted(&volume.name)).filter_map(|v| v.image.as_ref());
        let wanted = images.map(|image| {
            let name = image.reference.as_deref().unwrap_or_default();
            Self { name, policy: policy(name, image.pull_policy.as_deref()) }
        });
        wanted.collect()
    }
}

/// The pull policy; by Kubernetes' default `Always` only for the tag `latest`.
pub fn policy(image: &str, set: Option<&str>) -> Policy {
    match set {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some("IfNotPresent") => Policy::IfNotPresent,
        _ if is_latest(image) => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Gets an image, with the events Kubernetes writes on the way.
pub async fn ensure(
    host: &Host,
    involved: &ObjectReference,
    pod: &Pod,
    wanted: Wanted<'_>,
    secrets: &Sources,
) -> Result<ImageInfo, ImageError> {
    let (runtime, events, clock, name) = (host.runtime.as_ref(), &host.events, &host.ctx.clock, wanted.name);
    let present = match wanted.policy {
        Policy::Always => Ok(None),
        _ => present(host, name).await,
    };
    match present {
        Ok(Some(image)) => {
            let message = format!("Container image {name:?} already present on machine");
            events.record(involved.clone(), "Normal", "Pulled", message);
            return Ok(image);
        }
        Ok(None) if wanted.policy == Policy::Never => {
            let message = format!("Container image {name:?} is not present with pull policy of Never");
            events.record(involved.clone(), "Warning", "ErrImageNeverPull", message.clone());
            return Err(ImageError { reason: "ErrImageNeverPull", message });
        }
        Ok(None) => {}
        Err(error) => return Err(failure(name, &error, events, involved)),
    }
    events.record(involved.clone(), "Normal", "Pulling", format!("Pulling image {name:?}"));
    let asked = clock.now();
    let turn = host.pulls.turn().await;
    let began = clock.now();
    let (progress, lines) = mpsc::channel(1);
    let auths = auths(name, pod, secrets);
    let tell = |after: Duration, last: &str| {
        let message = format!("Pulling image {name:?}: {} s so far", after.as_secs());
        let message = if last.is_empty() { message } else { format!("{message}: {last}") };
        events.record(involved.clone(), "Normal", "Pulling", message);
    };
    let pulled = telling(pull(runtime, name, &auths, &progress), lines, tell).await;
    host.images_seen.forget(name);
    drop(turn);
    match pulled {
        Ok(image) => {
            let now = clock.now();
            let since = |at| go_millis(now.duration_since(at).as_millis());
            let (took, waited, size) = (since(began), since(asked), image.size);
            let message = format!(
                "Successfully pulled image {name:?} in {took} ({waited} including waiting). Image size: {size} bytes."
            );
            events.record(involved.clone(), "Normal", "Pulled", message);
            Ok(image)
        }
        Err(error) => Err(failure(name, &error, events, involved)),
    }
}

/// The image as the host has it.
async fn present(host: &Host, name: &str) -> Result<Option<ImageInfo>, RuntimeError> {
    if let Some(image) = host.images_seen.recall(name) {
        return Ok(Some(image));
    }
    let found = host.runtime.image(name).await?;
    if let Some(image) = &found {
        host.images_seen.note(name, image);
    }
    Ok(found)
}

/// Tries each of the credentials that may be meant, in their order, while the registry wants others.
async fn pull(
    runtime: &dyn ContainerRuntime,
    name: &str,
    auths: &[RegistryAuth],
    progress: &ProgressSender,
) -> Result<ImageInfo, RuntimeError> {
    let pull = |auth| runtime.pull(name, auth, Some(progress.clone()));
    let Some((last, others)) = auths.split_last() else { return pull(None).await };
    for auth in others {
        match pull(Some(auth)).await {
            Err(RuntimeError::PullFailed { reason: PullFailure::Auth | PullFailure::NotFound, .. }) => {}
            outcome => return outcome,
        }
    }
    pull(Some(last)).await
}

/// Waits for a pull, and tells from time to time how far it is: large images take minutes.
async fn telling<T>(
    pulling: impl Future<Output = T>,
    mut progress: mpsc::Receiver<String>,
    tell: impl Fn(Duration, &str),
) -> T {
    let (began, mut last, mut pulling) = (Instant::now(), String::new(), std::pin::pin!(pulling));
    let mut due = tokio::time::interval_at(began + TELL_EVERY, TELL_EVERY);
    loop {
        tokio::select! {
            biased;
            pulled = &mut pulling => return pulled,
            Some(line) = progress.recv() => last = line,
            _ = due.tick() => tell(began.elapsed(), &last),
        }
    }
}

/// How many images a host pulls at a time.
#[derive(Debug, Default)]
pub struct Pulls(Option<Semaphore>);

impl Pulls {
    /// `None`: all that are wanted.
    pub fn at_most(number: Option<usize>) -> Self {
        Self(number.map(Semaphore::new))
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match &self.0 {
            // Nobody closes it.
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        }
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

/// The credentials that the pod's pull secrets hold for the image, those first that name more of it.
fn auths(image: &str, pod: &Pod, secrets: &Sources) -> Vec<RegistryAuth> {
    let names = spec(pod).image_pull_secrets.iter().flatten();
    let mut found: Vec<(String, RegistryAuth)> =
        names.filter_map(|name| secrets.secret(&name.name)).flat_map(|secret| from_secret(secret, image)).collect();
    // As Kubernetes tries them.
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut auths: Vec<RegistryAuth> = Vec::new();
    for (_, auth) in found {
        if !auths.contains(&auth) {
            auths.push(auth);
        }
    }
    auths
}

/// Names of the pod's pull secrets.
pub fn references(pod: &Pod) -> Vec<String> {
    spec(pod).image_pull_secrets.iter().flatten().map(|s| s.name.clone()).collect()
}

/// The image's registry, and its repository there.
fn parts(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => ("docker.io", image),
    }
}

/// The credentials in a secret that may be meant for the image, by what they are for.
fn from_secret(secret: &Secret, image: &str) -> Vec<(String, RegistryAuth)> {
    let found = || {
        let data = secret.data.as_ref()?;
        let auths: Value = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
            (Some(config), _) => serde_json::from_slice::<Value>(&config.0).ok()?.get("auths")?.clone(),
            (None, Some(config)) => serde_json::from_slice(&config.0).ok()?,
            (None, None) => return None,
        };
        let entries = auths.as_object()?.iter().filter(|(key, _)| is_for(key, image));
        Some(entries.filter_map(|(key, entry)| Some((key.clone(), credentials(entry)?))).collect())
    };
    found().unwrap_or_default()
}

/// Whether credentials for `key`, e.g. `https://registry.example/v1/` or `*.example/team`, are for the image.
fn is_for(key: &str, image: &str) -> bool {
    let (registry, repository) = parts(image);
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = path.trim_end_matches('/');
    let (host, path) = match (host, path) {
        ("index.docker.io" | "docker.io", _) => ("docker.io", ""),
        (host, "v1" | "v2") => (host, ""),
        other => other,
    };
    let split = |name: &str| match name.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), Some(port.to_owned())),
        None => (name.to_owned(), None),
    };
    let ((host, port), (registry, of_registry)) = (split(host), split(registry));
    let (wanted, given): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), registry.split('.').collect());
    let same = wanted.len() == given.len() && wanted.iter().zip(&given).all(|(wanted, given)| is_like(wanted, given));
    port == of_registry && same && repository.starts_with(path)
}

/// Whether a part of a name is like a pattern with stars.
fn is_like(pattern: &str, part: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| part.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn credentials(entry: &Value) -> Option<RegistryAuth> {
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
        assert_eq!(policy("busybox", None), Policy::Always);
        assert_eq!(policy("host:5000/busybox", None), Policy::Always);
        assert_eq!(policy("busybox:latest", None), Policy::Always);
        assert_eq!(policy("busybox:1.36", None), Policy::IfNotPresent);
        assert_eq!(policy("busybox@sha256:00", None), Policy::IfNotPresent);
        assert_eq!(policy("busybox", Some("Never")), Policy::Never);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pull_tells_how_far_it_is() {
        let (progress, lines) = mpsc::channel(1);
        let pulling = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            progress.send("Copying blob 1".to_owned()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(20)).await;
        };
        let told = std::cell::RefCell::new(Vec::new());
        telling(pulling, lines, |after, last| told.borrow_mut().push((after.as_secs(), last.to_owned()))).await;
        assert_eq!(told.into_inner(), [(15, String::new()), (30, "Copying blob 1".to_owned())]);
    }

    #[test]
    fn a_container_needs_the_images_it_mounts() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "a", "image": {"reference": "docs:1"}}, {"name": "b", "emptyDir": {}},
                {"name": "c", "image": {"reference": "other", "pullPolicy": "Never"}}],
            "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "a"}, {"name": "b"}]},
                {"name": "d", "image": "i", "volumeMounts": [{"name": "c"}]}]}}))
        .unwrap();
        let of = |at: usize| {
            let wanted = Wanted::mounted(&pod, &spec(&pod).containers[at]);
            wanted.iter().map(|wanted| (wanted.name.to_owned(), wanted.policy)).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [("docs:1".to_owned(), Policy::IfNotPresent)]);
        assert_eq!(of(1), [("other".to_owned(), Policy::Never)]);
    }

    fn secret(auths: &[(&str, &str)]) -> Secret {
        let auths: serde_json::Map<String, Value> =
            auths.iter().map(|(key, user)| (key.to_string(), json!({"auth": STANDARD.encode(user)}))).collect();
        let config = json!({"auths": auths}).to_string();
        serde_json::from_value(json!({"data": {".dockerconfigjson": STANDARD.encode(config)}})).unwrap()
    }

    #[test]
    fn finds_credentials_by_registry() {
        let held = secret(&[("https://reg.example/v1/", "me:pass:word")]);
        let found = from_secret(&held, "reg.example/app:1");
        assert_eq!((found[0].1.username.as_str(), found[0].1.password.as_str()), ("me", "pass:word"));
        assert!(from_secret(&held, "busybox").is_empty());
    }

    #[test]
    fn credentials_may_be_for_some_repositories() {
        for (key, image, expect) in [
            ("reg.example", "reg.example/a/b:1", true),
            ("reg.example:5000", "reg.example:5000/a", true),
            ("reg.example", "reg.example:5000/a", false),
            ("reg.example/team", "reg.example/team/app:1", true),
            ("reg.example/team", "reg.example/other/app:1", false),
            ("*.example", "reg.example/a", true),
            ("*.example", "deep.reg.example/a", false),
            ("r*g.ex*e", "reg.example/a", true),
            ("https://index.docker.io/v1/", "busybox", true),
            ("docker.io", "library/busybox", true),
            ("https://reg.example/v2/", "reg.example/a", true),
        ] {
            assert_eq!(is_for(key, image), expect, "{key} {image}");
        }
    }

    #[test]
    fn those_that_name_more_are_tried_first() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "ns"},
            "spec": {"containers": [], "imagePullSecrets": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}}))
        .unwrap();
        let mut sources = Sources::default();
        let mut hold = |name: &str, held| drop(sources.secrets.insert(name.into(), Some(std::sync::Arc::new(held))));
        hold("a", secret(&[("reg.example", "whole:1")]));
        hold("b", secret(&[("reg.example/team", "team:2"), ("other.example", "x:y")]));
        let users: Vec<String> =
            auths("reg.example/team/app", &pod, &sources).into_iter().map(|auth| auth.username).collect();
        assert_eq!(users, ["team", "whole"]);
    }
}
