//! Functions and operators on values: CEL's own. Text and Kubernetes' types have files of their own.

use super::eval::Engine;
use super::value::{Fault, Outcome, Val, error, no_overload};
use super::{duration, kubernetes, text, time};
use cel::common::ast::operators as op;
use std::cmp::Ordering;
use std::rc::Rc;

/// Names before a dot that are no variables.
pub const PACKAGES: [&str; 3] = ["ip", "optional", "sets"];

/// Calls a function; `target` is what stands before the dot.
pub fn call<'a>(engine: &Engine, name: &str, target: Option<Val<'a>>, args: Vec<Val<'a>>) -> Outcome<'a> {
    match target {
        None => global(engine, name, args),
        Some(target) => member(engine, name, target, args),
    }
}

/// Operators and functions without a target.
fn global<'a>(engine: &Engine, name: &str, args: Vec<Val<'a>>) -> Outcome<'a> {
    match (name, args.as_slice()) {
        (op::EQUALS, [a, b]) => compare(engine, a, b).map(Val::Bool),
        (op::NOT_EQUALS, [a, b]) => compare(engine, a, b).map(|same| Val::Bool(!same)),
        (op::LESS, [a, b]) => ordered(a, b, Ordering::is_lt),
        (op::LESS_EQUALS, [a, b]) => ordered(a, b, Ordering::is_le),
        (op::GREATER, [a, b]) => ordered(a, b, Ordering::is_gt),
        (op::GREATER_EQUALS, [a, b]) => ordered(a, b, Ordering::is_ge),
        (op::LOGICAL_NOT, [Val::Bool(value)]) => Ok(Val::Bool(!value)),
        (op::NEGATE, [Val::Int(number)]) => whole(number.checked_neg()),
        (op::NEGATE, [Val::Double(number)]) => Ok(Val::Double(-number)),
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b]) => arithmetic(engine, name, a, b),
        (op::IN, [needle, hay]) => contains(engine, needle, hay),
        (op::INDEX, [collection, key]) => index(collection, key),
        (op::OPT_INDEX, [Val::Optional(inner), key]) => {
            Ok(Val::Optional(inner.as_ref().and_then(|inner| index(inner, key).ok()).map(Rc::new)))
        }
        (op::OPT_INDEX, [collection, key]) => Ok(Val::Optional(index(collection, key).ok().map(Rc::new))),
        ("size", [value]) => size(engine, value),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Val::Type(value.type_name())),
        ("optional.of", [value]) => Ok(Val::Optional(Some(Rc::new(value.clone())))),
        ("optional.none", []) => Ok(Val::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(Val::Optional((!is_zero(value)).then(|| Rc::new(value.clone())))),
        ("sets.contains", [a, b]) => sets(engine, a, b, |a, b| b.iter().all(|b| a.iter().any(|a| a.is(b)))),
        ("sets.intersects", [a, b]) => sets(engine, a, b, |a, b| b.iter().any(|b| a.iter().any(|a| a.is(b)))),
        ("sets.equivalent", [a, b]) => sets(engine, a, b, |a, b| {
            b.iter().all(|b| a.iter().any(|a| a.is(b))) && a.iter().all(|a| b.iter().any(|b| b.is(a)))
        }),
        ("bool" | "int" | "uint" | "double" | "string" | "bytes" | "duration" | "timestamp", [value]) => {
            convert(name, value)
        }
        (_, args) => kubernetes::global(engine, name, args),
    }
}

/// Functions of a value.
fn member<'a>(engine: &Engine, name: &str, target: Val<'a>, args: Vec<Val<'a>>) -> Outcome<'a> {
    match (name, &target, args.as_slice()) {
        ("size", target, []) => size(engine, target),
        ("hasValue", Val::Optional(inner), []) => Ok(Val::Bool(inner.is_some())),
        ("value", Val::Optional(Some(inner)), []) => Ok((**inner).clone()),
        ("value", Val::Optional(None), []) => error("optional.none() dereference"),
        ("orValue", Val::Optional(inner), [otherwise]) => {
            Ok(inner.as_ref().map_or_else(|| otherwise.clone(), |inner| (**inner).clone()))
        }
        ("or", Val::Optional(inner), [otherwise]) => {
            Ok(if inner.is_some() { target.clone() } else { otherwise.clone() })
        }
        (_, Val::Text(text), args) => text::call(engine, name, text, args),
        (_, Val::Time(_) | Val::Duration(_), args) => time::call(name, &target, args),
        (_, Val::List(_) | Val::Json(..), args) => list(engine, name, &target, args),
        (_, target, args) => kubernetes::member(name, target, args),
    }
}

fn compare(engine: &Engine, a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    engine.spend(a.size().unwrap_or(0).min(b.size().unwrap_or(0)))?;
    Ok(a.is(b))
}

fn ordered<'a>(a: &Val<'a>, b: &Val<'a>, holds: impl Fn(Ordering) -> bool) -> Outcome<'a> {
    a.order(b).map_or_else(no_overload, |order| Ok(Val::Bool(holds(order))))
}

fn whole<'a>(number: Option<i64>) -> Outcome<'a> {
    number.map_or_else(|| error("integer overflow"), |number| Ok(Val::Int(number)))
}

fn arithmetic<'a>(engine: &Engine, name: &str, a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    match (name, a, b) {
        (op::DIVIDE, Val::Int(_), Val::Int(0)) | (op::DIVIDE, Val::Uint(_), Val::Uint(0)) => error("division by zero"),
        (op::MODULO, Val::Int(_), Val::Int(0)) | (op::MODULO, Val::Uint(_), Val::Uint(0)) => error("modulus by zero"),
        (_, Val::Int(a), Val::Int(b)) => whole(match name {
            op::ADD => a.checked_add(*b),
            op::SUBSTRACT => a.checked_sub(*b),
            op::MULTIPLY => a.checked_mul(*b),
            op::DIVIDE => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }),
        (_, Val::Uint(a), Val::Uint(b)) => {
            let number = match name {
                op::ADD => a.checked_add(*b),
                op::SUBSTRACT => a.checked_sub(*b),
                op::MULTIPLY => a.checked_mul(*b),
                op::DIVIDE => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            number.map_or_else(|| error("unsigned integer overflow"), |number| Ok(Val::Uint(number)))
        }
        (_, Val::Double(a), Val::Double(b)) => Ok(Val::Double(match name {
            op::ADD => a + b,
            op::SUBSTRACT => a - b,
            op::MULTIPLY => a * b,
            op::DIVIDE => a / b,
            _ => return no_overload(),
        })),
        (op::ADD, Val::Text(a), Val::Text(b)) => {
            engine.spend((a.len() + b.len()) / 10 + 1)?;
            Ok(Val::text(format!("{a}{b}")))
        }
        (op::ADD, Val::Bytes(a), Val::Bytes(b)) => {
            engine.spend((a.len() + b.len()) / 10 + 1)?;
            Ok(Val::Bytes([&a[..], &b[..]].concat().into()))
        }
        _ => match (name, a.items(), b.items()) {
            (op::ADD, Some(mut items), Some(more)) => {
                engine.spend(items.len() + more.len())?;
                items.extend(more);
                Ok(Val::list(items))
            }
            _ => time::arithmetic(name, a, b),
        },
    }
}

fn contains<'a>(engine: &Engine, needle: &Val<'a>, hay: &Val<'a>) -> Outcome<'a> {
    if hay.keys().is_some() {
        return Ok(Val::Bool(hay.at(needle).is_some()));
    }
    let Some(items) = hay.items() else { return no_overload() };
    engine.spend(items.len())?;
    Ok(Val::Bool(items.iter().any(|item| item.is(needle))))
}

fn index<'a>(collection: &Val<'a>, key: &Val<'a>) -> Outcome<'a> {
    if collection.keys().is_some() {
        let shown = || key.print().unwrap_or_default();
        return collection.at(key).map_or_else(|| error(format!("no such key: {}", shown())), Ok);
    }
    let at = match key {
        Val::Int(at) => *at,
        Val::Uint(at) => i64::try_from(*at).unwrap_or(i64::MAX),
        Val::Double(at) if at.fract() == 0.0 => *at as i64,
        _ => return no_overload(),
    };
    let Some(size) = collection.size().filter(|_| collection.items().is_some()) else { return no_overload() };
    match usize::try_from(at).ok().filter(|at| *at < size).and_then(|at| collection.items()?.into_iter().nth(at)) {
        Some(found) => Ok(found),
        None => error(format!("index out of bounds: {at}")),
    }
}

fn size<'a>(engine: &Engine, value: &Val<'a>) -> Outcome<'a> {
    let Some(size) = value.size() else { return no_overload() };
    if matches!(value, Val::Text(_)) {
        engine.spend(size / 10)?;
    }
    Ok(Val::Int(size as i64))
}

fn is_zero(value: &Val<'_>) -> bool {
    match value {
        Val::Null | Val::Bool(false) | Val::Int(0) | Val::Uint(0) | Val::Duration(0) | Val::Optional(None) => true,
        Val::Double(number) => *number == 0.0,
        other => other.size() == Some(0),
    }
}

fn sets<'a>(engine: &Engine, a: &Val<'a>, b: &Val<'a>, holds: impl Fn(&[Val<'a>], &[Val<'a>]) -> bool) -> Outcome<'a> {
    let (Some(a), Some(b)) = (a.items(), b.items()) else { return no_overload() };
    engine.spend(a.len().saturating_mul(b.len()))?;
    Ok(Val::Bool(holds(&a, &b)))
}

/// Functions of lists.
fn list<'a>(engine: &Engine, name: &str, target: &Val<'a>, args: &[Val<'a>]) -> Outcome<'a> {
    let Some(items) = target.items() else { return no_overload() };
    engine.spend(items.len())?;
    let extreme = |wanted: Ordering| {
        let mut best = None::<&Val<'a>>;
        for item in &items {
            match best {
                None => best = Some(item),
                Some(known) => match item.order(known) {
                    Some(order) if order == wanted => best = Some(item),
                    Some(_) => {}
                    None => return no_overload(),
                },
            }
        }
        best.map_or_else(|| error(format!("{name} called on empty list")), |best| Ok(best.clone()))
    };
    let place = |at: Option<usize>| Ok(Val::Int(at.map_or(-1, |at| at as i64)));
    match (name, args) {
        ("isSorted", []) => {
            let pairs: Option<Vec<Ordering>> = items.windows(2).map(|pair| pair[0].order(&pair[1])).collect();
            pairs.map_or_else(no_overload, |pairs| Ok(Val::Bool(pairs.into_iter().all(Ordering::is_le))))
        }
        ("sum", []) => {
            let zero = items.first().map_or(Val::Int(0), |first| match first {
                Val::Double(_) => Val::Double(0.0),
                Val::Uint(_) => Val::Uint(0),
                Val::Duration(_) => Val::Duration(0),
                _ => Val::Int(0),
            });
            items.iter().try_fold(zero, |sum, item| arithmetic(engine, op::ADD, &sum, item))
        }
        ("min", []) => extreme(Ordering::Less),
        ("max", []) => extreme(Ordering::Greater),
        ("indexOf", [wanted]) => place(items.iter().position(|item| item.is(wanted))),
        ("lastIndexOf", [wanted]) => place(items.iter().rposition(|item| item.is(wanted))),
        ("join", args) => text::join(engine, &items, args),
        ("flatten", []) => {
            let parts: Vec<Val<'a>> =
                items.into_iter().flat_map(|item| item.items().unwrap_or_else(|| vec![item])).collect();
            engine.spend(parts.len())?;
            Ok(Val::list(parts))
        }
        ("distinct", []) => {
            engine.spend(items.len().saturating_mul(items.len()))?;
            let mut seen: Vec<Val<'a>> = Vec::new();
            for item in items {
                if !seen.iter().any(|known| known.is(&item)) {
                    seen.push(item);
                }
            }
            Ok(Val::list(seen))
        }
        ("reverse", []) => Ok(Val::list(items.into_iter().rev().collect())),
        ("slice", [Val::Int(from), Val::Int(to)]) => {
            let (from, to) = (usize::try_from(*from).ok(), usize::try_from(*to).ok());
            match from.zip(to).and_then(|(from, to)| items.get(from..to)) {
                Some(part) => Ok(Val::list(part.to_vec())),
                None => error("cannot slice: index out of bounds"),
            }
        }
        _ => no_overload(),
    }
}

fn convert<'a>(name: &str, value: &Val<'a>) -> Outcome<'a> {
    let failed = |what: &str| error(format!("type conversion error from '{}' to '{what}'", value.type_name()));
    match (name, value) {
        ("bool", Val::Bool(_)) | ("int", Val::Int(_)) | ("uint", Val::Uint(_)) | ("double", Val::Double(_)) => {
            Ok(value.clone())
        }
        ("duration", Val::Duration(_)) | ("timestamp", Val::Time(_)) | ("bytes", Val::Bytes(_)) => Ok(value.clone()),
        ("bool", Val::Text(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Val::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Val::Bool(false)),
            _ => failed("bool"),
        },
        ("int", Val::Uint(number)) => whole(i64::try_from(*number).ok()),
        ("int", Val::Double(number)) if number.abs() < 9.2e18 => Ok(Val::Int(number.trunc() as i64)),
        ("int", Val::Double(_)) => error("integer overflow"),
        ("int", Val::Text(text)) => text.parse().map_or_else(|_| failed("int"), |number| Ok(Val::Int(number))),
        ("int", Val::Time(time)) => Ok(Val::Int(time.as_second())),
        ("uint", Val::Int(number)) => {
            u64::try_from(*number).map_or_else(|_| error("unsigned integer overflow"), |number| Ok(Val::Uint(number)))
        }
        ("uint", Val::Double(number)) if (0.0..1.8e19).contains(number) => Ok(Val::Uint(number.trunc() as u64)),
        ("uint", Val::Text(text)) => text.parse().map_or_else(|_| failed("uint"), |number| Ok(Val::Uint(number))),
        ("double", Val::Int(number)) => Ok(Val::Double(*number as f64)),
        ("double", Val::Uint(number)) => Ok(Val::Double(*number as f64)),
        ("double", Val::Text(text)) => text.parse().map_or_else(|_| failed("double"), |number| Ok(Val::Double(number))),
        ("string", value) => value.print().map_or_else(no_overload, |text| Ok(Val::text(text))),
        ("bytes", Val::Text(text)) => Ok(Val::Bytes(text.as_bytes().into())),
        ("duration", Val::Text(text)) => {
            duration::parse(text).map_or_else(|| failed("google.protobuf.Duration"), |nanos| Ok(Val::Duration(nanos)))
        }
        ("timestamp", Val::Text(text)) => {
            text.parse().map_or_else(|_| failed("google.protobuf.Timestamp"), |time| Ok(Val::Time(time)))
        }
        ("timestamp", Val::Int(seconds)) => jiff::Timestamp::from_second(*seconds)
            .map_or_else(|_| error("timestamp overflow"), |time| Ok(Val::Time(time))),
        _ => no_overload(),
    }
}
