//! What a registry answers to who has not said who he is: the challenges of RFC 9110, and the tokens
//! that they lead to (the distribution project's token authentication, and OAuth2's for identity tokens).
//! Pure.

use super::login::Login;
use http::{HeaderMap, header};
use serde::Deserialize;
use url::Url;

/// How the registry wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Where a token is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenRequest {
    /// With the login, if there is one, by basic authentication.
    Get(Url),
    /// This form.
    Post(Url, String),
}

impl Challenge {
    /// The challenge to meet: one for a bearer token before one for a password.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<_> = texts.flat_map(challenges).collect();
        let bearer = all.iter().find(|(scheme, _)| scheme == "bearer").and_then(|(_, values)| {
            let value = |name: &str| values.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            Some(Self::Bearer { realm: value("realm")?, service: value("service"), scope: value("scope") })
        });
        bearer.or_else(|| all.iter().any(|(scheme, _)| scheme == "basic").then_some(Self::Basic))
    }
}

/// `scope` is what is asked for if the challenge names nothing.
pub fn token_request(
    realm: &str,
    service: Option<&str>,
    scope: &str,
    login: Option<&Login>,
) -> Result<TokenRequest, String> {
    let bad = || format!("its token server {realm:?} is no address");
    let mut url = Url::parse(realm).map_err(|_| bad())?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(bad());
    }
    let identity = login.map_or("", |login| &login.identity_token);
    if identity.is_empty() {
        let mut query = url.query_pairs_mut();
        service.into_iter().for_each(|service| {
            query.append_pair("service", service);
        });
        query.append_pair("scope", scope);
        drop(query);
        return Ok(TokenRequest::Get(url));
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", identity);
    form.append_pair("client_id", "selkie").append_pair("scope", scope);
    service.into_iter().for_each(|service| {
        form.append_pair("service", service);
    });
    Ok(TokenRequest::Post(url, form.finish()))
}

/// The token in a token server's answer.
pub fn token(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        token: String,
        #[serde(default)]
        access_token: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    (!token.is_empty()).then_some(token)
}

type Values = Vec<(String, String)>;

/// Schemes and their values, all names in lower case: `Bearer realm="x", service="y", Basic realm="z"`.
fn challenges(text: &str) -> Vec<(String, Values)> {
    let mut found: Vec<(String, Values)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start_matches([' ', '\t']);
        match rest.strip_prefix('=') {
            None => found.push((name, Values::new())),
            Some(after) => {
                let (value, left) = value(after.trim_start_matches([' ', '\t']));
                rest = left;
                if let Some((_, values)) = found.last_mut() {
                    values.push((name, value));
                }
            }
        }
        let before = rest.len();
        rest = rest.trim_start_matches([' ', ',', '\t']);
        if end == 0 && before == rest.len() {
            // A sign that has no place here: what follows is not understood.
            break;
        }
    }
    found
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return (value, &quoted[at + 1..]),
            '\\' if !escaped => escaped = true,
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::read(&headers)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |scope: Option<&str>| Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: scope.map(Into::into),
        };
        let text =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        assert_eq!(read(&[text]), Some(bearer(Some("repository:a/b:pull,push"))));
        let text = r#"Basic realm="x", bearer Realm = "https://auth.example/token" , service=registry.example"#;
        assert_eq!(read(&[text]), Some(bearer(None)));
        assert_eq!(read(&["Basic realm=\"say \\\"x\\\", y\""]), Some(Challenge::Basic));
        assert_eq!(read(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(read(&["Negotiate", "Basic realm=x"]), Some(Challenge::Basic));
        assert_eq!(read(&["Bearer service=x"]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn tokens_are_asked_for_by_password_or_identity_token() {
        let login = |identity: &str| Login { identity_token: identity.into(), ..Login::default() };
        let asked = token_request("https://a/t?x=1", Some("s p"), "repository:a:pull", Some(&login(""))).unwrap();
        let url = "https://a/t?x=1&service=s+p&scope=repository%3Aa%3Apull";
        assert_eq!(asked, TokenRequest::Get(Url::parse(url).unwrap()));
        let TokenRequest::Post(url, form) = token_request("https://a/t", None, "r", Some(&login("i&d"))).unwrap()
        else {
            panic!("no form");
        };
        assert_eq!(url.as_str(), "https://a/t");
        assert_eq!(form, "grant_type=refresh_token&refresh_token=i%26d&client_id=selkie&scope=r");
        for realm in ["", "auth", "file:///etc/passwd", "https://"] {
            assert!(token_request(realm, None, "r", None).is_err(), "{realm}");
        }
        assert_eq!(token(br#"{"access_token": "t"}"#).as_deref(), Some("t"));
        assert_eq!(token(br#"{"token": "a", "access_token": "b"}"#).as_deref(), Some("a"));
        assert_eq!(token(b"{}"), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_hangs_or_panics(text in "[ -~]{0,60}") {
            challenges(&text);
        }
    }
}
