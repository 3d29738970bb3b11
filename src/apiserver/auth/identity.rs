//! Whom a request comes from: its client certificate, its static token, its service account token;
//! and whom it acts as.

use super::accounts::{Claims, ISSUER, Reference};
use super::{ANONYMOUS, AUTHENTICATED, Attributes, UNAUTHENTICATED, User, unauthorized};
use crate::api::error::ApiError;
use crate::apiserver::ApiServer;
use crate::apiserver::http::query;
use crate::store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The user of a connection's client certificate, put into its requests' extensions.
#[derive(Debug, Clone)]
pub struct Peer(pub Arc<User>);

const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
const EXTRA: &str = "impersonate-extra-";

impl User {
    /// The service account `name` of `namespace`.
    pub fn account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: format!("{ACCOUNT_PREFIX}{namespace}:{name}"),
            uid: uid.into(),
            groups: account_groups(namespace),
            extra: BTreeMap::new(),
        }
    }
}

fn account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}"), AUTHENTICATED.into()]
}

impl ApiServer {
    /// The user behind a request; `None` for a stranger. Credentials that name nobody are a 401.
    pub(in crate::apiserver) fn authenticate<B>(
        &self,
        request: &http::Request<B>,
    ) -> Result<Option<Arc<User>>, ApiError> {
        if let Some(Peer(user)) = request.extensions().get::<Peer>() {
            return Ok(Some(user.clone()));
        }
        let Some(header) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
        let header = header.to_str().ok().and_then(|text| text.split_once(' '));
        let token = header.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let known = token.and_then(|token| self.bearer(token, &[]));
        known.map(|(user, _)| Some(user)).ok_or_else(unauthorized)
    }

    /// The user of a token that is meant for one of `audiences` (none: this API), and which of them it is for.
    pub(in crate::apiserver) fn bearer(&self, token: &str, audiences: &[String]) -> Option<(Arc<User>, Vec<String>)> {
        let here = [ISSUER.to_string()];
        let asked = if audiences.is_empty() { &here[..] } else { audiences };
        if let Some(user) = self.tokens.find(token) {
            let meant = asked.iter().filter(|audience| *audience == ISSUER).cloned().collect::<Vec<_>>();
            return (!meant.is_empty()).then_some((user, meant));
        }
        let claims = self.account_keys.as_ref()?.verify(token)?;
        let meant = asked.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect::<Vec<_>>();
        let now = self.clock.now().as_second();
        let current = claims.iss == ISSUER && claims.nbf <= now && now < claims.exp;
        (current && !meant.is_empty() && self.is_bound(&claims)).then(|| (Arc::new(account_user(&claims)), meant))
    }

    /// Whether everything a token is bound to still exists.
    fn is_bound(&self, claims: &Claims) -> bool {
        let bound = &claims.bound;
        let exists = |plural: &str, namespace: &str, object: &Reference| {
            let record = self.store.get(&store::key("", plural, namespace, &object.name));
            record.is_some_and(|record| record.envelope.uid == object.uid)
        };
        let all = |plural: &str, namespace: &str, object: &Option<Reference>| {
            object.as_ref().is_none_or(|object| exists(plural, namespace, object))
        };
        exists("serviceaccounts", &bound.namespace, &bound.serviceaccount)
            && all("pods", &bound.namespace, &bound.pod)
            && all("secrets", &bound.namespace, &bound.secret)
            && (bound.pod.is_some() || all("nodes", "", &bound.node))
    }

    /// Whom a request acts as: its user, or whoever its `Impersonate-*` headers name.
    pub(in crate::apiserver) fn acting(&self, user: Arc<User>, headers: &HeaderMap) -> Result<Arc<User>, ApiError> {
        let Some(wanted) = impersonated(headers)? else { return Ok(user) };
        let attempt = Attributes { verb: "impersonate", ..Attributes::default() };
        let account = wanted.name.strip_prefix(ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
        match account {
            Some((namespace, name)) => {
                self.authorize(&user, &Attributes { resource: "serviceaccounts", namespace, name, ..attempt })?;
            }
            None => self.authorize(&user, &Attributes { resource: "users", name: &wanted.name, ..attempt })?,
        }
        let given = headers.get_all("Impersonate-Group").iter().filter_map(|group| group.to_str().ok());
        for name in given {
            self.authorize(&user, &Attributes { resource: "groups", name, ..attempt })?;
        }
        let group = "authentication.k8s.io";
        if !wanted.uid.is_empty() {
            self.authorize(&user, &Attributes { group, resource: "uids", name: &wanted.uid, ..attempt })?;
        }
        for (key, values) in &wanted.extra {
            for name in values {
                let extra = Attributes { group, resource: "userextras", subresource: key, name, ..attempt };
                self.authorize(&user, &extra)?;
            }
        }
        Ok(Arc::new(wanted))
    }
}

fn account_user(claims: &Claims) -> User {
    let bound = &claims.bound;
    let mut user = User::account(&bound.namespace, &bound.serviceaccount.name, &bound.serviceaccount.uid);
    let mut add = |name: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_string()]);
    };
    add("credential-id", &format!("JTI={}", claims.jti));
    for (kind, object) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(object) = object {
            add(&format!("{kind}-name"), &object.name);
            add(&format!("{kind}-uid"), &object.uid);
        }
    }
    user
}

/// The password of basic authentication (RFC 7617), by which git brings along a token; its user name may be
/// any.
pub(in crate::apiserver) fn password(headers: &HeaderMap) -> Option<String> {
    let (scheme, login) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let login = STANDARD.decode(login.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (_, password) = std::str::from_utf8(&login).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// The user that `Impersonate-*` headers name, if any.
fn impersonated(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let all = |name: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(str::to_string).collect::<Vec<_>>()
    };
    let (name, mut groups) = (all("Impersonate-User").pop().unwrap_or_default(), all("Impersonate-Group"));
    let uid = all("Impersonate-Uid").pop().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for header in headers.keys().filter_map(|key| key.as_str().strip_prefix(EXTRA)) {
        let values = all(&format!("{EXTRA}{header}"));
        extra.insert(query::decode(header, false).to_lowercase(), values);
    }
    if name.is_empty() {
        let asked = !groups.is_empty() || !uid.is_empty() || !extra.is_empty();
        let why = "requested groups, uid or extra without impersonating a user: set the Impersonate-User header too";
        return if asked { Err(ApiError::bad_request(why)) } else { Ok(None) };
    }
    if let (true, Some((namespace, _))) =
        (groups.is_empty(), name.strip_prefix(ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':')))
    {
        groups = account_groups(namespace);
    }
    let own = if name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
        groups.push(own.into());
    }
    Ok(Some(User { name, uid, groups, extra }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_may_come_as_a_password() {
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            password(&headers)
        };
        assert_eq!(read(&format!("Basic {}", STANDARD.encode("git:a:b"))).as_deref(), Some("a:b"));
        assert_eq!(read(&format!("Bearer {}", STANDARD.encode("git:a"))), None);
        assert_eq!(read("Basic ???"), None);
        assert_eq!(read(&format!("Basic {}", STANDARD.encode("no colon"))), None);
    }

    fn asked(pairs: &[(&'static str, &str)]) -> Option<User> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        impersonated(&headers).unwrap()
    }

    #[test]
    fn impersonation_completes_groups() {
        assert_eq!(asked(&[]), None);
        let bot = asked(&[("impersonate-user", "system:serviceaccount:ns:bot")]).unwrap();
        assert_eq!(bot.groups, account_groups("ns"));
        assert_eq!(asked(&[("impersonate-user", ANONYMOUS)]).unwrap().groups, [UNAUTHENTICATED]);
        let bob = asked(&[
            ("impersonate-user", "bob"),
            ("impersonate-group", "devs"),
            ("impersonate-extra-example.com%2fscopes", "a"),
            ("impersonate-extra-example.com%2fscopes", "b"),
        ])
        .unwrap();
        assert_eq!(bob.groups, ["devs", AUTHENTICATED]);
        assert_eq!(bob.extra["example.com/scopes"], ["a", "b"]);
    }
}
