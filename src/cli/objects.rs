//! Objects as the API serves them, for verbs that show what belongs together: reading them, and who
//! owns whom.

use super::CliError;
use super::resources::{self, Known};
use crate::api::changeset::ObjectId;
use crate::client::raw;
use crate::gitops::render::Manifest;
use crate::gitops::sync::wait::path;
use futures::TryStreamExt;
use futures::stream::StreamExt;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Kinds that controllers make for others: apiVersion, kind, plural.
const OWNED: [(&str, &str, &str); 4] = [
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("batch/v1", "Job", "jobs"),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    ("v1", "Pod", "pods"),
];
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// No chain of owners is longer; one that goes in a circle ends here.
const DEEPEST: usize = 8;

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of the list at a JSON pointer.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The condition of that type in an object's status.
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|one| one["type"] == name)
}

/// An object's identity.
pub fn id_of(object: &Value) -> ObjectId {
    let text = |pointer| text(object, pointer).to_owned();
    ObjectId {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
    }
}

/// Where an object's manifest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

impl Place {
    pub fn of(manifest: &Manifest) -> Self {
        Self { file: manifest.origin.file.to_string(), line: manifest.origin.line }
    }
}

/// The containers of a pod with their statuses (null where there is none yet), init containers first.
pub fn containers(pod: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let lists =
        [("/spec/initContainers", "/status/initContainerStatuses"), ("/spec/containers", "/status/containerStatuses")];
    lists.into_iter().flat_map(move |(specs, statuses)| {
        let status = move |name: &Value| list(pod, statuses).iter().find(|one| one["name"] == *name);
        list(pod, specs).iter().map(move |spec| (spec, status(&spec["name"]).unwrap_or(&Value::Null)))
    })
}

/// What a container's status says of it.
pub struct State<'a> {
    /// `Running`, `Terminated` or `Waiting`.
    pub word: &'static str,
    pub reason: &'a str,
    pub message: &'a str,
    pub exit_code: Option<i64>,
}

/// The state in a container's status; one without waits.
pub fn container_state(status: &Value) -> State<'_> {
    let states = [("running", "Running"), ("terminated", "Terminated")];
    let found = states.into_iter().find_map(|(key, word)| Some((word, status["state"].get(key)?)));
    let (word, about) = found.unwrap_or(("Waiting", &status["state"]["waiting"]));
    State {
        word,
        reason: text(about, "/reason"),
        message: text(about, "/message"),
        exit_code: about["exitCode"].as_i64(),
    }
}

/// The items of a list. A server that does not have the kind has none of it.
pub async fn items(client: &kube::Client, path: &str) -> Result<Vec<Value>, CliError> {
    let bytes = match raw::request(client, Method::GET, path, None).await {
        Ok(bytes) => bytes,
        Err(error) if raw::is_not_found(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut list: Value = serde_json::from_slice(&bytes)?;
    Ok(match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    })
}

/// Items of a list carry neither apiVersion nor kind.
pub fn typed(mut object: Value, api_version: &str, kind: &str) -> Value {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object
}

/// Reads objects of whatever kinds the server has.
pub struct Reader<'a> {
    pub client: &'a kube::Client,
    pub known: Vec<Known>,
}

impl<'a> Reader<'a> {
    pub async fn new(client: &'a kube::Client) -> Result<Self, CliError> {
        Ok(Self { client, known: resources::discover(client).await? })
    }

    fn path(&self, id: &ObjectId) -> Option<String> {
        let known = self.known.iter().find(|one| one.api.api_version == id.api_version && one.api.kind == id.kind)?;
        Some(path(&id.api_version, &known.api.plural, &id.namespace, &id.name))
    }

    /// The object as it is now. `None`: it is not there, or its kind is not served.
    pub async fn get(&self, id: &ObjectId) -> Result<Option<Value>, CliError> {
        let Some(path) = self.path(id) else { return Ok(None) };
        match raw::request(self.client, Method::GET, &path, None).await {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if raw::is_not_found(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All of them, in their order.
    pub async fn get_all(&self, ids: &[ObjectId]) -> Result<Vec<Option<Value>>, CliError> {
        let one = |id: ObjectId| async move { self.get(&id).await };
        futures::stream::iter(ids.to_vec()).map(one).buffered(AT_ONCE).try_collect().await
    }

    /// Those that own `object`, outermost first.
    pub async fn owners(&self, object: &Value) -> Result<Vec<Value>, CliError> {
        let mut owners = Vec::new();
        let mut below = object.clone();
        while let Some(id) = owner(&below).filter(|_| owners.len() < DEEPEST) {
            // Owners live in the namespace of what they own, or in none.
            let namespaced = self
                .known
                .iter()
                .any(|one| one.api.api_version == id.api_version && one.api.kind == id.kind && one.namespaced);
            let namespace = if namespaced { text(&below, "/metadata/namespace").to_owned() } else { String::new() };
            // One of the same name that came later owns nothing of this.
            let found = self.get(&ObjectId { namespace, ..id.clone() }).await?;
            let Some(found) = found.filter(|one| text(one, "/metadata/uid") == id.uid) else { break };
            owners.push(found.clone());
            below = found;
        }
        owners.reverse();
        Ok(owners)
    }

    /// What controllers made in the namespaces of these objects.
    pub async fn family<'o>(&self, objects: impl Iterator<Item = &'o Value>) -> Result<Family, CliError> {
        let namespaces: BTreeSet<&str> = objects.map(|object| text(object, "/metadata/namespace")).collect();
        let wanted = namespaces.into_iter().filter(|namespace| !namespace.is_empty());
        let lists = wanted.flat_map(|namespace| OWNED.map(|owned| (namespace, owned)));
        let list = |(namespace, (api_version, kind, plural)): (&str, (&str, &str, &str))| {
            let (path, api_version, kind) =
                (path(api_version, plural, namespace, ""), api_version.to_owned(), kind.to_owned());
            async move {
                let found = items(self.client, &path).await?;
                Ok::<_, CliError>(found.into_iter().map(|object| typed(object, &api_version, &kind)).collect())
            }
        };
        let found: Vec<Vec<Value>> = futures::stream::iter(lists).map(list).buffered(AT_ONCE).try_collect().await?;
        Ok(Family::of(found.into_iter().flatten().collect()))
    }
}

/// The owner that controls an object, else the first that it names. Without its namespace.
fn owner(object: &Value) -> Option<ObjectId> {
    let owners = list(object, "/metadata/ownerReferences");
    let owner = owners.iter().find(|one| one["controller"] == true).or(owners.first())?;
    let text = |pointer| text(owner, pointer).to_owned();
    let (api_version, kind, name, uid) = (text("/apiVersion"), text("/kind"), text("/name"), text("/uid"));
    Some(ObjectId { api_version, kind, namespace: String::new(), name, uid })
}

/// Objects by the uids of those that own them.
#[derive(Default)]
pub struct Family {
    members: Vec<Value>,
    by_owner: HashMap<String, Vec<usize>>,
}

impl Family {
    pub fn of(mut members: Vec<Value>) -> Self {
        let key = |object: &Value| {
            let text = |pointer| text(object, pointer).to_owned();
            (text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
        };
        members.sort_by_cached_key(key);
        let mut by_owner: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, member) in members.iter().enumerate() {
            for owner in list(member, "/metadata/ownerReferences") {
                by_owner.entry(text(owner, "/uid").to_owned()).or_default().push(at);
            }
        }
        Self { members, by_owner }
    }

    /// Those that an object owns, by kind and name. Old ReplicaSets without pods, kept for a rollback,
    /// are left out.
    pub fn owned_by(&self, owner: &Value) -> impl Iterator<Item = &Value> {
        let own = self.by_owner.get(text(owner, "/metadata/uid")).map(Vec::as_slice).unwrap_or_default();
        own.iter().map(|at| &self.members[*at]).filter(|object| !is_retired(object))
    }

    /// Everything below an object, parents first.
    pub fn descendants(&self, ancestor: &Value) -> Vec<&Value> {
        let mut found: Vec<&Value> = Vec::new();
        let mut next: Vec<&Value> = self.owned_by(ancestor).collect();
        for _ in 0..DEEPEST {
            let below = next.iter().flat_map(|object| self.owned_by(object)).collect();
            found.append(&mut next);
            next = below;
        }
        found
    }

    /// The pods of a namespace that have all these labels.
    pub fn pods_with<'a>(&'a self, namespace: &'a str, labels: &'a Value) -> impl Iterator<Item = &'a Value> {
        let wanted = labels.as_object().filter(|labels| !labels.is_empty());
        let fits = move |pod: &&Value| {
            pod["kind"] == "Pod"
                && text(pod, "/metadata/namespace") == namespace
                && wanted
                    .is_some_and(|wanted| wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
        };
        self.members.iter().filter(fits)
    }
}

fn is_retired(object: &Value) -> bool {
    let none = |pointer| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0) == 0;
    object["kind"] == "ReplicaSet" && object["spec"]["replicas"] == 0 && none("/status/replicas")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(kind: &str, name: &str, owner: &str) -> Value {
        let owner = json!([{"apiVersion": "v1", "kind": "Any", "name": "any", "uid": owner, "controller": true}]);
        json!({"kind": kind, "metadata": {"name": name, "namespace": "n", "uid": name, "ownerReferences": owner},
            "spec": {"replicas": 1}})
    }

    fn names(objects: &[&Value]) -> Vec<String> {
        objects.iter().map(|object| text(object, "/metadata/name").to_owned()).collect()
    }

    #[test]
    fn a_family_is_found_below_its_ancestor() {
        let mut retired = member("ReplicaSet", "web-0", "web");
        retired["spec"]["replicas"] = json!(0);
        let mut labelled = member("Pod", "p2", "rs");
        labelled["metadata"]["labels"] = json!({"app": "web", "x": "y"});
        let family = Family::of(vec![
            member("Pod", "p3", "other"),
            labelled,
            member("Pod", "p1", "rs"),
            member("ReplicaSet", "rs", "web"),
            retired,
        ]);
        let web = json!({"metadata": {"uid": "web"}});
        assert_eq!(names(&family.descendants(&web)), ["rs", "p1", "p2"]);
        assert_eq!(names(&family.pods_with("n", &json!({"app": "web"})).collect::<Vec<_>>()), ["p2"]);
        assert_eq!(family.pods_with("n", &json!({})).count(), 0, "an empty selector selects nothing");
    }

    #[test]
    fn a_circle_of_owners_ends() {
        let family = Family::of(vec![member("Pod", "a", "b"), member("Pod", "b", "a")]);
        assert!(family.descendants(&json!({"metadata": {"uid": "a"}})).len() <= DEEPEST);
    }
}
