//! Where an Application's manifests come from, as its spec says it.

use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::oci::location as oci;
use crate::gitops::sources::{Location, SourceError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The branch that is deployed of what is pushed, unless the Application names one.
pub const DEFAULT_BRANCH: &str = "main";

/// Either `path`, or `repoURL` or `push` with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(rename = "repoURL", skip_serializing_if = "String::is_empty")]
    pub repo_url: String,
    /// It is pushed here; see [`crate::gitops::push`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
    #[serde(rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// Several directories, in place of the one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The registry may be asked over plain HTTP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// What the repository asks for; see [`crate::gitops::sources::git::credentials`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Only commits that are signed count; see [`crate::gitops::sources::git::signers`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// Takes webhooks at `/hooks/NAME`; see [`crate::gitops::webhooks`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// Its key `token` is what senders sign with.
    pub secret_ref: SecretRef,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Verify {
    /// Holds the public keys of those who may sign.
    pub secret_ref: SecretRef,
}

/// A Secret in the Application's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretRef {
    pub name: String,
}

impl ApplicationSource {
    /// The source that a string on the command line means. Local paths become absolute, because the
    /// daemon's working directory is not the user's.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path).display().to_string();
        Ok(match Location::parse(text)? {
            Location::Directory(path) => Self { path: absolute(path), ..Self::default() },
            Location::Git(git) => {
                let repo_url = match git.local() {
                    Some(path) if !git.url.starts_with("file:") => absolute(path),
                    _ => git.url,
                };
                let reference = git.reference.unwrap_or_default();
                Self { repo_url, reference, directory: git.path, ..Self::default() }
            }
            Location::Oci(oci) => {
                let (repo_url, reference) = (oci.url(), oci.reference.unwrap_or_default());
                Self { repo_url, reference, directory: oci.path, ..Self::default() }
            }
        })
    }

    /// Reads what follows the name of an Application that is pushed: `#REF:DIR`, or nothing.
    pub fn pushed(text: &str) -> Result<Self, SourceError> {
        let bad = |why: &str| SourceError::BadLocation { source_text: text.to_owned(), why: why.into() };
        let rest = match text.strip_prefix('#') {
            None if !text.is_empty() => return Err(bad("what is pushed has no address, only #BRANCH:DIRECTORY")),
            other => other.unwrap_or_default(),
        };
        let (reference, directory) = rest.split_once(':').unwrap_or((rest, ""));
        let source = Self { push: true, reference: reference.into(), directory: directory.into(), ..Self::default() };
        source.in_repository("push").map(|_| source)
    }

    /// Of what is pushed: the branch that counts.
    pub fn branch(&self) -> &str {
        if self.reference.is_empty() { DEFAULT_BRANCH } else { &self.reference }
    }

    /// The branch and the directory of a repository that was pushed, at this path or URL.
    pub fn in_repository(&self, url: &str) -> Result<GitLocation, SourceError> {
        let name = format!("refs/heads/{}", self.branch());
        if !git2::Reference::is_valid_name(&name) {
            let why = format!("{:?} is no name of a branch", self.branch());
            return Err(SourceError::BadLocation { source_text: "spec.source.ref".into(), why });
        }
        self.with_paths(GitLocation::new(url, self.branch(), &self.directory)?)
    }

    fn with_paths(&self, location: GitLocation) -> Result<GitLocation, SourceError> {
        if !self.directory.is_empty() && !self.paths.is_empty() {
            let why = "directory and paths cannot both be set".to_owned();
            return Err(SourceError::BadLocation { source_text: "spec.source".into(), why });
        }
        location.with_paths(&self.paths)
    }

    /// An artifact of a registry.
    pub fn is_artifact(&self) -> bool {
        self.repo_url.starts_with(oci::SCHEME)
    }

    /// The repository or registry and what is read of it, for people, without credentials. Empty for a directory:
    /// its files have whole paths.
    pub fn repository(&self) -> String {
        match self.location() {
            _ if self.push => "what is pushed to it".to_owned(),
            Ok(Location::Directory(_)) | Err(_) => String::new(),
            Ok(location) => location.describe(),
        }
    }

    /// Read from this machine.
    pub fn is_local(&self) -> bool {
        match self.location() {
            Ok(location) => !location.is_remote(),
            Err(_) => self.push,
        }
    }

    /// Where it is, for all but what is pushed, which only the daemon knows.
    pub fn location(&self) -> Result<Location, SourceError> {
        let bad = |why: &str| SourceError::BadLocation { source_text: "spec.source".into(), why: why.into() };
        if self.push {
            return Err(bad("what is pushed is in the daemon's data directory"));
        }
        match (self.path.is_empty(), self.repo_url.is_empty()) {
            (true, true) => Err(bad("path, repoURL or push must be set")),
            (false, false) => Err(bad("path and repoURL cannot both be set (a directory of a repository: directory)")),
            (false, true) if !self.paths.is_empty() => Err(bad("paths are directories of a repository")),
            (false, true) => Ok(Location::Directory(PathBuf::from(&self.path))),
            (true, false) if self.is_artifact() && !self.paths.is_empty() => {
                Err(bad("paths are directories of a repository: of an artifact, directory names one"))
            }
            (true, false) => match Location::remote(&self.repo_url, &self.reference, &self.directory)? {
                Location::Git(git) => Ok(Location::Git(self.with_paths(git)?)),
                other => Ok(other),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sources_survive_the_way_through_the_object() {
        for text in [
            "https://h/r.git#main:deploy",
            "git@h:r#v1",
            "file:///srv/r#main",
            "/srv/app",
            "/srv/app.git",
            "oci://h:5000/team/app:1.2#:deploy",
            "oci://h/app#semver:~1.4:deploy",
        ] {
            let source = ApplicationSource::parse(text).unwrap();
            let read: ApplicationSource = serde_json::from_value(serde_json::to_value(&source).unwrap()).unwrap();
            assert_eq!(read.location().unwrap(), Location::parse(text).unwrap(), "{text}");
        }
        assert!(ApplicationSource::default().location().is_err());
        assert!(ApplicationSource::parse("some/dir").unwrap().path.starts_with('/'));
    }

    #[test]
    fn several_directories_are_one_source() {
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let source = ApplicationSource { repo_url: "https://h/r".into(), ..ApplicationSource::default() };
        let several = ApplicationSource { paths: paths(&["a/", "./b", "c/d"]), ..source.clone() };
        let Location::Git(git) = several.location().unwrap() else { unreachable!() };
        assert_eq!(git.paths().collect::<Vec<_>>(), ["a", "b", "c/d"]);
        assert_eq!(git.describe(), "https://h/r#:a,b,c/d");
        let both = ApplicationSource { directory: "a".into(), ..several.clone() };
        let outside = ApplicationSource { paths: paths(&["a", "../b"]), ..source.clone() };
        let many = ApplicationSource { paths: vec!["a".into(); 51], ..source };
        let local = ApplicationSource { path: "/srv".into(), repo_url: String::new(), ..several };
        assert!([both, outside, many, local].iter().all(|source| source.location().is_err()));
    }

    #[test]
    fn what_is_pushed_has_a_branch_and_a_directory() {
        let source = ApplicationSource::pushed("#release/1:deploy").unwrap();
        let location = source.in_repository("/data/git/x.git").unwrap();
        assert_eq!((location.reference.as_deref(), location.path.as_str()), (Some("release/1"), "deploy"));
        assert_eq!(ApplicationSource::pushed("").unwrap().branch(), "main");
        assert!(source.is_local() && source.location().is_err());
        for text in ["https://h/r", "#a b", "#-x", "#a..b", "#main:../up", "#.x", "#x.lock"] {
            assert!(ApplicationSource::pushed(text).is_err(), "{text}");
        }
    }
}
