//! Reviews: what clients ask about themselves and others before they try. Answered, never stored.

use super::body::Body;
use super::respond;
use super::verbs::Ask;
use crate::api::error::ApiError;
use crate::apiserver::User;
use crate::apiserver::auth::{self, Attributes};
use http::{Response, StatusCode};
use serde_json::{Value, json};

impl Ask<'_> {
    pub(super) fn review(&self, mut asked: Value) -> Result<Response<Body>, ApiError> {
        asked["status"] = match self.resource.kind.as_str() {
            "SelfSubjectAccessReview" => decide(self.user, &asked["spec"]),
            "SubjectAccessReview" | "LocalSubjectAccessReview" => decide(&subject(&asked["spec"]), &asked["spec"]),
            "SelfSubjectRulesReview" => rules(self.user),
            "SelfSubjectReview" => json!({"userInfo": info(self.user)}),
            "TokenReview" => self.token(&asked["spec"]),
            _ => return Err(ApiError::method_not_allowed()),
        };
        Ok(respond::json(StatusCode::CREATED, &asked, self.style))
    }

    fn token(&self, spec: &Value) -> Value {
        let header = format!("Bearer {}", spec["token"].as_str().unwrap_or_default());
        match self.server.tokens.authenticate(Some(&header)) {
            Ok(Some(user)) => json!({"authenticated": true, "user": info(&user)}),
            _ => json!({"user": {}, "error": "the token names nobody"}),
        }
    }
}

fn info(user: &User) -> Value {
    json!({"username": user.name, "groups": user.groups})
}

fn subject(spec: &Value) -> User {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let groups = spec["groups"].as_array().into_iter().flatten().map(text).collect();
    User { name: text(&spec["user"]), uid: text(&spec["uid"]), groups }
}

fn decide(user: &User, spec: &Value) -> Value {
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |value: &'static str| resource[value].as_str().unwrap_or_default();
    let asked = Attributes {
        verb: resource["verb"].as_str().or(other["verb"].as_str()).unwrap_or_default(),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: other["path"].as_str().unwrap_or_default(),
    };
    match auth::authorize(user, &asked) {
        Ok(()) => json!({"allowed": true, "reason": "the user is a member of system:masters"}),
        Err(_) => json!({"allowed": false}),
    }
}

fn rules(user: &User) -> Value {
    let public = json!({"verbs": ["get"], "nonResourceURLs": auth::DOCUMENTS});
    let all = json!(["*"]);
    match user.is_master() {
        true => json!({
            "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all}],
            "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}], "incomplete": false,
        }),
        false => json!({"resourceRules": [], "nonResourceRules": [public], "incomplete": false}),
    }
}
