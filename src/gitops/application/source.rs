//! Where an Application's manifests come from, as its spec says it.

use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::{Location, SourceError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Either `path`, or `repoURL` with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(rename = "repoURL", skip_serializing_if = "String::is_empty")]
    pub repo_url: String,
    #[serde(rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// What the repository asks for; see [`crate::gitops::sources::git::credentials`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
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
        })
    }

    /// Read from this machine.
    pub fn is_local(&self) -> bool {
        match self.location() {
            Ok(Location::Directory(_)) => true,
            Ok(Location::Git(git)) => git.local().is_some(),
            Err(_) => false,
        }
    }

    pub fn location(&self) -> Result<Location, SourceError> {
        let bad = |why: &str| SourceError::BadLocation { source_text: "spec.source".into(), why: why.into() };
        match (self.path.is_empty(), self.repo_url.is_empty()) {
            (true, true) => Err(bad("path or repoURL must be set")),
            (false, false) => Err(bad("path and repoURL cannot both be set (a directory of a repository: directory)")),
            (false, true) => Ok(Location::Directory(PathBuf::from(&self.path))),
            (true, false) => Ok(Location::Git(GitLocation::new(&self.repo_url, &self.reference, &self.directory)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sources_survive_the_way_through_the_object() {
        for text in ["https://h/r.git#main:deploy", "git@h:r#v1", "file:///srv/r#main", "/srv/app", "/srv/app.git"] {
            let source = ApplicationSource::parse(text).unwrap();
            let read: ApplicationSource = serde_json::from_value(serde_json::to_value(&source).unwrap()).unwrap();
            assert_eq!(read.location().unwrap(), Location::parse(text).unwrap(), "{text}");
        }
        assert!(ApplicationSource::default().location().is_err());
        assert!(ApplicationSource::parse("some/dir").unwrap().path.starts_with('/'));
    }
}
