//! API errors as clients see them: a `Status` object with code, reason, message and details.
//! The texts are those of Kubernetes' apimachinery `api/errors`.

use serde::{Deserialize, Serialize};

/// `details.causes[]` of an Invalid or Conflict error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// e.g. `FieldValueRequired`, `FieldValueInvalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The failure of an API request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status.
    pub code: u16,
    /// e.g. `NotFound`, `Invalid`.
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Box<Details>>,
}

/// The resource an error speaks of, e.g. `deployments.apps`.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub group: &'a str,
    /// Plural resource for 404, 409 and 403; the kind for 422.
    pub resource: &'a str,
    pub kind: &'a str,
}

impl Target<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.to_string() } else { format!("{}.{}", self.resource, self.group) }
    }

    fn details(&self, name: &str) -> Details {
        Details { name: name.into(), group: self.group.into(), kind: self.resource.into(), ..Details::default() }
    }
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    pub fn not_found(target: Target<'_>, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", target.qualified()))
            .with_details(target.details(name))
    }

    /// A path that names no resource this server has.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(Details::default())
    }

    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(Details::default())
    }

    pub fn already_exists(target: Target<'_>, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", target.qualified()))
            .with_details(target.details(name))
    }

    pub fn conflict(target: Target<'_>, name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} \"{name}\": {why}", target.qualified()))
            .with_details(target.details(name))
    }

    /// The resourceVersion of the request is not the stored one.
    pub fn modified(target: Target<'_>, name: &str) -> Self {
        Self::conflict(
            target,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn forbidden(target: Target<'_>, name: &str, why: impl std::fmt::Display) -> Self {
        let object = if name.is_empty() { target.qualified() } else { format!("{} \"{name}\"", target.qualified()) };
        Self::new(403, "Forbidden", format!("{object} is forbidden: {why}")).with_details(target.details(name))
    }

    /// 422 with one cause per error, in the order found. `errors` is never empty.
    pub fn invalid(target: Target<'_>, name: &str, errors: &[FieldError]) -> Self {
        let kind =
            if target.group.is_empty() { target.kind.to_string() } else { format!("{}.{}", target.kind, target.group) };
        let texts: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.detail)).collect();
        let joined = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let causes = errors
            .iter()
            .map(|e| Cause { reason: e.reason.into(), message: e.detail.clone(), field: e.field.clone() })
            .collect();
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {joined}")).with_details(Details {
            name: name.into(),
            group: target.group.into(),
            kind: target.kind.into(),
            causes,
            ..Details::default()
        })
    }

    /// 410: the client lists again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The `Status` object that travels to the client.
    pub fn to_status(&self) -> serde_json::Value {
        let mut status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = serde_json::to_value(details).unwrap_or_default();
        }
        status
    }
}

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// e.g. `FieldValueInvalid`.
    pub reason: &'static str,
    /// e.g. `spec.template.spec.containers[0].image`.
    pub field: String,
    /// e.g. `Required value`, `Invalid value: "x": must be ...`.
    pub detail: String,
}

impl FieldError {
    /// `why` may be empty.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueRequired", field: field.into(), detail: after_colon("Required value", why) }
    }

    /// `value` is shown as JSON.
    pub fn invalid(field: impl Into<String>, value: &serde_json::Value, why: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            detail: after_colon(&format!("Invalid value: {value}"), why),
        }
    }

    /// `supported` in the order to print.
    pub fn not_supported(field: impl Into<String>, value: &serde_json::Value, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            detail: format!("Unsupported value: {value}: supported values: {list}"),
        }
    }

    pub fn duplicate(field: impl Into<String>, value: &serde_json::Value) -> Self {
        Self { reason: "FieldValueDuplicate", field: field.into(), detail: format!("Duplicate value: {value}") }
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), detail: after_colon("Forbidden", why) }
    }

    pub fn not_found(field: impl Into<String>, value: &serde_json::Value) -> Self {
        Self { reason: "FieldValueNotFound", field: field.into(), detail: format!("Not found: {value}") }
    }

    pub fn too_many(field: impl Into<String>, count: usize, most: usize) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        let detail = format!("Too many: {count}: must have at most {most} {items}");
        Self { reason: "FieldValueTooMany", field: field.into(), detail }
    }

    pub fn too_long(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueTooLong", field: field.into(), detail: after_colon("Too long", why) }
    }
}

fn after_colon(head: &str, why: &str) -> String {
    if why.is_empty() { head.to_string() } else { format!("{head}: {why}") }
}
