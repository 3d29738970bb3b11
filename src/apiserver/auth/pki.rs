//! The CA and the serving certificate in the data directory's `pki/`, and the administrator's
//! token beside it. The CA is made once; the serving certificate at every start.

use super::accounts::{AccountKeys, KeyError};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CA_YEARS: i64 = 10;
/// Clocks differ: certificates are valid from a while before they were made.
const BACKDATED_HOURS: i64 = 24;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot read or write {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot check client certificates: {0}")]
    Clients(#[from] rustls::server::VerifierBuilderError),
    #[error("pki/sa.key: {0}")]
    Accounts(#[from] KeyError),
}

/// What a server needs to be reached: TLS, the CA for clients, the administrator's token.
pub struct Pki {
    /// PEM, for kubeconfigs.
    pub ca: String,
    pub tls: Arc<rustls::ServerConfig>,
    /// 64 hexadecimal digits.
    pub token: String,
    /// Signs service account tokens.
    pub account_keys: Arc<AccountKeys>,
}

impl Pki {
    /// Reads what is in `directory` (`pki/{ca.crt,ca.key,sa.key}`, `token`), makes what is missing,
    /// and a serving certificate for localhost, the machine's name and `addresses`.
    pub fn load_or_create(directory: &Path, addresses: &[IpAddr]) -> Result<Self, PkiError> {
        let pki = directory.join("pki");
        std::fs::create_dir_all(&pki).map_err(|source| PkiError::File { path: pki.clone(), source })?;
        let (certificate, key) = (pki.join("ca.crt"), pki.join("ca.key"));
        if !key.exists() || !certificate.exists() {
            let (pem, key_pem) = new_ca()?;
            write(&key, &key_pem)?;
            write(&certificate, &pem)?;
        }
        let (ca, ca_key) = (read(&certificate)?, read(&key)?);
        let token = directory.join("token");
        if !token.exists() {
            write(&token, &new_token())?;
        }
        let accounts = pki.join("sa.key");
        if !accounts.exists() {
            write(&accounts, &KeyPair::generate()?.serialize_pem())?;
        }
        let account_keys = AccountKeys::new(&KeyPair::from_pem(&read(&accounts)?)?.serialize_der())?;
        let tls = serving(&ca, &ca_key, addresses)?;
        let token = read(&token)?.trim().to_string();
        Ok(Self { ca, tls: Arc::new(tls), token, account_keys: Arc::new(account_keys) })
    }
}

fn new_token() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_ca() -> Result<(String, String), PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "selkie-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    validity(&mut params, CA_YEARS);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn validity(params: &mut CertificateParams, years: i64) {
    let now = jiff::Timestamp::now().as_second();
    let date = |seconds: i64| {
        let time = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
        rcgen::date_time_ymd(i32::from(time.year()), time.month().unsigned_abs(), time.day().unsigned_abs())
    };
    params.not_before = date(now - BACKDATED_HOURS * 3600);
    params.not_after = date(now + years * 365 * 24 * 3600);
}

fn serving(ca: &str, ca_key: &str, addresses: &[IpAddr]) -> Result<rustls::ServerConfig, PkiError> {
    let issuer = Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(ca_key)?)?;
    let mut names: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).into();
    names.push("kubernetes.default.svc.cluster.local".into());
    let host = rustix::system::uname().nodename().to_string_lossy().to_string();
    names.extend((!host.is_empty() && !names.contains(&host)).then_some(host));
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for address in loopback.iter().chain(addresses).filter(|address| !address.is_unspecified()) {
        let text = address.to_string();
        names.extend((!names.contains(&text)).then_some(text));
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "selkie-apiserver");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    validity(&mut params, 1);
    let key = KeyPair::generate()?;
    let certificate: CertificateDer<'static> = params.signed_by(&key, &issuer)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()).flatten() {
        roots.add(certificate)?;
    }
    // Clients may show a certificate of our CA; without one they are asked for a token.
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::File { path: path.into(), source })
}

/// Written beside and renamed, so that a crash leaves no half file; readable by the owner only.
fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { path: path.into(), source };
    let draft = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_and_kept_private() {
        let directory = tempfile::tempdir().unwrap();
        let first = Pki::load_or_create(directory.path(), &[]).unwrap();
        let second = Pki::load_or_create(directory.path(), &[IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))]).unwrap();
        assert_eq!((&first.ca, &first.token), (&second.ca, &second.token));
        assert_eq!(first.token.len(), 64);
        for name in ["pki/ca.key", "pki/ca.crt", "pki/sa.key", "token"] {
            let mode = directory.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
