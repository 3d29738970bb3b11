//! The server as a tower service inside the process: no TCP, no TLS, no copy of bodies.

use super::body::{Body, RequestBody};
use super::respond::{self, Style};
use crate::api::error::ApiError;
use crate::apiserver::{ApiServer, User};
use futures::StreamExt;
use futures::future::BoxFuture;
use http::header::{HeaderValue, UPGRADE, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Bytes in flight each way over an upgraded connection.
const PIPE: usize = 128 * 1024;

/// Requests of one user. Give it to `kube::Client::new`.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<ApiServer>,
    user: Arc<User>,
}

impl ApiServer {
    /// A service whose requests are made by `user`.
    pub fn service(self: &Arc<Self>, user: User) -> InProcess {
        InProcess { server: self.clone(), user: Arc::new(user) }
    }
}

impl<B: RequestBody> Service<Request<B>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Self { server, user } = self.clone();
        // What it writes is recorded under its name; clients inside the process send no agent.
        if let (false, Ok(name)) = (request.headers().contains_key(USER_AGENT), HeaderValue::from_str(&user.name)) {
            request.headers_mut().insert(USER_AGENT, name);
        }
        if request.headers().contains_key(UPGRADE) {
            return Box::pin(async move { Ok(over_pipe(server, user, request).await) });
        }
        Box::pin(async move { Ok(server.handle(&user, request).await) })
    }
}

/// Only a connection can be taken over, so an upgrade gets one of its own.
async fn over_pipe<B: RequestBody>(server: Arc<ApiServer>, user: Arc<User>, request: Request<B>) -> Response<Body> {
    let (near, far) = tokio::io::duplex(PIPE);
    let service = service_fn(move |request| {
        let (server, user) = (server.clone(), user.clone());
        async move { Ok::<_, Infallible>(server.handle(&user, request).await) }
    });
    tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).with_upgrades());
    let exchange = async {
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near)).await?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request.map(BodyExt::boxed_unsync)).await
    };
    match exchange.await {
        Ok(response) => response.map(|body| {
            let pieces = BodyDataStream::new(body).filter_map(|piece| std::future::ready(piece.ok()));
            Body::Stream(pieces.boxed())
        }),
        Err(error) => respond::error(&ApiError::internal(error), Style::default()),
    }
}
