//! How a registry is reached: logins as `podman login` and `docker login` write them, from a Secret or
//! from the user's own files; the CA; whether plain HTTP will do.

use super::helper::Helpers;
use crate::gitops::https;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;

/// What a Secret of type kubernetes.io/dockerconfigjson holds.
const CONFIG: &str = ".dockerconfigjson";

/// What an Application or a command line says of a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    /// `None`: those of the user whose process this is.
    pub logins: Option<Logins>,
    /// CAs to trust in place of the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// It may be asked over plain HTTP.
    pub insecure: bool,
}

impl RegistryAccess {
    /// Reads a Secret; the error names the key that is wrong, never a value.
    pub fn from_secret(secret: &Secret) -> Result<Self, String> {
        let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
        let authorities = https::certificates("ca.crt", value("ca.crt").unwrap_or_default())?;
        let text = |key: &str| match value(key).map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Some(Err(_)) => Err(format!("{key} is not text")),
        };
        let logins = match (value(CONFIG), text("username")?) {
            (Some(config), _) => Some(Logins::read(config).map_err(|why| format!("{CONFIG} {why}"))?),
            (None, Some(username)) => {
                let password = text("password")?.unwrap_or_default();
                Some(Logins(vec![(String::new(), Login { username, password, ..Login::default() })]))
            }
            (None, None) => None,
        };
        if logins.is_none() && authorities.is_empty() {
            return Err(format!("it has none of the keys {CONFIG}, username, password, ca.crt"));
        }
        Ok(Self { logins, authorities, insecure: false })
    }
}

/// Who we are for one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: String,
    /// Exchanged for tokens in place of a password (OAuth2's refresh token).
    pub identity_token: String,
    /// A bearer token as it is.
    pub registry_token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

impl Login {
    /// `text` without the secret values, should anyone have put them there.
    pub fn cut_out_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in [&self.basic(), &self.password, &self.identity_token, &self.registry_token] {
            if secret.len() >= 4 {
                text = text.replace(secret.as_str(), "***");
            }
        }
        text
    }

    /// As basic authentication writes it.
    pub fn basic(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.username, self.password))
    }

    fn parse(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut login = Self {
            username: text("username"),
            password: text("password"),
            identity_token: text("identitytoken"),
            registry_token: text("registrytoken"),
        };
        let both = STANDARD.decode(text("auth")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((username, password)) = both.as_deref().and_then(|both| both.split_once(':'))
            && login.username.is_empty()
        {
            // Docker pads passwords with zeros.
            let password = password.trim_end_matches('\0');
            (login.username, login.password) = (username.to_owned(), password.to_owned());
        }
        (login != Self::default()).then_some(login)
    }
}

/// Logins by registry, or registry and the beginning of a repository's name; empty: for all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Logins(Vec<(String, Login)>);

/// The login of whoever runs this process, from files or from a program that they name.
pub async fn own(registry: &str, name: &str) -> Result<Option<Login>, String> {
    let (mut all, mut helpers) = (Logins::default(), Helpers::default());
    for path in files() {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        all.0.extend(Logins::read(&bytes).map_err(|why| format!("{} {why}", path.display()))?.0);
        helpers.read(&bytes);
    }
    if let Some(helper) = helpers.of(registry) {
        return helper.ask(registry).await;
    }
    match (all.find(registry, name), helpers.store()) {
        (Some(login), _) => Ok(Some(login.clone())),
        (None, Some(store)) => store.ask(registry).await,
        (None, None) => Ok(None),
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logins({})", self.0.len())
    }
}

impl Logins {
    /// Reads Docker's config.json, or containers-auth.json(5). The error holds nothing of it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let config: Value = serde_json::from_slice(bytes).map_err(|_| "is no JSON document".to_owned())?;
        let entries = config.get("auths").and_then(Value::as_object).into_iter().flatten();
        Ok(Self(entries.filter_map(|(key, entry)| Some((normal(key), Login::parse(entry)?))).collect()))
    }

    /// The login for a repository: that with the longest key that it begins with.
    pub fn find(&self, registry: &str, name: &str) -> Option<&Login> {
        let whole = format!("{registry}/{name}");
        let fits = |key: &str| {
            key.is_empty() || whole.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.0.iter().rev().filter(|(key, _)| fits(key));
        found.max_by_key(|(key, _)| key.len()).map(|(_, login)| login)
    }
}

/// `https://index.docker.io/v1/` is `docker.io`.
pub(super) fn normal(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.trim_end_matches("/v1").trim_end_matches("/v2");
    if key == "index.docker.io" { "docker.io".to_owned() } else { key.to_owned() }
}

/// Where logins are kept, as containers-auth.json(5) and Docker have it.
fn files() -> Vec<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("HOME");
    let below = |inner: &str| home.as_ref().map(|home| home.join(inner));
    let runtime = folder("XDG_RUNTIME_DIR")
        .or_else(|| Some(format!("/run/containers/{}", rustix::process::getuid().as_raw()).into()));
    let places = [
        folder("REGISTRY_AUTH_FILE"),
        runtime.map(|folder| folder.join("containers/auth.json")),
        folder("XDG_CONFIG_HOME").or_else(|| below(".config")).map(|folder| folder.join("containers/auth.json")),
        folder("DOCKER_CONFIG").or_else(|| below(".docker")).map(|folder| folder.join("config.json")),
    ];
    places.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use k8s_openapi::ByteString;
    use serde_json::json;

    fn secret(values: &[(&str, &str)]) -> Secret {
        let data = values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn the_most_specific_login_counts() {
        let auth = |text: &str| json!({"auth": STANDARD.encode(text)});
        let config = json!({"auths": {
            "https://index.docker.io/v1/": auth("hub:a"), "h.example": auth("wide:b:c"),
            "h.example/team": {"username": "near", "password": "d"}, "t.example": {"identitytoken": "e"},
            "empty.example": {}, "h.example/te": auth("other:f"),
        }});
        let logins = Logins::read(config.to_string().as_bytes()).unwrap();
        let found = |registry: &str, name: &str| {
            logins.find(registry, name).map(|login| (login.username.as_str(), login.password.as_str()))
        };
        assert_eq!(found("docker.io", "library/x"), Some(("hub", "a")));
        assert_eq!(found("h.example", "x"), Some(("wide", "b:c")));
        assert_eq!(found("h.example", "team/x"), Some(("near", "d")));
        assert_eq!(found("h.example", "teams"), Some(("wide", "b:c")));
        assert_eq!(found("t.example", "x"), Some(("", "")));
        assert_eq!(found("empty.example", "x"), None);
        assert_eq!(found("h.example:5000", "x"), None);
    }

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let config = json!({"auths": {"h": {"username": "me", "password": "s3cret"}}}).to_string();
        let access = RegistryAccess::from_secret(&secret(&[(CONFIG, &config)])).unwrap();
        assert!(!format!("{access:?}").contains("s3cret"));
        let login = access.logins.as_ref().unwrap().find("h", "x").unwrap();
        assert_eq!((format!("{login:?}"), login.cut_out_of("a s3cret").as_str()), ("Login(hidden)".into(), "a ***"));
        let plain = RegistryAccess::from_secret(&secret(&[("username", "me"), ("password", "p\n")])).unwrap();
        assert_eq!(plain.logins.unwrap().find("any", "x").unwrap().password, "p");
        let error = |values: &[(&str, &str)]| RegistryAccess::from_secret(&secret(values)).unwrap_err();
        assert!(error(&[("token", "hush")]).contains("none of the keys"));
        assert_eq!(error(&[(CONFIG, "hush")]), ".dockerconfigjson is no JSON document");
        assert!(error(&[("ca.crt", "hush")]).starts_with("ca.crt holds no certificate"));
    }
}
