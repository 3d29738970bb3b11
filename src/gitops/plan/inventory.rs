//! Which objects a sync left behind: what the next one may prune.

use crate::api::changeset::{ChangeAction, ChangeResult, ObjectId};
use crate::gitops::render::{Identity, identity};
use std::collections::{HashMap, HashSet};

/// Objects of `before` that the source no longer has.
pub fn gone(before: &[ObjectId], desired: &[ObjectId]) -> Vec<ObjectId> {
    let desired: HashSet<_> = desired.iter().map(identity).collect();
    before.iter().filter(|id| !desired.contains(&identity(id))).cloned().collect()
}

/// The inventory after a change set: what was applied with the uids it has now, and what was held
/// back from pruning, so that a later sync can still prune it.
pub fn after(before: &[ObjectId], results: &[ChangeResult], held: &[ObjectId]) -> Vec<ObjectId> {
    let applied =
        results.iter().filter(|result| !matches!(result.action, ChangeAction::Deleted | ChangeAction::Failed));
    let before: HashMap<_, _> = before.iter().map(|known| (identity(known), known)).collect();
    let mut ids: Vec<ObjectId> = applied.map(|result| with_uid(result, &before)).collect();
    let left: HashSet<_> = ids.iter().map(identity).collect();
    let held: Vec<_> = held.iter().filter(|id| !left.contains(&identity(id))).cloned().collect();
    ids.extend(held);
    ids.sort();
    ids.dedup();
    ids
}

fn with_uid(result: &ChangeResult, before: &HashMap<Identity<'_>, &ObjectId>) -> ObjectId {
    let mut id = result.id.clone();
    let stored = result.after.as_ref().and_then(|after| after.pointer("/metadata/uid")?.as_str());
    if let Some(uid) = stored {
        id.uid = uid.to_owned();
    } else if id.uid.is_empty()
        && let Some(known) = before.get(&identity(&result.id))
    {
        id.uid = known.uid.clone();
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(version: &str, name: &str, uid: &str) -> ObjectId {
        ObjectId {
            api_version: version.into(),
            kind: "Deployment".into(),
            namespace: "default".into(),
            name: name.into(),
            uid: uid.into(),
        }
    }

    #[test]
    fn another_version_of_the_same_object_is_not_gone() {
        let before = [id("apps/v1beta1", "a", "1"), id("apps/v1", "b", "2")];
        assert_eq!(gone(&before, &[id("apps/v1", "a", "")]), [id("apps/v1", "b", "2")]);
    }

    #[test]
    fn uids_come_from_the_result_or_stay_known() {
        let result = |name: &str, action, after| ChangeResult {
            id: id("apps/v1", name, ""),
            action,
            after,
            ..ChangeResult::default()
        };
        let results = [
            result("a", ChangeAction::Created, Some(json!({"metadata": {"uid": "new"}}))),
            result("b", ChangeAction::Unchanged, None),
            result("c", ChangeAction::Deleted, None),
        ];
        let before = [id("apps/v1", "b", "old"), id("apps/v1", "c", "3"), id("apps/v1", "d", "4")];
        let held = [id("apps/v1", "d", "4")];
        assert_eq!(
            after(&before, &results, &held),
            [id("apps/v1", "a", "new"), id("apps/v1", "b", "old"), id("apps/v1", "d", "4")]
        );
    }
}
