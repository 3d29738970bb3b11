//! An HTTP server that keeps what it is sent and answers what it is told. Also part of the library's own
//! tests.

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A request, its headers by their names in lower case.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    /// `POST /path`
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<String>>,
    stopped: AtomicBool,
}

/// Ends when it is dropped.
pub struct HttpServer {
    address: SocketAddr,
    /// Of its own certificate, in PEM; empty: it speaks HTTP.
    pub authority: String,
    state: Arc<State>,
}

impl HttpServer {
    pub fn start() -> Self {
        Self::listen(None, String::new())
    }

    /// With a certificate for `localhost` that it signed itself.
    pub fn start_tls() -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a certificate that fits its key");
        Self::listen(Some(Arc::new(config)), own.cert.pem())
    }

    fn listen(tls: Option<Arc<ServerConfig>>, authority: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, state) = (listener.local_addr().expect("its address"), Arc::<State>::default());
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, tls) = (serving.clone(), tls.clone());
                // Who breaks off gets no answer.
                std::thread::spawn(move || match tls.map(ServerConnection::new) {
                    None => serve(stream, &state),
                    Some(Ok(connection)) => serve(StreamOwned::new(connection, stream), &state),
                    Some(Err(error)) => panic!("{error}"),
                });
            }
        });
        Self { address, authority, state }
    }

    pub fn url(&self) -> String {
        match self.authority.as_str() {
            "" => format!("http://{}", self.address),
            _ => format!("https://localhost:{}", self.address.port()),
        }
    }

    /// The next request that has no answer yet gets this one: status line and headers, as in
    /// `429 Too Many Requests\r\nRetry-After: 1`. All others get 200.
    pub fn answer(&self, head: &str) {
        self.state.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(head.to_owned());
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: impl Read + Write, state: &State) {
    let mut stream = BufReader::new(stream);
    let Some(received) = read(&mut stream) else { return };
    let answer = state.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    state.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    let head = answer.unwrap_or_else(|| "200 OK".to_owned());
    let text = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush());
}

/// `None`: there is no whole request.
fn read(stream: &mut impl BufRead) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let fields = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<_, _> = fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    let line = lines.first()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some(Received { at: Instant::now(), line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
