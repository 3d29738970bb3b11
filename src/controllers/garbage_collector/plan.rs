//! Decides about one object: whether its owners still hold it, and what its own deletion waits for. Pure.

use super::graph::{Edge, FOREGROUND, ORPHAN};
use crate::controllers::objects::{Identity, Meta, Propagation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// What has become of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there and holds its dependents.
    Solid,
    /// It is being deleted in the foreground: it waits for its dependents to go.
    Waiting,
    /// The API server has no such object.
    Absent,
}

/// What the collector sees of an object.
pub struct Observed<'a> {
    pub meta: &'a Meta,
    /// Of each owner reference, in order.
    pub owners: &'a [Standing],
    /// Ordered.
    pub dependents: &'a [Edge],
    /// Whether one of the dependents is being deleted in the foreground itself: a circle.
    pub circular: bool,
}

/// The one thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Nothing,
    /// Take the object's reference off its dependents, then the finalizer off the object.
    Orphan(Vec<Identity>),
    /// The dependents that must go before the object may.
    Await(Vec<Identity>),
    /// Nothing holds the object any more: take this finalizer off.
    Release(&'static str),
    /// Some owners are gone, others hold it: only these references stay.
    Keep(Vec<OwnerReference>),
    /// First write these references, which block no owner: owner and dependent wait for each other.
    Unblock(Vec<OwnerReference>),
    Delete(Propagation),
}

pub fn plan(observed: &Observed) -> Action {
    let meta = observed.meta;
    if meta.is_terminating() {
        return leave(observed);
    }
    let with = |standing| observed.owners.contains(&standing);
    if meta.owner_references.is_empty() {
        return Action::Nothing;
    }
    if with(Standing::Solid) {
        if !with(Standing::Absent) && !with(Standing::Waiting) {
            return Action::Nothing;
        }
        let all = meta.owner_references.iter().zip(observed.owners);
        return Action::Keep(all.filter(|(_, is)| **is == Standing::Solid).map(|(owner, _)| owner.clone()).collect());
    }
    if with(Standing::Waiting) && !observed.dependents.is_empty() {
        let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
        if observed.circular && meta.owner_references.iter().any(blocks) {
            let free = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
            return Action::Unblock(meta.owner_references.iter().map(free).collect());
        }
        return Action::Delete(Propagation::Foreground);
    }
    // A finalizer that is there already says how the object's deletion was meant.
    Action::Delete(match (meta.has_finalizer(ORPHAN), meta.has_finalizer(FOREGROUND)) {
        (true, _) => Propagation::Orphan,
        (false, true) => Propagation::Foreground,
        (false, false) => Propagation::Background,
    })
}

fn leave(observed: &Observed) -> Action {
    let dependents = || observed.dependents.iter().map(|edge| edge.dependent.clone()).collect::<Vec<_>>();
    if observed.meta.has_finalizer(ORPHAN) {
        return match observed.dependents.is_empty() {
            true => Action::Release(ORPHAN),
            false => Action::Orphan(dependents()),
        };
    }
    if !observed.meta.has_finalizer(FOREGROUND) {
        return Action::Nothing;
    }
    match observed.dependents.iter().any(|edge| edge.blocks) {
        true => Action::Await(dependents()),
        // Dependents that block nothing are found ownerless once the object is gone.
        false => Action::Release(FOREGROUND),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::controllers::objects::Resource;
    use std::sync::Arc;

    fn meta(owners: usize, terminating: bool, finalizers: &[&str]) -> Meta {
        let owner = |index| OwnerReference {
            uid: format!("owner{index}"),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        };
        Meta {
            uid: "self".into(),
            deletion_timestamp: terminating.then(|| "2024-01-01T00:00:00Z".into()),
            finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
            owner_references: (0..owners).map(owner).collect(),
            ..Meta::default()
        }
    }

    fn edge(blocks: bool) -> Edge {
        let resource =
            Resource { api_version: "v1".into(), plural: "pods".into(), kind: "Pod".into(), namespaced: true };
        let dependent =
            Meta { name: "d".into(), uid: "dependent".into(), ..Meta::default() }.identity(&Arc::new(resource));
        Edge { dependent, blocks }
    }

    fn decide(meta: &Meta, owners: &[Standing], dependents: &[Edge]) -> Action {
        plan(&Observed { meta, owners, dependents, circular: false })
    }

    #[test]
    fn owners_hold_their_dependents() {
        use Standing::{Absent, Solid, Waiting};
        let two = meta(2, false, &[]);
        assert_eq!(decide(&meta(0, false, &[]), &[], &[]), Action::Nothing);
        assert_eq!(decide(&two, &[Solid, Solid], &[]), Action::Nothing);
        assert_eq!(decide(&two, &[Absent, Solid], &[]), Action::Keep(vec![two.owner_references[1].clone()]));
        assert_eq!(decide(&two, &[Absent, Absent], &[]), Action::Delete(Propagation::Background));
        assert_eq!(decide(&two, &[Absent, Waiting], &[]), Action::Delete(Propagation::Background));
        assert_eq!(decide(&two, &[Absent, Waiting], &[edge(true)]), Action::Delete(Propagation::Foreground));
        let orphaning = meta(1, false, &[ORPHAN]);
        assert_eq!(decide(&orphaning, &[Absent], &[]), Action::Delete(Propagation::Orphan));
    }

    #[test]
    fn deletions_wait_for_dependents_as_asked() {
        let dependent = || vec![edge(true).dependent];
        assert_eq!(decide(&meta(1, true, &[]), &[Standing::Absent], &[]), Action::Nothing);
        assert_eq!(decide(&meta(0, true, &[FOREGROUND]), &[], &[edge(true)]), Action::Await(dependent()));
        assert_eq!(decide(&meta(0, true, &[FOREGROUND]), &[], &[edge(false)]), Action::Release(FOREGROUND));
        assert_eq!(decide(&meta(0, true, &[ORPHAN]), &[], &[edge(true)]), Action::Orphan(dependent()));
        assert_eq!(decide(&meta(0, true, &[ORPHAN]), &[], &[]), Action::Release(ORPHAN));
    }

    #[test]
    fn circles_are_opened() {
        let one = meta(1, false, &[]);
        let circle = Observed { meta: &one, owners: &[Standing::Waiting], dependents: &[edge(true)], circular: true };
        let Action::Unblock(references) = plan(&circle) else { panic!("not opened") };
        assert_eq!(references[0].block_owner_deletion, Some(false));
    }
}
