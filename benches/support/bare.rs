//! The baseline: an HTTPS server of the same libraries that answers fixed bytes from memory.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Answers = Arc<RwLock<HashMap<String, Bytes>>>;

pub struct Server {
    pub address: SocketAddr,
    pub ca: Vec<u8>,
    answers: Answers,
}

impl Server {
    pub async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("TLS settings");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers = Answers::default();
        let shared = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answers) = (acceptor.clone(), shared.clone());
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        let body = answers.read().get(request.uri().path()).cloned().unwrap_or_default();
                        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
                    });
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        Self { address, ca: made.cert.pem().into_bytes(), answers }
    }

    pub fn set(&self, path: &str, body: Bytes) {
        self.answers.write().insert(path.into(), body);
    }
}
