//! `pods/x/proxy` and `services/x/proxy` (of nodes: [`super::kubelet`]): requests to what a pod serves, through this server. Which port of
//! which pod is meant, and the texts, are Kubernetes'; the bytes go the way of port forwarding.

use super::body::{Body, RequestBody};
use super::respond;
use super::verbs::Ask;
use crate::api::error::ApiError;
use crate::apiserver::resources::At;
use crate::apiserver::resources::object::parse;
use crate::base::tls;
use crate::store;
use futures::StreamExt;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// What is between a client and this server, or this server and the pod, and not passed on.
const HOPS: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where a request goes.
struct Target {
    pod: Value,
    node: String,
    port: u16,
    secure: bool,
}

impl Ask<'_> {
    pub(super) async fn proxy<B: RequestBody>(&self, body: B) -> Result<Response<Body>, ApiError> {
        let method = &self.parts.method;
        self.allowed(match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        })?;
        let target = match self.resource.plural.as_str() {
            "pods" => self.of_pod()?,
            "services" => self.of_service()?,
            "nodes" => {
                let (_, name, port) = split(self.path.name).ok_or_else(|| self.misnamed("node"))?;
                return self.kubelet((name, port)).await;
            }
            _ => return Err(ApiError::no_such_resource()),
        };
        let Some(rest) = rest(self.parts.uri.path()) else {
            // Relative links of the page behind it would lead elsewhere.
            return match *method {
                Method::GET | Method::HEAD => Ok(with_slash(&self.parts.uri)),
                _ => self.pass(target, "/", body).await,
            };
        };
        self.pass(target, &format!("/{rest}"), body).await
    }

    fn of_pod(&self) -> Result<Target, ApiError> {
        let (scheme, name, port) = split(self.path.name).ok_or_else(|| self.misnamed("pod"))?;
        let secure = scheme == "https";
        let pod = parse(&*At { name, ..self.at() }.get(&self.server.view())?);
        let first = || {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let mut ports = containers.filter_map(|container| container["ports"][0]["containerPort"].as_u64());
            ports.next().and_then(|port| u16::try_from(port).ok()).unwrap_or(if secure { 443 } else { 80 })
        };
        let unknown =
            |_| unavailable(format!("error trying to reach service: dial tcp: lookup tcp/{port}: unknown port"));
        let port = if port.is_empty() { first() } else { port.parse().map_err(unknown)? };
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        if node.is_empty() || pod["status"]["podIP"].as_str().is_none_or(str::is_empty) {
            return Err(ApiError::bad_request("address not allowed"));
        }
        Ok(Target { pod, node, port, secure })
    }

    /// A ready pod behind a port of the service.
    fn of_service(&self) -> Result<Target, ApiError> {
        let (scheme, name, port) = split(self.path.name).ok_or_else(|| self.misnamed("service"))?;
        let service = parse(&*At { name, ..self.at() }.get(&self.server.view())?);
        let mut port = port;
        if let Ok(number) = port.parse::<u64>() {
            let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let found = ports.find(|one| one["port"].as_u64() == Some(number));
            let found =
                found.ok_or_else(|| unavailable(format!("no service port {number} found for service {name:?}")))?;
            port = found["name"].as_str().unwrap_or_default();
        }
        let of = |plural, name: &str| self.server.store.get(&store::key("", plural, self.path.namespace, name));
        let endpoints = of("endpoints", name).map(|record| parse(&record)).unwrap_or_default();
        let named = |one: &&Value| one["name"].as_str().unwrap_or_default() == port;
        let mut ready = Vec::new();
        for subset in endpoints["subsets"].as_array().into_iter().flatten() {
            let Some(port) = subset["ports"].as_array().into_iter().flatten().find(named) else { continue };
            let addresses = subset["addresses"].as_array().into_iter().flatten();
            ready.extend(addresses.map(|address| (address, &port["port"])));
        }
        let nobody = || unavailable(format!("no endpoints available for service {:?}", self.path.name));
        if ready.is_empty() {
            return Err(nobody());
        }
        let turn = usize::try_from(self.server.clock.now().subsec_nanosecond()).unwrap_or(0) / 1000;
        let (address, port) = ready[turn % ready.len()];
        let pod = address["targetRef"]["name"].as_str().and_then(|name| of("pods", name));
        let pod = pod.map(|record| parse(&record)).ok_or_else(nobody)?;
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).ok_or_else(nobody)?;
        Ok(Target { pod, node, port, secure: scheme == "https" })
    }

    fn misnamed(&self, what: &str) -> ApiError {
        ApiError::bad_request(format!("invalid {what} request {:?}", self.path.name))
    }

    async fn pass<B: RequestBody>(&self, target: Target, path: &str, body: B) -> Result<Response<Body>, ApiError> {
        let Target { pod, node, port, secure } = target;
        let unreached = |why: String| unavailable(format!("error trying to reach service: {why}"));
        let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
        let address = format!("{ip}:{port}");
        let connection = self.server.streams.connect(&node, &pod, port).await;
        let mut connection = connection.map_err(|error| unreached(format!("{address}: {}", error.message)))?;
        if secure {
            let encrypted = tls::unchecked(connection, ip).await;
            connection = Box::new(encrypted.map_err(|error| unreached(format!("{address}: {error}")))?);
        }
        let (mut client, driver) = http1::handshake(TokioIo::new(connection))
            .await
            .map_err(|error| unreached(format!("{address}: {error}")))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a pod ended its connection");
            }
        });
        let query = self.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = format!("{path}{query}").parse().map_err(|_| ApiError::bad_request("invalid path"))?;
        *request.headers_mut() = self.passed_on(&address);
        let answer = client.send_request(request).await.map_err(|error| unreached(format!("{address}: {error}")))?;
        let (mut parts, body) = answer.into_parts();
        HOPS.iter().for_each(|name| drop(parts.headers.remove(name)));
        let pieces = body.into_data_stream().take_while(|piece| std::future::ready(piece.is_ok()));
        Ok(Response::from_parts(parts, Body::Stream(pieces.filter_map(async |piece| piece.ok()).boxed())))
    }

    /// What a pod gets of the request's headers. Who asks is between the client and this server.
    fn passed_on(&self, address: &str) -> HeaderMap {
        let mut headers = self.parts.headers.clone();
        let ours = [header::AUTHORIZATION, header::HOST];
        HOPS.iter().chain(&ours).for_each(|name| drop(headers.remove(name)));
        let acted: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
        acted.iter().for_each(|name| drop(headers.remove(name)));
        if let Ok(host) = HeaderValue::from_str(address) {
            headers.insert(header::HOST, host);
        }
        if let Ok(uri) = HeaderValue::from_str(self.parts.uri.path()) {
            headers.insert("x-forwarded-uri", uri);
        }
        headers
    }
}

fn unavailable(message: String) -> ApiError {
    ApiError::new(503, "ServiceUnavailable", message)
}

/// Scheme, name and port (empty: none) of `name`, `name:port` and `scheme:name:port`; `None` for anything else.
/// Source: Kubernetes' `SplitSchemeNamePort`.
fn split(id: &str) -> Option<(&str, &str, &str)> {
    let mut parts = id.split(':');
    let (scheme, name, port) = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (name, None, ..) => ("", name, ""),
        (name, Some(port), None, _) => ("", name, port),
        (scheme, Some(name), Some(port), None) => (scheme, name, port),
        _ => return None,
    };
    (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some((scheme, name, port))
}

/// What follows `/api/v1/namespaces/NAMESPACE/KIND/NAME/proxy/`, as it was written; `None` without that slash.
fn rest(path: &str) -> Option<&str> {
    path.splitn(9, '/').nth(8)
}

fn with_slash(uri: &Uri) -> Response<Body> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = respond::text(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_schemes_and_ports() {
        for (id, expected) in [
            ("web", ("", "web", "")),
            ("web:", ("", "web", "")),
            ("web:8080", ("", "web", "8080")),
            ("http:web:http", ("http", "web", "http")),
            ("http:web:", ("http", "web", "")),
            (":web:80", ("", "web", "80")),
            ("https:h1:10250", ("https", "h1", "10250")),
            ("https:h1:", ("https", "h1", "")),
        ] {
            assert_eq!(split(id), Some(expected), "{id}");
        }
        for wrong in ["", ":80", "ftp:web:80", "http::80", "http:web:80:x", "https:h1::"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_rest_is_passed_on_as_it_is() {
        assert_eq!(rest("/api/v1/namespaces/default/pods/web/proxy"), None);
        assert_eq!(rest("/api/v1/namespaces/default/pods/web/proxy/"), Some(""));
        assert_eq!(rest("/api/v1/namespaces/default/pods/web/proxy/a%2Fb//c/"), Some("a%2Fb//c/"));
    }
}
