//! Tokens of a GitHub App's installation: signed for with the App's private key, exchanged at the API, used as the
//! password of git over https, and kept until shortly before they expire. The Secret's keys are those of Flux.

use crate::gitops::https;
use crate::gitops::sources::name;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use git2::{ErrorClass, ErrorCode};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// The user name that goes with such a token.
pub(super) const USER: &str = "x-access-token";
/// The keys of the Secret: the App, its installation, its private key, and the API where it is not GitHub's own.
pub(super) const KEYS: [&str; 4] =
    ["githubAppID", "githubAppInstallationID", "githubAppPrivateKey", "githubAppBaseURL"];

const API: &str = "https://api.github.com";
const AGENT: &str = concat!("selkie/", env!("CARGO_PKG_VERSION"));
/// A token is not used for a fetch that could outlive it.
const RESERVE: SignedDuration = SignedDuration::from_mins(5);
/// Seconds that our signature is good for; GitHub takes at most ten minutes, and clocks differ.
const SIGNED_FOR: i64 = 540;
const CLOCKS_DIFFER: i64 = 60;
const MAX_ANSWER: usize = 64 << 10;

/// An App and what it was given last.
#[derive(Clone)]
pub(super) struct App {
    id: String,
    installation: String,
    private_key: String,
    api: String,
    token: Arc<Mutex<Option<Token>>>,
}

#[derive(Clone)]
struct Token {
    text: String,
    expires: Timestamp,
}

impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for App {}

impl App {
    /// Reads the values of [`KEYS`]; `None`: it is about no App. The error names the key that is wrong, never a value.
    pub fn read(values: [String; 4]) -> Result<Option<Self>, String> {
        let [id, installation, private_key, api] = values;
        if [&id, &installation, &private_key, &api].iter().all(|value| value.is_empty()) {
            return Ok(None);
        }
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            return Err("githubAppID is neither the number nor the client ID of a GitHub App".to_owned());
        }
        if !digits(&installation) {
            return Err("githubAppInstallationID is not the number of an installation".to_owned());
        }
        let api = if api.is_empty() { API.to_owned() } else { api.trim_end_matches('/').to_owned() };
        let is_api = api.starts_with("https://") && !api.contains(['@', '?', '#']);
        if !is_api || api.parse::<Uri>().is_err() {
            return Err("githubAppBaseURL is no https address, such as https://github.example/api/v3".to_owned());
        }
        let app = Self { id, installation, private_key, api, token: Arc::default() };
        app.key()?;
        Ok(Some(app))
    }

    /// All that makes it what it is.
    pub fn parts(&self) -> [&str; 4] {
        [&self.id, &self.installation, &self.private_key, &self.api]
    }

    /// A token for a fetch, and whether it was there already. Blocks; must not be called where that is not allowed.
    pub fn token(&self, ca: &[CertificateDer<'static>], patience: Duration) -> Result<(String, bool), git2::Error> {
        let mut known = self.token.lock();
        let now = Timestamp::now();
        if let Some(token) = known.as_ref().filter(|token| token.expires.duration_since(now) > RESERVE) {
            return Ok((token.text.clone(), true));
        }
        *known = None;
        let exchange = tokio::time::timeout(patience, self.exchange(ca, now));
        let failed = |why: String| {
            let what = format!("GitHub App {}: no token from {}: {why}", self.id, self.api);
            git2::Error::new(ErrorCode::Auth, ErrorClass::Net, what)
        };
        // In a thread of the runtime's that may block.
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| failed(error.to_string()))?;
        let exchanged = runtime.block_on(exchange);
        let late = |_| Err(format!("no answer within {} s", patience.as_secs()));
        let token = exchanged.unwrap_or_else(late).map_err(failed)?;
        let text = token.text.clone();
        *known = Some(token);
        Ok((text, false))
    }

    /// The token does not count any more.
    pub fn forget(&self) {
        *self.token.lock() = None;
    }

    /// `text` without the key and the token, should anyone have put them there.
    pub fn cut_out_of(&self, text: &str) -> String {
        let token = self.token.lock().as_ref().map(|token| token.text.clone()).unwrap_or_default();
        if token.len() >= 4 { text.replace(&token, "***") } else { text.to_owned() }
    }

    async fn exchange(&self, ca: &[CertificateDer<'static>], now: Timestamp) -> Result<Token, String> {
        #[derive(Deserialize)]
        struct Answer {
            token: String,
            expires_at: Timestamp,
        }
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let client = https::client(https::trust(ca).map_err(|error| https::chain(&*error))?);
        let signed = self.signed(now)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/app/installations/{}/access_tokens", self.api, self.installation))
            .header(header::AUTHORIZATION, format!("Bearer {signed}"))
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::USER_AGENT, AGENT)
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let answer = client.request(request).await.map_err(|error| https::chain(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map(|body| body.to_bytes());
        let body = body.map_err(|_| "its answer breaks off, or is too long".to_owned())?;
        if status != StatusCode::CREATED {
            let said = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.message).unwrap_or_default();
            return Err(format!("it answers {status} {}", name::shown(&said.replace(&signed, "***"))));
        }
        // The parser's words could hold the token.
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| "its answer has no token".to_owned())?;
        Ok(Token { text: answer.token, expires: answer.expires_at })
    }

    /// A JSON Web Token (RFC 7519) by which the App says who it is.
    fn signed(&self, now: Timestamp) -> Result<String, String> {
        let now = now.as_second();
        let claims = serde_json::json!({"iat": now - CLOCKS_DIFFER, "exp": now + SIGNED_FOR, "iss": self.id});
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let key = self.key()?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| "githubAppPrivateKey cannot sign".to_owned())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn key(&self) -> Result<RsaKeyPair, String> {
        let wrong = || "githubAppPrivateKey is no RSA private key in PEM format".to_owned();
        match PrivateKeyDer::from_pem_slice(self.private_key.as_bytes()).map_err(|_| wrong())? {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(|_| wrong()),
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}
