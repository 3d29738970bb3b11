//! Which objects of a collection a request is about: label and field selectors over envelopes.

use crate::api::error::ApiError;
use crate::api::meta::Envelope;
use crate::api::registry::Resource;
use crate::api::selector::{FieldSelector, LabelSelector};

/// Label and field selectors; the default takes everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// 400 for text that is no selector and for fields the kind does not select by.
    pub fn parse(resource: &Resource, labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        Ok(Self {
            labels: LabelSelector::parse(labels.unwrap_or_default())?,
            fields: FieldSelector::parse(fields.unwrap_or_default(), resource.rules.as_ref())?,
        })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub fn matches(&self, envelope: &Envelope) -> bool {
        self.labels.matches(&envelope.labels) && self.fields.matches(envelope)
    }

    /// The only name that can match, if the selector says so.
    pub fn name(&self) -> Option<&str> {
        self.fields.requires("metadata.name")
    }
}
