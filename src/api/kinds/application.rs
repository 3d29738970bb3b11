//! Applications: what selkie keeps in step with a source.

mod health;
mod helm;
mod notifications;
mod post_build;
mod windows;

use super::json::{ensure, put, text};
use super::{Column, Kind, table};
use crate::api::error::FieldError;
use crate::base::url::redact;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of selkie.dev/v1alpha1 Application.
pub struct Application;

impl Kind for Application {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.as_object_mut().and_then(|object| ensure(object, "spec")) else { return };
        put(spec, "prune", true);
        put(spec, "suspend", false);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let source = &object["spec"]["source"];
        let named = ["repoURL", "path"].iter().any(|field| !text(source, &[field]).is_empty());
        let pushed = source["push"] == true;
        let mut errors = Vec::new();
        if !named && !pushed {
            errors.push(FieldError::required("spec.source", "must name a path or a repoURL, or set push"));
        }
        if named && pushed {
            let why = "what is pushed has no path and no repoURL";
            errors.push(FieldError::invalid("spec.source.push", &source["push"], why));
        }
        if !source["webhook"].is_null() && text(source, &["webhook", "secretRef", "name"]).is_empty() {
            let what = "must name the Secret that webhooks are signed with";
            errors.push(FieldError::required("spec.source.webhook.secretRef.name", what));
        }
        if !source["verify"].is_null() && text(source, &["verify", "secretRef", "name"]).is_empty() {
            let what = "must name the Secret that holds the keys of those who may sign";
            errors.push(FieldError::required("spec.source.verify.secretRef.name", what));
        }
        let is_artifact = text(source, &["repoURL"]).starts_with("oci://");
        if is_artifact && !source["verify"].is_null() {
            let why = "is for commits, and an artifact has none: name its digest as the ref";
            errors.push(FieldError::invalid("spec.source.verify", &source["verify"], why));
        }
        if !is_artifact && source["insecure"] == true {
            let why = "only the registry of an artifact (oci://) may be asked over plain HTTP";
            errors.push(FieldError::invalid("spec.source.insecure", &source["insecure"], why));
        }
        let decryption = &object["spec"]["decryption"];
        if !decryption.is_null() && text(decryption, &["provider"]) != "sops" {
            let provider = &decryption["provider"];
            errors.push(FieldError::not_supported("spec.decryption.provider", provider, &["sops"]));
        }
        if !decryption.is_null() && text(decryption, &["secretRef", "name"]).is_empty() {
            let what = "must name the Secret that holds the age keys";
            errors.push(FieldError::required("spec.decryption.secretRef.name", what));
        }
        let previews = &object["spec"]["previews"];
        if !previews.is_null() && super::json::list(previews, &["branches"]).is_empty() {
            errors.push(FieldError::required("spec.previews.branches", "must name the branches that have a preview"));
        }
        if !previews.is_null() && (is_artifact || text(source, &["repoURL"]).is_empty()) {
            let why = "only a git repository with a repoURL has branches for previews";
            errors.push(FieldError::invalid("spec.previews", previews, why));
        }
        let rollback = text(&object["spec"], &["rollback"]);
        if !["", "onFailure"].contains(&rollback) {
            errors.push(FieldError::not_supported("spec.rollback", &rollback.into(), &["onFailure"]));
        }
        errors.extend(windows::validate(&object["spec"]));
        errors.extend(notifications::validate(&object["spec"]));
        errors.extend(health::validate(&object["spec"]));
        errors.extend(post_build::validate(&object["spec"]));
        errors.extend(helm::validate(&object["spec"]));
        errors
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Ready:string, Status:string, Revision:string, Suspended:boolean, Age:string, Source:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let conditions = super::json::list(object, &["status", "conditions"]);
        let of = |name: &str| {
            let found = conditions.iter().find(|condition| text(condition, &["type"]) == name);
            found.map_or(("", ""), |one| (text(one, &["status"]), text(one, &["reason"])))
        };
        // A source that is refused or that holds deletions back matters more than what runs meanwhile.
        let (ready, reason) = match (of("Synced"), of("Ready")) {
            (("False", why), (ready, _)) => (if ready.is_empty() { "False" } else { ready }, why),
            ((_, "PruneHeld"), (ready, _)) => (ready, "PruneHeld"),
            (_, (ready, why)) => (ready, why),
        };
        let source = &object["spec"]["source"];
        let revision = text(object, &["status", "revision"]);
        let revision: String = revision.strip_prefix("sha256:").unwrap_or(revision).chars().take(12).collect();
        let place = match (text(source, &["repoURL"]), text(source, &["ref"]), text(source, &["path"])) {
            ("", _, path) if source["push"] != true => path.to_string(),
            (url, reference, _) => {
                let paths: Vec<&str> = super::json::list(source, &["paths"]).iter().filter_map(Value::as_str).collect();
                let directory =
                    if paths.is_empty() { text(source, &["directory"]).to_owned() } else { paths.join(",") };
                let url = if url.is_empty() { "git push".to_owned() } else { redact(url) };
                match (reference, directory.as_str()) {
                    ("", "") => url,
                    (reference, "") => format!("{url}#{reference}"),
                    (reference, directory) => format!("{url}#{reference}:{directory}"),
                }
            }
        };
        vec![
            table::name(object),
            if ready.is_empty() { "Unknown" } else { ready }.into(),
            reason.into(),
            table::or_none(&revision),
            object["spec"]["suspend"].as_bool().unwrap_or(false).into(),
            table::age(object, now),
            place.into(),
        ]
    }
}
