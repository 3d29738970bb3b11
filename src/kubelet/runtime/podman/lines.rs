//! Cuts a flowing body into pieces: lines, and the frames that Podman multiplexes output with.

use crate::kubelet::runtime::{OutputStream, Result, RuntimeError};
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// A log line is cut by conmon at 8 KiB or so; an event or pull line is a few KB.
const LONGEST_LINE: usize = 1 << 20;

/// The body's chunks; `object` is what errors say it was about.
pub fn chunks(body: Incoming, object: &str) -> impl Stream<Item = Result<Bytes>> + Send + Unpin + use<> {
    let object = object.to_owned();
    Box::pin(body.into_data_stream().map(move |chunk| {
        chunk.map_err(|error| RuntimeError::Other {
            method: "read".into(),
            object: object.clone(),
            message: "the stream broke off".into(),
            cause: Some(error.into()),
        })
    }))
}

/// The body's lines, without their newlines; empty ones are left out.
pub fn lines(body: Incoming, object: &str) -> impl Stream<Item = Result<Bytes>> + Send + Unpin + use<> {
    cut(chunks(body, object), |buffer, ended| {
        loop {
            let end = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => end,
                None if (ended && !buffer.is_empty()) || buffer.len() > LONGEST_LINE => buffer.len(),
                None => return None,
            };
            let line = buffer.split_to(end).freeze();
            if buffer.first() == Some(&b'\n') {
                buffer.advance(1);
            }
            if !line.is_empty() {
                return Some(line);
            }
        }
    })
}

/// A piece of output and the stream it was written to.
pub type Frame = (OutputStream, Bytes);

/// Takes one whole frame off the buffer: a byte that names the stream, three of nothing, the length
/// in four (big endian), the payload. What is no frame ends the stream silently.
pub fn take_frame(buffer: &mut BytesMut) -> Option<Frame> {
    loop {
        let header: [u8; 8] = buffer.get(..8)?.try_into().ok()?;
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if buffer.len() < 8 + length {
            return None;
        }
        buffer.advance(8);
        let payload = buffer.split_to(length).freeze();
        match header[0] {
            0 | 1 => return Some((OutputStream::Stdout, payload)),
            2 => return Some((OutputStream::Stderr, payload)),
            // 3 carries errors of Podman itself; others are yet to be invented.
            _ => {}
        }
    }
}

/// The frames in a stream of chunks.
pub fn frames(chunks: impl Stream<Item = Result<Bytes>> + Send + Unpin) -> impl Stream<Item = Result<Frame>> + Send {
    cut(chunks, |buffer, _| take_frame(buffer))
}

/// Buffers chunks and emits whatever `take` finds complete at the buffer's start. `take` is told
/// when no more bytes will come.
fn cut<T: Send>(
    chunks: impl Stream<Item = Result<Bytes>> + Send + Unpin,
    take: impl Fn(&mut BytesMut, bool) -> Option<T> + Send,
) -> impl Stream<Item = Result<T>> + Send + Unpin {
    let state = (chunks, BytesMut::new(), take, false);
    Box::pin(stream::unfold(state, |(mut chunks, mut buffer, take, mut ended)| async move {
        loop {
            if let Some(item) = take(&mut buffer, ended) {
                return Some((Ok(item), (chunks, buffer, take, ended)));
            }
            if ended {
                return None;
            }
            match chunks.next().await {
                Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    buffer.clear();
                    return Some((Err(error), (chunks, buffer, take, true)));
                }
                None => ended = true,
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn frames_may_arrive_in_any_pieces() {
        let mut wire = vec![1, 0, 0, 0, 0, 0, 0, 3];
        wire.extend(b"out");
        wire.extend([3, 0, 0, 0, 0, 0, 0, 1, b'!', 2, 0, 0, 0, 0, 0, 0, 3]);
        wire.extend(b"err");
        for size in 1..wire.len() {
            let pieces: Vec<Result<Bytes>> = wire.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let frames: Vec<Frame> = frames(stream::iter(pieces)).map(|frame| frame.unwrap()).collect().await;
            let expect = [(OutputStream::Stdout, Bytes::from("out")), (OutputStream::Stderr, Bytes::from("err"))];
            assert_eq!(frames, expect, "in pieces of {size}");
        }
    }
}
