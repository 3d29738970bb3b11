//! The table rows of kinds without a file of their own.

pub mod devices;
pub mod more;
pub mod storage;

use crate::api::kinds::json::{list, text};
use crate::api::kinds::{table, workloads};
use jiff::Timestamp;
use serde_json::Value;

pub fn name_and_age(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![table::name(object), table::age(object, now)]
}

pub fn component(object: &Value, _: Timestamp) -> Vec<Value> {
    let mut conditions = list(object, &["conditions"]).iter();
    let condition = conditions.find(|condition| condition["type"] == "Healthy").unwrap_or(&Value::Null);
    let status = match text(condition, &["status"]) {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    let cell = |field: &str| text(condition, &[field]).into();
    vec![table::name(object), status.into(), cell("message"), cell("error")]
}

pub fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = format!("{}/{}", workloads::status(object, "readyReplicas"), workloads::replicas(object));
    let [names, images, _] = workloads::wide(object);
    vec![table::name(object), ready.into(), table::age(object, now), names, images]
}

pub fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![table::name(object)];
    for count in
        ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
    {
        cells.push(workloads::status(object, count).into());
    }
    cells.push(table::pairs(&object["spec"]["template"]["spec"]["nodeSelector"]).into());
    cells.push(table::age(object, now));
    cells.extend(workloads::wide(object));
    cells
}

pub fn replication_controller(object: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = table::containers(&object["spec"]["template"]["spec"]);
    vec![
        table::name(object),
        workloads::replicas(object).into(),
        workloads::status(object, "replicas").into(),
        workloads::status(object, "readyReplicas").into(),
        table::age(object, now),
        names,
        images,
        table::pairs(&object["spec"]["selector"]).into(),
    ]
}

pub fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner = list(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| owner["controller"] == Value::Bool(true))
        .map_or_else(String::new, |owner| {
            let kind = text(owner, &["kind"]).to_lowercase();
            let group =
                text(owner, &["apiVersion"]).split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
            format!("{kind}{group}/{}", text(owner, &["name"]))
        });
    let revision = table::number(object, &["revision"]).to_string();
    vec![table::name(object), table::or_none(&owner), revision.into(), table::age(object, now)]
}

pub fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let last = match text(object, &["status", "lastScheduleTime"]) {
        "" => "<none>".to_string(),
        time => table::since(time, now),
    };
    let job = &spec["jobTemplate"]["spec"];
    let (names, images) = table::containers(&job["template"]["spec"]);
    vec![
        table::name(object),
        text(spec, &["schedule"]).into(),
        table::or_none(text(spec, &["timeZone"])),
        spec["suspend"].as_bool().unwrap_or(false).into(),
        list(object, &["status", "active"]).len().into(),
        last.into(),
        table::age(object, now),
        names,
        images,
        table::selector(&job["selector"]).into(),
    ]
}

pub fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        table::name(object),
        table::int_or_string(object, &["spec", "minAvailable"], "N/A").into(),
        table::int_or_string(object, &["spec", "maxUnavailable"], "N/A").into(),
        workloads::status(object, "disruptionsAllowed").into(),
        table::age(object, now),
    ]
}

pub fn pod_template(object: &Value, _now: Timestamp) -> Vec<Value> {
    let template = &object["template"];
    let (names, images) = table::containers(&template["spec"]);
    vec![table::name(object), names, images, table::pairs(&template["metadata"]["labels"]).into()]
}

pub fn runtime_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![table::name(object), object["handler"].clone(), table::age(object, now)]
}

pub fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let of_kind = list(object, &["subjects"]).iter().filter(|subject| text(subject, &["kind"]) == kind);
        let names = of_kind.map(|subject| match (kind, text(subject, &["namespace"])) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text(subject, &["name"])),
            _ => text(subject, &["name"]).to_string(),
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    let role = format!("{}/{}", text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
    vec![
        table::name(object),
        role.into(),
        table::age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn modes(modes: &[Value]) -> String {
    const SHORT: &[(&str, &str)] =
        &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let named = SHORT.iter().filter(|(name, _)| modes.iter().any(|mode| mode == name));
    named.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn phase(object: &Value) -> Value {
    let dying = !object["metadata"]["deletionTimestamp"].is_null();
    if dying { "Terminating".into() } else { text(object, &["status", "phase"]).into() }
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

pub fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let volume = text(spec, &["volumeName"]);
    let (capacity, access) = match volume {
        "" => (String::new(), String::new()),
        _ => (
            text(object, &["status", "capacity", "storage"]).to_string(),
            modes(list(object, &["status", "accessModes"])),
        ),
    };
    vec![
        table::name(object),
        phase(object),
        volume.into(),
        capacity.into(),
        access.into(),
        text(spec, &["storageClassName"]).into(),
        or_unset(text(spec, &["volumeAttributesClassName"])),
        table::age(object, now),
        or_unset(text(spec, &["volumeMode"])),
    ]
}

pub fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let claim = match text(spec, &["claimRef", "name"]) {
        "" => String::new(),
        name => format!("{}/{name}", text(spec, &["claimRef", "namespace"])),
    };
    vec![
        table::name(object),
        text(spec, &["capacity", "storage"]).into(),
        modes(list(spec, &["accessModes"])).into(),
        text(spec, &["persistentVolumeReclaimPolicy"]).into(),
        phase(object),
        claim.into(),
        text(spec, &["storageClassName"]).into(),
        or_unset(text(spec, &["volumeAttributesClassName"])),
        text(object, &["status", "reason"]).into(),
        table::age(object, now),
        or_unset(text(spec, &["volumeMode"])),
    ]
}

pub fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in object["status"]["hard"].as_object().into_iter().flatten() {
        let used = text(object, &["status", "used", name]);
        let shown = format!("{name}: {used}/{}", hard.as_str().unwrap_or_default());
        if name.starts_with("limits") { limits.push(shown) } else { requests.push(shown) }
    }
    vec![table::name(object), requests.join(", ").into(), limits.join(", ").into(), table::age(object, now)]
}
