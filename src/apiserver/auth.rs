//! Who is asking, and may they: bearer tokens, client certificates and in-process users.
//!
//! Members of `system:masters` may everything, everybody who is known may discover the API and ask about
//! themselves, strangers may read the public documents; the rest is granted by [`rbac`].

pub mod accounts;
pub mod certificates;
pub mod identity;
pub mod pki;
pub mod rbac;

use super::http::path::Route;
use crate::api::error::{ApiError, Details};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The group that may everything.
pub const MASTERS: &str = "system:masters";
/// The group of roles and their bindings.
const GROUP_RBAC: &str = "rbac.authorization.k8s.io";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
/// What everybody who is known may create.
pub const SELF_REVIEWS: [&str; 3] = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"];
/// What everybody who is known may read, and all below it.
pub const DOCUMENTS: [&str; 7] = ["/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version"];

/// The identity behind a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    /// What else the credentials say, e.g. `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A member of `system:masters`: the administrator, and the components inside the process.
    pub fn master(name: &str) -> Self {
        Self::named(name, &[MASTERS, AUTHENTICATED])
    }

    /// Somebody without any rights of their own.
    pub fn plain(name: &str) -> Self {
        Self::named(name, &[AUTHENTICATED])
    }

    pub fn anonymous() -> Self {
        Self::named(ANONYMOUS, &[UNAUTHENTICATED])
    }

    fn named(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_string()).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// Static bearer tokens.
#[derive(Default)]
pub struct Tokens(HashMap<[u8; 32], Arc<User>>);

impl Tokens {
    /// `tokens`: the token's text and whom it stands for.
    pub fn new(tokens: impl IntoIterator<Item = (String, User)>) -> Self {
        Self(tokens.into_iter().map(|(token, user)| (digest(&token), Arc::new(user))).collect())
    }

    /// Whom a token stands for.
    pub fn find(&self, token: &str) -> Option<Arc<User>> {
        // Looking up a digest leaks nothing about how much of a guess was right.
        self.0.get(&digest(token)).cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token.as_bytes()).into()
}

pub fn unauthorized() -> ApiError {
    ApiError::new(401, "Unauthorized", "Unauthorized")
}

/// What a request wants to do, in the words of authorization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Set for requests that name no resource.
    pub path: &'a str,
}

/// Whether `user` may without any role; the error is the 403 to answer.
fn authorize(user: &User, asked: &Attributes<'_>) -> Result<(), ApiError> {
    let known = user.groups.iter().any(|group| group == AUTHENTICATED);
    if user.is_master() || known && is_basic(asked) { Ok(()) } else { Err(forbidden(user, asked)) }
}

/// What Kubernetes' roles `system:basic-user` and `system:discovery` grant.
fn is_basic(asked: &Attributes<'_>) -> bool {
    if !asked.resource.is_empty() {
        return asked.verb == "create" && SELF_REVIEWS.contains(&asked.resource);
    }
    let below = |root: &str| asked.path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    asked.verb == "get" && DOCUMENTS.iter().any(|root| below(root))
}

/// Whether a path is readable without a token.
pub fn is_public(route: &Route<'_>) -> bool {
    matches!(route, Route::Version | Route::Health(..) | Route::OpenIdConfiguration | Route::KeySet)
}

fn forbidden(user: &User, asked: &Attributes<'_>) -> ApiError {
    let name = &user.name;
    if asked.resource.is_empty() {
        let message = format!("forbidden: User \"{name}\" cannot {} path \"{}\"", asked.verb, asked.path);
        return ApiError::new(403, "Forbidden", message).with_details(Details::default());
    }
    let qualified = match asked.group {
        "" => asked.resource.to_string(),
        group => format!("{}.{group}", asked.resource),
    };
    let object = if asked.name.is_empty() { qualified } else { format!("{qualified} \"{}\"", asked.name) };
    let resource = match asked.subresource {
        "" => asked.resource.to_string(),
        sub => format!("{}/{sub}", asked.resource),
    };
    let place = match asked.namespace {
        "" => "at the cluster scope".to_string(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let message = format!(
        "{object} is forbidden: User \"{name}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        asked.verb, asked.group
    );
    ApiError::new(403, "Forbidden", message).with_details(Details {
        name: asked.name.into(),
        group: asked.group.into(),
        kind: asked.resource.into(),
        ..Details::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens_name_users() {
        let tokens = Tokens::new([("secret".to_string(), User::master("admin"))]);
        assert_eq!(tokens.find("secret").unwrap().name, "admin");
        assert_eq!(tokens.find("wrong"), None);
    }

    #[test]
    fn the_refusal_reads_as_in_kubernetes() {
        let asked = Attributes { verb: "list", resource: "pods", namespace: "default", ..Attributes::default() };
        assert_eq!(
            authorize(&User::plain("alice"), &asked).unwrap_err().message,
            "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        );
        assert!(authorize(&User::master("root"), &asked).is_ok());
    }

    #[test]
    fn who_is_known_may_discover_and_ask_about_themselves() {
        let get = |path| Attributes { verb: "get", path, ..Attributes::default() };
        let review = Attributes { verb: "create", resource: "selfsubjectreviews", ..Attributes::default() };
        assert!(authorize(&User::plain("alice"), &get("/apis/apps/v1")).is_ok());
        assert!(authorize(&User::plain("alice"), &get("/metrics")).is_err());
        assert!(authorize(&User::plain("alice"), &get("/apisix")).is_err());
        assert!(authorize(&User::plain("alice"), &review).is_ok());
        assert!(authorize(&User::anonymous(), &review).is_err());
    }
}
