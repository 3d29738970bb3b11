//! One object, followed by a list and a watch until it is as somebody wants it. No polling.

use super::CliError;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// Before a list after a watch that ended: a server that ends each at once is not hammered.
const AGAIN: Duration = Duration::from_millis(100);

/// Hands each state of the object to `reached`, `None` where it is not there, until that gives a result.
/// A watch that ends is taken up again by another list; a server that is gone is an error of that list.
/// Without a limit of its own. Cancel-safe.
pub async fn follow<K, T>(
    api: &Api<K>,
    name: &str,
    mut reached: impl FnMut(Option<K>) -> Result<Option<T>, CliError>,
) -> Result<T, CliError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug,
{
    use futures::TryStreamExt;
    let field = format!("metadata.name={name}");
    loop {
        let list = api.list(&ListParams::default().fields(&field)).await?;
        let version = list.metadata.resource_version.clone().unwrap_or_else(|| "0".into());
        if let Some(result) = reached(list.items.into_iter().next())? {
            return Ok(result);
        }
        let watch = WatchParams::default().fields(&field);
        let mut events = std::pin::pin!(api.watch(&watch, &version).await?);
        // Whatever breaks a watch off, the next list tells whether the server is still there.
        while let Ok(Some(event)) = events.try_next().await {
            let now = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => Some(object),
                WatchEvent::Deleted(_) => None,
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(_) => break,
            };
            if let Some(result) = reached(now)? {
                return Ok(result);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::{Request, Response};
    use http_body_util::Full;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::Arc;

    type Asked = Arc<Mutex<Vec<String>>>;

    /// A server that gives these answers, then refuses, and what it was asked.
    fn server(answers: &[String]) -> (Api<ConfigMap>, Asked) {
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        let asked = Asked::default();
        let asks = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let kind = if request.uri().to_string().contains("watch=true") { "watch" } else { "list" };
            asks.lock().push(kind.to_owned());
            let answer = answers.lock().pop_front();
            async move {
                let refused =
                    || json!({"kind": "Status", "code": 503, "message": "gone", "reason": "", "status": "Failure"});
                let (code, body) = answer.map_or_else(|| (503, refused().to_string()), |body| (200, body));
                Ok::<_, Infallible>(Response::builder().status(code).body(Full::from(body)).unwrap())
            }
        });
        (Api::namespaced(kube::Client::new(service, "default"), "default"), asked)
    }

    fn map(step: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "1"}, "data": {"step": step}})
    }

    fn list(items: &[Value]) -> String {
        json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": items})
            .to_string()
    }

    fn event(kind: &str, object: &Value) -> String {
        json!({"type": kind, "object": object}).to_string() + "\n"
    }

    /// The steps that were seen until `last` came, and what the server was asked.
    async fn seen(last: &str, answers: &[String]) -> (Result<(), String>, Vec<String>, Vec<String>) {
        let (api, asked) = server(answers);
        let mut steps = Vec::new();
        let followed = follow(&api, "a", |now| {
            let step = now.map_or("none".to_owned(), |map| map.data.unwrap_or_default()["step"].clone());
            steps.push(step.clone());
            Ok((step == last).then_some(()))
        });
        let followed = followed.await.map_err(|error| format!("{error:?}"));
        let asked = asked.lock().clone();
        (followed, steps, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_heard_and_not_asked_for() {
        let changes = event("MODIFIED", &map("two")) + &event("DELETED", &map("two")) + &event("ADDED", &map("three"));
        let (followed, steps, asked) = seen("three", &[list(&[map("one")]), changes]).await;
        assert_eq!(followed, Ok(()));
        assert_eq!(steps, ["one", "two", "none", "three"]);
        assert_eq!(asked, ["list", "watch"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_ends_is_taken_up_again() {
        let gone =
            json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "status": "Failure"});
        let broken = event("ERROR", &gone) + &event("MODIFIED", &map("never"));
        let answers = [
            list(&[]),
            String::new(),
            list(&[map("one")]),
            broken,
            list(&[map("two")]),
            event("MODIFIED", &map("three")),
        ];
        let (followed, steps, asked) = seen("three", &answers).await;
        assert_eq!(followed, Ok(()));
        assert_eq!(steps, ["none", "one", "two", "three"]);
        assert_eq!(asked, ["list", "watch", "list", "watch", "list", "watch"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_goes_away_is_an_error() {
        let (followed, steps, asked) = seen("three", &[list(&[map("one")]), event("MODIFIED", &map("two"))]).await;
        let error = followed.unwrap_err();
        assert!(error.contains("gone"), "{error}");
        assert_eq!((steps.len(), asked.len()), (2, 3));
    }
}
