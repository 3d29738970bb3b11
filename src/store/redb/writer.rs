//! The one thread that writes: gathers waiting transactions into a batch, makes it durable,
//! publishes it, answers.

use super::disk::{Disk, Place};
use crate::store::batch::Draft;
use crate::store::image::Image;
use crate::store::packing::Bell;
use crate::store::{Committed, Event, Revision, StoreError, Txn, Write};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use tokio::sync::oneshot;

/// Bounds of one batch, so that its latency and memory stay small: transactions and value bytes.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 8 << 20;
/// Compacted entries removed with one batch: little enough not to be felt.
const SWEEP: usize = 128;
/// Compacted entries removed at once while nobody writes.
const IDLE_SWEEP: usize = 2048;

pub(super) enum Job {
    /// All of them, or none.
    Commit(Vec<Txn>, Reply),
    Compact(Revision, oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    image: Arc<Image>,
    disk: Disk,
    queue: Receiver<Job>,
    /// Entries that compaction made superfluous, still in the file.
    garbage: VecDeque<Place>,
    packing: Bell,
}

/// Who waits for transactions.
type Reply = oneshot::Sender<Result<Vec<Committed>, StoreError>>;
/// What transactions came to, kept until the batch is durable.
type Outcome = (Reply, Result<Vec<Committed>, StoreError>);

impl Writer {
    pub(super) fn new(
        image: Arc<Image>,
        disk: Disk,
        queue: Receiver<Job>,
        garbage: VecDeque<Place>,
        packing: Bell,
    ) -> Self {
        Self { image, disk, queue, garbage, packing }
    }

    /// Runs until closed or until every sender is gone.
    pub(super) fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let Some(job) = self.next() else { break };
            let mut job = Some(job);
            let mut batch = Vec::new();
            let mut bytes = 0;
            // Takes commits until something else, a bound, or an empty queue ends the batch.
            while let Some(Job::Commit(txns, reply)) = job {
                bytes += txns.iter().flat_map(|txn| &txn.writes).map(size).sum::<usize>();
                batch.push((txns, reply));
                let full = batch.len() >= BATCH || bytes >= BATCH_BYTES;
                job = if full { None } else { self.queue.try_recv().ok() };
            }
            self.commit(batch);
            match job {
                Some(Job::Compact(revision, reply)) => drop(reply.send(self.compact(revision))),
                Some(Job::Close(reply)) => closing = Some(reply),
                Some(Job::Commit(..)) | None => {}
            }
        }
        self.image.close();
        // Release the file before saying so.
        drop(self);
        closing.map(|reply| reply.send(()));
    }

    /// The next job; sweeps garbage while there is none.
    fn next(&mut self) -> Option<Job> {
        loop {
            match self.queue.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.garbage.is_empty() || !self.disk.is_open() => {
                    return self.queue.recv().ok();
                }
                // An error closes the disk, which the next commit reopens and reports about.
                Err(TryRecvError::Empty) => drop(self.store(&[], IDLE_SWEEP)),
            }
        }
    }

    fn commit(&mut self, batch: Vec<(Vec<Txn>, Reply)>) {
        if batch.is_empty() {
            return;
        }
        let mut draft = Draft::new(&self.image);
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(batch.len());
        for (txns, reply) in batch {
            let outcome = draft.add_all(&self.image, txns);
            outcomes.push((reply, outcome));
        }
        if !draft.events.is_empty() {
            if let Err(reason) = self.store(&draft.events, SWEEP) {
                // What a transaction found may be another's write that never happened: none counts.
                for (reply, _) in outcomes {
                    drop(reply.send(Err(StoreError::Unavailable(reason.clone()))));
                }
                return;
            }
            let dropped = self.image.apply(draft);
            self.discard(&dropped);
        }
        for (reply, outcome) in outcomes {
            // A caller that gave up waiting needs no answer.
            drop(reply.send(outcome));
        }
    }

    fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        let current = self.image.revision();
        if revision > current {
            return Err(StoreError::Future { requested: revision, current });
        }
        if revision <= self.image.compacted() {
            return Ok(());
        }
        self.disk.write(current, &[], revision, &[]).map_err(StoreError::Unavailable)?;
        let dropped = self.image.compact(revision)?;
        self.discard(&dropped);
        Ok(())
    }

    /// Writes events, and takes up to `sweep` garbage entries out.
    fn store(&mut self, events: &[Arc<Event>], sweep: usize) -> Result<(), Arc<str>> {
        let sweep = sweep.min(self.garbage.len());
        let (garbage, _) = self.garbage.make_contiguous().split_at(sweep);
        self.disk.write(self.image.revision(), events, self.image.compacted(), garbage)?;
        self.garbage.drain(..sweep);
        Ok(())
    }

    /// History that is gone from memory leaves the file too: what each event replaced, and the
    /// event itself if it was a delete.
    fn discard(&mut self, dropped: &[Arc<Event>]) {
        if !dropped.is_empty() {
            self.packing.ring();
        }
        for event in dropped {
            if let Some(previous) = &event.previous {
                self.garbage.push_back((previous.modified, previous.key.clone()));
            }
            if event.deleted {
                self.garbage.push_back((event.revision, event.record.key.clone()));
            }
        }
    }
}

fn size(write: &Write) -> usize {
    match write {
        Write::Put { value, .. } => value.len(),
        Write::Delete { last, .. } => last.as_ref().map_or(0, |(value, _)| value.len()),
    }
}
