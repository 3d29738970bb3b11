//! Removes the volumes of claims that are gone from this host, where their policy is `Delete`.

use crate::controllers::volume_binder::{matching, provision};
use crate::kubelet::host::Host;
use crate::kubelet::volumes::removal;
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};

/// A container may still have it, or the host does not answer.
const AGAIN: Duration = Duration::from_secs(5);

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
    loop {
        if host.ctx.shutdown.run_until_cancelled(changed.notified()).await.is_none() {
            return;
        }
        while !reclaim(&host).await {
            if host.ctx.shutdown.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                return;
            }
        }
    }
}

/// Whether nothing is left to remove.
async fn reclaim(host: &Host) -> bool {
    let Some(node) = host.ctx.informers.of::<Node>().get("", &host.node.name) else { return false };
    let mut done = true;
    for volume in host.ctx.informers.of::<PersistentVolume>().list() {
        let Some(name) = provision::handle(&volume) else { continue };
        if !provision::is_doomed(&volume) || !matching::reachable(&volume, &node) {
            continue;
        }
        let removed = match provision::directory(&volume) {
            Some(directory) => remove_directory(host, directory).await,
            None => host.runtime.remove_volume(name).await.map_err(|error| error.chain()),
        };
        if let Err(error) = removed {
            warn!(node = host.node.name, volume = name, error, "cannot remove a volume yet");
            done = false;
            continue;
        }
        match provision::remove(&host.ctx.client, &volume).await {
            Ok(()) => info!(node = host.node.name, volume = name, "removed a volume whose claim is gone"),
            Err(error) => {
                warn!(node = host.node.name, volume = name, %error, "cannot remove a PersistentVolume yet");
                done = false;
            }
        }
    }
    done
}

async fn remove_directory(host: &Host, directory: PathBuf) -> Result<(), String> {
    if host.node.simulated {
        return Ok(());
    }
    if !host.info().local {
        return Err("it is a directory of another machine".into());
    }
    let work = move || match removal::remove(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(|error| format!("{}: {error}", directory.display())),
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
