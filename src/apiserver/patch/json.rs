//! JSON patch (RFC 6902), with Kubernetes' limit and answers.

use crate::api::error::ApiError;
use serde_json::Value;

/// More operations than this are refused.
const LIMIT: usize = 10_000;

pub fn apply(current: &Value, patch: &Value) -> Result<Value, ApiError> {
    let Value::Array(operations) = patch else {
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            super::merge::type_name(patch)
        )));
    };
    if operations.len() > LIMIT {
        let why = format!("The allowed maximum operations in a JSON patch is {LIMIT}, got {}", operations.len());
        return Err(ApiError::new(413, "RequestEntityTooLarge", why));
    }
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let mut result = current.clone();
    json_patch::patch(&mut result, &operations)
        .map_err(|_| ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request"))?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_apply_in_order() {
        let patch = json!([{"op": "test", "path": "/a", "value": 1}, {"op": "replace", "path": "/a", "value": 2},
            {"op": "add", "path": "/l/-", "value": 3}, {"op": "remove", "path": "/b"}]);
        let result = apply(&json!({"a": 1, "b": 1, "l": []}), &patch).unwrap();
        assert_eq!(result, json!({"a": 2, "l": [3]}));
    }

    #[test]
    fn failures_have_their_codes() {
        let code = |patch: Value| apply(&json!({"a": 1}), &patch).unwrap_err().code;
        assert_eq!(code(json!([{"op": "test", "path": "/a", "value": 2}])), 422);
        assert_eq!(code(json!([{"op": "remove", "path": "/x"}])), 422);
        assert_eq!(code(json!({"op": "remove"})), 400);
        assert_eq!(code(json!([{"op": "burn", "path": "/x"}])), 400);
        assert_eq!(code(json!(vec![json!({"op": "test", "path": "/a", "value": 1}); LIMIT + 1])), 413);
    }
}
