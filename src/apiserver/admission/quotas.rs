//! ResourceQuotas: a new object takes its share in the transaction that makes it, or is refused.

use super::Admitted;
use crate::api::error::ApiError;
use crate::api::quota::{self, Usage};
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::{metadata, parse, serialize};
use crate::store::{self, Precondition, Record, Write};
use serde_json::{Value, json};
use std::sync::Arc;

/// Whether a namespace has a quota: then its creates go one at a time.
pub fn any(store: &dyn store::Store, namespace: &str) -> bool {
    store.count(&store::key("", "resourcequotas", namespace, "")) > 0
}

/// Takes what `object` uses from every quota that covers it.
pub fn admit(writer: &Writer<'_>, object: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    let resource = writer.at.resource;
    if !resource.namespaced {
        return Ok(());
    }
    let (group, plural) = (resource.group.as_str(), resource.plural.as_str());
    for record in writer.view.scan(&store::key("", "resourcequotas", writer.at.namespace, "")) {
        let quota = parse(&record);
        let hard = quota::amounts(&quota["spec"]["hard"]);
        if !quota::covers(&quota, group, plural, object) {
            continue;
        }
        let taken = quota::usage(group, plural, object).into_iter();
        let taken: Usage = taken.filter(|(name, _)| hard.contains_key(name)).collect();
        if (group, plural) == ("", "pods") {
            refuse_unset(writer, &record, &hard, object)?;
        }
        if !taken.is_empty() {
            take(writer, &record, quota, &hard, &taken, admitted)?;
        }
    }
    Ok(())
}

/// Takes what `object` uses beyond what it used as `old` from every quota that covers it.
pub fn admit_change(writer: &Writer<'_>, object: &Value, old: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    let (group, plural) = (writer.at.resource.group.as_str(), writer.at.resource.plural.as_str());
    let (before, after) = (quota::usage(group, plural, old), quota::usage(group, plural, object));
    let more = quota::growth(&before, &after);
    for record in writer.view.scan(&store::key("", "resourcequotas", writer.at.namespace, "")) {
        let quota = parse(&record);
        if !quota::covers(&quota, group, plural, object) {
            continue;
        }
        let hard = quota::amounts(&quota["spec"]["hard"]);
        // It may have come into the quota's scope now.
        let taken = if quota::covers(&quota, group, plural, old) { &more } else { &after };
        let taken: Usage = taken.clone().into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
        if !taken.is_empty() {
            take(writer, &record, quota, &hard, &taken, admitted)?;
        }
    }
    Ok(())
}

fn refuse_unset(writer: &Writer<'_>, record: &Record, hard: &Usage, pod: &Value) -> Result<(), ApiError> {
    let unset = quota::unset(hard, pod);
    if unset.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> =
        unset.iter().map(|(name, containers)| format!("{name} for: {}", containers.join(","))).collect();
    let why = format!("failed quota: {}: must specify {}", record.envelope.name, parts.join("; "));
    Err(ApiError::forbidden(writer.at.target(), writer.at.name, why))
}

fn take(
    writer: &Writer<'_>,
    record: &Arc<Record>,
    mut quota: Value,
    hard: &Usage,
    taken: &Usage,
    admitted: &mut Admitted,
) -> Result<(), ApiError> {
    let used = used(writer, &quota, hard);
    let mut after = used.clone();
    quota::add(&mut after, taken);
    let over: Vec<&String> = taken.keys().filter(|name| after[*name] > hard[*name]).collect();
    if !over.is_empty() {
        let list = |usage: &Usage| -> String {
            let one = |name: &&String| format!("{name}={}", usage.get(*name).map_or("0".into(), ToString::to_string));
            over.iter().map(one).collect::<Vec<_>>().join(",")
        };
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            record.envelope.name,
            list(taken),
            list(&used),
            list(hard)
        );
        return Err(ApiError::forbidden(writer.at.target(), writer.at.name, why));
    }
    quota["status"] = json!({"hard": quota::to_value(hard), "used": quota::to_value(&after)});
    metadata(&mut quota).remove("resourceVersion");
    let (value, splice) = serialize(&quota, true);
    let key = record.key.clone();
    // A quota that the same transaction creates has no revision yet.
    if record.modified != 0 {
        admitted.preconditions.push(Precondition::ModifiedAt { key: key.clone(), revision: record.modified });
    }
    admitted.also.push(Write::Put { key, value, splice, envelope: record.envelope.clone() });
    Ok(())
}

/// What is used now: as the status says while it speaks of these limits, else counted.
fn used(writer: &Writer<'_>, quota: &Value, hard: &Usage) -> Usage {
    let status = &quota["status"];
    let known = quota::amounts(&status["used"]);
    if quota::amounts(&status["hard"]) == *hard && hard.keys().all(|name| known.contains_key(name)) {
        return known;
    }
    let mut used: Usage = hard.keys().map(|name| (name.clone(), Default::default())).collect();
    for (group, plural) in quota::counted(hard) {
        for record in writer.view.scan(&store::key(&group, &plural, writer.at.namespace, "")) {
            let object = parse(&record);
            if quota::covers(quota, &group, &plural, &object) {
                let (usage, _) = quota::usage_at(&group, &plural, &object, writer.server.clock.now());
                let usage = usage.into_iter();
                quota::add(&mut used, &usage.filter(|(name, _)| hard.contains_key(name)).collect());
            }
        }
    }
    used
}
