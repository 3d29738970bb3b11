//! Who is asking, and may they: bearer tokens and in-process users.
//!
//! Authorization knows two rules: members of `system:masters` may everything, everybody may read
//! the public documents. Role bindings are stored and served but not evaluated.

pub mod pki;

use super::http::path::Route;
use crate::api::error::{ApiError, Details};
use std::collections::HashMap;
use std::sync::Arc;

/// The group that may everything.
pub const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

/// The identity behind a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
}

impl User {
    /// A member of `system:masters`: the administrator, and the components inside the process.
    pub fn master(name: &str) -> Self {
        Self { name: name.into(), uid: String::new(), groups: vec![MASTERS.into(), AUTHENTICATED.into()] }
    }

    /// Somebody without any rights of their own.
    pub fn plain(name: &str) -> Self {
        Self { name: name.into(), uid: String::new(), groups: vec![AUTHENTICATED.into()] }
    }

    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), uid: String::new(), groups: vec!["system:unauthenticated".into()] }
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

    /// The user of an `Authorization` header; `None` without a header. A header that names nobody is a 401.
    pub fn authenticate(&self, header: Option<&str>) -> Result<Option<Arc<User>>, ApiError> {
        let Some(header) = header else { return Ok(None) };
        let token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        // Looking up a digest leaks nothing about how much of a guess was right.
        let user = token.and_then(|(_, token)| self.0.get(&digest(token.trim())));
        user.cloned().map(Some).ok_or_else(unauthorized)
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

/// Whether `user` may; the error is the 403 to answer.
pub fn authorize(user: &User, asked: &Attributes<'_>) -> Result<(), ApiError> {
    if user.is_master() { Ok(()) } else { Err(forbidden(user, asked)) }
}

/// Whether a path is readable without a token.
pub fn is_public(route: &Route<'_>) -> bool {
    matches!(route, Route::Version | Route::Health(..))
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
        assert_eq!(tokens.authenticate(Some("Bearer secret")).unwrap().unwrap().name, "admin");
        assert_eq!(tokens.authenticate(None).unwrap(), None);
        assert_eq!(tokens.authenticate(Some("Bearer wrong")).unwrap_err().code, 401);
        assert_eq!(tokens.authenticate(Some("Basic secret")).unwrap_err().code, 401);
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
}
