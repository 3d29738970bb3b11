//! TCP and TLS: accepting connections, limits, ending them in order.

use super::hooks::Remote;
use super::unread;
use crate::apiserver::ApiServer;
use crate::apiserver::auth::{certificates, identity::Peer};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections beyond this wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long requests in flight may take to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(2);

impl ApiServer {
    /// Serves HTTPS until `shutdown` resolves, then lets requests in flight finish for a moment.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let acceptor = TlsAcceptor::from(tls);
        let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            let (stream, address) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, or a peer that went away: others may still come.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
                () = &mut shutdown => break,
            };
            let server = self.clone();
            let acceptor = acceptor.clone();
            let stop = stop.clone();
            connections.spawn(async move {
                server.connection(stream, Remote(address.ip()), acceptor, stop).await;
                drop(slot);
            });
        }
        drop(listener);
        stop.cancel();
        connections.close();
        // Watches and streams never end by themselves; the process ends them.
        let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        remote: Remote,
        acceptor: TlsAcceptor,
        stop: CancellationToken,
    ) {
        // Small responses must not wait for more to come.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await;
        let Ok(Ok(stream)) = handshake else {
            tracing::debug!("a TLS handshake failed");
            return;
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.and_then(|certificate| certificates::user(certificate)).map(|user| Peer(Arc::new(user)));
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let server = self.clone();
            request.extensions_mut().insert(remote);
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            async move {
                let (parts, body) = request.into_parts();
                let multiplexed = parts.version == http::Version::HTTP_2;
                let (lent, rest) = unread::lend(body);
                let response = server.handle_authenticated(http::Request::from_parts(parts, lent)).await;
                if multiplexed && (response.status().is_client_error() || response.status().is_server_error()) {
                    rest.discard().await;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30)).max_buf_size(256 * 1024);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1000)
            .max_header_list_size(64 * 1024)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .max_send_buf_size(1024 * 1024)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a connection ended early");
        }
    }
}
