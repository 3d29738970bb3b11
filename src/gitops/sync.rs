//! Makes the cluster what a source says: one change set per revision, all or nothing.
//!
//! [`once`] is a single step for the command line; [`engine`] keeps
//! Applications in sync for as long as the daemon runs. Everything is told to a [`Reporter`].

pub mod engine;
pub mod history;
pub mod reporter;
pub mod wait;

mod bell;
mod changeset;
mod claims;
mod conflicts;
mod contents;
mod course;
mod drift;
mod ignored;
mod leaving;
mod ledger;
mod live;
mod owners;
mod pods;
mod references;
mod refusal;
mod replacing;
mod stages;
mod stream;
mod taking;
mod task;
mod watched;

pub(super) use changeset::post as post_change_set;
pub use claims::Claim;
pub use pods::last_lines;
pub use replacing::{LIMIT as REPLACED_LIMIT, finish as finish_replacements};
pub use reporter::{Event, FailingPod, Progress, Reporter, Summary};
pub use stages::{InOrder, RUN as HOOK_RUN, apply_in_order, rehearse};

use crate::api::changeset::{ChangeAction, ChangeResult, ObjectId, UNEXPECTED};
use crate::api::plan::Order;
use crate::client::raw;
use crate::gitops::application::{Application, IgnoreDifferences};
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::{self, Held, Report, inventory};
use crate::gitops::readiness::Health;
use crate::gitops::render::{RenderError, Rendered, describe, same_object};
use conflicts::Posted;
use course::Course;
use leaving::Leaving;
use owners::Owners;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// Owns the fields that a sync sets.
pub use crate::gitops::plan::report::OURS as FIELD_MANAGER;

/// How to apply.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Marks the objects as this Application's; empty for a one-shot without one.
    pub application: String,
    /// The objects applied last time: what may be pruned.
    pub inventory: Vec<ObjectId>,
    pub prune: bool,
    /// Someone confirmed pruning of most or all objects.
    pub prune_confirmed: bool,
    /// Someone confirmed the deletion of what is else kept: claims, and Namespaces with others' objects.
    pub delete_kept: bool,
    /// Where the Application's source is, for people; empty: its files have whole paths.
    pub source: String,
    /// Take over fields that other managers own. What the Application set before it takes back in any case.
    pub force: bool,
    /// What it applied before of objects that others are known to have changed; the rest is looked up.
    pub earlier: Vec<Value>,
    /// Delete and make again what cannot change in place.
    pub replace: bool,
    /// Objects of the same source that are applied apart from these.
    pub elsewhere: Vec<ObjectId>,
    /// Fields that are left as they are.
    pub ignore: Vec<IgnoreDifferences>,
    /// What other Applications have to do with these objects.
    pub claims: Vec<Claim>,
    /// Take over what other Applications hold, and what others made.
    pub adopt: bool,
    /// What was taken from the Application as far as this process has heard; it is nothing to wait for.
    pub taken: Vec<ObjectId>,
    /// The resourceVersions that objects must still have; those not named may have any.
    pub versions: Vec<(ObjectId, String)>,
    /// How readiness is judged.
    pub health: Health,
    /// What the history keeps of this, written and deleted along with it.
    pub record: history::Writes,
    /// How long each stage may take to become ready; `None`: as long as a one-shot waits.
    pub stage_limit: Option<Duration>,
    /// For a look ahead: goes through stages.
    pub order: Option<Order>,
}

impl Options {
    /// What an Application's spec and status say, for this revision of its source.
    pub fn of(application: &Application, revision: &str, claims: Vec<Claim>) -> Self {
        Self {
            application: application.name().to_owned(),
            inventory: application.status.inventory.clone(),
            prune: application.prunes(),
            prune_confirmed: application.confirms_prune(revision),
            delete_kept: application.confirms_prune(revision),
            source: application.spec.source.repository(),
            force: application.spec.force.unwrap_or(false),
            ignore: application.spec.ignore_differences.clone(),
            claims,
            adopt: application.spec.adopt,
            taken: application.taken_over().unwrap_or_default(),
            health: Health::new(&application.spec.health_checks),
            stage_limit: Some(application.ready_timeout(engine::READY_LIMIT)),
            ..Self::default()
        }
    }
}

/// What an apply did, or a plan would do.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub report: Report,
    /// The inventory from now on.
    pub inventory: Vec<ObjectId>,
    /// The store's revision.
    pub revision: u64,
    /// What was held back from pruning, and why.
    pub held: Option<Held>,
    /// For people: what other Applications took over.
    pub lost: Vec<String>,
    /// The resourceVersions of the objects that were changed, from before.
    pub versions: Vec<(ObjectId, String)>,
}

impl Outcome {
    /// Objects that were created or changed and take time to become ready.
    pub fn to_wait_for(&self, health: &Health) -> Vec<ObjectId> {
        use crate::gitops::plan::Action;
        let touched = self.report.objects.iter().filter(|object| {
            matches!(object.action, Action::Create | Action::Change | Action::Replace)
                && health.has_rule(&object.id.api_version, &object.id.kind)
        });
        touched.map(|object| object.id.clone()).collect()
    }
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The manifests cannot be read, or the API server refuses them.
    #[error("{}", list(.0))]
    Manifests(Vec<RenderError>),
    #[error("the API server did not take the changes")]
    Api(#[source] Box<kube::Error>),
    #[error("the API server's answer to the change set makes no sense: {0}")]
    Answer(String),
    #[error("{hook} of an earlier sync is still there {seconds} s after it was deleted; does a finalizer hold it?")]
    HookStays { hook: String, seconds: u64 },
    /// The rest of the change set was applied.
    #[error(
        "{} is to be made again and is still there {seconds} s after its deletion began ({why}); the rest was applied, \
         and the next sync or apply makes it once it has gone",
        describe(.object)
    )]
    ReplacedStays { object: Box<ObjectId>, seconds: u64, why: String },
    /// Of a one-shot that adopts: what it takes may be its own now, or not.
    #[error("{}; {told}", said(.cause))]
    Unanswered { cause: Box<SyncError>, told: String },
    #[error(transparent)]
    History(#[from] history::HistoryError),
}

impl SyncError {
    /// Each thing wrong, for people.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Manifests(errors) => errors.iter().map(ToString::to_string).collect(),
            Self::Api(cause) => vec![format!("{self}: {cause}")],
            Self::Unanswered { cause, told } => [cause.lines(), vec![told.clone()]].concat(),
            Self::Answer(_) | Self::HookStays { .. } | Self::ReplacedStays { .. } | Self::History(_) => {
                vec![self.to_string()]
            }
        }
    }

    /// The API server said no: nothing was committed. Of other errors that is not known.
    fn is_answer(&self) -> bool {
        match self {
            Self::Api(error) => raw::code(error).is_some_and(|code| (400..500).contains(&code)),
            Self::Manifests(_) => true,
            _ => false,
        }
    }

    /// What the change set was made from has changed.
    fn is_outdated(&self) -> bool {
        matches!(self, Self::Api(error) if raw::has_cause(error, UNEXPECTED))
    }

    /// As a condition gives it.
    pub fn reason(&self) -> &'static str {
        if self.is_temporary() { "SyncFailed" } else { "Refused" }
    }

    /// Trying again may help without any change to the source.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Manifests(_))
    }
}

fn said(error: &SyncError) -> String {
    error.lines().join("; ")
}

fn list(errors: &[RenderError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is to become of rendered manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They are applied, all or nothing.
    Apply,
    /// What that would do to the objects, computed by the API server on the real ones.
    DryRun,
    /// And what the cluster would then do: the real chain on a copy of it.
    LookAhead,
}

/// [`once`], for real.
pub async fn apply_once(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
) -> Result<Outcome, SyncError> {
    once(client, kinds, rendered, options, How::Apply).await
}

/// Applies rendered manifests, or tells what that would do.
pub async fn once(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
    how: How,
) -> Result<Outcome, SyncError> {
    let course = in_order(client, kinds, rendered, options).await?;
    let runs = course.runs(rendered);
    let staged;
    let options = if how == How::LookAhead && !course.is_plain() {
        let stage_seconds = options.stage_limit.map(|limit| limit.as_secs());
        staged = Options { order: Some(Order { stage_seconds, ..course.order(rendered) }), ..options.clone() };
        &staged
    } else {
        options
    };
    let kept;
    let rendered = if course.has_hooks() {
        if how != How::Apply {
            stages::validate(client, rendered, options).await?;
        }
        kept = course.kept(rendered);
        &kept
    } else {
        rendered
    };
    // A one-shot leaves what Applications hold theirs.
    let owned = if options.application.is_empty() { Owners::read(client).await? } else { Owners::default() };
    let takes = options.force || options.adopt;
    let guarded = how == How::Apply && !takes;
    if guarded && owned.hold_any(rendered) {
        let planned = commit(client, kinds, rendered, options, &owned, How::DryRun).await?;
        owned.refuse_changes(&planned.report, rendered)?;
    }
    let mut outcome = commit(client, kinds, rendered, options, &owned, how).await?;
    if how != How::Apply && !takes {
        owned.foretell_refusals(&mut outcome.report);
    }
    outcome.report.runs = runs;
    Ok(outcome)
}

/// The order of manifests; of those with errors, none.
async fn in_order(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
) -> Result<Course, SyncError> {
    if !rendered.errors.is_empty() {
        return Ok(Course::default());
    }
    let course = Course::of(rendered, options.inventory.is_empty()).map_err(SyncError::Manifests)?;
    if !course.has_hooks() || !options.application.is_empty() {
        return Ok(course);
    }
    // Of one-shots nobody remembers whether there was one before: what is there tells.
    let kept = course.kept(rendered);
    let owned = Owners::read(client).await?;
    let planned = commit(client, kinds, &kept, options, &owned, How::DryRun).await?;
    let totals = planned.report.totals();
    Course::of(rendered, totals.change == 0 && totals.unchanged == 0).map_err(SyncError::Manifests)
}

/// How often a sync commits anew because more was taken from its Application.
const TRIES: usize = 8;

async fn commit(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
    owned: &Owners,
    how: How,
) -> Result<Outcome, SyncError> {
    let mut tries = 0;
    loop {
        match try_commit(client, kinds, rendered, options, owned, how).await {
            // More was taken from the Application, or given back, since that was looked at.
            Err(error) if error.is_outdated() && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

async fn try_commit(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    options: &Options,
    owned: &Owners,
    how: How,
) -> Result<Outcome, SyncError> {
    if !rendered.errors.is_empty() {
        return Err(SyncError::Manifests(all_errors(client, rendered, options, owned).await));
    }
    let taken = taking::from(client, &options.application).await?;
    let settled = claims::settle(rendered, options, &taken.ids)?;
    let (rendered, lost) = settled.as_ref().map_or((rendered, &[][..]), |settled| (&settled.rendered, &settled.lost));
    let adjusted;
    let rendered = if options.ignore.is_empty() {
        rendered
    } else {
        adjusted = ignored::adjust(client, kinds, rendered, &options.ignore).await;
        &adjusted
    };
    let mut desired: Vec<ObjectId> = rendered.objects.iter().map(|manifest| manifest.id.clone()).collect();
    desired.extend_from_slice(&options.elsewhere);
    let Leaving { mut deletions, mut kept, held, warnings, .. } =
        leaving::sort(client, kinds, &desired, options, &taken.ids).await;
    let mut foreign = Vec::new();
    let adopts = options.adopt && options.application.is_empty();
    if adopts {
        owned.refuse_takes(rendered)?;
    }
    let mut taking = match how {
        How::Apply if adopts => Some(taking::begin(client, kinds, rendered, owned).await?),
        _ => None,
    };
    let Posted { request, mut status, consequences } = loop {
        let expected = taken.expected.as_ref();
        let posted = match conflicts::post(client, rendered, options, owned, &deletions, how, expected).await {
            Ok(posted) => posted,
            Err(error) => {
                let Some(taking) = taking.take() else { return Err(error) };
                if error.is_answer() {
                    taking.give_back(client, kinds).await;
                    return Err(error);
                }
                // Nobody knows whether it was committed: the losers are not to fight for it.
                return Err(taking.unanswered(error));
            }
        };
        let status = &posted.status;
        if status.applied {
            break posted;
        }
        // What was deleted and made again by someone else is no longer ours to delete.
        let others = rendered.objects.len() + options.record.objects.len();
        let lost = changeset::lost_deletions(status, others, &deletions);
        if lost.is_empty() {
            if let Some(taking) = taking.take() {
                taking.give_back(client, kinds).await;
            }
            return Err(SyncError::Manifests(refusal::errors(&status.results, rendered, options)));
        }
        deletions.retain(|id| !lost.iter().any(|gone| same_object(gone, id)));
        foreign.extend(lost);
    };
    if how == How::Apply {
        let limit = options.stage_limit.unwrap_or(replacing::LIMIT);
        replacing::finish(client, kinds, &request.spec, &mut status, limit).await?;
    }
    let results = own_results(&status.results, rendered.objects.len(), &options.record, deletions.len());
    let mut report = Report::new(&results, &rendered.objects, kinds);
    if options.application.is_empty() {
        let is_confidential = |id: &ObjectId| rendered.find(id).is_some_and(|manifest| manifest.confidential);
        report.takeovers = plan::takeovers::of_fields(&status.results, is_confidential);
    }
    if adopts {
        report.takeovers.splice(..0, taking::takeovers(rendered, owned));
    }
    if let Some(consequences) = consequences {
        report.foresee(consequences);
    }
    for id in &foreign {
        let name = describe(id);
        report.warnings.push(format!("{name} was made again, or taken over, by someone else: not deleting it"));
    }
    report.warnings.extend(warnings);
    report.warnings.extend_from_slice(lost);
    let failed = status.results.iter().any(|result| result.action == ChangeAction::Failed);
    if failed {
        return Err(SyncError::Manifests(refusal::errors(&status.results, rendered, options)));
    }
    let is = |ids: &[ObjectId], id: &ObjectId| ids.iter().any(|other| same_object(id, other));
    let apart = |id: &&ObjectId| is(&options.elsewhere, id) && !is(&taken.ids, id);
    kept.extend(options.inventory.iter().filter(apart).cloned());
    let inventory = inventory::after(&options.inventory, &status.results[..rendered.objects.len()], &kept);
    let version = |object: &Value| Some(object.pointer("/metadata/resourceVersion")?.as_str()?.to_owned());
    let versions =
        status.results.iter().filter_map(|result| Some((result.id.clone(), version(result.before.as_ref()?)?)));
    Ok(Outcome {
        report,
        inventory,
        revision: status.revision,
        held,
        lost: lost.to_vec(),
        versions: versions.collect(),
    })
}

/// The results without those of what the history writes along.
fn own_results<'a>(
    results: &'a [ChangeResult],
    objects: usize,
    record: &history::Writes,
    deletions: usize,
) -> Cow<'a, [ChangeResult]> {
    if record.objects.is_empty() {
        return Cow::Borrowed(&results[..results.len().min(objects + deletions)]);
    }
    let deleted = results.iter().skip(objects + record.objects.len()).take(deletions);
    results.iter().take(objects).chain(deleted).cloned().collect()
}

/// The errors of files that cannot be read, and what the API server says of the rest, so that a
/// source is mended in one go.
async fn all_errors(client: &kube::Client, rendered: &Rendered, options: &Options, owned: &Owners) -> Vec<RenderError> {
    let mut errors = rendered.errors.clone();
    // Without an answer the errors of the files are enough to go on with.
    if let Ok(Posted { status, .. }) = conflicts::post(client, rendered, options, owned, &[], How::DryRun, None).await {
        let mut refused = refusal::errors(&status.results, rendered, options);
        // The namespace may well be in one of the files that cannot be read.
        refused.retain(|error| !refusal::is_missing_namespace(error));
        errors.extend(refused);
        errors.sort();
    }
    errors
}

/// The first few names, and how many more.
fn names(ids: &[ObjectId]) -> String {
    const SHOWN: usize = 3;
    let mut text = ids.iter().take(SHOWN).map(describe).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text.push_str(&format!(" and {} more", ids.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
