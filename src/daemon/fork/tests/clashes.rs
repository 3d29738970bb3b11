//! What two pods cannot have at once, and what their host does not give them.

use super::rig::{Rig, deployment};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
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
    let words = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.";
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

#[tokio::test(start_paused = true)]
async fn limits_that_would_not_hold_are_told() {
    let rig = Rig::new(&["h1"]).await;
    let nodes: Api<Node> = Api::all(rig.client());
    let lone = json!({"status": {"conditions": [{"type": "selkie.dev/LimitsNotEnforced", "status": "True",
        "reason": "NoPodCgroups", "message": "rootless"}]}});
    nodes.patch_status("h1", &PatchParams::default(), &Patch::Strategic(lone)).await.unwrap();
    let mut whole = deployment("web", 2, "web:1");
    whole["spec"]["template"]["spec"]["resources"] = json!({"limits": {"memory": "64Mi"}});
    let found = rig.plan(vec![whole], vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!((problem.object.name.as_str(), problem.reason.as_str(), problem.pods), ("web", "LimitsNotEnforced", 2));
    assert!(problem.message.starts_with("Pod: memory limit 64Mi of all containers together"), "{problem:?}");
    assert!(found.settled, "{found:#?}");
}

fn store(class: &str) -> Vec<Value> {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}},
    });
    let mut store = deployment("store", 2, "web:1");
    let pod = &mut store["spec"]["template"]["spec"];
    pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    vec![claim, store]
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_fills_keeps_its_pods_waiting() {
    let rig = Rig::new(&["h1", "h2"]).await;
    let found = rig.plan(store("none"), vec![]).consequences;
    let said = found.problems.iter().find(|problem| problem.object.name == "store");
    let said = said.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((said.reason.as_str(), said.pods), ("Unschedulable", 2), "{said:?}");
    let words = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    assert_eq!(said.message, words);
}

#[tokio::test(start_paused = true)]
async fn pods_of_one_claim_share_the_host_of_its_volume() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "podman"},
        "provisioner": "podman.selkie.dev", "volumeBindingMode": "WaitForFirstConsumer",
    })])
    .await;
    let found = rig.plan(store("podman"), vec![]).consequences;
    assert!(found.settled && found.problems.is_empty(), "{found:#?}");
    let steps = found.workloads.iter().flat_map(|workload| &workload.steps);
    let hosts: Vec<_> = steps.map(|step| step.host.as_str()).collect();
    assert!(hosts.len() == 2 && hosts[0] == hosts[1], "{hosts:?}");
}

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "podman"},
        "provisioner": "podman.selkie.dev", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_one_pod_alone_may_have_keeps_the_second_waiting() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![class()]).await;
    let mut all = store("podman");
    all[0]["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    let found = rig.plan(all, vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!((problem.object.name.as_str(), problem.reason.as_str(), problem.pods), ("store", "Unschedulable", 1));
    assert!(problem.message.contains("ReadWriteOncePod"), "{problem:?}");
}

#[tokio::test(start_paused = true)]
async fn a_volume_keeps_its_pods_from_other_hosts() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![class()]).await;
    let recreated = |image: &str| {
        let mut all = store("podman");
        all[1]["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        all[1]["spec"]["strategy"] = json!({"type": "Recreate"});
        all
    };
    rig.apply(recreated("web:1")).await;
    let hosts: Vec<String> = rig.placed().into_values().flatten().map(|(_, host)| host).collect();
    let nodes: Api<Node> = Api::all(rig.client());
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes.patch(&hosts[0], &PatchParams::default(), &cordon).await.unwrap();
    let found = rig.plan(recreated("web:2"), vec![]).consequences;
    let [problem] = found.problems.as_slice() else { panic!("{found:#?}") };
    assert_eq!((problem.reason.as_str(), problem.pods), ("Unschedulable", 2), "{found:#?}");
    assert!(problem.message.contains("1 node(s) had volume node affinity conflict"), "{problem:?}");
}

#[tokio::test(start_paused = true)]
async fn images_are_pulled_by_the_hosts_that_have_none() {
    let rig = Rig::new(&["h1", "h2"]).await;
    rig.apply(vec![deployment("web", 1, "web:1")]).await;
    let hosts: Vec<String> = rig.placed().into_values().flatten().map(|(_, host)| host).collect();
    let other = if hosts[0] == "h1" { "h2" } else { "h1" };
    let pulls = |objects: Vec<Value>| {
        let found = rig.plan(objects, vec![]).consequences;
        found.pulls.into_iter().map(|pull| (pull.image, pull.hosts)).collect::<Vec<_>>()
    };
    let of = |image: &str, hosts: &[&str]| (image.to_owned(), hosts.iter().map(|host| (*host).to_owned()).collect());
    assert_eq!(pulls(vec![deployment("web", 2, "web:1")]), [of("web:1", &[other])], "the first has it");
    let both = vec![deployment("web", 1, "web:1"), deployment("two", 2, "two:1")];
    assert_eq!(pulls(both), [of("two:1", &["h1", "h2"])]);
}
