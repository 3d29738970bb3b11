//! Objects that left the source: which are deleted, and which stay and why.
//!
//! What cannot be made again from the source is not deleted unless that is asked for: a claim takes its
//! data with it, and a Namespace everything that others put into it.

use super::live::live;
use super::{Options, claims, contents};
use crate::api::changeset::ObjectId;
use crate::gitops::application::PRUNE;
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::{Held, Prune, inventory, prune};
use crate::gitops::render::{describe, same_object};
use serde_json::Value;

/// What becomes of them.
#[derive(Default)]
pub(super) struct Leaving {
    pub deletions: Vec<ObjectId>,
    /// They stay, and stay in the inventory: a later sync may delete them.
    pub kept: Vec<ObjectId>,
    /// Others have them now, or are about to.
    pub moved: Vec<ObjectId>,
    pub held: Option<Held>,
    /// Why, and what to do.
    pub warnings: Vec<String>,
}

/// Sorts what the inventory has and `desired` has not. What was `taken` is another's.
pub(super) async fn sort(
    client: &kube::Client,
    kinds: &dyn Kinds,
    desired: &[ObjectId],
    options: &Options,
    taken: &[ObjectId],
) -> Leaving {
    let mut leaving = Leaving { moved: taken.to_vec(), ..Leaving::default() };
    let mut gone = inventory::gone(&options.inventory, desired);
    gone.retain(|id| !taken.iter().any(|other| same_object(other, id)));
    claims::hand_over(&mut gone, options, &mut leaving);
    if options.prune && !options.delete_kept {
        for (id, why) in kept(client, kinds, &gone).await {
            leaving.warnings.push(format!("{} left the source and stays: {why}", describe(&id)));
            leaving.kept.push(id);
        }
    }
    let stays = |id: &ObjectId| leaving.kept.iter().chain(&leaving.moved).any(|other| same_object(other, id));
    let others: Vec<ObjectId> = options.inventory.iter().filter(|id| !stays(id)).cloned().collect();
    match prune::decide(&others, desired, options.prune, options.prune_confirmed) {
        Prune::Delete(ids) => {
            for id in ids {
                if live(client, kinds, &id).await.is_some_and(|object| is_disabled(&object)) {
                    let name = describe(&id);
                    leaving.warnings.push(format!("{name} left the source and stays: its annotation {PRUNE} says so"));
                } else {
                    leaving.deletions.push(id);
                }
            }
        }
        Prune::Hold { kept, why } => {
            if why != Held::Disabled {
                leaving.warnings.push(format!("{why}: not deleting {}", super::names(&kept)));
            }
            leaving.kept.extend(kept);
            leaving.held = Some(why);
        }
    }
    leaving
}

/// Those of `leaving` that are not deleted unless that is asked for, each with the reason and the way out.
pub(super) async fn kept(client: &kube::Client, kinds: &dyn Kinds, leaving: &[ObjectId]) -> Vec<(ObjectId, String)> {
    let mut kept = Vec::new();
    for id in leaving.iter().filter(|id| prune::is_claim(id)) {
        if let Some(object) = live(client, kinds, id).await
            && !prune::is_confirmed(&object)
            && !is_disabled(&object)
        {
            let ask = ask(&format!("-n {} pvc {}", id.namespace, id.name));
            kept.push((id.clone(), format!("its data would go with it (if that may go: {ask})")));
        }
    }
    for id in leaving.iter().filter(|id| prune::is_namespace(id)) {
        let Some(object) = live(client, kinds, id).await else { continue };
        let is_going = object.pointer("/metadata/deletionTimestamp").is_some();
        if is_going || prune::is_confirmed(&object) || is_disabled(&object) {
            continue;
        }
        let going: Vec<_> =
            leaving.iter().filter(|other| !kept.iter().any(|(kept, _)| same_object(kept, other))).collect();
        let ask = ask(&format!("namespace {}", id.name));
        match contents::staying(client, kinds, &id.name, &going).await {
            Ok(staying) if staying.is_empty() => {}
            Ok(staying) => {
                let what = super::names(&staying);
                let why = format!("it holds what does not leave with it: {what} (if all of that may go: {ask})");
                kept.push((id.clone(), why));
            }
            Err(error) => kept.push((id.clone(), format!("what it holds cannot be listed: {error}"))),
        }
    }
    kept
}

fn ask(what: &str) -> String {
    format!("kubectl annotate --overwrite {what} {PRUNE}=confirmed")
}

/// Whether an object says that no sync may delete it.
pub(super) fn is_disabled(object: &Value) -> bool {
    prune::annotation(object) == Some("disabled")
}
