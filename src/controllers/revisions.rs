//! ControllerRevisions: the past and present pod templates of StatefulSets and DaemonSets. Pure;
//! [`keeper`] writes them.
//!
//! The data of a revision is what `kubectl rollout undo` sends as a strategic merge patch.

pub mod keeper;

use super::claim::controller_of;
use super::deployment::template::{hash, same};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// The label of pods (and of a DaemonSet's revisions) that names their revision.
pub const HASH_LABEL: &str = "controller-revision-hash";
/// The label of a StatefulSet's revisions.
pub const HISTORY_LABEL: &str = "controller.kubernetes.io/hash";

/// A workload whose template is kept in revisions.
pub struct Source<'a> {
    pub owner: OwnerReference,
    pub meta: &'a ObjectMeta,
    pub template: &'a PodTemplateSpec,
    /// The label of its revisions that holds the hash.
    pub label: &'static str,
    /// `status.collisionCount`.
    pub collisions: Option<i32>,
}

/// What makes the current template the newest revision.
#[derive(Debug, Clone, PartialEq)]
pub enum Upkeep {
    /// It is already.
    Nothing(Arc<ControllerRevision>),
    /// It is a former one: it becomes the newest again, under this number.
    Renumber(Arc<ControllerRevision>, i64),
    Create(Box<ControllerRevision>),
}

/// Oldest first.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    let created = |one: &ControllerRevision| one.metadata.creation_timestamp.as_ref().map(|time| time.0);
    revisions
        .sort_by(|a, b| (a.revision, created(a), &a.metadata.name).cmp(&(b.revision, created(b), &b.metadata.name)));
}

/// `known` must be sorted.
pub fn upkeep(source: &Source, known: &[Arc<ControllerRevision>]) -> Upkeep {
    let next = known.last().map_or(1, |last| last.revision + 1);
    let equal = known.iter().rfind(|one| template(one).is_some_and(|template| same(&template, source.template)));
    match equal {
        Some(equal) if equal.revision + 1 == next => Upkeep::Nothing(equal.clone()),
        Some(equal) => Upkeep::Renumber(equal.clone(), next),
        None => Upkeep::Create(Box::new(new(source, next))),
    }
}

fn new(source: &Source, revision: i64) -> ControllerRevision {
    let hash = hash(source.template, source.collisions);
    let mut labels = source.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(source.label.into(), hash.clone());
    let mut template = serde_json::to_value(source.template).unwrap_or_default();
    template["$patch"] = json!("replace");
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", source.owner.name)),
            namespace: source.meta.namespace.clone(),
            labels: Some(labels),
            annotations: source.meta.annotations.clone(),
            owner_references: Some(vec![source.owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({ "spec": { "template": template } }))),
        revision,
    }
}

pub fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

/// The pods' template as it was then; `None` if the data is not of that form.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let data: &Value = &revision.data.as_ref()?.0;
    serde_json::from_value(data.pointer("/spec/template")?.clone()).ok()
}

/// Revisions beyond the history limit, oldest first. What is in `live` does not count.
pub fn expired(
    known: &[Arc<ControllerRevision>],
    live: &HashSet<&str>,
    limit: Option<i32>,
) -> Vec<Arc<ControllerRevision>> {
    let past: Vec<_> = known.iter().filter(|one| !live.contains(name(one))).collect();
    let excess = past.len().saturating_sub(limit.unwrap_or(10).max(0) as usize);
    past.into_iter().take(excess).cloned().collect()
}

/// Whether nobody controls it, and it holds this template.
fn is_free(revision: &ControllerRevision, wanted: &PodTemplateSpec) -> bool {
    controller_of(&revision.metadata).is_none() && template(revision).is_some_and(|template| same(&template, wanted))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::from_value;

    fn template_of(image: u8) -> PodTemplateSpec {
        from_value(json!({"metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": image.to_string()}]}}))
        .unwrap()
    }

    fn source<'a>(meta: &'a ObjectMeta, template: &'a PodTemplateSpec) -> Source<'a> {
        let owner = OwnerReference { name: "web".into(), uid: "u".into(), ..OwnerReference::default() };
        Source { owner, meta, template, label: HISTORY_LABEL, collisions: None }
    }

    fn apply(known: &mut Vec<Arc<ControllerRevision>>, upkeep: Upkeep) {
        match upkeep {
            Upkeep::Nothing(_) => {}
            Upkeep::Create(new) => known.push(Arc::new(*new)),
            Upkeep::Renumber(old, to) => {
                known.retain(|one| name(one) != name(&old));
                known.push(Arc::new(ControllerRevision { revision: to, ..(*old).clone() }));
            }
        }
        sort(known);
    }

    proptest! {
        /// However templates come and go, each has one revision, and the current one is the newest.
        #[test]
        fn one_revision_for_each_template(images in prop::collection::vec(0u8..4, 1..20)) {
            let (meta, mut known) = (ObjectMeta::default(), Vec::new());
            for image in &images {
                let current = template_of(*image);
                let next = upkeep(&source(&meta, &current), &known);
            apply(&mut known, next);
                let last = known.last().unwrap();
                prop_assert!(same(&template(last).unwrap(), &current));
                prop_assert!(matches!(upkeep(&source(&meta, &current), &known), Upkeep::Nothing(_)));
            }
            let different: HashSet<_> = images.iter().collect();
            prop_assert_eq!(known.len(), different.len());
        }
    }

    #[test]
    fn the_history_keeps_what_lives_and_the_newest_others() {
        let (meta, mut known) = (ObjectMeta::default(), Vec::new());
        for image in 0..5 {
            let current = template_of(image);
            let next = upkeep(&source(&meta, &current), &known);
            apply(&mut known, next);
        }
        let live = HashSet::from([name(&known[0]), name(&known[4])]);
        let doomed = expired(&known, &live, Some(1));
        assert_eq!(doomed, known[1..3].to_vec());
        assert_eq!(known[0].data.as_ref().unwrap().0["spec"]["template"]["$patch"], "replace");
    }
}
