//! Evaluation of a parsed expression, within a budget of steps.

use super::functions;
use super::value::{Fault, Outcome, Val, error, no_overload};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators as op,
};
use regex::Regex;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Steps of one expression.
pub const PER_RULE: i64 = 1_000_000;

/// What evaluations of one object share.
pub struct Engine {
    left: Cell<i64>,
    /// When the expression under way must be done.
    rule_left: Cell<i64>,
    patterns: RefCell<HashMap<String, Option<Regex>>>,
}

/// Variables, innermost first. One of a loop may hold an error that `||` can still make up for.
pub struct Scope<'s, 'a> {
    pub name: &'s str,
    pub value: Outcome<'a>,
    pub parent: Option<&'s Scope<'s, 'a>>,
}

impl<'s, 'a> Scope<'s, 'a> {
    fn find(&self, name: &str) -> Option<&Outcome<'a>> {
        if self.name == name { Some(&self.value) } else { self.parent?.find(name) }
    }
}

impl Engine {
    pub fn new(budget: i64) -> Self {
        Self { left: Cell::new(budget), rule_left: Cell::new(0), patterns: RefCell::default() }
    }

    /// Evaluates an expression from its start.
    pub fn run<'a>(&self, expression: &IdedExpr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        self.rule_left.set(PER_RULE);
        self.eval(expression, scope)
    }

    /// Whether the whole object's budget is gone.
    pub fn is_spent(&self) -> bool {
        self.left.get() <= 0
    }

    /// Takes steps off the budget.
    pub fn spend(&self, steps: usize) -> Result<(), Fault> {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        for budget in [&self.left, &self.rule_left] {
            budget.set(budget.get().saturating_sub(steps));
        }
        if self.left.get() <= 0 || self.rule_left.get() <= 0 { Err(Fault::Budget) } else { Ok(()) }
    }

    /// A regular expression, compiled once per object.
    pub fn pattern<T>(&self, pattern: &str, use_it: impl FnOnce(&Regex) -> T) -> Result<T, Fault> {
        let mut patterns = self.patterns.borrow_mut();
        if !patterns.contains_key(pattern) {
            self.spend(pattern.len())?;
            patterns.insert(pattern.into(), crate::api::schema::custom::compile(pattern).ok());
        }
        match patterns.get(pattern).and_then(Option::as_ref) {
            Some(regex) => Ok(use_it(regex)),
            None => error(format!("error parsing regexp: {pattern}")),
        }
    }

    pub fn eval<'a>(&self, expression: &IdedExpr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        self.spend(1)?;
        match &expression.expr {
            Expr::Literal(literal) => Ok(literal_value(literal)),
            Expr::Ident(name) => match scope.find(name) {
                Some(found) => found.clone(),
                None => type_named(name).map_or_else(
                    || error(format!("undeclared reference to '{name}' (in container '')")),
                    |name| Ok(Val::Type(name)),
                ),
            },
            Expr::Select(select) => {
                let operand = self.eval(&select.operand, scope)?;
                if let Val::Optional(inner) = &operand {
                    let found = inner.as_ref().and_then(|inner| inner.get(&select.field));
                    return Ok(if select.test {
                        Val::Bool(found.is_some())
                    } else {
                        Val::Optional(found.map(Rc::new))
                    });
                }
                match (operand.get(&select.field), select.test) {
                    (found, true) if operand.keys().is_some() => Ok(Val::Bool(found.is_some())),
                    (Some(found), false) => Ok(found),
                    (None, false) if operand.keys().is_some() => error(format!("no such key: {}", select.field)),
                    _ => no_overload(),
                }
            }
            Expr::Call(call) => self.call(call, scope),
            Expr::List(list) => self.list(list, scope),
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return no_overload() };
                    let (key, value) = (self.eval(&entry.key, scope)?, self.eval(&entry.value, scope)?);
                    match (entry.optional, value) {
                        (true, Val::Optional(None)) => {}
                        (true, Val::Optional(Some(value))) => entries.push((key, (*value).clone())),
                        (_, value) => entries.push((key, value)),
                    }
                }
                Ok(Val::Map(Rc::new(entries)))
            }
            Expr::Comprehension(loops) => self.comprehension(loops, scope),
            Expr::Struct(_) | Expr::Unspecified => no_overload(),
        }
    }

    fn list<'a>(&self, list: &ListExpr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        let mut items = Vec::with_capacity(list.elements.len());
        for (at, element) in list.elements.iter().enumerate() {
            match (list.optional_indices.contains(&at), self.eval(element, scope)?) {
                (true, Val::Optional(None)) => {}
                (true, Val::Optional(Some(value))) => items.push((*value).clone()),
                (_, value) => items.push(value),
            }
        }
        Ok(Val::list(items))
    }

    fn call<'a>(&self, call: &CallExpr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::LOGICAL_AND, [a, b]) => self.either(a, b, false, scope),
            (op::LOGICAL_OR, [a, b]) => self.either(a, b, true, scope),
            (op::CONDITIONAL, [condition, yes, no]) => match self.eval(condition, scope)? {
                Val::Bool(true) => self.eval(yes, scope),
                Val::Bool(false) => self.eval(no, scope),
                _ => no_overload(),
            },
            (op::NOT_STRICTLY_FALSE, [condition]) => match self.eval(condition, scope) {
                Err(Fault::Budget) => Err(Fault::Budget),
                outcome => Ok(Val::Bool(!matches!(outcome, Ok(Val::Bool(false))))),
            },
            (op::OPT_SELECT, [operand, field]) => {
                let operand = self.eval(operand, scope)?;
                let Val::Text(name) = self.eval(field, scope)? else { return no_overload() };
                let found = match &operand {
                    Val::Optional(inner) => inner.as_ref().and_then(|inner| inner.get(&name)),
                    other => other.get(&name),
                };
                Ok(Val::Optional(found.map(Rc::new)))
            }
            ("optMap" | "optFlatMap", [variable, body]) => self.opt_map(call, variable, body, scope),
            (name, [first, second, body]) if is_two_variable(name) && call.target.is_some() => {
                self.two_variables(call, (first, second), body, scope)
            }
            (name, args) => {
                let (name, target) = match call.target.as_deref() {
                    Some(IdedExpr { expr: Expr::Ident(package), .. })
                        if functions::PACKAGES.contains(&package.as_str()) && scope.find(package).is_none() =>
                    {
                        (Cow::Owned(format!("{package}.{name}")), None)
                    }
                    Some(target) => (Cow::Borrowed(name), Some(self.eval(target, scope)?)),
                    None => (Cow::Borrowed(name), None),
                };
                let args = args.iter().map(|arg| self.eval(arg, scope)).collect::<Result<Vec<_>, _>>()?;
                functions::call(self, &name, target, args)
            }
        }
    }

    /// `&&` and `||`: one side that decides makes up for an error of the other.
    fn either<'a>(&self, a: &IdedExpr, b: &IdedExpr, decides: bool, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        let first = self.eval(a, scope);
        match &first {
            Ok(Val::Bool(value)) if *value == decides => return first,
            Err(Fault::Budget) => return first,
            _ => {}
        }
        let second = self.eval(b, scope);
        match (&first, &second) {
            (_, Ok(Val::Bool(value))) if *value == decides => second,
            (_, Err(Fault::Budget)) => second,
            (Ok(Val::Bool(_)), Ok(Val::Bool(_)) | Err(_)) => second,
            (Err(_), _) => first,
            _ => no_overload(),
        }
    }

    fn opt_map<'a>(&self, call: &CallExpr, variable: &IdedExpr, body: &IdedExpr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        let (Some(target), Expr::Ident(name)) = (&call.target, &variable.expr) else { return no_overload() };
        let Val::Optional(inner) = self.eval(target, scope)? else { return no_overload() };
        let Some(inner) = inner else { return Ok(Val::Optional(None)) };
        let within = Scope { name, value: Ok((*inner).clone()), parent: Some(scope) };
        let mapped = self.eval(body, &within)?;
        Ok(if call.func_name == "optMap" { Val::Optional(Some(Rc::new(mapped))) } else { mapped })
    }

    fn comprehension<'a>(&self, loops: &ComprehensionExpr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        let range = self.eval(&loops.iter_range, scope)?;
        let Some(items) = range.items().or_else(|| range.keys()) else { return no_overload() };
        self.spend(items.len())?;
        let mut result = self.eval(&loops.accu_init, scope);
        let accu = loops.accu_var.as_str();
        if let Some((filter, pushed)) = collects(&loops.loop_step, accu) {
            // The results of map and filter grow in place.
            let mut collected = Vec::new();
            for item in items {
                let within = Scope { name: &loops.iter_var, value: Ok(item), parent: Some(scope) };
                let wanted = match filter {
                    Some(filter) => self.eval(filter, &within)?,
                    None => Val::Bool(true),
                };
                match wanted {
                    Val::Bool(true) => collected.push(self.eval(pushed, &within)?),
                    Val::Bool(false) => {}
                    _ => return no_overload(),
                }
            }
            result = Ok(Val::list(collected));
        } else {
            for item in items {
                let outer = Scope { name: accu, value: result, parent: Some(scope) };
                if matches!(self.eval(&loops.loop_cond, &outer)?, Val::Bool(false)) {
                    result = outer.value;
                    break;
                }
                let within = Scope { name: &loops.iter_var, value: Ok(item), parent: Some(&outer) };
                result = self.eval(&loops.loop_step, &within);
                if matches!(result, Err(Fault::Budget)) {
                    return result;
                }
            }
        }
        self.eval(&loops.result, &Scope { name: accu, value: result, parent: Some(scope) })
    }

    /// `all(i, v, ...)` and its like over index and element, or key and value.
    fn two_variables<'a>(
        &self,
        call: &CallExpr,
        (first, second): (&IdedExpr, &IdedExpr),
        body: &IdedExpr,
        scope: &Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let (Some(target), Expr::Ident(first), Expr::Ident(second)) = (&call.target, &first.expr, &second.expr) else {
            return no_overload();
        };
        let range = self.eval(target, scope)?;
        let pairs: Vec<(Val<'a>, Val<'a>)> = match (range.items(), range.keys()) {
            (Some(items), _) => items.into_iter().enumerate().map(|(at, item)| (Val::Int(at as i64), item)).collect(),
            (_, Some(keys)) => keys.into_iter().filter_map(|key| range.at(&key).map(|value| (key, value))).collect(),
            _ => return no_overload(),
        };
        self.spend(pairs.len())?;
        let (mut holds, mut failed, mut mapped) = (0, None, Vec::new());
        let count = pairs.len();
        for (key, value) in pairs {
            let outer = Scope { name: first, value: Ok(key.clone()), parent: Some(scope) };
            match (self.eval(body, &Scope { name: second, value: Ok(value), parent: Some(&outer) }), &*call.func_name) {
                (Err(Fault::Budget), _) => return Err(Fault::Budget),
                (Ok(value), "transformList" | "transformMap") => mapped.push((key, value)),
                (Ok(Val::Bool(false)), "all") => return Ok(Val::Bool(false)),
                (Ok(Val::Bool(true)), "exists") => return Ok(Val::Bool(true)),
                (Ok(Val::Bool(value)), _) => holds += usize::from(value),
                (Ok(_), _) => failed = Some(Fault::Error("no such overload".into())),
                (Err(fault), _) => failed = Some(fault),
            }
        }
        match (failed, call.func_name.as_str()) {
            (Some(fault), _) => Err(fault),
            (None, "transformList") => Ok(Val::list(mapped.into_iter().map(|(_, value)| value).collect())),
            (None, "transformMap") => Ok(Val::Map(Rc::new(mapped))),
            (None, "all") => Ok(Val::Bool(holds == count)),
            (None, "exists") => Ok(Val::Bool(false)),
            (None, _) => Ok(Val::Bool(holds == 1)),
        }
    }
}

pub fn is_two_variable(name: &str) -> bool {
    matches!(name, "all" | "exists" | "existsOne" | "exists_one" | "transformList" | "transformMap")
}

/// The filter and the element of a step that adds an element to the result so far.
fn collects<'e>(step: &'e IdedExpr, accu: &str) -> Option<(Option<&'e IdedExpr>, &'e IdedExpr)> {
    let is_accu = |expression: &IdedExpr| matches!(&expression.expr, Expr::Ident(name) if name == accu);
    let Expr::Call(call) = &step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (op::ADD, [left, IdedExpr { expr: Expr::List(list), .. }]) if is_accu(left) => match list.elements.as_slice() {
            [one] if list.optional_indices.is_empty() => Some((None, one)),
            _ => None,
        },
        (op::CONDITIONAL, [filter, yes, no]) if is_accu(no) => match collects(yes, accu)? {
            (None, pushed) => Some((Some(filter), pushed)),
            _ => None,
        },
        _ => None,
    }
}

fn literal_value<'a>(literal: &LiteralValue) -> Val<'a> {
    match literal {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Bytes(bytes) => Val::Bytes(bytes.inner().into()),
        LiteralValue::Double(number) => Val::Double(*number.inner()),
        LiteralValue::Int(number) => Val::Int(*number.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(text) => Val::text(text.inner()),
        LiteralValue::UInt(number) => Val::Uint(*number.inner()),
    }
}

/// Types can be named: `type(x) == string`.
pub fn type_named(name: &str) -> Option<&'static str> {
    const TYPES: [&str; 9] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type"];
    TYPES.into_iter().find(|known| *known == name)
}
