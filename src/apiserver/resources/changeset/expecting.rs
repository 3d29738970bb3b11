//! What a set was made from and does not write: it holds at the commit, or nothing is committed.

use super::{Kinds, place};
use crate::api::changeset::{ExpectedAnnotation, UNEXPECTED};
use crate::api::error::{ApiError, Cause, Details};
use crate::apiserver::ApiServer;
use crate::apiserver::resources::object::parse;
use crate::store::Precondition;

impl ApiServer {
    /// The preconditions by which what is expected holds at the commit; an error where it does not hold now.
    pub(super) fn expect(&self, expected: &[ExpectedAnnotation]) -> Result<Vec<Precondition>, ApiError> {
        let kinds = Kinds { registry: &self.registry, defined: Vec::new() };
        expected.iter().map(|expected| self.expect_one(&kinds, expected)).collect()
    }

    fn expect_one(&self, kinds: &Kinds<'_>, expected: &ExpectedAnnotation) -> Result<Precondition, ApiError> {
        let id = &expected.object;
        let resource = kinds.find(id)?;
        let key = place(&resource, id)?.key();
        let record = self.store.get(&key);
        let object = record.as_deref().map(parse);
        let metadata = object.as_ref().and_then(|object| object.get("metadata"));
        let text = |value: Option<&serde_json::Value>| value.and_then(|value| value.as_str()).map(str::to_owned);
        let uid = text(metadata.and_then(|metadata| metadata.get("uid")));
        let found = text(metadata.and_then(|metadata| metadata.get("annotations")?.get(&expected.name)));
        if found != expected.value || (!id.uid.is_empty() && uid.is_some_and(|uid| uid != id.uid)) {
            let message = format!(
                "the annotation {} of {} {:?} is not what the change set was made from; read it again",
                expected.name, resource.plural, id.name
            );
            let cause = Cause { reason: UNEXPECTED.into(), message: message.clone(), ..Cause::default() };
            let details = Details { name: id.name.clone(), causes: vec![cause], ..Details::default() };
            return Err(ApiError::new(409, "Conflict", message).with_details(details));
        }
        Ok(match record {
            Some(record) => Precondition::ModifiedAt { key, revision: record.modified },
            None => Precondition::Absent { key },
        })
    }
}
