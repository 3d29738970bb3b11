//! Label selectors: `app=web,tier in (a,b),!canary` and the LabelSelector object.

#[cfg(test)]
mod tests;

use super::lexer::{Lexer, Token};
use crate::api::error::ApiError;
use crate::api::kinds::names;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Typed;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// All requirements hold, or nothing matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    /// A missing selector object selects nothing, an empty one everything.
    nothing: bool,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without duplicates.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches no object.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// The text form of `labelSelector=`. Errors are the 400 of Kubernetes.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let requirements = Parser(Lexer::new(text)).selector().map_err(ApiError::bad_request)?;
        Ok(Self { requirements, nothing: false })
    }

    /// A LabelSelector object (`matchLabels`, `matchExpressions`); null or missing selects nothing.
    pub fn from_object(selector: &Value) -> Result<Self, String> {
        let Some(fields) = selector.as_object() else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in fields.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_string()];
            requirements.push(Requirement::new(key.clone(), Operator::Equals, values)?);
        }
        for expression in fields.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_string();
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|value| value.as_str().map(str::to_string)).collect();
            requirements.push(Requirement::new(key, operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// As [`from_object`](Self::from_object), for what the API server has accepted before: it is not checked
    /// again, and an operator that is not known selects nothing.
    pub fn from_typed(selector: Option<&Typed>) -> Self {
        let Some(selector) = selector else { return Self::nothing() };
        let equal = selector.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> = equal
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values: vec![value.clone()],
            })
            .collect();
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return Self::nothing(),
            };
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort_unstable();
            values.dedup();
            requirements.push(Requirement { key: expression.key.clone(), operator, values });
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// A plain map of labels, as Services and ReplicationControllers have; empty or missing selects nothing.
    pub fn from_map(labels: &Value) -> Self {
        match labels.as_object() {
            None => Self::nothing(),
            Some(map) if map.is_empty() => Self::nothing(),
            Some(map) => {
                let require = |(key, value): (&String, &Value)| Requirement {
                    key: key.clone(),
                    operator: Operator::Equals,
                    values: vec![value.as_str().unwrap_or_default().into()],
                };
                Self { requirements: map.iter().map(require).collect(), nothing: false }
            }
        }
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Labels that all have that it selects.
    pub fn required(&self) -> impl Iterator<Item = (&str, &str)> {
        use Operator::{DoubleEquals, Equals, In};
        self.requirements.iter().filter_map(|one| match (one.operator, one.values.as_slice()) {
            (Equals | DoubleEquals | In, [value]) => Some((one.key.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Nothing is asked of the labels.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    fn new(key: String, operator: Operator, mut values: Vec<String>) -> Result<Self, String> {
        let mut errors = invalid("key", &key, names::qualified(&key));
        values.sort_unstable();
        values.dedup();
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                errors.push("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty".into());
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => errors.push(format!(
                "values: Invalid value: {}: values set must be empty for exists and does not exist",
                Value::from(values.clone())
            )),
            Operator::GreaterThan | Operator::LessThan if values.iter().any(|value| value.parse::<i64>().is_err()) => {
                let shown = values.first().map_or("", String::as_str);
                errors.push(format!(
                    "values[0]: Invalid value: {shown:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            errors.extend(invalid(&format!("values[{index}][{key}]"), value, names::label_value(value)));
        }
        match errors.as_slice() {
            [] => Ok(Self { key, operator, values }),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        let listed = || found.is_some_and(|value| self.values.binary_search(value).is_ok());
        let compared = |order: fn(&i64, &i64) -> bool| {
            let wanted = self.values.first().and_then(|value| value.parse().ok());
            let actual = found.and_then(|value| value.parse().ok());
            matches!((actual, wanted), (Some(actual), Some(wanted)) if order(&actual, &wanted))
        };
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => listed(),
            Operator::NotEquals | Operator::NotIn => !listed(),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan => compared(i64::gt),
            Operator::LessThan => compared(i64::lt),
        }
    }
}

fn invalid(field: &str, value: &str, why: Vec<String>) -> Vec<String> {
    why.into_iter().map(|why| format!("{field}: Invalid value: {value:?}: {why}")).collect()
}

impl fmt::Display for LabelSelector {
    /// The text form, as in the `status.selector` of a Scale.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            write!(out, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(out, "{key}={values}"),
            Operator::DoubleEquals => write!(out, "{key}=={values}"),
            Operator::NotEquals => write!(out, "{key}!={values}"),
            Operator::In => write!(out, "{key} in ({values})"),
            Operator::NotIn => write!(out, "{key} notin ({values})"),
            Operator::Exists => write!(out, "{key}"),
            Operator::DoesNotExist => write!(out, "!{key}"),
            Operator::GreaterThan => write!(out, "{key}>{values}"),
            Operator::LessThan => write!(out, "{key}<{values}"),
        }
    }
}

struct Parser<'a>(Lexer<'a>);

impl Parser<'_> {
    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.0.peek() {
                (Token::Word | Token::Not, _) => {
                    let one = self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
                    requirements.push(one);
                }
                (Token::End, _) => return Ok(requirements),
                (_, word) => return Err(format!("found '{word}', expected: !, identifier, or 'end of string'")),
            }
            match self.0.next() {
                (Token::End, _) => return Ok(requirements),
                (Token::Comma, _) => match self.0.peek() {
                    (Token::Word | Token::Not, _) => {}
                    (_, word) => return Err(format!("found '{word}', expected: identifier after ','")),
                },
                (_, word) => return Err(format!("found '{word}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.0.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.0.next();
        }
        if token != Token::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let key = key.to_string();
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.0.peek().0, Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        if let Some(why) = invalid("key", &key, names::qualified(&key)).into_iter().next() {
            return Err(why);
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        Ok(match self.0.next() {
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (Token::Word, "in") => Operator::In,
            (Token::Word, "notin") => Operator::NotIn,
            (_, word) => return Err(format!("found '{word}', expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.0.next() {
            (Token::Open, _) => {}
            (_, word) => return Err(format!("found '{word}' expected: '('")),
        }
        match self.0.peek() {
            (Token::Word | Token::Comma, _) => {
                let values = self.list()?;
                match self.0.next() {
                    (Token::Close, _) => Ok(values),
                    (_, word) => Err(format!("found '{word}', expected: ')'")),
                }
            }
            (Token::Close, _) => {
                self.0.next();
                Ok(Vec::new())
            }
            (_, word) => Err(format!("found '{word}', expected: ',', ')' or identifier")),
        }
    }

    /// `a,b`; a missing value beside a comma is the empty string.
    fn list(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.0.next() {
                (Token::Word, word) => {
                    values.push(word.to_string());
                    match self.0.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, word) => return Err(format!("found '{word}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.0.peek() {
                        (Token::Close, _) => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        (Token::Comma, _) => {
                            self.0.next();
                            values.push(String::new());
                        }
                        _ => {}
                    }
                }
                (_, word) => return Err(format!("found '{word}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.0.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.0.next() {
            (Token::Word, word) => Ok(word.to_string()),
            (_, word) => Err(format!("found '{word}', expected: identifier")),
        }
    }
}
