//! The Node object of a host and its lease: registered when the host answers, renewed while it does.
//!
//! Silence is the message when a host is lost: the lease is not renewed, and the node lifecycle
//! controller draws the conclusions.

mod disks;
pub mod object;

use crate::client::Informer;
use crate::kubelet::eviction;
use crate::kubelet::host::Host;
use crate::kubelet::routes::Route;
use crate::kubelet::runtime::{HostInfo, ImageInfo, RuntimeError};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

const NAMESPACE: &str = "kube-node-lease";
/// The lease's duration in seconds; the controller's grace is measured against it.
const LEASE_SECONDS: i32 = 40;
/// A status without news is reported this often.
const REPORT: SignedDuration = SignedDuration::from_mins(5);
/// What the host is, and which images it has, are asked this often, and when it is back. The answers
/// cost Podman hundreds of times what a sign of life does.
const FACTS: SignedDuration = SignedDuration::from_mins(5);
const ANSWER: Duration = Duration::from_secs(8);

struct Keeper {
    host: Arc<Host>,
    nodes: Informer<Node>,
    images: Vec<ImageInfo>,
    /// When the host was last asked for more than a sign of life.
    asked_at: Option<Timestamp>,
    reported_at: Option<Timestamp>,
    silent: bool,
}

/// Keeps the node until shutdown. `first` is called once the host has answered for the first time.
pub async fn run(host: Arc<Host>, route: &Route, first: tokio::sync::oneshot::Sender<()>) {
    let nodes = host.ctx.informers.of::<Node>();
    nodes.synced().await;
    let mut first = Some(first);
    let mut keeper =
        Keeper { host: host.clone(), nodes, images: vec![], asked_at: None, reported_at: None, silent: false };
    let mut beat = tokio::time::interval(host.node.heartbeat.max(Duration::from_millis(100)));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = host.ctx.shutdown.cancelled() => return,
            _ = beat.tick() => {}
            // It may have another Podman now, or have booted.
            () = host.returned() => keeper.asked_at = None,
            // Somebody gave the node what the host does not know of, or took it.
            () = route.capacity_changed() => {}
        }
        if Box::pin(keeper.beat()).await
            && let Some(first) = first.take()
        {
            let _ = first.send(());
        }
    }
}

impl Keeper {
    /// True when the host answered.
    async fn beat(&mut self) -> bool {
        let node = self.host.node.name.clone();
        let mut info = match tokio::time::timeout(ANSWER, self.ask()).await {
            Ok(Ok(info)) => info,
            Ok(Err(error)) => return self.lost(&error).await,
            Err(_) => {
                let error = RuntimeError::Timeout { what: "asking the host for its state".into(), after: ANSWER };
                return self.lost(&error).await;
            }
        };
        disks::measure(&mut info, &self.host.node.data_dir);
        if std::mem::take(&mut self.silent) {
            info!(node, "the host answers; its lease is renewed again");
        }
        self.host.set_info(info.clone());
        eviction::observe(&self.host, &info);
        let outcome = async {
            let uid = self.report(&info).await?;
            self.renew(&uid).await
        };
        if let Err(error) = outcome.await {
            warn!(node, %error, "cannot report the node; trying again at the next heartbeat");
        }
        true
    }

    /// The host as it describes itself, now or a short while ago; an error when it does not answer.
    async fn ask(&mut self) -> Result<HostInfo, RuntimeError> {
        let now = self.host.ctx.clock.now();
        if !self.silent && self.asked_at.is_some_and(|at| now.duration_since(at) < FACTS) {
            self.host.runtime.ping().await?;
            return Ok(self.host.info());
        }
        let info = self.host.runtime.info().await?;
        if let Ok(images) = self.host.runtime.images().await {
            self.images = images;
        }
        self.asked_at = Some(now);
        Ok(info)
    }

    async fn lost(&mut self, error: &RuntimeError) -> bool {
        let node = self.host.node.name.clone();
        if !std::mem::replace(&mut self.silent, true) {
            warn!(node, error = error.chain(), "the host does not answer; its lease is left to expire");
        }
        // A host that never answered has no Node yet that could say so.
        if self.nodes.get("", &node).is_none()
            && let Err(error) = self.register_silent(&node, &error.chain()).await
        {
            warn!(node, %error, "cannot report that the host does not answer");
        }
        false
    }

    async fn register_silent(&self, name: &str, why: &str) -> Result<(), kube::Error> {
        let api: Api<Node> = Api::all(self.host.ctx.client.clone());
        match api.create(&PostParams::default(), &object::node(&self.host.node, Default::default())).await {
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            outcome => outcome.map(drop)?,
        }
        let now = self.host.ctx.clock.now_seconds().to_string();
        let ready = json!({
            "type": "Ready", "status": "False", "reason": "KubeletNotReady", "lastTransitionTime": now,
            "message": format!("container runtime is down: {why}"),
        });
        let status = json!({"status": {"conditions": [ready]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.map(drop)
    }

    /// Creates the Node or brings its labels and status up to date; returns its uid.
    async fn report(&mut self, info: &HostInfo) -> Result<String, kube::Error> {
        let name = self.host.node.name.clone();
        let api: Api<Node> = Api::all(self.host.ctx.client.clone());
        let now = self.host.ctx.clock.now_seconds();
        let current = match self.nodes.get("", &name) {
            Some(node) => Some(node),
            None => api.get_opt(&name).await?.map(Arc::new),
        };
        let wanted = object::labels(&self.host.node, info);
        let Some(current) = current else {
            let mut node = object::node(&self.host.node, wanted);
            node.status = Some(object::status(&self.host, info, &self.images, None, now));
            let made = api.create(&PostParams::default(), &node).await?;
            let status = json!({"status": object::status(&self.host, info, &self.images, made.status.as_ref(), now)});
            api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await?;
            self.reported_at = Some(now);
            info!(node = name, "registered the node");
            self.host.events.normal(&made, "Starting", "Starting kubelet.");
            return Ok(made.metadata.uid.unwrap_or_default());
        };
        let has = current.metadata.labels.clone().unwrap_or_default();
        if wanted.iter().any(|(key, value)| has.get(key) != Some(value)) {
            let patch = json!({"metadata": {"labels": wanted}});
            api.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        }
        let status = object::status(&self.host, info, &self.images, current.status.as_ref(), now);
        let due = self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT);
        if due || object::differs(current.status.as_ref(), &status) {
            let patch = object::patch(current.status.as_ref(), &status);
            api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
            self.reported_at = Some(now);
        }
        Ok(current.metadata.uid.clone().unwrap_or_default())
    }

    async fn renew(&self, node_uid: &str) -> Result<(), kube::Error> {
        let name = &self.host.node.name;
        let api: Api<Lease> = Api::namespaced(self.host.ctx.client.clone(), NAMESPACE);
        let lease = object::lease(name, node_uid, LEASE_SECONDS, self.host.ctx.clock.now());
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&lease)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                api.create(&PostParams::default(), &lease).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }
}

/// The host as it last described itself, with its disks as they are now.
pub async fn with_disks(host: &Host) -> Result<HostInfo, RuntimeError> {
    let mut info = host.info();
    if info.local {
        disks::measure(&mut info, &host.node.data_dir);
        return Ok(info);
    }
    host.runtime.info().await
}

/// The address other machines reach this one at, as far as its routes tell.
pub fn own_address() -> String {
    // Connecting a datagram socket sends nothing; it only picks the route.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    probe.map(|address| address.ip().to_string()).unwrap_or_else(|_| "127.0.0.1".into())
}
