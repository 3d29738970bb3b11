//! Webhooks of git servers: a push wakes the Applications that follow what was pushed, at once.
//!
//! All that a webhook does is to make Applications look at their own sources, with their own
//! credentials: nothing of its body is used but to find out which. Whoever knows a secret reaches the
//! Applications that name it, and no other.

mod event;
mod limits;
mod signature;

use super::application::{Application, NAMESPACE};
use super::sources::{Location, Repositories};
use crate::apiserver::{Delivery, Verdict, Webhooks};
use crate::base::limits::Limits;
use crate::client::{Informer, raw};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use event::Event;
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use limits::{network, of_webhooks};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Webhooks that are read at the same time.
const AT_ONCE: usize = 64;
/// The key of the Secret that holds the secret: what Flux's receivers call it.
const TOKEN: &str = "token";
/// No Secret can have this name.
const NOBODY: &str = "-";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What webhooks are about, once the engine runs.
pub struct Target {
    pub client: kube::Client,
    pub applications: Informer<Application>,
    pub repositories: Arc<Repositories>,
    /// Makes the Application of that name look at its source.
    pub wake: Box<dyn Fn(&str) + Send + Sync>,
}

/// Takes the webhooks that come in at the API server.
pub struct Receiver {
    target: Mutex<Option<Arc<Target>>>,
    deliveries: Family<Outcome, Counter>,
    slots: Arc<Semaphore>,
    /// Wrong ones, by where they come from.
    wrong: Limits<IpAddr>,
    /// Right ones, by Application: each costs a fetch.
    right: Limits<String>,
}

impl Default for Receiver {
    fn default() -> Self {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let (wrong, right) = (of_webhooks(), of_webhooks());
        Self { target: Mutex::default(), deliveries: Family::default(), slots, wrong, right }
    }
}

impl Receiver {
    /// Shows how many came in, and what became of them.
    pub fn count_in(&self, metrics: &Metrics) {
        metrics.register("selkie_webhooks", "Webhooks that came in, by outcome", self.deliveries.clone());
    }

    /// Until now all were told to come back later.
    pub fn connect(&self, target: Target) {
        *self.target.lock() = Some(Arc::new(target));
    }

    fn counted(&self, verdict: Verdict) -> Verdict {
        let outcome = match verdict {
            Verdict::Accepted(_) => "accepted",
            Verdict::Refused => "refused",
            Verdict::Limited => "limited",
            Verdict::Unready => "unready",
        };
        self.deliveries.get_or_create(&Outcome { outcome }).inc();
        verdict
    }

    async fn judge(&self, target: &Target, delivery: &Delivery) -> Verdict {
        let application = target.applications.get(NAMESPACE, &delivery.name).filter(|found| !found.is_deleted());
        let named = application.as_ref().and_then(|found| secret_name(found));
        // What there is takes no other way than what there is not.
        let secret = token(target, named.unwrap_or(NOBODY)).await;
        let dummy = [0; 32];
        let body = delivery.body.as_deref().unwrap_or_default();
        let payload = event::payload(&delivery.headers, body);
        let said = payload.as_deref().map_or(body, str::as_bytes);
        // Of a form GitHub signs all, Gitea the JSON in it.
        let genuine = signature::is_genuine(&delivery.headers, &[body, said], secret.as_deref().unwrap_or(&dummy));
        let (Some(application), Some(named), true, true) =
            (&application, named, genuine && secret.is_some(), delivery.body.is_some())
        else {
            delivery.peer.into_iter().for_each(|peer| {
                self.wrong.take(network(peer));
            });
            return Verdict::Refused;
        };
        if !self.right.take(delivery.name.clone()) {
            return Verdict::Limited;
        }
        let Some(event) = Event::read(&delivery.headers, said) else { return Verdict::Accepted(0) };
        if !event.names_a_repository() {
            return Verdict::Accepted(target.wake(std::slice::from_ref(application)));
        }
        let meant = |app: &Arc<Application>| {
            let location = app.spec.source.location();
            !app.is_deleted()
                && secret_name(app) == Some(named)
                && matches!(location, Ok(Location::Git(git)) if event.concerns(&git))
        };
        let meant: Vec<_> = target.applications.list().into_iter().filter(meant).collect();
        Verdict::Accepted(target.wake(&meant))
    }
}

impl Target {
    fn wake(&self, applications: &[Arc<Application>]) -> usize {
        let repository = |application: &Arc<Application>| match application.spec.source.location() {
            Ok(Location::Git(git)) => Some(git.repository()),
            _ => None,
        };
        // All of them first, so that one fetch serves them all.
        self.repositories.expire(&applications.iter().filter_map(repository).collect());
        applications.iter().for_each(|application| (self.wake)(application.name()));
        applications.len()
    }
}

#[async_trait]
impl Webhooks for Receiver {
    fn admit(&self, peer: Option<IpAddr>) -> Option<OwnedSemaphorePermit> {
        let behaves = peer.is_none_or(|peer| self.wrong.allow(&network(peer)));
        let slot = if behaves { self.slots.clone().try_acquire_owned().ok() } else { None };
        if slot.is_none() {
            self.counted(Verdict::Limited);
        }
        slot
    }

    async fn deliver(&self, delivery: Delivery) -> Verdict {
        let target = self.target.lock().clone();
        let verdict = match target {
            Some(target) => self.judge(&target, &delivery).await,
            None => Verdict::Unready,
        };
        self.counted(verdict)
    }
}

fn secret_name(application: &Application) -> Option<&str> {
    application.spec.source.webhook.as_ref().map(|webhook| webhook.secret_ref.name.as_str())
}

/// What the Secret of that name holds; `None`: nothing, or there is none.
async fn token(target: &Target, name: &str) -> Option<Vec<u8>> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
    let bytes = raw::request(&target.client, Method::GET, &path, None).await.ok()?;
    let secret: Secret = serde_json::from_slice(&bytes).ok()?;
    let token = secret.data?.remove(TOKEN)?.0;
    let end = token.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    (end > 0).then(|| token[..end].to_vec())
}
