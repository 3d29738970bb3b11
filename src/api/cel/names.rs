//! Names that an expression uses must exist: what can be found without the types of things.

use super::eval::{is_two_variable, type_named};
use super::functions::PACKAGES;
use super::kubernetes::is_known;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};

/// The expression, if it refers to nothing unknown.
pub fn check(expression: IdedExpr) -> Result<IdedExpr, String> {
    names(&expression, &mut vec!["self", "oldSelf"])?;
    Ok(expression)
}

fn names<'e>(expression: &'e IdedExpr, known: &mut Vec<&'e str>) -> Result<(), String> {
    match &expression.expr {
        Expr::Ident(name) if known.contains(&name.as_str()) || type_named(name).is_some() => Ok(()),
        Expr::Ident(name) => Err(unknown(name)),
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
            let outside = known.len();
            known.push(&loops.accu_var);
            names(&loops.result, known)?;
            names(&loops.loop_cond, known)?;
            known.push(&loops.iter_var);
            known.extend(loops.iter_var2.as_deref());
            let outcome = names(&loops.loop_step, known);
            known.truncate(outside);
            outcome
        }
        Expr::Struct(made) => Err(unknown(&made.type_name)),
        Expr::Literal(_) | Expr::Unspecified => Ok(()),
    }
}

fn called<'e>(call: &'e CallExpr, known: &mut Vec<&'e str>) -> Result<(), String> {
    let Some(target) = call.target.as_deref() else {
        if !is_known(&call.func_name) {
            return Err(unknown(&call.func_name));
        }
        return call.args.iter().try_for_each(|arg| names(arg, known));
    };
    match &target.expr {
        Expr::Ident(package) if PACKAGES.contains(&package.as_str()) && !known.contains(&package.as_str()) => {}
        _ => names(target, known)?,
    }
    // The first arguments of these name variables, the last one uses them.
    let variables = match (call.func_name.as_str(), call.args.len()) {
        ("optMap" | "optFlatMap", 2) => 1,
        (name, 3) if is_two_variable(name) => 2,
        _ => 0,
    };
    let outside = known.len();
    for arg in &call.args[..variables] {
        if let Expr::Ident(name) = &arg.expr {
            known.push(name);
        }
    }
    let outcome = call.args[variables..].iter().try_for_each(|arg| names(arg, known));
    known.truncate(outside);
    outcome
}

fn unknown(name: &str) -> String {
    format!("undeclared reference to '{name}' (in container '')")
}
