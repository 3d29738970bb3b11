//! Patches: JSON patch, JSON merge patch, strategic merge, and server-side apply with the managed
//! fields it rests on. Pure functions over JSON, driven by the schema; no kind is special here.

pub mod apply;
mod combine;
mod compare;
pub mod fieldset;
mod json;
pub mod managed;
mod merge;
mod remove;
mod strategic;
mod typed;

use crate::api::error::ApiError;
use crate::api::schema::Schema;
use serde_json::Value;

/// The patches that turn one object into another. Apply is its own: [`apply::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902, `application/json-patch+json`.
    Json,
    /// RFC 7386, `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`; built-in kinds only.
    Strategic,
}

impl PatchType {
    /// By media type, parameters cut off by the caller.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }
}

/// `current` with `patch` applied. The result is not decoded, defaulted or validated.
///
/// Errors: 400 for a patch of the wrong form, 413 for too many operations, 422 for a JSON patch
/// operation that fails, 500 for a strategic patch that contradicts the schema.
pub fn apply_patch(kind: PatchType, current: &Value, patch: &Value, schema: &Schema) -> Result<Value, ApiError> {
    match kind {
        PatchType::Json => json::apply(current, patch),
        PatchType::Merge => merge::apply(current, patch),
        PatchType::Strategic => strategic::apply(current, patch, schema),
    }
}

/// The paths of all fields that an intent sets, as messages show them: `.spec.containers[name="c"].image`.
pub fn fields_of(intent: &Value, schema: &Schema) -> Vec<String> {
    typed::to_set(intent, Some(schema)).paths()
}
