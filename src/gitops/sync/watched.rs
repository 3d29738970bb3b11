//! Tells that objects may have changed, to whoever waits for them without informers: a one-shot is as quick to see
//! that something is ready as the daemon is.

use super::wait::path;
use crate::api::changeset::ObjectId;
use crate::base::wake::Wake;
use crate::client::raw;
use crate::gitops::kinds::Kinds;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;

/// After a watch that ended. Whoever waits looks from time to time in any case.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows collections for as long as it lives.
pub struct Watched {
    pub moved: Wake,
    _followers: JoinSet<()>,
}

impl Watched {
    /// Rings when one of the objects may have changed.
    pub fn of<'a>(client: &kube::Client, kinds: &dyn Kinds, objects: impl Iterator<Item = &'a ObjectId>) -> Self {
        let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for id in objects {
            if let Some(plural) = kinds.plural(&id.api_version, &id.kind) {
                names.entry(path(&id.api_version, &plural, &id.namespace, "")).or_default().push(&id.name);
            }
        }
        let (moved, mut followers) = (Wake::default(), JoinSet::new());
        for (collection, names) in names {
            let selector = match names[..] {
                [name] => format!("&fieldSelector=metadata.name%3D{name}"),
                _ => String::new(),
            };
            let (client, moved) = (client.clone(), moved.clone());
            followers.spawn(async move {
                loop {
                    if let Err(error) = follow(&client, &collection, &selector, &moved).await {
                        tracing::debug!(collection, %error, "cannot watch what is waited for");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { moved, _followers: followers }
    }
}

/// Rings for each change of a collection from now on, until the server ends the watch.
async fn follow(client: &kube::Client, collection: &str, selector: &str, moved: &Wake) -> Result<(), kube::Error> {
    let list = raw::request(client, Method::GET, &format!("{collection}?limit=1{selector}"), None).await?;
    let list: Value = serde_json::from_slice(&list).map_err(kube::Error::SerdeError)?;
    let revision = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    // What changed before the watch began is in no event.
    moved.ring();
    let query = format!("{collection}?watch=true&resourceVersion={revision}{selector}");
    let mut events = raw::open(client, Method::GET, &query, None).await?.into_body();
    while let Some(frame) = events.frame().await {
        frame?;
        moved.ring();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use crate::apiserver::{ApiServer, Config, User};
    use crate::base::clock::Clock;
    use crate::base::ids::Ids;
    use crate::client::in_process;
    use crate::gitops::readiness::Health;
    use crate::gitops::sync::reporter::Silent;
    use crate::gitops::sync::wait::{Memory, Wait};
    use jiff::Timestamp;
    use serde_json::json;
    use tokio::time::Instant;

    async fn ask(client: &kube::Client, method: Method, path: &str, body: Value) {
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        raw::request(client, method, path, Some((media, body.to_string().into()))).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_sees_at_once_that_something_is_ready() {
        let api = ApiServer::new(Config::in_memory(Clock::virtual_from(Timestamp::UNIX_EPOCH), Ids::seeded(1)));
        let client = in_process(&api, User::master("test"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
        ask(&client, Method::POST, "/api/v1/namespaces", namespace).await;
        let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let claim =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"}, "spec": spec});
        ask(&client, Method::POST, claims, claim).await;
        let id = ObjectId {
            api_version: "v1".into(),
            kind: "PersistentVolumeClaim".into(),
            namespace: "default".into(),
            name: "a".into(),
            uid: String::new(),
        };
        let (kinds, health) = (Registry::builtin(), Health::default());
        let wait = Wait {
            client: &client,
            kinds: &kinds,
            health: &health,
            limit: Duration::from_secs(60),
            application: "",
            reporter: &Silent,
            patience: Duration::ZERO,
            give_up: None,
            settle: Duration::ZERO,
            moved: None,
        };
        let after = Duration::from_millis(330);
        let bind = async {
            tokio::time::sleep(after).await;
            ask(&client, Method::PATCH, &format!("{claims}/a/status"), json!({"status": {"phase": "Bound"}})).await;
        };
        let (begun, mut memory) = (Instant::now(), Memory::default());
        let (waited, ()) = tokio::join!(wait.until_ready(std::slice::from_ref(&id), &mut memory), bind);
        assert_eq!((waited.ready, waited.failed), (1, Vec::new()));
        let late = begun.elapsed() - after;
        assert!(late < Duration::from_millis(30), "seen {late:?} later");
    }
}
