//! A watch: a position in one bucket's log. It holds no events and no queue, so a slow watcher costs
//! nothing and never holds up a writer; one that falls behind compaction is told so.

use super::bucket_of;
use super::image::Image;
use super::{Event, Revision, StoreError, Watch};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Notify;

/// Events handed out at once, roughly: a batch ends with its last event's revision.
const BATCH: usize = 1024;

pub(super) struct Cursor {
    image: Arc<Image>,
    prefix: Box<str>,
    /// Sequence number, in the bucket's log, of the next event to look at.
    next: u64,
    position: Revision,
    bell: Arc<Notify>,
}

impl Cursor {
    pub(super) fn new(image: Arc<Image>, prefix: &str, after: Revision) -> Result<Self, StoreError> {
        let (next, bell) = image.follow(bucket_of(prefix), after)?;
        Ok(Self { image, prefix: prefix.into(), next, position: after, bell })
    }

    fn take(&mut self) -> Result<Vec<Arc<Event>>, StoreError> {
        let (prefix, whole) = (&*self.prefix, bucket_of(&self.prefix).len() == self.prefix.len());
        self.image.read(|state| {
            let Some(bucket) = state.peek(bucket_of(prefix)) else {
                return Err(StoreError::Closed);
            };
            if self.next < bucket.first {
                return Err(StoreError::Compacted { requested: self.position, oldest: state.compacted });
            }
            let mut batch: Vec<Arc<Event>> = Vec::new();
            let skip = usize::try_from(self.next - bucket.first).unwrap_or(usize::MAX);
            for event in bucket.log.range(skip.min(bucket.log.len())..) {
                if batch.len() >= BATCH && batch.last().is_some_and(|last| last.revision < event.revision) {
                    self.position = event.revision - 1;
                    return Ok(batch);
                }
                self.next += 1;
                if whole || event.record.key.starts_with(prefix) {
                    batch.push(event.clone());
                }
            }
            // Whatever the store did up to now, this bucket has no more of it.
            self.position = state.revision.max(self.position);
            if batch.is_empty() && state.closed { Err(StoreError::Closed) } else { Ok(batch) }
        })
    }
}

#[async_trait]
impl Watch for Cursor {
    async fn next(&mut self) -> Result<Vec<Arc<Event>>, StoreError> {
        let bell = self.bell.clone();
        loop {
            let mut rung = std::pin::pin!(bell.notified());
            // Listen before looking: a write in between rings for us.
            rung.as_mut().enable();
            let batch = self.take()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            rung.await;
        }
    }

    fn position(&self) -> Revision {
        // Between two calls, an empty rest of the log means that nothing is owed up to now.
        self.image.read(|state| match state.peek(bucket_of(&self.prefix)) {
            Some(bucket) if self.next == bucket.first + bucket.log.len() as u64 => state.revision.max(self.position),
            _ => self.position,
        })
    }
}
