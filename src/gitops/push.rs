//! Applications that are pushed: their repositories at `/git/NAME`, by git's own server.
//!
//! A push is judged before it changes anything: git keeps what came in quarantine and asks its
//! pre-receive hook, which asks us ([`hook`]); the manifests are planned from there. What is accepted is an
//! ordinary local source ([`Repository`]), so that a daemon that ends at any moment goes on from the refs.
//! Whoever pushed is then told what the sync does, and may leave at any time.
//!
//! Nothing of a repository is executed: hooks are ours, settings are given with each call.

pub mod hook;

mod backend;
mod decide;
mod follow;
mod judge;
mod repository;
mod session;

pub use repository::Repository;

use super::application::{Application, NAMESPACE};
use super::kinds::Kinds;
use super::plan::Report;
use super::sources::location::GitLocation;
use super::sources::{Repositories, Snapshot, SourceError};
use super::sync::engine::READY_LIMIT;
use super::sync::{Claim, Event, Progress, Reporter, wait};
use crate::apiserver::{Body, GitRequest, GitServer, GitService};
use crate::base::clock::Clock;
use crate::base::ids::Ids;
use crate::base::socket;
use crate::base::wake::Wake;
use crate::client::{Change, Informer, raw};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use backend::Call;
use hook::{Caller, Hook};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use session::{Places, Session, Told};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast};

/// What all pushes to one application may take on disk.
const QUOTA: u64 = 1 << 30;
/// What one push may bring.
const MAX_PUSH: u64 = 256 << 20;
/// With less left than this nothing is taken any more.
const LEAST: u64 = 1 << 20;
/// The longest that git may take to receive or send.
const TRANSFER: Duration = Duration::from_secs(600);
/// Rollouts that are watched at the same time.
const FOLLOWERS: usize = 64;
/// With more packs than this a repository is packed anew.
const PACKS: usize = 20;
/// Events that may wait for a slow reader.
const EVENTS: usize = 1024;
/// How long who comes too early is kept waiting, and how often it is looked.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
/// How soon the socket for hooks is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How what happens is told to whoever pushed: text in whole lines, without colours.
pub trait Wording: Send + Sync {
    fn plan(&self, report: &Report) -> String;
    fn event(&self, application: &str, event: &Event) -> String;
}

/// What others have to do with the objects of the Application of a name.
type Claims = Box<dyn Fn(&str) -> Vec<Claim> + Send + Sync>;

/// What pushes are about, once the engine runs.
pub struct Target {
    pub client: kube::Client,
    pub kinds: Arc<dyn Kinds>,
    pub applications: Informer<Application>,
    pub claims: Claims,
    /// Those that kustomizations name.
    pub repositories: Arc<Repositories>,
    /// What sync windows are looked at by.
    pub clock: Clock,
    /// Makes the Application of that name look at its source.
    pub wake: Box<dyn Fn(&str) + Send + Sync>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Serves pushes, and listens to syncs on behalf of those who pushed.
pub struct Pushes {
    this: Weak<Self>,
    /// Holds the repositories, the hooks and their socket.
    root: PathBuf,
    /// This program, which the hooks are.
    program: PathBuf,
    reporter: Arc<dyn Reporter>,
    wording: Arc<dyn Wording>,
    ids: Ids,
    events: broadcast::Sender<Told>,
    connected: Mutex<Option<(Arc<Target>, PathBuf)>>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// One push of an application is judged at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    places: Places,
    followers: Semaphore,
    pushes: Family<Outcome, Counter>,
}

/// Why a request is not passed on to git.
#[derive(Debug)]
struct Refusal {
    code: StatusCode,
    text: String,
}

impl Refusal {
    fn new(code: StatusCode, text: impl std::fmt::Display) -> Self {
        Self { code, text: format!("{text}\n") }
    }
}

/// What an Application's repository is called.
fn address(application: &Application) -> String {
    format!("/git/{}", application.name())
}

impl Pushes {
    /// `root`: a directory for what is pushed. `reporter` hears all that comes in at the new one.
    pub fn new(
        root: PathBuf,
        program: PathBuf,
        reporter: Arc<dyn Reporter>,
        wording: Arc<dyn Wording>,
        ids: Ids,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            root,
            program,
            reporter,
            wording,
            ids,
            events: broadcast::Sender::new(EVENTS),
            connected: Mutex::default(),
            sessions: Mutex::default(),
            turns: Mutex::default(),
            places: Places::default(),
            followers: Semaphore::new(FOLLOWERS),
            pushes: Family::default(),
        })
    }

    /// Shows how many pushes were judged, and how.
    pub fn count_in(&self, metrics: &Metrics) {
        metrics.register("selkie_git_pushes", "Pushes that were judged, by outcome", self.pushes.clone());
    }

    /// The repository of an Application.
    pub fn repository(&self, application: &Application) -> Repository {
        Repository::of(&self.root, application.metadata.uid.as_deref().unwrap_or_default())
    }

    /// Where an Application that is pushed is read, from the first push on.
    pub async fn location(&self, application: &Application) -> Result<GitLocation, SourceError> {
        let (repository, source) = (self.repository(application), &application.spec.source);
        let location = source.in_repository(&repository.path().display().to_string())?;
        let branch = source.branch().to_owned();
        let (name, wanted) = (application.name().to_owned(), branch.clone());
        let look = tokio::task::spawn_blocking(move || repository.prepare(&branch).map(|()| repository.tip(&branch)));
        let failed = |what: String| SourceError::Git { url: address(application), what, hint: String::new() };
        let tip = look.await.map_err(|join| failed(join.to_string()))?.map_err(|error| failed(error.to_string()))?;
        tip.map(|_| location).ok_or(SourceError::NothingPushed { application: name, branch: wanted })
    }

    /// What was read there, by the name that whoever pushes knows it by.
    pub fn told(
        &self,
        application: &Application,
        read: Result<Snapshot, SourceError>,
    ) -> Result<Snapshot, SourceError> {
        let place = self.repository(application).path().display().to_string();
        let named = |text: &str| text.replace(&place, &address(application));
        match read {
            Ok(snapshot) => Ok(Snapshot { origin: named(&snapshot.origin), ..snapshot }),
            Err(SourceError::Git { url, what, hint }) => Err(SourceError::Git { url: named(&url), what, hint }),
            Err(SourceError::Signature { url, commit, why }) => {
                Err(SourceError::Signature { url: named(&url), commit, why })
            }
            Err(other) => Err(other),
        }
    }

    /// Takes pushes, for ever. Until now all were told to come back later.
    pub async fn run(self: Arc<Self>, target: Target) {
        let (target, gone) = (Arc::new(target), Wake::default());
        let bell = gone.clone();
        target.applications.subscribe(Box::new(move |change| {
            if matches!(change, Change::Deleted(_)) {
                bell.ring();
            }
        }));
        let listener = loop {
            match self.listen().await {
                Ok((listener, socket)) => {
                    *self.connected.lock() = Some((target.clone(), socket));
                    break listener;
                }
                Err(error) => {
                    tracing::warn!(root = %self.root.display(), %error, "no pushes are taken yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        self.sweep(&target).await;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(self.clone().answer(target.clone(), stream));
                    }
                    // Out of file descriptors: others may still come.
                    Err(_) => tokio::time::sleep(RETRY).await,
                },
                () = gone.wait() => self.sweep(&target).await,
            }
        }
    }

    /// Tidies up after an earlier daemon, and listens to hooks.
    async fn listen(&self) -> io::Result<(UnixListener, PathBuf)> {
        let root = self.root.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
            backend::write_hooks(&root.join("hooks"))?;
            for entry in std::fs::read_dir(&root)?.flatten() {
                if let Some(uid) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".git")) {
                    Repository::of(&root, uid).mend()?;
                }
            }
            let socket = socket::path(&root.join("hooks.sock"))?;
            match std::fs::remove_file(&socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(socket),
            }
        });
        let socket = prepared.await.map_err(io::Error::other)??;
        Ok((UnixListener::bind(&socket)?, socket))
    }

    /// Removes what belongs to no Application any more.
    async fn sweep(&self, target: &Target) {
        let known = target.applications.list();
        let uids: HashSet<String> = known.iter().filter_map(|app| app.metadata.uid.clone()).collect();
        self.turns.lock().retain(|uid, _| uids.contains(uid));
        let root = self.root.clone();
        let swept = tokio::task::spawn_blocking(move || repository::sweep(&root, &uids)).await;
        if let Err(error) = swept {
            tracing::warn!(%error, "unused repositories could not be looked for");
        }
    }

    /// Answers a hook.
    async fn answer(self: Arc<Self>, target: Arc<Target>, stream: UnixStream) {
        let Ok((call, mut caller)) = Caller::accept(stream).await else { return };
        let session = self.sessions.lock().get(&call.push).cloned();
        let accepted = match (session, call.hook) {
            (None, _) => false,
            (Some(session), Hook::PreReceive) => {
                let accepted = self.judge(&target, &session, &call, &mut caller).await.unwrap_or(false);
                let outcome = if accepted { "accepted" } else { "refused" };
                self.pushes.get_or_create(&Outcome { outcome }).inc();
                accepted
            }
            // An error: whoever pushed does not want to know more.
            (Some(session), Hook::PostReceive) => self.follow(&target, &session, &mut caller).await.is_ok(),
        };
        caller.end(accepted).await;
    }

    fn turn(&self, uid: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.turns.lock().entry(uid.to_owned()).or_default().clone()
    }

    /// The Application of that name, if it takes pushes.
    async fn find(&self, target: &Target, name: &str) -> Result<Application, Refusal> {
        let none = || {
            let hint = format!("no application {name:?} takes pushes: selkie app add {name} --push");
            Refusal::new(StatusCode::NOT_FOUND, hint)
        };
        // The name is anything that somebody put into a URL.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
            return Err(none());
        }
        let path = wait::path("selkie.dev/v1alpha1", "applications", NAMESPACE, name);
        let found = raw::request(&target.client, Method::GET, &path, None).await;
        let found = found.map_err(|error| match raw::is_not_found(&error) {
            true => none(),
            false => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("the application cannot be read: {error}")),
        })?;
        let application: Application = serde_json::from_slice(&found).map_err(|_| none())?;
        match (application.spec.source.push, application.is_deleted()) {
            (false, _) => Err(none()),
            (true, true) => Err(Refusal::new(StatusCode::CONFLICT, format!("application {name:?} is being deleted"))),
            (true, false) => Ok(application),
        }
    }

    /// A daemon that has just started takes pushes once its hosts are connected.
    async fn connected(&self) -> Option<(Arc<Target>, PathBuf)> {
        let begun = tokio::time::Instant::now();
        loop {
            let connected = self.connected.lock().clone();
            if connected.is_some() || begun.elapsed() > START {
                return connected;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn pass_on(&self, request: GitRequest) -> Result<Response<Body>, Refusal> {
        let unavailable = |text: &str| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text);
        let (target, socket) =
            self.connected().await.ok_or_else(|| unavailable("no pushes are taken yet: try again in a moment"))?;
        let application = self.find(&target, &request.application).await?;
        let (name, uid) = (application.name().to_owned(), application.metadata.uid.clone().unwrap_or_default());
        let place = self.places.take(&uid);
        let place = place.ok_or_else(|| unavailable("too many pushes and fetches at once: try again in a moment"))?;
        let branch = application.spec.source.branch().to_owned();
        let conflict = |error: &dyn std::fmt::Display| Refusal::new(StatusCode::CONFLICT, format!("{name}: {error}"));
        application.spec.source.in_repository("push").map_err(|error| conflict(&error))?;
        let repository = self.repository(&application);
        let taken = {
            let (repository, branch) = (repository.clone(), branch.clone());
            tokio::task::spawn_blocking(move || repository.prepare(&branch).map(|()| repository.bytes()))
        };
        let broken = |error: &dyn std::fmt::Display| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{name}: the repository cannot be used: {error}"))
        };
        let taken = taken.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
        let left = QUOTA.saturating_sub(taken);
        if request.service == GitService::ReceivePack && left < LEAST {
            let text = format!("{name}: what was pushed takes {} MiB, which is all that it may", taken >> 20);
            return Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, text));
        }
        let receives = backend::receives(&request);
        let push = self.ids.uid();
        let watching = if receives { application.ready_timeout(READY_LIMIT) } else { Duration::ZERO };
        let call = Call {
            repository: repository.path(),
            settings: backend::settings(&self.root.join("hooks"), &branch, left.min(MAX_PUSH)),
            variables: vec![
                (hook::PROGRAM, self.program.display().to_string()),
                (hook::SOCKET, socket.display().to_string()),
                (hook::PUSH, push.clone()),
            ],
            patience: TRANSFER + watching,
        };
        let session = Arc::new(Session::new(name.clone(), uid, request.user.clone(), place));
        let held = Held { pushes: self.this.clone(), push: push.clone(), session: session.clone(), receives };
        if receives {
            self.sessions.lock().insert(push, session);
        }
        backend::run(call, request, held).await.map_err(|error| {
            let hint = "the daemon's machine needs git with http-backend (on Alpine, the package git-daemon)";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{name}: {error}; {hint}"))
        })
    }

    /// Removes what a push left behind that broke off, and packs a repository anew that has many packs,
    /// without what no branch has any more.
    async fn maintain(self: Arc<Self>, session: Arc<Session>) {
        let _turn = self.turn(&session.uid).lock_owned().await;
        let (this, uid) = (self.clone(), session.uid.clone());
        let mended = tokio::task::spawn_blocking(move || {
            // Nothing new begins to come in meanwhile.
            let sessions = this.sessions.lock();
            let busy = sessions.values().any(|other| other.uid == uid);
            if busy { Ok(()) } else { Repository::of(&this.root, &uid).mend() }
        });
        if let Ok(Err(error)) = mended.await {
            tracing::debug!(application = session.application, %error, "a repository could not be tidied");
        }
        let repository = Repository::of(&self.root, &session.uid);
        if repository.packs() <= PACKS {
            return;
        }
        // What is on its way into quarantine is to stay.
        let settings = ["gc.pruneExpire=1.hour.ago", "pack.threads=1", "pack.windowMemory=64m"].map(str::to_owned);
        let mut git = backend::git(&settings);
        git.arg("-C").arg(repository.path()).args(["gc", "--quiet"]).stdin(std::process::Stdio::null());
        match tokio::time::timeout(TRANSFER, git.output()).await {
            Ok(Ok(output)) if output.status.success() => {}
            other => tracing::warn!(application = session.application, ?other, "a repository could not be packed"),
        }
    }
}

/// What a push holds for as long as its git runs.
struct Held {
    pushes: Weak<Pushes>,
    push: String,
    session: Arc<Session>,
    receives: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(pushes) = self.pushes.upgrade() else { return };
        self.session.leave();
        pushes.sessions.lock().remove(&self.push);
        // The last hook may not have been run: the refs are what counts.
        let connected = pushes.connected.lock().clone();
        if let (true, Some((target, _))) = (self.receives, connected) {
            (target.wake)(&self.session.application);
        }
        if let (true, Ok(runtime)) = (self.receives, tokio::runtime::Handle::try_current()) {
            let session = self.session.clone();
            runtime.spawn(pushes.maintain(session));
        }
    }
}

impl Reporter for Pushes {
    fn event(&self, application: &str, event: Event) {
        if self.events.receiver_count() > 0 {
            // Nobody may be listening any more.
            let _ = self.events.send(Told { application: application.to_owned(), event: event.clone() });
        }
        self.reporter.event(application, event);
    }

    fn waiting(&self, application: &str, ready: usize, unready: &[Progress]) {
        self.reporter.waiting(application, ready, unready);
    }
}

#[async_trait]
impl GitServer for Pushes {
    async fn serve(&self, request: GitRequest) -> Response<Body> {
        self.pass_on(request).await.unwrap_or_else(|Refusal { code, text }| {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = code;
            // git shows plain text only.
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            if code == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            response
        })
    }
}
