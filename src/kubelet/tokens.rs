//! The service account tokens that pods project into volumes: asked for once, kept until they are old,
//! then asked for anew. Nothing of them is on disk but the pods' own files.
//!
//! Source of the rule when a token is old: Kubernetes' token manager of the kubelet.

use crate::base::backoff::Backoff;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use kube::Client;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Seconds, where a projection does not say.
const DEFAULT_SECONDS: i64 = 3600;
/// A token is old after four fifths of its life, and after a day.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// After a refusal, while the token that is there still holds.
const AGAIN: Backoff = Backoff { base: Duration::from_secs(10), max: Duration::from_secs(60) };

/// What a projection asks for: audience (empty: the API server's) and seconds.
pub type Wanted = (String, i64);

/// By what was asked for.
pub type Issued = BTreeMap<Wanted, String>;

struct Token {
    text: String,
    expires: Timestamp,
    renew: Timestamp,
    failures: u32,
}

/// The tokens of a host's pods, by uid.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<String, BTreeMap<Wanted, Token>>>);

pub fn wanted(projection: &ServiceAccountTokenProjection) -> Wanted {
    let seconds = projection.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    (projection.audience.clone().unwrap_or_default(), seconds)
}

/// What the volumes of a pod project.
fn all_wanted(pod: &Pod) -> Vec<Wanted> {
    let sources = crate::kubelet::volumes::of(pod).filter_map(|volume| volume.projected.as_ref());
    let sources = sources.flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(wanted).collect()
}

/// For hosts that are pretended: nothing reads their files.
pub fn pretended(pod: &Pod) -> Issued {
    all_wanted(pod).into_iter().map(|wanted| (wanted, String::new())).collect()
}

/// When to ask for the next token.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    now.saturating_add((life * 4 / 5).min(LONGEST)).unwrap_or(expires)
}

impl Tokens {
    /// Tokens for everything that the pod projects. One that is old is replaced; where that is refused,
    /// it serves as long as it holds.
    pub async fn of(&self, client: &Client, pod: &Pod, now: Timestamp) -> Result<Issued, kube::Error> {
        let mut issued = Issued::new();
        for wanted in all_wanted(pod) {
            let text = match self.fresh(pod, &wanted, now) {
                Some(text) => text,
                None => match request(client, pod, &wanted).await {
                    Ok((text, expires)) => {
                        let token = Token { text: text.clone(), expires, renew: renewal(now, expires), failures: 0 };
                        self.0.lock().entry(uid(pod)).or_default().insert(wanted.clone(), token);
                        text
                    }
                    Err(error) => self.postpone(pod, &wanted, now).ok_or(error)?,
                },
            };
            issued.insert(wanted, text);
        }
        Ok(issued)
    }

    fn fresh(&self, pod: &Pod, wanted: &Wanted, now: Timestamp) -> Option<String> {
        let tokens = self.0.lock();
        let token = tokens.get(&uid(pod))?.get(wanted)?;
        (now < token.renew).then(|| token.text.clone())
    }

    fn postpone(&self, pod: &Pod, wanted: &Wanted, now: Timestamp) -> Option<String> {
        let mut tokens = self.0.lock();
        let token = tokens.get_mut(&uid(pod))?.get_mut(wanted).filter(|token| now < token.expires)?;
        token.failures += 1;
        let wait = SignedDuration::try_from(AGAIN.after(token.failures)).unwrap_or_default();
        token.renew = now.saturating_add(wait).unwrap_or(token.expires);
        Some(token.text.clone())
    }

    /// When the next token of a pod is due; `None` where it has none.
    pub fn due(&self, uid: &str) -> Option<Timestamp> {
        self.0.lock().get(uid)?.values().map(|token| token.renew).min()
    }

    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

async fn request(client: &Client, pod: &Pod, wanted: &Wanted) -> Result<(String, Timestamp), kube::Error> {
    let (audience, seconds) = wanted;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let account = crate::kubelet::pod::spec(pod).service_account_name.as_deref().unwrap_or("default");
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![audience.clone()]).filter(|_| !audience.is_empty()),
            expiration_seconds: Some(*seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
    let request = http::Request::post(path).header("Content-Type", "application/json").body(body);
    let answer: TokenRequest = client.request(request.map_err(kube::Error::HttpError)?).await?;
    let status = answer.status.unwrap_or_default();
    let issued = status.token.zip(status.expiration_timestamp);
    let (token, expires) = issued.ok_or_else(|| kube::Error::Service("the API server issued no token".into()))?;
    Ok((token, expires.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_is_old_after_four_fifths_of_its_life_and_after_a_day() {
        assert_eq!(renewal(at(0), at(3600)), at(2880));
        assert_eq!(renewal(at(0), at(10 * 24 * 3600)), at(24 * 3600));
    }

    #[test]
    fn one_that_cannot_be_replaced_serves_while_it_holds() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}})).unwrap();
        let (tokens, wanted) = (Tokens::default(), (String::new(), 600));
        let token = Token { text: "t".into(), expires: at(600), renew: at(480), failures: 0 };
        tokens.0.lock().entry("u".into()).or_default().insert(wanted.clone(), token);
        assert_eq!(tokens.fresh(&pod, &wanted, at(479)).as_deref(), Some("t"));
        assert_eq!(tokens.fresh(&pod, &wanted, at(480)), None);
        assert_eq!(tokens.postpone(&pod, &wanted, at(480)).as_deref(), Some("t"));
        assert!(tokens.due("u").unwrap() > at(480));
        assert_eq!(tokens.postpone(&pod, &wanted, at(600)), None);
        tokens.forget("u");
        assert_eq!(tokens.due("u"), None);
    }
}
