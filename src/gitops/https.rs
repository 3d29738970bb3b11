//! What clients of HTTPS here have in common: whom they trust, and how their errors read.

use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::sync::Arc;

pub type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>;

/// A client that verifies certificates; what it is asked over plain HTTP goes over plain HTTP.
pub fn client(trust: ClientConfig) -> HttpsClient {
    let connector = HttpsConnectorBuilder::new().with_tls_config(trust).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Trusts these CAs; where there are none, those of the system (or of `SSL_CERT_FILE`).
pub fn trust(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    if authorities.is_empty() {
        return Ok(builder.with_native_roots()?.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates in a PEM text, which is called `name`; an empty text has none.
pub fn certificates(name: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| format!("{name} is not in PEM format"))?;
    if found.is_empty() && !text.trim_ascii().is_empty() {
        return Err(format!("{name} holds no certificate in PEM format"));
    }
    Ok(found)
}

/// An error and its causes in a line.
pub fn chain(error: &dyn Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
