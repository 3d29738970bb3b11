//! Bodies: what a response is made of, and reading a request's within limits.

use crate::api::error::{ApiError, Details};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a client may take to send its body.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// So much beyond the limit is read and dropped: a client that is still sending when the connection
/// closes never sees the answer.
const DISCARD: usize = 16 * 1024 * 1024;
/// Lists are sent in pieces of about this size, made one at a time.
const PIECE: usize = 128 * 1024;

/// A response's body.
pub enum Body {
    Full(Option<Bytes>),
    /// Parts whose total length is known: a list sent from the stored bytes.
    Parts {
        parts: std::vec::IntoIter<Bytes>,
        left: u64,
    },
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    pub fn empty() -> Self {
        Self::Full(None)
    }

    pub fn parts(parts: Vec<Bytes>) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self::Parts { parts: parts.into_iter(), left }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Full(Some(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Full(bytes) => bytes.take(),
            Self::Parts { parts, left } => {
                let piece = next_piece(parts);
                *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                piece
            }
            Self::Stream(stream) => match stream.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => next,
            },
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Parts { left, .. } => *left == 0,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Parts { left, .. } => SizeHint::with_exact(*left),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

fn next_piece(parts: &mut std::vec::IntoIter<Bytes>) -> Option<Bytes> {
    let first = parts.next()?;
    let size_of_next = |parts: &std::vec::IntoIter<Bytes>| parts.as_slice().first().map(Bytes::len);
    if first.len() + size_of_next(parts).unwrap_or(PIECE) > PIECE {
        return Some(first);
    }
    let mut piece = BytesMut::with_capacity(PIECE);
    piece.extend_from_slice(&first);
    while size_of_next(parts).is_some_and(|next| piece.len() + next <= PIECE) {
        piece.extend_from_slice(&parts.next()?);
    }
    Some(piece.freeze())
}

/// What requests may come with, from the network and from clients inside the process.
pub trait RequestBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}
impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static> RequestBody for B {}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reads a request's body, at most `limit` bytes.
pub async fn read<B: RequestBody>(body: B, limit: usize) -> Result<Bytes, ApiError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > (limit + DISCARD) as u64 {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(BODY_DEADLINE, collect(body, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large(limit)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the request's body could not be read: {error}"))),
        Err(_) => Err(ApiError::new(408, "Timeout", "the request's body did not arrive in time")),
    }
}

/// The whole body; `None` if it is larger than `limit`.
async fn collect<B: RequestBody>(body: B, limit: usize) -> Result<Option<Bytes>, BoxError> {
    let mut body = std::pin::pin!(body);
    let (mut pieces, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        total += data.len();
        if total > limit + DISCARD {
            break;
        }
        if total <= limit {
            pieces.push(data);
        }
    }
    if total > limit {
        return Ok(None);
    }
    Ok(Some(if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() }))
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
        .with_details(Details::default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn parts_arrive_whole_and_in_order() {
        let parts: Vec<Bytes> = (0..5000u32).map(|n| Bytes::from(vec![n as u8; (n % 400) as usize])).collect();
        let whole = parts.concat();
        let body = Body::parts(parts);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(whole.len() as u64));
        assert_eq!(body.collect().await.unwrap().to_bytes(), whole);
    }

    #[tokio::test]
    async fn big_bodies_are_refused() {
        assert_eq!(read(Full::new(Bytes::from_static(b"abc")), 3).await.unwrap(), "abc");
        assert_eq!(read(Full::new(Bytes::from_static(b"abcd")), 3).await.unwrap_err().code, 413);
    }
}
