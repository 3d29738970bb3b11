//! What label keys and values may be, with the texts of Kubernetes.

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// What is wrong with a label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push("must be no more than 63 bytes".to_string());
    }
    if !value.is_empty() && !is_part(value) {
        errors.push(LABEL_VALUE.to_string());
    }
    errors
}

/// What is wrong with a label's key: `[prefix/]name`.
pub fn qualified(key: &str) -> Vec<String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let mut errors = Vec::new();
    match prefix {
        Some("") => errors.push("prefix part must be non-empty".to_string()),
        Some(prefix) if prefix.contains('/') || prefix.len() > 253 || !prefix.split('.').all(is_part) => {
            errors.push("prefix part must be a lowercase RFC 1123 subdomain of at most 253 bytes".to_string());
        }
        _ => {}
    }
    match name {
        "" => errors.push("name part must be non-empty".to_string()),
        name if name.len() > 63 => errors.push("name part must be no more than 63 bytes".to_string()),
        name if !is_part(name) => errors.push(NAME_PART.to_string()),
        _ => {}
    }
    errors
}
