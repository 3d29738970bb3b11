//! Makes the HTTP request that tells something, with what the Secret holds.

use super::Notification;
use super::forge;
use super::message::{Values, body};
use super::outbox::{Content, Item};
use crate::gitops::application::Application;
use crate::gitops::https;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, Uri};
use k8s_openapi::api::core::v1::Secret;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use std::fmt;

const SIGNATURE: HeaderName = HeaderName::from_static("x-signature-256");
const AGENT: &str = concat!("selkie/", env!("CARGO_PKG_VERSION"));

/// What a notification's Secret may hold, under the keys that Flux uses where it has them.
#[derive(Clone, Default)]
pub struct Keys {
    token: String,
    /// A URL that is a secret itself.
    address: String,
    hmac: String,
    authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

impl Keys {
    /// The error names the key that is wrong, never a value.
    pub fn read(secret: &Secret) -> Result<Self, String> {
        let text = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            let text = value.map(|value| String::from_utf8(value.0.clone())).transpose();
            text.map(|text| text.unwrap_or_default().trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|_| format!("{key} is not text"))
        };
        let authorities = https::certificates("ca.crt", text("ca.crt")?.as_bytes())?;
        Ok(Self { token: text("token")?, address: text("address")?, hmac: text("hmac")?, authorities })
    }

    /// A text in which none of them can be read.
    pub fn redact(&self, text: &str) -> String {
        let secrets = [&self.address, &self.token, &self.hmac];
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(*secret, "***"))
    }
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub struct Outgoing {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The CAs to trust; empty: the system's.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Outgoing {
    /// What is limited together: of a chat the channel, of a git server all of it.
    pub fn destination(&self, forge: bool) -> String {
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        if forge { host.to_owned() } else { format!("{host}{}", self.uri.path()) }
    }
}

/// The error is for people, without secrets.
pub fn build(
    notification: &Notification,
    application: &Application,
    keys: &Keys,
    item: &Item,
) -> Result<Outgoing, String> {
    let (url, mut headers, body) = match &item.content {
        Content::Commit(status) => {
            if keys.token.is_empty() {
                return Err("the Secret has no token".to_owned());
            }
            let post = forge::post(notification, application, status, &keys.token, &item.time)?;
            (post.url, post.headers, post.body)
        }
        Content::Notice(notice) => {
            let url = if keys.address.is_empty() { &notification.url } else { &keys.address };
            let body = body(notification, &Values::new(application, notice, &item.time))?;
            (url.clone(), bearer(keys)?, body)
        }
    };
    let body = Bytes::from(body.to_string());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    if !keys.hmac.is_empty() {
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, keys.hmac.as_bytes()), &body);
        let digits: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let value = HeaderValue::try_from(format!("sha256={digits}")).map_err(|error| error.to_string())?;
        headers.insert(SIGNATURE, value);
    }
    let uri = destination(&url)?;
    let clear = uri.scheme_str() == Some("http") && !is_loopback(&uri);
    if clear && !(keys.token.is_empty() && keys.address.is_empty()) {
        return Err("the Secret's token and address are sent over https only".to_owned());
    }
    Ok(Outgoing { uri, headers, body, authorities: keys.authorities.clone() })
}

fn bearer(keys: &Keys) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if !keys.token.is_empty() {
        let value = HeaderValue::try_from(format!("Bearer {}", keys.token));
        let mut value = value.map_err(|_| "the Secret's token is not one line of text")?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

/// The text may be a secret: it is in no error.
fn destination(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "the URL, or the Secret's address, is no URL")?;
    let known = matches!(uri.scheme_str(), Some("https" | "http"));
    if known && uri.host().is_some_and(|host| !host.is_empty()) {
        Ok(uri)
    } else {
        Err("the URL, or the Secret's address, must be an https or http URL".to_owned())
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::notices::{Notice, Reason};
    use crate::gitops::notify::Delivery;
    use crate::gitops::notify::outbox::{Axis, Outbox};
    use serde_json::json;

    fn keys(values: &[(&str, &str)]) -> Result<Keys, String> {
        let data = values.iter().map(|(key, value)| ((*key).to_owned(), k8s_openapi::ByteString((*value).into())));
        Keys::read(&Secret { data: Some(data.collect()), ..Secret::default() })
    }

    fn webhook(url: &str, secret: &[(&str, &str)]) -> Result<Outgoing, String> {
        let notification = Notification { kind: "webhook".into(), url: url.into(), ..Notification::default() };
        let application = serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {}})).unwrap();
        let mut outbox = Outbox::new(Delivery::default());
        let notice = Notice { reason: Reason::Synced, revision: String::new(), message: "m".into() };
        outbox.offer(Axis::Sync, &notice, true, "");
        build(&notification, &application, &keys(secret)?, outbox.next().unwrap())
    }

    #[test]
    fn bodies_are_signed_as_receivers_check_them() {
        let sent = webhook("http://ci/hook", &[("hmac", "key\n")]).unwrap();
        let tag = sent.headers[SIGNATURE].to_str().unwrap().strip_prefix("sha256=").unwrap();
        let tag: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&tag[2 * at..2 * at + 2], 16).unwrap()).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        hmac::verify(&key, &sent.body, &tag).unwrap();
        assert!(sent.headers.get(header::AUTHORIZATION).is_none());
    }

    #[test]
    fn secrets_are_not_sent_in_the_clear_nor_shown() {
        assert!(webhook("http://ci/hook", &[("token", "hush")]).unwrap_err().contains("https only"));
        assert!(webhook("", &[("address", "http://ci/hush")]).unwrap_err().contains("https only"));
        assert!(webhook("", &[("address", "hush hush")]).unwrap_err().contains("no URL"));
        for local in ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "https://ci/"] {
            let sent = webhook(local, &[("token", "hush")]).unwrap();
            assert_eq!(sent.headers[header::AUTHORIZATION], "Bearer hush");
            assert!(!format!("{sent:?}").contains("hush"));
        }
        assert!(webhook("https://ci/", &[("token", "hush\nEvil: 1")]).unwrap_err().contains("one line"));
        assert!(keys(&[("ca.crt", "hush")]).unwrap_err().starts_with("ca.crt"));
        let shown = keys(&[("token", "hush")]).unwrap();
        assert_eq!(shown.redact("401: hush is wrong"), "401: *** is wrong");
    }

    #[test]
    fn an_address_comes_before_the_url() {
        let sent = webhook("https://ci/", &[("address", "https://chat/T1/hush\n")]).unwrap();
        assert_eq!(sent.uri, "https://chat/T1/hush");
        assert_eq!((sent.destination(false).as_str(), sent.destination(true).as_str()), ("chat/T1/hush", "chat"));
    }
}
