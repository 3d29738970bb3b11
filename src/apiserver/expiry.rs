//! Events go an hour after they were last written, as in Kubernetes; and the oldest as soon as there are too many:
//! they tell people what happened lately, and must not be most of what the store holds.

use super::ApiServer;
use crate::store::{self, Precondition, Record, Revision, StoreError, Txn, Write};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::warn;

/// Events of one transaction.
const BATCH: usize = 128;

/// For how long, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub lifetime: Duration,
    pub most: usize,
    /// Between two looks.
    pub look: Duration,
}

impl Default for Kept {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(3600), most: 100_000, look: Duration::from_secs(60) }
    }
}

impl ApiServer {
    /// Deletes Events whose time is over, until it is dropped or the store closes. When those that are there at
    /// first were written is not known: their time begins now.
    pub async fn expire_events(self: Arc<Self>, kept: Kept) {
        let mut marks = VecDeque::from([(Instant::now(), self.store.revision())]);
        let mut expired = 0;
        loop {
            sleep(kept.look).await;
            let now = Instant::now();
            while let Some((at, revision)) = marks.front()
                && now.duration_since(*at) >= kept.lifetime
            {
                expired = *revision;
                marks.pop_front();
            }
            marks.push_back((now, self.store.revision()));
            match self.drop_events(expired, kept.most).await {
                Ok(()) => {}
                Err(StoreError::Closed) => return,
                Err(error) => warn!(%error, "old events could not be deleted; trying again"),
            }
        }
    }

    /// Deletes those last written at `expired` or before, and the oldest of more than `most`.
    async fn drop_events(&self, expired: Revision, most: usize) -> Result<(), StoreError> {
        let mut events = self.store.range(&store::bucket("", "events"), None, None, 0)?.records;
        events.sort_unstable_by_key(|record| record.modified);
        let surplus = events.len().saturating_sub(most);
        let over = events.partition_point(|record| record.modified <= expired).max(surplus);
        for batch in events[..over].chunks(BATCH) {
            match self.delete_all(batch).await {
                // One was written just now: the others go alone.
                Err(StoreError::Precondition { .. }) => {
                    for record in batch.chunks(1) {
                        match self.delete_all(record).await {
                            Ok(()) | Err(StoreError::Precondition { .. }) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn delete_all(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        let unchanged =
            |record: &Arc<Record>| Precondition::ModifiedAt { key: record.key.clone(), revision: record.modified };
        let preconditions = records.iter().map(unchanged).collect();
        let writes = records.iter().map(|record| Write::Delete { key: record.key.clone(), last: None }).collect();
        let committed = self.store.commit(Txn { preconditions, writes }).await?;
        self.metrics.committed(committed.records.len());
        Ok(())
    }
}
