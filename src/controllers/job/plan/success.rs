//! Whether the indexes that are done are enough for a Job's success policy.

use super::indexes;
use k8s_openapi::api::batch::v1::SuccessPolicy;
use std::collections::BTreeSet;

/// The place of the first rule that `completed` fulfils.
pub(super) fn matching(policy: &SuccessPolicy, completed: &BTreeSet<i32>, completions: i32) -> Option<usize> {
    policy.rules.iter().position(|rule| {
        let (wanted, done) = match rule.succeeded_indexes.as_deref() {
            None => (None, completed.len() as i64),
            Some(text) => {
                let count = |(wanted, done), (first, last)| {
                    (
                        wanted + i64::from(last) - i64::from(first) + 1,
                        done + completed.range(first..=last).count() as i64,
                    )
                };
                let (wanted, done) = indexes::intervals(text, completions).fold((0, 0), count);
                (Some(wanted), done)
            }
        };
        match (rule.succeeded_count, wanted) {
            (Some(count), _) => done >= i64::from(count),
            (None, Some(wanted)) => wanted > 0 && done == wanted,
            (None, None) => false,
        }
    })
}
