//! The server in-process over the memory store.
#![allow(clippy::unwrap_used)]

mod changes;
mod expiry;
mod objects;
mod replacing;
mod streams;
mod verdicts;

use super::*;
use crate::store::memory::Memory;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

/// A server and its answers.
pub struct Rig {
    pub server: Arc<ApiServer>,
}

impl Rig {
    /// With the namespace `default`.
    pub async fn new() -> Self {
        Self::with(Arc::new(NoStreams)).await
    }

    /// With the namespace `default`, over scripted kubelets.
    pub async fn with(streams: Arc<dyn PodStreams>) -> Self {
        let config =
            Config { ids: Ids::seeded(1), streams, ..Config::new(Memory::new(), Arc::new(Registry::builtin())) };
        let rig = Self { server: ApiServer::new(config) };
        rig.post("/api/v1/namespaces", serde_json::json!({"metadata": {"name": "default"}})).await;
        rig
    }

    /// Another server over the same store, which knows nothing but what is stored.
    pub fn another(&self) -> Arc<ApiServer> {
        ApiServer::new(Config::new(self.server.store.clone(), Arc::new(Registry::builtin())))
    }

    pub async fn send(&self, method: &str, path: &str, media: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let request = ::http::Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.server.handle(&User::master("test"), request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "", "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, "application/json", body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("PUT", path, "application/json", body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, "", "").await
    }

    /// The first `count` events of a watch.
    pub async fn watch(&self, path: &str, count: usize) -> Vec<Value> {
        let request = ::http::Request::get(path).body(Full::new(Bytes::new())).unwrap();
        let mut body = self.server.handle(&User::master("test"), request).await.into_body();
        let mut text = Vec::new();
        while text.iter().filter(|byte| **byte == b'\n').count() < count {
            let Some(frame) = body.frame().await else { break };
            text.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
    }
}
