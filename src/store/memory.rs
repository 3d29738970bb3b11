//! The store in memory: for plans, which fork a store's snapshot, and for tests, which may make it
//! fail as a disk does.

use super::batch::Draft;
use super::history::History;
use super::image::{Image, reads_from_image};
use super::{Committed, Event, Record, Revision, Store, StoreError, Txn};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Durable for as long as the process lives. Commits never wait, unless a fault says so.
pub struct Memory {
    image: Arc<Image>,
    /// Held while a transaction is evaluated and applied: one writer.
    writer: Mutex<()>,
    faults: Mutex<Faults>,
    observer: OnceLock<Observer>,
}

/// Told of each event before anybody else sees it, in order; must be quick.
pub type Observer = Box<dyn Fn(&Event) + Send + Sync>;

#[derive(Default)]
struct Faults {
    /// Commits left until the one that fails; 0: none planned.
    countdown: u64,
    full: bool,
    delay: Option<Duration>,
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Self::with_history(History::default())
    }

    pub fn with_history(limit: History) -> Arc<Self> {
        Self::over(Image::new(limit))
    }

    /// A store that continues from another one's [`Store::snapshot`], sharing its records. It has
    /// no history before `revision`.
    pub fn from_snapshot(revision: Revision, records: Vec<Arc<Record>>) -> Arc<Self> {
        Self::over(Image::load(History::default(), revision, records))
    }

    fn over(image: Image) -> Arc<Self> {
        Self::of(Arc::new(image))
    }

    pub(super) fn of(image: Arc<Image>) -> Arc<Self> {
        let (writer, faults, observer) = Default::default();
        Arc::new(Self { image, writer, faults, observer })
    }

    /// Has `observer` told of all events from now on. The first call counts.
    pub fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// Makes the `n`-th commit from now (1: the next) fail with [`StoreError::Unavailable`].
    pub fn fail_commit(&self, n: u64) {
        self.faults.lock().countdown = n;
    }

    /// While set, every commit fails as on a full disk.
    pub fn set_full(&self, full: bool) {
        self.faults.lock().full = full;
    }

    /// Makes every commit take this long (tokio time).
    pub fn set_delay(&self, delay: Option<Duration>) {
        self.faults.lock().delay = delay;
    }

    fn fault(&self) -> Result<(), StoreError> {
        let mut faults = self.faults.lock();
        if faults.full {
            return Err(StoreError::Unavailable("no space left on device (injected)".into()));
        }
        faults.countdown = match faults.countdown {
            1 => {
                faults.countdown = 0;
                return Err(StoreError::Unavailable("I/O error (injected)".into()));
            }
            n => n.saturating_sub(1),
        };
        Ok(())
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit_all(&self, txns: Vec<Txn>) -> Result<Vec<Committed>, StoreError> {
        let delay = self.faults.lock().delay;
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let _writer = self.writer.lock();
        if self.image.closed() {
            return Err(StoreError::Closed);
        }
        self.fault()?;
        let mut draft = Draft::new(&self.image);
        let committed = draft.add_all(&self.image, txns)?;
        if let Some(observer) = self.observer.get() {
            draft.events.iter().for_each(|event| observer(event));
        }
        self.image.apply(draft);
        Ok(committed)
    }

    reads_from_image!();

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        if self.image.closed() {
            return Err(StoreError::Closed);
        }
        self.image.compact(revision).map(drop)
    }

    async fn close(&self) {
        let _writer = self.writer.lock();
        self.image.close();
    }
}
