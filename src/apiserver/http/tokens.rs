//! TokenRequests: `kubectl create token`, and the tokens that kubelets fetch for pods.

use super::body::Body;
use super::respond;
use super::verbs::Ask;
use crate::api::access;
use crate::api::error::{ApiError, FieldError, Target};
use crate::apiserver::auth::accounts::{Bound, Claims, ISSUER, Reference};
use crate::apiserver::resources::codec;
use crate::apiserver::resources::object::parse;
use crate::store::{self, Record};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

const KIND: (&str, &str, &str) = ("authentication.k8s.io", "v1", "TokenRequest");
const TARGET: Target<'static> =
    Target { group: "authentication.k8s.io", resource: "tokenrequests", kind: "TokenRequest" };
const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;

impl Ask<'_> {
    pub(super) fn request_token(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        self.allowed("create")?;
        let options = self.write_options("CreateOptions")?;
        let mut request = codec::decode_kind(&self.server.registry, KIND, &self.payload(body)?)?;
        let account = self.at().get(&self.server.view())?;
        self.complete(&mut request)?;
        let now = self.server.clock.now_seconds();
        let expires = now.as_second() + request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        let audiences = request["spec"]["audiences"].as_array().into_iter().flatten();
        let audiences: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_string).collect();
        let mut bound = self.bind_token(&request["spec"]["boundObjectRef"], &account)?;
        let mut accepted_until = expires;
        // Nobody asked for this token: a client that reads it once must not fail within the hour. It ends with
        // its pod all the same.
        let unasked = request["spec"]["expirationSeconds"] == access::SECONDS && bound.pod.is_some();
        if unasked && audiences == [ISSUER] {
            bound.warnafter = Some(expires);
            accepted_until = now.as_second() + access::LASTS;
        }
        let claims = Claims {
            aud: audiences,
            exp: accepted_until,
            iat: now.as_second(),
            iss: ISSUER.into(),
            jti: self.server.ids.uid(),
            bound,
            nbf: now.as_second(),
            sub: format!("system:serviceaccount:{}:{}", self.path.namespace, self.path.name),
        };
        let keys = self.server.account_keys.as_ref();
        let token = if options.dry_run { Some(String::new()) } else { keys.and_then(|keys| keys.sign(&claims)) };
        let token = token.ok_or_else(|| ApiError::internal("this server has no key to sign tokens with"))?;
        let until = jiff::Timestamp::from_second(expires).unwrap_or_default();
        request["metadata"]["name"] = self.path.name.into();
        request["metadata"]["namespace"] = self.path.namespace.into();
        request["metadata"]["creationTimestamp"] = now.to_string().into();
        request["status"] = json!({"token": token, "expirationTimestamp": until.to_string()});
        Ok(respond::json(StatusCode::CREATED, &request, self.style))
    }

    /// Defaults and validation.
    fn complete(&self, request: &mut Value) -> Result<(), ApiError> {
        let named = request["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != self.path.name {
            let name = self.path.name;
            return Err(ApiError::bad_request(format!(
                "the name of the object ({named}) does not match the name on the URL ({name})"
            )));
        }
        if !request["spec"].is_object() {
            request["spec"] = json!({});
        }
        if !request["metadata"].is_object() {
            request["metadata"] = json!({});
        }
        let spec = &mut request["spec"];
        if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
            spec["audiences"] = json!([ISSUER]);
        }
        if spec["expirationSeconds"].is_null() {
            spec["expirationSeconds"] = DEFAULT_SECONDS.into();
        }
        let why = match spec["expirationSeconds"].as_i64().unwrap_or_default() {
            seconds if seconds < LEAST_SECONDS => "may not specify a duration less than 10 minutes",
            seconds if seconds > MOST_SECONDS => "may not specify a duration larger than 2^32 seconds",
            _ => return Ok(()),
        };
        let error = FieldError::invalid("spec.expirationSeconds", &spec["expirationSeconds"], why);
        Err(ApiError::invalid(TARGET, "", &[error]))
    }

    /// What the token is to end with.
    fn bind_token(&self, wanted: &Value, account: &Record) -> Result<Bound, ApiError> {
        let reference =
            |record: &Record| Reference { name: record.envelope.name.clone(), uid: record.envelope.uid.clone() };
        let mut bound =
            Bound { namespace: self.path.namespace.into(), serviceaccount: reference(account), ..Bound::default() };
        if wanted.is_null() {
            return Ok(bound);
        }
        match wanted["kind"].as_str().unwrap_or_default() {
            "Pod" => {
                let record = self.bound_object("pods", "Pod", self.path.namespace, wanted)?;
                let pod = parse(&record);
                if pod["spec"]["serviceAccountName"] != self.path.name {
                    return Err(ApiError::bad_request(format!(
                        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                        self.path.name
                    )));
                }
                let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
                let node = self.server.store.get(&store::key("", "nodes", "", node));
                bound.node = node.as_deref().map(reference);
                bound.pod = Some(reference(&record));
            }
            "Secret" => {
                bound.secret = Some(reference(&*self.bound_object("secrets", "Secret", self.path.namespace, wanted)?))
            }
            "Node" => bound.node = Some(reference(&*self.bound_object("nodes", "Node", "", wanted)?)),
            other => return Err(ApiError::bad_request(format!("cannot bind token to object of type {other}"))),
        }
        Ok(bound)
    }

    fn bound_object(
        &self,
        plural: &'static str,
        kind: &'static str,
        namespace: &str,
        wanted: &Value,
    ) -> Result<Arc<Record>, ApiError> {
        let (name, uid) = (wanted["name"].as_str().unwrap_or_default(), wanted["uid"].as_str().unwrap_or_default());
        let target = Target { group: "", resource: plural, kind };
        let record = self.server.store.get(&store::key("", plural, namespace, name));
        let record = record.ok_or_else(|| ApiError::not_found(target, name))?;
        let found = &record.envelope.uid;
        if !uid.is_empty() && uid != found {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(ApiError::conflict(target, name, why));
        }
        Ok(record)
    }
}
