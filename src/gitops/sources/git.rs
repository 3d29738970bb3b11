//! Manifests in a git repository, read from its objects: no checkout, no hooks, no submodules, no
//! filters.
//!
//! A repository on this machine is read in place and watched. Of a remote one, a bare mirror with
//! just the commits asked for is kept in the data directory, shared by all who read that repository
//! with the same credentials.

pub mod credentials;

pub(super) mod directories;
mod github;
mod memory;
mod mirror;
mod objects;
mod received;
pub(super) mod shared;
pub mod signers;
mod timeouts;
mod tree;
mod trust;

pub use received::received;
pub(super) use tree::{MAX_DEPTH, MAX_ENTRIES};

use super::location::GitLocation;
use super::repositories::Repositories;
use super::versions;
use super::watch::{self, Guard, Target};
use super::{Access, Branch, MAX_FILES, MAX_TOTAL_BYTES, Snapshot, Source, SourceError};
use crate::base::wake::Wake;
use async_trait::async_trait;
use git2::{Commit, ErrorClass, ErrorCode, Oid, Repository, RepositoryOpenFlags};
use shared::{Mirrored, Shared, User};
use std::path::Path;
use std::sync::Arc;

pub struct GitSource {
    location: GitLocation,
    access: Access,
    /// `None`: the repository is on this machine, and read in place.
    remote: Option<Remote>,
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
        Self { location, access, remote }
    }

    /// Looks at the commit, for as long as that may take.
    async fn read<T: Send + 'static>(&self, what: Look<T>) -> Result<T, SourceError> {
        let read = tokio::time::timeout(self.access.timeout, self.read_commit(what)).await;
        let (url, seconds) = (self.location.describe(), self.access.timeout.as_secs());
        read.unwrap_or(Err(SourceError::Timeout { url, seconds }))
    }

    async fn read_commit<T: Send + 'static>(&self, what: Look<T>) -> Result<T, SourceError> {
        let (location, access) = (self.location.clone(), self.access.clone());
        let mirrored = match &self.remote {
            None => None,
            Some(Remote { mirror, user }) => {
                Some(mirror.commit(user).await.map_err(|error| explain(&location, &access, &error))?)
            }
        };
        let _reading = match &self.remote {
            // Never closed.
            Some(remote) => remote.mirror.reading.acquire().await.ok(),
            None => None,
        };
        let url = location.describe();
        let read = tokio::task::spawn_blocking(move || match mirrored {
            None => read_local(&location, &access, what),
            Some(mirrored) => read_mirror(&mirrored, &location, &access, what),
        });
        let broken =
            |join: tokio::task::JoinError| SourceError::Git { url, what: join.to_string(), hint: String::new() };
        read.await.map_err(broken)?
    }
}

#[async_trait]
impl Source for GitSource {
    async fn fetch(&self) -> Result<Snapshot, SourceError> {
        self.read(read_commit).await
    }

    async fn directories(&self) -> Result<Vec<String>, SourceError> {
        self.read(read_directories).await
    }

    async fn branches(&self) -> Result<Vec<Branch>, SourceError> {
        let (location, access) = (self.location.clone(), self.access.clone());
        let heads = match &self.remote {
            Some(remote) => remote.mirror.heads(access.timeout).await,
            None => {
                let path = location.local().unwrap_or_default();
                let read = tokio::task::spawn_blocking(move || local_heads(&open_local(&path)?));
                read.await.unwrap_or_else(|join| Err(shared::broken(&join.to_string())))
            }
        };
        let heads = heads.map_err(|error| explain(&location, &access, &error))?;
        Ok(heads.into_iter().filter_map(|(name, oid)| branch(&name, oid)).collect())
    }

    fn expire(&self) {
        self.remote.iter().for_each(|remote| remote.mirror.expire());
    }

    fn watch(&self, wake: Wake) -> Result<Option<Guard>, SourceError> {
        if let Some(remote) = &self.remote {
            // Others may hear of a change first.
            remote.user.rings(wake);
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
        watch::start(&targets, relevant, wake).map(Some)
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

fn local_heads(repository: &Repository) -> Result<Vec<(String, Oid)>, git2::Error> {
    let references = repository.references_glob("refs/heads/*")?;
    let head = |reference: git2::Reference<'_>| {
        Some((String::from_utf8(reference.name_bytes().to_vec()).ok()?, reference.target()?))
    };
    Ok(references.flatten().filter_map(head).collect())
}

/// What is made of a commit.
type Look<T> = fn(&Repository, &Commit<'_>, &GitLocation, &Access) -> Result<T, SourceError>;

fn read_local<T>(location: &GitLocation, access: &Access, what: Look<T>) -> Result<T, SourceError> {
    let fail = |error: git2::Error| explain(location, access, &error);
    let repository = open_local(&location.local().unwrap_or_default()).map_err(fail)?;
    let commit = resolve_local(&repository, location.reference.as_deref()).map_err(fail)?;
    what(&repository, &commit, location, access)
}

fn read_mirror<T>(
    mirrored: &Mirrored,
    location: &GitLocation,
    access: &Access,
    what: Look<T>,
) -> Result<T, SourceError> {
    let fail = |error: git2::Error| explain(location, access, &error);
    let repository = mirrored.directory.open().map_err(fail)?;
    let commit = objects::commit(&repository, mirrored.oid).map_err(fail)?;
    what(&repository, &commit, location, access)
}

fn read_commit(
    repository: &Repository,
    commit: &Commit<'_>,
    location: &GitLocation,
    access: &Access,
) -> Result<Snapshot, SourceError> {
    check_signature(repository, commit, location, access)?;
    let mut snapshot = Snapshot { origin: location.describe(), ..Snapshot::default() };
    for path in location.paths() {
        let one = read_path(repository, commit, location, access, path)?;
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

/// What is in one directory.
fn read_path(
    repository: &Repository,
    commit: &Commit<'_>,
    location: &GitLocation,
    access: &Access,
    path: &str,
) -> Result<Snapshot, SourceError> {
    read_tree(repository, commit.tree_id(), path, &Teller::of_commit(commit, location, access))
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

/// Says what is wrong with a tree.
pub(super) struct Teller<'a> {
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
        return Ok(Snapshot::kustomized(origin, &tree, path));
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

/// Opens exactly this directory: a directory inside another repository is not that repository.
fn open_local(path: &Path) -> Result<Repository, git2::Error> {
    let none: [&Path; 0] = [];
    Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, none)
}

fn resolve_local<'a>(repository: &'a Repository, reference: Option<&str>) -> Result<Commit<'a>, git2::Error> {
    let target = |found: git2::Reference<'_>| {
        let oid = found.resolve()?.target();
        oid.ok_or_else(|| git2::Error::new(ErrorCode::NotFound, ErrorClass::Reference, "it leads nowhere"))
    };
    let Some(name) = reference else { return objects::commit(repository, target(repository.head()?)?) };
    if let Some(range) = name.strip_prefix(versions::PREFIX) {
        let tags = repository.tag_names(None)?;
        let tag = mirror::highest(range, tags.iter().flatten().flatten())?;
        return objects::commit(repository, target(repository.find_reference(&format!("refs/tags/{tag}"))?)?);
    }
    for full in [
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}"),
        format!("refs/remotes/origin/{name}"),
        name.to_owned(),
    ] {
        match repository.find_reference(&full) {
            Ok(found) => return objects::commit(repository, target(found)?),
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
            Err(error) => return Err(error),
        }
    }
    if is_hash(name) {
        return objects::commit(repository, repository.odb()?.exists_prefix(Oid::from_str(name)?, name.len())?);
    }
    Err(git2::Error::new(ErrorCode::NotFound, ErrorClass::Reference, format!("no branch, tag or commit {name:?}")))
}

fn is_hash(text: &str) -> bool {
    (7..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
mod tests;
