//! Resource requests: method and path to verb, parameters to options, outcome to response.

use super::body::{self, Body};
use super::forms::{Form, Include};
use super::negotiate::{self, Accepts};
use super::path::{ResourcePath, Route};
use super::query::Query;
use super::respond::{self, Style};
use super::{BODY_LIMIT, style, watch};
use crate::api::error::{ApiError, FieldError};
use crate::api::registry::Resource;
use crate::apiserver::resources::codec::{self, Payload};
use crate::apiserver::resources::delete::{self, DeleteOptions, options_target};
use crate::apiserver::resources::list::{self, ListOptions};
use crate::apiserver::resources::select::Selection;
use crate::apiserver::resources::update::Part;
use crate::apiserver::resources::view::View;
use crate::apiserver::resources::{At, Done, FieldValidation, Prepared, WriteOptions, Writer};
use crate::apiserver::{ApiServer, User};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

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
    pub(super) async fn resource<B>(
        self: &Arc<Self>,
        user: &User,
        path: &ResourcePath<'_>,
        parts: Parts,
        body: B,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(resource) = self.registry.resource(path.group, path.version, path.resource) else {
            let known = self.registry.resources().iter().any(|r| r.group == path.group && r.version == path.version);
            return match known {
                true => Err(ApiError::no_such_resource()),
                false => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
            };
        };
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
        if parts.method == Method::GET {
            return ask.read().await;
        }
        let body = body::read(body, BODY_LIMIT).await?;
        ask.write(body).await
    }
}

impl Ask<'_> {
    fn at(&self) -> At<'_> {
        At { resource: &self.resource, namespace: self.path.namespace, name: self.path.name }
    }

    fn allowed(&self, verb: &str) -> Result<(), ApiError> {
        if self.resource.verbs.contains(&verb) { Ok(()) } else { Err(ApiError::method_not_allowed()) }
    }

    async fn read(&self) -> Result<Response<Body>, ApiError> {
        let at = self.at();
        if self.path.name.is_empty() {
            let options = self.list_options()?;
            if self.path.watch || self.query.flag("watch") {
                self.allowed("watch")?;
                let watcher = self.server.watch(at, &options)?;
                return Ok(watch::respond(self.resource.clone(), self.form()?, watcher));
            }
            self.allowed("list")?;
            return self.list(&options).await;
        }
        match self.path.subresource {
            "" | "status" => {
                self.allowed("get")?;
                let record = at.get(&self.server.view())?;
                Ok(self.object(StatusCode::OK, &record.value)?)
            }
            _ => Err(ApiError::no_such_resource()),
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
        let values = page.records.iter().map(|record| record.value.clone()).collect();
        let parts = self.form()?.list(&self.resource, metadata, values);
        if self.style.is_raw() {
            return Ok(respond::build(StatusCode::OK, "application/json", Body::parts(parts)));
        }
        Ok(respond::json(StatusCode::OK, &serde_json::from_slice(&parts.concat()).unwrap_or_default(), self.style))
    }

    async fn write(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let at = self.at();
        let collection = self.path.name.is_empty();
        match (self.parts.method.clone(), collection, self.path.subresource) {
            (Method::POST, true, "") => {
                self.allowed("create")?;
                let (payload, options) = (self.payload(body)?, self.write_options("CreateOptions")?);
                let done = self
                    .perform(&options, move |writer| {
                        let decoded = codec::decode(&self.resource, &payload)?;
                        let mut prepared = writer.create(decoded.object)?;
                        prepared.warnings.extend(decoded.warnings);
                        Ok(prepared)
                    })
                    .await?;
                self.done(StatusCode::CREATED, done)
            }
            (Method::PUT, false, "" | "status" | "finalize") => {
                self.allowed("update")?;
                let part = match self.path.subresource {
                    "status" => Part::Status,
                    "finalize" => Part::Finalize,
                    _ => Part::Main,
                };
                let (payload, options) = (self.payload(body)?, self.write_options("UpdateOptions")?);
                let done = self
                    .perform(&options, move |writer| {
                        let decoded = codec::decode(&self.resource, &payload)?;
                        let mut prepared = writer.update(decoded.object, part)?;
                        prepared.warnings.extend(decoded.warnings);
                        Ok(prepared)
                    })
                    .await?;
                self.done(if done.created { StatusCode::CREATED } else { StatusCode::OK }, done)
            }
            (Method::DELETE, false, "") => {
                self.allowed("delete")?;
                let mut options = self.delete_options()?;
                if !body.is_empty() {
                    options.merge_body(&codec::value(&body, self.encoding()?)?);
                }
                options.validate()?;
                let write = WriteOptions { dry_run: options.dry_run, ..WriteOptions::default() };
                let done = self.perform(&write, |writer| writer.delete(&options)).await?;
                let writer =
                    Writer { server: self.server, view: &self.server.view(), user: self.user, at, options: &write };
                if !done.deleted || writer.answers_object() {
                    return self.done(StatusCode::OK, done);
                }
                Ok(respond::json(StatusCode::OK, &delete::success(&writer, &done.record), self.style))
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Runs a preparation with everything this request brings.
    async fn perform(
        &self,
        options: &WriteOptions,
        mut prepare: impl FnMut(&Writer<'_>) -> Result<Prepared, ApiError> + Send,
    ) -> Result<Done, ApiError> {
        let at = self.at();
        let addresses = self.resource.plural == "services" && self.resource.group.is_empty();
        let _lock = if addresses { Some(self.server.allocation.lock().await) } else { None };
        let prepare = |view: &dyn View| prepare(&Writer { server: self.server, view, user: self.user, at, options });
        self.server.perform(at, options.dry_run, prepare).await
    }

    fn done(&self, code: StatusCode, done: Done) -> Result<Response<Body>, ApiError> {
        let mut response = self.object(code, &done.record.value)?;
        respond::warn(&mut response, &done.warnings);
        Ok(response)
    }

    /// An object in the form the client asked for.
    fn object(&self, code: StatusCode, value: &Bytes) -> Result<Response<Body>, ApiError> {
        Ok(respond::bytes(code, self.form()?.one(&self.resource, value, true), self.style))
    }

    fn form(&self) -> Result<Form, ApiError> {
        let include = match self.query.get("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("Object") => Include::Object,
            Some("None") => Include::None,
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be one of Metadata, Object, None"
                )));
            }
        };
        Ok(Form { shape: self.accepts.shape, include, now: self.server.clock.now() })
    }

    fn encoding(&self) -> Result<negotiate::Encoding, ApiError> {
        negotiate::encoding(negotiate::content_type(&self.parts.headers))
    }

    fn payload(&self, bytes: Bytes) -> Result<Payload, ApiError> {
        Ok(Payload { bytes, encoding: self.encoding()?, validation: self.field_validation("CreateOptions")? })
    }

    fn field_validation(&self, kind: &'static str) -> Result<FieldValidation, ApiError> {
        match self.query.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let error = FieldError::not_supported("fieldValidation", &json!(other), &supported);
                Err(ApiError::invalid(options_target(kind), "", &[error]))
            }
        }
    }

    fn write_options(&self, kind: &'static str) -> Result<WriteOptions, ApiError> {
        let mut errors = Vec::new();
        let dry_run = self.query.all("dryRun").into_iter().filter(|value| !value.is_empty()).collect::<Vec<_>>();
        if let Some(bad) = dry_run.iter().find(|value| *value != "All") {
            errors.push(FieldError::not_supported("dryRun", &json!([bad]), &["All"]));
        }
        let manager = self.query.get("fieldManager").map_or_else(|| self.agent(), str::to_string);
        if manager.len() > 128 {
            errors.push(FieldError::too_long("fieldManager", "may not be more than 128 bytes"));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(options_target(kind), "", &errors));
        }
        Ok(WriteOptions {
            dry_run: !dry_run.is_empty(),
            field_manager: manager,
            field_validation: self.field_validation(kind)?,
            force: self.query.flag("force"),
        })
    }

    /// The manager of requests that name none.
    fn agent(&self) -> String {
        let agent = self.parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        let name = agent.unwrap_or_default().split('/').next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
        if name.is_empty() { "unknown".into() } else { name }
    }

    fn delete_options(&self) -> Result<DeleteOptions, ApiError> {
        Ok(DeleteOptions {
            grace_seconds: self.query.number("gracePeriodSeconds")?,
            uid: None,
            resource_version: None,
            propagation: self.query.get("propagationPolicy").map(str::to_string),
            orphan_dependents: self.query.flag_given("orphanDependents"),
            dry_run: self.write_options("DeleteOptions")?.dry_run,
        })
    }

    fn list_options(&self) -> Result<ListOptions, ApiError> {
        let text = |name: &str| self.query.get(name).map(str::to_string);
        let limit = self.query.number("limit")?.unwrap_or_default();
        let timeout = self.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        Ok(ListOptions {
            resource_version: text("resourceVersion"),
            version_match: text("resourceVersionMatch"),
            limit: usize::try_from(limit).unwrap_or_default(),
            continued: text("continue"),
            selection: Selection::parse(
                &self.resource,
                self.query.get("labelSelector"),
                self.query.get("fieldSelector"),
            )?,
            send_initial_events: self.query.flag_given("sendInitialEvents"),
            bookmarks: self.query.flag("allowWatchBookmarks"),
            timeout: timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        })
    }
}
