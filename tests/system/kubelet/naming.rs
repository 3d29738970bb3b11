//! What a container knows of names: its own, those of services, and whom it asks for others.

use super::{FOREVER, cluster, exec, script};
use crate::control_plane::is_ready;
use crate::rig::Rig;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

fn with(more: Value) -> Value {
    let mut spec = script(FOREVER, json!({}));
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn a_pod_has_the_name_that_it_is_given() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-names").await).await;
    let aliases = json!([{"ip": "10.0.0.9", "hostnames": ["db", "db.shop"]}]);
    cluster.run("named", with(json!({"hostname": "web-0", "subdomain": "web", "hostAliases": aliases}))).await;
    cluster.run("full", with(json!({"hostname": "web-1", "subdomain": "web", "setHostnameAsFQDN": true}))).await;
    cluster.run("plain", with(json!({"subdomain": ""}))).await;
    let says = async |pod: &Value, text: &str| exec(&cluster, pod, &["sh", "-c", text]).await.0.trim().to_owned();
    let named = cluster.until("named", is_ready).await;
    assert_eq!(says(&named, "hostname; hostname -f").await, "web-0\nweb-0.web.default.svc.cluster.local");
    let address = named["status"]["podIP"].as_str().unwrap();
    let hosts = says(&named, "cat /etc/hosts").await;
    assert!(hosts.contains(&format!("\n{address}\tweb-0.web.default.svc.cluster.local\tweb-0\n")), "{hosts}");
    assert!(hosts.ends_with("# Entries added by HostAliases.\n10.0.0.9\tdb\tdb.shop"), "{hosts}");
    let full = cluster.until("full", is_ready).await;
    assert_eq!(says(&full, "hostname").await, "web-1.web.default.svc.cluster.local");
    let plain = cluster.until("plain", is_ready).await;
    assert_eq!(says(&plain, "hostname; hostname -f").await, "plain\nplain");
    for name in ["named", "full", "plain"] {
        cluster.delete(name).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_asks_whom_it_is_told_to() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-resolvers").await).await;
    let config = json!({"nameservers": ["10.9.8.7", "10.9.8.6"], "searches": ["shop.example", "example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
    cluster.run("own", with(json!({"dnsPolicy": "None", "dnsConfig": config}))).await;
    cluster.run("bare", with(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.9.8.7"]}}))).await;
    let lines = async |name: &str| {
        let pod = cluster.until(name, is_ready).await;
        let text = exec(&cluster, &pod, &["cat", "/etc/resolv.conf"]).await.0;
        let mut lines: Vec<String> =
            text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        lines.sort();
        lines
    };
    let own = ["nameserver 10.9.8.6", "nameserver 10.9.8.7", "options ndots:2 edns0", "search shop.example example"];
    assert_eq!(lines("own").await, own);
    assert_eq!(lines("bare").await, ["nameserver 10.9.8.7"], "nothing of the host's");
    for name in ["own", "bare"] {
        cluster.delete(name).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_finds_services_in_its_environment_unless_it_wants_none() {
    let rig = Rig::shared().await;
    let (mut cluster, _directory) = cluster(rig.podman("kubelet-service-links").await).await;
    let services: Api<Service> = Api::default_namespaced(cluster.client.clone());
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let service = json!({"metadata": {"name": "my-web"}, "spec": {"ports": ports, "selector": {"app": "x"}}});
    let made = services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let address = made.spec.unwrap().cluster_ip.unwrap();
    let own = json!([{"name": "MY_WEB_SERVICE_PORT", "value": "own"}]);
    let mut linked = with(json!({}));
    linked["containers"][0]["env"] = own;
    cluster.run("linked", linked).await;
    cluster.run("alone", with(json!({"enableServiceLinks": false}))).await;
    let look = async |name: &str| {
        let pod = cluster.until(name, is_ready).await;
        exec(&cluster, &pod, &["sh", "-c", "env | grep ^MY_WEB_ | sort"]).await.0
    };
    let expect = format!(
        "MY_WEB_PORT=tcp://{address}:80\nMY_WEB_PORT_53_UDP=udp://{address}:53\nMY_WEB_PORT_53_UDP_ADDR={address}\n\
         MY_WEB_PORT_53_UDP_PORT=53\nMY_WEB_PORT_53_UDP_PROTO=udp\nMY_WEB_PORT_80_TCP=tcp://{address}:80\n\
         MY_WEB_PORT_80_TCP_ADDR={address}\nMY_WEB_PORT_80_TCP_PORT=80\nMY_WEB_PORT_80_TCP_PROTO=tcp\n\
         MY_WEB_SERVICE_HOST={address}\nMY_WEB_SERVICE_PORT=own\nMY_WEB_SERVICE_PORT_DNS=53\nMY_WEB_SERVICE_PORT_HTTP=80\n"
    );
    assert_eq!(look("linked").await, expect);
    assert_eq!(look("alone").await, "");
    for name in ["linked", "alone"] {
        cluster.delete(name).await;
    }
    cluster.stop().await;
}
