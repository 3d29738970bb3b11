//! What the server says about itself: version, health, metrics, the paths it has.

use super::body::Body;
use super::path::Route;
use super::respond;
use super::style;
use crate::api::error::ApiError;
use crate::apiserver::auth::accounts;
use crate::apiserver::{ApiServer, KUBERNETES_VERSION};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

const PATHS: [&str; 12] = [
    "/.well-known/openid-configuration",
    "/api",
    "/api/v1",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
];

impl ApiServer {
    pub(super) fn document(&self, route: &Route<'_>, parts: &Parts) -> Result<Response<Body>, ApiError> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(ApiError::method_not_allowed());
        }
        let style = style(parts);
        let found = match route {
            Route::Root => Some(respond::json(StatusCode::OK, &json!({"paths": PATHS}), style)),
            Route::Version => Some(respond::json(StatusCode::OK, &version(), style)),
            Route::Metrics => Some(respond::text(StatusCode::OK, self.metrics.render())),
            Route::Health(name, check) => self.health(name, check, parts),
            Route::Api => Some(self.discover_groups(true, parts, style)),
            Route::Apis => Some(self.discover_groups(false, parts, style)),
            Route::Group(name) => self.discover_group(name, style),
            Route::GroupVersion(group, version) => self.discover_resources(group, version, style),
            Route::OpenApiV2 => Some(self.openapi_v2()),
            Route::OpenApiV3(path) => self.openapi_v3(path, parts),
            Route::OpenIdConfiguration => Some(respond::json(StatusCode::OK, &accounts::discovery(), style)),
            Route::KeySet => {
                self.account_keys.as_ref().map(|keys| respond::json(StatusCode::OK, &keys.key_set(), style))
            }
            Route::Resource(_) | Route::Hook(_) | Route::Git(..) | Route::Unknown => None,
        };
        Ok(found.unwrap_or_else(|| respond::text(StatusCode::NOT_FOUND, "404 page not found\n")))
    }

    /// `/readyz` and its like: the server answers, so it is alive; it is ready while the store is.
    fn health(&self, name: &str, check: &str, parts: &Parts) -> Option<Response<Body>> {
        let store = self.is_ready();
        let checks: &[(&str, bool)] = match name {
            "livez" => &[("ping", true)],
            _ => &[("ping", true), ("store", store)],
        };
        if !check.is_empty() {
            let (_, ok) = checks.iter().find(|(name, _)| *name == check)?;
            return Some(plain(*ok, if *ok { "ok" } else { "not ok" }));
        }
        let ok = checks.iter().all(|(_, ok)| *ok);
        if ok && !parts.uri.query().unwrap_or_default().contains("verbose") {
            return Some(plain(true, "ok"));
        }
        let mut text = String::new();
        for (name, ok) in checks {
            text.push_str(&if *ok {
                format!("[+]{name} ok\n")
            } else {
                format!("[-]{name} failed: reason withheld\n")
            });
        }
        text.push_str(&format!("{name} check {}\n", if ok { "passed" } else { "failed" }));
        Some(plain(ok, &text))
    }
}

fn plain(ok: bool, text: &str) -> Response<Body> {
    let code = if ok { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    respond::text(code, text.to_string())
}

fn version() -> Value {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": KUBERNETES_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": format!("linux/{machine}"),
    })
}
