//! The WebSocket handshake of exec, attach and port-forward: which subprotocol, and the 101.

use super::super::body::Body;
use crate::api::error::ApiError;
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Lets the client end one channel, and so its input.
pub const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const V4_TEXT: &str = "v4.base64.channel.k8s.io";
/// Those before v4 tell of failures in plain words, and of success not at all.
const OLD: &str = "channel.k8s.io";
const OLD_TEXT: &str = "base64.channel.k8s.io";
/// What exec and attach speak.
pub const PROTOCOLS: [&str; 5] = [V5, V4, V4_TEXT, OLD, OLD_TEXT];
const LOG_TEXT: &str = "base64.binary.k8s.io";
/// What logs speak.
pub const LOG_PROTOCOLS: [&str; 2] = ["binary.k8s.io", LOG_TEXT];

/// How a protocol writes messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// In Base64, for clients that read text only; a channel is then its digit.
    pub text: bool,
    /// The outcome is no Status.
    pub plain: bool,
    /// The client can end its input.
    pub closes: bool,
}

/// A handshake that will succeed.
pub struct Handshake {
    /// Resolves once the response is out.
    pub upgrade: OnUpgrade,
    /// `None` when the client offered none; spoken as v4.
    pub protocol: Option<&'static str>,
    accept: String,
}

impl Handshake {
    /// `protocols`: those that this server speaks here.
    pub fn read(parts: &Parts, what: &str, protocols: &[&'static str]) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        if wants_spdy(headers) {
            return Err(no_spdy(what));
        }
        if !wants_websocket(headers) {
            return Err(ApiError::bad_request("Upgrade request required"));
        }
        if tokens(headers, &SEC_WEBSOCKET_VERSION) != ["13"] {
            return Err(ApiError::bad_request("the WebSocket version must be 13"));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| ApiError::bad_request("the WebSocket handshake lacks its key"))?;
        let upgrade = parts.extensions.get::<OnUpgrade>().cloned();
        let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded"))?;
        let protocol = choose(&tokens(headers, &SEC_WEBSOCKET_PROTOCOL), protocols)?;
        Ok(Self { upgrade, protocol, accept: derive_accept_key(key.as_bytes()) })
    }

    pub fn form(&self) -> Form {
        let is = |names: &[&str]| self.protocol.is_some_and(|protocol| names.contains(&protocol));
        Form { text: is(&[V4_TEXT, OLD_TEXT, LOG_TEXT]), plain: is(&[OLD, OLD_TEXT]), closes: is(&[V5]) }
    }

    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        response
    }
}

/// Whether a client asks for a WebSocket.
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).iter().any(|name| name.eq_ignore_ascii_case("websocket"))
}

/// Whether a client asks for SPDY rather than WebSockets.
pub fn wants_spdy(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).iter().any(|name| name.to_ascii_lowercase().starts_with("spdy/"))
}

fn no_spdy(what: &str) -> ApiError {
    let message = format!(
        "{what} over SPDY/3.1 is not supported: use a client that speaks WebSockets (kubectl 1.31 or newer, or 1.29 with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true)"
    );
    ApiError::new(501, "NotImplemented", message)
}

/// A header's values, whether in one line or in several.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty()).collect()
}

/// The first of the client's protocols that this server speaks.
fn choose(offered: &[&str], protocols: &[&'static str]) -> Result<Option<&'static str>, ApiError> {
    let known = |name: &&str| protocols.iter().copied().find(|protocol| protocol == name);
    match offered.iter().find_map(known) {
        None if !offered.is_empty() => Err(ApiError::bad_request(format!(
            "requested protocol(s) are not supported: [{}]; supports [{}]",
            offered.join(" "),
            protocols.join(" ")
        ))),
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_clients_order_decides() {
        assert_eq!(choose(&[], &PROTOCOLS).unwrap(), None);
        assert_eq!(choose(&["v4.channel.k8s.io", V5], &PROTOCOLS).unwrap(), Some("v4.channel.k8s.io"));
        assert_eq!(choose(&["v9.channel.k8s.io", V5], &PROTOCOLS).unwrap(), Some(V5));
        assert_eq!(choose(&["chat"], &PROTOCOLS).unwrap_err().code, 400);
    }
}
