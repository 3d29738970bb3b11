//! Fields that others own: refused, but for those that the manager applied before. Whoever changed these since has
//! taken the manager's own, and it takes them back.

use super::{Kinds, identify};
use crate::api::changeset::{Author, ChangeResult, ChangeSetSpec, ObjectId};
use crate::api::error::{ApiError, Cause};
use crate::api::schema::decode::FieldValidation;
use crate::apiserver::ApiServer;
use crate::apiserver::patch::apply::{CONFLICT, refuse};
use crate::apiserver::patch::fields_of;
use crate::apiserver::resources::object::parse;
use crate::apiserver::resources::view::View;
use crate::apiserver::resources::{Prepared, WriteOptions, codec, convert};
use serde_json::Value;
use std::collections::HashSet;

/// What of an object the manager applied before, if the set says.
pub(super) fn earlier<'a>(spec: &'a ChangeSetSpec, id: &ObjectId) -> Option<&'a Value> {
    spec.earlier.iter().find(|object| identify(object) == *id)
}

pub(super) fn is_conflict(error: &ApiError) -> bool {
    causes(error).iter().any(|cause| cause.reason == CONFLICT)
}

fn causes(error: &ApiError) -> &[Cause] {
    error.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default()
}

impl ApiServer {
    /// Prepares once more what met fields of others: takes those that it applied `earlier`, unless there are more.
    pub(super) fn take_back(
        &self,
        (view, kinds): (&dyn View, &Kinds<'_>),
        options: &WriteOptions,
        (id, intent, earlier): (&ObjectId, &Value, &Value),
        error: ApiError,
    ) -> Result<Prepared, ApiError> {
        let resource = kinds.find(id)?;
        // It was valid once, and is not applied now.
        let mut decoded = codec::conform(&resource, earlier.clone(), FieldValidation::Ignore)?;
        convert::incoming(&resource, &mut decoded.object);
        // What is owned is recorded of the form that is stored.
        let home = convert::home(&self.registry, &resource).unwrap_or_else(|| resource.clone());
        let own: HashSet<String> = fields_of(&decoded.object, &home.schema).into_iter().collect();
        let foreign: Vec<Cause> = causes(&error).iter().filter(|cause| !own.contains(&cause.field)).cloned().collect();
        if !foreign.is_empty() {
            return Err(refuse(foreign));
        }
        self.prepare_object((view, kinds), &WriteOptions { force: true, ..options.clone() }, id, intent)
    }

    /// Whose the fields are that an apply was refused for, as far as that is known.
    pub(super) fn owner_in_the_way(&self, result: &ChangeResult, key: &str) -> Option<Author> {
        let causes = &result.error.as_ref()?.causes;
        let said = causes.iter().find(|cause| cause.reason == CONFLICT)?.message.as_str();
        // `conflict with "kubectl-edit" using v1`
        let manager = said.split('"').nth(1)?;
        if let Some(author) = self.last_writes.of(key).filter(|author| author.manager == manager) {
            return Some(author);
        }
        let object = parse(&*self.store.get(key)?);
        let entries = object["metadata"]["managedFields"].as_array()?;
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let theirs = entries.iter().filter(|entry| entry["manager"] == manager);
        let newest = theirs.max_by_key(|entry| text(entry, "time"))?;
        let subresource = text(newest, "subresource");
        Some(Author { manager: manager.to_owned(), time: text(newest, "time"), subresource, ..Author::default() })
    }
}
