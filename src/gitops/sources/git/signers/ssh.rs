//! Signatures of ssh keys: OpenSSH's PROTOCOL.sshsig, with the keys of RFC 4253, RFC 5656 and RFC 8709, and
//! those of security keys (PROTOCOL.u2f).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use sha2::{Digest, Sha256, Sha512};

const MAGIC: &[u8] = b"SSHSIG";
/// What git signs for.
const NAMESPACE: &[u8] = b"git";
const END: &str = "-----END SSH SIGNATURE-----";
/// The types that signatures are checked of.
const TYPES: [&str; 6] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];
/// A security key was touched.
const USER_PRESENT: u8 = 1;

/// A public key as it is sent: its type and what that needs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// `ssh-ed25519 AAAA... comment`, or a line of `allowed_signers` with principals and options before that.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| TYPES.contains(word));
        let at = at.ok_or_else(|| format!("no public key of a known type: {}", TYPES.join(", ")))?;
        let options = words[..at].iter().skip(1);
        if let Some(option) = options.flat_map(|words| words.split("\",")).find(|option| !is_for_git(option)) {
            return Err(format!("the option {option} is not supported"));
        }
        let blob = words.get(at + 1).and_then(|word| STANDARD.decode(word).ok()).ok_or("the key is not in base64")?;
        if Reader(&blob).string() != Some(words[at].as_bytes()) {
            return Err(format!("the key is not a {}", words[at]));
        }
        Ok(Self(blob))
    }

    /// As `ssh-keygen -l` shows it.
    fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.0)))
    }
}

/// `namespaces="git,file"`: what the key may sign.
fn is_for_git(option: &str) -> bool {
    let names = option.strip_prefix("namespaces=").unwrap_or_default();
    names.trim_matches('"').split(',').any(|name| name == "git" || name == "*")
}

/// Whether one of the keys made the signature, which is in armour.
pub(super) fn check(armoured: &str, signed: &[u8], keys: &[Key]) -> Result<(), String> {
    let broken = || "has a signature that cannot be read".to_owned();
    let body = armoured.lines().skip(1).take_while(|line| line.trim() != END).map(str::trim).collect::<String>();
    let blob = STANDARD.decode(body).map_err(|_| broken())?;
    let signature = Signature::read(&blob).ok_or_else(broken)?;
    if signature.namespace != NAMESPACE {
        return Err("has a signature that was made for something else".to_owned());
    }
    let Some(key) = keys.iter().find(|key| key.0 == signature.key) else {
        let stranger = Key(signature.key.to_vec()).fingerprint();
        return Err(format!("is signed by a key that is not among those that count, {stranger}"));
    };
    let digest = match signature.hash {
        b"sha256" => Sha256::digest(signed).to_vec(),
        b"sha512" => Sha512::digest(signed).to_vec(),
        _ => return Err(broken()),
    };
    let mut message = MAGIC.to_vec();
    for part in [NAMESPACE, signature.reserved, signature.hash, &digest] {
        put(&mut message, part);
    }
    let genuine = verify(&key.0, signature.signature, &message).unwrap_or(false);
    if genuine { Ok(()) } else { Err(format!("has a signature of {} that is not genuine", key.fingerprint())) }
}

struct Signature<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
    reserved: &'a [u8],
    hash: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signature<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(blob.strip_prefix(MAGIC)?);
        if reader.number()? != 1 {
            return None;
        }
        let (key, namespace, reserved) = (reader.string()?, reader.string()?, reader.string()?);
        Some(Self { key, namespace, reserved, hash: reader.string()?, signature: reader.string()? })
    }
}

/// `None`: key or signature are malformed, or do not belong together.
fn verify(key: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
    let (mut key, mut signature) = (Reader(key), Reader(signature));
    let (kind, algorithm) = (key.string()?, signature.string()?);
    let is = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]| {
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    };
    match (kind, algorithm) {
        (b"ssh-ed25519", b"ssh-ed25519") => Some(is(&ED25519, key.string()?, message, signature.string()?)),
        (b"sk-ssh-ed25519@openssh.com", b"sk-ssh-ed25519@openssh.com") => {
            let (public, application, made) = (key.string()?, key.string()?, signature.string()?);
            Some(is(&ED25519, public, &touched(application, &mut signature, message)?, made))
        }
        (b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp256") => {
            let (_curve, public) = (key.string()?, key.string()?);
            Some(is(&ECDSA_P256_SHA256_FIXED, public, message, &fixed(signature.string()?, 32)?))
        }
        (b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp384") => {
            let (_curve, public) = (key.string()?, key.string()?);
            Some(is(&ECDSA_P384_SHA384_FIXED, public, message, &fixed(signature.string()?, 48)?))
        }
        (b"sk-ecdsa-sha2-nistp256@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com") => {
            let (_curve, public, application) = (key.string()?, key.string()?, key.string()?);
            let made = fixed(signature.string()?, 32)?;
            Some(is(&ECDSA_P256_SHA256_FIXED, public, &touched(application, &mut signature, message)?, &made))
        }
        (b"ssh-rsa", b"rsa-sha2-256" | b"rsa-sha2-512") => {
            let (e, n) = (positive(key.string()?), positive(key.string()?));
            let way =
                if algorithm.ends_with(b"256") { &RSA_PKCS1_2048_8192_SHA256 } else { &RSA_PKCS1_2048_8192_SHA512 };
            Some(RsaPublicKeyComponents { n, e }.verify(way, message, signature.string()?).is_ok())
        }
        _ => None,
    }
}

/// What a security key signs of a message, if somebody touched it for that.
fn touched(application: &[u8], rest: &mut Reader<'_>, message: &[u8]) -> Option<Vec<u8>> {
    let (flags, counter) = (rest.byte()?, rest.number()?);
    if flags & USER_PRESENT == 0 {
        return None;
    }
    let (application, message) = (Sha256::digest(application), Sha256::digest(message));
    Some([&application[..], &[flags], &counter.to_be_bytes(), &message[..]].concat())
}

/// Two numbers side by side, each of so many bytes.
fn fixed(pair: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut reader = Reader(pair);
    let mut both = Vec::with_capacity(2 * size);
    for _ in 0..2 {
        let number = positive(reader.string()?);
        both.resize(both.len() + size.checked_sub(number.len())?, 0);
        both.extend_from_slice(number);
    }
    Some(both)
}

/// A number without the zeros that keep it from being negative.
fn positive(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

fn put(message: &mut Vec<u8>, part: &[u8]) {
    message.extend_from_slice(&(part.len() as u32).to_be_bytes());
    message.extend_from_slice(part);
}

/// Reads RFC 4251's representations.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    /// What ssh-keygen makes: a public key, and a signature of `text` for git.
    fn signed(kind: &[&str], text: &str, namespace: &str) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let (key, file) = (folder.path().join("key"), folder.path().join("text"));
        std::fs::write(&file, text).unwrap();
        let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&key).args(kind).status().unwrap();
        assert!(made.success());
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&key).arg(&file);
        assert!(sign.status().unwrap().success());
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        (read("key.pub"), read("text.sig"))
    }

    #[test]
    fn signatures_of_every_usual_kind_are_checked() {
        let kinds: [&[&str]; 4] = [
            &["-t", "ed25519"],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "384"],
            &["-t", "rsa", "-b", "2048"],
        ];
        for kind in kinds {
            let (public, signature) = signed(kind, "commit", NAMESPACE_TEXT);
            let keys = [Key::parse(&format!("ann@example.com namespaces=\"git\" {public}")).unwrap()];
            assert_eq!(check(&signature, b"commit", &keys), Ok(()), "{kind:?}");
            assert!(check(&signature, b"commit2", &keys).unwrap_err().contains("not genuine"), "{kind:?}");
        }
    }

    const NAMESPACE_TEXT: &str = "git";

    #[test]
    fn strangers_and_other_purposes_do_not_count() {
        let (public, signature) = signed(&["-t", "ed25519"], "commit", "git");
        let (other, _) = signed(&["-t", "ed25519"], "commit", "git");
        let refused = check(&signature, b"commit", &[Key::parse(&other).unwrap()]).unwrap_err();
        let fingerprint = Key::parse(&public).unwrap().fingerprint();
        assert!(refused.contains(&fingerprint), "{refused}");
        let (public, signature) = signed(&["-t", "ed25519"], "commit", "file");
        let refused = check(&signature, b"commit", &[Key::parse(&public).unwrap()]).unwrap_err();
        assert!(refused.contains("something else"), "{refused}");
    }

    #[test]
    fn hostile_signatures_are_refused() {
        let (public, signature) = signed(&["-t", "ed25519"], "commit", "git");
        let keys = [Key::parse(&public).unwrap()];
        let lines: Vec<&str> = signature.lines().collect();
        for cut in 0..lines.len() - 1 {
            assert!(check(&lines[..cut].join("\n"), b"commit", &keys).is_err(), "{cut}");
        }
        let body = STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap();
        for at in 0..body.len() {
            let mut bent = body.clone();
            bent[at] ^= 1;
            let armoured = format!("{}\n{}\n{END}", lines[0], STANDARD.encode(bent));
            // What is reserved is signed; nothing but that is of no consequence.
            assert!(check(&armoured, b"commit", &keys).is_err(), "byte {at}");
        }
        for line in [
            "ssh-dss AAAA",
            "ssh-ed25519",
            "ssh-ed25519 !",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5",
            "",
            "a cert-authority ssh-ed25519 AAAA",
        ] {
            assert!(Key::parse(line).is_err(), "{line}");
        }
    }
}
