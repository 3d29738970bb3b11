//! Whether a server is who it says it is: its certificate against the CAs, its host key against the
//! known hosts, that an Application brings along. What it does not bring is libgit2's to check: the
//! system's CAs, and ~/.ssh/known_hosts. Nothing is ever trusted at first sight.

use crate::gitops::sources::Credentials;
use crate::gitops::sources::location::GitLocation;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use git2::cert::{Cert, CertHostkey};
use git2::{CertificateCheckStatus, ErrorClass, ErrorCode};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use std::sync::Arc;

pub(super) fn check(
    location: &GitLocation,
    credentials: &Credentials,
    certificate: &Cert<'_>,
    host: &str,
) -> Result<CertificateCheckStatus, git2::Error> {
    if let Some(certificate) = certificate.as_x509() {
        let trusted = certified(credentials.authorities(), certificate.data(), host);
        return Ok(if trusted {
            CertificateCheckStatus::CertificateOk
        } else {
            CertificateCheckStatus::CertificatePassthrough
        });
    }
    match (credentials.known_hosts(), certificate.as_hostkey()) {
        (Some(known), Some(key)) => known_host(known, location, host, key),
        (None, _) => Ok(CertificateCheckStatus::CertificatePassthrough),
        (_, None) => Err(refused("the server shows neither a certificate nor a host key")),
    }
}

/// Whether one of the CAs signed the certificate for this host, or the certificate is one of them.
fn certified(authorities: &[CertificateDer<'static>], certificate: &[u8], host: &str) -> bool {
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(authorities.iter().cloned()).0 == 0 {
        return false;
    }
    let (Ok(name), shown) = (ServerName::try_from(host.to_owned()), CertificateDer::from(certificate)) else {
        return false;
    };
    if authorities.contains(&shown) {
        // Signed by itself, and given to us as it is: only the name is left to check.
        let parsed = ParsedCertificate::try_from(&shown);
        return parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.is_ok_and(|verifier| verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now()).is_ok())
}

fn known_host(
    known: &str,
    location: &GitLocation,
    host: &str,
    key: &CertHostkey<'_>,
) -> Result<CertificateCheckStatus, git2::Error> {
    let port = location.host().and_then(|(_, port)| port).unwrap_or(22);
    let Some(shown) = key.hostkey() else { return Err(refused("the server shows no host key")) };
    match verdict(known, host, port, shown) {
        Verdict::Known => Ok(CertificateCheckStatus::CertificateOk),
        Verdict::Unknown => Err(refused("the Secret's known_hosts does not have this host")),
        Verdict::Other => Err(refused("the host's key is not the one that the Secret's known_hosts has")),
        Verdict::Revoked => Err(refused("the host's key is revoked in the Secret's known_hosts")),
    }
}

fn refused(what: &str) -> git2::Error {
    git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssh, what)
}

/// What to do about a host that is not known.
pub(super) fn unknown_host(location: &GitLocation) -> String {
    let (host, port) = location.host().unwrap_or(("HOST", None));
    let port = port.map(|port| format!("-p {port} ")).unwrap_or_default();
    format!(
        "if its fingerprint is right, add what `ssh-keyscan {port}{host}` prints to known_hosts in the Secret that \
         spec.source.secretRef names, or to ~/.ssh/known_hosts of the daemon's user"
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Known,
    Unknown,
    /// The host is there with other keys.
    Other,
    Revoked,
}

/// Reads the file's format: `[@marker] names type key`, names plain, with wildcards, or hashed.
fn verdict(known: &str, host: &str, port: u16, key: &[u8]) -> Verdict {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let mut verdict = Verdict::Unknown;
    for line in known.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(names), Some(_type), Some(text)) = (words.next(), words.next(), words.next()) else { continue };
        // Authorities of host certificates, which libssh2 does not know.
        if marker == Some("@cert-authority") || !matches(names, &name) {
            continue;
        }
        let same = STANDARD.decode(text).is_ok_and(|bytes| bytes == key);
        match (marker, same) {
            (Some("@revoked"), true) => return Verdict::Revoked,
            (None, true) => verdict = Verdict::Known,
            (None, false) if verdict == Verdict::Unknown => verdict = Verdict::Other,
            _ => {}
        }
    }
    verdict
}

fn matches(names: &str, name: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        let Some((salt, hash)) = hashed.split_once('|') else { return false };
        let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        return ring::hmac::verify(&key, name.as_bytes(), &hash).is_ok();
    }
    let name = name.to_lowercase();
    let mut found = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if wildcard(&pattern.to_lowercase(), &name) => return false,
            Some(_) => {}
            None => found |= wildcard(&pattern.to_lowercase(), &name),
        }
    }
    found
}

/// `*` stands for any characters, `?` for one.
fn wildcard(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            wildcard(&pattern[1..], text)
                || text.chars().next().is_some_and(|c| wildcard(pattern, &text[c.len_utf8()..]))
        }
        (Some('?'), Some(c)) => wildcard(&pattern[1..], &text[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => wildcard(&pattern[p.len_utf8()..], &text[c.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    #[test]
    fn only_the_given_authority_and_the_right_name_are_trusted() {
        let authority = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.self_signed(&key).unwrap().der().clone(), Issuer::new(params, key))
        };
        let (ours, issuer) = authority("ours");
        let (theirs, _) = authority("theirs");
        let params = CertificateParams::new(vec!["git.example".to_owned()]).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        assert!(certified(std::slice::from_ref(&ours), leaf.der(), "git.example"));
        assert!(!certified(std::slice::from_ref(&ours), leaf.der(), "other.example"));
        assert!(!certified(&[theirs], leaf.der(), "git.example"));
        assert!(!certified(&[], leaf.der(), "git.example"));

        let own = rcgen::generate_simple_self_signed(vec!["git.example".to_owned()]).unwrap();
        assert!(certified(&[own.cert.der().clone()], own.cert.der(), "git.example"));
        assert!(!certified(&[own.cert.der().clone()], own.cert.der(), "other.example"));
    }

    #[test]
    fn known_hosts_are_read_as_ssh_does() {
        let key = b"key";
        let text = STANDARD.encode(key);
        let salted = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"salt");
        let hash = STANDARD.encode(ring::hmac::sign(&salted, b"[hidden.example]:2222"));
        let known = format!(
            "# a comment\ngit.example,10.0.0.1 ssh-ed25519 {text} me\n[git.example]:2222 ssh-rsa b3RoZXI=\n\
             *.wild.example,!bad.wild.example ssh-ed25519 {text}\n|1|{}|{hash} ssh-ed25519 {text}\n\
             gone.example ssh-ed25519 {text}\n@revoked gone.example ssh-ed25519 {text}\n",
            STANDARD.encode("salt")
        );
        for (host, port, expected) in [
            ("git.example", 22, Verdict::Known),
            ("GIT.example", 22, Verdict::Known),
            ("10.0.0.1", 22, Verdict::Known),
            ("git.example", 2222, Verdict::Other),
            ("git.example", 23, Verdict::Unknown),
            ("a.wild.example", 22, Verdict::Known),
            ("bad.wild.example", 22, Verdict::Unknown),
            ("hidden.example", 2222, Verdict::Known),
            ("hidden.example", 22, Verdict::Unknown),
            ("gone.example", 22, Verdict::Revoked),
        ] {
            assert_eq!(verdict(&known, host, port, key), expected, "{host}:{port}");
        }
        let location = GitLocation::new("ssh://git@git.example:2222/r", "", "").unwrap();
        assert!(unknown_host(&location).contains("ssh-keyscan -p 2222 git.example"));
    }
}
