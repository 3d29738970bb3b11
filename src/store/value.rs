//! What a record holds: JSON as it is served, or the same packed as what differs from that of a similar object.
//!
//! Most objects of a large cluster were made from few templates and are seldom read. LZ4 with such a sibling as its
//! dictionary leaves a sixth of a pod, and unpacks it in a few microseconds. Nothing packed ever leaves the process:
//! the disk and clients have the JSON.

use bytes::Bytes;
use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};
use std::fmt;
use std::sync::Arc;

/// Smaller values gain nothing, larger ones take long to unpack.
const WORTH_IT: std::ops::RangeInclusive<usize> = 256..=32 << 10;

/// Cheap to clone.
#[derive(Clone)]
pub struct Value(Form);

#[derive(Clone)]
enum Form {
    Plain(Bytes),
    Packed { base: Arc<[u8]>, packed: Arc<[u8]>, len: u32 },
}

impl Value {
    /// The JSON.
    pub fn bytes(&self) -> Bytes {
        match &self.0 {
            Form::Plain(bytes) => bytes.clone(),
            Form::Packed { base, packed, len } => unpack(base, packed, *len as usize),
        }
    }

    /// Bytes of the JSON.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Plain(bytes) => bytes.len(),
            Form::Packed { len, .. } => *len as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it would take less memory if it were packed.
    pub(super) fn is_loose(&self) -> bool {
        matches!(&self.0, Form::Plain(bytes) if WORTH_IT.contains(&bytes.len()))
    }

    /// The JSON as what differs from `base`; `None` where that would not save much. `scratch` is room to work in.
    pub(super) fn pack(&self, base: &Arc<[u8]>, scratch: &mut Vec<u8>) -> Option<Self> {
        let Form::Plain(bytes) = &self.0 else { return None };
        if !self.is_loose() {
            return None;
        }
        scratch.resize(get_maximum_output_size(bytes.len()), 0);
        let size = compress_into_with_dict(bytes, scratch, base).ok()?;
        if size > bytes.len() / 4 * 3 {
            return None;
        }
        // The JSON goes only when what it is packed into has been seen to give it back.
        let unpacked = decompress_with_dict(&scratch[..size], bytes.len(), base).ok()?;
        if unpacked != *bytes {
            return None;
        }
        let len = u32::try_from(bytes.len()).ok()?;
        Some(Self(Form::Packed { base: base.clone(), packed: scratch[..size].into(), len }))
    }

    /// Bytes of what it is packed into.
    #[cfg(test)]
    pub(super) fn packed_len(&self) -> Option<usize> {
        match &self.0 {
            Form::Plain(_) => None,
            Form::Packed { packed, .. } => Some(packed.len()),
        }
    }
}

/// What was packed in this process is whole: `{}` stands for the impossible.
fn unpack(base: &[u8], packed: &[u8], len: usize) -> Bytes {
    match decompress_with_dict(packed, len, base) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            tracing::error!(%error, "a packed object cannot be unpacked");
            Bytes::from_static(b"{}")
        }
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(Form::Plain(bytes))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(Form::Plain(text.into()))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self(Form::Plain(text.into()))
    }
}

impl Default for Value {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Packed { packed: one, .. }, Form::Packed { packed: another, .. }) if Arc::ptr_eq(one, another) => {
                true
            }
            _ => self.bytes() == other.bytes(),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        self.bytes() == other.as_ref()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.bytes(), f)
    }
}
