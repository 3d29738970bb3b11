//! Identifiers as an input: uids and the random suffixes of generated names.
//!
//! A seeded source makes a simulated cluster reproducible.

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::sync::Arc;

/// The letters Kubernetes generates names from: no vowels, nothing that reads as another letter.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of ids and randomness. Clones share the same stream.
#[derive(Clone)]
pub struct Ids(Arc<Mutex<StdRng>>);

impl Ids {
    /// Seeded by the operating system.
    pub fn random() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same seed gives the same ids.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A version 4 UUID, lower case with dashes: `metadata.uid`.
    pub fn uid(&self) -> String {
        let bytes: [u8; 16] = self.0.lock().random();
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// `length` characters for a generated name; Kubernetes appends five to `generateName`.
    pub fn suffix(&self, length: usize) -> String {
        let mut rng = self.0.lock();
        (0..length).map(|_| NAME_LETTERS[rng.random_range(0..NAME_LETTERS.len())] as char).collect()
    }

    /// A number in `0..end` for tie breaks and jitter; 0 when `end` is 0.
    pub fn below(&self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.lock().random_range(0..end) }
    }

    /// `length` letters as of [`Self::suffix`], always the same for the same text.
    pub fn letters_of(text: &str, length: usize) -> String {
        // FNV-1a (64 bits), whose letters are its digits.
        let mut hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let count = NAME_LETTERS.len() as u64;
        let digits = std::iter::repeat_with(|| {
            let digit = hash % count;
            hash /= count;
            NAME_LETTERS[digit as usize] as char
        });
        digits.take(length).collect()
    }
}
