//! A change set: many applies and deletions prepared one on top of the other, all errors
//! collected, committed as one transaction or not at all.

mod ahead;
mod conflicts;
mod expecting;
mod replacing;

use super::delete::DeleteOptions;
use super::object::{metadata, parse};
use super::update::Part;
use super::view::{Overlay, View};
use super::{At, Effect, Prepared, WriteOptions, Writer, codec, convert};
use crate::api::changeset::{
    ChangeAction, ChangeError, ChangeResult, ChangeSetSpec, ChangeSetStatus, DeletionLabel, ObjectId,
};
use crate::api::error::ApiError;
use crate::api::registry::{Registry, Resource};
use crate::api::schema::decode::FieldValidation;
use crate::apiserver::{ApiServer, definitions};
use crate::store::{Committed, Precondition, Record, Revision, StoreError, Txn};
use ahead::Ahead;
use replacing::{Replacement, immutable_fields, is_immutable};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

/// Tries while other writers change the same objects.
const TRIES: usize = 8;
/// Kinds that others stand on; the rest follows in the order given.
const FIRST: [&str; 5] = ["Namespace", "CustomResourceDefinition", "PriorityClass", "RuntimeClass", "ServiceAccount"];

/// A prepared set.
struct Draft {
    /// Deletions of what is then made again. Committed together with the rest, at a revision before it: whoever
    /// watches must see the end of the old object and the beginning of the new one.
    first: Txn,
    txn: Txn,
    results: Vec<ChangeResult>,
    /// For each result, its place among the transaction's writes.
    places: Vec<Option<usize>>,
}

impl Draft {
    fn failed(&self) -> bool {
        self.results.iter().any(|result| result.action == ChangeAction::Failed)
    }

    fn is_empty(&self) -> bool {
        self.first.writes.is_empty() && self.txn.writes.is_empty()
    }
}

impl ApiServer {
    /// Applies a change set; what is wrong with single objects is in the status.
    pub async fn change(&self, spec: &ChangeSetSpec) -> Result<ChangeSetStatus, ApiError> {
        // New services need addresses that no other writer takes meanwhile.
        let _lock = self.allocation.lock().await;
        for _ in 0..TRIES {
            let base = self.store.revision();
            if spec.expected_revision != 0 && base != spec.expected_revision {
                return Err(moved_on(spec.expected_revision, base));
            }
            let expected = self.expect(&spec.expected_annotations)?;
            let mut draft = self.draft(spec);
            self.sign(&mut draft.results);
            if draft.failed() || spec.dry_run || draft.is_empty() {
                let applied = !draft.failed();
                return Ok(ChangeSetStatus { applied, revision: base, results: draft.results });
            }
            let mut txns: Vec<Txn> =
                [&draft.first, &draft.txn].into_iter().filter(|txn| !txn.writes.is_empty()).cloned().collect();
            if let Some(leading) = txns.first_mut() {
                leading.preconditions.extend(expected);
                if spec.expected_revision != 0 {
                    leading.preconditions.push(Precondition::StoreAt(spec.expected_revision));
                }
            }
            let defines = txns.iter().any(|txn| definitions::touched(&txn.writes));
            match self.store.commit_all(txns).await {
                Ok(committed) => {
                    if defines {
                        self.definitions.settle(self.store.as_ref(), &self.registry);
                    }
                    self.metrics.committed(committed.iter().map(|one| one.records.len()).sum());
                    // The main transaction is the last one.
                    let Some(committed) = committed.last() else { continue };
                    self.settle(spec, &draft, committed);
                    return Ok(finish(draft, committed));
                }
                Err(StoreError::Precondition { .. }) => continue,
                Err(error) => return Err(super::store_error(error)),
            }
        }
        Err(ApiError::new(409, "Conflict", "the objects of the change set keep being modified by others; try again"))
    }

    fn draft(&self, spec: &ChangeSetSpec) -> Draft {
        let base = self.view();
        let mut overlay = Overlay::new(&base);
        let count = spec.objects.len() + spec.deletions.len();
        let (first, txn) = (Txn::default(), Txn::default());
        let mut draft = Draft { first, txn, results: vec![ChangeResult::default(); count], places: vec![None; count] };
        let mut seen = HashSet::new();
        let mut kinds = Kinds { registry: &self.registry, defined: Vec::new() };
        let rank = |kind: &str| FIRST.iter().position(|first| *first == kind).unwrap_or(FIRST.len());
        let mut order: Vec<usize> = (0..spec.objects.len()).collect();
        order.sort_by_key(|index| rank(spec.objects[*index]["kind"].as_str().unwrap_or_default()));
        let options = WriteOptions {
            dry_run: spec.dry_run,
            field_manager: spec.field_manager.clone(),
            field_validation: FieldValidation::Strict,
            force: spec.force,
        };
        let mut ahead = self.prepare_ahead(&base, spec, &options);
        for index in order {
            let Ahead { id, prepared } = std::mem::take(&mut ahead[index]);
            let prepared = match prepared.filter(|(_, reads)| kinds.defined.is_empty() && !overlay.changes(reads)) {
                Some((prepared, _)) => claim_id(&kinds, &id, &mut seen).map(|()| prepared),
                None => self.prepare_apply((&overlay, &kinds), &options, &id, &spec.objects[index], &mut seen),
            };
            let intent = &spec.objects[index];
            let prepared = match (prepared, conflicts::earlier(spec, &id)) {
                (Err(error), Some(earlier)) if conflicts::is_conflict(&error) => {
                    self.take_back((&overlay, &kinds), &options, (&id, intent, earlier), error)
                }
                (prepared, _) => prepared,
            };
            kinds.define(prepared.as_ref().ok());
            match prepared {
                Err(error) if spec.replace && is_immutable(&error) => {
                    let refused = immutable_fields(&error);
                    let replacement = Replacement { index, id, intent, options: &options, refused };
                    self.replace(&mut draft, (&mut overlay, &kinds), replacement);
                }
                prepared => draft.add(index, id, prepared, &mut overlay),
            }
        }
        // What others stand on goes last.
        let mut leaving: Vec<(usize, &ObjectId)> = spec.deletions.iter().enumerate().collect();
        leaving.sort_by_key(|(_, id)| Reverse(rank(&id.kind)));
        for (offset, id) in leaving {
            let prepared = self.prepare_removal((&overlay, &kinds), &options, id, &mut seen);
            let prepared = prepared.and_then(|prepared| check_label(prepared, spec.deletion_label.as_ref()));
            match prepared {
                Err(error) if error.code == 404 => {
                    draft.results[spec.objects.len() + offset] =
                        ChangeResult { id: id.clone(), ..ChangeResult::default() };
                }
                other => draft.add(spec.objects.len() + offset, id.clone(), other, &mut overlay),
            }
        }
        draft
    }

    /// Remembers what was applied just now: applied again, it changes nothing.
    fn settle(&self, spec: &ChangeSetSpec, draft: &Draft, committed: &Committed) {
        for ((intent, result), place) in spec.objects.iter().zip(&draft.results).zip(&draft.places) {
            let record = place.and_then(|place| committed.records.get(place)?.as_ref());
            let (group, version) = split(&result.id.api_version);
            let resource = self.registry.by_kind(group, version, &result.id.kind);
            if let (Some(record), Some(false)) = (record, resource.map(|row| row.is_custom()))
                && result.warnings.is_empty()
                && self.settled.is_shared(record.modified)
            {
                let apply = self.settled.fingerprint(intent, &spec.field_manager, spec.force);
                self.settled.note(&record.key, record.modified, apply);
            }
        }
    }

    /// Says who wrote what is changed, who deleted what is made again, and who owns what is refused.
    fn sign(&self, results: &mut [ChangeResult]) {
        let kinds = Kinds { registry: &self.registry, defined: Vec::new() };
        for result in results {
            let of_interest =
                matches!(result.action, ChangeAction::Configured | ChangeAction::Created | ChangeAction::Failed);
            if of_interest
                && let Ok(resource) = kinds.find(&result.id)
                && let Ok(at) = place(&resource, &result.id)
            {
                result.author = match result.action {
                    ChangeAction::Failed => self.owner_in_the_way(result, &at.key()),
                    _ => self.last_writes.of(&at.key()),
                };
            }
        }
    }

    fn prepare_apply(
        &self,
        (overlay, kinds): (&Overlay<'_>, &Kinds<'_>),
        options: &WriteOptions,
        id: &ObjectId,
        intent: &Value,
        seen: &mut HashSet<Arc<str>>,
    ) -> Result<Prepared, ApiError> {
        claim_id(kinds, id, seen)?;
        self.prepare_object((overlay, kinds), options, id, intent)
    }

    fn prepare_object(
        &self,
        (view, kinds): (&dyn View, &Kinds<'_>),
        options: &WriteOptions,
        id: &ObjectId,
        intent: &Value,
    ) -> Result<Prepared, ApiError> {
        let resource = kinds.find(id)?;
        let at = place(&resource, id)?;
        let apply = self.settled.fingerprint(intent, &options.field_manager, options.force);
        let as_stored = !resource.is_custom() && !view.is_pending(&at.key());
        if as_stored
            && let Some(record) = view.get(&at.key())
            && self.settled.holds(&record.key, record.modified, apply)
        {
            return Ok(Prepared::new(record.key.clone(), Effect::Unchanged(record)));
        }
        let mut decoded = codec::conform(&resource, intent.clone(), options.field_validation)?;
        convert::incoming(&resource, &mut decoded.object);
        let writer = Writer { server: self, view, at, options };
        let mut prepared = writer.apply(decoded.object, Part::Main)?;
        prepared.warnings.extend(decoded.warnings);
        if as_stored
            && prepared.warnings.is_empty()
            && let Effect::Unchanged(record) = &prepared.effect
        {
            self.settled.note(&record.key, record.modified, apply);
        }
        Ok(prepared)
    }

    fn prepare_removal(
        &self,
        (overlay, kinds): (&Overlay<'_>, &Kinds<'_>),
        options: &WriteOptions,
        id: &ObjectId,
        seen: &mut HashSet<Arc<str>>,
    ) -> Result<Prepared, ApiError> {
        let resource = kinds.find(id)?;
        let at = place(&resource, id)?;
        claim(at, seen)?;
        let delete = DeleteOptions {
            uid: (!id.uid.is_empty()).then(|| id.uid.clone()),
            propagation: Some("Background".into()),
            ..DeleteOptions::default()
        };
        Writer { server: self, view: overlay, at, options }.delete(&delete)
    }
}

/// The kinds that objects of a set may have: those served, and those that the set itself defines.
struct Kinds<'a> {
    registry: &'a Registry,
    defined: Vec<Arc<Resource>>,
}

impl Kinds<'_> {
    fn find(&self, id: &ObjectId) -> Result<Arc<Resource>, ApiError> {
        let (group, version) = split(&id.api_version);
        let is = |row: &&Arc<Resource>| row.group == group && row.version == version && row.kind == id.kind;
        let found = self.defined.iter().rev().find(is).cloned();
        let found = found.or_else(|| self.registry.by_kind(group, version, &id.kind));
        found.filter(|row| row.is_stored()).ok_or_else(|| {
            let message = format!("no matches for kind {:?} in version {:?}", id.kind, id.api_version);
            ApiError::new(404, "NotFound", message)
        })
    }

    /// Takes in what a prepared write defines.
    fn define(&mut self, prepared: Option<&Prepared>) {
        let Some(Effect::Create(packed) | Effect::Update { packed, .. }) = prepared.map(|prepared| &prepared.effect)
        else {
            return;
        };
        if prepared.is_some_and(|prepared| prepared.key.starts_with(&definitions::place())) {
            let definition = serde_json::from_slice(&packed.value).unwrap_or_default();
            self.defined.extend(definitions::rows(self.registry, &definition));
        }
    }
}

impl Draft {
    fn add(&mut self, index: usize, id: ObjectId, prepared: Result<Prepared, ApiError>, overlay: &mut Overlay<'_>) {
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.results[index] = failure(id, error);
                return;
            }
        };
        if let Some(txn) = self.foresee(index, id, prepared, overlay) {
            self.places[index] = Some(self.txn.writes.len());
            self.txn.preconditions.extend(txn.preconditions);
            self.txn.writes.extend(txn.writes);
        }
    }

    /// Takes in what a write would do; the write itself is not part of the set yet.
    fn foresee(&mut self, index: usize, id: ObjectId, prepared: Prepared, overlay: &mut Overlay<'_>) -> Option<Txn> {
        let mut prepared = prepared;
        let txn = prepared.txn();
        let (old, new) = prepared.objects.take().unzip();
        let whole = |record: &Record| old.unwrap_or_else(|| parse(record));
        let (action, before) = match &prepared.effect {
            Effect::Unchanged(_) => (ChangeAction::Unchanged, None),
            Effect::Create(_) => (ChangeAction::Created, None),
            Effect::Update { before, packed } => {
                let deleted =
                    packed.envelope.deletion_timestamp.is_some() && before.envelope.deletion_timestamp.is_none();
                (if deleted { ChangeAction::Deleted } else { ChangeAction::Configured }, Some(whole(before)))
            }
            Effect::Delete { before, .. } => (ChangeAction::Deleted, Some(whole(before))),
        };
        let done = prepared.dry_run();
        let after = (txn.is_some() && !done.deleted).then(|| match new {
            Some(new) => at_revision(new, done.record.modified),
            None => parse(&done.record),
        });
        let warnings = done.warnings;
        self.results[index] = ChangeResult { id, action, before, after, warnings, ..ChangeResult::default() };
        if let Some(txn) = &txn {
            overlay.absorb(&txn.writes);
        }
        txn
    }
}

/// The results with the objects as they are stored now: as they were prepared, at the commit's revision.
fn finish(mut draft: Draft, committed: &Committed) -> ChangeSetStatus {
    for (result, place) in draft.results.iter_mut().zip(&draft.places) {
        if let Some(record) = place.and_then(|place| committed.records.get(place)?.as_ref()) {
            result.after = result.after.take().map(|after| at_revision(after, record.modified));
        }
    }
    ChangeSetStatus { applied: true, revision: committed.revision, results: draft.results }
}

/// The object as it is at this revision; 0: at none yet.
fn at_revision(mut object: Value, revision: Revision) -> Value {
    let metadata = metadata(&mut object);
    match revision {
        0 => metadata.remove("resourceVersion"),
        revision => metadata.insert("resourceVersion".into(), revision.to_string().into()),
    };
    object
}

fn failure(id: ObjectId, error: ApiError) -> ChangeResult {
    let causes = error.details.map(|details| details.causes).unwrap_or_default();
    let error = ChangeError { code: error.code, reason: error.reason.into(), message: error.message, causes };
    ChangeResult { id, action: ChangeAction::Failed, error: Some(error), ..ChangeResult::default() }
}

/// Group and version.
fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

fn identify(object: &Value) -> ObjectId {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    ObjectId {
        api_version: text(&object["apiVersion"]),
        kind: text(&object["kind"]),
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
        uid: String::new(),
    }
}

fn place<'a>(resource: &'a Arc<Resource>, id: &'a ObjectId) -> Result<At<'a>, ApiError> {
    if id.name.is_empty() {
        return Err(ApiError::bad_request("metadata.name is required when applying"));
    }
    if resource.namespaced && id.namespace.is_empty() {
        return Err(ApiError::bad_request("metadata.namespace is required for objects of a namespace"));
    }
    let namespace = if resource.namespaced { id.namespace.as_str() } else { "" };
    Ok(At { resource, namespace, name: &id.name })
}

/// Refuses the deletion of what the label says is someone else's.
fn check_label(prepared: Prepared, label: Option<&DeletionLabel>) -> Result<Prepared, ApiError> {
    let (Effect::Update { before, .. } | Effect::Delete { before, .. }) = &prepared.effect else { return Ok(prepared) };
    let Some(label) = label else { return Ok(prepared) };
    let object = parse(before);
    match object.pointer("/metadata/labels").and_then(|labels| labels.get(&label.name)?.as_str()) {
        Some(value) if value != label.value => {
            let message = format!("its label {} is {value}, not {}", label.name, label.value);
            Err(ApiError::new(409, "Conflict", message))
        }
        _ => Ok(prepared),
    }
}

fn claim_id(kinds: &Kinds<'_>, id: &ObjectId, seen: &mut HashSet<Arc<str>>) -> Result<(), ApiError> {
    claim(place(&kinds.find(id)?, id)?, seen)
}

/// Each object may be in a set once.
fn claim(at: At<'_>, seen: &mut HashSet<Arc<str>>) -> Result<(), ApiError> {
    if seen.insert(at.key()) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("{} {:?} is in the change set more than once", at.resource.plural, at.name)))
}

fn moved_on(expected: u64, found: u64) -> ApiError {
    let message =
        format!("the store is at revision {found}, the change set was made for revision {expected}; plan again");
    ApiError::new(409, "Conflict", message)
}
