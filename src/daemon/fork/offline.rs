//! A server over objects from elsewhere: an API server in memory that can look ahead.

use super::Forks;
use crate::api::registry::Registry;
use crate::apiserver::{self, ApiServer, Config, User};
use crate::base::clock::Clock;
use crate::client::in_process;
use crate::gitops::render::{group, version};
use crate::store::memory::Memory;
use crate::store::{self, Record};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// A client of a server that holds `objects`, as they were at `taken`. Must be called within a tokio
/// runtime.
pub fn serve(objects: &[Value], taken: Timestamp) -> Result<kube::Client, serde_json::Error> {
    let registry = Arc::new(Registry::builtin());
    let defined = objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition");
    defined.for_each(|definition| registry.learn(definition));
    let extract = apiserver::extract(registry.clone());
    let mut records = Vec::new();
    for object in objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        // Kinds that this version does not know change nothing that it does.
        let Some(resource) = registry.by_kind(group(api_version), version(api_version), kind) else { continue };
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let key = store::key(&resource.group, &resource.plural, namespace, name);
        let value = serde_json::to_vec(object)?;
        let modified = text("/metadata/resourceVersion").parse().unwrap_or(1);
        let envelope = Arc::new(extract(&key, &value));
        records.push(Arc::new(Record {
            key: key.into(),
            value: Bytes::from(value).into(),
            created: modified,
            modified,
            envelope,
        }));
    }
    let revision = records.iter().map(|record| record.modified).max().unwrap_or(0);
    let store = Memory::from_snapshot(revision, records);
    let clock = Clock::virtual_from(taken);
    let mut config = Config::new(store.clone(), registry.clone());
    config.planner = Forks::new(store, registry, clock.clone(), config.settled.clone());
    config.clock = clock;
    Ok(in_process(&ApiServer::new(config), User::master("selkie-plan")))
}
