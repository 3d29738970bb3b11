//! Controllers against a real API server over a store in memory, under virtual time.
#![allow(clippy::unwrap_used)]

use crate::apiserver::{ApiServer, Config, Usage, User};
use crate::base::wait::{self, Pace};
use crate::base::{clock::Clock, ids::Ids};
use crate::client::{self, Context, raw};
use http::Method;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What takes controllers an hour is virtual time here.
const PACE: Pace = Pace { every: Duration::from_millis(20), at_most: Duration::from_secs(3600) };

/// A cluster without kubelets. Ends what it spawned when it is dropped.
pub struct Rig {
    pub ctx: Context,
    /// What pods use, as kubelets would tell.
    pub usage: Arc<Usage>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.ctx.shutdown.cancel();
    }
}

impl Rig {
    /// With the namespace `default`. The runtime's clock must be paused.
    pub async fn new() -> Self {
        let clock = Clock::virtual_from("2024-01-01T00:00:00Z".parse().unwrap());
        let config = Config::in_memory(clock.clone(), Ids::seeded(1));
        let usage = config.usage.clone();
        let rig = Self { ctx: context(&ApiServer::new(config), clock), usage };
        rig.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await;
        rig
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    /// The response's body; a refusal fails the test.
    async fn send(&self, method: Method, path: &str, media: &str, body: Value) -> Value {
        let body = (!body.is_null()).then(|| (media, body.to_string().into()));
        match raw::request(&self.ctx.client, method.clone(), path, body).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    /// Null if there is no such object.
    pub async fn get(&self, path: &str) -> Value {
        match raw::request(&self.ctx.client, Method::GET, path, None).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(error) if raw::is_not_found(&error) => Value::Null,
            Err(error) => panic!("GET {path}: {error}"),
        }
    }

    pub async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await["items"].as_array().cloned().unwrap_or_default()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.send(Method::PUT, path, "application/json", body).await
    }

    /// A merge patch.
    pub async fn patch(&self, path: &str, change: Value) -> Value {
        self.send(Method::PATCH, path, "application/merge-patch+json", change).await
    }

    pub async fn delete(&self, path: &str) -> Value {
        self.send(Method::DELETE, path, "", Value::Null).await
    }

    /// Writes the status of an object, whatever its revision.
    pub async fn status(&self, path: &str, status: Value) {
        let mut object = self.get(path).await;
        object["status"] = status;
        object["metadata"]["resourceVersion"] = Value::Null;
        self.put(&format!("{path}/status"), object).await;
    }

    /// Waits until what is at `path` (null if nothing) is as expected.
    #[track_caller]
    pub fn until(&self, path: &str, expected: impl Fn(&Value) -> bool) -> impl Future<Output = Value> {
        wait::until("the object is as expected", PACE, async move || {
            let seen = self.get(path).await;
            if expected(&seen) { Ok(seen) } else { Err(format!("{path}: {seen:#}")) }
        })
    }

    /// Looks every virtual second for `span` whether what is at `path` stays as expected: that something
    /// does not happen gives no sign to wait for.
    #[track_caller]
    pub fn stays(&self, path: &str, span: Duration, expected: impl Fn(&Value) -> bool) -> impl Future<Output = ()> {
        let pace = Pace { every: Duration::from_secs(1), at_most: span * 2 };
        let begun = tokio::time::Instant::now();
        wait::until("the time has passed", pace, async move || {
            let seen = self.get(path).await;
            assert!(expected(&seen), "{path} did not stay as it was: {seen:#}");
            if begun.elapsed() >= span { Ok(()) } else { Err(format!("{path}: {seen:#}")) }
        })
    }
}

fn context(server: &Arc<ApiServer>, clock: Clock) -> Context {
    let client = client::in_process(server, User::master("test"));
    Context::new(client, clock, Ids::seeded(2), CancellationToken::new())
}
