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
            "SelfSubjectAccessReview" => self.decide(self.user, &asked["spec"]),
            "SubjectAccessReview" | "LocalSubjectAccessReview" => self.decide(&subject(&asked["spec"]), &asked["spec"]),
            "SelfSubjectRulesReview" => self.rules(asked["spec"]["namespace"].as_str().unwrap_or_default()),
            "SelfSubjectReview" => json!({"userInfo": info(self.user)}),
            "TokenReview" => self.token(&asked["spec"]),
            _ => return Err(ApiError::method_not_allowed()),
        };
        Ok(respond::json(StatusCode::CREATED, &asked, self.style))
    }

    fn decide(&self, user: &User, spec: &Value) -> Value {
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
        match self.server.authorize(user, &asked) {
            Ok(()) if user.is_master() => json!({"allowed": true, "reason": "the user is a member of system:masters"}),
            Ok(()) => json!({"allowed": true}),
            Err(_) => json!({"allowed": false}),
        }
    }

    /// Everything this user may in a namespace.
    fn rules(&self, namespace: &str) -> Value {
        let all = json!(["*"]);
        if self.user.is_master() {
            return json!({
                "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all}],
                "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}], "incomplete": false,
            });
        }
        let (groups, kinds) = (["authentication.k8s.io", "authorization.k8s.io"], auth::SELF_REVIEWS);
        let mut resources = vec![json!({"verbs": ["create"], "apiGroups": groups, "resources": kinds})];
        let mut others = vec![json!({"verbs": ["get"], "nonResourceURLs": auth::DOCUMENTS})];
        for rule in self.server.rules(self.user, namespace) {
            if rule["nonResourceURLs"].is_array() { others.push(rule) } else { resources.push(rule) }
        }
        json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false})
    }

    fn token(&self, spec: &Value) -> Value {
        let audiences: Vec<String> = strings(&spec["audiences"]);
        match self.server.bearer(spec["token"].as_str().unwrap_or_default(), &audiences) {
            Some((user, meant)) => json!({"authenticated": true, "user": info(&user), "audiences": meant}),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        }
    }
}

fn info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

fn subject(spec: &Value) -> User {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text(&spec["user"]),
        uid: text(&spec["uid"]),
        groups: strings(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), strings(values))).collect(),
    }
}
