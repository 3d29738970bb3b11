//! `/git/NAME`: who pushes to an application's repository, or fetches from it, and whether they may.
//! git itself knows basic authentication only: any name, and a token of the API as the password.

use super::body::{Body, RequestBody};
use super::query::Query;
use super::respond;
use crate::api::error::ApiError;
use crate::apiserver::auth::{Attributes, identity, unauthorized};
use crate::apiserver::git::{GitRequest, GitService};
use crate::apiserver::{ApiServer, User};
use futures::{StreamExt, TryStreamExt};
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyDataStream;
use std::io;
use std::sync::Arc;

/// Where Applications live.
const NAMESPACE: &str = "selkie-system";

impl ApiServer {
    /// `name`: the application; `rest`: what is asked of its repository.
    pub(super) async fn git<B: RequestBody>(&self, name: &str, rest: &str, request: Request<B>) -> Response<Body> {
        let name = name.strip_suffix(".git").unwrap_or(name);
        let user = match self.git_user(&request) {
            Ok(user) => user,
            Err(error) => return refuse(&error),
        };
        let Some((service, advertisement)) = asked(&request, rest) else {
            return respond::text(StatusCode::NOT_FOUND, "only git's smart HTTP protocol is spoken here\n");
        };
        // What is pushed may hold Secrets: who may not push may not fetch either.
        let update = Attributes {
            verb: "update",
            group: "selkie.dev",
            resource: "applications",
            namespace: NAMESPACE,
            name,
            ..Attributes::default()
        };
        if let Err(error) = self.authorize(&user, &update) {
            return refuse(&error);
        }
        let (parts, body) = request.into_parts();
        let body = BodyDataStream::new(body).map_err(io::Error::other).boxed();
        let (application, user) = (name.to_owned(), user.name.clone());
        self.git.serve(GitRequest { application, service, advertisement, user, headers: parts.headers, body }).await
    }

    fn git_user<B>(&self, request: &Request<B>) -> Result<Arc<User>, ApiError> {
        let user = match identity::password(request.headers()) {
            Some(token) => self.bearer(&token, &[]).map(|(user, _)| user),
            None => self.authenticate(request)?,
        };
        self.acting(user.ok_or_else(unauthorized)?, request.headers())
    }
}

/// The service, and whether only its refs are asked for.
fn asked<B>(request: &Request<B>, rest: &str) -> Option<(GitService, bool)> {
    if rest == "info/refs" && request.method() == Method::GET {
        let service = GitService::named(Query::parse(request.uri().query()).get("service")?)?;
        return Some((service, true));
    }
    let service = GitService::named(rest).filter(|_| request.method() == Method::POST)?;
    Some((service, false))
}

fn refuse(error: &ApiError) -> Response<Body> {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond::text(code, format!("{}\n", error.message));
    if code == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"selkie: any name, a token as the password\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
