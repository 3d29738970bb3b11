//! What two pods cannot have at once.

use super::rig::{Rig, deployment};
use serde_json::{Value, json};

fn with_port(name: &str, replicas: u32, image: &str) -> Value {
    let mut made = deployment(name, replicas, image);
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
    made
}

#[tokio::test(start_paused = true)]
async fn a_port_is_had_once_on_a_host() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![with_port("web", 1, "web:1")]).await;
    let found = rig.plan(vec![with_port("other", 2, "web:1")], vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!((problem.object.name.as_str(), problem.reason.as_str(), problem.pods), ("other", "Unschedulable", 1));
    let words = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.";
    assert_eq!(problem.message, words);
    assert!(!found.settled);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_the_old_pod_keeps_holds_up_the_new_one() {
    let rig = Rig::new(&["h1"]).await;
    rig.apply(vec![with_port("web", 1, "web:1")]).await;
    let found = rig.plan(vec![with_port("web", 1, "web:2")], vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert!(problem.message.contains("didn't have free ports") && !found.settled, "{problem:?}");
    let makes_way = |image| {
        let mut made = with_port("web", 1, image);
        made["spec"]["strategy"] = json!({"type": "Recreate"});
        made
    };
    let rig = Rig::new(&["h1"]).await;
    rig.apply(vec![makes_way("web:1")]).await;
    let found = rig.plan(vec![makes_way("web:2")], vec![]).consequences;
    assert!(found.settled && found.problems.is_empty(), "{found:#?}");
}

/// No host mounts claims, so that none can be mounted twice.
#[tokio::test(start_paused = true)]
async fn a_claim_is_no_volume_that_hosts_know() {
    let rig = Rig::new(&["h1", "h2"]).await;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let mut store = deployment("store", 2, "web:1");
    let pod = &mut store["spec"]["template"]["spec"];
    pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let found = rig.plan(vec![claim, store], vec![]).consequences;
    let said = found.problems.iter().find(|problem| problem.object.name == "store");
    let said = said.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((said.reason.as_str(), said.pods), ("FailedMount", 2), "{said:?}");
    assert!(said.message.contains("its type is not supported"), "{said:?}");
}
