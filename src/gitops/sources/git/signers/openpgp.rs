//! Signatures of OpenPGP keys (RFC 4880, RFC 9580; keys and signatures of version 4, as GnuPG makes them): who
//! may sign, and whether a commit is signed by one of them.
//!
//! What is wrong with a key is found where it is read, all but the time. Nothing that SHA-1 or MD5 hold
//! together counts.

mod key;
mod packet;

use crate::gitops::sources::name;
use key::{Key, fingerprint_text};
use packet::{Armour, Packet, Signature, kinds, packets};

/// What a certificate begins with, in armour.
pub(super) const PUBLIC: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const PRIVATE: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
/// Packets of one Secret's value.
const MAX_PACKETS: usize = 10_000;

/// What a key may be used for (key flags of RFC 9580, 5.2.3.29).
const MAY_SIGN: u8 = 0x02;

/// A key that may sign, or could.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Signer {
    key: Key,
    /// Its own or its primary key's end, whichever is first: seconds since 1970.
    expires: Option<u64>,
    /// Why its signatures do not count.
    unusable: Option<String>,
}

/// Reads the public keys of a Secret's value, in armour or not.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Signer>, String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if text.contains(PRIVATE) {
        return Err("holds a private key: only public ones belong here (gpg --armor --export)".to_owned());
    }
    let binary = match text.contains(PUBLIC) {
        true => Armour::all(text, PUBLIC).ok_or("is in armour that cannot be read")?,
        false => bytes.to_vec(),
    };
    let all = packets(&binary, MAX_PACKETS).ok_or("is no OpenPGP key that can be read")?;
    let mut signers = Vec::new();
    let starts: Vec<usize> = (0..all.len()).filter(|at| all[*at].kind == kinds::PUBLIC_KEY).collect();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(all.len());
        certificate(&all[*start..end], &mut signers)?;
    }
    if signers.is_empty() { Err("holds no OpenPGP public key".to_owned()) } else { Ok(signers) }
}

/// Whether these bytes may be packets that are not in armour.
pub(super) fn is_packet(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 != 0)
}

/// A primary key with all that follows it.
fn certificate(packets: &[Packet<'_>], signers: &mut Vec<Signer>) -> Result<(), String> {
    let Some((first, rest)) = packets.split_first() else { return Ok(()) };
    let primary = Key::read(first.body).map_err(|why| format!("has a key that is not supported: {why}"))?;
    let first_subkey = rest.iter().position(|packet| packet.kind == kinds::PUBLIC_SUBKEY).unwrap_or(rest.len());
    let (own, subkeys) = rest.split_at(first_subkey);
    let main = primary_signer(&primary, own);
    let (expires, unusable) = (main.expires, main.unusable.clone());
    // A primary key that only certifies is no reason to refuse what its subkeys sign.
    let ends_all = unusable.filter(|why| why != NOT_FOR_SIGNING);
    signers.push(main);
    let starts: Vec<usize> = (0..subkeys.len()).filter(|at| subkeys[*at].kind == kinds::PUBLIC_SUBKEY).collect();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(subkeys.len());
        // One that is not supported, for encryption say, signs nothing.
        let Ok(key) = Key::read(subkeys[*start].body) else { continue };
        let mut signer = subkey_signer(&primary, key, &subkeys[start + 1..end]);
        signer.unusable = ends_all.clone().or(signer.unusable);
        signer.expires = [signer.expires, expires].into_iter().flatten().min();
        signers.push(signer);
    }
    Ok(())
}

const NOT_FOR_SIGNING: &str = "is not for signing";

/// What the primary key says of itself, in what stands between it and its subkeys.
fn primary_signer(primary: &Key, packets: &[Packet<'_>]) -> Signer {
    let mut about = primary.hashed();
    let (mut newest, mut revoked): (Option<Signature<'_>>, Option<String>) = (None, None);
    for packet in packets {
        match packet.kind {
            kinds::USER_ID | kinds::USER_ATTRIBUTE => {
                about = primary.hashed();
                about.push(if packet.kind == kinds::USER_ID { 0xb4 } else { 0xd1 });
                about.extend_from_slice(&(packet.body.len() as u32).to_be_bytes());
                about.extend_from_slice(packet.body);
            }
            kinds::SIGNATURE => {
                let Some(signature) = Signature::read(packet.body) else { continue };
                let of = match signature.kind {
                    0x1f | 0x20 => primary.hashed(),
                    0x10..=0x13 => about.clone(),
                    _ => continue,
                };
                match signature.kind {
                    0x20 if revokes(primary, &signature, &of) => revoked = Some(revocation(&signature)),
                    // Others' words on it do not count.
                    0x20 => {}
                    _ if !signature.is_by(primary) || !primary.verify(&signature, &of) => {}
                    _ if newest.as_ref().is_none_or(|known| known.created <= signature.created) => {
                        newest = Some(signature);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let unusable = match (&newest, revoked) {
        (_, Some(revoked)) => Some(revoked),
        (None, None) => Some("has no valid signature of itself".to_owned()),
        (Some(newest), None) => newest.flags.filter(|flags| flags & MAY_SIGN == 0).map(|_| NOT_FOR_SIGNING.to_owned()),
    };
    let expires = newest.and_then(|newest| newest.key_expires).map(|after| u64::from(primary.created) + after);
    Signer { key: primary.clone(), expires, unusable }
}

/// What the primary key says of a subkey, which must agree to it.
fn subkey_signer(primary: &Key, key: Key, packets: &[Packet<'_>]) -> Signer {
    let both = [primary.hashed(), key.hashed()].concat();
    let (mut newest, mut revoked): (Option<Signature<'_>>, Option<String>) = (None, None);
    for packet in packets.iter().filter(|packet| packet.kind == kinds::SIGNATURE) {
        let Some(signature) = Signature::read(packet.body).filter(|it| matches!(it.kind, 0x18 | 0x28)) else {
            continue;
        };
        match signature.kind {
            0x28 if revokes(primary, &signature, &both) => revoked = Some(revocation(&signature)),
            0x28 => {}
            _ if !primary.verify(&signature, &both) => {}
            _ if newest.as_ref().is_none_or(|known| known.created <= signature.created) => newest = Some(signature),
            _ => {}
        }
    }
    let agrees = |binding: &Signature<'_>| {
        let embedded = binding.embedded.and_then(Signature::read).filter(|embedded| embedded.kind == 0x19);
        embedded.is_some_and(|embedded| key.verify(&embedded, &both))
    };
    let unusable = match (&newest, revoked) {
        (_, Some(revoked)) => Some(revoked),
        (None, None) => Some("is bound to no primary key".to_owned()),
        (Some(binding), None) if binding.flags.is_none_or(|flags| flags & MAY_SIGN == 0) => {
            Some(NOT_FOR_SIGNING.to_owned())
        }
        (Some(binding), None) if !agrees(binding) => Some("did not sign that it belongs to its primary key".to_owned()),
        (Some(_), None) => None,
    };
    let expires = newest.and_then(|binding| binding.key_expires).map(|after| u64::from(key.created) + after);
    Signer { key, expires, unusable }
}

/// Whether the key takes something back; by an old hash, too, which could do no harm but that.
fn revokes(key: &Key, signature: &Signature<'_>, of: &[u8]) -> bool {
    key.verify(signature, of) || !signature.is_strong() && signature.is_by(key)
}

fn revocation(signature: &Signature<'_>) -> String {
    match signature.reason.map(|reason| name::shown(&String::from_utf8_lossy(reason))) {
        Some(reason) if !reason.is_empty() => format!("is revoked: {reason}"),
        _ => "is revoked".to_owned(),
    }
}

/// Whether one of the keys made the signature, which is in armour. `now`: seconds since 1970.
pub(super) fn check(armoured: &str, signed: &[u8], signers: &[Signer], now: u64) -> Result<(), String> {
    let broken = || "has a signature that cannot be read".to_owned();
    let binary = Armour::all(armoured, super::OPENPGP).ok_or_else(broken)?;
    let all = packets(&binary, 2).ok_or_else(broken)?;
    let [Packet { kind: kinds::SIGNATURE, body }] = all[..] else { return Err(broken()) };
    let signature = Signature::read(body).ok_or_else(broken)?;
    if signature.kind != 0x00 {
        return Err("has a signature that was made for something else".to_owned());
    }
    let Some(signer) = signers.iter().find(|signer| signature.is_by(&signer.key)) else {
        let issuer = signature.issuer.map(|id| format!(", {}", fingerprint_text(&id))).unwrap_or_default();
        return Err(format!("is signed by an OpenPGP key that is not among those that count{issuer}"));
    };
    let key = fingerprint_text(&signer.key.fingerprint);
    if let Some(why) = &signer.unusable {
        return Err(format!("is signed by the key {key}, which {why}"));
    }
    let day = |seconds: u64| {
        let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    if let Some(expired) = signer.expires.filter(|expires| *expires <= now) {
        return Err(format!("is signed by the key {key}, which expired on {}", day(expired)));
    }
    let made = u64::from(signature.created);
    if let Some(expired) = signature.expires.map(|after| made + after).filter(|expires| *expires <= now) {
        return Err(format!("has a signature of {key} that expired on {}", day(expired)));
    }
    if signature.created < signer.key.created {
        return Err(format!("has a signature of {key} that is older than the key"));
    }
    if !signature.is_strong() {
        return Err(format!("has a signature of {key} with a hash that is not safe: sign with SHA-256 or SHA-512"));
    }
    match signer.key.verify(&signature, signed) {
        true => Ok(()),
        false => Err(format!("has a signature of {key} that is not genuine")),
    }
}

#[cfg(test)]
mod tests;
