//! `metrics.k8s.io`: what nodes and running pods use. Computed from the last readings, never stored.

use super::body::Body;
use super::verbs::Ask;
use crate::api::cel::duration;
use crate::api::error::{ApiError, Target};
use crate::api::meta::Envelope;
use crate::api::quantity::{Format, Quantity};
use crate::api::registry::Resource;
use crate::apiserver::resources::view::View;
use crate::apiserver::usage::{Rate, Usage};
use crate::store::{self, Record};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

impl Ask<'_> {
    /// A request for the usage of pods or nodes, whichever the resource is called.
    pub(super) async fn usage(&self) -> Result<Response<Body>, ApiError> {
        let path = self.path;
        if !path.subresource.is_empty() {
            return Err(ApiError::no_such_resource());
        }
        match path.name {
            _ if path.watch || self.query.flag("watch") => self.allowed("watch")?,
            "" => self.allowed("list")?,
            _ => self.allowed("get")?,
        }
        let selection = self.list_options()?.selection;
        self.server.usage.ask().await;
        let (view, now) = (self.server.view(), self.server.clock.now_seconds());
        let measured = |record: &Record| measured(&self.resource, &self.server.usage, &record.envelope, now);
        if !path.name.is_empty() {
            let record = view.get(&store::key("", &self.resource.plural, path.namespace, path.name));
            let found = record.as_deref().and_then(measured).ok_or_else(|| self.unmeasured())?;
            return self.object(StatusCode::OK, &found);
        }
        let mut prefix = store::bucket("", &self.resource.plural);
        if !path.namespace.is_empty() {
            prefix = format!("{prefix}{}/", path.namespace);
        }
        let records = view.scan(&prefix);
        let chosen = records.iter().filter(|record| selection.matches(record));
        self.collection(json!({}), chosen.filter_map(|record| measured(record)).collect())
    }

    /// In metrics-server's words.
    fn unmeasured(&self) -> ApiError {
        let (kind, path) = (&self.resource.kind, self.path);
        let name = match path.namespace {
            "" => path.name.to_owned(),
            namespace => format!("{namespace}/{}", path.name),
        };
        ApiError::not_found(Target { group: &self.resource.group, resource: &kind.to_lowercase(), kind }, &name)
    }
}

/// `None` where nothing is known, or nothing runs.
fn measured(resource: &Resource, usage: &Usage, of: &Envelope, now: Timestamp) -> Option<Bytes> {
    let mut object = json!({
        "kind": resource.kind, "apiVersion": resource.api_version(),
        "metadata": {"name": of.name, "creationTimestamp": now.to_string(), "labels": of.labels},
    });
    let rate = if resource.namespaced {
        let field = |name: &str| of.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let host = field("spec.nodeName").filter(|_| field("status.phase") == Some("Running"))?;
        let containers = usage.of_pod(host, &of.uid);
        object["metadata"]["namespace"] = of.namespace.as_str().into();
        object["containers"] =
            containers.iter().map(|(name, rate)| json!({"name": name, "usage": amounts(rate)})).collect();
        containers.into_iter().map(|(_, rate)| rate).reduce(Rate::plus)?
    } else {
        let rate = usage.of_host(&of.name)?;
        object["usage"] = amounts(&rate);
        rate
    };
    object["timestamp"] = Timestamp::from_second(rate.time.as_second()).unwrap_or(rate.time).to_string().into();
    object["window"] = duration::print(i64::try_from(rate.window.as_nanos()).unwrap_or(i64::MAX)).into();
    Some(object.to_string().into())
}

fn amounts(rate: &Rate) -> Value {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (cpu, memory) = (Quantity::nanos(whole(rate.nanocores)), Quantity::units(whole(rate.memory), Format::BinarySi));
    json!({"cpu": cpu.to_string(), "memory": memory.to_string()})
}
