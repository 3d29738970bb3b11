//! The seam to whoever acts on the webhooks that come in at `/hooks/NAME`: applications are above the
//! API server, so that it is injected. No user is asked for there; a signature is all that counts.

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use std::net::IpAddr;
use tokio::sync::OwnedSemaphorePermit;

/// What came in.
pub struct Delivery {
    /// What follows `/hooks/` in the path.
    pub name: String,
    pub headers: HeaderMap,
    /// `None`: larger than is taken, or not sent in time.
    pub body: Option<Bytes>,
    /// The other end of the connection, where there is one.
    pub peer: Option<IpAddr>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many applications look at their sources again.
    Accepted(usize),
    /// No such application, it takes no webhooks, or the signature is not right. Nobody is told which.
    Refused,
    /// Too many of them.
    Limited,
    /// Nobody is there yet.
    Unready,
}

#[async_trait]
pub trait Webhooks: Send + Sync + 'static {
    /// Asked before the body is read; `None` is too many. To be held until there is a verdict.
    fn admit(&self, peer: Option<IpAddr>) -> Option<OwnedSemaphorePermit>;

    async fn deliver(&self, delivery: Delivery) -> Verdict;
}

/// For servers without applications: nothing is admitted.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWebhooks;

#[async_trait]
impl Webhooks for NoWebhooks {
    fn admit(&self, _peer: Option<IpAddr>) -> Option<OwnedSemaphorePermit> {
        None
    }

    async fn deliver(&self, _delivery: Delivery) -> Verdict {
        Verdict::Unready
    }
}
