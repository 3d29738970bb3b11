//! Values as SOPS encrypts them: `ENC[AES256_GCM,data:...,iv:...,tag:...,type:...]`. Pure.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

pub const PREFIX: &str = "ENC[AES256_GCM,";
/// Bytes of the key that encrypts a file's values.
pub const KEY: usize = 32;
const TAG: usize = 16;

/// What a file's key opens. SOPS' nonces have 32 bytes.
pub struct Cipher(AesGcm<Aes256, U32>);

/// A value that was encrypted.
#[derive(Clone, PartialEq)]
pub enum Plain {
    /// Of `str`; of a file as a whole it need not be UTF-8.
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Comment(Vec<u8>),
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(hidden)")
    }
}

impl Plain {
    /// What of it the MAC is of: numbers in decimal, booleans as Python writes them.
    pub fn authenticated(&self) -> Vec<u8> {
        match self {
            Self::Text(bytes) | Self::Comment(bytes) => bytes.clone(),
            Self::Int(number) => number.to_string().into_bytes(),
            Self::Float(number) => number.to_string().into_bytes(),
            Self::Bool(true) => b"True".to_vec(),
            Self::Bool(false) => b"False".to_vec(),
        }
    }
}

/// Whether a text has the form of an encrypted value.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX) && text.ends_with(']')
}

impl Cipher {
    pub fn new(key: &[u8; KEY]) -> Self {
        Self(AesGcm::new(key.into()))
    }

    /// Decrypts a value. `place` is what it is bound to: of a field its path. The error says what is wrong with it,
    /// and holds none of it.
    pub fn open(&self, text: &str, place: &str) -> Result<Plain, &'static str> {
        let Sealed { sealed, nonce, kind } = Sealed::parse(text).ok_or("is not encrypted, and has to be")?;
        let payload = Payload { msg: &sealed, aad: place.as_bytes() };
        let opened = self.0.decrypt((&nonce).into(), payload);
        let bytes =
            opened.map_err(|_| "cannot be decrypted: it was changed, moved, or encrypted with another file's key")?;
        plain(bytes, kind)
    }
}

struct Sealed<'a> {
    /// With the tag at the end.
    sealed: Vec<u8>,
    nonce: [u8; 32],
    kind: &'a str,
}

impl<'a> Sealed<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.strip_prefix(PREFIX)?.strip_suffix(']')?.splitn(4, ',');
        let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix(':');
        let (data, iv, tag, kind) = (field("data")?, field("iv")?, field("tag")?, field("type")?);
        let mut sealed = STANDARD.decode(data).ok()?;
        let nonce = STANDARD.decode(iv).ok()?.try_into().ok()?;
        let tag = STANDARD.decode(tag).ok()?;
        if tag.len() != TAG {
            return None;
        }
        sealed.extend(tag);
        Some(Self { sealed, nonce, kind })
    }
}

fn plain(bytes: Vec<u8>, kind: &str) -> Result<Plain, &'static str> {
    const WRONG: &str = "is not of the type that it says";
    let text = || std::str::from_utf8(&bytes).map_err(|_| WRONG);
    Ok(match kind {
        // Times are texts for Kubernetes.
        "str" | "bytes" | "time" => Plain::Text(bytes),
        "comment" => Plain::Comment(bytes),
        "int" => Plain::Int(text()?.parse().map_err(|_| WRONG)?),
        "float" => Plain::Float(text()?.parse().ok().filter(|number: &f64| number.is_finite()).ok_or(WRONG)?),
        "bool" => match text()? {
            "True" | "true" | "TRUE" | "t" | "T" | "1" => Plain::Bool(true),
            "False" | "false" | "FALSE" | "f" | "F" | "0" => Plain::Bool(false),
            _ => return Err(WRONG),
        },
        _ => return Err("is of a type that is not known"),
    })
}
