//! Kustomizations in repositories elsewhere, as `resources` and `components` name them: by URL, in the forms
//! that kustomize takes. Who has the trees of such repositories mounts them; nothing is fetched here.

use super::load::Tree;
use crate::base::url::redact;
use crate::gitops::render::error::{Origin, RenderError};
use std::time::Duration;

/// Begins the path of a tree that is mounted: no file's name can.
const MOUNTED: char = '\0';

/// A repository, and a directory in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// As git takes it. May hold credentials.
    pub url: String,
    /// Empty: HEAD.
    pub reference: String,
    /// Without slashes at its ends; empty: the root.
    pub path: String,
    /// How long fetching it may take, where the URL says so.
    pub timeout: Option<Duration>,
}

/// Where the trees of repositories elsewhere are from.
pub trait Roots {
    /// `from` is the mount of the tree that names the repository; empty: the tree that is being built.
    fn mount(&self, from: &str, remote: &Remote, at: &Origin) -> Result<Mount, Elsewhere>;
}

/// The tree of a repository at one commit.
pub struct Mount {
    /// Other ones for other trees; made by [`Mount::name`].
    pub name: String,
    pub tree: Box<dyn Tree>,
    /// The repository with what was asked of it, without credentials.
    pub location: String,
    pub commit: String,
}

/// Why a tree is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    NotAllowed,
    /// It will be, at the next try.
    Awaited,
    Refused(String),
}

impl Mount {
    /// A path that is no other tree's, from a text of letters and digits.
    pub fn name(digest: &str) -> String {
        format!("{MOUNTED}{digest}")
    }

    /// The mount that a path leads into, and the path in there.
    pub fn split(path: &str) -> Option<(&str, &str)> {
        path.starts_with(MOUNTED).then(|| path.split_once('/').unwrap_or((path, "")))
    }
}

/// Nothing is elsewhere.
pub struct NoRoots;

impl Roots for NoRoots {
    fn mount(&self, _: &str, _: &Remote, _: &Origin) -> Result<Mount, Elsewhere> {
        Err(Elsewhere::NotAllowed)
    }
}

impl Elsewhere {
    pub fn explain(self, path: &str, at: &Origin) -> RenderError {
        let wrong = |what: String| RenderError::new(at.clone(), what);
        let path = redact(path);
        match self {
            Self::NotAllowed => wrong(format!("{path} is elsewhere, and remote bases are not allowed")).hint(
                "allow them with spec.kustomize.remoteBases or --remote-bases, or put a copy into the repository",
            ),
            Self::Awaited => wrong(format!("{path} was not fetched yet")),
            Self::Refused(why) => wrong(format!("{path}: {why}")),
        }
    }
}

const SCHEMES: [&str; 4] = ["ssh://", "https://", "http://", "file://"];

impl Remote {
    /// Reads what an entry names; `None`: a path.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        if text.starts_with('/') {
            return None;
        }
        let (whole, query) = text.split_once('?').unwrap_or((text, ""));
        let rest = cut(whole, "git::").unwrap_or(whole);
        let scheme = SCHEMES.into_iter().find(|scheme| cut(rest, scheme).is_some());
        if scheme.is_none() && rest.contains("://") {
            return Some(Err("known are https, http, ssh and file URLs".to_owned()));
        }
        let after = scheme.map_or(rest, |scheme| &rest[scheme.len()..]);
        let (user, after) = user(after);
        let github = ["github.com/", "github.com:"].iter().any(|host| cut(after, host).is_some());
        let is_scp = scheme.is_none() && (!user.is_empty() || github);
        if scheme.is_none() && !is_scp {
            return (rest.len() < whole.len()).then(|| Err("what follows git:: is no URL".to_owned()));
        }
        let (host, rest) = match scheme {
            // Everything is the path.
            Some("file://") => ("", &rest["file://".len()..]),
            _ => after.find(|c| c == '/' || is_scp && c == ':').map_or(("", after), |end| after.split_at(end + 1)),
        };
        let prefix = match scheme {
            Some("file://") => "file://".to_owned(),
            // `web@2x.yaml` is a file.
            None if host.is_empty() => return None,
            _ if host.is_empty() => return Some(Err("it names no repository on its host".to_owned())),
            scheme if github && (scheme == Some("ssh://") || !user.is_empty()) => "git@github.com:".to_owned(),
            _ if github => "https://github.com/".to_owned(),
            scheme => format!("{}{user}{host}", scheme.unwrap_or_default()),
        };
        let explicit = explicit(rest);
        let is_file = [".yaml", ".yml", ".json"].iter().any(|suffix| whole.ends_with(suffix));
        if explicit.is_none() && is_file && query.is_empty() {
            return Some(Err("single files are not fetched, only kustomizations in git repositories".to_owned()));
        }
        let segments = if scheme == Some("file://") { usize::MAX } else { 2 };
        let Some((repository, path)) =
            explicit.or_else(|| by_length(rest, segments)).filter(|(name, _)| !name.is_empty())
        else {
            return Some(Err("it names no repository: https://HOST/ORGANIZATION/REPOSITORY//DIRECTORY".to_owned()));
        };
        if path.split('/').any(|part| part == "..") {
            return Some(Err("its path leads out of the repository".to_owned()));
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let (reference, timeout) = asked(query);
        Some(Ok(Self { url: format!("{prefix}{repository}"), reference, path: parts.join("/"), timeout }))
    }
}

/// What follows a prefix, whatever its case.
fn cut<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix)).map(|_| &text[prefix.len()..])
}

/// `git@`, and what follows.
fn user(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len());
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text[end..].starts_with('@');
    if is_name { text.split_at(end + 1) } else { ("", text) }
}

/// The repository and the path in it where something marks the border: Azure's `_git/`, `//`, or `.git`.
fn explicit(text: &str) -> Option<(&str, &str)> {
    const AZURE: &str = "_git/";
    if let Some(at) = text.find(AZURE) {
        let name = at + AZURE.len();
        let end = text[name..].find('/').map_or(text.len(), |end| name + end);
        return Some(text.split_at(end));
    }
    text.split_once("//").or_else(|| text.find(".git").map(|at| text.split_at(at + ".git".len())))
}

/// The same where nothing does: as many segments are the repository's.
fn by_length(text: &str, segments: usize) -> Option<(&str, &str)> {
    match text.match_indices('/').nth(segments - 1) {
        Some((at, _)) => Some(text.split_at(at)),
        None => (segments == usize::MAX || text.split('/').count() == segments).then_some((text, "")),
    }
}

/// `ref` (or `version`) and `timeout`. Submodules are not fetched, whatever is asked.
fn asked(query: &str) -> (String, Option<Duration>) {
    let value = |name: &str| {
        let (_, value) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
        Some(value.into_owned()).filter(|value| !value.is_empty())
    };
    let timeout = value("timeout").and_then(|text| match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<jiff::SignedDuration>().ok().and_then(|given| given.try_into().ok()),
    });
    let reference = value("ref").or_else(|| value("version")).unwrap_or_default();
    (reference, timeout.filter(|given| !given.is_zero()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_cut_where_kustomize_cuts_them() {
        for (text, url, reference, path) in [
            ("https://host/org/repo//a/b?ref=v1", "https://host/org/repo", "v1", "a/b"),
            ("https://host/org/repo/a/b/", "https://host/org/repo", "", "a/b"),
            ("https://host/org/repo", "https://host/org/repo", "", ""),
            ("https://host/deep/org/repo.git/a?ref=v1&timeout=5s", "https://host/deep/org/repo.git", "v1", "a"),
            ("https://host/deep/org/repo.git//a", "https://host/deep/org/repo.git", "", "a"),
            ("https://host:8443/deep/er/org/repo//a", "https://host:8443/deep/er/org/repo", "", "a"),
            ("https://dev.azure.com/o/p/_git/repo/a?version=x", "https://dev.azure.com/o/p/_git/repo", "x", "a"),
            ("github.com/org/repo/a?ref=feature%2Fx", "https://github.com/org/repo", "feature/x", "a"),
            ("git::https://github.com/org/repo?ref=v1", "https://github.com/org/repo", "v1", ""),
            ("GIT::HTTP://host/org/repo", "http://host/org/repo", "", ""),
            ("git@github.com:org/repo/a", "git@github.com:org/repo", "", "a"),
            ("ssh://git@github.com/org/repo", "git@github.com:org/repo", "", ""),
            ("git@host:org/repo.git//a", "git@host:org/repo.git", "", "a"),
            ("ssh://git@host:2222/org/repo.git//a?ref=v1", "ssh://git@host:2222/org/repo.git", "v1", "a"),
            ("file:///srv/base//a?ref=v1", "file:///srv/base", "v1", "a"),
            ("file:///srv/deep/base", "file:///srv/deep/base", "", ""),
        ] {
            let read = Remote::parse(text).unwrap().unwrap();
            assert_eq!((&*read.url, &*read.reference, &*read.path), (url, reference, path), "{text}");
        }
        let timeout = |query| Remote::parse(&format!("https://h/o/r?{query}")).unwrap().unwrap().timeout;
        assert_eq!(timeout("timeout=61"), Some(Duration::from_secs(61)));
        assert_eq!(timeout("submodules=true&timeout=1m30s"), Some(Duration::from_secs(90)));
        assert_eq!([timeout("timeout=0"), timeout("timeout=soon"), timeout("x")], [None; 3]);
    }

    #[test]
    fn paths_are_no_urls_and_broken_urls_are_told() {
        for text in ["../base", "base", "web@2x.yaml", "a:b", "/srv/org/repo", "github.community/x", "a/_git/b"] {
            assert_eq!(Remote::parse(text), None, "{text}");
        }
        for text in [
            "https://host",
            "https://host/org",
            "https://host/org/repo//../../etc",
            "https://host/org/repo/web.yaml",
            "ext::https://host/org/repo",
            "git::ext::sh -c id",
            "s3://bucket/org/repo",
            "ssh://git@host",
        ] {
            assert!(Remote::parse(text).unwrap().is_err(), "{text}");
        }
    }
}
