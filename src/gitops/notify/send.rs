//! Sends requests: TLS is verified, redirects are not followed, answers have a limit and a deadline.

use super::answer::{Verdict, judge};
use super::request::Outgoing;
use crate::gitops::https;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// As much of an answer as is read.
const LARGEST: usize = 64 << 10;

pub struct Sender {
    timeout: Duration,
    /// Trusts the system's CAs; read at the first use.
    system: Mutex<Option<Arc<ClientConfig>>>,
}

impl Sender {
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, system: Mutex::default() }
    }

    /// What became of it. The words of the verdict may hold what the server said, secrets included.
    pub async fn send(&self, outgoing: Outgoing, now: Timestamp) -> Verdict {
        let later = |why: String| Verdict::Later { why, after: Duration::ZERO };
        match tokio::time::timeout(self.timeout, self.exchange(outgoing, now)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => later(https::chain(&*error)),
            Err(_) => later(format!("no answer within {} s", self.timeout.as_secs())),
        }
    }

    async fn exchange(&self, outgoing: Outgoing, now: Timestamp) -> Result<Verdict, Box<dyn Error + Send + Sync>> {
        let client = https::client((*self.config(&outgoing.authorities)?).clone());
        let mut request = Request::builder().method(Method::POST).uri(outgoing.uri).body(Full::new(outgoing.body))?;
        *request.headers_mut() = outgoing.headers;
        let (head, body) = client.request(request).await?.into_parts();
        // What is too long, or breaks off, is nothing but an explanation.
        let body = Limited::new(body, LARGEST).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(judge(head.status, &head.headers, &String::from_utf8_lossy(&body), now))
    }

    fn config(
        &self,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Arc<ClientConfig>, Box<dyn Error + Send + Sync>> {
        if !authorities.is_empty() {
            return Ok(Arc::new(https::trust(authorities)?));
        }
        let mut system = self.system.lock();
        if let Some(config) = &*system {
            return Ok(config.clone());
        }
        Ok(system.insert(Arc::new(https::trust(&[])?)).clone())
    }
}
