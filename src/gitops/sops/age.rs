//! age (age-encryption.org/v1) as far as SOPS uses it: one key that is encrypted for one X25519 recipient. Pure.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bech32::{Bech32, Hrp};
use ring::{aead, hkdf, hmac};
use std::fmt;
use x25519_dalek::{PublicKey, StaticSecret};

const VERSION: &str = "age-encryption.org/v1";
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
const IDENTITY: &str = "AGE-SECRET-KEY-";
const X25519: &str = "X25519";
/// Stanzas of one header. SOPS writes one, and age may add one that means nothing.
const MAX_STANZAS: usize = 16;
/// Bytes of a whole file: a key with what is around it takes some hundred.
const MAX_BYTES: usize = 64 << 10;
const FILE_KEY: usize = 16;
const NONCE: usize = 16;
const TAG: usize = 16;
const HASH: usize = 32;

/// A private key.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    public: PublicKey,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

impl Identity {
    /// Reads `AGE-SECRET-KEY-1...`. The error says what it is instead, and holds none of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "is no age key: expected AGE-SECRET-KEY-1...";
        match text {
            text if text.starts_with("AGE-PLUGIN-") => return Err("is a key of an age plugin, which is not supported"),
            text if text.starts_with("AGE-SECRET-KEY-PQ-") => {
                return Err("is a post-quantum key, which is not supported");
            }
            text if text.starts_with("-----BEGIN AGE ") => {
                return Err("is an encrypted age key, which is not supported");
            }
            text if text.starts_with("-----BEGIN ") => return Err("is no age key, and ssh keys are not supported"),
            text if text.starts_with("age1") => return Err("is a public key: expected AGE-SECRET-KEY-1..."),
            _ => {}
        }
        let (prefix, bytes) = bech32::decode(text).map_err(|_| EXPECTED)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| EXPECTED)?;
        if prefix.as_str() != IDENTITY {
            return Err(EXPECTED);
        }
        let secret = StaticSecret::from(bytes);
        Ok(Self { public: PublicKey::from(&secret), secret })
    }

    /// Its public key: `age1...`.
    pub fn recipient(&self) -> String {
        bech32::encode::<Bech32>(Hrp::parse_unchecked("age"), self.public.as_bytes()).unwrap_or_default()
    }
}

/// What a recipient is, for people; `None`: an X25519 key, as this module decrypts for.
pub fn unsupported(recipient: &str) -> Option<&'static str> {
    match recipient {
        text if text.starts_with("ssh-") => Some("an ssh key"),
        text if text.starts_with("age1pq1") => Some("a post-quantum key"),
        text if text.starts_with("age1") && text.matches('1').count() == 1 => None,
        text if text.starts_with("age1") => Some("a key of an age plugin"),
        _ => Some("no age key"),
    }
}

/// Decrypts an armored file whose content fits into one chunk. `None`: it is damaged, or for somebody else.
pub fn decrypt(armored: &str, identity: &Identity) -> Option<Vec<u8>> {
    let bytes = dearmor(armored)?;
    let (header, payload) = Header::parse(&bytes)?;
    let file_key = header.stanzas.iter().find_map(|stanza| stanza.unwrap(identity))?;
    let mac = derive(&[], &file_key, b"header")?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &mac), header.signed, &header.mac).ok()?;
    let (nonce, chunk) = payload.split_at_checked(NONCE)?;
    let key = derive(nonce, &file_key, b"payload")?;
    // Eleven bytes count the chunks; the last one marks the end.
    open(&key, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], chunk)
}

fn dearmor(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let inside = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let compact: String = inside.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok()
}

struct Header<'a> {
    stanzas: Vec<Stanza<'a>>,
    /// What the MAC is of.
    signed: &'a [u8],
    mac: Vec<u8>,
}

struct Stanza<'a> {
    arguments: Vec<&'a str>,
    body: Vec<u8>,
}

impl<'a> Header<'a> {
    /// Also gives what follows it.
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        const MAC: &str = "---";
        let mut lines = Lines { bytes, at: 0 };
        if lines.next()? != VERSION {
            return None;
        }
        let mut stanzas = Vec::new();
        loop {
            let begin = lines.at;
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix(MAC) {
                let mac = STANDARD_NO_PAD.decode(mac.strip_prefix(' ')?).ok()?;
                let signed = &bytes[..begin + MAC.len()];
                return Some((Self { stanzas, signed, mac }, &bytes[lines.at..]));
            }
            if stanzas.len() == MAX_STANZAS {
                return None;
            }
            let arguments = line.strip_prefix("-> ")?.split(' ').collect();
            stanzas.push(Stanza { arguments, body: body(&mut lines)? });
        }
    }
}

/// Lines of 64 characters, and a shorter one at the end.
fn body(lines: &mut Lines<'_>) -> Option<Vec<u8>> {
    const COLUMNS: usize = 64;
    let mut text = String::new();
    loop {
        let line = lines.next()?;
        text.push_str(line);
        if line.len() < COLUMNS {
            return STANDARD_NO_PAD.decode(text).ok();
        }
    }
}

/// The lines of a header; each ends in a line feed.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.bytes.get(self.at..)?;
        let end = memchr::memchr(b'\n', rest)?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

impl Stanza<'_> {
    /// The file's key, if it is encrypted for this identity.
    fn unwrap(&self, identity: &Identity) -> Option<Vec<u8>> {
        let [X25519, share] = self.arguments[..] else { return None };
        let share = <[u8; 32]>::try_from(STANDARD_NO_PAD.decode(share).ok()?).ok()?;
        let shared = identity.secret.diffie_hellman(&PublicKey::from(share));
        if !shared.was_contributory() {
            return None;
        }
        let salt = [share, identity.public.to_bytes()].concat();
        let key = derive(&salt, shared.as_bytes(), b"age-encryption.org/v1/X25519")?;
        open(&key, [0; 12], &self.body).filter(|key| key.len() == FILE_KEY)
    }
}

/// HKDF with SHA-256.
fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Option<[u8; HASH]> {
    let mut key = [0; HASH];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(key)
}

/// ChaCha20-Poly1305 without additional data.
fn open(key: &[u8; HASH], nonce: [u8; 12], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key).ok()?);
    let mut bytes = sealed.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    key.open_in_place(nonce, aead::Aad::empty(), &mut bytes).ok()?;
    bytes.truncate(sealed.len().checked_sub(TAG)?);
    Some(bytes)
}
