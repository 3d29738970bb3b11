//! What a kubelet tells of itself and of its host.

use crate::apiserver::HostLog;
use crate::kubelet::logs::LIMITS as LOG_LIMITS;
use crate::kubelet::node::object::MAX_IMAGES;
use crate::kubelet::runtime::HostInfo;
use crate::kubelet::settings::{Settings, StaticPods};
use futures::StreamExt;
use serde_json::{Value, json};
use std::io;
use std::path::{Component, Path, PathBuf};
use tokio_util::io::ReaderStream;

pub const LOGS: &str = "/var/log";

/// In the words of Kubernetes' KubeletConfiguration, as far as it is so here.
pub fn settings(info: &HostInfo, settings: &Settings) -> Value {
    let reserved = settings.reserved.amounts().iter().map(|(name, amount)| (name.clone(), json!(amount.to_string())));
    let mut all = json!({
        "enableServer": true,
        "port": 10250,
        "enableSystemLogHandler": info.local && !info.simulated,
        "enableDebuggingHandlers": true,
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "maxPods": settings.max_pods,
        "podPidsLimit": settings.pod_pids_limit.unwrap_or(-1),
        "containerLogMaxSize": format!("{}Mi", LOG_LIMITS.size >> 20),
        "containerLogMaxFiles": LOG_LIMITS.files,
        "containerLogMonitorInterval": "1s",
        "nodeStatusMaxImages": MAX_IMAGES,
        "failSwapOn": false,
        "systemReserved": Value::Object(reserved.collect()),
        "evictionHard": settings.eviction.words(),
        "evictionPressureTransitionPeriod": "5m0s",
        "imageGCHighThresholdPercent": settings.image_gc.high,
        "imageGCLowThresholdPercent": settings.image_gc.low,
        "imageMinimumGCAge": "2m0s",
        "serializeImagePulls": settings.parallel_pulls == Some(1),
    });
    if let Some(most) = settings.parallel_pulls.filter(|most| *most > 1) {
        all["maxParallelImagePulls"] = json!(most);
    }
    if let StaticPods::In(directory) = &settings.static_pods {
        all["staticPodPath"] = json!(directory);
    }
    all
}

/// What is at a path below `root`. Links are followed, as Kubernetes does: who writes there is trusted.
pub async fn log(root: &Path, path: &str) -> io::Result<Option<HostLog>> {
    let below = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    let found = root.join(below.collect::<PathBuf>());
    let kind = match tokio::fs::metadata(&found).await {
        Ok(kind) => kind,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        let mut names = Vec::new();
        let mut entries = tokio::fs::read_dir(&found).await?;
        while let Some(entry) = entries.next_entry().await? {
            let slash = if entry.file_type().await.is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
            names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
        }
        names.sort_unstable();
        return Ok(Some(HostLog::Directory(names)));
    }
    // A pipe or a socket would keep its reader waiting.
    if !kind.is_file() {
        return Ok(None);
    }
    let file = tokio::fs::File::open(&found).await?;
    Ok(Some(HostLog::File(ReaderStream::new(file).boxed())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn logs_of_the_host_are_read_below_their_directory_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("log");
        std::fs::create_dir_all(root.join("apt")).unwrap();
        std::fs::write(root.join("syslog"), "line\n").unwrap();
        let Some(HostLog::Directory(names)) = log(&root, "").await.unwrap() else { panic!("a directory") };
        assert_eq!(names, ["apt/", "syslog"]);
        let Some(HostLog::File(mut bytes)) = log(&root, "/syslog").await.unwrap() else { panic!("a file") };
        assert_eq!(bytes.next().await.unwrap().unwrap(), "line\n");
    }

    #[tokio::test]
    async fn nothing_above_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        for path in ["../secret", "/../secret", "nope", "secret"] {
            assert!(log(&folder.path().join("log"), path).await.unwrap().is_none(), "{path}");
        }
    }
}
