//! What a webhook's body says: which repository, which ref. Whose it is was checked before.

use crate::apiserver::Query;
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::versions;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

/// Where senders put the addresses of the repository: GitHub, Gitea and Forgejo, GitLab, Bitbucket,
/// and `repository` itself for everybody else.
const ADDRESSES: [&str; 17] = [
    "/repository",
    "/repository/clone_url",
    "/repository/ssh_url",
    "/repository/git_url",
    "/repository/html_url",
    "/repository/url",
    "/repository/homepage",
    "/repository/git_http_url",
    "/repository/git_ssh_url",
    "/repository/links/html/href",
    "/project/git_http_url",
    "/project/git_ssh_url",
    "/project/http_url",
    "/project/ssh_url",
    "/project/url",
    "/project/web_url",
    "/project/homepage",
];
const DEFAULT_BRANCHES: [&str; 2] = ["/repository/default_branch", "/project/default_branch"];
/// Who says what kind of event it is, and the kinds after which a ref may be another.
const KINDS: [&str; 4] = ["x-github-event", "x-gitea-event", "x-forgejo-event", "x-gitlab-event"];
const PUSHES: [&str; 4] = ["push", "create", "Push Hook", "Tag Push Hook"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The repository's addresses. Empty: it is not said.
    repositories: Vec<Place>,
    /// As written: `refs/heads/main` or just `main`. Empty: it is not said.
    reference: String,
    default_branch: String,
    /// The new commit.
    commit: String,
}

impl Event {
    /// `None`: an event after which nothing can be new, such as a comment.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let mut kinds = KINDS.iter().filter_map(|name| headers.get(*name)).peekable();
        if kinds.peek().is_some() && !kinds.any(|kind| PUSHES.iter().any(|push| kind.as_bytes() == push.as_bytes())) {
            return None;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self {
            repositories: ADDRESSES.iter().filter_map(|path| Place::of(body.pointer(path)?.as_str()?)).collect(),
            reference: text("/ref"),
            default_branch: DEFAULT_BRANCHES
                .iter()
                .map(|path| text(path))
                .find(|name| !name.is_empty())
                .unwrap_or_default(),
            commit: text("/after"),
        })
    }

    pub fn names_a_repository(&self) -> bool {
        !self.repositories.is_empty()
    }

    /// Whether the location may mean another commit now.
    pub fn concerns(&self, location: &GitLocation) -> bool {
        let Some(place) = Place::of(&location.url) else { return false };
        self.repositories.iter().any(|one| one.is(&place)) && self.moves(location.reference.as_deref())
    }

    fn moves(&self, reference: Option<&str>) -> bool {
        if self.reference.is_empty() {
            return true;
        }
        let pushed = short(&self.reference);
        match reference {
            None => self.default_branch.is_empty() || pushed == self.default_branch,
            // Any new tag may be the highest.
            Some(range) if range.starts_with(versions::PREFIX) => !self.reference.starts_with("refs/heads/"),
            Some(full) if full.starts_with("refs/") && self.reference.starts_with("refs/") => full == self.reference,
            Some(name) => pushed == short(name) || name.len() == 40 && name == self.commit,
        }
    }
}

/// The field `payload` of a form, which is what GitHub and Gitea send unless they are told otherwise.
/// curl calls any body a form, so that what begins as JSON is none.
pub(super) fn payload(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if !is_form || body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    Query::parse(std::str::from_utf8(body).ok()).get("payload").map(str::to_owned)
}

fn short(reference: &str) -> &str {
    let bare = reference.strip_prefix("refs/heads/").or_else(|| reference.strip_prefix("refs/tags/"));
    bare.unwrap_or(reference)
}

/// What stays the same in all addresses of a repository.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    scheme: String,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Place {
    fn of(url: &str) -> Option<Self> {
        let location = GitLocation::new(url, "", "").ok()?;
        let (host, port) = location.host()?;
        let (scheme, path) = match location.url.split_once("://") {
            Some((scheme, rest)) => (scheme, rest.split_once('/')?.1),
            None => ("ssh", location.url.split_once(':')?.1),
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_lowercase();
        let usual = [("https", 443), ("http", 80), ("ssh", 22)];
        let port = port.or_else(|| usual.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port));
        Some(Self { scheme: scheme.to_owned(), host: host.to_lowercase(), port, path })
    }

    /// https and ssh are served at ports that say nothing about each other.
    fn is(&self, other: &Self) -> bool {
        self.host == other.host && self.path == other.path && (self.scheme != other.scheme || self.port == other.port)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn event(body: Value) -> Event {
        Event::read(&HeaderMap::new(), body.to_string().as_bytes()).unwrap()
    }

    fn concerns(event: &Event, url: &str, reference: &str) -> bool {
        event.concerns(&GitLocation::new(url, reference, "").unwrap())
    }

    #[test]
    fn every_senders_repository_is_found_under_each_of_its_addresses() {
        let github = json!({"ref": "refs/heads/main", "repository": {"clone_url": "https://github.com/Team/Shop.git",
            "ssh_url": "git@github.com:Team/Shop.git", "default_branch": "main"}});
        let gitlab = json!({"ref": "refs/heads/main", "project": {"git_http_url": "https://git.example/team/shop.git",
            "git_ssh_url": "git@git.example:team/shop.git", "default_branch": "main"}});
        let gitea =
            json!({"ref": "refs/heads/main", "repository": {"html_url": "http://gitea.example:3000/team/shop"}});
        let generic = json!({"ref": "main", "repository": "ssh://git@git.example:2222/team/shop"});
        for (body, url) in [
            (&github, "https://github.com/Team/Shop"),
            (&github, "https://token@github.com/team/shop.git/"),
            (&github, "git@github.com:Team/Shop.git"),
            (&github, "ssh://git@github.com/Team/Shop.git"),
            (&gitlab, "https://git.example/team/shop.git"),
            (&gitlab, "ssh://git@git.example:2222/team/shop.git"),
            (&gitea, "http://gitea.example:3000/team/shop.git"),
            (&generic, "ssh://git@git.example:2222/team/shop.git"),
        ] {
            assert!(concerns(&event(body.clone()), url, "main"), "{url} in {body}");
        }
        for (body, url) in [
            (&github, "https://github.com/Team/Shop2"),
            (&github, "https://github.com/Team"),
            (&github, "https://github.com.evil.example/Team/Shop"),
            (&gitea, "http://gitea.example:3001/team/shop"),
            (&generic, "ssh://git@git.example:22/team/shop"),
            (&generic, "/team/shop"),
        ] {
            assert!(!concerns(&event(body.clone()), url, "main"), "{url} in {body}");
        }
    }

    #[test]
    fn only_the_pushed_ref_is_looked_at() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let push = |reference: &str| {
            event(json!({"ref": reference, "after": commit,
                "repository": {"url": "https://h/r", "default_branch": "main"}}))
        };
        let concerned = |pushed: &str, followed: &str| concerns(&push(pushed), "https://h/r", followed);
        for (pushed, followed) in [
            ("refs/heads/main", "main"),
            ("refs/heads/main", "refs/heads/main"),
            ("refs/heads/main", ""),
            ("main", "refs/heads/main"),
            ("refs/tags/v1", "v1"),
            ("refs/heads/feature/x", "feature/x"),
            ("refs/heads/other", commit),
            ("", "anything"),
            ("refs/tags/v1.2.0", "semver:~1.2"),
        ] {
            assert!(concerned(pushed, followed), "{pushed:?} {followed:?}");
        }
        for (pushed, followed) in [
            ("refs/heads/dev", "main"),
            ("refs/heads/dev", ""),
            ("refs/heads/main", "refs/tags/main"),
            ("refs/heads/x", "feature/x"),
            ("refs/heads/main", "semver:~1.2"),
        ] {
            assert!(!concerned(pushed, followed), "{pushed:?} {followed:?}");
        }
    }

    #[test]
    fn forms_carry_their_json_in_a_field() {
        let read = |kind: &'static str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            payload(&headers, body.as_bytes())
        };
        let json = json!({"repository": {"url": "https://h/a+b & c?payload=%"}}).to_string();
        let encoded: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let spaced = encoded.replace("%20", "+");
        for kind in ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
            for body in [format!("payload={encoded}"), format!("a=b&payload={spaced}")] {
                assert_eq!(read(kind, &body).as_deref(), Some(json.as_str()), "{kind} {body}");
            }
            for body in ["payload=", "other=%7B%7D", "&&=&", "new", "", json.as_str(), "\n{\"a\": \"&payload=x\"}"] {
                assert_eq!(read(kind, body), None, "{kind} {body}");
            }
        }
        assert_eq!(read("application/json", &format!("payload={encoded}")), None);
    }

    #[test]
    fn other_kinds_of_events_and_other_bodies_say_nothing() {
        let kind = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            Event::read(&headers, b"{}")
        };
        assert_eq!(kind("x-github-event", "ping"), None);
        assert_eq!(kind("x-gitlab-event", "Note Hook"), None);
        assert!(kind("x-github-event", "push").is_some() && kind("x-gitlab-event", "Tag Push Hook").is_some());
        for body in ["", "payload=%7B%7D", "[1]", "{\"repository\": {\"url\": 3}}", "{\"repository\": \"-x\"}"] {
            let event = Event::read(&HeaderMap::new(), body.as_bytes()).unwrap();
            assert!(!event.names_a_repository(), "{body}");
        }
    }
}
