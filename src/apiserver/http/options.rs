//! Request parameters to the options of verbs.

use super::forms::{Form, Include};
use super::negotiate;
use super::verbs::Ask;
use crate::api::error::{ApiError, FieldError};
use crate::api::schema::decode::{Encoding, FieldValidation};
use crate::apiserver::resources::WriteOptions;
use crate::apiserver::resources::codec::Payload;
use crate::apiserver::resources::delete::{DeleteOptions, options_target};
use crate::apiserver::resources::list::ListOptions;
use crate::apiserver::resources::select::Selection;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;

impl Ask<'_> {
    pub(super) fn form(&self) -> Result<Form, ApiError> {
        let include = match self.query.get("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("Object") => Include::Object,
            Some("None") => Include::None,
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be one of Metadata, Object, None"
                )));
            }
        };
        Ok(Form { shape: self.accepts.shape, include, now: self.server.clock.now() })
    }

    pub(super) fn encoding(&self) -> Result<Encoding, ApiError> {
        negotiate::encoding(negotiate::content_type(&self.parts.headers))
    }

    pub(super) fn payload(&self, bytes: Bytes) -> Result<Payload, ApiError> {
        Ok(Payload { bytes, encoding: self.encoding()?, validation: self.field_validation("CreateOptions")? })
    }

    fn field_validation(&self, kind: &'static str) -> Result<FieldValidation, ApiError> {
        match self.query.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let error = FieldError::not_supported("fieldValidation", &json!(other), &supported);
                Err(ApiError::invalid(options_target(kind), "", &[error]))
            }
        }
    }

    pub(super) fn write_options(&self, kind: &'static str) -> Result<WriteOptions, ApiError> {
        let mut errors = Vec::new();
        let dry_run = self.query.all("dryRun").into_iter().filter(|value| !value.is_empty()).collect::<Vec<_>>();
        if let Some(bad) = dry_run.iter().find(|value| *value != "All") {
            errors.push(FieldError::not_supported("dryRun", &json!([bad]), &["All"]));
        }
        let manager = self.query.get("fieldManager").map_or_else(|| self.agent(), str::to_string);
        if manager.len() > 128 {
            errors.push(FieldError::too_long("fieldManager", "may not be more than 128 bytes"));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(options_target(kind), "", &errors));
        }
        Ok(WriteOptions {
            dry_run: !dry_run.is_empty(),
            field_manager: manager,
            field_validation: self.field_validation(kind)?,
            force: self.query.flag("force"),
        })
    }

    /// The manager of requests that name none.
    pub(super) fn agent(&self) -> String {
        let agent = self.parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        let name = agent.unwrap_or_default().split('/').next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
        if name.is_empty() { "unknown".into() } else { name }
    }

    pub(super) fn delete_options(&self) -> Result<DeleteOptions, ApiError> {
        Ok(DeleteOptions {
            grace_seconds: self.query.number("gracePeriodSeconds")?,
            uid: None,
            resource_version: None,
            propagation: self.query.get("propagationPolicy").map(str::to_string),
            orphan_dependents: self.query.flag_given("orphanDependents"),
            dry_run: self.write_options("DeleteOptions")?.dry_run,
        })
    }

    pub(super) fn list_options(&self) -> Result<ListOptions, ApiError> {
        let text = |name: &str| self.query.get(name).map(str::to_string);
        let limit = self.query.number("limit")?.unwrap_or_default();
        let timeout = self.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        Ok(ListOptions {
            resource_version: text("resourceVersion"),
            version_match: text("resourceVersionMatch"),
            limit: usize::try_from(limit).unwrap_or_default(),
            continued: text("continue"),
            selection: Selection::parse(
                &self.resource,
                self.query.get("labelSelector"),
                self.query.get("fieldSelector"),
            )?,
            send_initial_events: self.query.flag_given("sendInitialEvents"),
            bookmarks: self.query.flag("allowWatchBookmarks"),
            timeout: timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        })
    }
}
