//! Static pods, and what only says that it is one, on a pretended host with the clock paused.

use crate::control_plane::{Cluster, NODE, condition, is_ready};
use crate::wait::{self, Pace};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::PostParams;
use selkie::base::clock::Clock;
use selkie::kubelet::runtime::hollow::{Hollow, HollowOptions};
use selkie::kubelet::settings::StaticPods;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

async fn cluster(static_pods: StaticPods) -> Cluster {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let host = Hollow::new(HollowOptions::named(NODE, clock.clone()));
    let mut cluster = Cluster::new(clock, "/nonexistent".into()).await;
    cluster.settings.static_pods = static_pods;
    cluster.start(Arc::new(host), true);
    cluster.run("other", json!({"containers": [{"name": "c", "image": "i"}]})).await;
    cluster.until("other", is_ready).await;
    cluster
}

/// Makes a pod by hand that says of itself that it is static, and takes all of the host.
async fn forge(cluster: &Cluster) {
    let annotations = json!({"kubernetes.io/config.mirror": "x", "kubernetes.io/config.hash": "x", "kubernetes.io/config.source": "file"});
    let all = json!({"requests": {"cpu": "1000"}});
    let pod = json!({"metadata": {"name": "forged", "annotations": annotations},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i", "resources": all}]}});
    cluster.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_only_says_that_it_is_static_goes_and_never_runs() {
    let folder = tempfile::tempdir().unwrap();
    for settings in [StaticPods::None, StaticPods::In(folder.path().into())] {
        let mut cluster = cluster(settings).await;
        forge(&cluster).await;
        cluster.until_gone("forged").await;
        assert_eq!(cluster.events("forged").await, Vec::<String>::new(), "nothing was done for it");
        let other = cluster.get("other").await.unwrap();
        assert_eq!(condition(&other, "Ready"), "True", "nor did anybody make way");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_files_that_name_one_pod_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, image: &str| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "c", "image": image}]}});
        std::fs::write(folder.path().join(file), pod.to_string()).unwrap();
    };
    write("web.json", "web:1");
    let mut cluster = cluster(StaticPods::In(folder.path().into())).await;
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].clone();
    let pod = cluster.until("web-h1", is_ready).await;
    assert_eq!(image(&pod), "web:1");
    write("web2.json", "web:2");
    let path = |file: &str| folder.path().join(file).display().to_string();
    let said = format!(
        "{}: it is left alone: pod default/web-h1 is that of {}; one of them needs another name",
        path("web2.json"),
        path("web.json")
    );
    // Files are looked at again every twenty seconds: often enough to say it twice.
    let pace = Pace { every: std::time::Duration::from_secs(61), ..Pace::default() };
    wait::until("it is said", pace, async || {
        let said = told(&cluster, &said).await;
        if said.is_empty() { Err("nothing") } else { Ok(()) }
    })
    .await;
    assert_eq!(told(&cluster, &said).await, [1]);
    let still = cluster.get("web-h1").await.unwrap();
    assert_eq!((&still["metadata"]["uid"], image(&still)), (&pod["metadata"]["uid"], "web:1".into()));
    std::fs::remove_file(Path::new(&path("web.json"))).unwrap();
    cluster.until("web-h1", |pod| is_ready(pod) && image(pod) == "web:2").await;
    cluster.stop().await;
}

/// How often each event says this.
async fn told(cluster: &Cluster, text: &str) -> Vec<i32> {
    let events = Api::<Event>::all(cluster.client.clone()).list(&Default::default()).await.unwrap().items;
    let same = events.into_iter().filter(|event| event.message.as_deref() == Some(text));
    same.map(|event| event.count.unwrap_or(1)).collect()
}
