//! Removes the volumes of claims that are gone from this host, where their policy is `Delete`.

use crate::base::backoff::Backoff;
use crate::base::told::Told;
use crate::controllers::volume_binder::{matching, provision};
use crate::kubelet::host::Host;
use crate::kubelet::volumes::removal;
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};

/// A container may still have it, or the host does not answer.
const AGAIN: Backoff = Backoff { base: Duration::from_secs(5), max: Duration::from_secs(60) };

/// Runs until shutdown.
pub async fn run(host: Arc<Host>) {
    let volumes = host.ctx.informers.of::<PersistentVolume>();
    volumes.synced().await;
    let changed = Arc::new(Notify::new());
    let bell = changed.clone();
    volumes.subscribe(Box::new(move |change| {
        if provision::is_doomed(change.object()) {
            bell.notify_one();
        }
    }));
    let (mut told, mut failures) = (Told::default(), 0);
    let shutdown = host.ctx.shutdown.clone();
    loop {
        let look = async {
            match failures {
                0 => changed.notified().await,
                _ => drop(tokio::time::timeout(AGAIN.after(failures), changed.notified()).await),
            }
        };
        if shutdown.run_until_cancelled(look).await.is_none() {
            return;
        }
        let Some(said) = reclaim(&host).await else {
            failures = 1;
            continue;
        };
        failures = if said.is_empty() { 0 } else { failures + 1 };
        for (volume, why) in told.news(said) {
            warn!(node = host.node.name, volume, why, "cannot remove a volume yet");
        }
    }
}

/// Removes what there is to remove. Of what could not be: why. `None`: the host has no Node yet.
async fn reclaim(host: &Host) -> Option<BTreeMap<String, String>> {
    let mut left = BTreeMap::new();
    let node = host.ctx.informers.of::<Node>().get("", &host.node.name)?;
    for volume in host.ctx.informers.of::<PersistentVolume>().list() {
        let Some(name) = provision::handle(&volume) else { continue };
        if !provision::is_doomed(&volume) || !matching::reachable(&volume, &node) {
            continue;
        }
        let removed = async {
            match provision::directory(&volume) {
                Some(directory) => remove_directory(host, directory).await?,
                None => host.runtime.remove_volume(name).await.map_err(|error| error.chain())?,
            }
            let gone = provision::remove(&host.ctx.client, &volume).await;
            gone.map_err(|error| format!("its PersistentVolume stays: {error}"))
        };
        match removed.await {
            Ok(()) => info!(node = host.node.name, volume = name, "removed a volume whose claim is gone"),
            Err(why) => drop(left.insert(name.to_owned(), why)),
        }
    }
    Some(left)
}

async fn remove_directory(host: &Host, directory: PathBuf) -> Result<(), String> {
    if host.node.simulated {
        return Ok(());
    }
    if !host.info().local {
        return Err("it is a directory of another machine".into());
    }
    let owners = host.owners();
    let work = move || {
        let removed = removal::gone(removal::remove(&directory, owners));
        removed.map_err(|error| format!("{}: {error}", directory.display()))
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
