//! Whether a webhook comes from somebody who has the secret. All comparisons take the same time
//! whatever they find.

use http::HeaderMap;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};

/// Headers with the HMAC-SHA256 of the body in hexadecimal digits: GitHub's, Gitea's, Forgejo's, and
/// the one for everybody else.
const SIGNATURES: [&str; 4] = ["x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature", "x-signature-256"];
/// GitLab sends the secret itself.
const TOKEN: &str = "x-gitlab-token";

/// Whether one of the headers shows that the sender has the secret: by a signature of one of these texts.
/// An empty secret is nobody's.
pub(super) fn is_genuine(headers: &HeaderMap, texts: &[&[u8]], secret: &[u8]) -> bool {
    if secret.is_empty() {
        return false;
    }
    let key = Key::new(HMAC_SHA256, secret);
    let signed = SIGNATURES.iter().filter_map(|name| headers.get(*name)).filter_map(|value| digits(value.as_bytes()));
    // Of digests, not of the texts: comparing these would tell how much of a guess is right.
    let told = headers.get(TOKEN).map(|value| sign(&key, value.as_bytes()));
    let mut genuine = told.is_some_and(|told| verify(&key, secret, told.as_ref()).is_ok());
    for signature in signed {
        for text in texts {
            genuine |= verify(&key, text, &signature).is_ok();
        }
    }
    genuine
}

fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix("sha256=").unwrap_or(text);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn genuine(name: &'static str, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        is_genuine(&headers, &[b"another text", b"Hello, World!"], b"It's a Secret to Everybody")
    }

    #[test]
    fn every_senders_header_is_understood() {
        // The example of GitHub's documentation.
        let digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let prefixed = format!("sha256={digest}");
        assert!(genuine("x-hub-signature-256", &prefixed));
        assert!(genuine("x-gitea-signature", digest));
        assert!(genuine("x-forgejo-signature", digest));
        assert!(genuine("x-signature-256", digest) && genuine("x-signature-256", &prefixed));
        assert!(genuine("x-gitlab-token", "It's a Secret to Everybody"));
    }

    #[test]
    fn nothing_else_is_genuine() {
        let digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        for value in ["", "sha256=", "0", &digest[..62], &format!("{digest}00"), &digest.replace('7', "8"), "\u{e9}"] {
            assert!(!genuine("x-hub-signature-256", value), "{value}");
        }
        assert!(!genuine("x-hub-signature", digest), "SHA-1 is not taken");
        assert!(!genuine("x-gitlab-token", digest));
        assert!(!genuine("x-gitlab-token", "It's a Secret to Everybod"));
        let mut empty = HeaderMap::new();
        empty.insert("x-gitlab-token", "".parse().unwrap());
        assert!(!is_genuine(&empty, &[b""], b""));
        assert!(!is_genuine(&HeaderMap::new(), &[b""], b"secret"));
    }
}
