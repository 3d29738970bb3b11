//! Vars: `$(NAME)` in fields that may have it stands for a field of another object. Deprecated for replacements.

use super::fieldspec::{self, FieldSpec, Make};
use super::id::{Gvk, ResId, split};
use super::kustomization::{At, Var};
use super::load::Build;
use super::node::time;
use super::path::{lookup, steps};
use super::resource::Resource;
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::tree::{Body, Entry, Form, Node, Scalar};
use serde_json::Value;
use std::collections::BTreeMap;

const DEFAULT_FIELD: &str = "metadata.name";

/// The vars of a kustomization and its bases, by name.
#[derive(Debug, Default)]
pub struct Vars(BTreeMap<String, At<Var>>);

impl Vars {
    /// Adds those of a kustomization. Objects remember which vars they are the source of: what they are called may
    /// change until the end.
    pub fn declare(&mut self, vars: &[At<Var>], all: &mut [Resource]) -> Result<(), RenderError> {
        for var in vars {
            let wanted = target(&var.value);
            let anywhere = wanted.namespace.is_empty() && !wanted.gvk.is_cluster_scoped();
            let is_it =
                |id: &ResId| if anywhere { id.gvk == wanted.gvk && id.name == wanted.name } else { id.same(&wanted) };
            let mut found = all.iter_mut().filter(|one| one.any_id(is_it));
            match (found.next(), found.next()) {
                (Some(first), Some(second)) => {
                    let (first, second) = (first.origin(), second.origin());
                    let what = format!("the var {} may be of the object at {first} or at {second}", var.value.name);
                    return Err(RenderError::new(var.at.clone(), what).hint("give its objref a namespace"));
                }
                (Some(one), None) => one.vars.push(var.value.name.clone()),
                (None, _) => {}
            }
            self.add(var.clone())?;
        }
        Ok(())
    }

    /// Adds those of a base.
    pub fn merge(&mut self, other: Self) -> Result<(), RenderError> {
        other.0.into_values().try_for_each(|var| self.add(var))
    }

    fn add(&mut self, var: At<Var>) -> Result<(), RenderError> {
        match self.0.get(&var.value.name) {
            Some(first) => {
                let what = format!("there is a var {} already, from {}", var.value.name, first.at);
                Err(RenderError::new(var.at, what).hint("give one of the two another name"))
            }
            None => {
                self.0.insert(var.value.name.clone(), var);
                Ok(())
            }
        }
    }

    /// Puts the values in, in all fields that may have some.
    pub fn resolve(&self, build: &mut Build<'_>, all: &mut [Resource], specs: &[FieldSpec]) -> Result<(), RenderError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut values = BTreeMap::new();
        for (name, var) in &self.0 {
            values.insert(name.as_str(), value(var, all)?);
        }
        for resource in all {
            let at = resource.origin();
            build.visit(1, &at)?;
            for spec in specs {
                let mut set = |field: &mut Node| set(field, &values, build, &at);
                let done = fieldspec::apply(&mut resource.node, spec, Make::Nothing, &mut set);
                done.map_err(|why| resource.error(why))?;
            }
        }
        Ok(())
    }
}

/// What the object of a var is called.
fn target(var: &Var) -> ResId {
    let object = var.objref.clone();
    let mut gvk = Gvk { group: object.group, version: object.version, kind: object.kind };
    match split(&object.api_version) {
        ("", "") => {}
        ("", version) => gvk.version = version.to_owned(),
        (group, version) => (gvk.group, gvk.version) = (group.to_owned(), version.to_owned()),
    }
    ResId { gvk, name: object.name, namespace: object.namespace }
}

/// A value: as it is where it stands for a whole field, and as it is written within a text.
struct Known {
    whole: Scalar,
    within: String,
}

/// None for lists and maps, which stand for nothing.
fn value(var: &At<Var>, all: &[Resource]) -> Result<Option<Known>, RenderError> {
    let At { value: var, at } = var;
    let Some(object) = all.iter().find(|one| one.vars.contains(&var.name)) else {
        let what = format!("the var {} is of {}, which there is not", var.name, target(var));
        return Err(RenderError::new(at.clone(), what).hint("check apiVersion, kind, name and namespace of its objref"));
    };
    let path = if var.fieldref.field_path.is_empty() { DEFAULT_FIELD } else { &var.fieldref.field_path };
    // `ports[0]` is a way to write `ports.0`.
    let indexed = |step: String| match step.strip_suffix(']').and_then(|step| step.rsplit_once('[')) {
        Some((list, index)) if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => {
            [list, index].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect()
        }
        _ => vec![step],
    };
    let path_of_steps: Vec<String> = steps(path).into_iter().flat_map(indexed).collect();
    let wrong = |what: String| RenderError::new(at.clone(), what);
    let Some(field) = lookup(&object.node, &path_of_steps) else {
        return Err(wrong(format!("{} has no {path} for the var {}", object.id(), var.name)));
    };
    let Some(scalar) = field.as_scalar() else { return Ok(None) };
    known(scalar).map(Some).map_err(|why| wrong(format!("{path} of {}: {why}", object.id())))
}

fn known(scalar: &Scalar) -> Result<Known, String> {
    let text = &scalar.text;
    let number = || format!("{text:?} is a number in a form that a var cannot take");
    let (whole, within) = match scalar.value()? {
        Value::Bool(flag) => (Scalar::plain(flag.to_string()), flag.to_string()),
        Value::Number(found) if found.is_f64() => {
            let float: f64 = text.parse().map_err(|_| number())?;
            (Scalar::plain(float.to_string()), go_float(float))
        }
        Value::Number(_) => {
            let integer: i64 = text.parse().map_err(|_| number())?;
            (Scalar::plain(integer.to_string()), integer.to_string())
        }
        _ => (Scalar::string(text.clone()), text.to_string()),
    };
    Ok(Known { whole, within })
}

/// As Go prints a number that may be of any type.
fn go_float(float: f64) -> String {
    if float == 0.0 || (1e-4..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

type Values<'a> = BTreeMap<&'a str, Option<Known>>;

/// A text, the texts in a list, or those of a map.
fn set(field: &mut Node, values: &Values<'_>, build: &mut Build<'_>, at: &Origin) -> Result<(), String> {
    let mut put = |scalar: &mut Scalar| {
        *scalar = expanded(&scalar.text, values);
        build.spend(scalar.text.len(), at).map_err(|error| error.what)
    };
    match &mut field.body {
        Body::Scalar(scalar) if is_text(scalar) => put(scalar),
        Body::Scalar(_) => Ok(()),
        Body::List(items) => items.iter_mut().try_for_each(|item| match &mut item.body {
            Body::Scalar(scalar) if is_text(scalar) => put(scalar),
            _ => Err("where there are vars, its items are texts: quote the others".to_owned()),
        }),
        Body::Map(entries) => entries.iter_mut().try_for_each(|Entry { key, value, .. }| match &mut value.body {
            _ if !is_text(key) => Err(format!("where there are vars, its keys are texts: quote {}", key.text)),
            Body::Scalar(scalar) if is_text(scalar) => put(scalar),
            _ => Ok(()),
        }),
    }
}

fn is_text(scalar: &Scalar) -> bool {
    match &scalar.form {
        Form::Quoted | Form::Folded => true,
        Form::Core(tag) => &**tag == "str",
        Form::Foreign => false,
        Form::Plain => time(&scalar.text).is_none() && matches!(scalar.value(), Ok(Value::String(_))),
    }
}

/// `$(NAME)` becomes the value of a var, if there is one of that name; `$$` a dollar.
fn expanded(text: &str, values: &Values<'_>) -> Scalar {
    let of = |name: &str| values.get(name).and_then(Option::as_ref);
    let mut into = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        into.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let reference = rest.strip_prefix("$(").and_then(|inner| inner.find(')').map(|end| (&inner[..end], end + 3)));
        let length = match reference {
            Some((name, length)) => match of(name) {
                Some(known) if length == text.len() => return known.whole.clone(),
                Some(known) => {
                    into.push_str(&known.within);
                    length
                }
                None => {
                    into.push_str(&rest[..length]);
                    length
                }
            },
            None if rest.starts_with("$$") => {
                into.push('$');
                2
            }
            None => {
                into.push('$');
                1
            }
        };
        rest = &rest[length..];
    }
    into.push_str(rest);
    Scalar::string(into)
}
