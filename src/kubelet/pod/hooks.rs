//! postStart and preStop.

use crate::kubelet::probes::{Subject, check};
use k8s_openapi::api::core::v1::LifecycleHandler;
use std::time::Duration;

/// Runs a hook to its end or to `limit`. The error says what failed.
pub async fn run(hook: &LifecycleHandler, subject: &Subject, limit: Duration) -> Result<(), String> {
    if let Some(sleep) = &hook.sleep {
        let seconds = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        tokio::time::sleep(seconds.min(limit)).await;
        return Ok(());
    }
    if let Some(exec) = &hook.exec {
        return check::exec_check(exec, subject, limit).await.map_err(check::Miss::text);
    }
    if subject.host.node.simulated {
        return Ok(());
    }
    match &hook.http_get {
        Some(get) => check::http_hook(get, subject, limit).await,
        None => Err("the hook has no handler this kubelet knows".into()),
    }
}
