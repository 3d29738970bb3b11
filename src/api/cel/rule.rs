//! One rule: what must hold, and what is said when it does not.

use super::names::check;
use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::parser::{ParseErrors, Parser};
use serde_json::Value;
use std::fmt;

/// Expressions nest no deeper.
const MAX_DEPTH: u16 = 64;

/// An entry of `x-kubernetes-validations`, compiled.
pub struct Rule {
    pub source: String,
    pub program: Result<IdedExpr, String>,
    pub message: String,
    pub message_program: Option<Result<IdedExpr, String>>,
    /// Where the error is shown, below the schema's place: `.spec.x`; empty: at the place itself.
    pub field_path: String,
    /// The reason of the error, e.g. `FieldValueInvalid`.
    pub reason: &'static str,
    /// `oldSelf` is optional, and the rule is checked when an object is created too.
    pub optional_old: bool,
    uses_old: bool,
}

impl Rule {
    /// From its JSON. One that does not compile says so in [`Rule::problem`].
    pub fn compile(rule: &Value) -> Self {
        let text = |name: &str| rule[name].as_str().unwrap_or_default().to_string();
        let program = parse(&text("rule")).and_then(check);
        let message_expression = text("messageExpression");
        Self {
            uses_old: program.as_ref().is_ok_and(|program| mentions(program, "oldSelf")),
            program,
            source: text("rule"),
            message: text("message"),
            message_program: (!message_expression.trim().is_empty())
                .then(|| parse(&message_expression).and_then(check)),
            field_path: text("fieldPath"),
            reason: match rule["reason"].as_str() {
                Some("FieldValueRequired") => "FieldValueRequired",
                Some("FieldValueForbidden") => "FieldValueForbidden",
                Some("FieldValueDuplicate") => "FieldValueDuplicate",
                _ => "FieldValueInvalid",
            },
            optional_old: rule["optionalOldSelf"] == true,
        }
    }

    /// A field that the rule reads of `self` and the schema (as sent) does not have.
    pub fn undefined(&self, schema: &Value) -> Option<String> {
        super::names::undefined(self.program.as_ref().ok()?, schema)
    }

    /// Why the rule cannot be checked.
    pub fn problem(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    pub fn message_problem(&self) -> Option<&str> {
        self.message_program.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// The rule as errors show it: its message, else its text.
    pub fn shown(&self) -> &str {
        let message = self.message.trim();
        if message.is_empty() { self.source.trim() } else { message }
    }

    /// What is said when the rule does not hold and no expression says it.
    pub fn default_message(&self) -> String {
        let message = self.message.trim();
        if message.is_empty() { format!("failed rule: {}", self.source.trim()) } else { message.to_string() }
    }

    /// Whether it compares with the state before: then it is checked on updates only.
    pub fn uses_old(&self) -> bool {
        self.uses_old
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source).finish()
    }
}

fn parse(source: &str) -> Result<IdedExpr, String> {
    syntax(source).map_err(|errors| errors.to_string())
}

pub(super) fn syntax(source: &str) -> Result<IdedExpr, ParseErrors> {
    Parser::new()
        .max_recursion_depth(MAX_DEPTH)
        .enable_optional_syntax(true)
        .enable_ident_escape_syntax(true)
        .parse(source)
}

/// What is wrong with an expression that selects devices, which are in the variable `device`. As elsewhere, what can
/// be found without types is.
pub fn device_selector(source: &str) -> Option<String> {
    let found = parse(source).and_then(|program| {
        super::names::only(&program, &["device"])?;
        match &program.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Ok(()),
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => Err("must evaluate to bool".to_owned()),
            _ => Ok(()),
        }
    });
    found.err().map(|why| format!("compilation failed: {why}"))
}

/// Whether an expression refers to a variable.
fn mentions(expression: &IdedExpr, name: &str) -> bool {
    let below = |expression: &IdedExpr| mentions(expression, name);
    match &expression.expr {
        Expr::Ident(found) => found == name,
        Expr::Call(call) => call.target.as_deref().is_some_and(below) || call.args.iter().any(below),
        Expr::Select(select) => below(&select.operand),
        Expr::List(list) => list.elements.iter().any(below),
        Expr::Comprehension(loops) => {
            [&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]
                .into_iter()
                .any(below)
        }
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            cel::common::ast::EntryExpr::MapEntry(entry) => below(&entry.key) || below(&entry.value),
            cel::common::ast::EntryExpr::StructField(field) => below(&field.value),
        }),
        Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => false,
    }
}
