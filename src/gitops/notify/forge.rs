//! Statuses of commits, as the APIs of GitHub, GitLab and Gitea (and Forgejo) take them. Pure.

use super::Notification;
use super::commit::{CommitStatus, State};
use super::message::Values;
use crate::gitops::application::Application;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// The longest description that each of them takes, in characters.
const GITHUB_DESCRIPTION: usize = 140;
const GITLAB_DESCRIPTION: usize = 255;

/// What is posted, and where to.
#[derive(Debug, PartialEq)]
pub struct Post {
    pub url: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// The status of a commit, written with `token`.
pub fn post(
    notification: &Notification,
    application: &Application,
    status: &CommitStatus,
    token: &str,
    time: &str,
) -> Result<Post, String> {
    let origin = Origin::read(&application.spec.source.repo_url);
    let base = base(notification, origin.as_ref())?;
    let repository = match (notification.repository.as_str(), &origin) {
        ("", Some(origin)) => origin.path.as_str(),
        ("", None) => return Err("repository must be set: the source is no repository of a server".to_owned()),
        (given, _) => given,
    };
    let values = values(application, status, time);
    let description = match notification.template.as_str() {
        "" => status.message.clone(),
        template => values.fill(template, str::to_owned)?,
    };
    let target = values.fill(&notification.target_url, encoded)?;
    let (url, body) = if notification.kind == "gitlab" {
        gitlab(&base, repository, status)
    } else {
        statuses(&base, repository, status)?
    };
    let limit = if notification.kind == "gitlab" { GITLAB_DESCRIPTION } else { GITHUB_DESCRIPTION };
    let mut body = body;
    body["context"] = json!(format!("selkie/{}", application.name()));
    body["description"] = json!(cut(&description, limit));
    if !target.is_empty() {
        body["target_url"] = json!(target);
    }
    Ok(Post { url, headers: headers(&notification.kind, token)?, body })
}

fn values(application: &Application, status: &CommitStatus, time: &str) -> Values {
    let severity = if status.state == State::Failure { "error" } else { "info" };
    Values::with(application, (status.state.name(), severity), &status.revision, &status.message, time)
}

/// The base of the API: what is given, or where the server of the source has it.
fn base(notification: &Notification, origin: Option<&Origin>) -> Result<String, String> {
    if !notification.url.is_empty() {
        return Ok(notification.url.trim_end_matches('/').to_owned());
    }
    let origin = origin.ok_or("url must be set: the source is no repository of a server")?;
    let Origin { scheme, host, .. } = origin;
    Ok(match notification.kind.as_str() {
        "github" if host == "github.com" => "https://api.github.com".to_owned(),
        "github" => format!("{scheme}://{host}/api/v3"),
        "gitlab" => format!("{scheme}://{host}/api/v4"),
        _ => format!("{scheme}://{host}/api/v1"),
    })
}

/// GitHub's and Gitea's.
fn statuses(base: &str, repository: &str, status: &CommitStatus) -> Result<(String, Value), String> {
    let [owner, name] = repository.split('/').collect::<Vec<_>>()[..] else {
        return Err(format!("{repository:?} is not OWNER/REPOSITORY: set url and repository"));
    };
    let url = format!("{base}/repos/{}/{}/statuses/{}", encoded(owner), encoded(name), status.revision);
    Ok((url, json!({"state": status.state.name()})))
}

fn gitlab(base: &str, repository: &str, status: &CommitStatus) -> (String, Value) {
    let state = match status.state {
        State::Failure => "failed",
        other => other.name(),
    };
    let url = format!("{base}/projects/{}/statuses/{}", encoded(repository), status.revision);
    (url, json!({"state": state}))
}

fn headers(kind: &str, token: &str) -> Result<HeaderMap, String> {
    let (name, value) = match kind {
        "github" => (header::AUTHORIZATION, format!("Bearer {token}")),
        "gitlab" => (HeaderName::from_static("private-token"), token.to_owned()),
        _ => (header::AUTHORIZATION, format!("token {token}")),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| "the Secret's token is not one line of text")?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([(name, value)]);
    if kind == "github" {
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
    }
    Ok(headers)
}

/// The server of a repository, and what it is called there.
#[derive(Debug, PartialEq)]
struct Origin {
    /// Of its API.
    scheme: &'static str,
    /// With the port, where its API has it, too.
    host: String,
    /// `owner/name`
    path: String,
}

impl Origin {
    /// `None`: the URL names no server.
    fn read(url: &str) -> Option<Self> {
        let (scheme, host, path) = match url.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/')?;
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                match scheme {
                    "https" => ("https", host, path),
                    "http" => ("http", host, path),
                    // The port is that of git or ssh.
                    "ssh" | "git" => ("https", host.split(':').next()?, path),
                    _ => return None,
                }
            }
            None => {
                let (host, path) = url.split_once('@')?.1.split_once(':')?;
                ("https", host, path)
            }
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let origin = Self { scheme, host: host.to_lowercase(), path: path.to_owned() };
        (!origin.host.is_empty() && !origin.path.is_empty()).then_some(origin)
    }
}

/// A part of a URL's path, as RFC 3986 writes it.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// At most so many characters.
fn cut(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    line.chars().take(limit - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn post_to(kind: &str, source: &str, state: State, more: Value) -> Result<Post, String> {
        let mut notification = json!({"name": "git", "type": kind});
        more.as_object().unwrap().iter().for_each(|(name, value)| notification[name] = value.clone());
        let application = json!({"metadata": {"name": "shop"}, "spec": {"source": {"repoURL": source}}});
        let status =
            CommitStatus { revision: COMMIT.into(), state, message: "Deployment default/web:\n not ready".into() };
        let notification = serde_json::from_value(notification).unwrap();
        post(&notification, &serde_json::from_value(application).unwrap(), &status, "hush", "")
    }

    fn url(kind: &str, source: &str) -> String {
        post_to(kind, source, State::Success, json!({})).unwrap().url
    }

    #[test]
    fn every_forge_gets_its_own_words() {
        let post = post_to("github", "git@github.com:ann/shop.git", State::Failure, json!({})).unwrap();
        assert_eq!(post.url, format!("https://api.github.com/repos/ann/shop/statuses/{COMMIT}"));
        assert_eq!(
            post.body,
            json!({"state": "failure", "context": "selkie/shop",
            "description": "Deployment default/web: not ready"})
        );
        assert_eq!(post.headers["authorization"], "Bearer hush");
        assert!(!format!("{:?}", post.headers).contains("hush"));

        let more = json!({"targetURL": "https://ci/${name}?m=${message}", "template": "${event}: ${shortRevision}"});
        let post = post_to("gitlab", "https://git.example:8443/group/sub/shop.git", State::Failure, more).unwrap();
        assert_eq!(post.url, format!("https://git.example:8443/api/v4/projects/group%2Fsub%2Fshop/statuses/{COMMIT}"));
        assert_eq!(
            (post.body["state"].as_str(), post.body["description"].as_str()),
            (Some("failed"), Some("failure: 0123456"))
        );
        let target = post.body["target_url"].as_str().unwrap();
        assert_eq!(target, "https://ci/shop?m=Deployment%20default%2Fweb%3A%0A%20not%20ready");
        assert_eq!(post.headers["private-token"], "hush");

        let post = post_to("gitea", "ssh://git@git.example:2222/ann/shop", State::Pending, json!({})).unwrap();
        assert_eq!(post.url, format!("https://git.example/api/v1/repos/ann/shop/statuses/{COMMIT}"));
        assert_eq!(
            (post.headers["authorization"].as_bytes(), post.body["state"].as_str()),
            (b"token hush".as_slice(), Some("pending"))
        );
    }

    #[test]
    fn the_api_is_where_the_source_is_or_where_it_is_said_to_be() {
        assert!(
            url("github", "https://ghe.example/ann/shop").starts_with("https://ghe.example/api/v3/repos/ann/shop/")
        );
        assert!(url("gitea", "http://me:pw@localhost:3000/ann/shop.git").starts_with("http://localhost:3000/api/v1/"));
        let wrong = |source: &str| post_to("gitea", source, State::Success, json!({})).unwrap_err();
        assert!(wrong("/srv/shop.git").contains("url must be set"));
        assert!(wrong("https://host/git/ann/shop").contains("OWNER/REPOSITORY"));
        let given = json!({"url": "https://host/git/api/v1/", "repository": "ann/a b"});
        let post = post_to("gitea", "/srv/shop.git", State::Success, given).unwrap();
        assert_eq!(post.url, format!("https://host/git/api/v1/repos/ann/a%20b/statuses/{COMMIT}"));
    }

    #[test]
    fn long_descriptions_are_cut_between_characters() {
        let long = json!({"template": "ä".repeat(300)});
        let github = post_to("github", "https://github.com/a/b", State::Success, long.clone()).unwrap();
        assert_eq!(github.body["description"].as_str().unwrap().chars().count(), GITHUB_DESCRIPTION);
        let gitlab = post_to("gitlab", "https://gitlab.com/a/b", State::Success, long).unwrap();
        assert_eq!(gitlab.body["description"].as_str().unwrap().chars().count(), GITLAB_DESCRIPTION);
    }
}
