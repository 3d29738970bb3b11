//! StatefulSets, DaemonSets, CronJobs.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::pod_spec::{self, Context};
use crate::api::kinds::{Kind, job, timetable, workloads};
use serde_json::{Value, json};

pub fn stateful_set(object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut cx = Context::new();
    let policy = text(spec, &["podManagementPolicy"]);
    if !matches!(policy, "OrderedReady" | "Parallel") {
        cx.invalid("spec.podManagementPolicy".into(), &policy.into(), "must be 'OrderedReady' or 'Parallel'");
    }
    let strategy = &spec["updateStrategy"];
    match text(strategy, &["type"]) {
        "RollingUpdate" => cx.at_least(
            "spec.updateStrategy.rollingUpdate.partition".into(),
            &strategy["rollingUpdate"]["partition"],
            0,
        ),
        "OnDelete" if !strategy["rollingUpdate"].is_null() => cx.invalid(
            "spec.updateStrategy.rollingUpdate".into(),
            &strategy["rollingUpdate"],
            "only allowed for updateStrategy 'RollingUpdate'",
        ),
        "OnDelete" => {}
        _ => cx.invalid("spec.updateStrategy".into(), strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    workloads::validate_counts(spec, &["replicas", "minReadySeconds", "revisionHistoryLimit"], &mut cx);
    let claims = list(spec, &["volumeClaimTemplates"]).iter();
    cx.made = claims.map(|claim| text(claim, &["metadata", "name"]).to_owned()).collect();
    pod_spec::validate_template(spec, "statefulset", &mut cx);
    workloads::validate_endless(spec, "StatefulSet", &mut cx);
    cx.errors
}

pub fn controller_revision(object: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    if object["data"].is_null() {
        cx.required("data".into(), "data is mandatory");
    }
    cx.at_least("revision".into(), &object["revision"], 0);
    cx.errors
}

pub fn controller_revision_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    workloads::immutable(new, old, &["data"], &mut errors);
    errors
}

pub fn replication_controller(object: &Value) -> Vec<FieldError> {
    let (mut cx, spec) = (Context::new(), &object["spec"]);
    workloads::validate_counts(spec, &["replicas", "minReadySeconds"], &mut cx);
    let selector = spec["selector"].as_object().filter(|labels| !labels.is_empty());
    let labels = &spec["template"]["metadata"]["labels"];
    match selector {
        None => cx.required("spec.selector".into(), ""),
        Some(selector) if selector.iter().any(|(name, value)| labels[name] != *value) => {
            cx.invalid("spec.template.metadata.labels".into(), labels, "`selector` does not match template `labels`");
        }
        Some(_) => {}
    }
    if spec["template"].is_null() {
        cx.required("spec.template".into(), "");
    } else {
        pod_spec::validate_template_body(&spec["template"], &mut cx);
        workloads::validate_endless(spec, "ReplicationController", &mut cx);
    }
    cx.errors
}

pub fn stateful_set_update(new: &Value, old: &Value) -> Vec<FieldError> {
    const CHANGEABLE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |object: &Value| -> Value {
        let fields = object["spec"].as_object().into_iter().flatten();
        let mut kept: serde_json::Map<String, Value> = fields
            .filter(|(name, value)| !CHANGEABLE.contains(&name.as_str()) && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // The status of a claim template is nobody's.
        for claim in kept.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
            claim.as_object_mut().map(|claim| claim.remove("status"));
        }
        kept.into()
    };
    if fixed(new) == fixed(old) {
        return Vec::new();
    }
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    vec![FieldError::forbidden("spec", why)]
}

pub fn daemon_set(object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut cx = Context::new();
    pod_spec::validate_template(spec, "daemonset", &mut cx);
    workloads::validate_endless(spec, "DaemonSet", &mut cx);
    workloads::validate_counts(spec, &["minReadySeconds", "revisionHistoryLimit"], &mut cx);
    let strategy = &spec["updateStrategy"];
    cx.one_of("spec.updateStrategy".into(), &strategy["type"], &["RollingUpdate", "OnDelete"]);
    let rolling = &strategy["rollingUpdate"];
    if strategy["type"] == "RollingUpdate" {
        for name in ["maxUnavailable", "maxSurge"] {
            let field = format!("spec.updateStrategy.rollingUpdate.{name}");
            workloads::validate_int_or_percent(&rolling[name], &field, &mut cx);
        }
        match (workloads::is_zero(&rolling["maxUnavailable"]), workloads::is_zero(&rolling["maxSurge"])) {
            (false, false) => cx.invalid(
                "spec.updateStrategy.rollingUpdate.maxSurge".into(),
                &rolling["maxSurge"],
                "may not be set when maxUnavailable is non-zero",
            ),
            (true, true) => {
                cx.required("spec.updateStrategy.rollingUpdate.maxUnavailable".into(), "cannot be 0 when maxSurge is 0")
            }
            _ => {}
        }
    }
    cx.errors
}

/// The jobs' names get eleven characters more.
const NAME_LIMIT: usize = 52;

pub fn cron_job(object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut cx = Context::new();
    let name = text(object, &["metadata", "name"]);
    if name.len() > NAME_LIMIT {
        cx.invalid("metadata.name".into(), &name.into(), &format!("must be no more than {NAME_LIMIT} characters"));
    }
    timetable::schedule("spec.schedule", text(spec, &["schedule"]), &mut cx);
    timetable::time_zone("spec.timeZone", &spec["timeZone"], &mut cx);
    let counts = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    workloads::validate_counts(spec, &counts, &mut cx);
    cx.one_of("spec.concurrencyPolicy".into(), &spec["concurrencyPolicy"], &["Allow", "Forbid", "Replace"]);
    let template = &spec["jobTemplate"];
    if !template["spec"]["manualSelector"].is_null() || !template["spec"]["selector"].is_null() {
        for field in ["manualSelector", "selector"].iter().filter(|field| !template["spec"][**field].is_null()) {
            let value = &template["spec"][*field];
            let error = match *field {
                "selector" => {
                    FieldError::invalid("spec.jobTemplate.spec.selector", value, "`selector` will be auto-generated")
                }
                _ => FieldError::not_supported("spec.jobTemplate.spec.manualSelector", value, &["nil", "false"]),
            };
            cx.errors.push(error);
        }
    }
    // What a job made from the template would be refused for.
    let mut made = json!({"spec": template["spec"]});
    job::Job.default(&mut made);
    let wrong = job::Job.validate_unselected(&made).into_iter().map(|error| match error.field.strip_prefix("spec.") {
        Some(rest) => FieldError { field: format!("spec.jobTemplate.spec.{rest}"), ..error },
        None => error,
    });
    cx.errors.extend(wrong);
    cx.errors
}
