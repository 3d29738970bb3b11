//! The bare mirror of a remote repository: only the commits that were asked for, one deep where
//! the transport can.

use crate::gitops::sources::location::GitLocation;
use git2::{
    AutotagOption, Commit, Cred, CredentialType, Direction, ErrorClass, ErrorCode, FetchOptions, Oid, ProxyOptions,
    Remote, RemoteCallbacks, Repository, RepositoryInitOptions,
};
use std::path::Path;
use std::time::{Duration, Instant};

/// A transfer that takes longer is given up.
const TRANSFER_LIMIT: Duration = Duration::from_secs(110);
/// More than any repository of manifests has.
const MAX_TRANSFER_BYTES: usize = 1 << 30;
/// Where fetched commits are kept from being collected.
const KEPT: &str = "refs/selkie/commit";

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
pub(super) fn commit<'a>(repository: &'a Repository, location: &GitLocation) -> Result<Commit<'a>, git2::Error> {
    let wanted = location.reference.as_deref();
    if let Some(full) = wanted.filter(|name| name.len() == 40)
        && let Ok(oid) = Oid::from_str(full)
        && let Ok(commit) = repository.find_commit(oid)
    {
        return Ok(commit);
    }
    let mut remote = repository.remote_anonymous(&location.url)?;
    let (name, oid) = {
        let proxy = proxy();
        let connection = remote.connect_auth(Direction::Fetch, Some(callbacks()), Some(proxy))?;
        resolve(connection.list()?, wanted)?
    };
    let commit_of = |oid: Oid| repository.find_object(oid, None).and_then(|object| object.peel_to_commit());
    if let Ok(commit) = commit_of(oid) {
        return Ok(commit);
    }
    fetch(&mut remote, &name)?;
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

fn fetch(remote: &mut Remote<'_>, name: &str) -> Result<(), git2::Error> {
    let refspec = format!("+{name}:{KEPT}");
    let attempt = |remote: &mut Remote<'_>, specs: &[String], depth: i32| {
        let mut options = FetchOptions::new();
        options.remote_callbacks(callbacks()).proxy_options(proxy()).download_tags(AutotagOption::None).depth(depth);
        remote.fetch(specs, Some(&mut options), None)
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

fn callbacks<'a>() -> RemoteCallbacks<'a> {
    let mut callbacks = RemoteCallbacks::new();
    let mut tries = 0;
    // libgit2 asks again after each refusal, without end.
    callbacks.credentials(move |_url, user, allowed| {
        tries += 1;
        credential(tries, user, allowed)
    });
    let start = Instant::now();
    callbacks.transfer_progress(move |progress| {
        start.elapsed() < TRANSFER_LIMIT && progress.received_bytes() < MAX_TRANSFER_BYTES
    });
    callbacks
}

/// The agent first, then the usual key files; https credentials come with the URL itself.
fn credential(tries: usize, user: Option<&str>, allowed: CredentialType) -> Result<Cred, git2::Error> {
    let user = user.unwrap_or("git");
    if allowed.contains(CredentialType::USERNAME) {
        return Cred::username(user);
    }
    if allowed.contains(CredentialType::SSH_KEY) {
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
    Err(git2::Error::new(ErrorCode::Auth, ErrorClass::Net, "the server asks for credentials that are not there"))
}
