//! Keeps every Application in sync: one task for each, started and ended as Applications come and go.

use super::bell::Bells;
use super::claims::Claim;
use super::drift::DriftWatch;
use super::ledger::Ledger;
use super::references::References;
use super::reporter::Reporter;
use super::task;
use crate::base::backoff::Backoff;
use crate::base::wake::Wake;
use crate::client::{Change, Context, Informer};
use crate::gitops::application::{Application, NAMESPACE};
use crate::gitops::kinds::Kinds;
use crate::gitops::metrics::SyncMetrics;
use crate::gitops::push::{self, Pushes};
use crate::gitops::sources::Repositories;
use crate::gitops::webhooks::{Receiver, Target};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How fast a failed sync is tried again.
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) };
/// How long changed objects may take to become ready before the sync ends without them.
pub const READY_LIMIT: Duration = Duration::from_secs(600);

/// How long others may take to read their sources before what left one is deleted.
const SETTLING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// What the engine needs besides the cluster.
#[derive(Clone)]
pub struct Settings {
    /// Mirrors of remote repositories.
    pub repositories: Arc<Repositories>,
    /// Where webhooks come in.
    pub webhooks: Arc<Receiver>,
    pub metrics: Arc<SyncMetrics>,
    /// Where pushes come in; `None`: nowhere.
    pub pushes: Option<Arc<Pushes>>,
    pub kinds: Arc<dyn Kinds>,
    pub reporter: Arc<dyn Reporter>,
    pub retry: Backoff,
    pub ready_limit: Duration,
}

impl Settings {
    /// `repos`: where mirrors are kept, `repos/` in the data directory.
    pub fn new(repos: PathBuf, kinds: Arc<dyn Kinds>, reporter: Arc<dyn Reporter>) -> Self {
        Self {
            repositories: Repositories::new(repos),
            webhooks: Arc::default(),
            metrics: Arc::default(),
            pushes: None,
            kinds,
            reporter,
            retry: RETRY,
            ready_limit: READY_LIMIT,
        }
    }
}

/// What the tasks share.
pub(super) struct Shared {
    pub context: Context,
    pub settings: Settings,
    pub applications: Informer<Application>,
    pub drift: DriftWatch,
    pub references: References,
    /// Uids of Applications that were deleted with the word that their objects are to stay: the
    /// garbage collector takes that word back before the task may have seen it.
    pub orphaning: Arc<Mutex<HashSet<String>>>,
    /// What was taken from Applications that have been set to adopt since, by uid, as their annotation said:
    /// that may be unset before the task sees it, and they take it back all the same.
    pub readopting: Arc<Mutex<HashMap<String, String>>>,
    pub ledger: Ledger,
    pub bells: Bells,
}

impl Shared {
    /// What other Applications have to do with the objects of this one.
    pub fn claims(&self, name: &str) -> Vec<Claim> {
        let mut claims = self.ledger.claims(name);
        for claim in &mut claims {
            if let Some(other) = self.applications.get(NAMESPACE, &claim.application) {
                (claim.adopts, claim.source) = (other.spec.adopt, other.spec.source.repository());
            }
        }
        claims
    }

    /// Has these Applications look again.
    pub fn ring<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let bells = self.bells.lock();
        names.into_iter().filter_map(|name| bells.get(name)).for_each(|bell| bell.look.ring());
    }

    /// What whoever pushes has to do with.
    fn pushed(self: &Arc<Self>) -> push::Target {
        let (claims, wake) = (self.clone(), self.clone());
        push::Target {
            client: self.context.client.clone(),
            kinds: self.settings.kinds.clone(),
            applications: self.applications.clone(),
            claims: Box::new(move |name| claims.claims(name)),
            repositories: self.settings.repositories.clone(),
            clock: self.context.clock.clone(),
            wake: Box::new(move |name| wake.ring(&[name.to_owned()])),
        }
    }

    /// Waits until others know what their sources say since `seen`, when this one's was read: what one
    /// source has no more another may have by now. Of those that cannot have got it the first look is
    /// enough. Nobody is waited for who waits for this one: who looked first goes on first.
    pub async fn settle(&self, name: &str, seen: Instant) {
        let mut behind = self.behind(name, seen);
        self.ring(&behind);
        let begun = Instant::now();
        while !behind.is_empty() && begun.elapsed() < SETTLING {
            tokio::time::sleep(LOOK).await;
            behind.retain(|other| self.is_behind(name, other, seen));
        }
    }

    /// Applications that may have got what this one leaves, and have not looked since `seen`.
    pub fn behind(&self, name: &str, seen: Instant) -> Vec<String> {
        self.others(name).map(|app| app.name().to_owned()).filter(|other| self.is_behind(name, other, seen)).collect()
    }

    fn is_behind(&self, name: &str, other: &str, seen: Instant) -> bool {
        let of = |name| self.applications.get(NAMESPACE, name);
        let (Some(this), Some(other)) = (of(name), of(other)) else { return false };
        self.ledger.last_look(other.name()).is_none_or(|began| began < seen && is_near(&other, &this))
    }

    /// Applications of which nothing is known but that they are there: none of their revisions was ever
    /// applied, and no look at their source has found what it wants.
    pub fn unknown(&self, name: &str) -> Vec<String> {
        let is_unknown = |app: &Arc<Application>| app.status.revision.is_empty() && !self.ledger.is_read(app.name());
        self.others(name).filter(is_unknown).map(|app| app.name().to_owned()).collect()
    }

    fn others(&self, name: &str) -> impl Iterator<Item = Arc<Application>> {
        let all = self.applications.list().into_iter();
        all.filter(move |app| app.name() != name && !app.spec.suspend && !app.is_deleted())
    }
}

/// Whether manifests may move from one to the other in one step: both are read from this machine, or
/// from the same repository.
fn is_near(a: &Application, b: &Application) -> bool {
    let (a, b) = (&a.spec.source, &b.spec.source);
    a.repo_url == b.repo_url || (a.is_local() && b.is_local())
}

/// Runs until the context's shutdown. What is being applied is finished by the API server.
pub async fn run(context: Context, settings: Settings) {
    let applications = context.informers.of::<Application>();
    let changed = Wake::default();
    let bells = Bells::default();
    let orphaning: Arc<Mutex<HashSet<String>>> = Arc::default();
    let readopting: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    subscribe(&applications, &changed, &bells, &orphaning, &readopting);
    applications.synced().await;
    let drift = DriftWatch::new(context.client.clone(), settings.kinds.clone(), bells.clone());
    let references = References::new(context.client.clone(), bells.clone());
    let known = applications.list();
    let ledger = Ledger::new(known.iter().map(|app| (app.name().to_owned(), app.held())));
    let shutdown = context.shutdown.clone();
    settings.webhooks.connect(target(&context, &settings, &applications, &bells));
    let _clean = AbortOnDropHandle::new(tokio::spawn(settings.repositories.clone().keep_clean()));
    let bells_of = bells.clone();
    let shared = Arc::new(Shared {
        context,
        settings,
        applications,
        drift,
        references,
        orphaning,
        readopting,
        ledger,
        bells: bells_of,
    });
    let pushes = shared.settings.pushes.clone();
    let _pushes = pushes.map(|pushes| AbortOnDropHandle::new(tokio::spawn(pushes.run(shared.pushed()))));
    let mut tasks: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
    let mut progress: HashMap<String, (bool, String)> = HashMap::new();
    loop {
        let all = shared.applications.list();
        wake_dependents(&all, &mut progress, &bells);
        let wanted: HashSet<_> = all.iter().map(|app| app.name().to_owned()).collect();
        tasks.retain(|name, _| {
            let stays = wanted.contains(name);
            if !stays {
                bells.lock().remove(name);
            }
            stays
        });
        shared.ring(&shared.ledger.retain(&wanted));
        shared.references.retain(&wanted);
        for app in &all {
            tasks.entry(app.name().to_owned()).or_insert_with_key(|name| {
                let bell = bells.lock().entry(name.clone()).or_default().clone();
                AbortOnDropHandle::new(tokio::spawn(task::run(shared.clone(), name.clone(), bell)))
            });
        }
        tokio::select! {
            () = changed.wait() => {}
            () = shutdown.cancelled() => return,
        }
    }
}

fn target(context: &Context, settings: &Settings, applications: &Informer<Application>, bells: &Bells) -> Target {
    let bells = bells.clone();
    let wake = move |name: &str| {
        if let Some(bell) = bells.lock().get(name) {
            bell.look.ring();
        }
    };
    Target {
        client: context.client.clone(),
        applications: applications.clone(),
        repositories: settings.repositories.clone(),
        wake: Box::new(wake),
    }
}

/// Wakes Applications whose dependencies came along since the last call.
fn wake_dependents(all: &[Arc<Application>], progress: &mut HashMap<String, (bool, String)>, bells: &Bells) {
    let now: HashMap<_, _> = all.iter().map(|app| (app.name().to_owned(), progress_of(app))).collect();
    let bells = bells.lock();
    for app in all {
        let moved = app.spec.depends_on.iter().any(|other| now.get(&other.name) != progress.get(&other.name));
        if let Some(bell) = bells.get(app.name()).filter(|_| moved) {
            bell.look.ring();
        }
    }
    *progress = now;
}

/// What others may wait for.
fn progress_of(app: &Application) -> (bool, String) {
    (app.status.is_ready(), app.status.revision.clone())
}

/// A new spec or annotation, or a deletion, wakes the Application's task; status, which the task
/// itself writes, does not.
fn subscribe(
    applications: &Informer<Application>,
    changed: &Wake,
    bells: &Bells,
    orphaning: &Arc<Mutex<HashSet<String>>>,
    readopting: &Arc<Mutex<HashMap<String, String>>>,
) {
    let (changed, bells) = (changed.clone(), bells.clone());
    let (orphaning, readopting) = (orphaning.clone(), readopting.clone());
    let uid = |app: &Application| app.metadata.uid.clone().unwrap_or_default();
    applications.subscribe(Box::new(move |change| match change {
        Change::Updated { old, new } => {
            if new.is_orphaning() {
                orphaning.lock().insert(uid(new));
            }
            match new.taken_text() {
                Some(text) if new.spec.adopt => {
                    readopting.lock().insert(uid(new), text.to_owned());
                }
                Some(_) => {}
                None => {
                    readopting.lock().remove(&uid(new));
                }
            }
            if progress_of(old) != progress_of(new) {
                changed.ring();
            }
            let meant = |app: &Application| (app.spec.clone(), app.metadata.annotations.clone(), app.is_deleted());
            if meant(old) != meant(new)
                && let Some(bell) = bells.lock().get(new.name())
            {
                bell.look.ring();
            }
        }
        Change::Added(_) => changed.ring(),
        Change::Deleted(app) => {
            orphaning.lock().remove(&uid(app));
            readopting.lock().remove(&uid(app));
            changed.ring();
        }
    }));
}
