//! GET of `verdicts/POD`.

use super::body::Body;
use super::path::ResourcePath;
use super::{respond, style};
use crate::api::error::{ApiError, Target};
use crate::apiserver::ApiServer;
use crate::apiserver::resources::view::View;
use crate::store;
use http::request::Parts;
use http::{Method, Response, StatusCode};

const PODS: Target<'static> = Target { group: "", resource: "pods", kind: "Pod" };
const VERDICTS: Target<'static> = Target { group: "selkie.dev", resource: "verdicts", kind: "Verdict" };

impl ApiServer {
    /// What the scheduler last said of the pod that has this name now.
    pub(super) fn verdict(&self, path: &ResourcePath<'_>, parts: &Parts) -> Result<Response<Body>, ApiError> {
        if path.namespace.is_empty() || path.name.is_empty() || !path.subresource.is_empty() {
            return Err(ApiError::no_such_resource());
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
        let key = store::key("", "pods", path.namespace, path.name);
        let pod = self.view().get(&key).ok_or_else(|| ApiError::not_found(PODS, path.name))?;
        let said = self.verdicts.of(&pod.envelope.uid).ok_or_else(|| ApiError::not_found(VERDICTS, path.name))?;
        let value = serde_json::to_value(&*said).map_err(ApiError::internal)?;
        Ok(respond::json(StatusCode::OK, &value, style(parts)))
    }
}
