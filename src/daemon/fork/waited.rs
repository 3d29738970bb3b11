//! What a plan waits for: everything that the change set set going.

use super::hosts::Hosts;
use super::owners::Owners;
use super::pods;
use crate::api::changeset::{ChangeAction, ChangeResult, ChangeSetStatus};
use crate::gitops::readiness::{self, Health, Readiness};
use crate::store::{Record, Revision, Store, bucket, key};
use serde_json::Value;

/// What is not known to be as wanted.
pub struct Waited {
    /// The revision before the change set.
    from: Revision,
    /// Must become ready.
    coming: Vec<String>,
    /// Must go: key and uid, as another may come under the same name.
    going: Vec<(String, String)>,
    /// Must start again.
    restarting: Vec<Restarting>,
    /// Objects that were not ready when last looked at, with what is missing.
    pub unready: Vec<(Value, Readiness)>,
    health: Health,
}

/// A container that runs and whose image changed in place.
#[derive(Debug, PartialEq)]
struct Restarting {
    key: String,
    uid: String,
    container: String,
    restarts: u64,
}

impl Waited {
    pub fn new(change: &ChangeSetStatus, owners: &Owners<'_>, from: Revision, health: Health) -> Self {
        let (coming, going, unready) = Default::default();
        let mut waited = Self { from, coming, going, restarting: Vec::new(), unready, health };
        for result in &change.results {
            let Some(key) = owners.key_of(&result.id) else { continue };
            match result.action {
                ChangeAction::Created | ChangeAction::Configured | ChangeAction::Replaced => {
                    waited.restarting.extend(restarting(&key, result));
                    waited.coming.push(key);
                }
                ChangeAction::Deleted => waited.going.extend(uid(result.before.as_ref()).map(|uid| (key, uid))),
                ChangeAction::Unchanged | ChangeAction::Failed => {}
            }
        }
        waited
    }

    pub fn is_over(&mut self, store: &dyn Store, hosts: &Hosts) -> bool {
        self.unready.clear();
        let unready = &mut self.unready;
        self.going.retain(|(key, uid)| {
            let is_it = |object: &Value| self::uid(Some(object)).as_ref() == Some(uid);
            // What a sync that stopped has not deleted is not awaited.
            let there = object(store, key).filter(|object| is_it(object) && is_going(object));
            let stays = there.is_some();
            unready.extend(there.map(|object| (object.clone(), Readiness::Progressing(held(&object)))));
            stays
        });
        self.restarting.retain(|one| match one.waits(store) {
            Some(missing) => {
                unready.push(missing);
                true
            }
            None => false,
        });
        self.coming.retain(|key| {
            let Some(object) = object(store, key) else { return false };
            let readiness = self.health.of(&object);
            let waits = readiness != Readiness::Ready && !is_idle_claim(store, &object);
            if waits {
                unready.push((object, readiness));
            }
            waits
        });
        let pods = store.range(&bucket("", "pods"), None, None, 0).map(|range| range.records).unwrap_or_default();
        self.coming.is_empty()
            && self.going.is_empty()
            && self.restarting.is_empty()
            && !pods.iter().any(|record| self.moves(record, hosts))
    }

    /// Whether a pod is on its way: on a host that answers, or to one since the change set.
    fn moves(&self, record: &Record, hosts: &Hosts) -> bool {
        let envelope = &record.envelope;
        let host = pods::host(envelope);
        if envelope.deletion_timestamp.is_some() {
            return hosts.answers(host);
        }
        let set_going = if host.is_empty() { record.created > self.from } else { record.modified > self.from };
        let may_come = host.is_empty() || hosts.answers(host);
        set_going && may_come && !pods::is_over(envelope) && !is_ready(record)
    }
}

impl Restarting {
    /// The pod and what is missing, while the container has not started again.
    fn waits(&self, store: &dyn Store) -> Option<(Value, Readiness)> {
        let record = store.get(&self.key).filter(|record| record.envelope.uid == self.uid)?;
        if pods::is_over(&record.envelope) || record.envelope.deletion_timestamp.is_some() {
            return None;
        }
        let pod = serde_json::from_slice(&record.value.bytes()).ok()?;
        let waits = running(&pod, &self.container).is_none_or(|restarts| restarts <= self.restarts);
        let why = format!("container {} does not run with its new image yet", self.container);
        waits.then_some((pod, Readiness::Progressing(why)))
    }
}

/// The running containers of a pod whose image the change set changes.
fn restarting(key: &str, result: &ChangeResult) -> Vec<Restarting> {
    let (Some(before), Some(after)) = (&result.before, &result.after) else { return Vec::new() };
    let in_place =
        result.action == ChangeAction::Configured && result.id.kind == "Pod" && result.id.api_version == "v1";
    let Some(uid) = uid(Some(before)).filter(|_| in_place) else { return Vec::new() };
    let changed = containers(after).filter(|container| {
        let mut old = containers(before).filter(|old| old["name"] == container["name"]);
        old.any(|old| old["image"] != container["image"])
    });
    let found = changed.filter_map(|container| {
        let name = container["name"].as_str()?;
        let restarts = running(before, name)?;
        Some(Restarting { key: key.into(), uid: uid.clone(), container: name.into(), restarts })
    });
    found.collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array()).flatten()
}

/// How often a container that runs was started again; `None` of one that does not run.
fn running(pod: &Value, container: &str) -> Option<u64> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut statuses = lists.into_iter().filter_map(|list| pod["status"][list].as_array()).flatten();
    let status = statuses.find(|status| status["name"] == container)?;
    status["state"].get("running")?;
    Some(status["restartCount"].as_u64().unwrap_or(0))
}

/// Whether it is a claim that stays unbound until a pod uses it; those that do are waited for themselves.
fn is_idle_claim(store: &dyn Store, object: &Value) -> bool {
    let class = readiness::class_of_idle_claim(object);
    let class = class.and_then(|class| self::object(store, &key("storage.k8s.io", "storageclasses", "", class)));
    class.is_some_and(|class| readiness::waits_for_consumer(&class))
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Why an object that is deleted is still there.
fn held(object: &Value) -> String {
    let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    let finalizers: Vec<_> = finalizers.filter_map(Value::as_str).collect();
    match finalizers.as_slice() {
        [] => "it is deleted, but does not go".to_owned(),
        held => format!("it is deleted, but stays until nobody holds it any more ({})", held.join(", ")),
    }
}

fn uid(object: Option<&Value>) -> Option<String> {
    object?.pointer("/metadata/uid")?.as_str().map(str::to_owned)
}

fn object(store: &dyn Store, key: &str) -> Option<Value> {
    serde_json::from_slice(&store.get(key)?.value.bytes()).ok()
}

fn is_ready(record: &Record) -> bool {
    serde_json::from_slice(&record.value.bytes()).is_ok_and(|pod: Value| pods::is_ready(&pod))
}
