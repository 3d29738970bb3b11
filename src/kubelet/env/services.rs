//! The variables that describe services to a container (`enableServiceLinks`).

use k8s_openapi::api::core::v1::Service;
use std::collections::BTreeMap;

/// `WEB_SERVICE_HOST`, `WEB_SERVICE_PORT`, `WEB_PORT_80_TCP_ADDR`, ... of every service that has a
/// cluster IP. Later services win over earlier ones with the same variable.
pub fn service_variables<'a>(services: impl IntoIterator<Item = &'a Service>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for service in services {
        add(&mut out, service);
    }
    out
}

fn add(out: &mut BTreeMap<String, String>, service: &Service) {
    let (Some(name), Some(spec)) = (&service.metadata.name, &service.spec) else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let prefix = variable_name(name);
    out.insert(format!("{prefix}_SERVICE_HOST"), ip.to_string());
    out.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            out.insert(format!("{prefix}_SERVICE_PORT_{}", variable_name(port_name)), port.port.to_string());
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{}:{}", protocol.to_lowercase(), host(ip), port.port);
        if index == 0 {
            out.insert(format!("{prefix}_PORT"), url.clone());
        }
        let stem = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        out.insert(format!("{stem}_PROTO"), protocol.to_lowercase());
        out.insert(format!("{stem}_PORT"), port.port.to_string());
        out.insert(format!("{stem}_ADDR"), ip.to_string());
        out.insert(stem, url);
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

fn host(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn describes_every_port_and_skips_headless_services() {
        let web: Service = serde_json::from_value(json!({"metadata": {"name": "my-web"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}}))
        .unwrap();
        let headless: Service = serde_json::from_value(
            json!({"metadata": {"name": "db"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}),
        )
        .unwrap();
        let vars = service_variables([&web, &headless]);
        assert_eq!(vars["MY_WEB_SERVICE_HOST"], "10.96.0.7");
        assert_eq!(vars["MY_WEB_SERVICE_PORT"], "80");
        assert_eq!(vars["MY_WEB_SERVICE_PORT_DNS"], "53");
        assert_eq!(vars["MY_WEB_PORT"], "tcp://10.96.0.7:80");
        assert_eq!(vars["MY_WEB_PORT_53_UDP"], "udp://10.96.0.7:53");
        assert_eq!(vars["MY_WEB_PORT_53_UDP_ADDR"], "10.96.0.7");
        assert!(!vars.keys().any(|k| k.starts_with("DB_")));
    }
}
