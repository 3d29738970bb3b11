//! The verbs without HTTP. Each is a pure preparation over a [`view::View`] that yields a
//! [`Prepared`] write; [`ApiServer::perform`] commits it and, where another writer came first,
//! prepares again: the error a client then sees is the one the newer state gives.

pub mod budgets;
pub mod changeset;
pub mod codec;
pub mod convert;
pub mod create;
pub mod delete;
pub mod list;
pub mod meta;
pub mod object;
pub mod patch;
pub mod pods;
pub mod select;
pub mod stored;
pub mod update;
pub mod view;
pub mod watch;

use super::ApiServer;
use crate::api::error::{ApiError, Target};
use crate::api::registry::Resource;
use crate::api::schema::decode::FieldValidation;
use crate::store::{self, Precondition, Record, StoreError, Txn, Write};
use object::Packed;
use serde_json::Value;
use std::sync::Arc;
use view::{StoreView, View};

/// Tries of a write before other writers are reported as a conflict.
const TRIES: usize = 24;

/// The object (or, with an empty name, the collection) that a verb works on.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub resource: &'a Arc<Resource>,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> At<'a> {
    pub fn key(&self) -> Arc<str> {
        self.key_of(self.name)
    }

    pub fn key_of(&self, name: &str) -> Arc<str> {
        let (group, plural) = object::storage(self.resource);
        store::key(group, plural, self.namespace, name).into()
    }

    pub fn bucket(&self) -> String {
        let (group, plural) = object::storage(self.resource);
        store::bucket(group, plural)
    }

    pub fn target(&self) -> Target<'a> {
        target(self.resource)
    }

    /// The stored record, or 404.
    pub fn get(&self, view: &dyn View) -> Result<Arc<Record>, ApiError> {
        view.get(&self.key()).ok_or_else(|| ApiError::not_found(self.target(), self.name))
    }
}

pub fn target(resource: &Arc<Resource>) -> Target<'_> {
    Target { group: &resource.group, resource: &resource.plural, kind: &resource.kind }
}

/// The options of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Server-side apply: take over the fields of others.
    pub force: bool,
}

/// What the preparation of a write stands on.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    pub server: &'a ApiServer,
    pub view: &'a dyn View,
    pub at: At<'a>,
    pub options: &'a WriteOptions,
}

/// What a write does to its object.
pub enum Effect {
    /// The stored object is what was asked for already.
    Unchanged(Arc<Record>),
    Create(Packed),
    Update {
        before: Arc<Record>,
        packed: Packed,
    },
    /// Gone; `last` is its last state where that differs from the stored one.
    Delete {
        before: Arc<Record>,
        last: Option<Packed>,
    },
}

/// A write, ready to be committed.
pub struct Prepared {
    pub key: Arc<str>,
    pub effect: Effect,
    /// What must still hold besides the object's own state.
    pub preconditions: Vec<Precondition>,
    /// Writes of other objects that belong to it.
    pub also: Vec<Write>,
    pub warnings: Vec<String>,
    /// The object before (`Null`: there was none) and after the write, where they were read whole: it need not
    /// be done again. The resourceVersion of the one after is any.
    pub objects: Option<(Value, Value)>,
}

/// What a write did.
#[derive(Debug, Clone)]
pub struct Done {
    /// The object after the write; the last one if it is gone.
    pub record: Arc<Record>,
    pub created: bool,
    pub deleted: bool,
    pub warnings: Vec<String>,
}

impl Prepared {
    pub fn new(key: Arc<str>, effect: Effect) -> Self {
        let (preconditions, also, warnings) = Default::default();
        Self { key, effect, preconditions, also, warnings, objects: None }
    }

    /// The transaction, or the record if there is nothing to write.
    pub fn txn(&self) -> Option<Txn> {
        let key = self.key.clone();
        let (own, write) = match &self.effect {
            Effect::Unchanged(_) => return None,
            Effect::Create(packed) => (Precondition::Absent { key: key.clone() }, packed.clone().into_put(key)),
            Effect::Update { before, packed } => {
                (Precondition::ModifiedAt { key: key.clone(), revision: before.modified }, packed.clone().into_put(key))
            }
            Effect::Delete { before, last } => {
                let last = last.as_ref().map(|packed| (packed.value.clone(), packed.splice));
                let own = Precondition::ModifiedAt { key: key.clone(), revision: before.modified };
                (own, Write::Delete { key, last })
            }
        };
        let mut preconditions = vec![own];
        preconditions.extend(self.preconditions.iter().cloned());
        let writes = std::iter::once(write).chain(self.also.iter().cloned()).collect();
        Some(Txn { preconditions, writes })
    }

    /// What a dry run answers: the write's outcome with the revision of before.
    pub fn dry_run(self) -> Done {
        let key = self.key;
        let (created, deleted) =
            (matches!(self.effect, Effect::Create(_)), matches!(self.effect, Effect::Delete { .. }));
        let record = match self.effect {
            Effect::Unchanged(record) => record,
            Effect::Create(packed) => Arc::new(packed.materialize(key, 0, 0)),
            Effect::Update { before, packed } => Arc::new(packed.materialize(key, before.created, before.modified)),
            Effect::Delete { before, last: None } => before,
            Effect::Delete { before, last: Some(packed) } => {
                Arc::new(packed.materialize(key, before.created, before.modified))
            }
        };
        Done { record, created, deleted, warnings: self.warnings }
    }
}

impl ApiServer {
    /// The store as a view.
    pub fn view(&self) -> StoreView<'_> {
        StoreView(self.store.as_ref())
    }

    /// Prepares and commits, again when another writer came first.
    pub async fn perform(
        &self,
        at: At<'_>,
        dry_run: bool,
        mut prepare: impl FnMut(&dyn View) -> Result<Prepared, ApiError> + Send,
    ) -> Result<Done, ApiError> {
        for _ in 0..TRIES {
            let prepared = prepare(&self.view())?;
            let Some(txn) = prepared.txn().filter(|_| !dry_run) else { return Ok(prepared.dry_run()) };
            let (created, deleted) =
                (matches!(prepared.effect, Effect::Create(_)), matches!(prepared.effect, Effect::Delete { .. }));
            let defines = super::definitions::touched(&txn.writes);
            match self.store.commit(txn).await {
                Ok(committed) => {
                    if defines {
                        self.definitions.settle(self.store.as_ref(), &self.registry);
                    }
                    self.metrics.committed(committed.records.len());
                    let record = committed.records.into_iter().next().flatten();
                    let record = record.ok_or_else(|| ApiError::internal("the store returned no record"))?;
                    return Ok(Done { record, created, deleted, warnings: prepared.warnings });
                }
                Err(StoreError::Precondition { .. }) => continue,
                Err(error) => return Err(store_error(error)),
            }
        }
        Err(ApiError::modified(at.target(), at.name))
    }
}

/// A store's failure as the client sees it.
pub fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Compacted { .. } => ApiError::expired("The resourceVersion for the provided list is too old."),
        StoreError::Unavailable(why) => ApiError::internal(format!("the store cannot write: {why}")),
        StoreError::Closed => ApiError::new(503, "ServiceUnavailable", "the server is shutting down"),
        other => ApiError::internal(other),
    }
}
