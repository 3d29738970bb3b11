//! Specs that are not read again while they stay as they are: most of a pod or a set, and most of what is written
//! to one changes only its status.

use super::Kind;
use crate::api::access;
use crate::base::json;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// What tells one text of a spec from others: with a key that nobody knows, so that nobody can make two texts
/// that count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print(u64);

/// Reads objects of one kind. Prints of clones can be compared.
#[derive(Clone)]
pub(super) struct Reader {
    key: RandomState,
}

/// An object as it was read, and its spec's text if that may stand for the spec.
pub(super) struct Read<K> {
    pub object: Arc<K>,
    pub print: Option<Print>,
}

impl<K> Clone for Read<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), print: self.print }
    }
}

impl Reader {
    pub fn new() -> Self {
        Self { key: RandomState::new() }
    }

    /// Of the text of an object that is known already, the print of its spec.
    pub fn print<K: Kind>(&self, text: &str) -> Option<Print> {
        if !has_specs::<K>() {
            return None;
        }
        json::find(text.as_bytes(), &["spec"]).map(|at| self.print_of(&text[at]))
    }

    fn print_of(&self, spec: &str) -> Print {
        Print(self.key.hash_one(spec))
    }

    /// Reads an object; `known` finds the one that this is a later state of. Who owns which fields, often the
    /// largest part, is not wanted, nor is the volume that all pods have.
    pub fn read<K: Kind>(
        &self,
        text: &str,
        known: impl FnOnce(&K) -> Option<Read<K>>,
    ) -> Result<Read<K>, serde_json::Error> {
        let bytes = text.as_bytes();
        let ownership = json::find(bytes, &["metadata", "managedFields"]);
        let spec = if has_specs::<K>() { json::find(bytes, &["spec"]) } else { None };
        let mut left_out: Vec<_> = ownership.into_iter().chain(spec.clone()).collect();
        left_out.sort_unstable_by_key(|at| at.start);
        let mut object: K = if left_out.is_empty() {
            serde_json::from_str(text)?
        } else {
            let mut rest = String::with_capacity(text.len());
            let mut from = 0;
            for at in left_out {
                rest.push_str(&text[from..at.start]);
                rest.push_str("null");
                from = at.end;
            }
            rest.push_str(&text[from..]);
            serde_json::from_str(&rest)?
        };
        object.meta_mut().managed_fields = None;
        let Some(spec) = spec.map(|at| &text[at]) else {
            return Ok(Read { object: Arc::new(object), print: None });
        };
        let print = self.print_of(spec);
        let known = known(&object).filter(|known| known.print == Some(print));
        put(&mut object, known.as_ref().map(|known| &*known.object), spec)?;
        Ok(Read { object: Arc::new(object), print: Some(print) })
    }
}

/// A kind with a spec that is worth it.
trait Specified: Any {
    type Spec: Clone + DeserializeOwned;

    fn spec(&self) -> Option<&Self::Spec>;
    fn set(&mut self, spec: Option<Self::Spec>);
    /// After the spec was read.
    fn trim_spec(&mut self) {}
    /// After the rest was read.
    fn trim_rest(&mut self) {}
}

/// Lists that were read have room for more, of statuses several times what they hold.
fn tighten(pod: &mut Pod) {
    pod.metadata.owner_references.iter_mut().for_each(Vec::shrink_to_fit);
    let Some(status) = &mut pod.status else { return };
    let statuses =
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses];
    statuses.into_iter().flatten().for_each(Vec::shrink_to_fit);
    status.conditions.iter_mut().for_each(Vec::shrink_to_fit);
    status.host_ips.iter_mut().for_each(Vec::shrink_to_fit);
    status.pod_ips.iter_mut().for_each(Vec::shrink_to_fit);
}

macro_rules! specified {
    ($($kind:ty: $spec:ty $(, $trim_spec:path, $trim_rest:path)?;)*) => {
        $(impl Specified for $kind {
            type Spec = $spec;

            fn spec(&self) -> Option<&$spec> {
                self.spec.as_ref()
            }

            fn set(&mut self, spec: Option<$spec>) {
                self.spec = spec;
            }

            $(fn trim_spec(&mut self) {
                $trim_spec(self);
            }

            fn trim_rest(&mut self) {
                $trim_rest(self);
            })?
        })*

        fn has_specs<K: Kind>() -> bool {
            let kind = std::any::TypeId::of::<K>();
            $(kind == std::any::TypeId::of::<$kind>())||*
        }

        /// Gives an object the spec that `known` has, or the one that is written in `text`.
        fn put<K: Kind>(object: &mut K, known: Option<&K>, text: &str) -> Result<(), serde_json::Error> {
            let object = object as &mut dyn Any;
            let known = known.map(|known| known as &dyn Any);
            $(if let Some(object) = object.downcast_mut::<$kind>() {
                return put_one(object, known.and_then(|known| known.downcast_ref()), text);
            })*
            Ok(())
        }
    };
}

specified! {
    Pod: k8s_openapi::api::core::v1::PodSpec, access::leave_out, tighten;
    Deployment: k8s_openapi::api::apps::v1::DeploymentSpec;
    ReplicaSet: k8s_openapi::api::apps::v1::ReplicaSetSpec;
    StatefulSet: k8s_openapi::api::apps::v1::StatefulSetSpec;
    DaemonSet: k8s_openapi::api::apps::v1::DaemonSetSpec;
    Job: k8s_openapi::api::batch::v1::JobSpec;
}

fn put_one<O: Specified>(object: &mut O, known: Option<&O>, text: &str) -> Result<(), serde_json::Error> {
    object.trim_rest();
    match known {
        Some(known) => object.set(known.spec().cloned()),
        None => {
            object.set(serde_json::from_str(text)?);
            object.trim_spec();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod(node: &str, phase: &str) -> String {
        let container = json!({"name": "c", "image": "i", "env": [{"name": "A", "value": "\"spec\":{}"}]});
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "p", "namespace": "n", "managedFields": [{"manager": "m"}], "uid": "u"},
            "spec": {"nodeName": node, "containers": [container], "volumes": [access::volume("kube-api-access-x")]},
            "status": {"phase": phase},
        })
        .to_string()
    }

    fn whole(text: &str) -> Pod {
        let mut pod: Pod = serde_json::from_str(text).unwrap();
        pod.metadata.managed_fields = None;
        access::leave_out(&mut pod);
        pod
    }

    #[test]
    fn a_spec_is_taken_over_while_its_text_stays() {
        let reader = Reader::new();
        let first: Read<Pod> = reader.read(&pod("a", "Pending"), |_| None).unwrap();
        assert_eq!(*first.object, whole(&pod("a", "Pending")));
        assert_eq!(reader.print::<Pod>(&pod("a", "Failed")), first.print);
        // One that can be told from what the text says.
        let mut marked = Pod::clone(&first.object);
        marked.spec.as_mut().unwrap().hostname = Some("taken over".into());
        let marked = Read { object: Arc::new(marked), print: first.print };
        let again: Read<Pod> = reader.read(&pod("a", "Running"), |_| Some(marked.clone())).unwrap();
        assert_eq!(again.object.spec, marked.object.spec);
        assert_eq!(again.object.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
        let moved: Read<Pod> = reader.read(&pod("b", "Running"), |_| Some(marked.clone())).unwrap();
        assert_eq!(*moved.object, whole(&pod("b", "Running")));
    }

    #[test]
    fn what_has_no_spec_and_what_does_not_fit_is_as_ever() {
        let reader = Reader::new();
        let read = |text: &str| reader.read::<Pod>(text, |_| None).map(|read| Pod::clone(&read.object));
        let bare = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}}).to_string();
        assert_eq!(read(&bare).unwrap(), whole(&bare));
        assert_eq!(read(&bare.replace("}}", "},\"spec\":null}")).unwrap(), whole(&bare));
        assert!(read(&pod("a", "Pending").replace("\"a\"", "7")).is_err());
        let claim = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c", "managedFields": []}});
        let read = reader.read::<k8s_openapi::api::core::v1::ConfigMap>(&claim.to_string(), |_| None).unwrap();
        assert!(read.print.is_none() && read.object.metadata.name.as_deref() == Some("c"));
    }
}
