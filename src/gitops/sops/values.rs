//! The values of one file, in their order: each decrypted, all under one MAC. Pure.

use super::cipher::{Cipher, Plain, is_sealed};
use super::keys::Keys;
use super::metadata::Metadata;
use crate::gitops::render::tree::Node;
use sha2::{Digest, Sha512};

/// SHA-256 of `sops`: a MAC of the encrypted values only begins with it, so that it never is one of all values.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

pub struct Values {
    metadata: Metadata,
    cipher: Cipher,
    hash: Sha512,
}

impl Values {
    /// Opens a file by its metadata. The error says for whom it is encrypted.
    pub fn new(metadata: &Node, keys: &Keys) -> Result<Self, String> {
        let metadata = Metadata::read(metadata)?;
        let cipher = metadata.cipher(keys)?;
        let mut hash = Sha512::new();
        if metadata.mac_only_encrypted {
            hash.update(ONLY_ENCRYPTED);
        }
        Ok(Self { metadata, cipher, hash })
    }

    /// Whether a key, and all below it, is one that the file's rule names.
    pub fn matches(&self, key: &str) -> bool {
        self.metadata.rule.matches(key)
    }

    /// The next value; `None`: it is not encrypted, and `clear` is what the MAC has of it. `matches`: one of the keys
    /// of its path does. The error holds nothing of the value.
    pub fn open(
        &mut self,
        path: &[&str],
        matches: bool,
        text: &str,
        clear: impl FnOnce() -> Result<Vec<u8>, &'static str>,
    ) -> Result<Option<Plain>, &'static str> {
        if !self.metadata.rule.wants(matches, text) {
            // An alias may stand for a value of another place.
            if is_sealed(text) {
                return Err("is encrypted, and must not be by the file's own rule");
            }
            if !self.metadata.mac_only_encrypted {
                self.hash.update(clear()?);
            }
            return Ok(None);
        }
        // An empty text has nothing to hide.
        if text.is_empty() {
            return Ok(None);
        }
        let plain = self.cipher.open(text, &place(path))?;
        self.hash.update(plain.authenticated());
        Ok(Some(plain))
    }

    /// What a comment was, if it is encrypted. The MAC is not of comments.
    pub fn comment(&self, path: &[&str], text: &str) -> Option<Vec<u8>> {
        match self.cipher.open(text, &place(path)) {
            Ok(Plain::Comment(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Once all values were read: whether they are those that were encrypted.
    pub fn check(self) -> Result<(), &'static str> {
        self.metadata.check(&self.cipher, &self.hash.finalize())
    }
}

/// What a value is bound to: the keys that lead to it; the items of a list have the same.
fn place(path: &[&str]) -> String {
    format!("{}:", path.join(":"))
}
