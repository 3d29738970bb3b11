//! Resource requests: method and path to verb, reading verbs to responses.

use super::body::{self, Body, RequestBody};
use super::negotiate::{self, Accepts};
use super::path::{ResourcePath, Route};
use super::query::Query;
use super::respond::{self, Style};
use super::{BODY_LIMIT, CHANGESET_LIMIT, style, watch};
use crate::api::error::ApiError;
use crate::api::registry::{METRICS, Resource};
use crate::apiserver::resources::list::{self, ListOptions};
use crate::apiserver::resources::object::parse;
use crate::apiserver::resources::{At, Done};
use crate::apiserver::{ApiServer, User};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// The verb in the words of authorization.
pub fn name(parts: &Parts, route: &Route<'_>) -> &'static str {
    let Route::Resource(path) = route else {
        return if parts.method == Method::GET { "get" } else { "post" };
    };
    let collection = path.name.is_empty();
    match parts.method {
        Method::GET | Method::HEAD if collection => match path.watch || is_watch(parts.uri.query()) {
            true => "watch",
            false => "list",
        },
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "other",
    }
}

fn is_watch(query: Option<&str>) -> bool {
    query.is_some_and(|raw| raw.contains("watch")) && Query::parse(query).flag("watch")
}

/// A resource request with everything parsed but its body.
pub struct Ask<'a> {
    pub server: &'a Arc<ApiServer>,
    pub user: &'a User,
    pub resource: Arc<Resource>,
    pub path: &'a ResourcePath<'a>,
    pub parts: &'a Parts,
    pub query: Query,
    pub accepts: Accepts,
    pub style: Style,
}

impl ApiServer {
    pub(super) async fn resource<B: RequestBody>(
        self: &Arc<Self>,
        user: &User,
        path: &ResourcePath<'_>,
        parts: Parts,
        body: B,
    ) -> Result<Response<Body>, ApiError> {
        if let ("selkie.dev", "changesets" | "plans") = (path.group, path.resource) {
            if parts.method != Method::POST {
                return Err(ApiError::method_not_allowed());
            }
            let body = body::read(body, CHANGESET_LIMIT).await?;
            return match path.resource {
                "plans" => self.plan(&parts, &body).await,
                _ => self.changeset(&parts, &body).await,
            };
        }
        if let ("selkie.dev", "v1alpha1", "verdicts") = (path.group, path.version, path.resource) {
            return self.verdict(path, &parts);
        }
        let Some(resource) = self.registry.resource(path.group, path.version, path.resource) else {
            let known = self.registry.resources().iter().any(|r| r.group == path.group && r.version == path.version);
            return match known {
                true => Err(ApiError::no_such_resource()),
                false => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
            };
        };
        check_scope(&resource, path, &parts.method)?;
        let ask = Ask {
            server: self,
            user,
            resource,
            path,
            parts: &parts,
            query: Query::parse(parts.uri.query()),
            accepts: negotiate::accepts(&parts.headers)?,
            style: style(&parts),
        };
        if path.subresource == "proxy" {
            return ask.proxy(body).await;
        }
        if parts.method == Method::GET || parts.method == Method::HEAD {
            if ask.resource.group == METRICS {
                return ask.usage().await;
            }
            if ask.resource.kind == "ComponentStatus" {
                return ask.components();
            }
            return ask.read().await.map(|response| ask.warned(response));
        }
        let body = body::read(body, BODY_LIMIT).await?;
        ask.write(body).await.map(|response| ask.warned(response))
    }
}

/// Objects live in a namespace or in none; across namespaces there is only reading.
fn check_scope(resource: &Resource, path: &ResourcePath<'_>, method: &Method) -> Result<(), ApiError> {
    if resource.namespaced != path.namespace.is_empty() {
        return Ok(());
    }
    if !resource.namespaced || !path.name.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(ApiError::method_not_allowed()) }
}

impl Ask<'_> {
    pub(super) fn at(&self) -> At<'_> {
        At { resource: &self.resource, namespace: self.path.namespace, name: self.path.name }
    }

    /// 405 (404 for an unknown subresource) unless the resource has the verb.
    pub(super) fn allowed(&self, verb: &str) -> Result<(), ApiError> {
        let sub = self.path.subresource;
        let has = match sub {
            "" => self.resource.verbs.contains(&verb),
            _ => self.resource.subresource(sub).ok_or_else(ApiError::no_such_resource)?.verbs.contains(&verb),
        };
        if has { Ok(()) } else { Err(ApiError::method_not_allowed()) }
    }

    /// The response with what users of a deprecated version are told.
    fn warned(&self, mut response: Response<Body>) -> Response<Body> {
        if let Some(warning) = self.resource.custom.as_ref().and_then(|custom| custom.warning.clone()) {
            respond::warn(&mut response, &[warning]);
        }
        response
    }

    async fn read(&self) -> Result<Response<Body>, ApiError> {
        let at = self.at();
        if self.path.name.is_empty() {
            let options = self.list_options()?;
            if self.path.watch || self.query.flag("watch") {
                self.allowed("watch")?;
                let watcher = self.server.watch(at, &options).await?;
                return Ok(watch::respond(self.resource.clone(), self.form()?, watcher));
            }
            self.allowed("list")?;
            return self.list(&options).await;
        }
        match self.path.subresource {
            "" => {
                self.allowed("get")?;
                let record = at.get(&self.server.view())?;
                self.object(StatusCode::OK, &record.value.bytes())
            }
            "log" => {
                self.allowed("get")?;
                self.log().await
            }
            "exec" | "attach" | "portforward" => {
                self.allowed("get")?;
                self.connect()
            }
            sub => {
                self.allowed("get")?;
                let record = at.get(&self.server.view())?;
                match sub {
                    "scale" => self.scale(StatusCode::OK, &parse(&record)),
                    "status" | "ephemeralcontainers" | "resize" => self.object(StatusCode::OK, &record.value.bytes()),
                    _ => Err(ApiError::no_such_resource()),
                }
            }
        }
    }

    async fn list(&self, options: &ListOptions) -> Result<Response<Body>, ApiError> {
        let at = self.at();
        let page = match self.server.list(at, options).await {
            Ok(page) => page,
            Err(error) => {
                let mut status = error.to_status();
                let token = options.continued.as_deref().filter(|_| error.code == 410);
                if let Some(fresh) = token.and_then(|token| list::fresh_token(at, token)) {
                    status["metadata"]["continue"] = fresh.into();
                }
                return Ok(respond::status(&error, status, self.style));
            }
        };
        let mut metadata = json!({"resourceVersion": page.revision.to_string()});
        if let Some(token) = page.continued {
            metadata["continue"] = token.into();
        }
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        self.collection(metadata, page.records.iter().map(|record| record.value.bytes()).collect())
    }

    /// A list of objects in the form the client asked for.
    pub(super) fn collection(&self, metadata: Value, values: Vec<Bytes>) -> Result<Response<Body>, ApiError> {
        let parts = self.form()?.list(&self.resource, metadata, values);
        if self.style.is_raw() {
            return Ok(respond::build(StatusCode::OK, "application/json", Body::parts(parts)));
        }
        Ok(respond::json(StatusCode::OK, &serde_json::from_slice(&parts.concat()).unwrap_or_default(), self.style))
    }

    pub(super) fn done(&self, code: StatusCode, done: Done) -> Result<Response<Body>, ApiError> {
        let mut response = self.object(code, &done.record.value.bytes())?;
        respond::warn(&mut response, &done.warnings);
        Ok(response)
    }

    /// The Scale of a workload.
    pub(super) fn scale(&self, code: StatusCode, object: &Value) -> Result<Response<Body>, ApiError> {
        Ok(respond::json(code, &self.form()?.scale(self.resource.rules.scale(object)), self.style))
    }

    /// An object in the form the client asked for.
    pub(super) fn object(&self, code: StatusCode, value: &Bytes) -> Result<Response<Body>, ApiError> {
        Ok(respond::bytes(code, self.form()?.one(&self.resource, value, true), self.style))
    }
}
