//! OpenPGP's armour, packets and signatures (RFC 9580, 4.2, 5.2, 6), as far as they matter for keys and
//! signatures of version 4. What is malformed is `None`.

use super::key::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Types of packets.
pub mod kinds {
    pub const SIGNATURE: u8 = 2;
    pub const PUBLIC_KEY: u8 = 6;
    pub const USER_ID: u8 = 13;
    pub const PUBLIC_SUBKEY: u8 = 14;
    pub const USER_ATTRIBUTE: u8 = 17;
}

pub struct Armour;

impl Armour {
    /// All blocks in a text that begin with this line, one after the other.
    pub fn all(text: &str, begin: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for block in text.split(begin).skip(1) {
            // Headers, which end with an empty line.
            let lines = block.lines().skip(1).map(str::trim).skip_while(|line| line.contains(": "));
            let body = lines.skip_while(|line| line.is_empty());
            // A checksum, or the end.
            let body: String = body.take_while(|line| !line.starts_with(['=', '-'])).collect();
            bytes.extend(STANDARD.decode(body).ok()?);
        }
        (!bytes.is_empty()).then_some(bytes)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub kind: u8,
    pub body: &'a [u8],
}

/// All packets, at most so many.
pub fn packets(bytes: &[u8], most: usize) -> Option<Vec<Packet<'_>>> {
    let (mut reader, mut found) = (Reader(bytes), Vec::new());
    while !reader.0.is_empty() {
        if found.len() == most {
            return None;
        }
        let head = reader.byte().filter(|head| head & 0x80 != 0)?;
        let (kind, length) = match head & 0x40 != 0 {
            true => (head & 0x3f, reader.new_length()?),
            false => {
                let size = [1, 2, 4].get(usize::from(head & 3))?;
                ((head >> 2) & 0x0f, reader.take(*size)?.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
            }
        };
        found.push(Packet { kind, body: reader.take(length)? });
    }
    Some(found)
}

/// Reads numbers in network order.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub fn short(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)))
    }

    pub fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A number of any size, without leading zeros.
    pub fn mpi(&mut self) -> Option<&'a [u8]> {
        let bits = self.short()?;
        let number = self.take(bits.div_ceil(8))?;
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
        Some(&number[start..])
    }

    /// A length in the new format, in one piece.
    fn new_length(&mut self) -> Option<usize> {
        match self.byte()? {
            first @ 0..192 => Some(usize::from(first)),
            first @ 192..224 => Some(((usize::from(first) - 192) << 8) + usize::from(self.byte()?) + 192),
            255 => usize::try_from(self.long()?).ok(),
            _ => None,
        }
    }

    /// The length of a subpacket, which has no pieces.
    fn subpacket_length(&mut self) -> Option<usize> {
        match self.byte()? {
            first @ 0..192 => Some(usize::from(first)),
            first @ 192..255 => Some(((usize::from(first) - 192) << 8) + usize::from(self.byte()?) + 192),
            255 => usize::try_from(self.long()?).ok(),
        }
    }
}

/// A signature of version 4.
#[derive(Debug, Clone)]
pub struct Signature<'a> {
    /// What is signed: `0x00` a document, others keys and what belongs to them.
    pub kind: u8,
    pub algorithm: u8,
    pub hash: u8,
    /// Seconds since 1970.
    pub created: u32,
    /// Seconds after that.
    pub expires: Option<u64>,
    /// Of a key: seconds after its creation.
    pub key_expires: Option<u64>,
    pub flags: Option<u8>,
    /// Fingerprint or key id.
    pub issuer: Option<Vec<u8>>,
    /// Why a key is revoked, in words.
    pub reason: Option<&'a [u8]>,
    pub embedded: Option<&'a [u8]>,
    /// All that is hashed after what is signed.
    pub trailer: Vec<u8>,
    /// The numbers of the signature.
    pub numbers: &'a [u8],
}

/// Subpackets that may be critical, because what they say is regarded or does not matter here: times, key flags,
/// issuer, revocation reason, embedded signature; trust, preferences, features, the signer's user id, recipients.
const KNOWN: [u8; 21] = [2, 3, 4, 7, 9, 11, 16, 21, 22, 23, 24, 25, 27, 28, 29, 30, 32, 33, 34, 35, 39];
/// SHA-256, SHA-384, SHA-512.
const STRONG: [u8; 3] = [8, 9, 10];

impl<'a> Signature<'a> {
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        reader.byte().filter(|version| *version == 4)?;
        let (kind, algorithm, hash) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let hashed_size = reader.short()?;
        let hashed = reader.take(hashed_size)?;
        let signed = &body[..6 + hashed_size];
        let unhashed_size = reader.short()?;
        let unhashed = reader.take(unhashed_size)?;
        reader.take(2)?;
        let mut trailer = signed.to_vec();
        trailer.extend([4, 0xff]);
        trailer.extend((signed.len() as u32).to_be_bytes());
        let mut signature = Self {
            kind,
            algorithm,
            hash,
            created: 0,
            expires: None,
            key_expires: None,
            flags: None,
            issuer: None,
            reason: None,
            embedded: None,
            trailer,
            numbers: reader.0,
        };
        signature.subpackets(hashed, true)?;
        signature.subpackets(unhashed, false)?;
        Some(signature)
    }

    fn subpackets(&mut self, bytes: &'a [u8], hashed: bool) -> Option<()> {
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            let length = reader.subpacket_length()?;
            let (kind, body) = reader.take(length)?.split_first()?;
            let (kind, critical) = (kind & 0x7f, kind & 0x80 != 0);
            if critical && !KNOWN.contains(&kind) {
                return None;
            }
            let seconds = || Reader(body).long();
            match kind {
                // Only a hint; but a whole fingerprint says more than an id.
                16 if self.issuer.is_none() => self.issuer = Some(body.to_vec()),
                33 => self.issuer = Some(body.get(1..)?.to_vec()),
                // Not signed itself; it signs.
                32 => self.embedded = Some(body),
                _ if !hashed => {}
                2 => self.created = seconds()?,
                3 => self.expires = Some(u64::from(seconds()?)).filter(|after| *after > 0),
                9 => self.key_expires = Some(u64::from(seconds()?)).filter(|after| *after > 0),
                27 => self.flags = Some(body.first().copied().unwrap_or(0)),
                29 => self.reason = body.get(1..),
                _ => {}
            }
        }
        Some(())
    }

    /// Whether it says that this key made it.
    pub fn is_by(&self, key: &Key) -> bool {
        match self.issuer.as_deref() {
            Some(id) if id.len() == 8 => key.fingerprint.ends_with(id),
            Some(fingerprint) => key.fingerprint == fingerprint,
            None => false,
        }
    }

    pub fn is_strong(&self) -> bool {
        STRONG.contains(&self.hash)
    }
}
