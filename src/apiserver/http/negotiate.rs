//! Accept and Content-Type: which form a response takes, how a body is read.

use crate::api::error::{ApiError, Details};
use crate::api::schema::decode::Encoding;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// The form of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepts {
    pub shape: Shape,
    pub yaml: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    #[default]
    Object,
    Table,
    /// PartialObjectMetadata, for lists PartialObjectMetadataList.
    Metadata,
}

/// The first acceptable clause of the Accept header; without one, JSON.
pub fn accepts(headers: &HeaderMap) -> Result<Accepts, ApiError> {
    let Some(header) = headers.get(ACCEPT).and_then(|value| value.to_str().ok()) else { return Ok(Accepts::default()) };
    let mut clauses = header.split(',').map(str::trim).filter(|clause| !clause.is_empty()).peekable();
    if clauses.peek().is_none() {
        return Ok(Accepts::default());
    }
    clauses.find_map(clause).ok_or_else(not_acceptable)
}

/// 406: no form that is asked for can be given.
pub fn not_acceptable() -> ApiError {
    let message = "only the following media types are accepted: application/json, application/yaml";
    ApiError::new(406, "NotAcceptable", message).with_details(Details::default())
}

fn clause(clause: &str) -> Option<Accepts> {
    let mut parts = clause.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "application/*" | "*/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let (mut shape, mut version, mut group) = (None, None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("as", name)) => shape = Some(name),
            Some(("v", name)) => version = Some(name),
            Some(("g", name)) => group = Some(name),
            _ => {}
        }
    }
    let shape = match (shape, version, group) {
        (None, ..) => Shape::Object,
        (Some("Table"), Some("v1"), Some("meta.k8s.io")) => Shape::Table,
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1"), Some("meta.k8s.io")) => {
            Shape::Metadata
        }
        _ => return None,
    };
    Some(Accepts { shape, yaml })
}

/// A body's media type without parameters; empty when the header is missing.
pub fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// How a body of this media type is read; a missing type means JSON.
pub fn encoding(media: &str) -> Result<Encoding, ApiError> {
    match media {
        "" | "application/json" | "*/*" => Ok(Encoding::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Encoding::Protobuf),
        _ => Err(ApiError::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
        .with_details(Details::default())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape(accept: &str) -> Option<Accepts> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        accepts(&headers).ok()
    }

    #[test]
    fn picks_the_first_form_it_can_make() {
        let object = Accepts::default();
        assert_eq!(shape("application/vnd.kubernetes.protobuf,application/json"), Some(object));
        assert_eq!(shape("application/vnd.kubernetes.protobuf, */*"), Some(object));
        assert_eq!(shape("application/yaml"), Some(Accepts { yaml: true, ..object }));
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(shape(table), Some(Accepts { shape: Shape::Table, yaml: false }));
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(shape(partial), Some(Accepts { shape: Shape::Metadata, yaml: false }));
        assert_eq!(shape("text/html"), None);
    }
}
