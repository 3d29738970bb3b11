//! Claims and volumes through the API server.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::controllers::rig::Rig;

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.spawn(run(rig.ctx.clone(), 2));
    let labels = json!({"kubernetes.io/hostname": "h1"});
    rig.post("/api/v1/nodes", json!({"metadata": {"name": "h1", "labels": labels}})).await;
    let class = json!({"metadata": {"name": "podman",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": provision::PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true});
    rig.post("/apis/storage.k8s.io/v1/storageclasses", class).await;
    rig
}

fn claim(class: Value) -> Value {
    json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test(start_paused = true)]
async fn a_claim_takes_a_volume_that_fits_and_gives_it_back() {
    let rig = rig().await;
    let volume = json!({"metadata": {"name": "disk"}, "spec": {"capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/d"}, "storageClassName": ""}});
    rig.post(VOLUMES, volume).await;
    rig.until(&format!("{VOLUMES}/disk"), |volume| volume["status"]["phase"] == "Available").await;
    rig.post(CLAIMS, claim("".into())).await;
    let path = format!("{CLAIMS}/data");
    let bound = rig.until(&path, |claim| claim["status"]["phase"] == "Bound").await;
    assert_eq!(
        (&bound["spec"]["volumeName"], &bound["status"]["capacity"]["storage"]),
        (&json!("disk"), &json!("5Gi"))
    );
    rig.until(&format!("{VOLUMES}/disk"), |volume| volume["status"]["phase"] == "Bound").await;
    rig.delete(&path).await;
    let free = json!({"metadata": {"finalizers": null}});
    rig.patch(&path, free).await;
    rig.until(&format!("{VOLUMES}/disk"), |volume| volume["status"]["phase"] == "Released").await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_made_where_the_scheduler_says_and_grows() {
    let rig = rig().await;
    let made = rig.post(CLAIMS, claim(Value::Null)).await;
    assert_eq!(made["spec"]["storageClassName"], "podman", "the default class");
    let path = format!("{CLAIMS}/data");
    rig.until(&path, |claim| claim["status"]["phase"] == "Pending").await;
    rig.patch(&path, json!({"metadata": {"annotations": {SELECTED_NODE: "h1"}}})).await;
    let bound = rig.until(&path, |claim| claim["status"]["phase"] == "Bound").await;
    let volume = format!("{VOLUMES}/{}", bound["spec"]["volumeName"].as_str().unwrap());
    rig.until(&volume, |volume| volume["status"]["phase"] == "Bound").await;
    rig.patch(&path, json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}})).await;
    rig.until(&path, |claim| claim["status"]["capacity"]["storage"] == "2Gi").await;
    // Its host goes for good, and then the claim: nobody is left to remove anything.
    rig.delete("/api/v1/nodes/h1").await;
    rig.delete(&path).await;
    rig.patch(&path, json!({"metadata": {"finalizers": null}})).await;
    rig.until(&volume, |volume| {
        volume.is_null() || volume["metadata"]["finalizers"] == json!(["kubernetes.io/pv-protection"])
    })
    .await;
}
