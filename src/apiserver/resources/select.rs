//! Which objects of a collection a request is about: label and field selectors over envelopes.

use crate::api::error::ApiError;
use crate::api::meta::Envelope;
use crate::api::registry::Resource;

/// Label and field selectors; the default takes everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// 400 for text that is no selector and for fields the kind does not select by.
    pub fn parse(resource: &Resource, labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let labels =
            LabelSelector::parse(labels.unwrap_or_default()).map_err(|e| ApiError::bad_request(e.to_string()))?;
        let fields =
            FieldSelector::parse(fields.unwrap_or_default()).map_err(|e| ApiError::bad_request(e.to_string()))?;
        let known = resource.rules.field_names();
        for field in fields.names() {
            let common = field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced);
            if !common && !known.contains(&field) {
                return Err(ApiError::bad_request(resource.rules.unknown_field(field)));
            }
        }
        Ok(Self { labels, fields })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, envelope: &Envelope) -> bool {
        self.labels.matches(&envelope.labels) && self.fields.matches(|field| value(envelope, field))
    }
}

fn value<'a>(envelope: &'a Envelope, field: &str) -> &'a str {
    match field {
        "metadata.name" => &envelope.name,
        "metadata.namespace" => &envelope.namespace,
        other => envelope.fields.iter().find(|(name, _)| *name == other).map(|(_, v)| v.as_str()).unwrap_or_default(),
    }
}

/// Comma-separated equalities of labels.
#[derive(Debug, Clone, Default)]
struct LabelSelector(Vec<(String, bool, String)>);

impl LabelSelector {
    fn parse(text: &str) -> Result<Self, String> {
        terms(text).map(Self)
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn matches(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, equal, value)| (labels.get(key) == Some(value)) == *equal)
    }
}

/// Comma-separated equalities of fields.
#[derive(Debug, Clone, Default)]
struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    fn parse(text: &str) -> Result<Self, String> {
        terms(text).map(Self)
    }
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, ..)| name.as_str())
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn matches<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|(name, equal, wanted)| (value(name) == wanted) == *equal)
    }
}

fn terms(text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let found = ["!=", "==", "="].iter().find_map(|op| Some((part.split_once(op)?, *op != "!=")));
            let ((name, value), equal) =
                found.ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            Ok((name.trim().to_string(), equal, value.trim().to_string()))
        })
        .collect()
}
