//! Manifests in a git repository, read from its objects: no checkout, no hooks, no submodules, no
//! filters.
//!
//! A repository on this machine is read in place and watched. Of a remote one, a bare mirror with
//! just the commits asked for is kept in the data directory, shared by all who read that repository
//! with the same credentials.

pub mod credentials;

pub(super) mod directories;
mod github;
pub(super) mod held;
mod memory;
mod mirror;
mod objects;
mod received;
pub(super) mod shared;
pub mod signers;
mod timeouts;
mod tree;
mod trust;

pub(super) use received::received;
pub(super) use tree::{MAX_DEPTH, MAX_ENTRIES};

use super::location::GitLocation;
use super::remotes::{Fetched, Remotes};
use super::repositories::Repositories;
use super::{Access, Branch, MAX_FILES, MAX_TOTAL_BYTES, Snapshot, Source, SourceError};
use crate::base::wake::Wake;
use crate::base::watch::{self, Guard, Target};
use crate::gitops::render::kustomize::{NoRoots, Roots};
use async_trait::async_trait;
use git2::{Commit, ErrorClass, ErrorCode, Oid, Repository};
use held::{Held, is_hash, open_local};
use shared::{Shared, User};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

pub struct GitSource {
    location: GitLocation,
    access: Access,
    /// `None`: the repository is on this machine, and read in place.
    remote: Option<Remote>,
    /// Repositories that kustomizations name.
    remotes: Remotes,
}

/// Our part in a mirror.
#[derive(Clone)]
struct Remote {
    mirror: Arc<Shared>,
    user: Arc<User>,
}

impl GitSource {
    pub fn new(location: GitLocation, repositories: &Arc<Repositories>, access: Access) -> Self {
        memory::limit();
        let remote = location.local().is_none().then(|| {
            let mirror = repositories.shared(&location, &access.credentials);
            let user = mirror.join(location.reference.clone(), access.timeout, access.max_age);
            Remote { mirror, user }
        });
        let remotes = Remotes::new(repositories, Some(location.clone()), remote.is_none(), &access);
        Self { location, access, remote, remotes }
    }

    /// Wakes who follows this when others hear of a change first.
    pub(super) fn rings(&self, wake: Wake) {
        self.remote.iter().for_each(|remote| remote.user.rings(wake.clone()));
    }

    /// The next look must not make do with what was heard of this repository before.
    pub(super) fn expire_own(&self) {
        self.remote.iter().for_each(|remote| remote.mirror.expire());
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let (url, seconds) = (self.location.describe(), self.access.timeout.as_secs());
        let done = tokio::time::timeout(self.access.timeout, work).await;
        done.unwrap_or(Err(SourceError::Timeout { url, seconds }))
    }

    /// The commit that counts now, for as long as finding it may take.
    pub(super) async fn hold(&self) -> Result<Held, SourceError> {
        self.in_time(async {
            let Some(Remote { mirror, user }) = &self.remote else {
                let location = self.location.clone();
                return self.blocking(move |_, _| held::local(&location)).await;
            };
            let fail = |error: git2::Error| explain(&self.location, &self.access, &error);
            mirror.commit(user).await.map(Held::mirrored).map_err(fail)
        })
        .await
    }

    /// Looks at a commit, for as long as that may take.
    async fn look<T: Send + 'static>(
        &self,
        held: Arc<Held>,
        look: impl FnOnce(&Repository, &Commit<'_>, &GitLocation, &Access) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        self.in_time(async {
            let _reading = match &self.remote {
                // Never closed.
                Some(remote) => remote.mirror.reading.acquire().await.ok(),
                None => None,
            };
            self.blocking(move |location, access| {
                let fail = |error: git2::Error| explain(location, access, &error);
                let repository = held.open().map_err(fail)?;
                let commit = objects::commit(&repository, held.commit).map_err(fail)?;
                Ok(look(&repository, &commit, location, access))
            })
            .await?
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&GitLocation, &Access) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (location, access, url) = (self.location.clone(), self.access.clone(), self.location.describe());
        let done = tokio::task::spawn_blocking(move || work(&location, &access)).await;
        done.unwrap_or_else(|join| Err(SourceError::Git { url, what: join.to_string(), hint: String::new() }))
    }
}

#[async_trait]
impl Source for GitSource {
    async fn fetch(&self) -> Result<Snapshot, SourceError> {
        let held = Arc::new(self.hold().await?);
        let read = |fetched: Arc<Fetched>| {
            self.look(held.clone(), move |repository, commit, location, access| {
                read_commit(repository, commit, location, access, &*fetched)
            })
        };
        self.remotes.gather(read).await
    }

    async fn directories(&self) -> Result<Vec<String>, SourceError> {
        let held = Arc::new(self.hold().await?);
        self.look(held, read_directories).await
    }

    async fn branches(&self) -> Result<Vec<Branch>, SourceError> {
        let (location, access) = (self.location.clone(), self.access.clone());
        let heads = match &self.remote {
            Some(remote) => remote.mirror.heads(access.timeout).await,
            None => {
                let path = location.local().unwrap_or_default();
                let read = tokio::task::spawn_blocking(move || local_heads(&path));
                read.await.unwrap_or_else(|join| Err(shared::broken(&join.to_string())))
            }
        };
        let heads = heads.map_err(|error| explain(&location, &access, &error))?;
        Ok(heads.into_iter().filter_map(|(name, oid)| branch(&name, oid)).collect())
    }

    fn expire(&self) {
        self.expire_own();
        self.remotes.expire();
    }

    fn watch(&self, wake: Wake) -> Result<Option<Guard>, SourceError> {
        self.remotes.rings(wake.clone());
        if self.remote.is_some() {
            self.rings(wake);
            return Ok(None);
        }
        let Some(path) = self.location.local() else { return Ok(None) };
        let repository = open_local(&path).map_err(|e| explain(&self.location, &self.access, &e))?;
        let common = repository.commondir().to_path_buf();
        let own = repository.path().to_path_buf();
        let mut targets = vec![
            Target { path: common.join("refs"), recursive: true },
            Target { path: common.clone(), recursive: false },
        ];
        if own != common {
            targets.push(Target { path: own.clone(), recursive: false });
        }
        // HEAD, packed-refs and everything in refs/; objects and the index change far more often.
        let relevant = move |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.starts_with(common.join("refs")) && !name.ends_with(".lock") || matches!(name, "HEAD" | "packed-refs")
        };
        Ok(Some(watch::start(&targets, relevant, wake)?))
    }

    fn describe(&self) -> String {
        self.location.describe()
    }
}

/// What may have a preview: a branch, or a pull or merge request as GitHub, Gitea and GitLab name them.
fn branch(name: &str, oid: Oid) -> Option<Branch> {
    let short = name.strip_prefix("refs/heads/");
    let request = ["refs/pull/", "refs/merge-requests/"].iter().any(|kind| name.starts_with(kind));
    let name = short.or(Some(name).filter(|name| request && name.ends_with("/head")))?;
    Some(Branch { name: name.to_owned(), commit: oid.to_string() })
}

/// A repository that is moved away while it is read shows too little, and who sees no branch deletes what was made of
/// it: only a look during which its directory stayed as it was counts.
fn local_heads(path: &Path) -> Result<Vec<(String, Oid)>, git2::Error> {
    const LOOKS: usize = 10;
    for _ in 0..LOOKS {
        let repository = open_local(path)?;
        let before = stamp(repository.commondir());
        let heads = heads_now(&repository)?;
        if before.is_some() && stamp(repository.commondir()) == before {
            return Ok(heads);
        }
    }
    Err(git2::Error::from_str("it changes while its branches are read"))
}

/// Another one after a directory was renamed, or something in it.
fn stamp(directory: &Path) -> Option<(u64, u64, i64, i64)> {
    let found = std::fs::metadata(directory).ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

fn heads_now(repository: &Repository) -> Result<Vec<(String, Oid)>, git2::Error> {
    let mut heads = Vec::new();
    for reference in repository.references()? {
        let reference = reference?;
        // A symbolic one, such as HEAD of a remote, is another's name.
        if let (Ok(name), Some(oid)) = (String::from_utf8(reference.name_bytes().to_vec()), reference.target()) {
            heads.push((name, oid));
        }
    }
    Ok(heads)
}

fn read_commit(
    repository: &Repository,
    commit: &Commit<'_>,
    location: &GitLocation,
    access: &Access,
    roots: &dyn Roots,
) -> Result<Snapshot, SourceError> {
    check_signature(repository, commit, location, access)?;
    let mut snapshot = Snapshot { origin: location.describe(), ..Snapshot::default() };
    let teller = Teller { roots, ..Teller::of_commit(commit, location, access) };
    for path in location.paths() {
        let one = read_tree(repository, commit.tree_id(), path, &teller)?;
        snapshot.files.extend(one.files);
        snapshot.kustomizations.extend(one.kustomizations);
        snapshot.charts.extend(one.charts);
        snapshot.rejected.extend(one.rejected);
        snapshot.warnings.extend(one.warnings);
        // Each by itself is within the limits.
        if snapshot.files.len() > MAX_FILES {
            return Err(SourceError::TooManyFiles { path: location.describe() });
        }
        if snapshot.files.iter().map(|file| file.bytes.len() as u64).sum::<u64>() > MAX_TOTAL_BYTES {
            return Err(SourceError::TooLarge { path: location.describe() });
        }
    }
    snapshot.revision = commit.id().to_string();
    snapshot.commit = Some(told(commit));
    Ok(snapshot)
}

fn read_directories(
    repository: &Repository,
    commit: &Commit<'_>,
    location: &GitLocation,
    access: &Access,
) -> Result<Vec<String>, SourceError> {
    check_signature(repository, commit, location, access)?;
    let teller = Teller::of_commit(commit, location, access);
    tree::directories(repository, commit.tree_id()).map_err(|error| teller.tell("", error))
}

/// Only commits that are signed as they must be are looked at.
fn check_signature(
    repository: &Repository,
    commit: &Commit<'_>,
    location: &GitLocation,
    access: &Access,
) -> Result<(), SourceError> {
    let Some(signers) = &access.signers else { return Ok(()) };
    let found = repository.extract_signature(&commit.id(), None);
    let (signature, signed) = found.as_ref().map_or((None, &[][..]), |(made, of)| (Some(&**made), &**of));
    let (url, commit) = (location.describe(), commit.id().to_string());
    signers.check(signature, signed, jiff::Timestamp::now()).map_err(|why| SourceError::Signature { url, commit, why })
}

type Refuse<'a> = dyn Fn(String, &str) -> SourceError + 'a;

/// Says what is wrong with a tree, and what other trees there are.
pub(super) struct Teller<'a> {
    /// Those of repositories that its kustomizations name.
    pub roots: &'a dyn Roots,
    /// `commit 0123456`.
    pub called: String,
    /// All of it, for people.
    pub origin: String,
    /// Makes errors of what git says ...
    pub broken: Box<dyn Fn(git2::Error) -> SourceError + 'a>,
    /// ... and of what we say, and what to do about it.
    pub refuse: Box<Refuse<'a>>,
}

impl<'a> Teller<'a> {
    fn of_commit(commit: &Commit<'_>, location: &'a GitLocation, access: &'a Access) -> Self {
        let refuse = |what, hint: &str| SourceError::Git { url: location.describe(), what, hint: hint.to_owned() };
        Self {
            roots: &NoRoots,
            called: format!("commit {}", super::short(&commit.id().to_string())),
            origin: location.describe(),
            broken: Box::new(move |error| explain(location, access, &error)),
            refuse: Box::new(refuse),
        }
    }

    fn tell(&self, path: &str, error: tree::TreeError) -> SourceError {
        let called = &self.called;
        match error {
            tree::TreeError::Git(error) => (self.broken)(error),
            tree::TreeError::NoPath => {
                (self.refuse)(format!("{called} has no {path:?}"), "check the path after the colon")
            }
            tree::TreeError::Refused { what, hint } => (self.refuse)(format!("{called}: {what}"), hint),
            tree::TreeError::TooMany => SourceError::TooManyFiles { path: self.origin.clone() },
            tree::TreeError::TooLarge => SourceError::TooLarge { path: self.origin.clone() },
        }
    }
}

/// What is at a path of a tree.
pub(super) fn read_tree(
    repository: &Repository,
    tree: Oid,
    path: &str,
    teller: &Teller<'_>,
) -> Result<Snapshot, SourceError> {
    let read = tree::read(repository, tree, path).map_err(|error| teller.tell(path, error))?;
    let origin = teller.origin.clone();
    if read.kustomized {
        let tree = tree::Committed::new(repository, tree).map_err(&teller.broken)?;
        return Ok(Snapshot::kustomized(origin, &tree, path, teller.roots));
    }
    let (rejected, warnings) = (read.rejected, read.warnings);
    if read.chart {
        return Ok(Snapshot { rejected, warnings, ..Snapshot::of_chart(origin, path, read.files) });
    }
    Ok(Snapshot { warnings, ..Snapshot::new(origin, read.files, rejected) })
}

/// What a commit says of itself, without what a terminal would act on.
fn told(commit: &git2::Commit<'_>) -> super::Commit {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let person = |who: &git2::Signature<'_>| {
        let text = |bytes: &[u8]| clean(&String::from_utf8_lossy(bytes));
        format!("{} <{}>", text(who.name_bytes()), text(who.email_bytes()))
    };
    let time = jiff::Timestamp::from_second(commit.time().seconds()).unwrap_or_default();
    let subject = commit.summary_bytes().map(|bytes| clean(&String::from_utf8_lossy(bytes))).unwrap_or_default();
    super::Commit {
        author: person(&commit.author()),
        committer: person(&commit.committer()),
        time: time.to_string(),
        subject,
    }
}

/// Says what went wrong with what to do about it. libgit2's texts may hold the URL, and a server's
/// anything: neither the URL's credentials nor the Secret's get through.
fn explain(location: &GitLocation, access: &Access, error: &git2::Error) -> SourceError {
    let what = super::name::shown(error.message().trim()).replace(&location.url, &location.describe());
    let what = access.credentials.cut_out_of(&what);
    let hint = match (error.code(), error.class()) {
        (ErrorCode::Owner, _) => {
            "the repository belongs to another user: git config --global --add safe.directory PATH".to_owned()
        }
        (ErrorCode::Certificate, ErrorClass::Ssh) => trust::unknown_host(location),
        (_, ErrorClass::Ssl) | (ErrorCode::Certificate, _) => {
            "for a private CA, put its certificate as ca.crt into the Secret that spec.source.secretRef names, or name \
             its file in SSL_CERT_FILE"
                .to_owned()
        }
        _ if shared::is_denied(error) => credentials_hint(location),
        (_, ErrorClass::NoMemory) => {
            format!("an object of the repository is larger than {} MiB", memory::LIMIT >> 20)
        }
        (ErrorCode::UnbornBranch, _) => "the repository has no commit yet".to_owned(),
        (ErrorCode::NotFound, ErrorClass::Repository | ErrorClass::Os) => "is there a git repository?".to_owned(),
        (ErrorCode::NotFound, ErrorClass::Reference) => "check the name after #".to_owned(),
        _ => String::new(),
    };
    SourceError::Git { url: location.describe(), what, hint }
}

fn credentials_hint(location: &GitLocation) -> String {
    let keys = if location.url.starts_with("http") {
        "username and password, bearerToken, or a GitHub App"
    } else {
        "identity"
    };
    let ambient = if location.url.starts_with("http") { "" } else { ", an ssh agent, or a key in ~/.ssh" };
    format!("check the credentials: {keys} in the Secret that spec.source.secretRef names{ambient}")
}

#[cfg(test)]
pub(super) mod tests;
