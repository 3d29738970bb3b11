//! Whether the indexes that are done are enough for a Job's success policy.

use super::indexes;
use k8s_openapi::api::batch::v1::SuccessPolicy;
use std::collections::BTreeSet;

/// The place of the first rule that `completed` fulfils.
pub(super) fn matching(policy: &SuccessPolicy, completed: &BTreeSet<i32>, completions: i32) -> Option<usize> {
    policy.rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(|text| indexes::parse(text, completions));
        let enough =
            |have: usize| rule.succeeded_count.is_some_and(|count| i32::try_from(have).is_ok_and(|n| n >= count));
        match wanted {
            Some(wanted) if rule.succeeded_count.is_some() => enough(wanted.intersection(completed).count()),
            Some(wanted) => !wanted.is_empty() && wanted.is_subset(completed),
            None => enough(completed.len()),
        }
    })
}
