//! A report for programs. The shape is `selkie.dev/plan/v1`: fields are added, never changed.

use crate::api::changeset::ObjectId;
use crate::api::plan::Consequences;
use crate::gitops::plan::takeovers::Takeover;
use crate::gitops::plan::{Action, FieldChange, Report, Totals};
use serde::Serialize;

const SCHEMA: &str = "selkie.dev/plan/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan<'a> {
    schema: &'static str,
    totals: Totals,
    /// Unchanged objects are left out; `totals` counts them.
    objects: Vec<Object<'a>>,
    warnings: &'a [String],
    /// Hooks that are run, with their place.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    runs: &'a [String],
    /// What is taken over from whom.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    takeovers: &'a [Takeover],
    #[serde(skip_serializing_if = "Option::is_none")]
    consequences: Option<&'a Consequences>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    action: Action,
    #[serde(flatten)]
    id: &'a ObjectId,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Place<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
    restarts: u64,
    fields: &'a [FieldChange],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: u32,
}

fn plan(report: &Report) -> Plan<'_> {
    let objects = report.changes().map(|object| Object {
        action: object.action,
        id: &object.id,
        origin: object.origin.as_ref().map(|origin| Place { file: &origin.file, line: origin.line }),
        note: &object.note,
        restarts: object.restarts,
        fields: &object.fields,
        warnings: &object.warnings,
    });
    Plan {
        schema: SCHEMA,
        totals: report.totals(),
        objects: objects.collect(),
        warnings: &report.warnings,
        runs: &report.runs,
        takeovers: &report.takeovers,
        consequences: report.consequences.as_ref(),
    }
}

/// The document as a value.
pub fn value(report: &Report) -> serde_json::Value {
    serde_json::to_value(plan(report)).unwrap_or_default()
}

/// One document, indented.
pub fn json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(&plan(report)).unwrap_or_default();
    text.push('\n');
    text
}

/// [`json`] with one field more.
pub fn json_with(report: &Report, field: &str, value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(&with(report, field, value)).unwrap_or_default();
    text.push('\n');
    text
}

/// [`yaml`] with one field more.
pub fn yaml_with(report: &Report, field: &str, value: &impl Serialize) -> String {
    serde_yaml::to_string(&with(report, field, value)).unwrap_or_default()
}

fn with(report: &Report, field: &str, value: &impl Serialize) -> serde_json::Value {
    let mut document = self::value(report);
    document[field] = serde_json::to_value(value).unwrap_or_default();
    document
}

/// The same as YAML.
pub fn yaml(report: &Report) -> String {
    // Through JSON, so that both are the same document.
    serde_yaml::to_string(&value(report)).unwrap_or_default()
}

/// `deployment.apps/web` for each changed object, as `kubectl -o name` prints.
pub fn names(report: &Report) -> String {
    let name = |id: &ObjectId| {
        let kind = id.kind.to_lowercase();
        match crate::gitops::render::group(&id.api_version) {
            "" => format!("{kind}/{}\n", id.name),
            group => format!("{kind}.{group}/{}\n", id.name),
        }
    };
    report.changes().map(|object| name(&object.id)).collect()
}
