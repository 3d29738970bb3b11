//! Public keys of OpenPGP (version 4), and what they verify: RSA from 2048 bits, EdDSA and Ed25519, ECDSA on
//! P-256 and P-384.

use super::packet::{Reader, Signature};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

const SHA256: u8 = 8;
const SHA384: u8 = 9;
const SHA512: u8 = 10;

const CURVE_ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
const CURVE_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const CURVE_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Seconds since 1970.
    pub created: u32,
    pub fingerprint: Vec<u8>,
    /// The whole packet.
    body: Vec<u8>,
    algorithm: u8,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl Key {
    /// The error says what is not supported.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let broken = || "it is broken off".to_owned();
        let mut reader = Reader(body);
        let version = reader.byte().ok_or_else(broken)?;
        if version != 4 || body.len() > usize::from(u16::MAX) {
            return Err(format!("its version is {version}, not 4"));
        }
        let (created, algorithm) = (reader.long().ok_or_else(broken)?, reader.byte().ok_or_else(broken)?);
        let material = Material::read(algorithm, &mut reader)
            .ok_or_else(|| format!("algorithm {algorithm}, or its curve, is none of RSA, Ed25519, P-256, P-384"))?;
        let hashed = hashed(body);
        let fingerprint = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &hashed);
        let fingerprint = fingerprint.as_ref().to_vec();
        Ok(Self { created, fingerprint, body: body.to_vec(), algorithm, material })
    }

    /// What of it goes into signatures that are about it.
    pub fn hashed(&self) -> Vec<u8> {
        hashed(&self.body)
    }

    /// Whether it made this signature of `signed`.
    pub fn verify(&self, signature: &Signature<'_>, signed: &[u8]) -> bool {
        let same = signature.algorithm == self.algorithm;
        same && signature.is_strong() && self.verified(signature, signed).unwrap_or(false)
    }

    fn verified(&self, signature: &Signature<'_>, signed: &[u8]) -> Option<bool> {
        let message = [signed, &signature.trailer].concat();
        let mut numbers = Reader(signature.numbers);
        Some(match &self.material {
            Material::Rsa { n, e } => {
                let way = match signature.hash {
                    SHA256 => &RSA_PKCS1_2048_8192_SHA256,
                    SHA384 => &RSA_PKCS1_2048_8192_SHA384,
                    SHA512 => &RSA_PKCS1_2048_8192_SHA512,
                    _ => return None,
                };
                let made = padded(numbers.mpi()?, n.len())?;
                RsaPublicKeyComponents { n, e }.verify(way, &message, &made).is_ok()
            }
            Material::Ed25519(public) => {
                // What is signed is the hash.
                let digest = match signature.hash {
                    SHA256 => Sha256::digest(&message).to_vec(),
                    SHA384 => Sha384::digest(&message).to_vec(),
                    SHA512 => Sha512::digest(&message).to_vec(),
                    _ => return None,
                };
                let made = match self.algorithm {
                    27 => numbers.take(64)?.to_vec(),
                    _ => [padded(numbers.mpi()?, 32)?, padded(numbers.mpi()?, 32)?].concat(),
                };
                UnparsedPublicKey::new(&ED25519, public).verify(&digest, &made).is_ok()
            }
            Material::P256(public) if signature.hash == SHA256 => {
                let made = [padded(numbers.mpi()?, 32)?, padded(numbers.mpi()?, 32)?].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(&message, &made).is_ok()
            }
            Material::P384(public) if signature.hash == SHA384 => {
                let made = [padded(numbers.mpi()?, 48)?, padded(numbers.mpi()?, 48)?].concat();
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, public).verify(&message, &made).is_ok()
            }
            _ => return None,
        })
    }
}

impl Material {
    /// Of algorithms 1 and 3 (RSA), 19 (ECDSA), 22 (EdDSA), 27 (Ed25519).
    fn read(algorithm: u8, reader: &mut Reader<'_>) -> Option<Self> {
        match algorithm {
            1 | 3 => Some(Self::Rsa { n: reader.mpi()?.to_vec(), e: reader.mpi()?.to_vec() }),
            27 => Some(Self::Ed25519(reader.take(32)?.to_vec())),
            19 | 22 => {
                let size = reader.byte()?;
                let (curve, point) = (reader.take(usize::from(size))?, reader.mpi()?);
                match (algorithm, curve) {
                    // A point as it is has this before it.
                    (22, CURVE_ED25519) => Some(Self::Ed25519(point.strip_prefix(&[0x40])?.to_vec())),
                    (19, CURVE_P256) => Some(Self::P256(point.to_vec())),
                    (19, CURVE_P384) => Some(Self::P384(point.to_vec())),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn hashed(body: &[u8]) -> Vec<u8> {
    [&[0x99][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// A number with zeros before it, so that it has this size.
fn padded(number: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut padded = vec![0; size.checked_sub(number.len())?];
    padded.extend_from_slice(number);
    Some(padded)
}

/// As gpg shows it: in capitals.
pub fn fingerprint_text(fingerprint: &[u8]) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02X}")).collect()
}
