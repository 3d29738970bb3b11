//! A client of one repository in a registry, by the OCI distribution specification: finds out how to reach
//! it, says who we are when it is asked for, follows what it redirects, and believes no answer without
//! looking at its size.
//!
//! A password goes to the registry itself and to the token server that it names, over TLS, nowhere else.

use super::challenge::{Challenge, TokenRequest, token, token_request};
use super::location::OciLocation;
use super::login::{self, Login, RegistryAccess};
use crate::gitops::https::{self, HttpsClient};
use crate::gitops::sources::name;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

const AGENT: &str = concat!("selkie/", env!("CARGO_PKG_VERSION"));
/// As much as is read of what explains a refusal, and of a token.
const MAX_ANSWER: usize = 1 << 20;
const MAX_REDIRECTS: usize = 5;
/// Where Docker Hub really is.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// Why a registry gave or took nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub what: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl Failure {
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// What is done with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Pull,
    Push,
}

pub struct Registry {
    client: HttpsClient,
    /// As people call it.
    called: String,
    host: String,
    /// The repository's name there.
    name: String,
    purpose: Purpose,
    may_be_plain: bool,
    login: Option<Login>,
    /// Of the API: `https://host/v2/`.
    base: OnceCell<Url>,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Registry {
    pub async fn new(location: &OciLocation, access: &RegistryAccess, purpose: Purpose) -> Result<Self, Failure> {
        let own = |why: String| Failure::new(format!("the logins cannot be read: {why}"), "");
        let login = match &access.logins {
            Some(logins) => logins.find(&location.registry, &location.name).cloned(),
            None => login::own(&location.registry, &location.name).await.map_err(own)?,
        };
        let trust = https::trust(&access.authorities);
        let trust = trust.map_err(|error| Failure::new(format!("no CAs to trust: {}", https::chain(&*error)), ""))?;
        let (host, name) = match location.registry == DOCKER_HUB.0 {
            true if location.name.contains('/') => (DOCKER_HUB.1, location.name.clone()),
            true => (DOCKER_HUB.1, format!("library/{}", location.name)),
            false => (location.registry.as_str(), location.name.clone()),
        };
        Ok(Self {
            client: https::client(trust),
            called: location.registry.clone(),
            host: host.to_owned(),
            name,
            purpose,
            may_be_plain: access.insecure || location.is_loopback(),
            login,
            base: OnceCell::new(),
            authorization: Mutex::default(),
        })
    }

    /// The address of something in the repository: `manifests/latest`.
    pub async fn url(&self, rest: &str) -> Result<Url, Failure> {
        let base = self.base.get_or_try_init(|| self.reach()).await?;
        base.join(&format!("{}/{rest}", self.name)).map_err(|error| Failure::new(error.to_string(), ""))
    }

    /// HTTPS, or plain HTTP where that will do and nothing else is spoken.
    async fn reach(&self) -> Result<Url, Failure> {
        let base = |scheme: &str| {
            let url = Url::parse(&format!("{scheme}://{}/v2/", self.host));
            url.map_err(|error| Failure::new(error.to_string(), ""))
        };
        let secure = base("https")?;
        if !self.may_be_plain {
            return Ok(secure);
        }
        let Err(failure) = self.once(&Method::GET, &secure, &HeaderMap::new(), Bytes::new()).await else {
            return Ok(secure);
        };
        let plain = base("http")?;
        match self.once(&Method::GET, &plain, &HeaderMap::new(), Bytes::new()).await {
            Ok(answer) if answer.status().is_success() || answer.status() == StatusCode::UNAUTHORIZED => Ok(plain),
            _ => Err(failure),
        }
    }

    /// Asks, and says who we are if that is wanted. The answer is what it is, errors included.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut url = url.clone();
        let mut authorized = false;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(&method, &url, &headers, body.clone()).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && self.is_own(&url) && !authorized {
                authorized = true;
                let authorization = self.authorize(answer.headers()).await?;
                *self.authorization.lock() = Some(authorization);
                continue;
            }
            let place = answer.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
            match place {
                Some(place) if answer.status().is_redirection() && matches!(method, Method::GET | Method::HEAD) => {
                    url = self.follow(&url, place)?;
                }
                _ => return Ok(answer),
            }
        }
        Err(Failure::new(format!("it redirects more than {MAX_REDIRECTS} times"), ""))
    }

    /// Another address that the registry names.
    pub fn follow(&self, url: &Url, place: &str) -> Result<Url, Failure> {
        let target = url.join(place).ok().filter(|target| matches!(target.scheme(), "https" | "http"));
        let target = target.ok_or_else(|| Failure::new(format!("it redirects to {:?}", name::shown(place)), ""))?;
        if target.scheme() == "http" && url.scheme() == "https" {
            return Err(Failure::new(format!("it redirects from https to {}", name::shown(place)), ""));
        }
        Ok(target)
    }

    /// What is said of an answer that is none of those expected; `doing`: `reading its tags`.
    pub async fn refused(&self, answer: Response<Incoming>, doing: &str) -> Failure {
        let status = answer.status();
        let body = collect(answer, MAX_ANSWER).await.unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&body).ok().and_then(|body| {
            let error = body.pointer("/errors/0")?;
            let text = |key: &str| error.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            text("message").or_else(|| text("code")).map(str::to_owned)
        });
        let said = said.map(|said| format!(" ({})", self.clean(&said))).unwrap_or_default();
        let (what, hint) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (self.denied(), self.login_hint()),
            StatusCode::TOO_MANY_REQUESTS => ("it wants fewer requests".to_owned(), String::new()),
            status => (format!("{doing}: it answers {status}"), String::new()),
        };
        Failure::new(format!("{what}{said}"), hint)
    }

    fn denied(&self) -> String {
        let to = if self.purpose == Purpose::Push { "push" } else { "pull" };
        match &self.login {
            Some(login) if login.username.is_empty() => format!("it does not let the token's owner {to}"),
            Some(login) => format!("it does not let {:?} {to}", name::shown(&login.username)),
            None => format!("it lets nobody {to} without a login"),
        }
    }

    fn login_hint(&self) -> String {
        match self.purpose {
            Purpose::Pull => "check the login for this registry in the Secret that spec.source.secretRef names, or \
                              in what `podman login` wrote"
                .to_owned(),
            Purpose::Push => format!("log in with `podman login {}` or `docker login`", self.called),
        }
    }

    /// One request, with what we know of who we are if it is to the registry itself.
    async fn once(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut headers = headers.clone();
        if self.is_own(url)
            && let Some(authorization) = self.authorization.lock().clone()
        {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        self.request(method, url, headers, body).await
    }

    async fn request(
        &self,
        method: &Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|error| Failure::new(format!("{url}: {error}"), ""))?;
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(|error| {
            let what = self.clean(&https::chain(&error));
            let hint = match what.contains("certificate") || what.contains("UnknownIssuer") {
                true if self.purpose == Purpose::Push => "name its CA with --ca",
                true => "put its CA as ca.crt into the Secret that spec.source.secretRef names",
                false => "",
            };
            Failure::new(what, hint)
        })
    }

    /// Whether an address is the registry's own, which may hear who we are.
    fn is_own(&self, url: &Url) -> bool {
        self.base.get().is_some_and(|base| base.origin() == url.origin())
    }

    /// What to answer the challenge with.
    async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        if let Some(login) = self.login.as_ref().filter(|login| !login.registry_token.is_empty()) {
            return secret(&format!("Bearer {}", login.registry_token));
        }
        match Challenge::read(headers) {
            Some(Challenge::Basic) => {
                let login = self.login.as_ref().filter(|login| !login.username.is_empty());
                login.map(basic).unwrap_or_else(|| Err(Failure::new(self.denied(), self.login_hint())))
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let actions = if self.purpose == Purpose::Push { "pull,push" } else { "pull" };
                let scope = scope.unwrap_or_else(|| format!("repository:{}:{actions}", self.name));
                let token = self.token(&realm, service.as_deref(), &scope).await?;
                secret(&format!("Bearer {token}"))
            }
            None => Err(Failure::new("it wants to know who asks, in a way that is not known", self.login_hint())),
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<String, Failure> {
        let asked = token_request(&name::shown(realm), service, scope, self.login.as_ref());
        let asked = asked.map_err(|why| Failure::new(why, ""))?;
        let (method, url, form) = match asked {
            TokenRequest::Get(url) => (Method::GET, url, None),
            TokenRequest::Post(url, form) => (Method::POST, url, Some(form)),
        };
        if url.scheme() != "https" && !self.may_be_plain {
            return Err(Failure::new(format!("its token server {:?} is not https", name::shown(realm)), ""));
        }
        let mut headers = HeaderMap::new();
        if form.is_some() {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, kind);
        } else if let Some(login) = self.login.as_ref().filter(|login| !login.username.is_empty()) {
            headers.insert(header::AUTHORIZATION, basic(login)?);
        }
        let answer = self.request(&method, &url, headers, form.unwrap_or_default().into()).await?;
        if !answer.status().is_success() {
            return Err(self
                .refused(answer, &format!("asking {} for a token", url.host_str().unwrap_or_default()))
                .await);
        }
        let body = collect(answer, MAX_ANSWER).await?;
        token(&body).ok_or_else(|| Failure::new("its token server answers without a token", ""))
    }

    /// A text of the registry, fit to be shown.
    pub fn clean(&self, text: &str) -> String {
        let mut text = self.login.as_ref().map_or(text.to_owned(), |login| login.cut_out_of(text));
        let authorization = self.authorization.lock().clone();
        if let Some((_, sent)) = authorization.as_ref().and_then(|sent| sent.to_str().ok()?.split_once(' ')) {
            text = text.replace(sent, "***");
        }
        name::shown(&text)
    }
}

/// The whole body, which has no more than `most` bytes.
pub async fn collect(answer: Response<Incoming>, most: usize) -> Result<Bytes, Failure> {
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::new(format!("its answer has more than {most} bytes"), ""))
        }
        Err(error) => Err(Failure::new(format!("its answer breaks off: {}", https::chain(&*error)), "")),
    }
}

fn basic(login: &Login) -> Result<HeaderValue, Failure> {
    secret(&format!("Basic {}", login.basic()))
}

fn secret(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::new("the login has characters that no header can have", ""))?;
    value.set_sensitive(true);
    Ok(value)
}
