//! The bare mirror of a remote repository: only the commits that were asked for, one deep where
//! the transport can.

use super::{objects, trust};
use crate::gitops::sources::Credentials;
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::versions::{self, Range};
use git2::{
    AutotagOption, Cred, CredentialType, ErrorClass, ErrorCode, FetchOptions, Oid, Progress, ProxyOptions,
    RemoteCallbacks, RemoteRedirect, Repository,
};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What one transfer may have: more than any repository of manifests has.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub bytes: usize,
    /// Files, directories and commits.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, objects: 1_000_000 }
    }
}

/// Where fetched commits are kept, each under a digest of the name it was asked for by: names that
/// cannot stand beside each other (`a` and `a/b`) may follow each other at the remote.
const KEPT: &str = "refs/selkie/kept";
/// Matches nothing: fetching it only asks which refs there are.
const NOTHING: &str = "refs/selkie/nothing:refs/selkie/nothing";

/// What each reference (`None`: HEAD) means at the remote, as far as that could be found out.
pub(super) type Found = BTreeMap<Option<String>, Result<Oid, git2::Error>>;

/// Commits that are too much for us, with the reason: to fetch them again and again would keep us busy.
pub(super) type Refused = BTreeMap<Oid, git2::Error>;

/// The other side of a fetch, and how to meet it.
pub(super) struct Peer<'a> {
    location: &'a GitLocation,
    credentials: &'a Credentials,
    start: Instant,
    /// The longest that it may take, all in all.
    patience: Duration,
    pub limits: Limits,
    /// Why we did not trust it, or broke off: libgit2 puts words of its own in the place of ours.
    refusal: RefCell<Option<git2::Error>>,
}

impl<'a> Peer<'a> {
    pub fn new(location: &'a GitLocation, credentials: &'a Credentials, patience: Duration) -> Self {
        Self {
            location,
            credentials,
            start: Instant::now(),
            patience,
            limits: Limits::default(),
            refusal: RefCell::default(),
        }
    }

    fn explained(&self, error: git2::Error) -> git2::Error {
        self.refusal.take().unwrap_or(error)
    }

    /// Whether a transfer may go on.
    fn bears(&self, progress: &Progress<'_>) -> bool {
        let Limits { bytes, objects } = self.limits;
        let too_much = if progress.received_bytes() > bytes {
            Some(format!("the repository sends more than {} MiB", bytes >> 20))
        } else if progress.total_objects() > objects {
            let found = progress.total_objects();
            Some(format!("the repository sends {found} objects, more than the {objects} it may"))
        } else {
            None
        };
        let bears = too_much.is_none() && self.start.elapsed() < self.patience;
        if let Some(what) = too_much {
            self.refusal.replace(Some(git2::Error::new(ErrorCode::User, ErrorClass::Callback, what)));
        }
        bears
    }
}

/// All refs of the remote.
pub(super) fn heads(repository: &Repository, peer: &Peer<'_>) -> Result<Vec<(String, Oid)>, git2::Error> {
    let mut remote = repository.remote_anonymous(&peer.location.url)?;
    remote.fetch(&[NOTHING], Some(&mut options(peer)), None).map_err(|error| peer.explained(error))?;
    Ok(remote.list()?.iter().map(|head| (head.name().to_owned(), head.oid())).collect())
}

/// Asks what the references mean now, and fetches the commits that the mirror lacks, those excepted
/// that were refused.
pub(super) fn update(
    repository: &Repository,
    wanted: &BTreeSet<Option<String>>,
    peer: &Peer<'_>,
    refused: &mut Refused,
) -> Result<Found, git2::Error> {
    let mut remote = repository.remote_anonymous(&peer.location.url)?;
    // Not `connect_auth`, which cannot send a bearer token.
    remote.fetch(&[NOTHING], Some(&mut options(peer)), None).map_err(|error| peer.explained(error))?;
    let heads = remote.list()?;
    let resolved: Vec<_> = wanted.iter().map(|name| (name.clone(), resolve(heads, name.as_deref()))).collect();
    let missing: BTreeMap<String, Oid> = resolved
        .iter()
        .filter_map(|(_, found)| found.as_ref().ok())
        .filter(|(_, oid)| !refused.contains_key(oid) && objects::commit(repository, *oid).is_err())
        .cloned()
        .collect();
    let names: Vec<&String> = missing.keys().collect();
    let everything: Vec<String> =
        heads.iter().map(|head| head.name()).filter(|name| is_named(name)).map(refspec).collect();
    let mut failures = fetch_all(repository, &names, &everything, peer);
    for (name, oid) in &missing {
        if let Some(error) = failures.get(name).filter(|error| is_refusal(error)) {
            refused.insert(*oid, again(error));
        }
    }
    let found = resolved.into_iter().map(|(wanted, found)| {
        let found =
            found.and_then(|(name, oid)| match failures.remove(&name).or_else(|| refused.get(&oid).map(again)) {
                Some(error) => Err(error),
                None => objects::commit(repository, oid).map(|commit| commit.id()),
            });
        (wanted, found)
    });
    Ok(found.collect())
}

/// Whether we broke off, and would again.
fn is_refusal(error: &git2::Error) -> bool {
    error.class() == ErrorClass::NoMemory || error.code() == ErrorCode::User && error.class() == ErrorClass::Callback
}

/// The same error once more.
pub(super) fn again(error: &git2::Error) -> git2::Error {
    git2::Error::new(error.code(), error.class(), error.message())
}

/// The commit that a full hash names, where the mirror has it: no other can ever have that name.
pub(super) fn pinned(repository: &Repository, reference: Option<&str>) -> Option<Oid> {
    let oid = Oid::from_str(reference.filter(|name| name.len() == 40)?).ok()?;
    objects::commit(repository, oid).ok().map(|commit| commit.id())
}

/// The ref (or hash) to fetch, and the object it names.
fn resolve(heads: &[git2::RemoteHead<'_>], wanted: Option<&str>) -> Result<(String, Oid), git2::Error> {
    let Some(wanted) = wanted else {
        let head = heads.iter().find(|head| head.name() == "HEAD");
        return head.map(|head| ("HEAD".to_owned(), head.oid())).ok_or_else(|| {
            git2::Error::new(ErrorCode::UnbornBranch, ErrorClass::Reference, "the repository has no HEAD")
        });
    };
    if let Some(range) = wanted.strip_prefix(versions::PREFIX) {
        let tags = heads.iter().filter_map(|head| head.name().strip_prefix("refs/tags/"));
        let full = format!("refs/tags/{}", highest(range, tags)?);
        let head = heads.iter().find(|head| head.name() == full);
        return head.map(|head| (full, head.oid())).ok_or_else(|| not_found("the tag is gone"));
    }
    for full in [format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}"), wanted.to_owned()] {
        if let Some(head) = heads.iter().find(|head| head.name() == full) {
            return Ok((full, head.oid()));
        }
    }
    if wanted.len() == 40
        && let Ok(oid) = Oid::from_str(wanted)
    {
        return Ok((wanted.to_owned(), oid));
    }
    let what = if super::is_hash(wanted) {
        format!("no branch or tag {wanted:?}; a commit of a remote repository needs all 40 digits")
    } else {
        format!("no branch or tag {wanted:?}")
    };
    Err(git2::Error::new(ErrorCode::NotFound, ErrorClass::Reference, what))
}

/// The tag of the highest version in a range.
pub(super) fn highest<'a>(range: &str, tags: impl Iterator<Item = &'a str>) -> Result<&'a str, git2::Error> {
    let parsed = Range::parse(range).map_err(|why| not_found(&why))?;
    parsed.highest(tags).ok_or_else(|| not_found(&format!("no tag is a version in the range {range:?}")))
}

fn not_found(what: &str) -> git2::Error {
    git2::Error::new(ErrorCode::NotFound, ErrorClass::Reference, what)
}

/// Fetches each of these refs (or hashes); what went wrong with which.
fn fetch_all(
    repository: &Repository,
    names: &[&String],
    everything: &[String],
    peer: &Peer<'_>,
) -> BTreeMap<String, git2::Error> {
    let specs: Vec<String> = names.iter().map(|name| refspec(name)).collect();
    if names.len() > 1 && attempt(repository, &specs, 1, peer).is_ok() {
        return BTreeMap::new();
    }
    // One that cannot be had must not keep the others from coming.
    let failed = names.iter().filter_map(|name| {
        let error = fetch(repository, name, everything, peer).err()?;
        Some(((*name).clone(), peer.explained(error)))
    });
    failed.collect()
}

/// By a remote of its own: one whose connection broke waits for what never comes when it is used again.
fn attempt(repository: &Repository, specs: &[String], depth: i32, peer: &Peer<'_>) -> Result<(), git2::Error> {
    let mut remote = repository.remote_anonymous(&peer.location.url)?;
    remote.fetch(specs, Some(options(peer).depth(depth)), None)
}

fn refspec(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("+{name}:{KEPT}/{digits}")
}

/// Branches and tags, without what tags point to.
fn is_named(name: &str) -> bool {
    ["refs/heads/", "refs/tags/"].iter().any(|kind| name.starts_with(kind)) && !name.ends_with("^{}")
}

fn fetch(repository: &Repository, name: &str, everything: &[String], peer: &Peer<'_>) -> Result<(), git2::Error> {
    let shallow = attempt(repository, &[refspec(name)], 1, peer);
    match shallow {
        // Not every server is shallow, nor hands out any commit by its hash: take the branches.
        Err(error) if worth_more(&error) && peer.refusal.borrow().is_none() => {
            attempt(repository, everything, 0, peer).map_err(|_| error)
        }
        other => other,
    }
}

/// Whether a failed shallow fetch may work as a whole one.
fn worth_more(error: &git2::Error) -> bool {
    let transport = matches!(error.class(), ErrorClass::Net | ErrorClass::Ssh | ErrorClass::Callback)
        || error.code() == ErrorCode::Auth;
    !transport || error.message().contains("shallow")
}

fn proxy<'a>() -> ProxyOptions<'a> {
    let mut options = ProxyOptions::new();
    options.auto();
    options
}

fn options<'a>(peer: &'a Peer<'_>) -> FetchOptions<'a> {
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks(peer))
        .proxy_options(proxy())
        .download_tags(AutotagOption::None)
        .update_fetchhead(false);
    if let Some(header) = peer.credentials.authorization() {
        // A redirect would take the token to another server.
        options.custom_headers(&[&header]).follow_redirects(RemoteRedirect::None);
    }
    options
}

fn callbacks<'a>(peer: &'a Peer<'_>) -> RemoteCallbacks<'a> {
    let mut callbacks = RemoteCallbacks::new();
    let mut tries = 0;
    // libgit2 asks again after each refusal, without end.
    callbacks.credentials(move |url, user, allowed| {
        tries += 1;
        credential(peer, tries, url, user, allowed)
    });
    callbacks.certificate_check(move |certificate, host| {
        trust::check(peer.location, peer.credentials, certificate, host).inspect_err(|error| {
            peer.refusal.replace(Some(git2::Error::new(error.code(), error.class(), error.message())));
        })
    });
    callbacks.transfer_progress(move |progress| peer.bears(&progress));
    callbacks
}

/// What the Secret holds; without one what the machine has: the agent first, then the usual key
/// files. https credentials may come with the URL itself, which libgit2 uses without asking.
fn credential(
    peer: &Peer<'_>,
    tries: usize,
    url: &str,
    user: Option<&str>,
    allowed: CredentialType,
) -> Result<Cred, git2::Error> {
    let own = peer.credentials;
    let refuse = |what: &str| Err(git2::Error::new(ErrorCode::Auth, ErrorClass::Net, what));
    let user = user.filter(|user| !user.is_empty()).unwrap_or("git");
    if allowed.contains(CredentialType::USERNAME) {
        return Cred::username(user);
    }
    if let Some((name, password)) = own.login().filter(|_| allowed.contains(CredentialType::USER_PASS_PLAINTEXT)) {
        let elsewhere = GitLocation::new(url, "", "").is_ok_and(|asked| asked.host() != peer.location.host());
        return match (tries, elsewhere) {
            (_, true) => refuse("the server sends us to another host, which gets no credentials"),
            (1, false) => Cred::userpass_plaintext(name, password),
            _ => refuse("the server refuses the user name or password"),
        };
    }
    if allowed.contains(CredentialType::SSH_MEMORY)
        && let Some((identity, passphrase)) = own.identity()
    {
        return match tries {
            // The user name may have been asked for before.
            1 | 2 => Cred::ssh_key_from_memory(user, None, identity, passphrase),
            _ => refuse("the server refuses the identity"),
        };
    }
    if allowed.contains(CredentialType::SSH_KEY) && own.is_empty() {
        let keys = ["id_ed25519", "id_ecdsa", "id_rsa"];
        if tries == 1 && std::env::var_os("SSH_AUTH_SOCK").is_some() {
            return Cred::ssh_key_from_agent(user);
        }
        let home = std::env::home_dir().unwrap_or_default();
        let existing = keys.iter().map(|key| home.join(".ssh").join(key)).filter(|path| path.exists());
        if let Some(path) = existing.into_iter().nth(tries.saturating_sub(2)) {
            return Cred::ssh_key(user, None, &path, None);
        }
    }
    refuse("the server asks for credentials that are not there, or refuses those that are")
}
