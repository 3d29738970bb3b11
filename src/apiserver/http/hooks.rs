//! `POST /hooks/NAME`: no credentials, just a body and its signature, which is whoever acts on it to
//! check. The answers tell a stranger nothing about which applications there are.

use super::body::{self, Body, RequestBody};
use super::respond;
use crate::apiserver::ApiServer;
use crate::apiserver::webhooks::{Delivery, Verdict};
use http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use std::net::IpAddr;
use std::time::Duration;

/// The largest body that is taken.
const BODY_LIMIT: usize = 1024 * 1024;
/// How long it may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How long a body that nobody wants is let come: who is still sending may not see the answer.
const UNWANTED: Duration = Duration::from_secs(1);

/// Where a connection comes from, put into its requests' extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub IpAddr);

impl ApiServer {
    pub(super) async fn hook<B: RequestBody>(&self, name: &str, request: Request<B>) -> Response<Body> {
        let peer = request.extensions().get::<Remote>().map(|remote| remote.0);
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            discard(body).await;
            let mut response = respond::text(StatusCode::METHOD_NOT_ALLOWED, "webhooks are posted\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let Some(_admitted) = self.webhooks.admit(peer) else {
            discard(body).await;
            return answer(Verdict::Limited);
        };
        let read = tokio::time::timeout(BODY_DEADLINE, body::read(body, BODY_LIMIT)).await;
        let body = read.ok().and_then(Result::ok);
        let too_large = body.is_none();
        let delivery = Delivery { name: name.to_owned(), headers: parts.headers, body, peer };
        let verdict = self.webhooks.deliver(delivery).await;
        if too_large {
            let limit = BODY_LIMIT / (1024 * 1024);
            let text = format!("the body is larger than {limit} MiB, or did not arrive in time\n");
            return respond::text(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        answer(verdict)
    }
}

async fn discard<B: RequestBody>(body: B) {
    // Whatever comes of it.
    let _ = tokio::time::timeout(UNWANTED, body::read(body, 0)).await;
}

fn answer(verdict: Verdict) -> Response<Body> {
    match verdict {
        Verdict::Accepted(1) => respond::text(StatusCode::ACCEPTED, "1 application looks at its source\n"),
        Verdict::Accepted(count) => {
            respond::text(StatusCode::ACCEPTED, format!("{count} applications look at their sources\n"))
        }
        Verdict::Refused => respond::text(StatusCode::UNAUTHORIZED, "unknown application, or wrong signature\n"),
        Verdict::Limited => retry(StatusCode::TOO_MANY_REQUESTS, "too many webhooks\n"),
        Verdict::Unready => retry(StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n"),
    }
}

fn retry(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = respond::text(code, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    response
}
