//! A question about one object, whose fields are the variables: `status.phase == 'Running'`. Without a
//! schema: times and quantities are text until they are converted.

use super::eval::{Engine, PER_RULE, Scope};
use super::names;
use super::rule::syntax;
use super::value::{Fault, Outcome, Val, error, load};
use cel::common::ast::IdedExpr;
use cel::parser::ParseError;
use serde_json::Value;
use std::fmt;

/// An expression reads no more of an object's fields.
const MAX_FIELDS: usize = 32;

/// A compiled question.
pub struct Predicate {
    source: String,
    program: IdedExpr,
    /// The fields that it reads.
    fields: Vec<String>,
}

impl Predicate {
    /// The error says what is wrong, and where in the text: line and column.
    pub fn compile(source: &str) -> Result<Self, String> {
        let program = syntax(source).map_err(|errors| {
            let at = |error: &ParseError| format!("line {}, column {}: {}", error.pos.0, error.pos.1, error.msg);
            errors.errors.iter().map(at).collect::<Vec<_>>().join("; ")
        })?;
        let fields = names::fields(&program)?;
        if fields.len() > MAX_FIELDS {
            return Err(format!("it reads {} fields of the object, at most are {MAX_FIELDS}", fields.len()));
        }
        Ok(Self { source: source.to_owned(), program, fields })
    }

    /// The answer; the error says why there is none, such as a field that the object does not have.
    pub fn holds(&self, object: &Value) -> Result<bool, String> {
        match within(&Engine::new(PER_RULE), &self.program, &self.fields, object, None) {
            Ok(Val::Bool(answer)) => Ok(answer),
            Ok(other) => Err(format!("it gives {}, not bool", other.type_name())),
            Err(Fault::Error(why)) => Err(why),
            Err(Fault::Budget) => Err("it takes too many steps".to_owned()),
        }
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Predicate").field(&self.source).finish()
    }
}

/// Evaluates an expression with these fields as variables, outermost first.
fn within<'a>(
    engine: &Engine,
    program: &IdedExpr,
    fields: &[String],
    object: &'a Value,
    outer: Option<&Scope<'_, 'a>>,
) -> Outcome<'a> {
    match fields {
        [] => {
            let none = Scope { name: "", value: Ok(Val::Null), parent: None };
            engine.run(program, outer.unwrap_or(&none))
        }
        [name, rest @ ..] => {
            let value = match object.get(name) {
                Some(value) => Ok(load(value, None)),
                None => error(format!("no such key: {name}")),
            };
            within(engine, program, rest, object, Some(&Scope { name, value, parent: outer }))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn ask(source: &str, object: &Value) -> Result<bool, String> {
        Predicate::compile(source).unwrap().holds(object)
    }

    #[test]
    fn fields_of_the_object_are_variables() {
        let object = json!({"kind": "Certificate", "spec": {"replicas": 2}, "data": {"a": "b"},
            "status": {"replicas": 2, "conditions": [{"type": "Ready", "status": "True"}, {"type": "x", "status": "x"}]}});
        for source in [
            "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
            "status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')",
            "spec.replicas == status.replicas && data.a == 'b' && kind.startsWith('Cert')",
            "!has(status.phase) && status.?phase.orValue('none') == 'none'",
            "has(data.foo) || true",
            "[1, 2].all(status, status > 0)",
        ] {
            assert_eq!(ask(source, &object), Ok(true), "{source}");
        }
        assert_eq!(ask("status.conditions.exists(e, e.type == 'No')", &object), Ok(false));
    }

    #[test]
    fn what_has_no_answer_says_why() {
        let object = json!({"spec": {"a": 1}});
        assert_eq!(ask("status.phase == 'x'", &object).unwrap_err(), "no such key: status");
        assert_eq!(ask("spec.b == 1", &object).unwrap_err(), "no such key: b");
        assert_eq!(ask("spec.a", &object).unwrap_err(), "it gives int, not bool");
        let long = format!("{}.all(a, {0}.all(b, {0}.all(c, {0}.all(d, true))))", json!((0..100).collect::<Vec<_>>()));
        assert_eq!(ask(&long, &object).unwrap_err(), "it takes too many steps");
    }

    #[test]
    fn what_does_not_compile_says_where() {
        let why = |source: &str| Predicate::compile(source).unwrap_err();
        assert!(why("status.phase = 'x'").contains("line 1, column 14: "), "{}", why("status.phase = 'x'"));
        assert!(why("a ==\n  'x").contains("line 2, column "), "{}", why("a ==\n  'x"));
        assert!(why("sizes(status)").contains("undeclared reference to 'sizes'"));
        assert!(!why("").is_empty());
        let many: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("f{n}")).collect();
        assert!(why(&many.join(" && ")).contains("at most are 32"));
    }
}
