//! A revision that is applied in stages: each is a change set of its own, and the next one begins
//! when all of it is ready. Everything is validated before the first.

use super::conflicts::{self, Posted};
use super::course::{Course, Stage};
use super::live::live;
use super::{Event, Progress, Reporter};
use super::{How, Options, Outcome, SyncError, changeset, commit, once, refusal, wait};
use crate::api::changeset::ObjectId;
use crate::client::raw;
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::Report;
use crate::gitops::render::{Manifest, Rendered, describe, same_object};
use crate::gitops::sync::owners::Owners;
use http::Method;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::Instant;

/// On a hook: the sync that made it, so that none runs it twice.
pub const RUN: &str = "selkie.dev/hook-run";
/// How long the hook of an earlier sync may take to go.
const GOING: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// What is applied, and for whom.
pub(super) struct Steps<'a> {
    pub client: &'a kube::Client,
    pub kinds: &'a dyn Kinds,
    pub rendered: &'a Rendered,
    pub course: &'a Course,
    pub options: &'a Options,
    /// Names this sync among all of the same objects.
    pub run: &'a str,
}

impl Steps<'_> {
    /// Has the API server validate everything; what all stages together will change.
    pub async fn check(&self) -> Result<Report, SyncError> {
        let options = Options { record: super::history::Writes::default(), ..self.options.clone() };
        validate(self.client, self.rendered, &options).await?;
        let outcome = once(self.client, self.kinds, &self.course.kept(self.rendered), &options, How::DryRun).await?;
        Ok(outcome.report)
    }

    /// Applies the objects of a stage, then makes its hooks.
    pub async fn apply(&self, at: usize) -> Result<Outcome, SyncError> {
        let outcome = self.apply_objects(&self.course.stages()[at].objects, at == self.course.prunes_at()).await?;
        self.make(&self.course.stages()[at].hooks).await?;
        Ok(outcome)
    }

    /// Applies the objects of all stages so far again.
    pub async fn repair(&self, at: usize) -> Result<Outcome, SyncError> {
        let stages = self.course.stages();
        let objects: Vec<usize> = stages.iter().take(at + 1).flat_map(|stage| stage.objects.iter().copied()).collect();
        self.apply_objects(&objects, at >= self.course.prunes_at()).await
    }

    async fn apply_objects(&self, objects: &[usize], prunes: bool) -> Result<Outcome, SyncError> {
        let kept = self.course.kept(self.rendered);
        let picked = self.pick(objects);
        let elsewhere = kept.objects.iter().filter(|manifest| picked.find(&manifest.id).is_none());
        let options = Options {
            elsewhere: elsewhere.map(|manifest| manifest.id.clone()).collect(),
            prune: self.options.prune && prunes,
            ..self.options.clone()
        };
        let owned = if options.application.is_empty() { Owners::read(self.client).await? } else { Owners::default() };
        commit(self.client, self.kinds, &picked, &options, &owned, How::Apply).await
    }

    fn pick(&self, manifests: &[usize]) -> Rendered {
        let objects = manifests.iter().map(|index| self.rendered.objects[*index].clone()).collect();
        Rendered { objects, errors: Vec::new() }
    }

    /// Makes hooks that this sync has not made yet; those of an earlier one go first.
    pub async fn make(&self, hooks: &[usize]) -> Result<(), SyncError> {
        let mut new = self.pick(hooks);
        let mut made = Vec::new();
        for manifest in &new.objects {
            let Some(object) = live(self.client, self.kinds, &manifest.id).await else { continue };
            let run = object.pointer("/metadata/annotations").and_then(|all| all.get(RUN));
            if run.and_then(Value::as_str) == Some(self.run) {
                made.push(manifest.id.clone());
            } else {
                self.remove(&manifest.id).await?;
            }
        }
        new.objects.retain(|manifest| !made.contains(&manifest.id));
        if new.objects.is_empty() {
            return Ok(());
        }
        for manifest in &mut new.objects {
            if let Some(metadata) = manifest.value.get_mut("metadata").and_then(Value::as_object_mut) {
                let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
                if let Some(annotations) = annotations.as_object_mut() {
                    annotations.insert(RUN.to_owned(), json!(self.run));
                }
            }
        }
        let options = Options { application: self.options.application.clone(), force: true, ..Options::default() };
        let request = changeset::request(&new, &options, &Owners::default(), &[], false);
        let status = changeset::post(self.client, &request).await?;
        if status.applied {
            Ok(())
        } else {
            Err(SyncError::Manifests(refusal::errors(&status.results, &new, &options)))
        }
    }

    async fn remove(&self, id: &ObjectId) -> Result<(), SyncError> {
        let begun = Instant::now();
        delete(self.client, self.kinds, id).await;
        while live(self.client, self.kinds, id).await.is_some() {
            if begun.elapsed() > GOING {
                return Err(SyncError::HookStays { hook: describe(id), seconds: GOING.as_secs() });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What is to be ready when a stage is over.
    pub fn to_wait_for(&self, stage: &Stage) -> Vec<ObjectId> {
        let ids = stage.objects.iter().chain(&stage.hooks).map(|index| &self.rendered.objects[*index].id);
        let ids = ids.filter(|id| !self.options.taken.iter().any(|taken| same_object(taken, id)));
        ids.filter(|id| self.options.health.has_rule(&id.api_version, &id.kind)).cloned().collect()
    }

    /// Deletes the hooks of a stage that are not to be kept. `failed`: those that did not succeed.
    pub async fn tidy(&self, stage: &Stage, failed: &[Progress]) {
        for index in &stage.hooks {
            let (id, policy) = (&self.rendered.objects[*index].id, self.course.place(*index).delete);
            let has_failed = failed.iter().any(|one| same_object(&one.id, id));
            let done = if has_failed { policy.failed } else { policy.succeeded && failed.is_empty() };
            if done {
                delete(self.client, self.kinds, id).await;
            }
        }
    }

    /// One stage after the other, each when the one before is ready. Ends where one fails.
    async fn all(&self, how: &InOrder<'_>) -> Result<wait::Waited, SyncError> {
        let (mut ready, mut settled) = (0, Duration::ZERO);
        let last = self.course.stages().len() - 1;
        for (at, stage) in self.course.stages().iter().enumerate() {
            how.reporter.event("", Event::Stage { name: stage.name(), what: stage.describe(self.rendered) });
            self.apply(at).await?;
            if at == last && !how.to_the_end {
                break;
            }
            let wait = wait::Wait {
                client: self.client,
                kinds: self.kinds,
                health: &self.options.health,
                limit: how.limit,
                application: "",
                reporter: how.reporter,
                patience: Duration::ZERO,
                give_up: None,
                settle: wait::SETTLED,
                moved: None,
            };
            let mut waited = wait.until_ready(&self.to_wait_for(stage), &mut wait::Memory::default()).await;
            self.tidy(stage, &waited.failed).await;
            ready += waited.ready;
            (waited.ready, settled) = (ready, waited.settled);
            if !waited.failed.is_empty() {
                self.make(&self.course.on_failure()).await?;
                return Ok(waited);
            }
        }
        Ok(wait::Waited { ready, settled, ..wait::Waited::default() })
    }

    pub fn ids_of_hooks(&self) -> Vec<ObjectId> {
        let stages = self.course.stages().iter().flat_map(|stage| stage.hooks.iter().copied());
        let mut ids: Vec<_> =
            stages.chain(self.course.on_failure()).map(|index| self.rendered.objects[index].id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// Has the API server look at all objects and hooks.
pub(super) async fn validate(client: &kube::Client, rendered: &Rendered, options: &Options) -> Result<(), SyncError> {
    // Hooks are made anew, so that nothing of them is immutable.
    let options = Options { replace: true, ..options.clone() };
    let is_taken = |manifest: &Manifest| options.taken.iter().any(|taken| same_object(taken, &manifest.id));
    let kept: Cow<'_, Rendered> = if rendered.objects.iter().any(is_taken) {
        let mut kept = rendered.clone();
        kept.objects.retain(|manifest| !is_taken(manifest));
        Cow::Owned(kept)
    } else {
        Cow::Borrowed(rendered)
    };
    let rendered = kept.as_ref();
    let owned = Owners::default();
    let Posted { status, .. } = conflicts::post(client, rendered, &options, &owned, &[], How::DryRun, None).await?;
    if status.applied {
        Ok(())
    } else {
        Err(SyncError::Manifests(refusal::errors(&status.results, rendered, &options)))
    }
}

/// Asks for an object's deletion with all it owns; what cannot be deleted now is made anew, or
/// deleted, the next time.
pub(super) async fn delete(client: &kube::Client, kinds: &dyn Kinds, id: &ObjectId) {
    let Some(plural) = kinds.plural(&id.api_version, &id.kind) else { return };
    let path = wait::path(&id.api_version, &plural, &id.namespace, &id.name);
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    let body = Some(("application/json", options.to_string().into()));
    if let Err(error) = raw::request(client, Method::DELETE, &path, body).await
        && !raw::is_not_found(&error)
    {
        tracing::warn!(object = describe(id), %error, "cannot delete a hook");
    }
}

/// How a one-shot in stages is gone through.
pub struct InOrder<'a> {
    pub reporter: &'a dyn Reporter,
    /// The longest that each stage may take.
    pub limit: Duration,
    /// Wait for the last stage, too.
    pub to_the_end: bool,
}

/// Applies manifests stage by stage, waiting for each. `None`: there are no stages, [`super::once`]
/// does it all at once.
pub async fn apply_in_order(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
    how: &InOrder<'_>,
    show: impl FnOnce(&Report),
) -> Result<Option<wait::Waited>, SyncError> {
    let course = super::in_order(client, kinds, rendered, options).await?;
    if course.is_plain() {
        return Ok(None);
    }
    let run = format!("{}", jiff::Timestamp::now());
    let steps = Steps { client, kinds, rendered, course: &course, options, run: &run };
    show(&steps.check().await?);
    steps.all(how).await.map(Some)
}

/// Goes through the stages of what was found to be right, for the look ahead that `options` has the order
/// for: on a copy of the cluster.
pub async fn rehearse(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
    how: &InOrder<'_>,
) -> Result<wait::Waited, SyncError> {
    let first = options.order.as_ref().is_some_and(|order| order.first);
    let course = Course::of(rendered, first).map_err(SyncError::Manifests)?;
    Steps { client, kinds, rendered, course: &course, options, run: "look-ahead" }.all(how).await
}
