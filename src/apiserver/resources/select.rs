//! Which objects of a collection a request is about: label and field selectors over envelopes.

use crate::api::error::ApiError;
use crate::api::registry::Resource;
use crate::api::selector::{FieldSelector, LabelSelector};
use crate::apiserver::resources::object::parse;
use crate::store::Record;
use std::sync::Arc;

/// Label and field selectors; the default takes everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// Of a kind whose selectable fields are in its objects alone.
    deep: Option<Arc<Resource>>,
}

impl Selection {
    /// 400 for text that is no selector and for fields the kind does not select by.
    pub fn parse(resource: &Arc<Resource>, labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let fields = FieldSelector::parse(fields.unwrap_or_default(), resource.rules.as_ref())?;
        let deep =
            resource.rules.selects_deep() && fields.terms().iter().any(|term| resource.rules.selects(&term.field));
        let labels = LabelSelector::parse(labels.unwrap_or_default())?;
        Ok(Self { labels, fields, deep: deep.then(|| resource.clone()) })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub fn matches(&self, record: &Record) -> bool {
        let envelope = record.envelope.as_ref();
        if !self.labels.matches(&envelope.labels) {
            return false;
        }
        let Some(resource) = &self.deep else { return self.fields.matches(envelope) };
        let object = parse(record);
        self.fields.terms().iter().all(|term| {
            let found = match term.field.as_str() {
                "metadata.name" => envelope.name.clone(),
                "metadata.namespace" => envelope.namespace.clone(),
                field => resource.rules.field(&object, field),
            };
            (found == term.value) == term.equal
        })
    }

    /// The only name that can match, if the selector says so.
    pub fn name(&self) -> Option<&str> {
        self.fields.requires("metadata.name")
    }
}
