//! Volumes that are directories, of which a host that is another machine has none.

use super::cluster;
use crate::control_plane::{Cluster, NODE};
use crate::rig::Rig;
use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use selkie::controllers::volume_binder::provision::{DIRECTORIES, FINALIZER, MADE, PROVISIONER};
use selkie::kubelet::runtime::podman::Podman;
use serde_json::{Value, from_value, json};

/// A volume of this host whose claim is gone.
async fn released(cluster: &Cluster, name: &str, annotations: Value) {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]});
    let volume = json!({"metadata": {"name": name, "annotations": annotations, "finalizers": [FINALIZER]}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete",
        "csi": {"driver": PROVISIONER, "volumeHandle": name, "volumeAttributes": {"path": format!("/nonexistent/{name}")}},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}}});
    volumes.create(&PostParams::default(), &from_value(volume).unwrap()).await.unwrap();
    let status = Patch::Merge(json!({"status": {"phase": "Released"}}));
    volumes.patch_status(name, &PatchParams::default(), &status).await.unwrap();
}

async fn volume(cluster: &Cluster, name: &str) -> Option<PersistentVolume> {
    let found = Api::<PersistentVolume>::all(cluster.client.clone()).get_opt(name).await.unwrap();
    // Who protects bound volumes from deletion is no kubelet.
    found.filter(|volume| volume.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER))
}

#[tokio::test]
async fn directories_of_another_machine_are_left_to_their_owner() {
    let rig = Rig::shared().await;
    let service = rig.serve_tcp().await;
    let (mut cluster, _directory) = cluster(Podman::connect(&service.url, "kubelet-other").await.unwrap()).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    wait::until("the host says that it is another machine", Pace::default(), async || {
        let labels = nodes.get_opt(NODE).await.unwrap().and_then(|node| node.metadata.labels).unwrap_or_default();
        if labels.get(DIRECTORIES).is_some_and(|label| label == "false") { Ok(()) } else { Err(format!("{labels:?}")) }
    })
    .await;
    released(&cluster, "unmade", json!({})).await;
    wait::until("a volume that never was is forgotten", Pace::default(), async || {
        let left = volume(&cluster, "unmade").await;
        if left.is_none() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;

    released(&cluster, "made", json!({MADE: NODE})).await;
    let why = wait::until("the reclaim ends", Pace::default(), async || {
        let status = volume(&cluster, "made").await.and_then(|volume| volume.status).unwrap_or_default();
        if status.phase.as_deref() == Some("Failed") {
            Ok(status.message.unwrap_or_default())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    assert!(
        why.starts_with("the directory /nonexistent/made of host h1 is on another machine: remove it there"),
        "{why}"
    );
    wait::until("the event comes", Pace::default(), async || {
        let events = Api::<Event>::all(cluster.client.clone()).list(&Default::default()).await.unwrap().items;
        let told = |event: &Event| {
            event.reason.as_deref() == Some("VolumeFailedDelete") && event.message.as_ref() == Some(&why)
        };
        if events.iter().any(told) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;
    // Who was told, and deletes it all the same, is not held up.
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    volumes.delete("made", &DeleteParams::default()).await.unwrap();
    wait::until("the volume goes", Pace::default(), async || {
        let left = volume(&cluster, "made").await;
        if left.is_none() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    cluster.stop().await;
}
