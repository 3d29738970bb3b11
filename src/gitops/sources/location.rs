//! What a source string means.
//!
//! | written | meaning |
//! |---|---|
//! | `examples/hello`, `/srv/app`, `web.yaml` | a directory or file, even where it is a repository's working tree |
//! | `https://`, `http://`, `ssh://`, `git://`, `file://` | a git repository |
//! | `git@host:team/repo` | a git repository over ssh |
//! | `/srv/app.git`, `git+/srv/app` | a local git repository |
//! | `oci://host/repository[:tag|@digest]` | an artifact in a registry |
//! | any of these with `#ref:path` | that branch, tag or commit, and that directory of a git repository |
//!
//! `#ref`, `#:path` and `#ref:path` are all allowed; without a ref the repository's HEAD is meant. A ref
//! `semver:RANGE` is the tag of the highest version in the range.

use super::oci::location::{self as oci, OciLocation};
use super::versions::{self, Range};
use super::{SourceError, name};
use crate::base::url::redact;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory, or a single file.
    Directory(PathBuf),
    Git(GitLocation),
    /// An artifact in a registry.
    Oci(OciLocation),
}

/// A repository, what of it, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitLocation {
    /// A URL, `user@host:path`, or a local path. May hold credentials: print [`GitLocation::describe`].
    pub url: String,
    /// Branch, tag or commit, or `semver:` and a range of versions; `None`: HEAD.
    pub reference: Option<String>,
    /// Directory or file in the repository, without slashes at its ends; empty: all.
    pub path: String,
    /// Further ones that are read along with it.
    pub more: Vec<String>,
}

/// Directories of one source.
const MOST_PATHS: usize = 50;

const SCHEMES: [&str; 5] = ["https://", "http://", "ssh://", "git://", "file://"];

impl Location {
    /// Reads a source string.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |why: &str| Err(bad(text, why));
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.chars().any(char::is_control) {
            return refuse("it has control characters");
        }
        if text.starts_with('-') {
            return refuse("it starts with a dash; write ./-name for a directory of that name");
        }
        if text.starts_with(oci::SCHEME) {
            return OciLocation::parse(text).map(Self::Oci);
        }
        let (forced, rest) = match text.strip_prefix("git+") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // A directory may well have a # in its name.
        let exists = !forced && std::path::Path::new(text).exists();
        let (base, fragment) = match rest.split_once('#') {
            Some((base, fragment)) if !exists => (base, Some(fragment)),
            _ => (rest, None),
        };
        let remote = is_url(base) || is_scp(base);
        if !remote && base.contains("::") {
            return refuse("remote helpers are not supported");
        }
        if !remote && base.contains("://") {
            return refuse("known are https, http, ssh, git, file and oci URLs");
        }
        if !(remote || forced || fragment.is_some() || base.trim_end_matches('/').ends_with(".git")) {
            return Ok(Self::Directory(PathBuf::from(base)));
        }
        let (reference, path) = versions::reference_and_path(fragment.unwrap_or_default(), &[versions::PREFIX]);
        Ok(Self::Git(GitLocation::new(base, reference, path)?))
    }

    /// A repository or an artifact given in parts; `reference` and `path` may be empty.
    pub fn remote(url: &str, reference: &str, path: &str) -> Result<Self, SourceError> {
        match url.starts_with(oci::SCHEME) {
            true => OciLocation::new(url, reference, path).map(Self::Oci),
            false => GitLocation::new(url, reference, path).map(Self::Git),
        }
    }

    /// Not on this machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Git(git) => git.local().is_none(),
            Self::Oci(_) => true,
        }
    }

    /// The location for people, without credentials.
    pub fn describe(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Git(git) => git.describe(),
            Self::Oci(oci) => oci.describe(),
        }
    }
}

impl GitLocation {
    /// A repository given in parts; `reference` and `path` may be empty.
    pub fn new(url: &str, reference: &str, path: &str) -> Result<Self, SourceError> {
        let url = url.strip_prefix("git+").unwrap_or(url);
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if url.is_empty() || url.starts_with('-') || (is_url(url) || is_scp(url)) && host.starts_with('-') {
            return Err(bad(&redact(url), "the repository or its host is missing or starts with a dash"));
        }
        if [url, reference, path].iter().any(|text| text.contains(char::is_control)) {
            return Err(bad(&redact(&name::shown(url)), "it has control characters"));
        }
        // As an argument of the program that serves it, such a path is an option.
        if is_scp(url) && url.split_once(':').is_some_and(|(_, path)| path.starts_with('-')) {
            return Err(bad(&redact(url), "the path starts with a dash; write ./-name for a directory of that name"));
        }
        if url.contains("::") && !is_url(url) {
            return Err(bad(&redact(url), "remote helpers are not supported"));
        }
        if let Some(range) = reference.strip_prefix(versions::PREFIX) {
            Range::parse(range).map_err(|why| bad(&redact(url), &why))?;
        } else if reference.starts_with('-')
            || reference.contains([' ', '~', '^', '*', '?', '[', '\\'])
            || reference.contains("..")
        {
            return Err(bad(&redact(url), &format!("{reference:?} is not a branch, tag or commit")));
        }
        let path = inside(url, path)?;
        let reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
        Ok(Self { url: url.to_owned(), reference, path, more: Vec::new() })
    }

    /// The same with these directories in place of the one; none: as it is.
    pub fn with_paths(self, paths: &[String]) -> Result<Self, SourceError> {
        if paths.len() > MOST_PATHS {
            return Err(bad(&redact(&self.url), &format!("it names more than {MOST_PATHS} paths")));
        }
        let mut paths = paths.iter().map(|path| inside(&self.url, path)).collect::<Result<Vec<_>, _>>()?;
        if paths.is_empty() {
            return Ok(self);
        }
        let path = paths.remove(0);
        Ok(Self { path, more: paths, ..self })
    }

    /// All directories that are read.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        [&self.path].into_iter().chain(&self.more).map(String::as_str)
    }

    /// The path of a repository on this machine, which is read in place.
    pub fn local(&self) -> Option<PathBuf> {
        match self.url.strip_prefix("file://") {
            Some(path) => Some(PathBuf::from(path.strip_prefix("localhost").unwrap_or(path))),
            None if is_url(&self.url) || is_scp(&self.url) => None,
            None => Some(PathBuf::from(&self.url)),
        }
    }

    /// The URL in one of the spellings that mean the same repository asked in the same way. May hold
    /// credentials.
    pub fn repository(&self) -> String {
        let url = self.url.trim_end_matches('/');
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (format!("{user}@"), host),
            None => (String::new(), authority),
        };
        let usual = [("https", ":443"), ("http", ":80"), ("ssh", ":22"), ("git", ":9418")];
        let port = usual.iter().find(|(name, _)| *name == scheme).map_or("", |(_, port)| port);
        let host = host.strip_suffix(port).unwrap_or(host).to_lowercase();
        format!("{scheme}://{user}{host}/{path}")
    }

    /// The server of a repository elsewhere: how it is talked to, its host and its port.
    pub fn server(&self) -> Option<String> {
        if self.local().is_some() {
            return None;
        }
        match self.repository().split_once("://") {
            Some((scheme, rest)) => {
                let authority = rest.split('/').next().unwrap_or(rest);
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                Some(format!("{scheme}://{host}"))
            }
            None => self.host().map(|(host, _)| format!("ssh://{}", host.to_lowercase())),
        }
    }

    /// The host and, where the URL names one, the port of a repository elsewhere.
    pub fn host(&self) -> Option<(&str, Option<u16>)> {
        let Some((_, rest)) = self.url.split_once("://") else {
            let (_, rest) = self.url.split_once('@').filter(|_| is_scp(&self.url))?;
            return rest.split_once(':').map(|(host, _)| (host, None));
        };
        let authority = rest.split(['/', '#', '?']).next().unwrap_or(rest);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(host, rest)| (host, rest.strip_prefix(':')))?,
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() { None } else { Some((host, port.and_then(|port| port.parse().ok()))) }
    }

    /// `https://host/repo.git#main:deploy` without credentials.
    pub fn describe(&self) -> String {
        let mut text = redact(&self.url);
        if self.reference.is_some() || !self.path.is_empty() {
            text.push('#');
            text.push_str(self.reference.as_deref().unwrap_or_default());
        }
        if !self.path.is_empty() {
            text.push(':');
            text.push_str(&self.paths().collect::<Vec<_>>().join(","));
        }
        text
    }
}

fn bad(text: &str, why: &str) -> SourceError {
    SourceError::BadLocation { source_text: redact(text), why: why.to_owned() }
}

fn is_url(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// `git@host:path`: a user, and a colon before the first slash.
/// A path in a repository, without slashes at its ends.
fn inside(url: &str, path: &str) -> Result<String, SourceError> {
    let path = path.trim_matches('/').trim_start_matches("./");
    if path.contains(char::is_control) || path.split('/').any(|part| part == "..") {
        return Err(bad(&redact(url), &format!("the path {path:?} leads out of the repository")));
    }
    Ok(if path == "." { "" } else { path }.to_owned())
}

fn is_scp(text: &str) -> bool {
    let head = text.split('/').next().unwrap_or(text);
    head.split_once('@').is_some_and(|(user, rest)| !user.is_empty() && rest.contains(':')) && !text.contains("://")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn git(url: &str, reference: Option<&str>, path: &str) -> Location {
        let reference = reference.map(Into::into);
        Location::Git(GitLocation { url: url.into(), reference, path: path.into(), more: Vec::new() })
    }

    #[test]
    fn strings_mean_what_the_table_says() {
        for (text, location) in [
            ("examples/hello", Location::Directory("examples/hello".into())),
            ("/srv/app", Location::Directory("/srv/app".into())),
            ("https://host/repo.git#main:deploy/", git("https://host/repo.git", Some("main"), "deploy")),
            ("https://host/repo", git("https://host/repo", None, "")),
            ("git@host:team/repo", git("git@host:team/repo", None, "")),
            ("git@host:team/repo#v1", git("git@host:team/repo", Some("v1"), "")),
            ("ssh://git@host:22/repo#:a/b", git("ssh://git@host:22/repo", None, "a/b")),
            ("file:///srv/repo#feature/x:.", git("file:///srv/repo", Some("feature/x"), "")),
            ("/srv/app.git", git("/srv/app.git", None, "")),
            ("/srv/app#main", git("/srv/app", Some("main"), "")),
            ("git+/srv/app", git("/srv/app", None, "")),
            ("https://h/r#semver:>=1.2 <2:deploy", git("https://h/r", Some("semver:>=1.2 <2"), "deploy")),
            ("https://h/r#semver:~1.4", git("https://h/r", Some("semver:~1.4"), "")),
            ("git+https://host/x", git("https://host/x", None, "")),
            ("a:b", Location::Directory("a:b".into())),
        ] {
            assert_eq!(Location::parse(text).unwrap(), location, "{text}");
        }
    }

    #[test]
    fn dangerous_and_unknown_strings_are_refused() {
        for text in [
            "",
            "-u",
            "--upload-pack=x",
            "ext::sh -c id",
            "git+ext::sh -c id",
            "s3://bucket/x",
            "ssh://-oProxyCommand=id/x",
            "ssh://u@-oProxyCommand=id/x",
            "git@-oProxyCommand=id:x",
            "git@h:--upload-pack=id",
            "https://h/r#-x",
            "https://h/r#a..b",
            "https://h/r#main:../up",
            "https://h/r#semver:latest",
            "a\nb",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        for url in ["ext::sh -c id", "--upload-pack=id", "git@h:-u", "https://h/a\u{1b}b", "ssh://-oProxyCommand=id/r"]
        {
            assert!(GitLocation::new(url, "", "").is_err(), "{url}");
        }
    }

    #[test]
    fn hosts_are_found_in_every_spelling() {
        let host = |url: &str| {
            let location = GitLocation::new(url, "", "").unwrap();
            location.host().map(|(host, port)| (host.to_owned(), port))
        };
        assert_eq!(host("https://u:p@h.example/r"), Some(("h.example".into(), None)));
        assert_eq!(host("ssh://git@h:2222/r"), Some(("h".into(), Some(2222))));
        assert_eq!(host("ssh://git@[::1]:22/r"), Some(("::1".into(), Some(22))));
        assert_eq!(host("git@h:team/r"), Some(("h".into(), None)));
        assert_eq!(host("/srv/r.git"), None);
    }

    #[test]
    fn a_server_is_its_protocol_host_and_port() {
        let server = |url: &str| GitLocation::new(url, "", "").unwrap().server();
        assert_eq!(server("https://u:p@H.example:443/a/b").unwrap(), "https://h.example");
        assert_eq!(server("git@H:a/b"), server("ssh://git@h:22/c"));
        assert_ne!(server("https://h/a"), server("http://h/a"));
        assert_ne!(server("https://h/a"), server("https://h:8443/a"));
        assert_eq!([server("/srv/r.git"), server("file:///srv/r")], [None, None]);
    }

    #[test]
    fn spellings_of_one_repository_are_one() {
        let name = |url: &str| GitLocation::new(url, "", "").unwrap().repository();
        assert_eq!(name("https://Git.Example:443/Team/r.git/"), "https://git.example/Team/r.git");
        assert_eq!(name("ssh://git@H:22/r"), "ssh://git@h/r");
        assert_eq!(name("https://h:8443/r"), "https://h:8443/r");
        assert_ne!(name("https://a:b@h/r"), name("https://h/r"));
        assert_eq!(name("git@h:Team/r"), "git@h:Team/r");
    }

    #[test]
    fn credentials_are_never_shown() {
        let location = Location::parse("https://me:s3cret@host/repo#main:x").unwrap();
        assert_eq!(location.describe(), "https://***@host/repo#main:x");
        let error = Location::parse("https://me:s3cret@host/repo#-x").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
