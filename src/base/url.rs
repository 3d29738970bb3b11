//! URLs as they may be shown.

/// Replaces credentials in a URL. A user name alone stays for ssh, where it is no secret.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '#', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else { return url.to_owned() };
    let (user, host) = (&rest[..at], &rest[at + 1..]);
    if scheme == "ssh" && !user.contains(':') {
        return url.to_owned();
    }
    format!("{scheme}://***@{host}")
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_and_tokens_are_cut_out() {
        assert_eq!(redact("https://me:s3cret@host/repo"), "https://***@host/repo");
        assert_eq!(redact("https://token@host/repo"), "https://***@host/repo");
        assert_eq!(redact("ssh://git@host/repo"), "ssh://git@host/repo");
        assert_eq!(redact("ssh://git:pw@host/repo"), "ssh://***@host/repo");
        assert_eq!(redact("https://host/a@b"), "https://host/a@b");
        assert_eq!(redact("git@host:repo"), "git@host:repo");
    }
}
