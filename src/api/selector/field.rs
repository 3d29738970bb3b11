//! Field selectors: `metadata.name=web,status.phase!=Failed` over an object's selectable fields.

use crate::api::error::ApiError;
use crate::api::kinds::Kind;
use crate::api::meta::Envelope;

/// All terms hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

/// One field is, or is not, a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub field: String,
    pub equal: bool,
    pub value: String,
}

impl FieldSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The text form of `fieldSelector=`, for a kind. Errors are the 400 of Kubernetes, those on
    /// fields the kind does not select by included.
    pub fn parse(text: &str, rules: &dyn Kind) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let (field, equal, value) = split_operator(part).ok_or_else(|| {
                ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"))
            })?;
            let value = unescape(value).map_err(ApiError::bad_request)?;
            let known = matches!(field, "metadata.name" | "metadata.namespace") || rules.selects(field);
            if !known {
                return Err(ApiError::bad_request(rules.unknown_field(field)));
            }
            let field = rules.field_alias(field).unwrap_or(field);
            terms.push(Term { field: field.into(), equal, value });
        }
        Ok(Self { terms })
    }

    /// A field the object does not have reads as the empty string.
    pub fn matches(&self, object: &Envelope) -> bool {
        self.terms.iter().all(|term| (value(object, &term.field) == term.value) == term.equal)
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value the selector demands of a field, e.g. the one name of `metadata.name=web`.
    pub fn requires(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    pub fn terms(&self) -> &[Term] {
        &self.terms
    }
}

fn value<'a>(object: &'a Envelope, field: &str) -> &'a str {
    match field {
        "metadata.name" => &object.name,
        "metadata.namespace" => &object.namespace,
        field => object.fields.iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value),
    }
}

/// Cuts at commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.char_indices().find(|(at, c)| *c == '=' || term[*at..].starts_with("!=")).map(|(at, _)| at)?;
    let (field, rest) = term.split_at(at);
    let (equal, value) = match rest.strip_prefix("!=") {
        Some(value) => (false, value),
        None => (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).unwrap_or(rest)),
    };
    Some((field, equal, value))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(format!("invalid field selector: invalid escape sequence: \\{other}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".into()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            plain_char => plain.push(plain_char),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::kinds::Column;
    use crate::api::kinds::generic::Generic;
    use serde_json::Value;

    struct Pods;
    impl Kind for Pods {
        fn field_names(&self) -> &'static [&'static str] {
            &["spec.nodeName", "status.phase"]
        }
        fn unknown_field(&self, field: &str) -> String {
            format!("field label not supported: {field}")
        }
        fn columns(&self) -> Vec<Column> {
            Vec::new()
        }
        fn row(&self, _: &Value, _: jiff::Timestamp) -> Vec<Value> {
            Vec::new()
        }
    }

    fn pod() -> Envelope {
        Envelope {
            name: "web".into(),
            namespace: "default".into(),
            fields: vec![("spec.nodeName", "n1".into()), ("status.phase", "Running".into())],
            ..Envelope::default()
        }
    }

    #[test]
    fn terms_match_the_envelope() {
        let matches = |text: &str| FieldSelector::parse(text, &Pods).unwrap().matches(&pod());
        for yes in
            ["", "metadata.name=web", "metadata.namespace==default", "spec.nodeName=n1,status.phase!=Failed", ","]
        {
            assert!(matches(yes), "{yes}");
        }
        for no in ["metadata.name!=web", "spec.nodeName=", "status.phase=Failed,metadata.name=web"] {
            assert!(!matches(no), "{no}");
        }
        let selector = FieldSelector::parse("metadata.name=web,status.phase!=x", &Pods).unwrap();
        assert_eq!((selector.requires("metadata.name"), selector.requires("status.phase")), (Some("web"), None));
        assert_eq!(FieldSelector::parse("metadata.name=a\\,b\\=c", &Pods).unwrap().terms()[0].value, "a,b=c");
    }

    #[test]
    fn errors_read_as_those_of_kubernetes() {
        let generic = Generic { status: false, generation: false };
        let error = |text: &str, rules: &dyn Kind| FieldSelector::parse(text, rules).unwrap_err().message;
        assert_eq!(error("foo=x", &Pods), "field label not supported: foo");
        assert_eq!(
            error("zz=1", &generic),
            "\"zz\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert_eq!(error("a=b,foo", &generic_names()), "invalid selector: 'a=b,foo'; can't understand 'foo'");
        assert!(error("metadata.name=a=b", &Pods).contains("unescaped character in value: ="));
        assert!(error("metadata.name=a\\n", &Pods).contains("invalid escape sequence"));
    }

    /// Knows the field `a`.
    fn generic_names() -> impl Kind {
        struct A;
        impl Kind for A {
            fn field_names(&self) -> &'static [&'static str] {
                &["a"]
            }
            fn columns(&self) -> Vec<Column> {
                Vec::new()
            }
            fn row(&self, _: &Value, _: jiff::Timestamp) -> Vec<Value> {
                Vec::new()
            }
        }
        A
    }
}
