//! All mirrors of a data directory: one for each repository and the credentials it is asked with,
//! whoever and however many use it.

use super::git::shared::Shared;
use super::git::{GitSource, directories};
use super::location::GitLocation;
use super::{Access, Credentials, Location, Source, dir};
use crate::base::wake::Wake;
use crate::telemetry::Metrics;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Unused mirrors are looked for this long after one may have become unused ...
const GRACE: Duration = Duration::from_secs(2);
/// ... and now and then, as other processes leave some, too.
const SWEEP: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

pub struct Repositories {
    pub(super) root: PathBuf,
    shared: Mutex<HashMap<String, Weak<Shared>>>,
    fetches: Family<Outcome, Counter>,
    /// Rung when a mirror may have become unused.
    left: Wake,
}

impl Repositories {
    /// `root` is the directory that holds the mirrors.
    pub fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self { root, shared: Mutex::default(), fetches: Family::default(), left: Wake::default() })
    }

    /// Shows how often remote repositories were asked.
    pub fn count_in(&self, metrics: &Metrics) {
        metrics.register("selkie_git_fetches", "Times a remote repository was asked, by outcome", self.fetches.clone());
    }

    /// Opens a location. `recursive` matters to directories only, `access` to repositories.
    pub fn open(self: &Arc<Self>, location: &Location, recursive: bool, access: Access) -> Arc<dyn Source> {
        match location {
            Location::Directory(path) => Arc::new(dir::DirSource::new(path.clone(), recursive)),
            Location::Git(git) => Arc::new(GitSource::new(git.clone(), self, access)),
        }
    }

    /// What was heard of this repository so far does not count any more.
    pub fn expire(&self, location: &GitLocation) {
        let name = location.repository();
        let known: Vec<_> = self.shared.lock().values().filter_map(Weak::upgrade).collect();
        known.iter().filter(|shared| shared.location.repository() == name).for_each(|shared| shared.expire());
    }

    /// Removes mirrors that nobody uses, for ever.
    pub async fn keep_clean(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(SWEEP, self.left.wait()).await;
            tokio::time::sleep(GRACE).await;
            self.shared.lock().retain(|_, shared| shared.strong_count() > 0);
            let root = self.root.clone();
            match tokio::task::spawn_blocking(move || directories::sweep(&root)).await {
                Ok(0) | Err(_) => {}
                Ok(count) => tracing::debug!(count, "mirrors that nobody uses were removed"),
            }
        }
    }

    /// The mirror of a repository as these credentials see it: what others fetched with theirs may
    /// be none of our business.
    pub(super) fn shared(self: &Arc<Self>, location: &GitLocation, credentials: &Credentials) -> Arc<Shared> {
        let key = credentials.digest(&location.repository());
        let mut shared = self.shared.lock();
        if let Some(known) = shared.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let fresh = Arc::new(Shared::new(self.clone(), key.clone(), location.clone(), credentials.clone()));
        shared.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    pub(super) fn count(&self, succeeded: bool) {
        self.fetches.get_or_create(&Outcome { outcome: if succeeded { "ok" } else { "failed" } }).inc();
    }

    pub(super) fn left(&self) {
        self.left.ring();
    }
}
