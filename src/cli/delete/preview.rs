//! What a deletion would take with it: the end that the garbage collector, the namespace controller and an
//! Application's end come to, from the objects as they are. Pure.

use crate::api::changeset::ObjectId;
use crate::cli::objects::{id_of, list, text};
use crate::controllers::endpointslice::{ENDPOINTS_MANAGED_BY, ENDPOINTS_MANAGER};
use crate::gitops::application::{Application, LABEL};
use crate::gitops::plan::prune;
use crate::gitops::render::{group, same_object};
use crate::gitops::sync::HOOK_RUN;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The schema of the document.
pub const SCHEMA: &str = "selkie.dev/deletion/v1";

/// Finalizers that selkie itself takes away in time.
const OWN: [&str; 9] = [
    "orphan",
    "foregroundDeletion",
    "kubernetes",
    "kubernetes.io/pvc-protection",
    "kubernetes.io/pv-protection",
    "selkie.dev/prune",
    "batch.kubernetes.io/job-tracking",
    "podman.selkie.dev/volume",
    "customresourcecleanup.apiextensions.k8s.io",
];
/// Kinds whose controllers make again what they miss.
const MAKERS: [&str; 6] = ["ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Deployment", "Job"];

/// What becomes of the dependents of what is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Cascade {
    /// They go first
    #[default]
    Foreground,
    /// They go once their owner is gone
    Background,
    /// They stay
    Orphan,
}

/// The cluster as far as a deletion may have to do with it.
#[derive(Default)]
pub struct Cluster {
    /// Each with its apiVersion and kind.
    pub objects: Vec<Value>,
    /// Kinds that are served, as group and kind: what refers to others is kept.
    pub served: HashSet<(String, String)>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    pub schema: &'static str,
    pub cascade: Cascade,
    /// Those that are named first, then what goes with them.
    pub objects: Vec<Going>,
    pub data: Vec<Data>,
    /// Running pods among the objects.
    pub pods: usize,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Going {
    #[serde(flatten)]
    pub id: ObjectId,
    /// What it goes with; absent where it is named itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<ObjectId>,
    /// Of a pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Of a pod: volumes whose contents go with it: `emptyDir cache`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// It is there until others take these away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// It is there until these are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<ObjectId>,
    /// Of an Application: why its end does not begin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stuck: String,
    /// Who makes it again at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_again_by: Option<ObjectId>,
}

/// A claim with a volume.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    pub claim: ObjectId,
    /// `deleted`, or `kept`: with the claim, or in the volume.
    pub fate: &'static str,
    pub volume: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub size: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reclaim_policy: String,
    pub reason: String,
}

/// What deleting `named` would do.
pub fn preview(cluster: &Cluster, named: &[ObjectId], cascade: Cascade) -> Preview {
    let mut run = Run::of(cluster, cascade);
    for id in named {
        if let Some(at) = run.find(id) {
            run.add(at, None);
        }
    }
    run.named = run.order.clone();
    while run.grow() {}
    run.told()
}

struct Run<'a> {
    cluster: &'a Cluster,
    ids: Vec<ObjectId>,
    by_uid: HashMap<&'a str, usize>,
    applications: BTreeMap<usize, Application>,
    cascade: Cascade,
    named: Vec<usize>,
    /// What goes, with what it goes with.
    going: BTreeMap<usize, Option<usize>>,
    order: Vec<usize>,
}

impl<'a> Run<'a> {
    fn of(cluster: &'a Cluster, cascade: Cascade) -> Self {
        let ids = cluster.objects.iter().map(id_of).collect();
        let by_uid =
            cluster.objects.iter().enumerate().map(|(at, object)| (text(object, "/metadata/uid"), at)).collect();
        let applications = cluster.objects.iter().enumerate().filter(|(_, object)| is_application(object));
        let applications =
            applications.filter_map(|(at, object)| Some((at, serde_json::from_value(object.clone()).ok()?))).collect();
        let (named, going, order) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { cluster, ids, by_uid, applications, cascade, named, going, order }
    }

    fn object(&self, at: usize) -> &'a Value {
        &self.cluster.objects[at]
    }

    fn find(&self, id: &ObjectId) -> Option<usize> {
        self.ids.iter().position(|other| same_object(other, id))
    }

    fn add(&mut self, at: usize, with: Option<usize>) -> bool {
        if self.going.contains_key(&at) {
            return false;
        }
        self.going.insert(at, with);
        self.order.push(at);
        true
    }

    /// Adds what goes with what goes already. False: there is nothing more.
    fn grow(&mut self) -> bool {
        let found: Vec<_> = (0..self.ids.len())
            .filter(|at| !self.going.contains_key(at))
            .filter_map(|at| Some((at, self.goes_with(at)?)))
            .collect();
        let mut grown = false;
        for (at, with) in found {
            grown |= self.add(at, Some(with));
        }
        grown
    }

    /// What takes an object with it, if anything does.
    fn goes_with(&self, at: usize) -> Option<usize> {
        let id = &self.ids[at];
        let holder = self.order.iter().copied().find(|other| self.holds(*other, id, self.object(at)));
        holder.or_else(|| self.owner_that_goes(at))
    }

    /// Whether an object that goes takes all that is in it.
    fn holds(&self, holder: usize, id: &ObjectId, object: &Value) -> bool {
        let (of, whole) = (&self.ids[holder], self.object(holder));
        match (group(&of.api_version), of.kind.as_str()) {
            ("", "Namespace") => id.namespace == of.name,
            // Kept beside it, without a reference.
            ("", "Service") => {
                id.kind == "Endpoints"
                    && (&id.namespace, &id.name) == (&of.namespace, &of.name)
                    && label(object, ENDPOINTS_MANAGED_BY) == Some(ENDPOINTS_MANAGER)
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                group(&id.api_version) == text(whole, "/spec/group") && id.kind == text(whole, "/spec/names/kind")
            }
            ("selkie.dev", "Application") => self.is_taken_along(holder, id, object),
            _ => false,
        }
    }

    /// Whether the dependents of what goes are set free.
    fn orphans(&self, at: usize) -> bool {
        self.cascade == Cascade::Orphan && self.named.contains(&at)
    }

    /// Whether an Application's end deletes anything.
    fn takes_any(&self, application: usize, app: &Application) -> bool {
        app.is_held() && app.keeps_objects().is_none() && !self.orphans(application)
    }

    /// Why an Application's end does not begin, if that is so.
    fn stuck(&self, at: usize) -> Option<String> {
        let app = self.applications.get(&at).filter(|app| self.takes_any(at, app))?;
        let has_none = app.status.inventory.is_empty() && app.status.hooks.is_empty();
        app.taken_over().err().filter(|_| !has_none)
    }

    /// Whether an Application's end deletes an object.
    fn is_taken_along(&self, application: usize, id: &ObjectId, object: &Value) -> bool {
        let Some(app) = self.applications.get(&application) else { return false };
        if !self.takes_any(application, app) || app.taken_over().is_err() {
            return false;
        }
        // What hooks made goes, too.
        let held = [app.held(), app.status.hooks.clone()].concat();
        let is_it = |other: &&ObjectId| same_object(other, id) && (other.uid.is_empty() || other.uid == id.uid);
        if !held.iter().any(|other| is_it(&other))
            || label(object, LABEL).is_some_and(|label| label != app.name())
            || is_disabled(object)
        {
            return false;
        }
        let confirmed = prune::is_confirmed(object) || app.confirms_prune(&app.status.revision);
        match (group(&id.api_version), id.kind.as_str()) {
            ("", "PersistentVolumeClaim") => confirmed,
            ("", "Namespace") => confirmed || is_leaving(object) || self.staying_in(&id.name, &held).is_none(),
            _ => true,
        }
    }

    /// Something in a namespace that does not go with the Application that holds these, and is neither anybody's
    /// dependent nor made by the system, nor going by itself.
    fn staying_in(&self, namespace: &str, held: &[ObjectId]) -> Option<usize> {
        (0..self.ids.len()).find(|at| {
            let (id, object) = (&self.ids[*at], self.object(*at));
            let usual = matches!(
                (id.kind.as_str(), id.name.as_str()),
                ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt") | ("Endpoints" | "Event", _)
            );
            let annotations = object.pointer("/metadata/annotations");
            let is_hook = annotations.is_some_and(|all| all.get(HOOK_RUN).is_some()) && label(object, LABEL).is_some();
            let is_it = |other: &ObjectId| same_object(other, id) && (other.uid.is_empty() || other.uid == id.uid);
            let is_kept = is_disabled(object) || prune::is_claim(id) && !prune::is_confirmed(object);
            id.namespace == namespace
                && !usual
                && !is_hook
                && !is_leaving(object)
                && list(object, "/metadata/ownerReferences").is_empty()
                && (is_kept || !held.iter().any(is_it))
        })
    }

    /// The owner it goes with: all of its owners go, or are gone.
    fn owner_that_goes(&self, at: usize) -> Option<usize> {
        let id = &self.ids[at];
        let (mut with, mut orphaned, mut is_left) = (None, None, false);
        for owner in list(self.object(at), "/metadata/ownerReferences") {
            let (api_version, kind) = (text(owner, "/apiVersion"), text(owner, "/kind"));
            if !self.cluster.served.contains(&(group(api_version).to_owned(), kind.to_owned())) {
                return None;
            }
            let Some(owner) = self.by_uid.get(text(owner, "/uid")).copied() else {
                is_left = true;
                continue;
            };
            let namespace = &self.ids[owner].namespace;
            if id.namespace.is_empty() && !namespace.is_empty() {
                return None;
            }
            if !namespace.is_empty() && *namespace != id.namespace {
                is_left = true;
                continue;
            }
            if !self.going.contains_key(&owner) {
                return None;
            }
            if self.orphans(owner) {
                orphaned = orphaned.or(Some(owner));
            } else {
                with = with.or(Some(owner));
            }
        }
        // Set free by that one, it has none but owners that are gone.
        with.or(orphaned.filter(|_| is_left))
    }

    fn told(&self) -> Preview {
        let foreign: HashMap<usize, Vec<String>> =
            self.order.iter().map(|at| (*at, foreign(self.object(*at)))).collect();
        let mut objects: Vec<Going> = self.order.iter().map(|at| self.going(*at, &foreign)).collect();
        let named = self.named.len();
        let key = |going: &Going| (going.id.namespace.clone(), going.id.kind.clone(), going.id.name.clone());
        objects[named..].sort_by_cached_key(key);
        let runs = |at: &usize| self.ids[*at].kind == "Pod" && !is_finished(self.object(*at));
        Preview {
            schema: SCHEMA,
            cascade: self.cascade,
            objects,
            data: self.data(),
            pods: self.order.iter().filter(|at| runs(at)).count(),
        }
    }

    fn going(&self, at: usize, foreign: &HashMap<usize, Vec<String>>) -> Going {
        let (object, id) = (self.object(at), self.ids[at].clone());
        let with = self.going.get(&at).copied().flatten();
        let is_pod = id.kind == "Pod" && id.api_version == "v1";
        let volumes = list(object, "/spec/volumes").iter().filter(|volume| volume.get("emptyDir").is_some());
        Going {
            with: with.map(|with| self.ids[with].clone()),
            host: if is_pod { text(object, "/spec/nodeName").to_owned() } else { String::new() },
            volumes: volumes.filter(|_| is_pod).map(|one| format!("emptyDir {}", text(one, "/name"))).collect(),
            finalizers: foreign.get(&at).cloned().unwrap_or_default(),
            waits_for: self.waits_for(at, foreign),
            stuck: self.stuck(at).unwrap_or_default(),
            made_again_by: self.maker(at),
            id,
        }
    }

    /// What has to be gone before it is.
    fn waits_for(&self, at: usize, foreign: &HashMap<usize, Vec<String>>) -> Vec<ObjectId> {
        let id = &self.ids[at];
        let mut waits: Vec<usize> = Vec::new();
        let is_held = |at: usize| foreign.get(&at).is_some_and(|held| !held.is_empty());
        // Owners that nobody deletes in the foreground go first, whoever holds them.
        let mut below = self.going.get(&at).copied().flatten();
        while let Some(owner) = below {
            if self.cascade != Cascade::Foreground && is_held(owner) && !self.orphans(owner) {
                waits.push(owner);
            }
            below = self.going.get(&owner).copied().flatten();
        }
        // What is in it, or is to go first.
        let goes_first = |other: &usize| {
            let owners = list(self.object(*other), "/metadata/ownerReferences").iter();
            let blocks =
                owners.clone().any(|owner| text(owner, "/uid") == id.uid && owner["blockOwnerDeletion"] == true);
            let foreground = self.cascade == Cascade::Foreground && self.named.contains(&at) && blocks;
            is_held(*other) && (foreground || self.holds(at, &self.ids[*other], self.object(*other)))
        };
        waits.extend(self.order.iter().filter(|other| **other != at && goes_first(other)));
        // Who uses a claim, and the claim of a volume.
        let stays = (0..self.ids.len()).filter(|other| !self.going.contains_key(other));
        waits.extend(stays.filter(|other| match (id.kind.as_str(), self.ids[*other].kind.as_str()) {
            ("PersistentVolumeClaim", "Pod") => {
                let pod = self.object(*other);
                self.ids[*other].namespace == id.namespace
                    && !text(pod, "/spec/nodeName").is_empty()
                    && !is_finished(pod)
                    && list(pod, "/spec/volumes")
                        .iter()
                        .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == id.name)
            }
            ("PersistentVolume", "PersistentVolumeClaim") => text(self.object(*other), "/spec/volumeName") == id.name,
            _ => false,
        }));
        waits.into_iter().map(|at| self.ids[at].clone()).collect()
    }

    /// Its controller, or the Application that has it in its source, where that stays.
    fn maker(&self, at: usize) -> Option<ObjectId> {
        let (id, object) = (&self.ids[at], self.object(at));
        let stays = |at: &usize| !self.going.contains_key(at) && !is_leaving(self.object(*at));
        let owner = list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
        let owner = owner.and_then(|owner| self.by_uid.get(text(owner, "/uid")).copied());
        if let Some(owner) = owner {
            let makes = MAKERS.contains(&self.ids[owner].kind.as_str()) && !is_finished(object);
            return Some(owner).filter(|owner| makes && stays(owner)).map(|owner| self.ids[owner].clone());
        }
        let label = label(object, LABEL)?;
        let has = |at: &usize| self.ids[*at].name == label && stays(at);
        let application = self.applications.keys().copied().find(has)?;
        let app = self.applications.get(&application)?;
        let makes = !app.spec.suspend && app.corrects_drift() && app.held().iter().any(|held| same_object(held, id));
        makes.then(|| self.ids[application].clone())
    }

    /// Claims with a volume: those that go, and those that outlive their StatefulSet.
    fn data(&self) -> Vec<Data> {
        let claims = (0..self.ids.len()).filter(|at| {
            let id = &self.ids[*at];
            id.kind == "PersistentVolumeClaim" && id.api_version == "v1"
        });
        let mut data: Vec<Data> = claims.filter_map(|at| self.data_of(at)).collect();
        data.sort_by(|a, b| a.claim.cmp(&b.claim));
        data
    }

    fn data_of(&self, at: usize) -> Option<Data> {
        let (id, claim) = (&self.ids[at], self.object(at));
        let name = Some(text(claim, "/spec/volumeName")).filter(|name| !name.is_empty())?;
        let is_it = |volume: &&Value| volume["kind"] == "PersistentVolume" && text(volume, "/metadata/name") == name;
        let volume = self.cluster.objects.iter().find(is_it).unwrap_or(&Value::Null);
        let policy = text(volume, "/spec/persistentVolumeReclaimPolicy");
        let (fate, reason) = if self.going.contains_key(&at) {
            match policy {
                "Retain" => ("kept", "the claim goes, the volume stays with the data".to_owned()),
                _ => ("deleted", "it goes with its claim".to_owned()),
            }
        } else {
            let set = self.order.iter().find(|set| has_claim(self.object(**set), id))?;
            ("kept", format!("it outlives StatefulSet {}", self.ids[*set].name))
        };
        let sizes = [text(volume, "/spec/capacity/storage"), text(claim, "/status/capacity/storage")];
        let size = sizes.into_iter().find(|size| !size.is_empty()).unwrap_or_default();
        let (volume, size, reclaim_policy) = (name.to_owned(), size.to_owned(), policy.to_owned());
        Some(Data { claim: id.clone(), fate, volume, size, reclaim_policy, reason })
    }
}

/// Whether a claim is one of a StatefulSet's pods', by its name.
fn has_claim(set: &Value, claim: &ObjectId) -> bool {
    let (namespace, name) = (text(set, "/metadata/namespace"), text(set, "/metadata/name"));
    let is_of = |template: &Value| {
        let rest = claim.name.strip_prefix(&format!("{}-{name}-", text(template, "/metadata/name")));
        rest.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    set["kind"] == "StatefulSet"
        && namespace == claim.namespace
        && list(set, "/spec/volumeClaimTemplates").iter().any(is_of)
}

fn foreign(object: &Value) -> Vec<String> {
    let all = list(object, "/metadata/finalizers").iter().filter_map(Value::as_str);
    all.filter(|name| !OWN.contains(name)).map(str::to_owned).collect()
}

fn is_application(object: &Value) -> bool {
    object["kind"] == "Application" && group(text(object, "/apiVersion")) == "selkie.dev"
}

fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn is_disabled(object: &Value) -> bool {
    prune::annotation(object) == Some("disabled")
}

fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

fn is_leaving(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

#[cfg(test)]
mod tests;
