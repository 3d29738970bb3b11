//! Whether a push is accepted: its refs, then what its manifests would do, on the real chain; and, once
//! it is, what came of it. All of it is told to whoever pushed.

use super::decide::{Decision, Known, decide};
use super::follow::Follower;
use super::hook::{Call, Caller};
use super::session::{Accepted, Session};
use super::{Pushes, Target};
use crate::client::raw;
use crate::gitops::access;
use crate::gitops::application::{Application, CONFIRM_PRUNE, NAMESPACE};
use crate::gitops::inputs;
use crate::gitops::plan::Held;
use crate::gitops::sources::{Snapshot, short};
use crate::gitops::sync::engine::READY_LIMIT;
use crate::gitops::sync::{Event, How, Options, Outcome, SyncError, once, wait::path};
use crate::gitops::windows::{Who, closed};
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// `git push -o OPTION`: what the prune guard holds is meant.
const CONFIRM: &str = "confirm-prune";
/// How long another push to the same application may take to be judged.
const TURN: Duration = Duration::from_secs(60);
/// A plan that looks further ahead is cut to what changes.
const LOOK_AHEAD: Duration = Duration::from_secs(10);
/// How often a follower looks whether there is anything left to follow.
const LOOK: Duration = Duration::from_secs(1);
/// A rollout is followed for this much longer than it may take.
const MARGIN: Duration = Duration::from_secs(60);

impl Pushes {
    /// Nothing has changed yet. An error: whoever pushed has left.
    pub(super) async fn judge(
        &self,
        target: &Target,
        session: &Session,
        call: &Call,
        caller: &mut Caller,
    ) -> io::Result<bool> {
        let name = &session.application;
        let Ok(turn) = tokio::time::timeout(TURN, self.turn(&session.uid).lock_owned()).await else {
            caller.say(&format!("{name}: another push is still being looked at: try again\n")).await?;
            return Ok(false);
        };
        let application = match self.find(target, name).await {
            Ok(application) if application.metadata.uid.as_ref() == Some(&session.uid) => application,
            Ok(_) => return refuse(caller, name, "it was deleted and made anew meanwhile: push again").await,
            Err(refusal) => return refuse(caller, name, refusal.text.trim_end()).await,
        };
        let repository = self.repository(&application);
        let branch = application.spec.source.branch();
        let tip = repository.tip(branch);
        let quarantined = application.status.quarantine.as_ref().map(|quarantine| quarantine.revision.as_str());
        let known = Known { application: name, branch, tip: tip.as_deref(), quarantined };
        let (commit, left) = match decide(&call.updates, &known) {
            Decision::Refuse(why) => return refuse(caller, name, &why).await,
            Decision::Review { commit, left } => (commit, left),
        };
        for reference in left {
            caller.say(&format!("{name}: {reference} is not kept: {branch} is all that counts here\n")).await?;
        }
        let confirmed = call.options.iter().any(|option| option == CONFIRM);
        let planned = match self.review(target, &application, call, commit, confirmed).await {
            Ok(outcome) => outcome,
            Err(errors) => {
                let event = Event::Failed { revision: commit.to_owned(), errors };
                caller.say(&self.wording.event(name, &event)).await?;
                return Ok(false);
            }
        };
        caller.say(&format!("{name}: the plan for {}\n{}", short(commit), self.wording.plan(&planned.report))).await?;
        if let Some(why) = planned.held.filter(|why| *why != Held::Disabled) {
            let hint = format!("{why}; if that is meant: git push -o {CONFIRM} REMOTE {branch}");
            return refuse(caller, name, &hint).await;
        }
        if confirmed && let Err(error) = confirm(target, name, commit).await {
            return refuse(caller, name, &format!("the confirmation cannot be stored: {error}")).await;
        }
        tracing::info!(application = name, user = session.user, commit, "a push is accepted");
        let (events, planned) = (self.events.subscribe(), planned.report.objects);
        session.accept(Accepted { commit: commit.to_owned(), planned, events, turn: Some(turn) });
        Ok(true)
    }

    /// What the commit would do; else each thing wrong, with its place.
    async fn review(
        &self,
        target: &Target,
        application: &Application,
        call: &Call,
        commit: &str,
        confirmed: bool,
    ) -> Result<Outcome, Vec<String>> {
        let snapshot = self.read(target, application, call, commit).await.map_err(|error| vec![error])?;
        let inputs = inputs::read(&target.client, application).await.map_err(|error| vec![error.to_string()])?;
        let snapshot = inputs.expand(application, snapshot).await;
        let rendered = inputs.render(application, &snapshot, &*target.kinds);
        let mut options = Options::of(application, commit, (target.claims)(application.name()));
        options.prune_confirmed |= confirmed;
        options.delete_kept |= confirmed;
        let look = |how| once(&target.client, &*target.kinds, &rendered, &options, how);
        let planned = match tokio::time::timeout(LOOK_AHEAD, look(How::LookAhead)).await {
            Ok(planned) => planned,
            Err(_) => look(How::DryRun).await,
        };
        let mut planned = planned.map_err(|error: SyncError| error.lines())?;
        planned.report.warnings.extend(snapshot.warnings);
        Ok(planned)
    }

    async fn read(
        &self,
        target: &Target,
        application: &Application,
        call: &Call,
        commit: &str,
    ) -> Result<Snapshot, String> {
        let access = access::of(&target.client, application).await.map_err(|error| error.to_string())?;
        let repository = self.repository(application);
        let location = application.spec.source.in_repository(&repository.path().display().to_string());
        let location = location.map_err(|error| error.to_string())?;
        let quarantine = call.quarantine.clone().filter(|path| path.starts_with(repository.path()));
        let snapshot = target.repositories.received(location, access, quarantine, commit).await;
        self.told(application, snapshot).map_err(|error| error.to_string())
    }

    /// The refs have changed: what comes of it, until there is nothing more to tell.
    pub(super) async fn follow(&self, target: &Target, session: &Session, caller: &mut Caller) -> io::Result<()> {
        let name = &session.application;
        let Some(mut accepted) = session.take() else { return Ok(()) };
        // Others may push now, and git is done with the repository.
        accepted.turn = None;
        session.leave();
        (target.wake)(name);
        let commit = accepted.commit.as_str();
        let Ok(application) = self.find(target, name).await else { return Ok(()) };
        if application.spec.suspend {
            let word = format!(
                "{name}: {} waits: the application is suspended until `selkie app resume {name}`\n",
                short(commit)
            );
            return caller.say(&word).await;
        }
        if let Some(word) = held(&application, commit, target.clock.now()) {
            return caller.say(&word).await;
        }
        let Ok(_place) = self.followers.try_acquire() else {
            return caller
                .say(&format!("{name}: too many rollouts are watched; `selkie app list` shows this one\n"))
                .await;
        };
        caller
            .say(&format!("{name}: {} is accepted, and rolled out whether you watch or not\n", short(commit)))
            .await?;
        let mut follower = Follower::new(name, commit, &*self.wording);
        follower.planned = accepted.planned;
        follower.rolls_back = application.rolls_back();
        let limit = Instant::now() + application.ready_timeout(READY_LIMIT) + MARGIN;
        let (mut last, mut look) = (Instant::now(), tokio::time::interval(LOOK));
        while Instant::now() < limit {
            let told = tokio::select! {
                told = accepted.events.recv() => Some(told),
                _ = look.tick() => None,
                () = caller.left() => return Ok(()),
            };
            let heard = match told {
                Some(Ok(told)) if told.application == *name => {
                    last = Instant::now();
                    follower.hear(&told.event)
                }
                Some(Ok(_)) => continue,
                Some(Err(RecvError::Lagged(missed))) => {
                    caller.say(&format!("{name}: ({missed} lines are left out)\n")).await?;
                    continue;
                }
                Some(Err(RecvError::Closed)) => return Ok(()),
                None => {
                    let now = target.applications.get(NAMESPACE, name);
                    let Some(now) = now.filter(|now| !now.is_deleted() && !now.spec.suspend) else { return Ok(()) };
                    if !follower.has_begun() && now.status.revision == commit && now.status.is_ready() {
                        return caller.say(&format!("{name}: {} is in force\n", short(commit))).await;
                    }
                    follower.silence(last.elapsed())
                }
            };
            caller.say(&heard.text).await?;
            if heard.over {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What to say where sync windows hold the commit: it is kept, and nobody need watch until they open.
fn held(application: &Application, commit: &str, now: Timestamp) -> Option<String> {
    let (name, windows) = (application.name(), &application.spec.sync_windows);
    let why = closed(windows, now, Who::Engine)?;
    let sooner = match closed(windows, now, Who::Person) {
        None => format!("; `selkie app sync {name}` applies it before"),
        Some(_) => String::new(),
    };
    Some(format!("{name}: {} is accepted, and held: {why}{sooner}\n", short(commit)))
}

async fn refuse(caller: &mut Caller, application: &str, why: &str) -> io::Result<bool> {
    caller.say(&format!("{application}: refused: {why}\n")).await?;
    Ok(false)
}

/// Whoever pushed says that what the prune guard holds at this commit is meant.
async fn confirm(target: &Target, application: &str, commit: &str) -> Result<(), kube::Error> {
    let path = path("selkie.dev/v1alpha1", "applications", NAMESPACE, application);
    let body = json!({"metadata": {"annotations": {CONFIRM_PRUNE: commit}}}).to_string();
    let body = Some(("application/merge-patch+json", body.into()));
    raw::request(&target.client, Method::PATCH, &path, body).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::windows::SyncWindow;

    #[test]
    fn a_commit_that_is_held_says_until_when_and_what_to_do() {
        let mut application = Application::default();
        application.metadata.name = Some("shop".into());
        let at = |time: &str| time.parse::<Timestamp>().unwrap_or_default();
        let said = |application: &Application, time| held(application, "0123456789", at(time));
        assert_eq!(said(&application, "2026-01-05T09:30:00Z"), None);
        let (kind, schedule, duration) = ("deny".into(), "0 9 * * *".into(), "1h".into());
        application.spec.sync_windows = vec![SyncWindow { kind, schedule, duration, ..SyncWindow::default() }];
        assert_eq!(said(&application, "2026-01-05T08:30:00Z"), None);
        let closed = "shop: 0123456 is accepted, and held: the deny window \"0 9 * * *\" of 1h (UTC) is active; \
                      syncs go on at 2026-01-05T10:00:00Z";
        assert_eq!(said(&application, "2026-01-05T09:30:00Z"), Some(format!("{closed}\n")));
        application.spec.sync_windows[0].manual_sync = true;
        let sooner = format!("{closed}; `selkie app sync shop` applies it before\n");
        assert_eq!(said(&application, "2026-01-05T09:30:00Z"), Some(sooner));
    }
}
