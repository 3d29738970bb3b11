//! Repositories that the kustomizations of a source name, where the user allows that.
//!
//! A look at a source goes in rounds: it is read with the trees that are there, what turns out to be missing is
//! fetched, and it is read again. Each repository counts at one commit for all of a look.

use super::git::GitSource;
use super::git::held::Held;
use super::location::GitLocation;
use super::repositories::Repositories;
use super::{Access, Credentials, RemoteBases, SourceError};
use crate::base::wake::Wake;
use crate::gitops::render::Origin;
use crate::gitops::render::kustomize::{Elsewhere, Mount, Remote, Roots};
use futures::future::join_all;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Repositories that one source may name, directly or by those that it names.
const MOST: usize = 20;

/// What a source has to do with other repositories.
pub(super) struct Remotes {
    rules: Arc<Rules>,
    repositories: Arc<Repositories>,
    /// Those that the last look named, by their mounts: a mirror that nobody holds goes.
    sources: Mutex<BTreeMap<String, Arc<GitSource>>>,
    wake: Mutex<Option<Wake>>,
}

/// Which ones may be asked, and as whom.
struct Rules {
    /// Where the source itself is; `None`: it is no repository.
    own: Option<GitLocation>,
    /// The source may name repositories of this machine.
    local: bool,
    access: Access,
}

/// The trees that are there in one round, and what it finds missing.
pub(super) struct Fetched {
    rules: Arc<Rules>,
    held: BTreeMap<String, (GitLocation, Held)>,
    awaited: Mutex<BTreeMap<String, Awaited>>,
}

struct Awaited {
    location: GitLocation,
    timeout: Option<Duration>,
    /// Who names it first.
    at: Origin,
}

impl Remotes {
    /// Of a source that is on this machine (`local`) or not, and that may be a repository.
    pub fn new(repositories: &Arc<Repositories>, own: Option<GitLocation>, local: bool, access: &Access) -> Self {
        let local = local && access.remote_bases != RemoteBases::OfOthers;
        let rules = Arc::new(Rules { own, local, access: access.clone() });
        let (sources, wake) = (Mutex::default(), Mutex::default());
        Self { rules, repositories: repositories.clone(), sources, wake }
    }

    /// Reads until nothing is missing.
    pub async fn gather<T, F>(&self, read: impl Fn(Arc<Fetched>) -> F) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let (mut held, mut named, mut end) = (BTreeMap::new(), BTreeSet::new(), None);
        loop {
            let (rules, awaited) = (self.rules.clone(), Mutex::default());
            let fetched = Arc::new(Fetched { rules, held, awaited });
            let done = read(fetched.clone()).await?;
            let awaited = std::mem::take(&mut *fetched.awaited.lock());
            held = fetched.held.clone();
            named.extend(awaited.keys().cloned());
            self.sources.lock().retain(|name, _| named.contains(name));
            if awaited.is_empty() {
                return Ok(done);
            }
            let end = *end.get_or_insert_with(|| Instant::now() + self.rules.access.timeout);
            let fetches = awaited.into_iter().map(|(name, awaited)| self.fetch(name, awaited, end));
            for fetched in join_all(fetches).await {
                let (name, found) = fetched?;
                held.insert(name, found);
            }
        }
    }

    async fn fetch(
        &self,
        name: String,
        Awaited { location, timeout, at }: Awaited,
        end: Instant,
    ) -> Result<(String, (GitLocation, Held)), SourceError> {
        let source = self.source(&name, &location);
        let left = end.saturating_duration_since(Instant::now());
        let patience = timeout.map_or(left, |timeout| timeout.min(left));
        let (url, seconds) = (location.describe(), patience.as_secs());
        let held = tokio::time::timeout(patience, source.hold()).await;
        let held = held.unwrap_or(Err(SourceError::Timeout { url, seconds }));
        match held {
            Ok(held) => Ok((name, (location, held))),
            Err(cause) => Err(SourceError::Base { at, cause: Box::new(cause) }),
        }
    }

    fn source(&self, name: &str, location: &GitLocation) -> Arc<GitSource> {
        let mut sources = self.sources.lock();
        let open = || Arc::new(GitSource::new(location.clone(), &self.repositories, self.rules.access_to(location)));
        let source = sources.entry(name.to_owned()).or_insert_with(open).clone();
        if let Some(wake) = &*self.wake.lock() {
            source.rings(wake.clone());
        }
        source
    }

    /// What was heard of them so far does not count any more.
    pub fn expire(&self) {
        self.sources.lock().values().for_each(|source| source.expire_own());
    }

    /// Others may hear first that one of them has changed.
    pub fn rings(&self, wake: Wake) {
        *self.wake.lock() = Some(wake);
    }
}

impl Rules {
    /// The repository that an entry of the tree `from` names, if it may.
    fn admit(&self, from: Option<&GitLocation>, remote: &Remote) -> Result<GitLocation, String> {
        let location = GitLocation::new(&remote.url, &remote.reference, "").map_err(|error| error.to_string())?;
        let is_here = |location: &GitLocation| location.local().is_some();
        if is_here(&location) && !from.map_or(self.local, is_here) {
            return Err("what comes from elsewhere may not name repositories of this machine".to_owned());
        }
        if self.access.signers.is_some() && !is_whole_hash(&remote.reference) {
            let why = "spec.source.verify wants it named by all 40 digits of a commit: ?ref=COMMIT";
            return Err(why.to_owned());
        }
        Ok(location)
    }

    /// Nobody else's repository learns of the source's credentials.
    fn access_to(&self, location: &GitLocation) -> Access {
        let own = self.own.as_ref().filter(|own| own.server().is_some() && own.server() == location.server());
        let credentials = match (own, self.access.remote_bases) {
            (Some(_), _) => self.access.credentials.clone(),
            (None, RemoteBases::ByUser) => Credentials::default(),
            (None, _) => Credentials::none(),
        };
        let (timeout, max_age) = (self.access.timeout, self.access.bases_max_age);
        Access { credentials, timeout, max_age, ..Access::default() }
    }
}

fn is_whole_hash(reference: &str) -> bool {
    reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Roots for Fetched {
    fn mount(&self, from: &str, remote: &Remote, at: &Origin) -> Result<Mount, Elsewhere> {
        if self.rules.access.remote_bases == RemoteBases::Refused {
            return Err(Elsewhere::NotAllowed);
        }
        let from = self.held.get(from).map(|(location, _)| location);
        let location = self.rules.admit(from, remote).map_err(Elsewhere::Refused)?;
        let name = name(&location);
        let Some((_, held)) = self.held.get(&name) else {
            let mut awaited = self.awaited.lock();
            if !awaited.contains_key(&name) && self.held.len() + awaited.len() >= MOST {
                return Err(Elsewhere::Refused(format!("more than {MOST} repositories are named")));
            }
            let (timeout, at) = (remote.timeout, at.clone());
            awaited.entry(name).or_insert(Awaited { location, timeout, at });
            return Err(Elsewhere::Awaited);
        };
        let tree = held.tree(&location).map_err(|error| Elsewhere::Refused(error.message().to_owned()))?;
        Ok(Mount { name, tree: Box::new(tree), location: location.describe(), commit: held.commit.to_string() })
    }
}

/// Where the repository is mounted: spellings of one are one.
fn name(location: &GitLocation) -> String {
    let mut hash = Sha256::new();
    hash.update(location.repository());
    hash.update([0]);
    hash.update(location.reference.as_deref().unwrap_or_default());
    let digits: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Mount::name(&digits)
}

#[cfg(test)]
mod tests;
