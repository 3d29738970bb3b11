//! Writing verbs: bodies to objects, outcomes to responses.

use super::body::Body;
use super::negotiate::{self, Shape};
use super::respond;
use super::verbs::Ask;
use crate::api::changeset::{Author, ChangeSet, ChangeSetSpec};
use crate::api::error::{ApiError, Details, FieldError};
use crate::api::plan::Plan;
use crate::api::schema::decode::{Encoding, FieldValidation};
use crate::apiserver::ApiServer;
use crate::apiserver::admission::quotas;
use crate::apiserver::patch::PatchType;
use crate::apiserver::resources::codec::{self, Payload};
use crate::apiserver::resources::delete::{self, DeleteOptions};
use crate::apiserver::resources::object::parse;
use crate::apiserver::resources::update::Part;
use crate::apiserver::resources::view::View;
use crate::apiserver::resources::{At, Done, Prepared, WriteOptions, Writer};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

const APPLY: &str = "application/apply-patch+yaml";

impl Ask<'_> {
    pub(super) async fn write(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let response = self.write_any(body).await?;
        let dry = self.query.get("dryRun").is_some_and(|value| !value.is_empty());
        if !dry && !self.path.name.is_empty() && matches!(self.path.subresource, "" | "resize" | "scale") {
            let author = Author {
                user: self.user.name.clone(),
                manager: self.query.get("fieldManager").map_or_else(|| self.agent(), str::to_owned),
                method: self.parts.method.to_string(),
                subresource: self.path.subresource.to_owned(),
                time: self.server.clock.now_seconds().to_string(),
            };
            self.server.last_writes.note(self.at().key(), author);
        }
        Ok(response)
    }

    async fn write_any(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let named = !self.path.name.is_empty();
        match (self.parts.method.clone(), named, self.path.subresource) {
            (Method::POST, false, "") => self.create(body).await,
            (Method::POST, true, "binding") => self.bind(body).await,
            (Method::POST, true, "eviction") => self.evict(body).await,
            (Method::POST, true, "token") => self.request_token(body),
            (Method::POST, true, "exec" | "attach" | "portforward") => {
                self.allowed("create")?;
                self.connect()
            }
            (Method::PUT, true, "scale") => self.put_scale(body).await,
            (Method::PUT, true, _) => self.put(body).await,
            (Method::PATCH, true, _) => self.patch(body).await,
            (Method::DELETE, true, "") => self.delete(body).await,
            (Method::DELETE, false, "") => self.delete_collection(body).await,
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Whether the write may take a share of a quota: it makes an object, or gives one more.
    fn may_take(&self) -> bool {
        match self.parts.method {
            Method::POST => true,
            Method::PUT | Method::PATCH if self.path.subresource == "resize" => true,
            // A claim that grows.
            Method::PUT | Method::PATCH if self.resource.plural == "persistentvolumeclaims" => true,
            Method::PATCH => self.path.subresource.is_empty() && negotiate::content_type(&self.parts.headers) == APPLY,
            _ => false,
        }
    }

    /// Runs a preparation with everything this request brings.
    async fn perform(
        &self,
        at: At<'_>,
        options: &WriteOptions,
        mut prepare: impl FnMut(&Writer<'_>) -> Result<Prepared, ApiError> + Send,
    ) -> Result<Done, ApiError> {
        // Addresses are handed out one at a time.
        let addresses = self.resource.plural == "services" && self.resource.group.is_empty();
        // So are shares of a quota: writes that compete for them would mostly be done again.
        let shared = addresses || self.may_take() && quotas::any(&*self.server.store, at.namespace);
        let _lock = if shared { Some(self.server.allocation.lock().await) } else { None };
        let prepare = |view: &dyn View| prepare(&Writer { server: self.server, view, at, options });
        self.server.perform(at, options.dry_run, prepare).await
    }

    async fn create(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("create")?;
        let payload = self.payload(body)?;
        if !self.resource.is_stored() {
            // What is not kept has no columns.
            if self.accepts.shape == Shape::Table {
                return Err(negotiate::not_acceptable());
            }
            let asked = codec::decode(&self.server.registry, &self.resource, &payload)?.object;
            return self.review(asked);
        }
        let options = self.write_options("CreateOptions")?;
        let done = self
            .perform(self.at(), &options, |writer| {
                let decoded = codec::decode(&self.server.registry, &self.resource, &payload)?;
                let mut prepared = writer.create(decoded.object)?;
                prepared.warnings.extend(decoded.warnings);
                Ok(prepared)
            })
            .await?;
        self.done(StatusCode::CREATED, done)
    }

    fn part(&self) -> Result<Part, ApiError> {
        match self.path.subresource {
            "" => Ok(Part::Main),
            "ephemeralcontainers" => Ok(Part::Ephemeral),
            "resize" => Ok(Part::Resize),
            "status" => Ok(Part::Status),
            "finalize" => Ok(Part::Finalize),
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    async fn put(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("update")?;
        let (part, payload, options) = (self.part()?, self.payload(body)?, self.write_options("UpdateOptions")?);
        let done = self
            .perform(self.at(), &options, |writer| {
                let decoded = codec::decode(&self.server.registry, &self.resource, &payload)?;
                let mut prepared = writer.update(decoded.object, part)?;
                prepared.warnings.extend(decoded.warnings);
                Ok(prepared)
            })
            .await?;
        self.done(if done.created { StatusCode::CREATED } else { StatusCode::OK }, done)
    }

    async fn put_scale(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("update")?;
        let options = self.write_options("UpdateOptions")?;
        let scale = codec::decode_kind(&self.server.registry, ("autoscaling", "v1", "Scale"), &self.payload(body)?)?;
        let done = self.perform(self.at(), &options, |writer| writer.update_scale(&scale)).await?;
        self.scale(StatusCode::OK, &parse(&done.record))
    }

    async fn patch(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("patch")?;
        let options = self.write_options("PatchOptions")?;
        let media = negotiate::content_type(&self.parts.headers);
        if media == APPLY {
            return self.apply(body, &options).await;
        }
        let kind = PatchType::of(media).ok_or_else(|| {
            let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/strategic-merge-patch+json";
            ApiError::new(415, "UnsupportedMediaType", message).with_details(Details::default())
        })?;
        if kind == PatchType::Strategic && self.resource.is_custom() {
            let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(ApiError::new(415, "UnsupportedMediaType", message).with_details(Details::default()));
        }
        if self.query.get("force").is_some() {
            let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
            return Err(ApiError::invalid(delete::options_target("PatchOptions"), "", &[error]));
        }
        let patch = codec::value(&body)?;
        if self.path.subresource == "scale" {
            let done = self.perform(self.at(), &options, |writer| writer.patch_scale(kind, &patch)).await?;
            return self.scale(StatusCode::OK, &parse(&done.record));
        }
        let part = self.part()?;
        let text = String::from_utf8_lossy(&body);
        let done = self.perform(self.at(), &options, |writer| writer.patch(kind, &patch, &text, part)).await?;
        self.done(StatusCode::OK, done)
    }

    async fn apply(&self, body: Bytes, options: &WriteOptions) -> Result<Response<Body>, ApiError> {
        if self.query.get("fieldManager").is_none() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(ApiError::invalid(delete::options_target("PatchOptions"), "", &[error]));
        }
        let part = self.part()?;
        let payload = Payload { bytes: body, encoding: Encoding::Yaml, validation: FieldValidation::Warn };
        let done = self
            .perform(self.at(), options, |writer| {
                let decoded = codec::decode_intent(&self.server.registry, &self.resource, &payload)?;
                writer.apply(decoded.object, part)
            })
            .await?;
        self.done(if done.created { StatusCode::CREATED } else { StatusCode::OK }, done)
    }

    fn deletion(&self, body: Bytes) -> Result<(DeleteOptions, WriteOptions), ApiError> {
        let mut options = self.delete_options()?;
        if !body.is_empty() {
            let payload = self.payload(body)?;
            options.merge_body(&codec::decode_kind(&self.server.registry, ("", "v1", "DeleteOptions"), &payload)?);
        }
        options.validate()?;
        let write = WriteOptions { dry_run: options.dry_run, ..WriteOptions::default() };
        Ok((options, write))
    }

    async fn delete(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("delete")?;
        let (options, write) = self.deletion(body)?;
        let done = self.perform(self.at(), &write, |writer| writer.delete(&options)).await?;
        if !done.deleted || delete::answers_object(&self.resource) {
            return self.done(StatusCode::OK, done);
        }
        Ok(respond::json(StatusCode::OK, &delete::success(&self.resource, &done.record), self.style))
    }

    async fn delete_collection(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("deletecollection")?;
        let (options, write) = self.deletion(body)?;
        let page = self.server.list(self.at(), &self.list_options()?).await?;
        let mut values = Vec::with_capacity(page.records.len());
        for record in &page.records {
            let at = At { namespace: &record.envelope.namespace, name: &record.envelope.name, ..self.at() };
            match self.perform(at, &write, |writer| writer.delete(&options)).await {
                Ok(done) => values.push(done.record.value.bytes()),
                // Somebody else was faster.
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let metadata = json!({"resourceVersion": self.server.store.revision().to_string()});
        let parts = self.form()?.list(&self.resource, metadata, values);
        Ok(respond::build(StatusCode::OK, "application/json", Body::parts(parts)))
    }

    async fn bind(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("create")?;
        let options = self.write_options("CreateOptions")?;
        let binding = codec::decode_kind(&self.server.registry, ("", "v1", "Binding"), &self.payload(body)?)?;
        self.perform(self.at(), &options, |writer| writer.bind(&binding)).await?;
        Ok(respond::json(StatusCode::CREATED, &done(), self.style))
    }

    async fn evict(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("create")?;
        let mut options = self.write_options("CreateOptions")?;
        let eviction = codec::decode_kind(&self.server.registry, ("policy", "v1", "Eviction"), &self.payload(body)?)?;
        let mut delete = DeleteOptions::default();
        delete.merge_body(&eviction["deleteOptions"]);
        options.dry_run |= delete.dry_run;
        self.perform(self.at(), &options, |writer| writer.evict(&eviction, &delete)).await?;
        Ok(respond::json(StatusCode::CREATED, &done(), self.style))
    }
}

fn done() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

impl ApiServer {
    /// POST of a change set: answered with its status, also when objects in it failed.
    pub(super) async fn changeset(self: &Arc<Self>, parts: &Parts, body: &[u8]) -> Result<Response<Body>, ApiError> {
        let mut set: ChangeSet = readable(parts, body)?;
        check(&set.spec)?;
        set.status = self.change(&set.spec).await?;
        // The client knows what it sent.
        set.spec.objects.clear();
        set.spec.deletions.clear();
        set.api_version = "selkie.dev/v1alpha1".into();
        set.kind = "ChangeSet".into();
        let value = serde_json::to_vec(&set).map_err(ApiError::internal)?;
        Ok(respond::build(StatusCode::OK, "application/json", value.into()))
    }

    /// POST of a plan: answered with its status, also when objects in it failed.
    pub(super) async fn plan(self: &Arc<Self>, parts: &Parts, body: &[u8]) -> Result<Response<Body>, ApiError> {
        let mut plan: Plan = readable(parts, body)?;
        check(&plan.spec)?;
        // The client knows what it sent.
        let (spec, order) = (std::mem::take(&mut plan.spec), plan.order.take());
        let health_checks = std::mem::take(&mut plan.health_checks);
        plan.status = self.planner.plan(spec, order, health_checks).await?;
        plan.api_version = "selkie.dev/v1alpha1".into();
        plan.kind = "Plan".into();
        let value = serde_json::to_vec(&plan).map_err(ApiError::internal)?;
        Ok(respond::build(StatusCode::OK, "application/json", value.into()))
    }
}

fn readable<T: DeserializeOwned>(parts: &Parts, body: &[u8]) -> Result<T, ApiError> {
    let unreadable = |why: String| ApiError::bad_request(format!("the change set is not readable: {why}"));
    match negotiate::encoding(negotiate::content_type(&parts.headers))? {
        Encoding::Json => serde_json::from_slice(body).map_err(|error| unreadable(error.to_string())),
        _ => Err(unreadable("it must be JSON".into())),
    }
}

fn check(spec: &ChangeSetSpec) -> Result<(), ApiError> {
    if spec.field_manager.is_empty() {
        return Err(ApiError::bad_request("the change set names no fieldManager"));
    }
    Ok(())
}
