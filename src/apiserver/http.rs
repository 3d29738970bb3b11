//! From an HTTP request to a verb and back. Everything above the wire: routing, negotiation,
//! discovery, the forms of responses.

pub mod body;
mod components;
mod discovery;
mod documents;
mod forms;
mod git;
mod hooks;
mod kubelet;
pub mod negotiate;
pub mod openapi;
mod options;
pub mod path;
mod proxy;
pub mod query;
mod respond;
mod reviews;
mod serve;
mod service;
mod streams;
mod tokens;
mod unread;
mod usage;
mod verbs;
mod verdicts;
mod watch;
mod write;
mod yaml;

use super::auth::{self, Attributes};
use super::{ApiServer, User};
use crate::api::error::ApiError;
use body::{Body, RequestBody};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use path::{ResourcePath, Route};
use query::Query;
use respond::Style;
use std::sync::Arc;

/// The largest body of an ordinary request, and of a change set.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// As large as a source may be, and what its history keeps of it: 24 MiB, more by a third as text.
const CHANGESET_LIMIT: usize = (64 + 40) * 1024 * 1024;
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

impl ApiServer {
    /// Answers a request of an authenticated user. Never fails: errors are responses.
    pub async fn handle<B: RequestBody>(self: &Arc<Self>, user: &User, request: Request<B>) -> Response<Body> {
        let started = tokio::time::Instant::now();
        let (parts, body) = request.into_parts();
        let decoded = query::decode(parts.uri.path(), false);
        let route = path::parse(&decoded);
        let style = style(&parts);
        let verb = verbs::name(&parts, &route);
        let head = parts.method == Method::HEAD;
        let answer = self.route(user, &route, parts, body).await;
        let response = answer.unwrap_or_else(|error| respond::error(&error, style));
        let response = if head { respond::headers_only(response) } else { response };
        let resource = if let Route::Resource(path) = &route { path.resource } else { "" };
        // Strangers must not be able to invent label values.
        let resource = if response.status() == StatusCode::NOT_FOUND { "" } else { resource };
        self.metrics.request(verb, resource, response.status().as_u16(), started.elapsed());
        response
    }

    /// Answers a request as whoever its credentials name.
    pub async fn handle_authenticated<B: RequestBody>(self: &Arc<Self>, request: Request<B>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match path::parse(&path) {
            Route::Hook(name) => return self.hook(name, request).await,
            Route::Git(name, rest) => return self.git(name, rest, request).await,
            _ => {}
        }
        let acting = match self.authenticate(&request) {
            Ok(Some(user)) => self.acting(user, request.headers()),
            Ok(None) if auth::is_public(&path::parse(request.uri().path())) => Ok(Arc::new(User::anonymous())),
            Ok(None) => Err(auth::unauthorized()),
            Err(error) => Err(error),
        };
        let mut response = match acting {
            Ok(user) => self.handle(&user, request).await,
            Err(error) => respond::error(&error, Style::default()),
        };
        // A client that reports a failure can name the request.
        if let Ok(id) = HeaderValue::from_str(&self.ids.uid()) {
            response.headers_mut().insert(AUDIT_ID, id);
        }
        response
    }

    async fn route<B: RequestBody>(
        self: &Arc<Self>,
        user: &User,
        route: &Route<'_>,
        parts: Parts,
        body: B,
    ) -> Result<Response<Body>, ApiError> {
        match route {
            Route::Resource(path) => {
                let verb = verbs::name(&parts, route);
                self.authorize(user, &attributes(verb, path))?;
                if verb == "get" && connects(path) {
                    // A WebSocket begins with a GET; what then happens is no reading.
                    self.authorize(user, &attributes("create", path))?;
                }
                self.resource(user, path, parts, body).await
            }
            Route::Unknown => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
            _ => {
                let verb = parts.method.as_str().to_ascii_lowercase();
                let asked = Attributes { verb: &verb, path: parts.uri.path(), ..Attributes::default() };
                if !auth::is_public(route) {
                    self.authorize(user, &asked)?;
                }
                self.document(route, &parts)
            }
        }
    }
}

/// Whether the path is of a command or a connection.
fn connects(path: &ResourcePath<'_>) -> bool {
    let first = path.rest.trim_start_matches('/').split('/').next().unwrap_or_default();
    match (path.group, path.resource, path.subresource) {
        ("", "pods", "exec" | "attach" | "portforward") => true,
        ("", "nodes", "proxy") => matches!(first, "exec" | "attach"),
        _ => false,
    }
}

fn attributes<'a>(verb: &'a str, path: &ResourcePath<'a>) -> Attributes<'a> {
    Attributes {
        verb,
        group: path.group,
        resource: path.resource,
        subresource: path.subresource,
        namespace: path.namespace,
        name: path.name,
        path: "",
    }
}

/// How errors are written, whatever else the request says.
fn style(parts: &Parts) -> Style {
    let agent = parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let human = ["curl", "Wget", "Mozilla"].iter().any(|name| agent.starts_with(name));
    let asked = parts.uri.query().is_some_and(|raw| raw.contains("pretty"));
    let pretty = if asked { Query::parse(parts.uri.query()).flag_given("pretty") } else { None };
    let accepts = negotiate::accepts(&parts.headers).unwrap_or_default();
    Style::new(accepts, pretty.unwrap_or(human))
}
