//! The bare mirror of a remote repository: only the commits that were asked for, one deep where
//! the transport can.

use super::trust;
use crate::gitops::sources::Access;
use crate::gitops::sources::location::GitLocation;
use git2::{
    AutotagOption, Commit, Cred, CredentialType, ErrorClass, ErrorCode, FetchOptions, Oid, ProxyOptions, Remote,
    RemoteCallbacks, RemoteRedirect, Repository, RepositoryInitOptions,
};
use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

/// More than any repository of manifests has.
const MAX_TRANSFER_BYTES: usize = 1 << 30;
/// Where fetched commits are kept from being collected.
const KEPT: &str = "refs/selkie/commit";
/// Matches nothing: fetching it only asks which refs there are.
const NOTHING: &str = "refs/selkie/nothing:refs/selkie/nothing";

/// The other side of a fetch, and how to meet it.
struct Peer<'a> {
    location: &'a GitLocation,
    access: &'a Access,
    /// Why we did not trust it: libgit2 puts words of its own in the place of ours.
    refusal: RefCell<Option<String>>,
}

impl Peer<'_> {
    fn explained(&self, error: git2::Error) -> git2::Error {
        match self.refusal.take() {
            Some(refusal) => git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssh, refusal),
            None => error,
        }
    }
}

/// Opens the mirror, or makes it.
pub(super) fn open(path: &Path) -> Result<Repository, git2::Error> {
    match Repository::open_bare(path) {
        Ok(repository) => Ok(repository),
        Err(_) => {
            let mut options = RepositoryInitOptions::new();
            options.bare(true).mkpath(true).external_template(false);
            Repository::init_opts(path, &options)
        }
    }
}

/// The commit that the location means now, fetched if the mirror lacks it.
pub(super) fn commit<'a>(
    repository: &'a Repository,
    location: &GitLocation,
    access: &Access,
) -> Result<Commit<'a>, git2::Error> {
    let wanted = location.reference.as_deref();
    if let Some(full) = wanted.filter(|name| name.len() == 40)
        && let Ok(oid) = Oid::from_str(full)
        && let Ok(commit) = repository.find_commit(oid)
    {
        return Ok(commit);
    }
    let mut remote = repository.remote_anonymous(&location.url)?;
    let peer = Peer { location, access, refusal: RefCell::default() };
    // Not `connect_auth`, which cannot send a bearer token.
    remote.fetch(&[NOTHING], Some(&mut options(&peer)), None).map_err(|error| peer.explained(error))?;
    let (name, oid) = resolve(remote.list()?, wanted)?;
    let commit_of = |oid: Oid| repository.find_object(oid, None).and_then(|object| object.peel_to_commit());
    if let Ok(commit) = commit_of(oid) {
        return Ok(commit);
    }
    fetch(&mut remote, &name, &peer).map_err(|error| peer.explained(error))?;
    commit_of(oid)
}

/// The ref (or hash) to fetch, and the object it names.
fn resolve(heads: &[git2::RemoteHead<'_>], wanted: Option<&str>) -> Result<(String, Oid), git2::Error> {
    let Some(wanted) = wanted else {
        let head = heads.iter().find(|head| head.name() == "HEAD");
        return head.map(|head| ("HEAD".to_owned(), head.oid())).ok_or_else(|| {
            git2::Error::new(ErrorCode::UnbornBranch, ErrorClass::Reference, "the repository has no HEAD")
        });
    };
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

fn fetch(remote: &mut Remote<'_>, name: &str, peer: &Peer<'_>) -> Result<(), git2::Error> {
    let refspec = format!("+{name}:{KEPT}");
    let attempt = |remote: &mut Remote<'_>, specs: &[String], depth: i32| {
        remote.fetch(specs, Some(options(peer).depth(depth)), None)
    };
    let shallow = attempt(remote, std::slice::from_ref(&refspec), 1);
    match shallow {
        // Not every server is shallow, nor hands out any commit by its hash: take the branches.
        Err(error) if worth_more(&error) => {
            let all = ["+refs/heads/*:refs/selkie/heads/*".to_owned(), "+refs/tags/*:refs/selkie/tags/*".to_owned()];
            attempt(remote, &all, 0).map_err(|_| error)
        }
        other => other,
    }
}

/// Whether a failed shallow fetch may work as a whole one.
fn worth_more(error: &git2::Error) -> bool {
    let transport = matches!(error.class(), ErrorClass::Net | ErrorClass::Callback) || error.code() == ErrorCode::Auth;
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
    if let Some(header) = peer.access.credentials.authorization() {
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
        trust::check(peer.location, peer.access, certificate, host).inspect_err(|error| {
            peer.refusal.replace(Some(error.message().to_owned()));
        })
    });
    let start = Instant::now();
    callbacks.transfer_progress(move |progress| {
        start.elapsed() < peer.access.timeout && progress.received_bytes() < MAX_TRANSFER_BYTES
    });
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
    let own = &peer.access.credentials;
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
