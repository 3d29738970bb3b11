//! A GET over a connection, plain or TLS. Certificates are not checked, as Kubernetes' probes do not.

use crate::base::tls;
use crate::kubelet::probes::reach::Stream;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

/// The status code of the answer.
pub async fn get(
    stream: Box<dyn Stream>,
    secure: bool,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, String> {
    let stream: Box<dyn Stream> = if secure { Box::new(tls::unchecked(stream, host).await?) } else { stream };
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
