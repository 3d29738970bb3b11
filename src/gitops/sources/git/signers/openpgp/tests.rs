//! Keys and signatures that real gpg makes.
#![allow(clippy::unwrap_used)]

use super::packet::{Armour, packets};
use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

const TEXT: &[u8] = b"tree 0123\n\nmessage\n";
const DAY: u64 = 24 * 3600;

/// gpg with keys of its own, none of which has a passphrase.
struct Gpg(tempfile::TempDir);

impl Gpg {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(home.path(), mode).unwrap();
        Self(home)
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--homedir", self.0.path().to_str().unwrap(), "--batch", "--quiet", "--no-tty"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", ""]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("gpg: run ./examples/setup test, which installs it");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key; returns its fingerprint.
    fn key(&self, algorithm: &str, usage: &str, expire: &str) -> String {
        let name = format!("{algorithm} {expire} <{usage}@example.com>");
        self.run(&["--quick-generate-key", &name, algorithm, usage, expire], b"");
        let listed = String::from_utf8(self.run(&["--list-keys", "--with-colons"], b"")).unwrap();
        let fingerprint = listed.lines().rfind(|line| line.starts_with("fpr:")).unwrap();
        fingerprint.split(':').nth(9).unwrap().to_owned()
    }

    fn public(&self, key: &str) -> Vec<Signer> {
        read(&self.run(&["--armor", "--export", key], b"")).unwrap()
    }

    fn sign(&self, key: &str, more: &[&str]) -> String {
        let args = [&["--armor", "--detach-sign", "--local-user", key][..], more].concat();
        String::from_utf8(self.run(&args, TEXT)).unwrap()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent would outlive us.
        let _ = Command::new("gpgconf").args(["--homedir", self.0.path().to_str().unwrap(), "--kill", "all"]).output();
    }
}

fn now() -> u64 {
    jiff::Timestamp::now().as_second().unsigned_abs()
}

#[test]
fn signatures_of_every_usual_kind_are_checked() {
    let gpg = Gpg::new();
    for algorithm in ["ed25519", "rsa2048", "nistp256", "nistp384"] {
        let key = gpg.key(algorithm, "sign", "never");
        let (signers, signature) = (gpg.public(&key), gpg.sign(&key, &[]));
        assert_eq!(check(&signature, TEXT, &signers, now()), Ok(()), "{algorithm}");
        let bent = check(&signature, b"another", &signers, now()).unwrap_err();
        assert!(bent.contains("not genuine") && bent.contains(&key), "{algorithm}: {bent}");
        // Not in armour, too.
        let signers = read(&gpg.run(&["--export", &key], b"")).unwrap();
        assert_eq!(check(&signature, TEXT, &signers, now()), Ok(()), "{algorithm}");
    }
}

#[test]
fn a_subkey_signs_for_its_primary_key_until_either_ends() {
    let gpg = Gpg::new();
    let primary = gpg.key("ed25519", "cert", "never");
    gpg.run(&["--quick-add-key", &primary, "ed25519", "sign", "30d"], b"");
    let (signers, signature) = (gpg.public(&primary), gpg.sign(&primary, &[]));
    assert_eq!(check(&signature, TEXT, &signers, now()), Ok(()));
    let late = check(&signature, TEXT, &signers, now() + 31 * DAY).unwrap_err();
    assert!(late.contains("which expired on 20"), "{late}");
    // Without what binds it to its primary key, it is nobody's.
    let binary = gpg.run(&["--export", &primary], b"");
    let all = packets(&binary, 100).unwrap();
    let start = binary.len() - all.last().unwrap().body.len();
    let mut loose = binary.clone();
    loose[start + 10] ^= 1;
    let refused = check(&signature, TEXT, &read(&loose).unwrap(), now()).unwrap_err();
    assert!(refused.contains("bound to no primary key") || refused.contains("did not sign"), "{refused}");
}

#[test]
fn ended_keys_say_why() {
    let gpg = Gpg::new();
    let short = gpg.key("ed25519", "sign", "2d");
    let (signers, signature) = (gpg.public(&short), gpg.sign(&short, &[]));
    assert_eq!(check(&signature, TEXT, &signers, now()), Ok(()));
    let late = check(&signature, TEXT, &signers, now() + 3 * DAY).unwrap_err();
    assert!(late.contains(&short) && late.contains("which expired on 20"), "{late}");
    let brief = gpg.sign(&short, &["--default-sig-expire", "1d"]);
    let late = check(&brief, TEXT, &signers, now() + DAY + DAY / 2).unwrap_err();
    assert!(late.contains("that expired on 20"), "{late}");

    // What gpg puts aside for the day, with a colon before it so that it is not used by mistake.
    let file = gpg.0.path().join("openpgp-revocs.d").join(format!("{short}.rev"));
    let revocation = std::fs::read_to_string(file).unwrap().replace(":-----", "-----");
    gpg.run(&["--import"], revocation.as_bytes());
    let revoked = check(&signature, TEXT, &gpg.public(&short), now()).unwrap_err();
    assert!(revoked.contains("is revoked"), "{revoked}");

    let certifier = gpg.key("ed25519", "cert", "never");
    let other = gpg.key("ed25519", "sign", "never");
    let only = gpg.public(&certifier);
    assert_eq!(only[0].unusable.as_deref(), Some(NOT_FOR_SIGNING));
    let stranger = check(&gpg.sign(&other, &[]), TEXT, &only, now()).unwrap_err();
    assert!(stranger.contains("not among those that count") && stranger.contains(&other), "{stranger}");
    let weak = check(&gpg.sign(&other, &["--digest-algo", "SHA1"]), TEXT, &gpg.public(&other), now()).unwrap_err();
    assert!(weak.contains("hash that is not safe"), "{weak}");
}

#[test]
fn what_is_signed_cannot_be_bent() {
    let gpg = Gpg::new();
    let key = gpg.key("ed25519", "sign", "never");
    let (signers, signature) = (gpg.public(&key), gpg.sign(&key, &[]));
    let binary = Armour::all(&signature, super::super::OPENPGP).unwrap();
    let body = packets(&binary, 1).unwrap()[0].body;
    let start = binary.len() - body.len();
    let hashed = 6 + usize::from(u16::from_be_bytes([body[4], body[5]]));
    let armoured = |bytes: &[u8]| {
        use base64::Engine;
        let body = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN PGP SIGNATURE-----\n\n{body}\n-----END PGP SIGNATURE-----\n")
    };
    assert_eq!(check(&armoured(&binary), TEXT, &signers, now()), Ok(()));
    for at in start..start + hashed {
        let mut bent = binary.clone();
        bent[at] ^= 1;
        assert!(check(&armoured(&bent), TEXT, &signers, now()).is_err(), "byte {at}");
    }
    for end in 0..binary.len() {
        assert!(check(&armoured(&binary[..end]), TEXT, &signers, now()).is_err(), "cut at {end}");
    }
    // Two of them are not one.
    assert!(check(&armoured(&[binary.clone(), binary].concat()), TEXT, &signers, now()).is_err());
}

#[test]
fn what_is_no_public_key_says_so() {
    let error = |bytes: &[u8]| read(bytes).map(|_| ()).unwrap_err();
    assert!(error(format!("{PRIVATE}\n\nAA==\n").as_bytes()).contains("private key"));
    assert!(error(format!("{PUBLIC}\n\n!\n").as_bytes()).contains("armour"));
    assert!(error(&[0xff, 0xff]).contains("no OpenPGP key that can be read"));
    // A user id alone.
    assert!(error(&[0xcd, 1, b'x']).contains("no OpenPGP public key"));
    let gone = [0xc6, 6, 3, 0, 0, 0, 0, 1];
    assert!(error(&gone).contains("its version is 3"));
}

proptest! {
    #[test]
    fn nothing_that_is_read_hangs_or_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = Signature::read(&bytes);
        let _ = Signature::read(&[&[4, 0, 22, 8][..], &bytes].concat());
        let _ = Key::read(&[&[4, 0, 0, 0, 0, 22][..], &bytes].concat());
    }
}
