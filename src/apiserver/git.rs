//! The seam to whoever serves the repositories at `/git/NAME`: applications are above the API server,
//! so that it is injected. Whoever gets here is known, and may update the application.

use super::Body;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderMap, Response, StatusCode};
use std::io;

/// What git's smart HTTP protocol asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitService {
    /// A fetch.
    UploadPack,
    /// A push.
    ReceivePack,
}

impl GitService {
    /// The name in paths and queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::UploadPack, Self::ReceivePack].into_iter().find(|service| service.name() == name)
    }
}

pub struct GitRequest {
    /// What follows `/git/` in the path: any text.
    pub application: String,
    pub service: GitService,
    /// Only which refs there are.
    pub advertisement: bool,
    /// Who asks.
    pub user: String,
    pub headers: HeaderMap,
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

#[async_trait]
pub trait GitServer: Send + Sync + 'static {
    /// Never fails: what is wrong is told by the response, as plain text, which git shows.
    async fn serve(&self, request: GitRequest) -> Response<Body>;
}

/// For servers without applications: there are no repositories.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGit;

#[async_trait]
impl GitServer for NoGit {
    async fn serve(&self, _request: GitRequest) -> Response<Body> {
        let mut response = Response::new(Body::from("this server has no repositories\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}
