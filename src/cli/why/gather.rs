//! Reads what explains an object.

use super::chain::{Facts, Others};
use super::source;
use crate::api::changeset::ObjectId;
use crate::api::verdict::PodVerdict;
use crate::cli::CliError;
use crate::cli::health::Judges;
use crate::cli::objects::{Family, Reader, containers, id_of, items, list, text};
use crate::cli::standing;
use crate::client::raw;
use crate::gitops::sync::last_lines;
use crate::gitops::sync::wait::path;
use futures::stream::{StreamExt, TryStreamExt};
use http::Method;
use serde_json::Value;

/// Pods that are told in full: those in trouble first. More of a workload are mostly alike.
const IN_FULL: usize = 3;
/// Objects of an application that are told: those that are not ready.
const OBJECTS: usize = 10;
/// Requests under way at once.
const AT_ONCE: usize = 8;

/// Everything about `object`, which carries its apiVersion and kind.
pub async fn facts(reader: &Reader<'_>, object: Value) -> Result<Facts, CliError> {
    let judges = Judges::read(reader.client).await;
    let is_application = object["kind"] == "Application";
    let roots = if is_application { unready(reader, &object, &judges).await? } else { vec![object.clone()] };
    // Pods own nothing.
    let family = reader.family(roots.iter().filter(|root| root["kind"] != "Pod")).await?;
    let (pods, mut below): (Vec<Value>, Vec<Value>) = roots
        .iter()
        .flat_map(|root| below(&family, root))
        .chain(roots.iter().filter(|root| is_application || root["kind"] == "Pod"))
        .cloned()
        .partition(|one| one["kind"] == "Pod");
    below.sort_by_cached_key(|one| (text(one, "/kind").to_owned(), text(one, "/metadata/name").to_owned()));
    let (pods, others) = telling(pods, &judges);
    let owners = reader.owners(&object).await?;
    let source = source::of(reader.client, &id_of(owners.first().unwrap_or(&object))).await?;
    let mut facts = Facts { object, owners, below, pods, others, source, judges, ..Facts::default() };
    about(reader, &mut facts).await?;
    Ok(facts)
}

/// The objects of an application that are not ready.
async fn unready(reader: &Reader<'_>, application: &Value, judges: &Judges) -> Result<Vec<Value>, CliError> {
    let ids: Vec<ObjectId> = list(application, "/status/inventory")
        .iter()
        .filter_map(|id| serde_json::from_value(id.clone()).ok())
        .collect();
    let found = reader.get_all(&ids).await?.into_iter().flatten();
    Ok(found.filter(|object| !standing::of(object, judges).is_ready()).take(OBJECTS).collect())
}

/// What an object owns; of one that selects pods instead, those.
fn below<'a>(family: &'a Family, object: &'a Value) -> Vec<&'a Value> {
    let mut found = family.descendants(object);
    if object["kind"] == "Service" {
        found.extend(family.pods_with(text(object, "/metadata/namespace"), &object["spec"]["selector"]));
    }
    found
}

/// Those that are told in full, and how many are not.
fn telling(mut pods: Vec<Value>, judges: &Judges) -> (Vec<Value>, Others) {
    pods.sort_by_cached_key(|pod| {
        let is_leaving = pod.pointer("/metadata/deletionTimestamp").is_some();
        let troubled = !crate::gitops::readiness::troubles(pod).is_empty();
        (standing::of(pod, judges).is_ready(), is_leaving, !troubled, text(pod, "/metadata/name").to_owned())
    });
    let rest = pods.split_off(pods.len().min(IN_FULL));
    let ready = rest.iter().filter(|pod| standing::of(pod, judges).is_ready()).count();
    (pods, Others { ready, not_ready: rest.len() - ready })
}

/// Events of all objects; of pods also verdicts, hosts and last lines.
async fn about(reader: &Reader<'_>, facts: &mut Facts) -> Result<(), CliError> {
    let client = reader.client;
    let mut objects: Vec<ObjectId> = facts.owners.iter().chain(&facts.below).chain(&facts.pods).map(id_of).collect();
    if facts.object["kind"] != "Pod" {
        objects.push(id_of(&facts.object));
    }
    let events = |id: ObjectId| async move {
        let found = events(client, &id).await?;
        Ok::<_, CliError>((id.uid, found))
    };
    facts.events = futures::stream::iter(objects).map(events).buffer_unordered(AT_ONCE).try_collect().await?;
    for pod in &facts.pods {
        let id = id_of(pod);
        if let Some(verdict) = verdict(client, &id).await? {
            facts.verdicts.insert(id.uid.clone(), verdict);
        }
        let host = text(pod, "/spec/nodeName");
        if !host.is_empty() && !facts.hosts.contains_key(host) {
            let node =
                ObjectId { api_version: "v1".into(), kind: "Node".into(), name: host.into(), ..ObjectId::default() };
            if let Some(node) = reader.get(&node).await? {
                facts.hosts.insert(host.to_owned(), node);
            }
        }
        for (container, previous) in to_read(pod) {
            let lines = last_lines(client, &id.namespace, &id.name, container, previous).await;
            facts.logs.insert((id.uid.clone(), container.to_owned()), lines);
        }
    }
    Ok(())
}

/// Containers that are not ready and wrote something, and whether that was before their last restart.
fn to_read(pod: &Value) -> Vec<(&str, bool)> {
    containers(pod)
        .filter_map(|(spec, status)| {
            let state = &status["state"];
            let code = state.pointer("/terminated/exitCode").and_then(Value::as_i64);
            let restarting = state.get("waiting").is_some() && status.pointer("/lastState/terminated").is_some();
            let unready = state.get("running").is_some() && status["ready"] != true;
            let telling = restarting || unready || code.is_some_and(|code| code != 0);
            telling.then_some((text(spec, "/name"), restarting))
        })
        .collect()
}

async fn events(client: &kube::Client, id: &ObjectId) -> Result<Vec<Value>, CliError> {
    if id.uid.is_empty() {
        return Ok(Vec::new());
    }
    // Events of objects without a namespace are in `default`.
    let namespace = if id.namespace.is_empty() { "default" } else { &id.namespace };
    let path = path("v1", "events", namespace, "");
    // Of a Node, kubelets give the name for the uid.
    let (field, value) = if id.kind == "Node" { ("name", &id.name) } else { ("uid", &id.uid) };
    items(client, &format!("{path}?fieldSelector=involvedObject.{field}%3D{value}")).await
}

/// What the scheduler last said. `None`: this server does not know, or not any more.
async fn verdict(client: &kube::Client, id: &ObjectId) -> Result<Option<PodVerdict>, CliError> {
    let path = path("selkie.dev/v1alpha1", "verdicts", &id.namespace, &id.name);
    match raw::request(client, Method::GET, &path, None).await {
        // Between the two requests a pod of the same name may have come.
        Ok(bytes) => Ok(Some(serde_json::from_slice::<PodVerdict>(&bytes)?).filter(|said| said.metadata.uid == id.uid)),
        Err(error) if matches!(raw::code(&error), Some(403 | 404)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_in_trouble_are_told_first() {
        let pod = |name: &str, status: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "status": status});
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let waiting = json!({"phase": "Pending"});
        let crashing = json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let pods = vec![
            pod("a", ready.clone()),
            pod("b", ready),
            pod("c", waiting.clone()),
            pod("d", waiting),
            pod("e", crashing),
        ];
        let (told, others) = telling(pods, &Judges::default());
        let names: Vec<_> = told.iter().map(|pod| text(pod, "/metadata/name")).collect();
        assert_eq!(names, ["e", "c", "d"]);
        assert_eq!(others, Others { ready: 2, not_ready: 0 });
    }

    #[test]
    fn the_lines_before_a_restart_are_those_that_tell() {
        let status = |name: &str, state: Value, last: Value| json!({"name": name, "ready": false, "state": state, "lastState": last});
        let pod = json!({
            "spec": {"initContainers": [{"name": "init"}], "containers": [{"name": "loop"}, {"name": "slow"}, {"name": "new"}]},
            "status": {
                "initContainerStatuses": [status("init", json!({"terminated": {"exitCode": 0}}), json!({}))],
                "containerStatuses": [
                    status("loop", json!({"waiting": {}}), json!({"terminated": {"exitCode": 1}})),
                    status("slow", json!({"running": {}}), json!({})),
                    status("new", json!({"waiting": {}}), json!({})),
                ],
            },
        });
        assert_eq!(to_read(&pod), [("loop", true), ("slow", false)]);
    }
}
