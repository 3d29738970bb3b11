//! What the server says about itself: version, health, metrics.

use super::body::Body;
use super::path::Route;
use super::respond;
use super::style;
use crate::api::error::ApiError;
use crate::apiserver::{ApiServer, KUBERNETES_VERSION};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// Documents made once and served often.
#[derive(Default)]
pub struct Documents {}

impl ApiServer {
    pub(super) fn document(&self, route: &Route<'_>, parts: &Parts) -> Result<Response<Body>, ApiError> {
        let style = style(parts);
        match route {
            Route::Version => Ok(respond::json(StatusCode::OK, &version(), style)),
            Route::Metrics => Ok(respond::text(StatusCode::OK, self.metrics.render())),
            Route::Health(..) => Ok(respond::text(StatusCode::OK, "ok")),
            _ => Err(ApiError::no_such_resource()),
        }
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": KUBERNETES_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}
