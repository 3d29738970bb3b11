//! Functions of strings.

use super::eval::Engine;
use super::value::{Outcome, Val, error, no_overload};

pub fn call<'a>(engine: &Engine, name: &str, text: &str, args: &[Val<'a>]) -> Outcome<'a> {
    // Every one of them looks at the whole text at most a few times.
    engine.spend(text.len() / 10 + 1)?;
    let place = |at: Option<usize>| Ok(Val::Int(at.map_or(-1, |at| text[..at].chars().count() as i64)));
    match (name, args) {
        ("contains", [Val::Text(part)]) => {
            engine.spend(text.len() / 10 * (part.len() / 10 + 1))?;
            Ok(Val::Bool(text.contains(&**part)))
        }
        ("startsWith", [Val::Text(part)]) => Ok(Val::Bool(text.starts_with(&**part))),
        ("endsWith", [Val::Text(part)]) => Ok(Val::Bool(text.ends_with(&**part))),
        ("matches", [Val::Text(pattern)]) => {
            engine.spend(text.len() * pattern.len() / 40 + 1)?;
            engine.pattern(pattern, |regex| Val::Bool(regex.is_match(text)))
        }
        ("find", [Val::Text(pattern)]) => {
            engine.spend(text.len() * pattern.len() / 40 + 1)?;
            engine.pattern(pattern, |regex| Val::text(regex.find(text).map_or("", |found| found.as_str())))
        }
        ("findAll", [Val::Text(pattern)]) => find_all(engine, text, pattern, usize::MAX),
        ("findAll", [Val::Text(pattern), Val::Int(limit)]) => {
            find_all(engine, text, pattern, usize::try_from(*limit).unwrap_or(usize::MAX))
        }
        ("lowerAscii", []) => Ok(Val::text(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Val::text(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Val::text(text.trim())),
        ("reverse", []) => Ok(Val::text(text.chars().rev().collect::<String>())),
        ("charAt", [Val::Int(at)]) => match usize::try_from(*at) {
            Ok(at) if at == text.chars().count() => Ok(Val::text("")),
            Ok(at) if at < text.chars().count() => Ok(Val::text(text.chars().skip(at).take(1).collect::<String>())),
            _ => error(format!("index out of range: {at}")),
        },
        ("indexOf", [Val::Text(part)]) => place(text.find(&**part)),
        ("indexOf", [Val::Text(part), Val::Int(from)]) => {
            let Some(start) = offset(text, *from) else { return error(format!("index out of range: {from}")) };
            place(text[start..].find(&**part).map(|at| at + start))
        }
        ("lastIndexOf", [Val::Text(part)]) => place(text.rfind(&**part)),
        ("substring", [Val::Int(from)]) => substring(text, *from, i64::MAX),
        ("substring", [Val::Int(from), Val::Int(to)]) => substring(text, *from, *to),
        ("replace", [Val::Text(from), Val::Text(to)]) => replaced(engine, text, from, to, usize::MAX),
        ("replace", [Val::Text(from), Val::Text(to), Val::Int(limit)]) => {
            replaced(engine, text, from, to, usize::try_from(*limit).unwrap_or(usize::MAX))
        }
        ("split", [Val::Text(separator)]) => split(text, separator, -1),
        ("split", [Val::Text(separator), Val::Int(limit)]) => split(text, separator, *limit),
        ("format", [arguments]) => format(engine, text, &arguments.items().unwrap_or_default()),
        _ => no_overload(),
    }
}

/// The byte where the nth character starts; the end counts.
fn offset(text: &str, characters: i64) -> Option<usize> {
    let characters = usize::try_from(characters).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(characters)
}

fn substring<'a>(text: &str, from: i64, to: i64) -> Outcome<'a> {
    let end = if to == i64::MAX { Some(text.len()) } else { offset(text, to) };
    match (offset(text, from), end) {
        (Some(start), Some(end)) if start <= end => Ok(Val::text(&text[start..end])),
        (None, _) => error(format!("index out of range: {from}")),
        (Some(_), None) => error(format!("index out of range: {to}")),
        _ => error(format!("invalid substring range. start: {from}, end: {to}")),
    }
}

fn replaced<'a>(engine: &Engine, text: &str, from: &str, to: &str, limit: usize) -> Outcome<'a> {
    let count = text.matches(from).take(limit).count();
    engine.spend((text.len() + count * to.len()) / 10 + 1)?;
    Ok(Val::text(text.replacen(from, to, limit)))
}

fn split<'a>(text: &str, separator: &str, limit: i64) -> Outcome<'a> {
    let parts: Vec<Val<'a>> = match (limit, separator) {
        (0, _) => Vec::new(),
        (limit, "") => {
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            let mut parts: Vec<String> = text.chars().map(String::from).collect();
            if parts.len() > most {
                let rest = parts.split_off(most - 1).concat();
                parts.push(rest);
            }
            parts.into_iter().map(Val::text).collect()
        }
        (limit, separator) if limit < 0 => text.split(separator).map(Val::text).collect(),
        (limit, separator) => {
            text.splitn(usize::try_from(limit).unwrap_or(usize::MAX), separator).map(Val::text).collect()
        }
    };
    Ok(Val::list(parts))
}

fn find_all<'a>(engine: &Engine, text: &str, pattern: &str, limit: usize) -> Outcome<'a> {
    engine.spend(text.len() * pattern.len() / 40 + 1)?;
    engine.pattern(pattern, |regex| {
        Val::list(regex.find_iter(text).take(limit).map(|found| Val::text(found.as_str())).collect())
    })
}

/// `['a', 'b'].join(', ')`.
pub fn join<'a>(engine: &Engine, items: &[Val<'a>], args: &[Val<'a>]) -> Outcome<'a> {
    let separator = match args {
        [] => "",
        [Val::Text(separator)] => separator,
        _ => return no_overload(),
    };
    let mut joined = String::new();
    for (at, item) in items.iter().enumerate() {
        let Val::Text(text) = item else { return no_overload() };
        engine.spend((text.len() + separator.len()) / 10 + 1)?;
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    Ok(Val::text(joined))
}

/// `'%s: %d'.format(['a', 1])`.
fn format<'a>(engine: &Engine, pattern: &str, arguments: &[Val<'a>]) -> Outcome<'a> {
    let mut written = String::new();
    let (mut arguments, mut chars) = (arguments.iter(), pattern.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            written.push(c);
            continue;
        }
        let mut precision = String::new();
        let mut verb = chars.next();
        if verb == Some('.') {
            verb = chars.find(|c| {
                precision.extend(c.is_ascii_digit().then_some(*c));
                !c.is_ascii_digit()
            });
        }
        if verb == Some('%') {
            written.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else { return error("index out of range") };
        let places = precision.parse().unwrap_or(6usize).min(100);
        match (verb, argument) {
            (Some('s'), value) => written.push_str(&shown(value)),
            (Some('d'), Val::Int(_) | Val::Uint(_)) => written.push_str(&shown(argument)),
            (Some('f'), Val::Double(number)) => written.push_str(&format!("{number:.places$}")),
            (Some('e'), Val::Double(number)) => written.push_str(&format!("{number:.places$e}")),
            (Some('x'), Val::Int(number)) => written.push_str(&format!("{number:x}")),
            (Some('X'), Val::Int(number)) => written.push_str(&format!("{number:X}")),
            (Some('o'), Val::Int(number)) => written.push_str(&format!("{number:o}")),
            (Some('b'), Val::Int(number)) => written.push_str(&format!("{number:b}")),
            _ => return error("error during formatting: unrecognized formatting clause"),
        }
        engine.spend(written.len() / 10 + 1)?;
    }
    Ok(Val::text(written))
}

fn shown(value: &Val<'_>) -> String {
    match (value.items(), value.keys(), value) {
        (Some(items), ..) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        (_, Some(keys), value) => {
            let entry =
                |key: &Val<'_>| format!("{}: {}", shown(key), value.at(key).map_or_else(String::new, |v| shown(&v)));
            format!("{{{}}}", keys.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        (.., Val::Null) => "null".into(),
        (.., value) => value.print().unwrap_or_else(|| value.type_name().into()),
    }
}
