//! One mirror and all who use it: one of them asks the remote, at one time, and all hear the answer.
//!
//! An answer counts for whoever asked before it was begun, and for as long as the asker's interval.
//! When it is another one than somebody used, they are woken.

use super::directories::Directory;
use super::mirror::{self, Found, Peer, Refused, again};
use super::timeouts;
use crate::base::backoff::Backoff;
use crate::base::wake::Wake;
use crate::gitops::sources::Credentials;
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::repositories::Repositories;
use git2::{ErrorClass, ErrorCode, Oid};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How long a failure counts for everybody, doubled by each one that follows.
const FAILURE: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) };

/// Those who read one mirror at the same time.
const READERS: usize = 4;
/// What was refused is tried again after this long.
const REFUSAL: Duration = Duration::from_secs(600);

/// The mirror of a repository, fetched with these credentials.
pub(in crate::gitops::sources) struct Shared {
    repositories: Arc<Repositories>,
    key: String,
    pub location: GitLocation,
    credentials: Credentials,
    directory: Mutex<Option<Arc<Directory>>>,
    users: Mutex<Vec<Weak<User>>>,
    /// Held by the thread that fetches, also after we stopped waiting for it: a server that hangs
    /// costs one thread, not one for each try.
    fetching: Arc<tokio::sync::Mutex<()>>,
    heard: Mutex<Heard>,
    /// Many may want to read at once; each takes a thread, and memory.
    pub reading: tokio::sync::Semaphore,
    /// Since when.
    refused: Mutex<Option<(Instant, Refused)>>,
}

#[derive(Default)]
struct Heard {
    last: Option<Arc<Answer>>,
    /// What was begun before does not count.
    expired: Option<Instant>,
    failures: u32,
}

struct Answer {
    begun: Instant,
    found: Result<(Found, Arc<Directory>), git2::Error>,
}

/// A commit and the mirror that has it, which stays where it is until this is dropped.
pub(in crate::gitops::sources) struct Mirrored {
    pub oid: Oid,
    pub directory: Arc<Directory>,
}

/// Somebody who follows a reference.
pub(in crate::gitops::sources) struct User {
    reference: Option<String>,
    timeout: Duration,
    max_age: Duration,
    wake: Mutex<Option<Wake>>,
    uses: Mutex<Uses>,
}

/// What a user goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uses {
    /// It is asking.
    Open,
    Commit(Oid),
    Failure,
}

impl User {
    pub fn rings(&self, wake: Wake) {
        *self.wake.lock() = Some(wake);
    }

    /// Wakes the user if this is something else than what it goes by.
    fn told(&self, found: &Result<Oid, git2::Error>) {
        let news = match (*self.uses.lock(), found) {
            (Uses::Commit(used), Ok(oid)) => used != *oid,
            (Uses::Failure, Ok(_)) => true,
            _ => false,
        };
        if news && let Some(wake) = &*self.wake.lock() {
            wake.ring();
        }
    }
}

impl Shared {
    pub fn new(repositories: Arc<Repositories>, key: String, location: GitLocation, credentials: Credentials) -> Self {
        Self {
            repositories,
            key,
            location,
            credentials,
            directory: Mutex::default(),
            users: Mutex::default(),
            fetching: Arc::default(),
            heard: Mutex::default(),
            reading: tokio::sync::Semaphore::new(READERS),
            refused: Mutex::default(),
        }
    }

    /// `max_age`: how old an answer may be.
    pub fn join(&self, reference: Option<String>, timeout: Duration, max_age: Duration) -> Arc<User> {
        let (wake, uses) = (Mutex::default(), Mutex::new(Uses::Open));
        let user = Arc::new(User { reference, timeout, max_age, wake, uses });
        self.users.lock().push(Arc::downgrade(&user));
        user
    }

    /// What was heard so far does not count any more.
    pub fn expire(&self) {
        self.heard.lock().expired = Some(Instant::now());
    }

    /// The commit that the user's reference means, which is in the mirror. Dropping this leaves a
    /// fetch alone, for the others.
    pub async fn commit(self: &Arc<Self>, user: &Arc<User>) -> Result<Mirrored, git2::Error> {
        *user.uses.lock() = Uses::Open;
        let found = self.find(user).await;
        *user.uses.lock() = found.as_ref().map_or(Uses::Failure, |found| Uses::Commit(found.oid));
        // Somebody may have heard more while we were on our way here.
        let newest = self.heard.lock().last.clone();
        if let Some(Ok((found, _))) = newest.as_ref().map(|answer| &answer.found)
            && let Some(found) = found.get(&user.reference)
        {
            user.told(found);
        }
        found
    }

    async fn find(self: &Arc<Self>, user: &Arc<User>) -> Result<Mirrored, git2::Error> {
        let asked = Instant::now();
        if let Some(mirrored) = self.pinned(user).await? {
            return Ok(mirrored);
        }
        if let Some(found) = self.known(user, asked) {
            return found;
        }
        let alone = self.fetching.clone().lock_owned().await;
        if let Some(found) = self.known(user, asked) {
            return found;
        }
        let (this, begun) = (self.clone(), Instant::now());
        let fetched = tokio::task::spawn_blocking(move || {
            let found = this.fetch();
            let answer = this.hear(Answer { begun, found });
            drop(alone);
            answer
        });
        let answer = fetched.await.map_err(|join| broken(&join.to_string()))?;
        answer.about(&user.reference).unwrap_or_else(|| Err(broken("the fetch left it out")))
    }

    /// All refs that the remote has now, with the objects they name.
    pub async fn heads(self: &Arc<Self>, patience: Duration) -> Result<Vec<(String, Oid)>, git2::Error> {
        let alone = self.fetching.clone().lock_owned().await;
        let this = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            timeouts::set();
            let repository = this.directory()?.open()?;
            let heads = this.meet(patience, |peer| mirror::heads(&repository, peer));
            drop(alone);
            heads
        });
        asked.await.map_err(|join| broken(&join.to_string()))?
    }

    /// A commit that is named by its hash needs to be fetched but once.
    async fn pinned(self: &Arc<Self>, user: &Arc<User>) -> Result<Option<Mirrored>, git2::Error> {
        if user.reference.as_ref().is_none_or(|name| name.len() != 40) {
            return Ok(None);
        }
        let (this, user) = (self.clone(), user.clone());
        let look = tokio::task::spawn_blocking(move || {
            let directory = this.directory()?;
            let oid = mirror::pinned(&directory.open()?, user.reference.as_deref());
            Ok(oid.map(|oid| Mirrored { oid, directory }))
        });
        look.await.map_err(|join| broken(&join.to_string()))?
    }

    /// An answer that counts for this user.
    fn known(&self, user: &User, asked: Instant) -> Option<Result<Mirrored, git2::Error>> {
        let heard = self.heard.lock();
        let last = heard.last.as_ref()?;
        if heard.expired.is_some_and(|expired| last.begun < expired) {
            return None;
        }
        let found = last.about(&user.reference)?;
        let lasts = match &found {
            Ok(_) => user.max_age,
            Err(_) => user.max_age.min(FAILURE.after(heard.failures.max(1))),
        };
        (last.begun >= asked || asked - last.begun < lasts).then_some(found)
    }

    fn fetch(&self) -> Result<(Found, Arc<Directory>), git2::Error> {
        timeouts::set();
        let users = self.users();
        let wanted: BTreeSet<_> = users.iter().map(|user| user.reference.clone()).collect();
        let patience = users.iter().map(|user| user.timeout).max().unwrap_or_default();
        let mut directory = self.directory()?;
        if let Some(successor) = directory.successor(&self.repositories.root, &self.key).map_err(unusable)? {
            directory = Arc::new(successor);
        }
        let repository = directory.open()?;
        let known = self.refused.lock().take().filter(|(since, _)| since.elapsed() < REFUSAL);
        let (since, mut refused) = known.unwrap_or_else(|| (Instant::now(), Refused::default()));
        let found = self.meet(patience, |peer| mirror::update(&repository, &wanted, peer, &mut refused));
        *self.refused.lock() = Some((since, refused));
        let found = found?;
        *self.directory.lock() = Some(directory.clone());
        Ok((found, directory))
    }

    /// Does something at the remote; once more if a token that we had may have ended meanwhile.
    fn meet<T>(
        &self,
        patience: Duration,
        mut act: impl FnMut(&Peer<'_>) -> Result<T, git2::Error>,
    ) -> Result<T, git2::Error> {
        loop {
            let (credentials, may_have_ended) = self.credentials.for_fetch(patience)?;
            let done = act(&Peer::new(&self.location, &credentials, patience));
            match done {
                Err(error) if is_denied(&error) => {
                    self.credentials.forget();
                    if !may_have_ended {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    fn hear(&self, answer: Answer) -> Arc<Answer> {
        self.repositories.count(answer.found.is_ok());
        let answer = Arc::new(answer);
        let mut heard = self.heard.lock();
        heard.failures = if answer.found.is_ok() { 0 } else { heard.failures + 1 };
        heard.last = Some(answer.clone());
        drop(heard);
        if let Ok((found, _)) = &answer.found {
            for user in self.users() {
                found.get(&user.reference).into_iter().for_each(|found| user.told(found));
            }
        }
        answer
    }

    fn users(&self) -> Vec<Arc<User>> {
        let mut users = self.users.lock();
        users.retain(|user| user.strong_count() > 0);
        users.iter().filter_map(Weak::upgrade).collect()
    }

    /// The mirror as it is now; it stays where it is until this is dropped.
    fn directory(&self) -> Result<Arc<Directory>, git2::Error> {
        let mut directory = self.directory.lock();
        if let Some(directory) = &*directory {
            return Ok(directory.clone());
        }
        let taken = Arc::new(Directory::take(&self.repositories.root, &self.key).map_err(unusable)?);
        *directory = Some(taken.clone());
        Ok(taken)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.repositories.left();
    }
}

impl Answer {
    /// `None`: that was not asked.
    fn about(&self, reference: &Option<String>) -> Option<Result<Mirrored, git2::Error>> {
        match &self.found {
            Ok((found, directory)) => {
                let mirrored = |oid: &Oid| Mirrored { oid: *oid, directory: directory.clone() };
                found.get(reference).map(|found| found.as_ref().map(mirrored).map_err(again))
            }
            Err(error) => Some(Err(again(error))),
        }
    }
}

/// Whether the server does not take who we say we are.
pub(super) fn is_denied(error: &git2::Error) -> bool {
    let told = || ["401", "403"].iter().any(|code| error.message().contains(code));
    error.code() == ErrorCode::Auth || error.class() == ErrorClass::Http && told()
}

pub(super) fn broken(what: &str) -> git2::Error {
    git2::Error::new(ErrorCode::GenericError, ErrorClass::None, what)
}

fn unusable(error: std::io::Error) -> git2::Error {
    git2::Error::new(ErrorCode::GenericError, ErrorClass::Os, format!("the directory for mirrors: {error}"))
}
