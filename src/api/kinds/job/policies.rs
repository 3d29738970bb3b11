//! What a Job may say of failures and success, index by index.

use crate::api::error::FieldError;
use crate::api::kinds::json::{Object, integer, list, put_text, text};
use crate::api::kinds::names;
use crate::api::kinds::pod_spec::Context;
use serde_json::Value;

/// Rules of a policy.
const RULES: usize = 20;
/// Characters of a list of indexes.
const INDEXES: usize = 64 * 1024;
/// Exit codes of a rule.
const CODES: usize = 255;
/// Indexes, and pods at once, of an Indexed Job; more completions than this leave less of both.
const MANY: i64 = 100_000;
const FEW: i64 = 10_000;

/// The policies and limits of a Job's spec.
pub(super) fn validate(spec: &Value, cx: &mut Context) {
    let indexed = spec["completionMode"] == "Indexed";
    limits(spec, indexed, cx);
    if spec["podFailurePolicy"].is_object() {
        failure_policy(spec, cx);
    }
    if spec["successPolicy"].is_object() {
        match indexed {
            true => success_policy(spec, cx),
            false => {
                cx.invalid("spec.successPolicy".into(), &spec["successPolicy"], "requires indexed completion mode")
            }
        }
    }
    let replacement: &[&str] =
        if spec["podFailurePolicy"].is_object() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    cx.one_of("spec.podReplacementPolicy".into(), &spec["podReplacementPolicy"], replacement);
    let by = text(spec, &["managedBy"]);
    if !spec["managedBy"].is_null() {
        let prefixed = by.split_once('/').is_some_and(|(domain, path)| {
            names::subdomain(domain).is_empty() && !path.is_empty() && path.split('/').all(is_segment)
        });
        if by.len() > 63 {
            cx.errors.push(FieldError::too_long("spec.managedBy", "may not be more than 63 bytes"));
        } else if !prefixed {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            cx.invalid("spec.managedBy".into(), &spec["managedBy"], why);
        }
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:".contains(letter))
}

fn limits(spec: &Value, indexed: bool, cx: &mut Context) {
    let number = |name: &str| integer(spec, &[name]);
    let field = |name: &str| format!("spec.{name}");
    if !indexed {
        for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if number(name).is_some() {
                cx.invalid(field(name), &spec[name], "requires indexed completion mode");
            }
        }
        return;
    }
    let at_most = |name: &str, most: i64, why: &str, cx: &mut Context| {
        if number(name).is_some_and(|count| count > most) {
            cx.invalid(field(name), &spec[name], why);
        }
    };
    let most = format!("must be less than or equal to {MANY}");
    at_most("parallelism", MANY, &most, cx);
    at_most("maxFailedIndexes", MANY, &most, cx);
    if number("maxFailedIndexes").is_some() && number("backoffLimitPerIndex").is_none() {
        cx.required(field("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    let Some(completions) = number("completions") else { return };
    at_most("maxFailedIndexes", completions, "must be less than or equal to completions", cx);
    if completions > MANY && number("backoffLimitPerIndex").is_some() {
        if number("maxFailedIndexes").is_none() {
            let why = format!("must be specified when completions is above {MANY}");
            cx.required(field("maxFailedIndexes"), &why);
        }
        let why = format!(
            "must be less than or equal to {FEW} when completions are above {MANY} and used with backoff limit per index"
        );
        at_most("parallelism", FEW, &why, cx);
        at_most("maxFailedIndexes", FEW, &why, cx);
    }
}

fn too_many(field: String, count: usize, most: usize) -> FieldError {
    FieldError {
        reason: "FieldValueTooMany",
        field,
        detail: format!("Too many: {count}: must have at most {most} items"),
    }
}

fn failure_policy(spec: &Value, cx: &mut Context) {
    let restarts = text(spec, &["template", "spec", "restartPolicy"]);
    if !matches!(restarts, "" | "Never" | "Always") {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        cx.invalid("spec.template.spec.restartPolicy".into(), &restarts.into(), why);
    }
    let rules = list(spec, &["podFailurePolicy", "rules"]);
    if rules.len() > RULES {
        cx.errors.push(too_many("spec.podFailurePolicy.rules".into(), rules.len(), RULES));
    }
    let lists = ["containers", "initContainers"].map(|name| list(spec, &["template", "spec", name]));
    let containers: Vec<&Value> = lists.into_iter().flatten().map(|container| &container["name"]).collect();
    for (i, rule) in rules.iter().enumerate() {
        let at = format!("spec.podFailurePolicy.rules[{i}]");
        match text(rule, &["action"]) {
            "" => cx.required(format!("{at}.action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
                let why = "requires the backoffLimitPerIndex to be set";
                cx.invalid(format!("{at}.action"), &rule["action"], why);
            }
            _ => {
                let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
                cx.one_of(format!("{at}.action"), &rule["action"], &actions);
            }
        }
        let conditions = list(rule, &["onPodConditions"]);
        let wrong = |detail: &str| FieldError {
            reason: "FieldValueInvalid",
            field: at.clone(),
            detail: format!("Invalid value: {detail}"),
        };
        match (rule["onExitCodes"].is_object(), conditions.is_empty()) {
            (true, false) => cx.errors.push(wrong("specifying both OnExitCodes and OnPodConditions is not supported")),
            (false, true) => cx.errors.push(wrong("specifying one of OnExitCodes and OnPodConditions is required")),
            _ => {}
        }
        if rule["onExitCodes"].is_object() {
            exit_codes(&rule["onExitCodes"], &format!("{at}.onExitCodes"), &containers, cx);
        }
        if conditions.len() > RULES {
            cx.errors.push(too_many(format!("{at}.onPodConditions"), conditions.len(), RULES));
        }
        for (j, condition) in conditions.iter().enumerate() {
            let at = format!("{at}.onPodConditions[{j}]");
            cx.names(&format!("{at}.type"), &condition["type"], names::qualified(text(condition, &["type"])));
            match text(condition, &["status"]) {
                "" => cx.required(format!("{at}.status"), "valid values: [\"False\" \"True\" \"Unknown\"]"),
                _ => cx.one_of(format!("{at}.status"), &condition["status"], &["False", "True", "Unknown"]),
            }
        }
    }
}

/// A rule on a condition means that it holds, where it says nothing else.
pub fn default_conditions(spec: &mut Object) {
    let rules = spec.get_mut("podFailurePolicy").and_then(|policy| policy.get_mut("rules"));
    for rule in rules.and_then(Value::as_array_mut).into_iter().flatten() {
        let conditions = rule.get_mut("onPodConditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
            put_text(condition, "status", "True");
        }
    }
}

fn exit_codes(codes: &Value, at: &str, containers: &[&Value], cx: &mut Context) {
    match text(codes, &["operator"]) {
        "" => cx.required(format!("{at}.operator"), "valid values: [\"In\" \"NotIn\"]"),
        _ => cx.one_of(format!("{at}.operator"), &codes["operator"], &["In", "NotIn"]),
    }
    let name = &codes["containerName"];
    if !name.is_null() && !containers.contains(&name) {
        let why = "must be one of the container or initContainer names in the pod template";
        cx.invalid(format!("{at}.containerName"), name, why);
    }
    let values = list(codes, &["values"]);
    let at = format!("{at}.values");
    if values.is_empty() {
        cx.invalid(at, &codes["values"], "at least one value is required");
        return;
    }
    if values.len() > CODES {
        cx.errors.push(too_many(at.clone(), values.len(), CODES));
    }
    for (i, value) in values.iter().enumerate() {
        if codes["operator"] == "In" && *value == 0 {
            cx.invalid(format!("{at}[{i}]"), value, "must not be 0 for the In operator");
        }
        if values[..i].contains(value) {
            cx.errors.push(FieldError::duplicate(format!("{at}[{i}]"), value));
        }
    }
    if !values.is_sorted_by_key(|value| value.as_i64()) {
        cx.invalid(at, &codes["values"], "must be ordered");
    }
}

fn success_policy(spec: &Value, cx: &mut Context) {
    let rules = list(spec, &["successPolicy", "rules"]);
    let at = "spec.successPolicy.rules";
    if rules.is_empty() {
        cx.required(at.into(), "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > RULES {
        cx.errors.push(too_many(at.into(), rules.len(), RULES));
    }
    let completions = integer(spec, &["completions"]).unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        let at = format!("{at}[{i}]");
        let (count, indexes) = (integer(rule, &["succeededCount"]), rule["succeededIndexes"].as_str());
        if count.is_none() && indexes.is_none() {
            cx.required(at.clone(), "at least one of succeededCount or succeededIndexes must be specified");
        }
        let named = indexes.map(|indexes| {
            let field = format!("{at}.succeededIndexes");
            if indexes.len() > INDEXES {
                let why = format!("may not be more than {INDEXES} bytes");
                cx.errors.push(FieldError::too_long(field.clone(), &why));
            }
            count_indexes(indexes, completions).unwrap_or_else(|why| {
                let why = format!("error parsing succeededIndexes: {why}");
                cx.invalid(field, &rule["succeededIndexes"], &why);
                0
            })
        });
        cx.at_least(format!("{at}.succeededCount"), &rule["succeededCount"], 0);
        for (most, of) in [
            (Some(completions), "the number of specified completions"),
            (named, "the number of indexes in the specified succeededIndexes field"),
        ] {
            if let (Some(count), Some(most)) = (count, most)
                && count > most
            {
                let why = format!("must be less than or equal to {most} ({of})");
                cx.invalid(format!("{at}.succeededCount"), &rule["succeededCount"], &why);
            }
        }
    }
}

/// How many indexes `0,2-4` names.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None::<i64>);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let mut limits = interval.split('-');
        let mut limit = || {
            limits.next().map(|part| match part.parse::<i64>() {
                Ok(index) if index >= completions => Err(format!("too large index: {part:?}")),
                Ok(index) => Ok(index),
                Err(_) => Err(format!("cannot convert string to integer for index: {part:?}")),
            })
        };
        let first = limit().unwrap_or(Ok(0))?;
        let end = limit().transpose()?;
        if limits.next().is_some() {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let falls = |before: i64, now: i64| format!("non-increasing order, previous: {before}, current: {now}");
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(falls(last, first));
        }
        if let Some(end) = end.filter(|end| first >= *end) {
            return Err(falls(first, end));
        }
        let end = end.unwrap_or(first);
        (total, last) = (total + end - first + 1, Some(end));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(spec: Value) -> Vec<String> {
        let mut cx = Context::new();
        let mut whole = json!({"completionMode": "Indexed", "completions": 5,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}});
        json_patch::merge(&mut whole, &spec);
        validate(&whole, &mut cx);
        cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn limits_of_indexes_need_indexes() {
        assert!(errors(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 5})).is_empty());
        let alone = errors(json!({"maxFailedIndexes": 6}));
        assert_eq!(
            alone,
            [
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"
            ]
        );
        let mode = json!({"completionMode": "NonIndexed", "backoffLimitPerIndex": 1, "successPolicy": {"rules": []}});
        let needs = "requires indexed completion mode";
        assert_eq!(
            errors(mode),
            [
                format!("spec.backoffLimitPerIndex: Invalid value: 1: {needs}"),
                format!("spec.successPolicy: Invalid value: {{\"rules\":[]}}: {needs}")
            ]
        );
    }

    #[test]
    fn rules_of_success_name_indexes_that_there_are() {
        let rule = |rule: Value| errors(json!({"successPolicy": {"rules": [rule]}}));
        assert!(rule(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})).is_empty());
        let at = "spec.successPolicy.rules[0]";
        for (wrong, why) in [
            (
                json!({}),
                format!("{at}: Required value: at least one of succeededCount or succeededIndexes must be specified"),
            ),
            (
                json!({"succeededIndexes": "x-2"}),
                format!(
                    "{at}.succeededIndexes: Invalid value: \"x-2\": error parsing succeededIndexes: cannot convert string to integer for index: \"x\""
                ),
            ),
            (
                json!({"succeededIndexes": "3,5"}),
                format!(
                    "{at}.succeededIndexes: Invalid value: \"3,5\": error parsing succeededIndexes: too large index: \"5\""
                ),
            ),
            (
                json!({"succeededIndexes": "3,2"}),
                format!(
                    "{at}.succeededIndexes: Invalid value: \"3,2\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 2"
                ),
            ),
            (
                json!({"succeededIndexes": "0-1", "succeededCount": 3}),
                format!(
                    "{at}.succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)"
                ),
            ),
        ] {
            assert_eq!(rule(wrong), [why]);
        }
    }

    #[test]
    fn rules_of_failure_say_what_when() {
        let rule = |rule: Value| errors(json!({"podFailurePolicy": {"rules": [rule]}}));
        let at = "spec.podFailurePolicy.rules[0]";
        assert!(rule(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 42]}})).is_empty());
        for (wrong, why) in [
            (
                json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}),
                format!("{at}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"),
            ),
            (
                json!({"action": "Ignore"}),
                format!("{at}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
            ),
            (
                json!({"action": "Count", "onExitCodes": {"operator": "In", "values": [0, 1]}}),
                format!("{at}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"),
            ),
            (
                json!({"action": "Count", "onExitCodes": {"containerName": "x", "operator": "NotIn", "values": [2, 1]}}),
                format!(
                    "{at}.onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template"
                ),
            ),
        ] {
            assert_eq!(rule(wrong).first(), Some(&why));
        }
        let onfailure = json!({"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "TerminatingOrFailed",
            "template": {"spec": {"restartPolicy": "OnFailure"}}});
        let found = errors(onfailure);
        assert!(found[0].ends_with("only \"Never\" is supported when podFailurePolicy is specified"), "{found:?}");
        assert!(found[1].starts_with("spec.podReplacementPolicy: Unsupported value"), "{found:?}");
    }

    #[test]
    fn a_condition_is_met_when_it_holds_unless_a_rule_says_otherwise() {
        let said = json!([{"type": "DisruptionTarget"}, {"type": "Other", "status": "False"}]);
        let mut spec = json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": said}]}});
        assert!(errors(spec.clone())[0].starts_with("spec.podFailurePolicy.rules[0].onPodConditions[0].status"));
        default_conditions(spec.as_object_mut().expect("a spec"));
        let conditions = &spec["podFailurePolicy"]["rules"][0]["onPodConditions"];
        assert_eq!((&conditions[0]["status"], &conditions[1]["status"]), (&json!("True"), &json!("False")));
        assert!(errors(spec).is_empty());
    }

    #[test]
    fn managers_have_a_domain() {
        assert!(errors(json!({"managedBy": "example.com/manager"})).is_empty());
        assert_eq!(
            errors(json!({"managedBy": "manager"})),
            ["spec.managedBy: Invalid value: \"manager\": must be a domain-prefixed path (such as \"acme.io/foo\")"]
        );
    }
}
