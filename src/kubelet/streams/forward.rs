//! Connections to a pod's ports: at its own address, else where its host publishes the port.

use crate::api::error::ApiError;
use crate::apiserver::Connection;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// An address that is not routed from here says nothing at all.
const PATIENCE: Duration = Duration::from_secs(2);

pub async fn connect(pod: &Value, port: u16) -> Result<Box<dyn Connection>, ApiError> {
    let mut why = "the pod has no address yet".to_string();
    for address in addresses(pod, port) {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no answer within {} s", PATIENCE.as_secs()),
        }
    }
    Err(ApiError::internal(format!("failed to connect to port {port} of the pod: {why}")))
}

/// Where a port of the pod may be reached, the best first.
fn addresses(pod: &Value, port: u16) -> Vec<SocketAddr> {
    let address = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    let host = address(&pod["status"]["hostIP"]);
    // The host's own address serves what listens on all addresses, loopback what is published on this machine.
    let on_host = |port: u16| {
        let both = host.into_iter().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        both.map(|ip| SocketAddr::new(ip, port)).collect::<Vec<_>>()
    };
    if pod["spec"]["hostNetwork"] == true {
        return on_host(port);
    }
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let published = containers
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter(|declared| declared["containerPort"].as_u64() == Some(port.into()))
        .filter_map(|declared| declared["hostPort"].as_u64().and_then(|port| u16::try_from(port).ok()))
        .filter(|port| *port > 0);
    let own = address(&pod["status"]["podIP"]).map(|ip| SocketAddr::new(ip, port));
    own.into_iter().chain(published.flat_map(on_host)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_pods_own_address_comes_first() {
        let pod = json!({"status": {"podIP": "10.0.0.9", "hostIP": "192.0.2.1"},
            "spec": {"containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}]}]}});
        let all = |pod: &Value, port| addresses(pod, port).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all(&pod, 80), ["10.0.0.9:80", "192.0.2.1:8080", "127.0.0.1:8080"]);
        assert_eq!(all(&pod, 81), ["10.0.0.9:81"]);
        let on_host = json!({"status": {"hostIP": "192.0.2.1"}, "spec": {"hostNetwork": true}});
        assert_eq!(all(&on_host, 80), ["192.0.2.1:80", "127.0.0.1:80"]);
    }
}
