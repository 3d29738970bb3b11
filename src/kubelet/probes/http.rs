//! A GET over a connection, plain or TLS. Certificates are not checked, as Kubernetes' probes do not.

use crate::kubelet::probes::reach::Stream;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// The status code of the answer.
pub async fn get(
    stream: Box<dyn Stream>,
    secure: bool,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, String> {
    let stream: Box<dyn Stream> = if secure { Box::new(tls(stream, host).await?) } else { stream };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let is_host = |name: &str| name.eq_ignore_ascii_case("host");
    let own_host = headers.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone());
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let mut request = Request::get(path)
        .header("Host", own_host.unwrap_or_else(|| format!("{bracketed}:{port}")))
        .header("User-Agent", "kube-probe/1.36")
        .header("Accept", "*/*");
    for (name, value) in headers.iter().filter(|(name, _)| !is_host(name)) {
        request = request.header(name, value);
    }
    let request =
        request.header("Connection", "close").body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    drop(driver);
    answer.map(|answer| answer.status().as_u16()).map_err(|error| match error.is_incomplete_message() {
        true => "EOF".to_string(),
        false => error.to_string(),
    })
}

async fn tls(stream: Box<dyn Stream>, host: &str) -> Result<tokio_rustls::client::TlsStream<Box<dyn Stream>>, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

/// A probe asks whether the server works, not who it is; signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
