//! Which static pods to make and which to delete. Pure.

use super::SOURCE;
use super::files::Found;
use crate::api::kinds::pod::MIRROR;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Says which file a pod was made of: not one of Kubernetes' own.
pub const FILE: &str = "selkie.dev/manifest-file";
pub const HASH: &str = "kubernetes.io/config.hash";

/// The host that runs them.
#[derive(Clone, Debug)]
pub struct Owner {
    pub node: String,
    pub uid: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create(Value),
    Delete(Arc<Pod>),
}

impl Step {
    /// `NAMESPACE/NAME`
    pub fn name(&self) -> String {
        let (namespace, name) = match self {
            Self::Create(pod) => (pod["metadata"]["namespace"].as_str(), pod["metadata"]["name"].as_str()),
            Self::Delete(pod) => (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref()),
        };
        format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
    }
}

/// Namespace and name.
pub type Key = (String, String);

/// What manifests ask for.
#[derive(Debug, Default)]
pub struct Wanted {
    pub pods: BTreeMap<Key, Value>,
    pub clashes: Vec<Clash>,
}

/// Two files name one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Clash {
    /// `NAMESPACE/NAME`
    pub pod: String,
    /// Its pod is, or will be, there.
    pub kept: PathBuf,
    pub ignored: PathBuf,
}

/// The pods that a host is to have. Of several files that name one pod the first has it: the one that it runs of, as long
/// as it names it, or else the first by name. Kubernetes' kubelet starts none of the others before that has ended.
pub fn wanted(found: &Found, shown: &[Arc<Pod>], owner: &Owner) -> Wanted {
    let mut by_key: BTreeMap<Key, Vec<(&Path, Value)>> = BTreeMap::new();
    for (file, pod) in &found.pods {
        let pod = complete(pod, file, owner);
        by_key.entry(key(&pod)).or_default().push((file, pod));
    }
    let mut wanted = Wanted::default();
    for (key, mut files) in by_key {
        let runs = shown.iter().filter(|pod| annotation(pod, MIRROR).is_some()).find(|pod| key_of(pod) == key);
        let source = runs.and_then(|pod| annotation(pod, FILE)).map(Path::new);
        let at = files.iter().position(|(file, _)| Some(*file) == source);
        // Whether the file that cannot be read still names it is not known.
        let unknown = source.filter(|file| at.is_none() && found.is_unknown(file));
        let kept = match unknown {
            Some(file) => file,
            None => {
                let (file, pod) = files.remove(at.unwrap_or(0));
                wanted.pods.insert(key.clone(), pod);
                file
            }
        };
        let clash = |(file, _): (&Path, Value)| Clash {
            pod: format!("{}/{}", key.0, key.1),
            kept: kept.to_owned(),
            ignored: file.to_owned(),
        };
        wanted.clashes.extend(files.into_iter().map(clash));
    }
    wanted
}

/// What brings the pods of a host to what its manifests say. A pod whose manifest changed goes first; once it is gone
/// the new one is made. Pods of a file that cannot be read stay.
pub fn steps(found: &Found, wanted: &Wanted, shown: &[Arc<Pod>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut there = BTreeSet::new();
    for pod in shown.iter().filter(|pod| annotation(pod, MIRROR).is_some()) {
        let key = key_of(pod);
        let unknown = annotation(pod, FILE).is_some_and(|file| found.is_unknown(Path::new(file)));
        let as_wanted = match wanted.pods.get(&key) {
            Some(wanted) => annotation(pod, HASH) == hash_of(wanted),
            None => unknown,
        };
        if !as_wanted && pod.metadata.deletion_timestamp.is_none() {
            steps.push(Step::Delete(pod.clone()));
        }
        there.insert(key);
    }
    let missing = wanted.pods.iter().filter(|(key, _)| !there.contains(*key));
    steps.extend(missing.map(|(_, pod)| Step::Create(pod.clone())));
    steps
}

/// Which manifest a pod is to be of.
pub fn hash_of(wanted: &Value) -> Option<&str> {
    wanted["metadata"]["annotations"][HASH].as_str()
}

pub fn key_of(pod: &Pod) -> Key {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

/// The pod that shows a static pod, as Kubernetes' kubelet makes it.
fn complete(manifest: &Value, file: &Path, owner: &Owner) -> Value {
    let mut pod = manifest.clone();
    let hash = hash(manifest, owner);
    let name = format!("{}-{}", manifest["metadata"]["name"].as_str().unwrap_or_default(), owner.node);
    let meta = object(&mut pod, "metadata");
    for name in ["uid", "resourceVersion", "generation", "creationTimestamp", "generateName"] {
        meta.remove(name);
    }
    meta.insert("name".into(), name.into());
    if meta.get("namespace").and_then(Value::as_str).is_none_or(str::is_empty) {
        meta.insert("namespace".into(), "default".into());
    }
    let reference =
        json!([{"apiVersion": "v1", "kind": "Node", "name": owner.node, "uid": owner.uid, "controller": true}]);
    meta.insert("ownerReferences".into(), reference);
    let file = file.display().to_string();
    let annotations = [(HASH, hash.as_str()), (MIRROR, hash.as_str()), (SOURCE, "file"), (FILE, file.as_str())];
    let all = object(meta.entry("annotations").or_insert(Value::Null), "");
    all.extend(annotations.map(|(name, value)| (name.to_owned(), Value::from(value))));
    let spec = object(&mut pod, "spec");
    spec.insert("nodeName".into(), owner.node.clone().into());
    // It runs there whatever becomes of the host.
    let anything = json!({"operator": "Exists", "effect": "NoExecute"});
    match spec.get_mut("tolerations").and_then(Value::as_array_mut) {
        Some(list) => list.push(anything),
        None => drop(spec.insert("tolerations".into(), json!([anything]))),
    }
    object(&mut pod, "").remove("status");
    pod
}

/// The object at a field of an object, or the value itself; another value makes way for it.
fn object<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let value = if field.is_empty() { value } else { &mut value[field] };
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

/// Of what the manifest says, for this host: another one needs another pod.
fn hash(manifest: &Value, owner: &Owner) -> String {
    let digest = Sha256::digest(json!([manifest, owner.node, owner.uid]).to_string());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn key(pod: &Value) -> Key {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

pub fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{steps as planned, *};

    fn owner() -> Owner {
        Owner { node: "h1".into(), uid: "n".into() }
    }

    fn found(pods: &[(&str, &str)]) -> Found {
        let pod = |(name, image): &(&str, &str)| {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"containers": [{"name": "c", "image": image}]}});
            (PathBuf::from(format!("/m/{name}.yaml")), pod)
        };
        Found { pods: pods.iter().map(pod).collect(), ..Found::default() }
    }

    fn steps(found: &Found, shown: &[Arc<Pod>], owner: &Owner) -> Vec<Step> {
        planned(found, &wanted(found, shown, owner), shown)
    }

    /// What the API holds once these steps are done.
    fn made(steps: &[Step]) -> Vec<Arc<Pod>> {
        let pods = steps.iter().map(|step| match step {
            Step::Create(pod) => Arc::new(serde_json::from_value(pod.clone()).unwrap()),
            Step::Delete(pod) => panic!("deleted {pod:?}"),
        });
        pods.collect()
    }

    fn names(steps: &[Step]) -> Vec<(bool, String)> {
        steps.iter().map(|step| (matches!(step, Step::Create(_)), step.name())).collect()
    }

    #[test]
    fn a_manifest_becomes_a_pod_of_its_host() {
        let steps = steps(&found(&[("web", "i:1")]), &[], &owner());
        let [Step::Create(pod)] = steps.as_slice() else { panic!("{steps:?}") };
        let meta = &pod["metadata"];
        assert_eq!((&meta["name"], &meta["namespace"]), (&json!("web-h1"), &json!("default")));
        assert_eq!(meta["annotations"][SOURCE], "file");
        assert_eq!(meta["annotations"][FILE], "/m/web.yaml");
        assert_eq!(meta["annotations"][MIRROR], meta["annotations"][HASH]);
        assert_eq!(meta["ownerReferences"][0]["uid"], "n");
        assert_eq!(pod["spec"]["nodeName"], "h1");
        assert_eq!(pod["spec"]["tolerations"], json!([{"operator": "Exists", "effect": "NoExecute"}]));
    }

    #[test]
    fn pods_follow_their_manifests() {
        let both = found(&[("db", "i:1"), ("web", "i:1")]);
        let shown = made(&steps(&both, &[], &owner()));
        assert_eq!(steps(&both, &shown, &owner()), []);
        let changed = found(&[("db", "i:1"), ("web", "i:2")]);
        let deleted = |name: &str| (false, format!("default/{name}-h1"));
        assert_eq!(names(&steps(&changed, &shown, &owner())), [deleted("web")]);
        assert_eq!(names(&steps(&changed, &shown[..1], &owner())), [(true, "default/web-h1".to_owned())]);
        assert_eq!(names(&steps(&found(&[]), &shown, &owner())), [deleted("db"), deleted("web")]);
        let mut leaving = Pod::clone(&shown[1]);
        leaving.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(steps(&changed, &[shown[0].clone(), Arc::new(leaving)], &owner()), [], "it is on its way out");
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let shown = made(&steps(&found(&[("db", "i:1"), ("web", "i:1")]), &[], &owner()));
        let mut broken = found(&[("db", "i:1")]);
        broken.broken.push(("/m/web.yaml".into(), "torn".into()));
        assert_eq!(steps(&broken, &shown, &owner()), []);
        let away = Found { blind: true, ..Found::default() };
        assert_eq!(steps(&away, &shown, &owner()), []);
    }

    #[test]
    fn of_two_files_that_name_one_pod_the_first_has_it() {
        let named = |file: &str, image: &str| {
            let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": image}]}});
            (PathBuf::from(format!("/m/{file}.yaml")), pod)
        };
        let of = |pods: &[(PathBuf, Value)]| Found { pods: pods.to_vec(), ..Found::default() };
        let clash = |kept: &str, ignored: &str| Clash {
            pod: "default/web-h1".into(),
            kept: format!("/m/{kept}.yaml").into(),
            ignored: format!("/m/{ignored}.yaml").into(),
        };
        let both = of(&[named("b", "i:1"), named("c", "i:2")]);
        assert_eq!(wanted(&both, &[], &owner()).clashes, [clash("b", "c")]);
        let shown = made(&steps(&both, &[], &owner()));
        assert_eq!(annotation(&shown[0], FILE), Some("/m/b.yaml"));
        // One that comes later does not take it over, whatever it is called.
        let three = of(&[named("a", "i:0"), named("b", "i:1"), named("c", "i:2")]);
        assert_eq!(wanted(&three, &shown, &owner()).clashes, [clash("b", "a"), clash("b", "c")]);
        assert_eq!(steps(&three, &shown, &owner()), []);
        // Nor while that of the pod cannot be read.
        let torn = Found { broken: vec![("/m/b.yaml".into(), "torn".into())], ..of(&[named("c", "i:2")]) };
        assert_eq!(wanted(&torn, &shown, &owner()).clashes, [clash("b", "c")]);
        assert_eq!(steps(&torn, &shown, &owner()), []);
        // Once its file is gone the next has its turn.
        let other = of(&[named("c", "i:2")]);
        assert_eq!(names(&steps(&other, &shown, &owner())), [(false, "default/web-h1".to_owned())]);
        assert_eq!(wanted(&other, &shown, &owner()).clashes, []);
    }

    #[test]
    fn pods_of_the_api_are_nobodys_business_here() {
        let mut own = Pod::default();
        own.metadata.name = Some("web-h1".into());
        own.metadata.namespace = Some("default".into());
        let steps = steps(&found(&[("web", "i:1")]), &[Arc::new(own)], &owner());
        assert_eq!(names(&steps), [(true, "default/web-h1".to_owned())], "the API says that there is one");
    }

    #[test]
    fn what_a_manifest_leaves_out_or_gets_wrong_is_no_trap() {
        let odd = Found {
            pods: vec![("/m/a.yaml".into(), json!({"metadata": {"name": "a", "annotations": 3}, "spec": []}))],
            ..Found::default()
        };
        assert_eq!(names(&steps(&odd, &[], &owner())), [(true, "default/a-h1".to_owned())]);
    }
}
