//! What the server has, as far as a deletion may have to do with it.

use super::preview::Cluster;
use crate::api::changeset::ObjectId;
use crate::cli::CliError;
use crate::cli::objects::{items, typed};
use crate::cli::resources::Known;
use crate::gitops::render::group;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;

/// Lists that are read at once.
const AT_ONCE: usize = 8;

/// Reads every object once, whatever versions its kind is served in. Events tell of others, and are no loss: they are
/// read where one is named.
pub async fn cluster(client: &kube::Client, known: &[Known], named: &[ObjectId]) -> Result<Cluster, CliError> {
    let key = |one: &Known| (group(&one.api.api_version).to_owned(), one.api.kind.clone());
    let mut seen = HashSet::new();
    let read = known.iter().filter(|one| is_read(&one.api.api_version, &one.api.kind, one.is_stored(), named));
    let first: Vec<&Known> = read.filter(|one| seen.insert(key(one))).collect();
    let list = |one: Known| async move {
        let found = items(client, &one.path(None)).await?;
        Ok::<_, CliError>(found.into_iter().map(|object| typed(object, &one.api.api_version, &one.api.kind)).collect())
    };
    let lists = futures::stream::iter(first.into_iter().cloned()).map(list).buffered(AT_ONCE);
    let found: Vec<Vec<_>> = lists.try_collect().await?;
    Ok(Cluster { objects: found.into_iter().flatten().collect(), served: known.iter().map(key).collect() })
}

fn is_read(api_version: &str, kind: &str, is_stored: bool, named: &[ObjectId]) -> bool {
    let is_event = kind == "Event" && matches!(group(api_version), "" | "events.k8s.io");
    let is_named = |id: &ObjectId| group(&id.api_version) == group(api_version) && id.kind == kind;
    (is_stored && !is_event) || named.iter().any(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_where_one_is_named() {
        let id = |api_version: &str, kind: &str| ObjectId {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            ..ObjectId::default()
        };
        assert!(is_read("v1", "Pod", true, &[]) && !is_read("v1", "Binding", false, &[]));
        assert!(!is_read("v1", "Event", true, &[]) && !is_read("events.k8s.io/v1", "Event", true, &[]));
        assert!(is_read("example.org/v1", "Event", true, &[]), "another's kind of that name");
        assert!(is_read("v1", "Event", true, &[id("v1", "Event")]));
        assert!(!is_read("v1", "Event", true, &[id("example.org/v1", "Event")]));
        assert!(is_read("v1", "ComponentStatus", false, &[id("v1", "ComponentStatus")]));
    }
}
