//! Which artifact a source means: the registry, the repository there, and its tag, digest or range of
//! versions, as the distribution specification spells them.

use crate::gitops::sources::SourceError;
use crate::gitops::sources::versions::{self, Range};

/// What an address of an artifact begins with.
pub const SCHEME: &str = "oci://";
/// What a digest begins with; others are not taken.
pub const DIGEST: &str = "sha256:";
/// The tag of an artifact that is named without one.
pub const DEFAULT_TAG: &str = "latest";

/// An artifact, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciLocation {
    /// Host and port.
    pub registry: String,
    /// `team/app`
    pub name: String,
    /// A tag, `sha256:DIGEST`, or `semver:RANGE`; `None`: [`DEFAULT_TAG`].
    pub reference: Option<String>,
    /// Directory or file in the artifact, without slashes at its ends; empty: all.
    pub path: String,
}

/// What a reference means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Tag(String),
    Digest(String),
    Range(Range),
}

impl OciLocation {
    /// An artifact given in parts: its address, which may have a tag or digest if `reference` is empty.
    pub fn new(url: &str, reference: &str, path: &str) -> Result<Self, SourceError> {
        let bad = |why: &str| SourceError::BadLocation { source_text: crate::base::url::redact(url), why: why.into() };
        let rest = url.strip_prefix(SCHEME).ok_or_else(|| bad("expected oci://REGISTRY/REPOSITORY"))?;
        let (registry, rest) = rest.split_once('/').ok_or_else(|| bad("expected oci://REGISTRY/REPOSITORY"))?;
        if registry.contains('@') {
            return Err(bad("credentials do not belong here, but in a Secret, or in what `podman login` writes"));
        }
        let (host, port) = host_and_port(registry);
        if !is_host(host) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(bad("the registry is no HOST or HOST:PORT"));
        }
        let (name, inner) = match (rest.split_once('@'), rest.split_once(':')) {
            (Some((name, digest)), _) => (name, digest),
            (None, Some((name, tag))) => (name, tag),
            (None, None) => (rest, ""),
        };
        if !is_name(name) {
            return Err(bad(&format!(
                "{name:?} is no name of a repository: lower case letters and digits, with . _ - between them"
            )));
        }
        let reference = match (inner, reference) {
            ("", reference) | (reference, "") => reference,
            _ => return Err(bad("it has two tags or digests")),
        };
        let path = path.trim_matches('/').trim_start_matches("./");
        if path.split('/').any(|part| part == "..") || path.contains(char::is_control) {
            return Err(bad(&format!("the path {path:?} leads out of the artifact")));
        }
        let path = if path == "." { "" } else { path };
        let reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
        let location =
            Self { registry: registry.to_lowercase(), name: name.to_owned(), reference, path: path.to_owned() };
        location.meant().map_err(|why| bad(&why))?;
        Ok(location)
    }

    /// Reads what stands on a command line: `oci://REGISTRY/NAME[:TAG|@DIGEST][#REFERENCE:PATH]`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (reference, path) = versions::reference_and_path(fragment, &[versions::PREFIX, DIGEST]);
        Self::new(url, reference, path)
    }

    pub fn reference(&self) -> Reference {
        // It was looked at when this was made.
        self.meant().unwrap_or(Reference::Tag(DEFAULT_TAG.to_owned()))
    }

    fn meant(&self) -> Result<Reference, String> {
        let text = self.reference.as_deref().unwrap_or(DEFAULT_TAG);
        if let Some(range) = text.strip_prefix(versions::PREFIX) {
            return Range::parse(range).map(Reference::Range);
        }
        if let Some(digits) = text.strip_prefix(DIGEST) {
            let fits = digits.len() == 64 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            return if fits { Ok(Reference::Digest(text.into())) } else { Err(format!("{text:?} is no digest")) };
        }
        let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if first && text.len() <= 128 && text.chars().all(fits) {
            return Ok(Reference::Tag(text.to_owned()));
        }
        Err(format!("{text:?} is neither a tag nor sha256:DIGEST nor semver:RANGE"))
    }

    /// The repository's address, without what of it.
    pub fn url(&self) -> String {
        format!("{SCHEME}{}/{}", self.registry, self.name)
    }

    /// `oci://host/team/app:1.2`, as it is written on a command line.
    pub fn describe(&self) -> String {
        let (reference, path) = (self.reference.as_deref().unwrap_or_default(), &self.path);
        let below = if path.is_empty() { String::new() } else { format!(":{path}") };
        match self.reference() {
            Reference::Range(_) => format!("{}#{reference}{below}", self.url()),
            Reference::Digest(digest) if below.is_empty() => format!("{}@{digest}", self.url()),
            Reference::Digest(digest) => format!("{}@{digest}#{below}", self.url()),
            Reference::Tag(_) if reference.is_empty() && below.is_empty() => self.url(),
            Reference::Tag(_) if reference.is_empty() => format!("{}#{below}", self.url()),
            Reference::Tag(tag) if below.is_empty() => format!("{}:{tag}", self.url()),
            Reference::Tag(tag) => format!("{}:{tag}#{below}", self.url()),
        }
    }

    /// Whether the registry is on this machine, where nobody listens in.
    pub fn is_loopback(&self) -> bool {
        let (host, _) = host_and_port(&self.registry);
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// An address of version 6 has colons, and stands in brackets.
fn host_and_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && !host.starts_with('-')
                && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
        }
    }
}

fn is_name(name: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let part = |part: &str| {
        let known = |c: char| letter(Some(c)) || "._-".contains(c);
        letter(part.chars().next()) && letter(part.chars().next_back()) && part.chars().all(known)
    };
    name.len() <= 255 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HASH: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn addresses_are_read_and_written_alike() {
        for (text, registry, name, reference, path) in [
            ("oci://h.example/app", "h.example", "app", None, ""),
            ("oci://h:5000/team/app:1.2", "h:5000", "team/app", Some("1.2"), ""),
            (&format!("oci://h/app@{HASH}"), "h", "app", Some(HASH), ""),
            (&format!("oci://h/app@{HASH}#:deploy"), "h", "app", Some(HASH), "deploy"),
            ("oci://h/app#semver:>=1.2 <2:deploy/prod", "h", "app", Some("semver:>=1.2 <2"), "deploy/prod"),
            ("oci://h/app:v1#:deploy", "h", "app", Some("v1"), "deploy"),
            ("oci://h/app#:deploy", "h", "app", None, "deploy"),
            ("oci://[::1]:5000/app", "[::1]:5000", "app", None, ""),
        ] {
            let location = OciLocation::parse(text).unwrap();
            assert_eq!((location.registry.as_str(), location.name.as_str()), (registry, name), "{text}");
            assert_eq!((location.reference.as_deref(), location.path.as_str()), (reference, path), "{text}");
            assert_eq!(location.describe(), text);
        }
        let range = OciLocation::parse("oci://h/app:semver:~1.4").unwrap();
        assert_eq!(range.describe(), "oci://h/app#semver:~1.4");
        assert_eq!(OciLocation::parse(&format!("oci://h/app#{HASH}:x")).unwrap().path, "x");
        let loopback = |text: &str| OciLocation::parse(text).unwrap().is_loopback();
        assert!(loopback("oci://localhost:5000/a") && loopback("oci://127.0.0.1/a") && loopback("oci://[::1]/a"));
        assert!(!loopback("oci://127.0.0.1.example/a") && !loopback("oci://localhost.example/a"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "oci://",
            "oci://h",
            "oci://h/",
            "oci:///app",
            "oci://me:s3cret@h/app",
            "oci://h/App",
            "oci://h/../app",
            "oci://h/a//b",
            "oci://h:port/app",
            "oci://-h/app",
            "oci://h/app:-x",
            "oci://h/app@sha256:12",
            "oci://h/app@sha512:12",
            "oci://h/app:1#2",
            "oci://h/app#semver:latest",
            "oci://h/app#:../up",
            "oci://h/app?x=1",
        ] {
            let error = OciLocation::parse(text).map(|found| panic!("{text}: {found:?}")).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
