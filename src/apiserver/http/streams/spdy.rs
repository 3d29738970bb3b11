//! SPDY/3.1 framing, as much of it as kubectl's port-forward speaks: streams, data, pings, ends.
//! Without flow control, which kubectl's implementation has not either.

mod dictionary;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress};
use std::collections::HashMap;

const VERSION: u16 = 0x8003;
const FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
/// Frames of kubectl hold at most 32 KiB; their length field would allow 16 MiB.
const FRAME_LIMIT: usize = 1024 * 1024;
const HEADERS_LIMIT: usize = 64 * 1024;

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A new stream. `last`: the client will send nothing on it.
    Open {
        id: u32,
        headers: HashMap<String, String>,
        last: bool,
    },
    Data {
        id: u32,
        bytes: Bytes,
        last: bool,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpdyError {
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("a frame of type {0} is too short")]
    TooShort(u16),
    #[error("a header block cannot be read")]
    Headers,
}

/// Reads the client's bytes.
pub struct Reader {
    buffer: BytesMut,
    headers: HeaderReader,
}

impl Reader {
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), headers: HeaderReader::new() }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame of those fed.
    pub fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        while self.buffer.len() >= 8 {
            let length = (&self.buffer[5..8]).get_uint(3) as usize;
            if length > FRAME_LIMIT {
                return Err(SpdyError::TooLarge(length));
            }
            if self.buffer.len() < 8 + length {
                return Ok(None);
            }
            let mut head = self.buffer.split_to(8);
            let body = self.buffer.split_to(length).freeze();
            let last = head[4] & FIN != 0;
            if head[0] & 0x80 == 0 {
                return Ok(Some(Frame::Data { id: head.get_u32(), bytes: body, last }));
            }
            head.advance(2);
            if let Some(frame) = self.control(head.get_u16(), body, last)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn control(&mut self, kind: u16, mut body: Bytes, last: bool) -> Result<Option<Frame>, SpdyError> {
        let least = match kind {
            SYN_STREAM => 10,
            PING | RST_STREAM => 4,
            _ => 0,
        };
        if body.len() < least {
            return Err(SpdyError::TooShort(kind));
        }
        Ok(match kind {
            SYN_STREAM => {
                let id = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Some(Frame::Open { id, headers: self.headers.read(&body)?, last })
            }
            RST_STREAM => Some(Frame::Reset { id: body.get_u32() & 0x7fff_ffff }),
            PING => Some(Frame::Ping { id: body.get_u32() }),
            GO_AWAY => Some(Frame::GoAway),
            // Settings and windows say nothing to an end without flow control.
            _ => None,
        })
    }
}

/// Decompresses header blocks: one stream of zlib for the whole connection.
struct HeaderReader {
    inflate: Decompress,
    begun: bool,
}

impl HeaderReader {
    fn new() -> Self {
        Self { inflate: Decompress::new(false), begun: false }
    }

    fn read(&mut self, mut block: &[u8]) -> Result<HashMap<String, String>, SpdyError> {
        if !self.begun {
            self.begun = true;
            // The zlib header with the checksum of the dictionary; the dictionary itself goes before the
            // first block as if it had been sent.
            block = block.get(6..).filter(|_| block[1] & 0x20 != 0).ok_or(SpdyError::Headers)?;
            self.inflate(&stored(&dictionary::words()))?;
        }
        let text = self.inflate(block)?;
        pairs(&text).ok_or(SpdyError::Headers)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut out = Vec::new();
        loop {
            out.reserve(4096);
            let (read, wrote) = (self.inflate.total_in(), out.len());
            let flush = FlushDecompress::Sync;
            self.inflate.decompress_vec(block, &mut out, flush).map_err(|_| SpdyError::Headers)?;
            block = &block[(self.inflate.total_in() - read) as usize..];
            if block.is_empty() && out.len() < out.capacity() || self.inflate.total_in() == read && out.len() == wrote {
                return Ok(out);
            }
            if out.len() > HEADERS_LIMIT {
                return Err(SpdyError::Headers);
            }
        }
    }
}

/// Number of pairs, then name and value, each after its length.
fn pairs(mut text: &[u8]) -> Option<HashMap<String, String>> {
    let mut headers = HashMap::new();
    let string = |text: &mut &[u8]| {
        let length = text.try_get_u32().ok()? as usize;
        let string = text.get(..length)?;
        text.advance(length);
        Some(String::from_utf8_lossy(string).into_owned())
    };
    for _ in 0..text.try_get_u32().ok()? {
        let name = string(&mut text)?;
        headers.insert(name, string(&mut text)?);
    }
    Some(headers)
}

/// A deflate block that is not compressed.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut out = vec![0];
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(bytes);
    out
}

/// Writes frames of ours.
pub struct Writer {
    begun: bool,
}

impl Writer {
    pub fn new() -> Self {
        Self { begun: false }
    }

    /// Accepts a stream, without headers.
    pub fn reply(&mut self, id: u32) -> Bytes {
        let mut block = Vec::new();
        if !self.begun {
            self.begun = true;
            // A zlib header that names the dictionary by its checksum.
            block.put_slice(&[0x78, 0xbb]);
            block.put_u32(dictionary::CHECKSUM);
        }
        block.extend(stored(&0u32.to_be_bytes()));
        // An empty block makes the other side's decompressor hand out what it has.
        block.extend(stored(b""));
        let mut body = id.to_be_bytes().to_vec();
        body.extend(block);
        control(SYN_REPLY, &body)
    }
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + body.len());
    out.put_u16(VERSION);
    out.put_u16(kind);
    out.put_u8(0);
    out.put_uint(body.len() as u64, 3);
    out.put_slice(body);
    out.freeze()
}

/// Data on a stream; `last` ends it.
pub fn data(id: u32, bytes: &[u8], last: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + bytes.len());
    out.put_u32(id);
    out.put_u8(if last { FIN } else { 0 });
    out.put_uint(bytes.len() as u64, 3);
    out.put_slice(bytes);
    out.freeze()
}

pub fn pong(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

/// Refuses a stream.
pub fn reset(id: u32) -> Bytes {
    const REFUSED: u32 = 3;
    let mut body = id.to_be_bytes().to_vec();
    body.put_u32(REFUSED);
    control(RST_STREAM, &body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A header block as a client would compress it, without compressing.
    fn open(id: u32, headers: &[(&str, &str)], first: bool) -> Vec<u8> {
        let mut text = (headers.len() as u32).to_be_bytes().to_vec();
        for string in headers.iter().flat_map(|(name, value)| [name, value]) {
            text.put_u32(string.len() as u32);
            text.put_slice(string.as_bytes());
        }
        let mut body = id.to_be_bytes().to_vec();
        body.put_slice(&[0; 6]);
        if first {
            body.put_slice(&[0x78, 0xbb]);
            body.put_u32(dictionary::CHECKSUM);
        }
        body.extend(stored(&text));
        body.extend(stored(b""));
        control(SYN_STREAM, &body).to_vec()
    }

    #[test]
    fn frames_are_read_in_any_pieces() {
        let mut bytes = open(1, &[("streamtype", "error"), ("port", "80")], true);
        bytes.extend(open(3, &[("streamtype", "data")], false));
        bytes.extend(data(3, b"hello", false));
        bytes.extend(control(4, b"settings"));
        bytes.extend(pong(7));
        bytes.extend(data(1, b"", true));
        for size in [1, 7, bytes.len()] {
            let (mut reader, mut frames) = (Reader::new(), Vec::new());
            for piece in bytes.chunks(size) {
                reader.feed(piece);
                while let Some(frame) = reader.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 5);
            let Frame::Open { id: 1, headers, .. } = &frames[0] else { panic!("{frames:?}") };
            assert_eq!(headers["port"], "80");
            assert!(matches!(&frames[1], Frame::Open { id: 3, headers, .. } if headers["streamtype"] == "data"));
            assert_eq!(frames[2], Frame::Data { id: 3, bytes: "hello".into(), last: false });
            assert_eq!(frames[3], Frame::Ping { id: 7 });
            assert_eq!(frames[4], Frame::Data { id: 1, bytes: Bytes::new(), last: true });
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut reader = Reader::new();
        reader.feed(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]);
        assert_eq!(reader.next(), Err(SpdyError::TooLarge(0xff_ffff)));
        let mut reader = Reader::new();
        reader.feed(&control(SYN_STREAM, &[0; 30]));
        assert_eq!(reader.next(), Err(SpdyError::Headers));
        let mut reader = Reader::new();
        reader.feed(&control(PING, b""));
        assert_eq!(reader.next(), Err(SpdyError::TooShort(PING)));
    }
}
