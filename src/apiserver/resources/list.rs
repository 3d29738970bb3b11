//! GET of collections: which records, at which revision, in which pages.

use super::At;
use super::delete::options_target;
use crate::api::error::{ApiError, Cause, Details, FieldError};
use crate::apiserver::ApiServer;
use crate::apiserver::resources::select::Selection;
use crate::store::{Record, Revision, StoreError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long a list waits for a revision that is not there yet.
const FUTURE_WAIT: Duration = Duration::from_secs(3);
const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// What a list or watch asks for.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    pub resource_version: Option<String>,
    /// `Exact` or `NotOlderThan`.
    pub version_match: Option<String>,
    /// 0: no limit.
    pub limit: usize,
    pub continued: Option<String>,
    pub selection: Selection,
    pub send_initial_events: Option<bool>,
    pub bookmarks: bool,
    pub timeout: Option<Duration>,
}

/// A page of a collection.
pub struct Page {
    pub revision: Revision,
    pub records: Vec<Arc<Record>>,
    /// The token of the next page.
    pub continued: Option<String>,
    /// Not known with a selector.
    pub remaining: Option<usize>,
}

impl ListOptions {
    /// The revision that is asked for.
    pub(super) fn revision(&self) -> Result<Option<Revision>, ApiError> {
        let Some(text) = self.resource_version.as_deref() else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            let error = FieldError::invalid("resourceVersion", &json!(text), &why);
            let mut status = ApiError::invalid(options_target("ListOptions"), "", &[error]);
            (status.code, status.reason) = (400, "BadRequest");
            status
        })
    }

    /// The combinations Kubernetes refuses.
    pub fn validate(&self, watch: bool) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        let matching = self.version_match.as_deref();
        let unset = self.resource_version.is_none();
        if let Some(given) = matching.filter(|given| !matches!(*given, "Exact" | "NotOlderThan")) {
            errors.push(FieldError::not_supported(
                "resourceVersionMatch",
                &json!(given),
                &["Exact", "NotOlderThan", ""],
            ));
        }
        if watch {
            match (self.send_initial_events, matching) {
                (Some(_), Some("NotOlderThan")) | (None, None) => {}
                (Some(_), _) => errors.push(FieldError::forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                )),
                (None, Some(_)) => errors.push(FieldError::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )),
            }
        } else {
            if self.send_initial_events.is_some() {
                errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
            }
            if matching.is_some() && unset {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden("resourceVersionMatch", why));
            }
            if matching.is_some() && self.continued.is_some() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                errors.push(FieldError::forbidden("resourceVersionMatch", why));
            }
            if matching == Some("Exact") && self.resource_version.as_deref() == Some("0") {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden("resourceVersionMatch", why));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(options_target("ListOptions"), "", &errors)) }
    }
}

impl ApiServer {
    pub async fn list(&self, at: At<'_>, options: &ListOptions) -> Result<Page, ApiError> {
        options.validate(false)?;
        let prefix = prefix(at);
        let given = options.revision()?;
        if let Some(token) = &options.continued {
            if given.is_some_and(|revision| revision != 0) {
                return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
            }
            return self.next_page(&prefix, token, options);
        }
        let exact = options.version_match.as_deref() == Some("Exact")
            || (options.version_match.is_none() && options.limit > 0 && given.is_some_and(|revision| revision > 0));
        match given {
            Some(wanted) if wanted > 0 => self.wait_for(wanted).await?,
            _ => {}
        }
        let limit = if given == Some(0) { 0 } else { options.limit };
        self.page(&prefix, None, given.filter(|_| exact), limit, options)
    }

    /// Waits a little for a revision that another replica may have told a client of.
    pub(super) async fn wait_for(&self, wanted: Revision) -> Result<(), ApiError> {
        let deadline = tokio::time::Instant::now() + FUTURE_WAIT;
        while self.store.revision() < wanted {
            if tokio::time::Instant::now() >= deadline {
                return Err(too_large(wanted, self.store.revision()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn next_page(&self, prefix: &str, token: &str, options: &ListOptions) -> Result<Page, ApiError> {
        let (revision, start) = read_token(token, prefix)?;
        let at = (revision > 0).then_some(revision); // 0: a fresh token, which gave consistency up
        match self.page(prefix, Some(&start), at, options.limit, options) {
            Err(error) if error.code == 410 => Err(ApiError::expired(TOO_OLD)),
            other => other,
        }
    }

    fn page(
        &self,
        prefix: &str,
        start: Option<&str>,
        at: Option<Revision>,
        limit: usize,
        options: &ListOptions,
    ) -> Result<Page, ApiError> {
        let everything = options.selection.is_everything();
        let fetch = if everything { limit } else { 0 };
        let range = self.store.range(prefix, start, at, fetch).map_err(|error| match error {
            StoreError::Future { requested, current } => too_large(requested, current),
            other => super::store_error(other),
        })?;
        let revision = range.revision;
        if everything {
            let continued = range
                .more
                .then(|| range.records.last())
                .flatten()
                .map(|last| write_token(revision, prefix, &after(&last.key)));
            let remaining = continued.is_some().then(|| range.total - range.records.len());
            return Ok(Page { revision, records: range.records, continued, remaining });
        }
        let mut records: Vec<_> =
            range.records.into_iter().filter(|record| options.selection.matches(record)).collect();
        let mut continued = None;
        if limit > 0 && records.len() > limit {
            records.truncate(limit);
            continued = records.last().map(|last| write_token(revision, prefix, &after(&last.key)));
        }
        Ok(Page { revision, records, continued, remaining: None })
    }
}

/// The part of the bucket that a request's path covers.
pub fn prefix(at: At<'_>) -> String {
    let mut prefix = at.bucket();
    if !at.namespace.is_empty() {
        prefix.push_str(at.namespace);
        prefix.push('/');
    }
    prefix
}

/// The smallest key after `key`.
fn after(key: &str) -> String {
    format!("{key}\0")
}

fn write_token(revision: Revision, prefix: &str, start: &str) -> String {
    let start = start.strip_prefix(prefix).unwrap_or(start);
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
}

fn read_token(token: &str, prefix: &str) -> Result<(Revision, String), ApiError> {
    let bad = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| bad("illegal base64 data"))?;
    let token: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| bad("not JSON"))?;
    if token["v"] != "meta.k8s.io/v1" {
        return Err(bad("server does not recognize this encoded version"));
    }
    let start = token["start"].as_str().filter(|start| !start.is_empty()).ok_or_else(|| bad("missing start key"))?;
    let revision = token["rv"].as_u64().ok_or_else(|| bad("incorrect encoded start resourceVersion"))?;
    Ok((revision, format!("{prefix}{start}")))
}

/// The token that goes on from where `token` would have, at whatever revision is newest then.
pub fn fresh_token(at: At<'_>, token: &str) -> Option<String> {
    let prefix = prefix(at);
    let (_, start) = read_token(token, &prefix).ok()?;
    Some(write_token(0, &prefix, &start))
}

fn too_large(wanted: Revision, current: Revision) -> ApiError {
    let message = format!("Too large resource version: {wanted}, current: {current}");
    ApiError::new(504, "Timeout", format!("Timeout: {message}")).with_details(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        }],
        retry_after_seconds: 1,
        ..Details::default()
    })
}
