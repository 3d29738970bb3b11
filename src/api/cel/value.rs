//! Values of expressions. Objects and lists of a custom resource stay where they are, with the
//! schema that says what their scalars mean.

use super::duration;
use crate::api::quantity::Quantity;
use crate::api::schema::{Schema, Shape};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

#[derive(Debug, Clone)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Rc<[u8]>),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<Vec<(Val<'a>, Val<'a>)>>),
    /// An object or a list of the resource.
    Json(&'a Value, Option<&'a Schema>),
    /// Nanoseconds.
    Duration(i64),
    Time(Timestamp),
    Optional(Option<Rc<Val<'a>>>),
    Type(&'static str),
    Quantity(Quantity),
    Url(Rc<super::net::Url>),
    Ip(IpAddr),
    Cidr(IpAddr, u8),
    Semver(Rc<super::net::Semver>),
}

/// Why an expression has no value.
#[derive(Debug, Clone)]
pub enum Fault {
    Error(String),
    /// It took too many steps.
    Budget,
}

pub type Outcome<'a> = Result<Val<'a>, Fault>;

/// A failed operation.
pub fn error<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Error(why.into()))
}

/// An operation on values that it is not made for.
pub fn no_overload<T>() -> Result<T, Fault> {
    error("no such overload")
}

/// A value of the resource under its schema.
pub fn load<'a>(value: &'a Value, schema: Option<&'a Schema>) -> Val<'a> {
    match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Number(number) => {
            let double = schema.is_some_and(|schema| matches!(schema.shape, Shape::Number));
            match number.as_i64().filter(|_| !double) {
                Some(number) => Val::Int(number),
                None => Val::Double(number.as_f64().unwrap_or_default()),
            }
        }
        Value::String(text) => typed(text, schema),
        Value::Array(_) | Value::Object(_) => Val::Json(value, schema),
    }
}

fn typed<'a>(text: &'a str, schema: Option<&Schema>) -> Val<'a> {
    use crate::api::schema::custom::Format;
    let parsed = match schema.and_then(|schema| schema.checks.as_ref()?.format) {
        Some(Format::DateTime) => text.parse().ok().map(Val::Time),
        Some(Format::Date) => format!("{text}T00:00:00Z").parse().ok().map(Val::Time),
        Some(Format::Duration) => duration::parse(text).map(Val::Duration),
        _ => None,
    };
    // Metadata of Kubernetes' own has times too.
    let parsed = parsed.or_else(|| match schema.map(|schema| &schema.shape) {
        Some(Shape::Time | Shape::MicroTime) => text.parse().ok().map(Val::Time),
        _ => None,
    });
    parsed.unwrap_or(Val::Text(Cow::Borrowed(text)))
}

impl<'a> Val<'a> {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    pub fn list(items: Vec<Val<'a>>) -> Self {
        Self::List(Rc::new(items))
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) | Self::Json(Value::Array(_), _) => "list",
            Self::Map(_) | Self::Json(..) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(..) => "net.CIDR",
            Self::Semver(_) => "kubernetes.Semver",
        }
    }

    /// The elements, if this is a list.
    pub fn items(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Self::List(items) => Some(items.to_vec()),
            Self::Json(Value::Array(items), schema) => {
                let of_item = schema.and_then(|schema| match &schema.shape {
                    Shape::List { items, .. } => Some(items.as_ref()),
                    _ => None,
                });
                Some(items.iter().map(|item| load(item, of_item)).collect())
            }
            _ => None,
        }
    }

    /// The keys, if this is a map.
    pub fn keys(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Self::Map(entries) => Some(entries.iter().map(|(key, _)| key.clone()).collect()),
            Self::Json(Value::Object(fields), _) => {
                Some(fields.keys().map(|key| Val::Text(Cow::Borrowed(key.as_str()))).collect())
            }
            _ => None,
        }
    }

    /// How many elements, entries, characters or bytes.
    pub fn size(&self) -> Option<usize> {
        Some(match self {
            Self::Text(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.len(),
            Self::Map(entries) => entries.len(),
            Self::Json(Value::Array(items), _) => items.len(),
            Self::Json(Value::Object(fields), _) => fields.len(),
            _ => return None,
        })
    }

    /// The value of a field or of a key that is text.
    pub fn get(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Self::Map(entries) => {
                entries.iter().find(|(key, _)| matches!(key, Val::Text(key) if key == name)).map(|(_, v)| v.clone())
            }
            Self::Json(Value::Object(fields), schema) => {
                let found = |name: &str| fields.get_key_value(name);
                let (name, value) = found(name).or_else(|| found(&unescape(name)?))?;
                let below = schema.and_then(|schema| match &schema.shape {
                    Shape::Object(shape) => shape.fields.get(name.as_str()).map(|field| field.schema.as_ref()),
                    Shape::Map { values, .. } => Some(values.as_ref()),
                    _ => None,
                });
                Some(load(value, below))
            }
            _ => None,
        }
    }

    /// Equality as CEL has it: numbers of any type compare, other types differ.
    pub fn is(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Self::Null, Val::Null) => true,
            (Self::Bool(a), Val::Bool(b)) => a == b,
            (Self::Text(a), Val::Text(b)) => a == b,
            (Self::Bytes(a), Val::Bytes(b)) => a == b,
            (Self::Type(a), Val::Type(b)) => a == b,
            (Self::Duration(a), Val::Duration(b)) => a == b,
            (Self::Time(a), Val::Time(b)) => a == b,
            (Self::Quantity(a), Val::Quantity(b)) => a == b,
            (Self::Url(a), Val::Url(b)) => a == b,
            (Self::Ip(a), Val::Ip(b)) => a == b,
            (Self::Cidr(a, n), Val::Cidr(b, m)) => a == b && n == m,
            (Self::Semver(a), Val::Semver(b)) => a.compare(b) == Ordering::Equal,
            (Self::Optional(None), Val::Optional(None)) => true,
            (Self::Optional(Some(a)), Val::Optional(Some(b))) => a.is(b),
            (Self::Int(_) | Self::Uint(_) | Self::Double(_), Val::Int(_) | Val::Uint(_) | Val::Double(_)) => {
                self.order(other) == Some(Ordering::Equal)
            }
            _ => match (self.items(), other.items(), self.keys(), other.keys()) {
                (Some(a), Some(b), ..) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.is(b)),
                (_, _, Some(a), Some(b)) => {
                    a.len() == b.len()
                        && a.iter().all(|key| {
                            let Val::Text(name) = key else {
                                return self.at(key).zip(other.at(key)).is_some_and(|(a, b)| a.is(&b));
                            };
                            self.get(name).zip(other.get(name)).is_some_and(|(a, b)| a.is(&b))
                        })
                }
                _ => false,
            },
        }
    }

    /// The entry of a map under any key.
    pub fn at(&self, key: &Val<'_>) -> Option<Val<'a>> {
        match (self, key) {
            (_, Val::Text(name)) => self.get(name),
            (Self::Map(entries), key) => {
                entries.iter().find(|(known, _)| known.is(key)).map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }

    /// The order of two values that have one.
    pub fn order(&self, other: &Val<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Val::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Val::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(a), Val::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Val::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Double(a), b) => a.partial_cmp(&b.as_double()?),
            (a, Val::Double(b)) => a.as_double()?.partial_cmp(b),
            (Self::Text(a), Val::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Val::Bytes(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Val::Duration(b)) => Some(a.cmp(b)),
            (Self::Time(a), Val::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn as_double(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// As `string()` writes it.
    pub fn print(&self) -> Option<String> {
        Some(match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Uint(number) => number.to_string(),
            Self::Double(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
            Self::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
            Self::Duration(nanos) => duration::print(*nanos),
            Self::Time(time) => time.to_string(),
            Self::Quantity(quantity) => quantity.to_string(),
            Self::Url(url) => url.text.clone(),
            Self::Ip(ip) => ip.to_string(),
            Self::Cidr(ip, bits) => format!("{ip}/{bits}"),
            Self::Semver(version) => version.text.clone(),
            _ => return None,
        })
    }
}

/// The name of a property that is no identifier of CEL: `__dash__` stands for `-`.
pub fn unescape(name: &str) -> Option<String> {
    if !name.contains("__") {
        return None;
    }
    let plain = name
        .replace("__underscores__", "\0")
        .replace("__dot__", ".")
        .replace("__dash__", "-")
        .replace("__slash__", "/");
    let plain = plain.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")).unwrap_or(&plain);
    Some(plain.replace('\0', "__"))
}
