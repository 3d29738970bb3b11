//! All mirrors of a data directory: one for each repository and the credentials it is asked with,
//! whoever and however many use it.

use super::git::shared::Shared;
use super::git::{self, GitSource, directories};
use super::location::GitLocation;
use super::oci::OciSource;
use super::remotes::{Fetched, Remotes};
use super::{Access, Credentials, Location, Snapshot, Source, SourceError, dir};
use crate::base::wake::Wake;
use crate::telemetry::Metrics;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Unused mirrors are looked for this long after one may have become unused ...
const GRACE: Duration = Duration::from_secs(2);
/// ... and now and then, as other processes leave some, too.
const SWEEP: Duration = Duration::from_secs(60);

/// An artifact takes memory while it is unpacked.
const UNPACKING: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

pub struct Repositories {
    pub(super) root: PathBuf,
    shared: Mutex<HashMap<String, Weak<Shared>>>,
    fetches: Family<Outcome, Counter>,
    /// Artifacts that are fetched and unpacked at the same time.
    pub(super) unpacking: Semaphore,
    /// Rung when a mirror may have become unused.
    left: Wake,
}

impl Repositories {
    /// `root` is the directory that holds the mirrors.
    pub fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            root,
            shared: Mutex::default(),
            fetches: Family::default(),
            unpacking: Semaphore::new(UNPACKING),
            left: Wake::default(),
        })
    }

    /// Shows how often remote repositories were asked.
    pub fn count_in(&self, metrics: &Metrics) {
        metrics.register("selkie_git_fetches", "Times a remote repository was asked, by outcome", self.fetches.clone());
    }

    /// Opens a location. `recursive` matters to directories only, `access` to repositories.
    pub fn open(self: &Arc<Self>, location: &Location, recursive: bool, access: Access) -> Arc<dyn Source> {
        match location {
            Location::Directory(path) => Arc::new(dir::DirSource::new(path.clone(), recursive, self, &access)),
            Location::Git(git) => Arc::new(GitSource::new(git.clone(), self, access)),
            Location::Oci(oci) => Arc::new(OciSource::new(oci.clone(), self, access)),
        }
    }

    /// Reads a commit that is pushed to a repository on this machine, with the repositories that it names.
    /// `quarantine`: a directory with more objects.
    pub async fn received(
        self: &Arc<Self>,
        location: GitLocation,
        access: Access,
        quarantine: Option<PathBuf>,
        commit: &str,
    ) -> Result<Snapshot, SourceError> {
        let remotes = Remotes::new(self, Some(location.clone()), true, &access);
        let read = |fetched: Arc<Fetched>| {
            let (location, access, quarantine, commit) =
                (location.clone(), access.clone(), quarantine.clone(), commit.to_owned());
            let url = location.describe();
            let read = tokio::task::spawn_blocking(move || {
                git::received(&location, &access, quarantine.as_deref(), &commit, &*fetched)
            });
            async move {
                read.await
                    .unwrap_or_else(|join| Err(SourceError::Git { url, what: join.to_string(), hint: String::new() }))
            }
        };
        remotes.gather(read).await
    }

    /// What was heard of these repositories so far does not count any more; named as
    /// [`GitLocation::repository`] does.
    pub fn expire(&self, names: &HashSet<String>) {
        let known: Vec<_> = self.shared.lock().values().filter_map(Weak::upgrade).collect();
        let meant = |shared: &&Arc<Shared>| names.contains(&shared.location.repository());
        known.iter().filter(meant).for_each(|shared| shared.expire());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use git2::{Oid, Repository, Signature};
    use std::path::Path;

    const HOUR: Duration = Duration::from_secs(3600);

    fn commit(repository: &Repository) -> Oid {
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parent = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        let who = Signature::now("t", "t").unwrap();
        repository.commit(Some("HEAD"), &who, &who, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap()
    }

    /// A repository on this machine stands for one elsewhere.
    fn location(path: &Path) -> GitLocation {
        GitLocation::new(path.to_str().unwrap(), "", "").unwrap()
    }

    fn asked(repositories: &Repositories) -> u64 {
        repositories.fetches.get_or_create(&Outcome { outcome: "ok" }).get()
    }

    #[tokio::test]
    async fn one_asks_for_all_and_all_hear_the_answer() {
        let temp = tempfile::tempdir().unwrap();
        let remote = Repository::init_bare(temp.path().join("remote")).unwrap();
        let first = commit(&remote);
        let (repositories, location) = (Repositories::new(temp.path().join("repos")), location(remote.path()));
        let shared = repositories.shared(&location, &Credentials::default());
        let users: Vec<_> = (0..20).map(|_| shared.join(None, HOUR, HOUR)).collect();
        let all = futures::future::join_all(users.iter().map(|user| shared.commit(user))).await;
        assert!(all.into_iter().all(|found| found.unwrap().oid == first));
        assert_eq!(asked(&repositories), 1);

        // Who may not rely on what others heard learns of something new, and tells them.
        let second = commit(&remote);
        assert_eq!(shared.commit(&users[0]).await.unwrap().oid, first);
        let wake = Wake::default();
        users[1].rings(wake.clone());
        let fresh = shared.join(None, HOUR, Duration::ZERO);
        assert_eq!(shared.commit(&fresh).await.unwrap().oid, second);
        tokio::time::timeout(Duration::from_secs(10), wake.wait()).await.unwrap();
        assert_eq!(shared.commit(&users[1]).await.unwrap().oid, second);
        assert_eq!(asked(&repositories), 2);

        let third = commit(&remote);
        repositories.expire(&HashSet::from(["elsewhere".to_owned()]));
        assert_eq!(shared.commit(&users[2]).await.unwrap().oid, second);
        repositories.expire(&HashSet::from([location.repository()]));
        assert_eq!(shared.commit(&users[2]).await.unwrap().oid, third);
        assert_eq!(asked(&repositories), 3);
    }

    #[test]
    fn a_mirror_is_of_one_repository_and_one_set_of_credentials() {
        let temp = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(temp.path().to_path_buf());
        let shared = |url: &str, token: &str| {
            let data = [("bearerToken".to_owned(), k8s_openapi::ByteString(token.into()))];
            let secret = k8s_openapi::api::core::v1::Secret { data: Some(data.into()), ..Default::default() };
            let location = GitLocation::new(url, "", "").unwrap();
            repositories.shared(&location, &Credentials::from_secret(&secret).unwrap())
        };
        let one = shared("https://h/r", "a");
        assert!(Arc::ptr_eq(&one, &shared("https://H:443/r/", "a")));
        assert!(!Arc::ptr_eq(&one, &shared("https://h/r", "b")));
        assert!(!Arc::ptr_eq(&one, &shared("https://h/r2", "a")));
    }
}
