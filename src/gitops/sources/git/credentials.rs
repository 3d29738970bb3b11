//! How a repository is reached: what the Secret that an Application names holds, and for how long
//! to wait. The Secret's keys are those of Flux: `username` and `password`, or `bearerToken`, and
//! `ca.crt` for https, or those of a GitHub App; `identity` (with `password` as its passphrase) and `known_hosts` for ssh.

use super::github::{self, App};
use super::signers::Signers;
use crate::gitops::https;
use crate::gitops::sources::RegistryAccess;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

/// A fetch that takes longer has failed, unless the Application says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub credentials: Credentials,
    /// Of artifacts, in place of the credentials.
    pub registry: RegistryAccess,
    /// Whose commits count; `None`: everybody's.
    pub signers: Option<Signers>,
    /// Other repositories that kustomizations name.
    pub remote_bases: RemoteBases,
    /// The longest that a fetch may take.
    pub timeout: Duration,
    /// How old what others heard of the repository may be. Zero: it is asked anew.
    pub max_age: Duration,
    /// The same of other repositories that kustomizations name: no webhook tells of those.
    pub bases_max_age: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            registry: RegistryAccess::default(),
            signers: None,
            remote_bases: RemoteBases::default(),
            timeout: DEFAULT_TIMEOUT,
            max_age: Duration::ZERO,
            bases_max_age: Duration::ZERO,
        }
    }
}

/// Whether kustomizations may name other repositories, and who asks these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RemoteBases {
    #[default]
    Refused,
    /// Nobody in particular; those on the server of the source's own repository are asked with its credentials.
    Allowed,
    /// The same, but none of this machine: the source is there since others push it.
    OfOthers,
    /// As allowed, but the others are asked by who runs the command, with what the machine has.
    ByUser,
}

/// Empty: what the machine has (an ssh agent, keys and known hosts in ~/.ssh, the system's CAs).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
    bearer_token: String,
    ca: Vec<CertificateDer<'static>>,
    identity: String,
    known_hosts: String,
    github: Option<App>,
    /// Nothing of the machine's either.
    nobody: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Credentials(none)" } else { "Credentials(hidden)" })
    }
}

impl Credentials {
    /// Reads a Secret; the error names the key that is wrong, never a value.
    pub fn from_secret(secret: &Secret) -> Result<Self, String> {
        let text = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            let text = value.map(|value| String::from_utf8(value.0.clone())).transpose();
            text.map(Option::unwrap_or_default).map_err(|_| format!("{key} is not text"))
        };
        let line = |key: &str| text(key).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        if !text("tls.key")?.is_empty() {
            return Err("tls.key: client certificates are not supported; use a password or a token".to_owned());
        }
        let ca = https::certificates("ca.crt", text("ca.crt")?.as_bytes())?;
        let found = Self {
            username: line("username")?,
            password: line("password")?,
            bearer_token: line("bearerToken")?,
            ca,
            identity: text("identity")?,
            known_hosts: text("known_hosts")?,
            github: {
                let [id, installation, key, api] = github::KEYS;
                App::read([line(id)?, line(installation)?, text(key)?, line(api)?])?
            },
            nobody: false,
        };
        if found.github.is_some() && !(found.username.is_empty() && found.bearer_token.is_empty()) {
            return Err("a GitHub App and username or bearerToken cannot both be set".to_owned());
        }
        if !found.bearer_token.is_empty() && !found.username.is_empty() {
            return Err("bearerToken and username cannot both be set".to_owned());
        }
        if found.bearer_token.contains(char::is_control) {
            return Err("bearerToken is more than one line".to_owned());
        }
        if found.is_empty() {
            return Err(
                "it has none of the keys username, password, bearerToken, ca.crt, identity, known_hosts, githubAppID"
                    .into(),
            );
        }
        Ok(found)
    }

    /// For servers that get none, whatever the machine has.
    pub fn none() -> Self {
        Self { nobody: true, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A name for `repository` as these credentials see it, fit for a file. What has the same name
    /// was asked with the same credentials.
    pub(in crate::gitops::sources) fn digest(&self, repository: &str) -> String {
        let mut hash = Sha256::new();
        let texts = [repository, &self.username, &self.password, &self.bearer_token, &self.identity, &self.known_hosts];
        let app = self.github.iter().flat_map(App::parts);
        let parts = texts.into_iter().chain(app).map(str::as_bytes);
        let parts =
            parts.chain(self.nobody.then_some(&b"nobody"[..])).chain(self.ca.iter().map(|certificate| &**certificate));
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What to fetch with, and whether it may have ended meanwhile: a GitHub App's token in place of the App. Blocks.
    pub(super) fn for_fetch(&self, patience: Duration) -> Result<(Self, bool), git2::Error> {
        let Some(app) = &self.github else { return Ok((self.clone(), false)) };
        let (password, known) = app.token(&self.ca, patience)?;
        Ok((Self { username: github::USER.to_owned(), password, ..self.clone() }, known))
    }

    /// What was used for the last fetch is no good any more.
    pub(super) fn forget(&self) {
        self.github.iter().for_each(App::forget);
    }

    /// User name and password for https. Most servers take any user name with a token.
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        let name = if self.username.is_empty() { "git" } else { &self.username };
        let given = self.identity.is_empty() && !(self.username.is_empty() && self.password.is_empty());
        given.then_some((name, &self.password))
    }

    /// The private key for ssh, and its passphrase.
    pub(super) fn identity(&self) -> Option<(&str, Option<&str>)> {
        let passphrase = Some(self.password.as_str()).filter(|password| !password.is_empty());
        if self.identity.is_empty() { None } else { Some((&self.identity, passphrase)) }
    }

    /// The header that carries the bearer token.
    pub(super) fn authorization(&self) -> Option<String> {
        let token = &self.bearer_token;
        if token.is_empty() { None } else { Some(format!("Authorization: Bearer {token}")) }
    }

    /// CAs to trust besides the system's.
    pub(super) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.ca
    }

    /// In the format of ssh's file. `None`: the file of the daemon's user counts.
    pub(super) fn known_hosts(&self) -> Option<&str> {
        Some(self.known_hosts.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// `text` without the secret values, should anyone have put them there.
    pub(super) fn cut_out_of(&self, text: &str) -> String {
        let mut text = self.github.as_ref().map_or(text.to_owned(), |app| app.cut_out_of(text));
        for secret in [&self.password, &self.bearer_token] {
            if secret.len() >= 4 {
                text = text.replace(secret.as_str(), "***");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(values: &[(&str, &str)]) -> Secret {
        let data = values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let read = Credentials::from_secret(&secret(&[("username", "me"), ("password", "s3cret\n")])).unwrap();
        assert_eq!((read.login(), read.identity()), (Some(("me", "s3cret")), None));
        assert_eq!(format!("{read:?}"), "Credentials(hidden)");
        assert_eq!(read.cut_out_of("no s3cret here"), "no *** here");
        let key = Credentials::from_secret(&secret(&[("identity", "KEY\n"), ("password", "words")])).unwrap();
        assert_eq!((key.login(), key.identity()), (None, Some(("KEY\n", Some("words")))));
        let token = Credentials::from_secret(&secret(&[("bearerToken", "t0ken")])).unwrap();
        assert_eq!(token.authorization().unwrap(), "Authorization: Bearer t0ken");
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_named_without_its_values() {
        let error = |values: &[(&str, &str)]| Credentials::from_secret(&secret(values)).unwrap_err();
        assert!(error(&[]).contains("none of the keys"));
        assert!(error(&[("ca.crt", "hush")]).starts_with("ca.crt holds no certificate"));
        assert!(error(&[("tls.key", "hush")]).starts_with("tls.key"));
        assert!(error(&[("bearerToken", "hush"), ("username", "x")]).contains("both"));
        assert!(error(&[("bearerToken", "hush\nEvil: 1")]).contains("one line"));
        let app = |more: &[(&str, &str)]| error(&[&[("githubAppID", "42")], more].concat());
        let number = ("githubAppInstallationID", "7");
        assert!(app(&[]).starts_with("githubAppInstallationID"));
        assert!(app(&[("githubAppInstallationID", "7/../8")]).starts_with("githubAppInstallationID"));
        assert!(app(&[number, ("githubAppBaseURL", "http://hush")]).starts_with("githubAppBaseURL is no https"));
        assert!(app(&[number, ("githubAppPrivateKey", "hush")]).starts_with("githubAppPrivateKey is no RSA"));
    }
}
