//! `componentstatuses`: how what a control plane is made of is. It is one process here: whoever gets an answer
//! hears that it is well. Deprecated in Kubernetes, and still asked for.

use super::body::Body;
use super::respond;
use super::verbs::Ask;
use crate::api::error::ApiError;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

/// In the names that Kubernetes has for them.
const COMPONENTS: [&str; 3] = ["scheduler", "controller-manager", "etcd-0"];
const DEPRECATED: &str = "v1 ComponentStatus is deprecated in v1.19+";

impl Ask<'_> {
    pub(super) fn components(&self) -> Result<Response<Body>, ApiError> {
        let path = self.path;
        if !path.subresource.is_empty() {
            return Err(ApiError::no_such_resource());
        }
        let mut response = match path.name {
            _ if path.watch || self.query.flag("watch") => return Err(ApiError::method_not_allowed()),
            "" => self.collection(json!({}), COMPONENTS.map(component).to_vec())?,
            name if COMPONENTS.contains(&name) => self.object(StatusCode::OK, &component(name))?,
            name => return Err(ApiError::not_found(self.at().target(), name)),
        };
        respond::warn(&mut response, &[DEPRECATED.to_owned()]);
        Ok(response)
    }
}

fn component(name: &str) -> Bytes {
    let healthy = json!({"type": "Healthy", "status": "True", "message": "ok"});
    let object =
        json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [healthy]});
    object.to_string().into()
}
