//! Which pods belong together when they say nothing of spreading themselves: those that the Services and the
//! controller of a pod select. Source: Kubernetes' helper DefaultSelector.

use super::topology::{Clause, Labels, Selection};
use crate::api::selector::LabelSelector;
use crate::client::{Change, Kind, ObjectKey};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Typed;
use std::collections::{BTreeSet, HashMap};

/// Kept up to date by changes.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    /// By namespace.
    services: HashMap<String, Services>,
    /// What each controller selects, by its apiVersion, kind and name.
    controllers: HashMap<(String, String, ObjectKey), Typed>,
}

/// The Services of a namespace that ask for labels; those that ask for none add nothing to what others ask for.
///
/// Found by one label of each, the rarest when it came: a pod asks about few of thousands.
#[derive(Clone, Debug, Default)]
struct Services {
    /// By a label's name and value, and by the Services' names.
    by_label: HashMap<String, HashMap<String, HashMap<String, Labels>>>,
    /// The label that each is found by.
    places: HashMap<String, (String, String)>,
}

impl Services {
    fn insert(&mut self, name: &str, labels: Labels) {
        self.remove(name);
        let count =
            |key: &str, value: &str| self.by_label.get(key).and_then(|all| all.get(value)).map_or(0, HashMap::len);
        let Some((key, value)) = labels.iter().min_by_key(|(key, value)| count(key, value)) else { return };
        let place = (key.clone(), value.clone());
        let there = self.by_label.entry(place.0.clone()).or_default().entry(place.1.clone()).or_default();
        there.insert(name.to_owned(), labels);
        self.places.insert(name.to_owned(), place);
    }

    fn remove(&mut self, name: &str) {
        let Some((key, value)) = self.places.remove(name) else { return };
        let Some(values) = self.by_label.get_mut(&key) else { return };
        if let Some(there) = values.get_mut(&value) {
            there.remove(name);
            if there.is_empty() {
                values.remove(&value);
            }
        }
        if values.is_empty() {
            self.by_label.remove(&key);
        }
    }

    /// What those ask for that select a pod with these labels.
    fn selecting<'a>(&'a self, pod: &'a Labels) -> impl Iterator<Item = &'a Labels> {
        let near = pod.iter().filter_map(|(key, value)| self.by_label.get(key)?.get(value)).flat_map(HashMap::values);
        near.filter(|labels| labels.iter().all(|(key, value)| pod.get(key) == Some(value)))
    }
}

/// Something that selects the pods that it makes.
pub trait Controller: Kind {
    fn selector(&self) -> Option<Typed>;
}

impl Controller for ReplicaSet {
    fn selector(&self) -> Option<Typed> {
        self.spec.as_ref().map(|spec| spec.selector.clone())
    }
}

impl Controller for StatefulSet {
    fn selector(&self) -> Option<Typed> {
        self.spec.as_ref().map(|spec| spec.selector.clone())
    }
}

impl Controller for ReplicationController {
    fn selector(&self) -> Option<Typed> {
        let labels = self.spec.as_ref()?.selector.clone()?;
        Some(Typed { match_labels: Some(labels), match_expressions: None })
    }
}

impl Selectors {
    pub fn see_service(&mut self, change: &Change<Service>) {
        let ObjectKey { namespace, name } = ObjectKey::of(&**change.object());
        let selector = change.object().spec.as_ref().and_then(|spec| spec.selector.clone());
        let services = self.services.entry(namespace.to_string()).or_default();
        match selector.filter(|_| !matches!(change, Change::Deleted(_))) {
            Some(selector) => services.insert(&name, selector),
            None => services.remove(&name),
        }
        if services.places.is_empty() {
            self.services.remove(&*namespace);
        }
    }

    pub fn see_controller<K: Controller>(&mut self, change: &Change<K>) {
        let key = (K::api_version(&()).into_owned(), K::kind(&()).into_owned(), ObjectKey::of(&**change.object()));
        match change.object().selector().filter(|_| !matches!(change, Change::Deleted(_))) {
            Some(selector) => drop(self.controllers.insert(key, selector)),
            None => drop(self.controllers.remove(&key)),
        }
    }

    /// The pods that belong with this one; `None` if nothing selects it.
    pub fn around(&self, pod: &Pod) -> Option<Selection> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let own = pod.metadata.labels.clone().unwrap_or_default();
        let services = self.services.get(namespace).into_iter().flat_map(|services| services.selecting(&own));
        let labels: Labels = services.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let controller = owner.and_then(|owner| {
            let key = ObjectKey::new(namespace, &owner.name);
            self.controllers.get(&(owner.api_version.clone(), owner.kind.clone(), key))
        });
        let merged = Typed { match_labels: Some(labels), match_expressions: None };
        let clause = |selector: &Typed| {
            let labels = LabelSelector::from_typed(Some(selector));
            let namespaces = BTreeSet::from([namespace.to_owned()]);
            (!labels.is_everything()).then_some(Clause { namespaces, like: None, labels })
        };
        let selection: Selection = [Some(&merged), controller].into_iter().flatten().filter_map(clause).collect();
        (!selection.is_empty()).then_some(selection)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scheduler::topology::Group;
    use proptest::prelude::*;
    use serde_json::{Value, from_value, json};
    use std::sync::Arc;

    fn service(name: &str, selector: &Value) -> Service {
        let meta = json!({"name": name, "namespace": "default"});
        from_value(json!({"metadata": meta, "spec": {"selector": selector}})).unwrap()
    }

    fn set(name: &str, app: &str) -> ReplicaSet {
        let selector = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": [app]}]});
        from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"selector": selector}})).unwrap()
    }

    /// `owner`: kind and name of the controller.
    fn pod(labels: &Value, owner: Option<(&str, &str)>) -> Pod {
        let owner = owner.map(
            |(kind, name)| json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true}),
        );
        let meta = json!({"name": "p", "namespace": "default", "labels": labels, "ownerReferences": owner.into_iter().collect::<Vec<_>>()});
        from_value(json!({"metadata": meta})).unwrap()
    }

    fn are_together(selectors: &Selectors, pod: &Pod, other: &Value) -> bool {
        let (group, none) = (Group::of(&self::pod(other, None)), HashMap::new());
        selectors.around(pod).is_some_and(|all| all.iter().all(|clause| clause.selects(&group, &none)))
    }

    /// Labels of few names and values.
    fn few() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("[abc]", "[xy]", 0..4)
    }

    proptest! {
        /// However Services come, change and go, those are found that select the pod.
        #[test]
        fn services_are_found_by_any_of_their_labels(
            changes in prop::collection::vec(("[1-6]", prop::option::of(few())), 0..20),
            pod in few(),
        ) {
            let (mut services, mut all) = (Services::default(), std::collections::BTreeMap::new());
            for (name, labels) in changes {
                match labels {
                    Some(labels) => {
                        services.insert(&name, labels.clone());
                        all.insert(name, labels);
                    }
                    None => {
                        services.remove(&name);
                        all.remove(&name);
                    }
                }
            }
            let selects = |labels: &&Labels| !labels.is_empty() && labels.iter().all(|(key, value)| pod.get(key) == Some(value));
            let mut expected: Vec<&Labels> = all.values().filter(selects).collect();
            let mut found: Vec<&Labels> = services.selecting(&pod).collect();
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
            all.keys().for_each(|name| services.remove(name));
            prop_assert!(services.by_label.is_empty() && services.places.is_empty());
        }
    }

    #[test]
    fn pods_belong_with_those_that_all_their_services_and_their_controller_select() {
        let mut selectors = Selectors::default();
        let web = json!({"app": "web", "tier": "front", "track": "new"});
        let owned = pod(&web, Some(("ReplicaSet", "web")));
        assert_eq!(selectors.around(&owned), None, "nothing selects it");
        selectors.see_controller(&Change::Added(Arc::new(set("web", "web"))));
        assert!(are_together(&selectors, &owned, &json!({"app": "web"})));
        assert!(!are_together(&selectors, &owned, &json!({"app": "db"})));
        for one in [
            service("tier", &json!({"tier": "front"})),
            service("other", &json!({"tier": "back"})),
            service("none", &Value::Null),
        ] {
            selectors.see_service(&Change::Added(Arc::new(one)));
        }
        assert!(!are_together(&selectors, &owned, &json!({"app": "web"})), "a Service asks for more");
        assert!(are_together(&selectors, &owned, &json!({"app": "web", "tier": "front"})));
        let job = pod(&web, Some(("Job", "web")));
        assert!(are_together(&selectors, &job, &json!({"tier": "front"})), "of other controllers only Services count");
        let track = Arc::new(service("track", &json!({"track": "new"})));
        selectors.see_service(&Change::Added(track.clone()));
        assert!(!are_together(&selectors, &job, &json!({"tier": "front"})), "both of them");
        selectors.see_service(&Change::Deleted(track));
        assert!(are_together(&selectors, &job, &json!({"tier": "front"})));
        selectors.see_service(&Change::Deleted(Arc::new(service("tier", &json!({"tier": "front"})))));
        assert_eq!(selectors.around(&job), None);
    }
}
