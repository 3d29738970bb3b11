//! Names that an expression uses must exist: what can be found without the types of things.

use super::eval::{is_two_variable, type_named};
use super::functions::PACKAGES;
use super::kubernetes::is_known;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use serde_json::Value;

/// The expression, if it refers to nothing unknown.
pub fn check(expression: IdedExpr) -> Result<IdedExpr, String> {
    names(&expression, &mut Known { variables: vec!["self", "oldSelf"], fields: None })?;
    Ok(expression)
}

/// The variables of an expression that may have any; each is in the list once. Functions must exist.
pub fn fields(expression: &IdedExpr) -> Result<Vec<String>, String> {
    let mut known = Known { variables: Vec::new(), fields: Some(Vec::new()) };
    names(expression, &mut known)?;
    Ok(known.fields.unwrap_or_default().into_iter().map(str::to_owned).collect())
}

/// Whether an expression refers to nothing but functions and these variables.
pub fn only<'e>(expression: &'e IdedExpr, variables: &[&'e str]) -> Result<(), String> {
    names(expression, &mut Known { variables: variables.to_vec(), fields: None })
}

/// What an expression may refer to.
struct Known<'e> {
    variables: Vec<&'e str>,
    /// Any other name is a field of the object, and is noted here. `None`: there are no others.
    fields: Option<Vec<&'e str>>,
}

impl<'e> Known<'e> {
    fn refer(&mut self, name: &'e str) -> Result<(), String> {
        if self.variables.contains(&name) || type_named(name).is_some() {
            return Ok(());
        }
        let fields = self.fields.as_mut().ok_or_else(|| unknown(name))?;
        if !fields.contains(&name) {
            fields.push(name);
        }
        Ok(())
    }
}

fn names<'e>(expression: &'e IdedExpr, known: &mut Known<'e>) -> Result<(), String> {
    match &expression.expr {
        Expr::Ident(name) => known.refer(name),
        Expr::Select(select) => names(&select.operand, known),
        Expr::Call(call) => called(call, known),
        Expr::List(list) => list.elements.iter().try_for_each(|element| names(element, known)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                names(&entry.key, known)?;
                names(&entry.value, known)
            }
            EntryExpr::StructField(field) => names(&field.value, known),
        }),
        Expr::Comprehension(loops) => {
            names(&loops.iter_range, known)?;
            names(&loops.accu_init, known)?;
            let outside = known.variables.len();
            known.variables.push(&loops.accu_var);
            names(&loops.result, known)?;
            names(&loops.loop_cond, known)?;
            known.variables.push(&loops.iter_var);
            known.variables.extend(loops.iter_var2.as_deref());
            let outcome = names(&loops.loop_step, known);
            known.variables.truncate(outside);
            outcome
        }
        Expr::Struct(made) => Err(unknown(&made.type_name)),
        Expr::Literal(_) | Expr::Unspecified => Ok(()),
    }
}

fn called<'e>(call: &'e CallExpr, known: &mut Known<'e>) -> Result<(), String> {
    let Some(target) = call.target.as_deref() else {
        if !is_known(&call.func_name) {
            return Err(unknown(&call.func_name));
        }
        return call.args.iter().try_for_each(|arg| names(arg, known));
    };
    match &target.expr {
        Expr::Ident(package)
            if PACKAGES.contains(&package.as_str()) && !known.variables.contains(&package.as_str()) => {}
        _ => names(target, known)?,
    }
    // The first arguments of these name variables, the last one uses them.
    let variables = match (call.func_name.as_str(), call.args.len()) {
        ("optMap" | "optFlatMap", 2) => 1,
        (name, 3) if is_two_variable(name) => 2,
        _ => 0,
    };
    let outside = known.variables.len();
    for arg in &call.args[..variables] {
        if let Expr::Ident(name) = &arg.expr {
            known.variables.push(name);
        }
    }
    let outcome = call.args[variables..].iter().try_for_each(|arg| names(arg, known));
    known.variables.truncate(outside);
    outcome
}

/// The first field of `self` that an expression selects and the schema does not have.
pub fn undefined(expression: &IdedExpr, schema: &Value) -> Option<String> {
    let below = |expression: &IdedExpr| undefined(expression, schema);
    match &expression.expr {
        Expr::Select(select) => match chain(expression) {
            Some(steps) => missing(&steps, schema),
            None => below(&select.operand),
        },
        Expr::Call(call) => call.target.as_deref().and_then(below).or_else(|| call.args.iter().find_map(below)),
        Expr::List(list) => list.elements.iter().find_map(below),
        Expr::Comprehension(loops) => {
            [&loops.iter_range, &loops.accu_init, &loops.loop_step, &loops.result].into_iter().find_map(below)
        }
        _ => None,
    }
}

/// The fields of `self.a.b`, outermost first.
fn chain(expression: &IdedExpr) -> Option<Vec<&str>> {
    match &expression.expr {
        Expr::Ident(name) if name == "self" => Some(Vec::new()),
        Expr::Select(select) => {
            let mut steps = chain(&select.operand)?;
            steps.push(&select.field);
            Some(steps)
        }
        _ => None,
    }
}

fn missing(steps: &[&str], schema: &Value) -> Option<String> {
    let mut schema = schema;
    for step in steps {
        let plain = super::value::unescape(step).unwrap_or_else(|| (*step).into());
        let identity = matches!(*step, "apiVersion" | "kind" | "metadata");
        let found = schema["properties"].get(step).or_else(|| schema["properties"].get(&plain));
        match found {
            Some(found) if !identity => schema = found,
            None if schema["type"] == "object"
                && !identity
                && schema["additionalProperties"].is_null()
                && schema["x-kubernetes-preserve-unknown-fields"] != true =>
            {
                return Some((*step).into());
            }
            // Anything may be below.
            _ => return None,
        }
    }
    None
}

fn unknown(name: &str) -> String {
    format!("undeclared reference to '{name}' (in container '')")
}
