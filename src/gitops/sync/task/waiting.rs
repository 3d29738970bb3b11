//! What a task does between two looks: it waits for what was changed to become ready, hears of
//! what is not ready any more, and lets a revision prove itself.

use super::Task;
use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, ApplicationStatus};
use crate::gitops::plan::Totals;
use crate::gitops::readiness::Health;
use crate::gitops::render::{identity, same_object};
use crate::gitops::sync::history::Verdict;
use crate::gitops::sync::reporter::{Event, Silent, Summary};
use crate::gitops::sync::{Outcome, wait};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long everything must have been ready before a revision that may be taken back counts as
/// good: many a program crashes only after it has started.
const PROBATION: Duration = Duration::from_secs(10);
/// A replaced pod is no news.
const RELAPSE_PATIENCE: Duration = Duration::from_secs(2);

/// Changed objects that are not known to be ready, since when, and what the changes amounted to.
#[derive(Default)]
pub(super) struct Waiting {
    pub objects: Vec<ObjectId>,
    pub since: Option<Instant>,
    /// When it all began, where there were stages before.
    begun: Option<Instant>,
    memory: wait::Memory,
    totals: Totals,
    /// It was told already that they are not: only that they are ready is worth a word now.
    told: bool,
    /// Nothing was changed: they were ready before.
    relapse: bool,
    /// How often they were found to have failed.
    failures: u32,
}

impl Waiting {
    /// What an earlier daemon waited for, or found to have failed.
    pub fn resumed(status: &ApplicationStatus) -> Self {
        // What is in the middle goes on by itself.
        if status.revision.is_empty() || status.is_ready() || status.operation.is_some() {
            return Self::default();
        }
        Self { objects: status.inventory.clone(), since: Some(Instant::now()), ..Self::default() }
    }

    /// A stage of a revision whose application began then.
    pub fn stage(objects: Vec<ObjectId>, begun: Instant, totals: Totals) -> Self {
        Self { objects, since: Some(Instant::now()), begun: Some(begun), totals, ..Self::default() }
    }

    /// Waits for what was changed, too.
    pub fn add(&mut self, outcome: &Outcome, health: &Health) {
        let known: HashSet<_> = self.objects.iter().map(identity).collect();
        let mut new = outcome.to_wait_for(health);
        new.retain(|id| !known.contains(&identity(id)));
        self.objects.extend(new);
        let kept: HashSet<_> = outcome.inventory.iter().map(identity).collect();
        self.objects.retain(|id| kept.contains(&identity(id)));
        if std::mem::take(&mut self.told) | std::mem::take(&mut self.relapse) {
            self.since = None;
        }
        self.since = Some(self.since.unwrap_or_else(Instant::now));
        let new = outcome.report.totals();
        self.totals.add += new.add;
        self.totals.change += new.change;
        self.totals.delete += new.delete;
        self.totals.restarts += new.restarts;
    }
}

impl Task {
    /// Waits for readiness of what was changed, then for a reason to look again; time is one, unless
    /// `interval` is `None`.
    pub(super) async fn rest(&mut self, application: &Application, interval: Option<Duration>) {
        let limit = match (interval, self.failures) {
            (Some(interval), 0) => Some(interval),
            (Some(interval), failures) => Some(self.shared.settings.retry.after(failures).min(interval)),
            (None, _) => None,
        };
        let opening = limit.and(self.until_open());
        let again = limit.map(|limit| Instant::now() + opening.map_or(limit, |opening| limit.min(opening)));
        let bell = self.bell.clone();
        loop {
            let proven = self.proven(application).await;
            tokio::select! {
                () = bell.look.wait() => return,
                () = at(again) => return,
                () = bell.unready.wait() => self.relapsed().await,
                () = at(proven) => {
                    self.conclude(&wait::Waited::default());
                    self.flush().await;
                }
                waited = self.become_ready(application) => if self.ended(application, waited).await { return },
            }
        }
    }

    /// What is waited for was found to have failed before.
    pub(super) fn waits_again(&self) -> bool {
        self.waiting.failures > 1
    }

    /// When the newest revision will have proved itself, if it is about to.
    async fn proven(&mut self, application: &Application) -> Option<Instant> {
        if !application.rolls_back() || self.waiting.since.is_some() || !self.status.is_ready() {
            return None;
        }
        self.history().await.ok()?;
        if self.newest()?.result != Verdict::Progressing {
            return None;
        }
        // An earlier daemon may not have seen the end of it.
        Some(*self.ready_since.get_or_insert_with(Instant::now) + PROBATION)
    }

    /// What goes wrong later than the newest revision's trial has other causes.
    fn is_on_trial(&self) -> bool {
        !self.waiting.relapse || self.newest().is_some_and(|newest| newest.result == Verdict::Progressing)
    }

    /// Ends when there is nothing more to wait for; never, if there is nothing to wait for at all.
    /// Cancel-safe.
    async fn become_ready(&mut self, application: &Application) -> wait::Waited {
        let Some(since) = self.waiting.since else { return std::future::pending().await };
        if application.spec.suspend && self.operation.as_ref().is_some_and(|operation| !operation.is_asked_for()) {
            return std::future::pending().await;
        }
        let settings = self.shared.settings.clone();
        if self.waiting.failures > 0 {
            // What has failed is known at once to have failed still, unless it is told that it moved.
            tokio::select! {
                () = tokio::time::sleep(settings.retry.after(self.waiting.failures)) => {}
                () = self.bell.moved.wait() => {}
            }
        }
        let retreats = self.may_retreat(application).await && self.is_on_trial();
        let wait = wait::Wait {
            client: &self.shared.context.client,
            kinds: &*settings.kinds,
            health: &self.bell.health(),
            limit: application.ready_timeout(settings.ready_limit).saturating_sub(since.elapsed()),
            application: &self.name,
            reporter: if self.waiting.told { &Silent } else { &*settings.reporter },
            patience: if self.waiting.relapse { RELAPSE_PATIENCE } else { Duration::ZERO },
            give_up: if retreats { self.applied_at() } else { None },
            settle: if self.waiting.relapse { Duration::ZERO } else { wait::SETTLED },
            moved: Some(&self.bell.moved),
        };
        wait.until_ready(&self.waiting.objects, &mut self.waiting.memory).await
    }

    /// What was waited for is ready, or has failed. True: there is something to do.
    async fn ended(&mut self, application: &Application, waited: wait::Waited) -> bool {
        let retreats = self.may_retreat(application).await && self.is_on_trial();
        let on_trial = self.is_on_trial();
        if self.stage_ended(application, &waited).await {
            return self.failures > 0;
        }
        let Waiting { objects, since, begun, totals, told, relapse, memory, failures } =
            std::mem::take(&mut self.waiting);
        let under_way = self.operation.as_ref().map(|operation| operation.revision().to_owned());
        let revision = under_way.unwrap_or_else(|| self.status.revision.clone());
        let elapsed = begun.or(since).map(|since| since.elapsed()).unwrap_or_default().saturating_sub(waited.settled);
        let (ready, failed, good) = (waited.ready, waited.failed.clone(), waited.failed.is_empty());
        if !good {
            // They may come right by themselves, as when an image arrives late.
            let (since, failures) = (Some(Instant::now()), failures + 1);
            self.waiting = Waiting { objects, since, begun, told: true, relapse, failures, ..Waiting::default() };
        }
        if relapse && good {
            if told || memory.said_anything() {
                self.tell(Event::Recovered { elapsed });
            }
        } else if !told || good {
            self.tell(Event::Done(Summary { revision, totals, ready, failed, elapsed }));
        }
        if good {
            self.ready_since = Some(Instant::now());
        }
        // A revision that may be taken back is good when it has stayed ready for a while.
        if !(good && application.rolls_back()) && on_trial {
            self.conclude(&waited);
        }
        // Before the status: whoever waits for that finds the history complete.
        self.flush().await;
        self.ready_condition(&waited).await;
        if retreats && !good {
            self.failure = Some(waited);
            return true;
        }
        false
    }

    /// Objects are said not to be ready any more: waits for those.
    async fn relapsed(&mut self) {
        let mut objects = self.bell.take_unready();
        objects.retain(|id| {
            self.status.inventory.iter().any(|ours| same_object(ours, id))
                && !self.waiting.objects.iter().any(|known| same_object(known, id))
        });
        // It may be over, or about what was waited for just now.
        let (client, kinds) = (&self.shared.context.client, &*self.shared.settings.kinds);
        let unready = wait::unready(client, kinds, &self.bell.health(), &objects).await;
        let Some(first) = unready.first() else { return };
        if self.waiting.since.is_none() {
            self.waiting = Waiting { since: Some(Instant::now()), relapse: true, ..Waiting::default() };
        }
        self.ready_since = None;
        self.waiting.objects.extend(unready.iter().map(|one| one.id.clone()));
        self.not_ready(first).await;
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
