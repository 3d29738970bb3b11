//! Bodies of requests that were answered before they were read, as refusals are. A client that is still sending when
//! its stream is reset takes that for the end of all, and may never see the answer: so a little more is taken in first.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Who sends more than this, or for longer, has to live with it: strangers are refused, too.
const MOST: usize = 1024 * 1024;
const LONGEST: Duration = Duration::from_secs(1);

/// A body for whoever answers the request.
pub struct Lent<B>(Arc<Mutex<B>>);

/// What is left of it.
pub struct Rest<B>(Arc<Mutex<B>>);

pub fn lend<B>(body: B) -> (Lent<B>, Rest<B>) {
    let shared = Arc::new(Mutex::new(body));
    (Lent(shared.clone()), Rest(shared))
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> Rest<B> {
    /// Takes in what is left, in bounds, unless somebody still reads it.
    pub async fn discard(self) {
        let Some(body) = Arc::into_inner(self.0) else { return };
        let mut body = body.into_inner();
        let all = async {
            let mut left = MOST;
            while let Some(Ok(frame)) = body.frame().await {
                let size = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(size) {
                    Some(fewer) => left = fewer,
                    None => return,
                }
            }
        };
        // However that ends, it is time for the answer.
        let _ = tokio::time::timeout(LONGEST, all).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body_util::{Full, StreamBody};
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A body of pieces of 100 kB, and how many were taken.
    fn pieces(count: usize) -> (impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let seen = taken.clone();
        let frames = stream::iter((0..count).map(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from(vec![0; 100 * 1024])))
        }));
        (StreamBody::new(frames), taken)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_read_is_taken_in_within_bounds() {
        for (count, expected) in [(0, 0), (3, 3), (1000, 11)] {
            let (body, taken) = pieces(count);
            let (lent, rest) = lend(body);
            drop(lent);
            rest.discard().await;
            assert_eq!(taken.load(Ordering::Relaxed), expected);
        }
        let (lent, rest) = lend(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()));
        drop(lent);
        let begun = tokio::time::Instant::now();
        rest.discard().await;
        assert_eq!(begun.elapsed(), LONGEST, "a client that goes silent is answered, too");
    }

    #[tokio::test]
    async fn who_reads_gets_all() {
        let (lent, rest) = lend(Full::new(Bytes::from_static(b"abc")));
        assert_eq!(lent.collect().await.map(|all| all.to_bytes()), Ok(Bytes::from_static(b"abc")));
        rest.discard().await;
    }
}
