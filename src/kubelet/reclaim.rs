//! Removes the volumes of claims that are gone from this host, where their policy is `Delete`.

use crate::base::backoff::Backoff;
use crate::base::told::Told;
use crate::controllers::volume_binder::{matching, provision};
use crate::kubelet::host::Host;
use crate::kubelet::volumes::removal;
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
        // Apart: a host has room for it only while it is at it.
        let Some(said) = Box::pin(reclaim(&host)).await else {
            failures = 1;
            continue;
        };
        failures = if said.is_empty() { 0 } else { failures + 1 };
        for (volume, why) in told.news(said) {
            warn!(node = host.node.name, volume, why, "cannot remove a volume yet");
        }
    }
}

/// Removes what there is to remove. Of what could not be: why. `None`: the host has no Node yet, or has not said yet
/// whether its directories are those of this machine.
async fn reclaim(host: &Host) -> Option<BTreeMap<String, String>> {
    if host.info().runtime_version.is_empty() {
        return None;
    }
    let mut left = BTreeMap::new();
    let node = host.ctx.informers.of::<Node>().get("", &host.node.name)?;
    for volume in host.ctx.informers.of::<PersistentVolume>().list() {
        let Some(name) = provision::handle(&volume) else { continue };
        if !provision::is_doomed(&volume) || !matching::reachable(&volume, &node) {
            continue;
        }
        let removed = async {
            match provision::directory(&volume) {
                Some(directory) if is_elsewhere(host) => return give_up(host, &volume, &directory).await,
                Some(directory) => remove_directory(host, directory).await?,
                None => host.runtime.remove_volume(name).await.map_err(|error| error.chain())?,
            }
            remove_object(host, &volume).await?;
            info!(node = host.node.name, volume = name, "removed a volume whose claim is gone");
            Ok(())
        };
        match removed.await {
            Ok(()) => {}
            Err(why) => drop(left.insert(name.to_owned(), why)),
        }
    }
    Some(left)
}

async fn remove_object(host: &Host, volume: &PersistentVolume) -> Result<(), String> {
    let gone = provision::remove(&host.ctx.client, volume).await;
    gone.map_err(|error| format!("its PersistentVolume stays: {error}"))
}

/// Whether the host's directories are out of reach: its Podman is that of another machine.
fn is_elsewhere(host: &Host) -> bool {
    !host.node.simulated && !host.info().local
}

/// Says that a directory of another machine stays, once. Whoever deletes the volume then has been told.
async fn give_up(host: &Host, volume: &PersistentVolume, directory: &Path) -> Result<(), String> {
    let (name, node) = (volume.metadata.name.as_deref().unwrap_or_default(), &host.node.name);
    if !provision::was_made(volume) {
        remove_object(host, volume).await?;
        info!(node, volume = name, "forgot a volume whose claim is gone: its directory was never made");
        return Ok(());
    }
    let directory = directory.display();
    if volume.metadata.deletion_timestamp.is_some() {
        remove_object(host, volume).await?;
        warn!(node, volume = name, %directory, "a volume is gone, and its directory is left on another machine");
        return Ok(());
    }
    let why = format!(
        "the directory {directory} of host {node} is on another machine: remove it there, then delete the PersistentVolume"
    );
    let status =
        json!({"status": {"phase": "Failed", "message": why, "lastPhaseTransitionTime": host.ctx.clock.now_seconds()}});
    let api: Api<PersistentVolume> = Api::all(host.ctx.client.clone());
    let told = api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    told.map_err(|error| format!("its status cannot be written: {error}"))?;
    host.events.warning(volume, "VolumeFailedDelete", why);
    Ok(())
}

async fn remove_directory(host: &Host, directory: PathBuf) -> Result<(), String> {
    if host.node.simulated {
        return Ok(());
    }
    let owners = host.owners();
    let work = move || {
        let removed = removal::gone(removal::remove(&directory, owners));
        removed.map_err(|error| format!("{}: {error}", directory.display()))
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
