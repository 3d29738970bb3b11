//! Change notification from the file system, debounced: editors save in several steps.
//!
//! Who watches the same directories shares one watcher: thousands of applications follow one repository, and
//! systems give a user some hundred (`fs.inotify.max_user_instances`).

use crate::base::wake::Wake;
use notify::event::{EventKind, ModifyKind};
use notify::{Config, Event, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// A burst of changes ends when nothing happened for this long ...
const QUIET: Duration = Duration::from_millis(60);
/// ... and is passed on after this long in any case.
const LONGEST: Duration = Duration::from_millis(600);
/// How often the fallback looks.
const POLL: Duration = Duration::from_secs(2);

/// The watchers that there are, by what they watch.
static WATCHERS: Mutex<BTreeMap<Vec<Watched>, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// A target, and what was there: device, inode and birth. A watcher of a directory that was replaced hears nothing
/// of the one that has its name now.
type Watched = (Target, Option<(u64, u64, Option<SystemTime>)>);

/// Why something cannot be watched.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot watch {path}: {cause}")]
pub struct WatchError {
    pub path: PathBuf,
    pub cause: String,
}

/// Watches until it is dropped.
pub struct Guard {
    shared: Arc<Shared>,
    number: u64,
    _debounce: AbortOnDropHandle<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.listeners.lock().remove(&self.number);
    }
}

/// A watcher, and who listens to it.
struct Shared {
    listeners: Listeners,
    /// In a mutex only to be shared between threads.
    _watcher: Mutex<Box<dyn Watcher + Send>>,
}

type Listeners = Arc<Mutex<BTreeMap<u64, Listener>>>;

struct Listener {
    relevant: Box<dyn Fn(&Path) -> bool + Send>,
    changes: mpsc::UnboundedSender<()>,
}

impl Listener {
    fn hear(&self, event: &notify::Result<Event>) {
        let matters = match event {
            Ok(event) => {
                is_change(event.kind) && (event.need_rescan() || event.paths.iter().any(|path| (self.relevant)(path)))
            }
            // The watcher lost track: look again.
            Err(_) => true,
        };
        if matters {
            // The receiver lives as long as the guard.
            let _ = self.changes.send(());
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

/// One path to watch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub path: PathBuf,
    pub recursive: bool,
}

/// Watches a directory, or the directory of a file.
pub fn directory(root: &Path, recursive: bool, wake: Wake) -> Result<Guard, WatchError> {
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
pub fn files(root: &Path, files: impl Iterator<Item = PathBuf>, wake: Wake) -> Result<Guard, WatchError> {
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
pub fn start(
    targets: &[Target],
    relevant: impl Fn(&Path) -> bool + Send + 'static,
    wake: Wake,
) -> Result<Guard, WatchError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let shared = share(targets)?;
    let (changes, receiver) = mpsc::unbounded_channel();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    shared.listeners.lock().insert(number, Listener { relevant: Box::new(relevant), changes });
    let debounce = AbortOnDropHandle::new(tokio::spawn(debounce(receiver, wake)));
    Ok(Guard { shared, number, _debounce: debounce })
}

/// The watcher of these targets: the one that there is, or a new one.
fn share(targets: &[Target]) -> Result<Arc<Shared>, WatchError> {
    let mut watchers = WATCHERS.lock();
    let watched: Vec<Watched> = targets.iter().map(|target| (target.clone(), identity(&target.path))).collect();
    if let Some(shared) = watchers.get(&watched).and_then(Weak::upgrade) {
        return Ok(shared);
    }
    watchers.retain(|_, shared| shared.strong_count() > 0);
    let shared = Arc::new(Shared::of(targets)?);
    watchers.insert(watched, Arc::downgrade(&shared));
    Ok(shared)
}

fn identity(path: &Path) -> Option<(u64, u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

impl Shared {
    fn of(targets: &[Target]) -> Result<Self, WatchError> {
        let listeners = Listeners::default();
        let tell = listeners.clone();
        let handler = move |event: notify::Result<Event>| tell.lock().values().for_each(|one| one.hear(&event));
        let watcher = match arm(RecommendedWatcher::new(handler.clone(), Config::default()), targets) {
            Ok(watcher) => Box::new(watcher) as Box<dyn Watcher + Send>,
            Err(first) => {
                let path = targets.first().map(|target| target.path.clone()).unwrap_or_default();
                let config = Config::default().with_poll_interval(POLL).with_compare_contents(true);
                let seconds = POLL.as_secs();
                tracing::warn!(
                    path = %path.display(), error = %first,
                    "file notification is not available, looking every {seconds} s; where a limit is reached, raise \
                     fs.inotify.max_user_instances or max_user_watches by sysctl"
                );
                let fail = |cause| WatchError { path, cause: format!("{first}; polling: {cause}") };
                Box::new(arm(PollWatcher::new(handler, config), targets).map_err(fail)?)
            }
        };
        Ok(Self { listeners, _watcher: Mutex::new(watcher) })
    }
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

    #[tokio::test]
    async fn who_watches_the_same_shares_a_watcher() {
        let temp = tempfile::tempdir().unwrap();
        let watch = |wake: &Wake| directory(temp.path(), true, wake.clone()).unwrap();
        let wakes = [Wake::default(), Wake::default(), Wake::default()];
        let [first, second, third] = wakes.each_ref().map(watch);
        assert!(Arc::ptr_eq(&first.shared, &second.shared) && Arc::ptr_eq(&first.shared, &third.shared));
        drop(second);
        fs::write(temp.path().join("a.yaml"), "a: 1").unwrap();
        assert!(rings(&wakes[0]).await && rings(&wakes[2]).await, "those who still listen");
        assert_eq!(first.shared.listeners.lock().len(), 2);
        let shared = Arc::downgrade(&first.shared);
        drop((first, third));
        assert!(shared.upgrade().is_none(), "nobody listens");
    }

    #[tokio::test]
    async fn a_directory_that_was_replaced_gets_a_watcher_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("app");
        let wakes = [Wake::default(), Wake::default()];
        fs::create_dir(&root).unwrap();
        let old = directory(&root, true, wakes[0].clone()).unwrap();
        fs::rename(&root, temp.path().join("gone")).unwrap();
        fs::create_dir(&root).unwrap();
        let new = directory(&root, true, wakes[1].clone()).unwrap();
        assert!(!Arc::ptr_eq(&old.shared, &new.shared));
        fs::write(root.join("a.yaml"), "a: 1").unwrap();
        assert!(rings(&wakes[1]).await);
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
