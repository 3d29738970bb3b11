//! What `--for` of `selkie wait` asks, in kubectl's words. Pure.

use crate::gitops::readiness::Readiness;
use serde_json::Value;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// By the kind's own rule; not in kubectl.
    Ready,
    Delete,
    Create,
    Condition {
        name: String,
        status: String,
    },
    /// `None`: any value.
    Path {
        steps: Vec<Step>,
        value: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Field(String),
    Item(usize),
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ready" => return Ok(Self::Ready),
            "delete" => return Ok(Self::Delete),
            "create" => return Ok(Self::Create),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, status) = rest.split_once('=').unwrap_or((rest, "True"));
            return Ok(Self::Condition { name: name.to_owned(), status: status.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            return path(rest.trim_matches(['\'', '"']));
        }
        Err("expected ready, create, delete, condition=NAME[=VALUE] or jsonpath='{.FIELD}'[=VALUE]".to_owned())
    }
}

/// `{.status.phase}=Running`, also without the braces.
fn path(text: &str) -> Result<Goal, String> {
    let (path, value) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((path, rest)) => (path.trim_end_matches('\''), rest.trim_start_matches('\'').strip_prefix('=')),
        None => match text.split_once('=') {
            Some((path, value)) => (path, Some(value)),
            None => (text, None),
        },
    };
    let wrong = || format!("{text:?}: of JSONPath, fields and indexes are understood: {{.status.conditions[0].type}}");
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('$').trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']').ok_or_else(wrong)?;
            let quoted = index.strip_prefix(['\'', '"']).and_then(|name| name.strip_suffix(['\'', '"']));
            steps.push(match quoted {
                Some(name) => Step::Field(name.to_owned()),
                None => Step::Item(index.parse().map_err(|_| wrong())?),
            });
            rest = after.trim_start_matches('.');
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Field(rest[..end].to_owned()));
            rest = rest[end..].trim_start_matches('.');
        }
    }
    if steps.is_empty() {
        return Err(wrong());
    }
    let value = value.map(|value| value.trim_matches(['\'', '"']).to_owned());
    Ok(Goal::Path { steps, value })
}

impl Goal {
    /// What an object is like that does not meet it, as in `pod/web is not ready after 5 s`.
    pub fn unmet(&self) -> String {
        match self {
            Self::Ready => "is not ready".to_owned(),
            Self::Delete => "is still there".to_owned(),
            Self::Create => "is not there".to_owned(),
            Self::Condition { name, status } => format!("has no condition {name}={status}"),
            Self::Path { .. } => "is not as asked for".to_owned(),
        }
    }

    /// Whether the object is as it should be; `None`: it is not there. An error: it never will be.
    pub fn met(&self, object: Option<&Value>, judge: impl Fn(&Value) -> Readiness) -> Result<bool, String> {
        let Some(object) = object else { return Ok(*self == Self::Delete) };
        Ok(match self {
            Self::Delete => false,
            Self::Create => true,
            Self::Ready => match judge(object) {
                Readiness::Ready => true,
                Readiness::Failed(why) => return Err(why),
                Readiness::Progressing(_) => false,
            },
            Self::Condition { name, status } => {
                let is = |one: &Value, field: &str, wanted: &str| {
                    one[field].as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted))
                };
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                conditions.into_iter().flatten().any(|one| is(one, "type", name) && is(one, "status", status))
            }
            Self::Path { steps, value } => {
                let found = steps.iter().try_fold(object, |at, step| match step {
                    Step::Field(name) => at.get(name),
                    Step::Item(index) => at.get(index),
                });
                match (found, value) {
                    (None | Some(Value::Null), _) => false,
                    (Some(_), None) => true,
                    (Some(Value::String(text)), Some(value)) => text == value,
                    (Some(other), Some(value)) => {
                        let text = other.to_string();
                        text == *value
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::readiness;
    use serde_json::json;

    #[test]
    fn goals_are_kubectls() {
        let object = json!({"metadata": {"labels": {"a.b/c": "x"}}, "status": {"phase": "Running", "readyReplicas": 2,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Failed", "status": "False"}]}});
        let met = |goal: &str| goal.parse::<Goal>().unwrap().met(Some(&object), readiness::of).unwrap();
        for goal in [
            "create",
            "condition=ready",
            "condition=Failed=False",
            "jsonpath={.status.phase}=Running",
            "jsonpath='{.status.phase}'=Running",
            "jsonpath=.status.phase=Running",
            "jsonpath={.status.readyReplicas}=2",
            "jsonpath={.status.conditions[1].type}=Failed",
            "jsonpath={.metadata.labels['a.b/c']}",
        ] {
            assert!(met(goal), "{goal}");
        }
        for goal in ["delete", "condition=Failed", "jsonpath={.status.phase}=Failed", "jsonpath={.status.gone}"] {
            assert!(!met(goal), "{goal}");
        }
        assert!("delete".parse::<Goal>().unwrap().met(None, readiness::of).unwrap());
        assert!(!"condition=Ready".parse::<Goal>().unwrap().met(None, readiness::of).unwrap());
        assert!("soon".parse::<Goal>().is_err() && "jsonpath={}".parse::<Goal>().is_err());
        assert!("jsonpath={.a[?(@.b)]}".parse::<Goal>().is_err());
    }
}
