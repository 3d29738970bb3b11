//! Jobs.

mod policies;

use super::json::{child, ensure, integer, list, put, put_text, text};
use super::pod_spec::{self, Context};
use super::{Column, Kind, labels, table, workloads};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The rules of batch/v1 Job.
pub struct Job;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

impl Kind for Job {
    fn default(&self, object: &mut Value) {
        let template_labels = object["spec"]["template"]["metadata"]["labels"].clone();
        let Some(job) = object.as_object_mut() else { return };
        if let Some(metadata) = child(job, "metadata")
            && !template_labels.is_null()
        {
            put(metadata, "labels", template_labels);
        }
        if let Some(spec) = ensure(job, "spec") {
            default_spec(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let uid = text(object, &["metadata", "uid"]).to_string();
        let name = text(object, &["metadata", "name"]).to_string();
        let Some(job) = object.as_object_mut() else { return };
        job.insert("status".into(), json!({}));
        let Some(spec) = child(job, "spec") else { return };
        if spec.get("manualSelector") != Some(&Value::Bool(true)) {
            generate_selector(spec, &uid, &name);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut cx = Context { errors: self.validate_unselected(object), ..Context::new() };
        validate_selector(object, &mut cx);
        cx.errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in
            ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy", "managedBy"]
        {
            workloads::immutable(new, old, &["spec", field], &mut errors);
        }
        let indexed = new["spec"]["completionMode"] == "Indexed";
        let elastic = indexed && new["spec"]["completions"] == new["spec"]["parallelism"];
        if !elastic {
            workloads::immutable(new, old, &["spec", "completions"], &mut errors);
        }
        let never_started = old["spec"]["suspend"] == Value::Bool(true) && old["status"]["startTime"].is_null();
        if !never_started {
            workloads::immutable(new, old, &["spec", "template"], &mut errors);
        }
        errors
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", workloads::status(object, "succeeded").to_string())]
    }

    fn unknown_field(&self, field: &str) -> String {
        format!("field label {field:?} not supported for Job")
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Name:string:name, Status:string, Completions:string, Duration:string, Age:string, Containers:string:1, Images:string:1, Selector:string:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![
            table::name(object),
            status(object).into(),
            completions(object).into(),
            duration(object, now).into(),
            table::age(object, now),
        ];
        cells.extend(workloads::wide(object));
        cells
    }
}

impl Job {
    /// Everything but the selector, which a template of jobs has not.
    pub fn validate_unselected(&self, object: &Value) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut cx = Context::new();
        workloads::validate_counts(
            spec,
            &[
                "parallelism",
                "completions",
                "activeDeadlineSeconds",
                "backoffLimit",
                "ttlSecondsAfterFinished",
                "backoffLimitPerIndex",
                "maxFailedIndexes",
            ],
            &mut cx,
        );
        cx.one_of("spec.completionMode".into(), &spec["completionMode"], &["Indexed", "NonIndexed"]);
        if spec["completionMode"] == "Indexed" && spec["completions"].is_null() {
            cx.required("spec.completions".into(), "when completion mode is Indexed");
        }
        policies::validate(spec, &mut cx);
        pod_spec::validate_template_body(&spec["template"], &mut cx);
        if !matches!(text(spec, &["template", "spec", "restartPolicy"]), "OnFailure" | "Never") {
            cx.required("spec.template.spec.restartPolicy".into(), "valid values: \"OnFailure\", \"Never\"");
        }
        cx.errors
    }
}

fn default_spec(spec: &mut super::json::Object) {
    let absent = |spec: &super::json::Object, name: &str| spec.get(name).is_none_or(Value::is_null);
    if absent(spec, "completions") && absent(spec, "parallelism") {
        put(spec, "completions", 1);
    }
    put(spec, "parallelism", 1);
    let per_index = !absent(spec, "backoffLimitPerIndex");
    put(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    put_text(spec, "completionMode", "NonIndexed");
    put(spec, "suspend", false);
    let policy = if absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    put_text(spec, "podReplacementPolicy", policy);
    policies::default_conditions(spec);
    pod_spec::default_template(spec);
}

/// Pods are found by the job's uid; the unprefixed labels are for clients from before the prefix.
fn generate_selector(spec: &mut super::json::Object, uid: &str, name: &str) {
    if let Some(labels) = child(spec, "template")
        .and_then(|template| ensure(template, "metadata"))
        .and_then(|metadata| ensure(metadata, "labels"))
    {
        for (key, value) in
            [("controller-uid", uid), ("job-name", name), (UID_LABEL, uid), ("batch.kubernetes.io/job-name", name)]
        {
            labels.insert(key.into(), value.into());
        }
    }
    if let Some(selector) = ensure(spec, "selector")
        && let Some(labels) = ensure(selector, "matchLabels")
    {
        labels.insert(UID_LABEL.into(), uid.into());
    }
}

/// A selector is there once the job was prepared; before that only a manual one must be.
fn validate_selector(object: &Value, cx: &mut Context) {
    let spec = &object["spec"];
    let selector = &spec["selector"];
    if selector.is_null() {
        if spec["manualSelector"] == Value::Bool(true) {
            cx.required("spec.selector".into(), "");
        }
        return;
    }
    labels::validate_selector(selector, "spec.selector", &mut cx.errors);
    let found = &spec["template"]["metadata"]["labels"];
    if !labels::matches(selector, found) {
        cx.invalid("spec.template.metadata.labels".into(), found, "`selector` does not match template `labels`");
    }
}

fn status(job: &Value) -> &'static str {
    let is = |kind| table::condition(job, kind) == Some("True");
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !job["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let succeeded = workloads::status(job, "succeeded");
    match (integer(job, &["spec", "completions"]), integer(job, &["spec", "parallelism"]).unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |field| text(job, &["status", field]).parse::<Timestamp>().ok();
    let failed = list(job, &["status", "conditions"])
        .iter()
        .filter(|c| text(c, &["type"]) == "Failed" && text(c, &["status"]) == "True")
        .find_map(|c| text(c, &["lastTransitionTime"]).parse().ok());
    match (time("startTime"), time("completionTime").or(failed)) {
        (None, _) => String::new(),
        (Some(start), end) => table::human_duration(end.unwrap_or(now).as_second() - start.as_second()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(policy: &str) -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u1"},
            "spec": {"template": {"spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "a:1"}]}}}});
        Job.default(&mut job);
        Job.prepare_create(&mut job);
        job
    }

    #[test]
    fn the_selector_is_generated_from_the_uid() {
        let job = made("Never");
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {UID_LABEL: "u1"}}));
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert_eq!((&labels["job-name"], &labels["controller-uid"]), (&json!("j"), &json!("u1")));
        assert_eq!(job["spec"]["completions"], 1);
        assert_eq!(job["spec"]["podReplacementPolicy"], "TerminatingOrFailed");
        assert!(Job.validate(&job).is_empty());
    }

    #[test]
    fn pods_of_a_job_end() {
        let errors = Job.validate(&made("Always"));
        assert_eq!(errors[0].field, "spec.template.spec.restartPolicy");
        assert_eq!(errors[0].detail, "Required value: valid values: \"OnFailure\", \"Never\"");
    }

    #[test]
    fn the_template_is_immutable() {
        let old = made("Never");
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("b");
        new["spec"]["parallelism"] = json!(3);
        let fields: Vec<_> = Job.validate_update(&new, &old).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["spec.template"]);
    }
}
