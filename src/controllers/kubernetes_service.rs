//! Keeps Service `default/kubernetes`, where pods find this API, with its Endpoints and EndpointSlice.

use crate::client::{Context, raw};
use http::Method;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const NAME: &str = "kubernetes";
const PORT: u16 = 443;
const EVERY: Duration = Duration::from_secs(10);
const MEDIA: &str = "application/apply-patch+yaml";

/// Runs until shutdown. `address`: where the API is served; `cluster_ip`: the first of the service range.
pub async fn run(ctx: Context, address: SocketAddr, cluster_ip: Ipv4Addr) {
    loop {
        for (path, object) in objects(address, cluster_ip) {
            let path = format!("{path}?fieldManager=kube-apiserver&force=true");
            let body = object.to_string().into();
            if let Err(error) = raw::request(&ctx.client, Method::PATCH, &path, Some((MEDIA, body))).await {
                tracing::warn!(error = &error as &dyn std::error::Error, path, "the API's own service cannot be kept");
            }
        }
        tokio::select! {
            () = ctx.shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// What there is to be: applied, so that it is written when somebody changed it and else not.
fn objects(address: SocketAddr, cluster_ip: Ipv4Addr) -> Vec<(String, Value)> {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ip.to_string(),
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": address.port()}]}});
    let mut all = vec![(format!("/api/v1/namespaces/default/services/{NAME}"), service)];
    // Nobody but this machine reaches a loopback address.
    let Some(ip) = reachable(address.ip()) else { return all };
    let port = json!({"name": "https", "port": address.port(), "protocol": "TCP"});
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": ip.to_string()}], "ports": [port]}]});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}], "ports": [port]});
    all.push((format!("/api/v1/namespaces/default/endpoints/{NAME}"), endpoints));
    all.push((format!("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{NAME}"), slice));
    all
}

/// The address that others reach: the one served on, or the one this machine speaks from.
fn reachable(ip: IpAddr) -> Option<IpAddr> {
    if !ip.is_unspecified() {
        return Some(ip).filter(|ip| !ip.is_loopback());
    }
    // No packet is sent: connecting a datagram socket only picks the route.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::controllers::rig::Rig;

    #[tokio::test(start_paused = true)]
    async fn the_service_is_made_again_and_written_once() {
        let rig = Rig::new().await;
        rig.spawn(run(rig.ctx.clone(), "192.0.2.7:6443".parse().unwrap(), Ipv4Addr::new(10, 96, 0, 1)));
        let path = "/api/v1/namespaces/default/services/kubernetes";
        let made = rig.until(path, |service| service["spec"]["clusterIP"] == "10.96.0.1").await;
        let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
        rig.until(slice, |slice| slice["endpoints"][0]["addresses"][0] == "192.0.2.7").await;
        let revision = |service: &Value| service["metadata"]["resourceVersion"].clone();
        rig.stays(path, EVERY * 3, |service| revision(service) == revision(&made)).await;
        rig.delete(path).await;
        rig.until(path, |service| service["metadata"]["uid"] != made["metadata"]["uid"] && !service.is_null()).await;
    }
}
