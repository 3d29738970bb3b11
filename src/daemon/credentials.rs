//! What this cluster is known by: its id on containers, and the kubeconfig that reaches it.

use super::paths::{Paths, write_private};
use crate::apiserver::auth::pki::Pki;
use crate::base::ids::Ids;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The id that this data directory's containers carry; made once.
pub fn cluster_id(paths: &Paths, ids: &Ids) -> io::Result<String> {
    let path = paths.cluster_id();
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_string()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id: String = ids.uid().chars().filter(|c| *c != '-').take(12).collect();
    write_private(&path, id.as_bytes())?;
    Ok(id)
}

/// Writes the administrator's kubeconfig for a server at `address`.
pub fn write_kubeconfig(paths: &Paths, address: SocketAddr, pki: &Pki) -> io::Result<()> {
    let cluster = json!({"server": format!("https://{}", reachable(address)), "certificate-authority-data": STANDARD.encode(&pki.ca)});
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "selkie", "cluster": cluster}],
        "users": [{"name": "selkie-admin", "user": {"token": pki.token}}],
        "contexts": [{"name": "selkie", "context": {"cluster": "selkie", "user": "selkie-admin"}}],
        "current-context": "selkie",
    });
    let text = serde_yaml::to_string(&config).map_err(io::Error::other)?;
    write_private(&paths.kubeconfig(), text.as_bytes())
}

/// Where a client on this machine finds a server that listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
