//! What the server has, as far as a deletion may have to do with it.

use super::preview::Cluster;
use crate::cli::CliError;
use crate::cli::objects::{items, typed};
use crate::cli::resources::Known;
use crate::gitops::render::group;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;

/// Lists that are read at once.
const AT_ONCE: usize = 8;

/// Reads every object once, whatever versions its kind is served in. Events tell of others, and are no loss.
pub async fn cluster(client: &kube::Client, known: &[Known]) -> Result<Cluster, CliError> {
    let key = |one: &Known| (group(&one.api.api_version).to_owned(), one.api.kind.clone());
    let mut seen = HashSet::new();
    let stored = known.iter().filter(|one| one.is_stored() && one.api.kind != "Event");
    let first: Vec<&Known> = stored.filter(|one| seen.insert(key(one))).collect();
    let list = |one: Known| async move {
        let found = items(client, &one.path(None)).await?;
        Ok::<_, CliError>(found.into_iter().map(|object| typed(object, &one.api.api_version, &one.api.kind)).collect())
    };
    let lists = futures::stream::iter(first.into_iter().cloned()).map(list).buffered(AT_ONCE);
    let found: Vec<Vec<_>> = lists.try_collect().await?;
    Ok(Cluster { objects: found.into_iter().flatten().collect(), served: known.iter().map(key).collect() })
}
