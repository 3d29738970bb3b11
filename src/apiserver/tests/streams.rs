//! Logs, exec and attach over a scripted kubelet.

mod exec;
mod logs;
mod script;

use super::Rig;
use script::Script;
use serde_json::{Value, json};
use std::sync::Arc;

/// A server whose kubelet is scripted, with pod `web` (containers `a` and `b`) on node `n` and pod
/// `one` (container `c`) there as well, and pod `homeless` on no node.
async fn rig() -> Rig {
    let rig = Rig::with(Arc::new(Script)).await;
    rig.pod("web", json!({"nodeName": "n", "containers": [container("a"), container("b")]})).await;
    rig.pod("one", json!({"nodeName": "n", "containers": [container("c")]})).await;
    rig.pod("homeless", json!({"containers": [container("c")]})).await;
    rig
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "i"})
}

impl Rig {
    async fn pod(&self, name: &str, spec: Value) {
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        let (code, body) = self.post("/api/v1/namespaces/default/pods", pod).await;
        assert_eq!(code, 201, "{body}");
    }
}
