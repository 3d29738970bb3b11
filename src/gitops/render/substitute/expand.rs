//! The language of `${...}`: what Flux's envsubst documents, after bash. `$$` is a dollar.

use super::Variables;
use super::pattern::Pattern;

/// `${a:-${b:-${c}}}`: so many within each other.
const MAX_DEPTH: usize = 20;

/// What is wrong with a text. Holds names, no values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub what: String,
    pub hint: String,
}

#[derive(Clone, Copy)]
enum Operator {
    Value,
    Default,
    Unsupported,
    Slice,
    UpperFirst,
    Upper,
    LowerFirst,
    Lower,
    ReplaceAll,
    ReplaceFirst,
    ReplacePrefix,
    ReplaceSuffix,
    TrimPrefix { longest: bool },
    TrimSuffix { longest: bool },
}

/// The first that fits.
const OPERATORS: [(&str, Operator); 22] = [
    ("}", Operator::Value),
    (":=", Operator::Default),
    (":-", Operator::Default),
    ("=", Operator::Default),
    ("-", Operator::Default),
    (":?", Operator::Unsupported),
    (":+", Operator::Unsupported),
    ("?", Operator::Unsupported),
    ("+", Operator::Unsupported),
    (":", Operator::Slice),
    ("^^", Operator::Upper),
    ("^", Operator::UpperFirst),
    (",,", Operator::Lower),
    (",", Operator::LowerFirst),
    ("//", Operator::ReplaceAll),
    ("/#", Operator::ReplacePrefix),
    ("/%", Operator::ReplaceSuffix),
    ("/", Operator::ReplaceFirst),
    ("##", Operator::TrimPrefix { longest: true }),
    ("#", Operator::TrimPrefix { longest: false }),
    ("%%", Operator::TrimSuffix { longest: true }),
    ("%", Operator::TrimSuffix { longest: false }),
];

/// What substituting took.
pub(super) struct Spent {
    /// What may still be written and compared.
    pub left: usize,
    /// A secret variable had a say.
    pub secret: bool,
}

/// Replaces the variables.
pub(super) fn expand(text: &str, variables: &Variables, spent: &mut Spent) -> Result<String, Wrong> {
    let mut reader = Reader { rest: text, variables, spent, depth: 0 };
    let mut expanded = String::new();
    while let Some((before, after)) = reader.rest.split_once('$') {
        expanded.push_str(before);
        reader.rest = after;
        if reader.eat("{") {
            expanded.push_str(&reader.expression()?);
        } else {
            reader.eat("$");
            expanded.push('$');
        }
    }
    expanded.push_str(reader.rest);
    reader.spend(expanded.len())?;
    Ok(expanded)
}

struct Reader<'a> {
    rest: &'a str,
    variables: &'a Variables,
    spent: &'a mut Spent,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// What follows `${`, to its `}`.
    fn expression(&mut self) -> Result<String, Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(wrong(format!("variables are nested more than {MAX_DEPTH} deep"), ""));
        }
        let value = if self.eat("#") {
            let name = self.name()?;
            self.close(name)?;
            self.value(name)?.chars().count().to_string()
        } else {
            let name = self.name()?;
            let operator = OPERATORS.into_iter().find(|(text, _)| self.eat(text));
            self.operation(name, operator.map_or(Operator::Unsupported, |(_, operator)| operator))?
        };
        self.depth -= 1;
        self.spend(value.len())?;
        Ok(value)
    }

    fn operation(&mut self, name: &str, operator: Operator) -> Result<String, Wrong> {
        Ok(match operator {
            Operator::Value => self.value(name)?.to_owned(),
            Operator::Default => {
                let default = self.argument(name, &['}'], false)?;
                self.close(name)?;
                let value = self.get(name).unwrap_or_default();
                if value.is_empty() { default } else { value.to_owned() }
            }
            Operator::Unsupported if self.rest.is_empty() => return Err(unclosed(name)),
            Operator::Unsupported => {
                let what = format!("what follows the name in ${{{name}...}} is not known");
                return Err(wrong(what, "a default is ${NAME:=VALUE}; write $${ for a ${ that stays"));
            }
            Operator::Slice => {
                let from = self.argument(name, &[':', '}'], false)?;
                let length = if self.eat(":") { Some(self.argument(name, &['}'], false)?) } else { None };
                self.close(name)?;
                slice(self.value(name)?, &from, length.as_deref())
            }
            Operator::UpperFirst | Operator::Upper | Operator::LowerFirst | Operator::Lower => {
                self.close(name)?;
                cased(self.value(name)?, operator)
            }
            Operator::ReplaceAll | Operator::ReplaceFirst | Operator::ReplacePrefix | Operator::ReplaceSuffix => {
                let old = self.argument(name, &['/'], true)?;
                self.eat("/");
                let new = self.argument(name, &['}'], true)?;
                self.close(name)?;
                let value = self.value(name)?;
                if old.is_empty() || matches!(operator, Operator::ReplaceAll) {
                    // Each letter may become as much.
                    self.spend(value.len().saturating_mul(new.len()))?;
                }
                replaced(value, operator, &old, &new)
            }
            Operator::TrimPrefix { longest } | Operator::TrimSuffix { longest } => {
                let pattern = self.argument(name, &['}'], false)?;
                self.close(name)?;
                let value = self.value(name)?;
                let Some(pattern) = Pattern::parse(&pattern) else { return Ok(value.to_owned()) };
                self.spend(value.len().saturating_mul(pattern.len()))?;
                match operator {
                    Operator::TrimPrefix { .. } => {
                        value.chars().skip(pattern.prefix(value.chars(), longest).unwrap_or(0)).collect()
                    }
                    _ => {
                        let cut = pattern.suffix(value, longest).unwrap_or(0);
                        value.chars().take(value.chars().count() - cut).collect()
                    }
                }
            }
        })
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn name(&mut self) -> Result<&'a str, Wrong> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "" => {
                Err(wrong("\"${\" is not followed by the name of a variable".to_owned(), "write $${ if it is to stay"))
            }
            name => Ok(name),
        }
    }

    fn close(&mut self, name: &str) -> Result<(), Wrong> {
        if self.eat("}") { Ok(()) } else { Err(unclosed(name)) }
    }

    /// Up to one of these characters, with what is nested in it. `escapes`: a backslash takes away the meaning
    /// of a slash or backslash, and `$$` is a dollar.
    fn argument(&mut self, name: &str, ends: &[char], escapes: bool) -> Result<String, Wrong> {
        let mut argument = String::new();
        loop {
            if self.eat("${") {
                argument.push_str(&self.expression()?);
                continue;
            }
            let mut chars = self.rest.chars();
            match (chars.next(), chars.clone().next()) {
                (None, _) => return Err(unclosed(name)),
                (Some('\\'), Some(next @ ('/' | '\\'))) | (Some('$'), Some(next @ '$')) if escapes => {
                    chars.next();
                    argument.push(next);
                }
                (Some(c), _) if ends.contains(&c) => return Ok(argument),
                (Some(c), _) => argument.push(c),
            }
            self.rest = chars.as_str();
        }
    }

    fn get(&mut self, name: &str) -> Option<&'a str> {
        self.spent.secret |= self.variables.is_secret(name);
        self.variables.get(name)
    }

    /// A variable's value; of one that is not set nothing, or an error.
    fn value(&mut self, name: &str) -> Result<&'a str, Wrong> {
        match self.get(name) {
            Some(value) => Ok(value),
            None if self.variables.strict => {
                let hint = format!("set it, or give it a default: ${{{name}:=VALUE}}");
                Err(wrong(format!("the variable {name} is not set"), &hint))
            }
            None => Ok(""),
        }
    }

    fn spend(&mut self, work: usize) -> Result<(), Wrong> {
        match self.spent.left.checked_sub(work) {
            Some(left) => self.spent.left = left,
            None => {
                let what = "the source's variables come to more than can be put together";
                return Err(wrong(what.to_owned(), "use them less often, or shorter values"));
            }
        }
        Ok(())
    }
}

fn wrong(what: String, hint: &str) -> Wrong {
    Wrong { what, hint: hint.to_owned() }
}

fn unclosed(name: &str) -> Wrong {
    wrong(format!("${{{name} has no \"}}\", or not where it should be"), "write $${ for a ${ that stays")
}

/// Counts in characters. What is no number leaves the value as it is.
fn slice(value: &str, from: &str, length: Option<&str>) -> String {
    let all = value.chars().count();
    let (Ok(from), Ok(length)) = (from.parse::<i64>(), length.map(str::parse::<usize>).transpose()) else {
        return value.to_owned();
    };
    let back = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
    let start = if from < 0 { all.saturating_sub(back) } else { back };
    value.chars().skip(start).take(length.unwrap_or(all)).collect()
}

fn cased(value: &str, operator: Operator) -> String {
    let mut chars = value.chars();
    match (operator, chars.next()) {
        (Operator::Upper, _) => value.to_uppercase(),
        (Operator::Lower, _) => value.to_lowercase(),
        (Operator::UpperFirst, Some(first)) => first.to_uppercase().chain(chars).collect(),
        (Operator::LowerFirst, Some(first)) => first.to_lowercase().chain(chars).collect(),
        _ => String::new(),
    }
}

fn replaced(value: &str, operator: Operator, old: &str, new: &str) -> String {
    match operator {
        Operator::ReplaceAll => value.replace(old, new),
        Operator::ReplacePrefix => {
            value.strip_prefix(old).map_or_else(|| value.to_owned(), |rest| format!("{new}{rest}"))
        }
        Operator::ReplaceSuffix => {
            value.strip_suffix(old).map_or_else(|| value.to_owned(), |rest| format!("{rest}{new}"))
        }
        _ => value.replacen(old, new, 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn variables(strict: bool) -> Variables {
        let mut variables = Variables::new(strict);
        for (name, value) in [
            ("letters", "abcdEFGH28ij"),
            ("path", "/home/bozo/ideas/thoughts.for.today"),
            ("repeated", "abcABC123ABCabc"),
            ("file", "bash.string.txt"),
            ("slashes", "foo/bar/baz"),
            ("empty", ""),
            ("umlaut", "\u{fc}ber"),
        ] {
            variables.set(name, value).unwrap();
        }
        variables
    }

    fn run(text: &str, strict: bool) -> Result<String, String> {
        expand(text, &variables(strict), &mut Spent { left: 100_000, secret: false }).map_err(|wrong| wrong.what)
    }

    /// The cases that Flux tests its own with are among these.
    #[test]
    fn texts_expand_as_flux_expands_them() {
        for (text, expanded) in [
            ("abc $x $", "abc $x $"),
            ("${letters}", "abcdEFGH28ij"),
            ("${#letters}", "12"),
            ("${#umlaut}", "4"),
            ("${letters^}", "AbcdEFGH28ij"),
            ("${letters^^}", "ABCDEFGH28IJ"),
            ("${letters,,}", "abcdefgh28ij"),
            ("${umlaut^}", "\u{dc}ber"),
            ("${path:11}", "ideas/thoughts.for.today"),
            ("${path:11:5}", "ideas"),
            ("${path:99}", ""),
            ("${path:x}", "/home/bozo/ideas/thoughts.for.today"),
            ("${letters:${empty:=-2}}", "ij"),
            ("${letters=xyz}", "abcdEFGH28ij"),
            ("${unset=xyz} ${unset:=xyz} ${unset:-xyz} ${empty-xyz}", "xyz xyz xyz xyz"),
            ("${unset:=}", ""),
            ("${unset=${letters}} ${unset:-a${letters^^}-b}", "abcdEFGH28ij aABCDEFGH28IJ-b"),
            ("${unset} ${#unset} ${unset^^}", " 0 "),
            ("${repeated/%abc/XYZ}", "abcABC123ABCXYZ"),
            ("${repeated/#abc/XYZ}", "XYZABC123ABCabc"),
            ("${repeated//abc/xyz}", "xyzABC123ABCxyz"),
            ("${repeated/abc/xyz}", "xyzABC123ABCabc"),
            ("${file#*.}", "string.txt"),
            ("${file##*.}", "txt"),
            ("${file%.*}", "bash.string"),
            ("${file%%.*}", "bash"),
            ("${path#*/}", "home/bozo/ideas/thoughts.for.today"),
            ("${path##*/}", "thoughts.for.today"),
            ("${file#x} ${file#[}", "bash.string.txt bash.string.txt"),
            ("$${letters}", "${letters}"),
            ("$$$${letters} $$", "$${letters} $"),
            ("some ${letters}$${var$${letters}$letters", "some abcdEFGH28ij${var${letters}$letters"),
            ("something $${var=${letters}}", "something ${var=abcdEFGH28ij}"),
            ("${slashes/\\//-}", "foo-bar/baz"),
            ("${slashes//\\//-}", "foo-bar-baz"),
            ("\\\\something ${letters}", "\\\\something abcdEFGH28ij"),
            ("${file/./}", "bashstring.txt"),
        ] {
            assert_eq!(run(text, false).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_an_error_where_that_is_asked_for() {
        for text in ["${x}", "${#x}", "${x^^}", "${x:0:10}", "${x/a/b}", "${x%%a}", "${letters:=${x}}"] {
            assert_eq!(run(text, true), Err("the variable x is not set".to_owned()), "{text}");
        }
        assert_eq!(run("${x:=a}${x:-b}${x=c}${empty}$${x}", true).as_deref(), Ok("abc${x}"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("${", "not followed by the name"),
            ("${}", "not followed by the name"),
            ("${x", "no \"}\""),
            ("${x:=a", "no \"}\""),
            ("${x:=${y}", "no \"}\""),
            ("${x:?a}", "not known"),
            ("${x:+a}", "not known"),
            ("${x.y}", "not known"),
            ("${x/a}", "no \"}\""),
        ] {
            let error = run(text, false).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = format!("{}x{}", "${x:=".repeat(30), "}".repeat(30));
        assert!(run(&deep, false).unwrap_err().contains("nested"));
        assert!(run(&"${path}".repeat(10_000), false).unwrap_err().contains("more than can be"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[$a-c{}:=/#%^,\\\\*0-9\\[\\]\u{fc}-]{0,40}") {
            let _ = run(&text, true);
        }

        #[test]
        fn text_without_dollars_stays(text in "[^$]*") {
            prop_assert_eq!(run(&text, true), Ok(text));
        }
    }
}
