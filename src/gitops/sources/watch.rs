//! Change notification from the file system, debounced: editors save in several steps.

use super::SourceError;
use crate::base::wake::Wake;
use notify::event::{EventKind, ModifyKind};
use notify::{Config, Event, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// A burst of changes ends when nothing happened for this long ...
const QUIET: Duration = Duration::from_millis(60);
/// ... and is passed on after this long in any case.
const LONGEST: Duration = Duration::from_millis(600);
/// How often the fallback looks.
const POLL: Duration = Duration::from_secs(2);

/// Watches until it is dropped.
pub struct Guard {
    /// In a mutex only to be shared between threads.
    _watcher: parking_lot::Mutex<Box<dyn Watcher + Send>>,
    _debounce: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

/// One path to watch.
pub(super) struct Target {
    pub path: PathBuf,
    pub recursive: bool,
}

/// Watches a source directory, or the directory of a source file.
pub(super) fn directory(root: &Path, recursive: bool, wake: Wake) -> Result<Guard, SourceError> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let mut targets = Vec::new();
    if root.is_dir() {
        targets.push(Target { path: root.clone(), recursive });
    }
    // The parent tells when the directory itself is replaced, or the file is saved by renaming.
    if let Some(parent) = root.parent().filter(|parent| parent.is_dir()) {
        targets.push(Target { path: parent.to_path_buf(), recursive: false });
    }
    let relevant = move |path: &Path| match path.strip_prefix(&root) {
        Ok(inner) => !inner.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name.starts_with('.') && !name.starts_with("..")
        }),
        Err(_) => false,
    };
    start(&targets, relevant, wake)
}

/// Watches a directory with all that is in it, and files elsewhere.
pub(super) fn files(root: &Path, files: impl Iterator<Item = PathBuf>, wake: Wake) -> Result<Guard, SourceError> {
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
    let outside = files.filter(|file| !file.starts_with(&root)).filter_map(|file| Some(file.parent()?.to_path_buf()));
    let directories: BTreeSet<PathBuf> = outside.collect();
    let mut targets = vec![Target { path: root.clone(), recursive: true }];
    targets.extend(directories.iter().map(|path| Target { path: path.clone(), recursive: false }));
    let relevant = move |path: &Path| {
        let hidden = |part: &OsStr| part.to_string_lossy().starts_with('.');
        match path.strip_prefix(&root) {
            Ok(inner) => !inner.iter().any(hidden),
            Err(_) => path.parent().is_some_and(|parent| directories.contains(parent)),
        }
    };
    start(&targets, relevant, wake)
}

/// Rings `wake` after changes to `targets` for which `relevant` holds. Must be called in a runtime.
pub(super) fn start(
    targets: &[Target],
    relevant: impl Fn(&Path) -> bool + Send + Clone + 'static,
    wake: Wake,
) -> Result<Guard, SourceError> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handler = move |event: notify::Result<Event>| {
        let matters = match &event {
            Ok(event) => {
                is_change(event.kind) && (event.need_rescan() || event.paths.iter().any(|path| relevant(path)))
            }
            // The watcher lost track: look again.
            Err(_) => true,
        };
        if matters {
            // The receiver lives as long as the guard.
            let _ = sender.send(());
        }
    };
    let watcher = match arm(RecommendedWatcher::new(handler.clone(), Config::default()), targets) {
        Ok(watcher) => Box::new(watcher) as Box<dyn Watcher + Send>,
        Err(first) => {
            let config = Config::default().with_poll_interval(POLL).with_compare_contents(true);
            let fail = |cause: notify::Error| {
                let path = targets.first().map(|target| target.path.clone()).unwrap_or_default();
                SourceError::Watch { path, cause: format!("{first}; polling: {cause}") }
            };
            tracing::warn!(error = %first, "file notification is not available, looking every {} s", POLL.as_secs());
            Box::new(arm(PollWatcher::new(handler, config), targets).map_err(fail)?)
        }
    };
    let debounce = AbortOnDropHandle::new(tokio::spawn(debounce(receiver, wake)));
    Ok(Guard { _watcher: parking_lot::Mutex::new(watcher), _debounce: debounce })
}

fn arm<W: Watcher>(watcher: notify::Result<W>, targets: &[Target]) -> notify::Result<W> {
    let mut watcher = watcher?;
    for target in targets {
        let mode = if target.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        watcher.watch(&target.path, mode)?;
    }
    Ok(watcher)
}

/// Reading a file is no change, and would wake us by our own reads.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)))
}

async fn debounce(mut receiver: mpsc::UnboundedReceiver<()>, wake: Wake) {
    while receiver.recv().await.is_some() {
        let burst = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, receiver.recv()).await {} };
        // Either way the burst is passed on.
        let _ = tokio::time::timeout(LONGEST, burst).await;
        wake.ring();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    async fn rings(wake: &Wake) -> bool {
        tokio::time::timeout(Duration::from_secs(10), wake.wait()).await.is_ok()
    }

    #[tokio::test]
    async fn saves_renames_new_directories_and_deletions_ring() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("app");
        fs::create_dir(&root).unwrap();
        let wake = Wake::default();
        let _guard = directory(&root, true, wake.clone()).unwrap();
        fs::write(root.join("a.yaml"), "a: 1").unwrap();
        assert!(rings(&wake).await, "a new file");
        fs::write(root.join(".a.yaml.swp"), "a: 2").unwrap();
        fs::rename(root.join(".a.yaml.swp"), root.join("a.yaml")).unwrap();
        assert!(rings(&wake).await, "an atomic save");
        fs::create_dir(root.join("sub")).unwrap();
        assert!(rings(&wake).await, "a new directory");
        fs::write(root.join("sub/b.yaml"), "b: 1").unwrap();
        assert!(rings(&wake).await, "a file in it");
        fs::remove_file(root.join("a.yaml")).unwrap();
        assert!(rings(&wake).await, "a deletion");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_rings_once_and_an_endless_one_rings_too() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let wake = Wake::default();
        let _task = AbortOnDropHandle::new(tokio::spawn(debounce(receiver, wake.clone())));
        for _ in 0..5 {
            sender.send(()).unwrap();
            tokio::time::sleep(QUIET / 2).await;
        }
        wake.wait().await;
        assert!(tokio::time::timeout(LONGEST * 2, wake.wait()).await.is_err());
        let start = tokio::time::Instant::now();
        let endless = async {
            loop {
                sender.send(()).unwrap();
                tokio::time::sleep(QUIET / 2).await;
            }
        };
        tokio::select! { () = wake.wait() => {}, () = endless => {} }
        assert!(start.elapsed() <= LONGEST + QUIET);
    }
}
