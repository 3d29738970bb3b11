//! The store in a redb file: durable, group-committed, answered from memory.
//!
//! One writer thread owns the file. It takes every transaction that is waiting, evaluates them in
//! order ([`super::batch`]), writes them as one redb transaction, and only when that is on disk
//! publishes them to the image, wakes watchers and acknowledges. While it waits for the disk, the
//! next batch gathers, so throughput grows with the number of writers and latency does not.
//!
//! [`disk`] owns the layout of the file and says how it commits and why; [`writer`] the thread.
//!
//! A write that fails (disk full, I/O error) answers [`StoreError::Unavailable`]: nothing was
//! applied, reads go on, and the next commit reopens the file and tries again.

mod disk;
mod load;
mod writer;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod faulty;

use self::disk::Disk;
use self::writer::{Job, Writer};
use super::history::History;
use super::image::{Image, reads_from_image};
use super::packing;
use super::{Committed, Extract, Revision, Store, StoreError, Txn};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Why a store file cannot be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another selkie process; stop that one first or choose another data directory", .path.display())]
    Locked { path: PathBuf },
    #[error(
        "{} is damaged ({detail}); restore it from a backup, or move it away to start empty: \
         applications are synced again from their sources, and running containers are left alone until then",
        .path.display()
    )]
    Corrupted { path: PathBuf, detail: String },
    #[error("{} has format {found}, this selkie reads format {known}; use the selkie that wrote it", .path.display())]
    Format { path: PathBuf, found: u8, known: u8 },
    #[error("cannot open {}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// A store in one file. Dropping it finishes what is queued and releases the file.
pub struct Redb {
    image: Arc<Image>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Redb {
    /// Opens or creates the store at `path` and loads it. Blocks on the disk: call it before
    /// serving, or from a blocking thread.
    pub fn open(path: impl AsRef<Path>, extract: Extract) -> Result<Arc<Self>, OpenError> {
        Self::open_with(Disk::at(path.as_ref()), History::default(), extract)
    }

    fn open_with(mut disk: Disk, limit: History, extract: Extract) -> Result<Arc<Self>, OpenError> {
        let (image, garbage) = disk.open(limit, &extract)?;
        let image = Arc::new(image);
        let (jobs, queue) = mpsc::channel();
        let no_thread = |source| OpenError::Io { path: PathBuf::from("a thread of the store"), source };
        let packing = packing::start(image.clone()).map_err(no_thread)?;
        let writer = Writer::new(image.clone(), disk, queue, garbage, packing);
        let thread = std::thread::Builder::new().name("selkie-store".into()).spawn(move || writer.run());
        let thread = thread.map_err(no_thread)?;
        Ok(Arc::new(Self { image, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) }))
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        match &*self.jobs.lock() {
            Some(jobs) => jobs.send(job(reply)).map_err(|_| StoreError::Closed)?,
            None => return Err(StoreError::Closed),
        }
        answer.await.map_err(|_| StoreError::Closed)
    }
}

#[async_trait]
impl Store for Redb {
    async fn commit_all(&self, txns: Vec<Txn>) -> Result<Vec<Committed>, StoreError> {
        self.ask(|reply| Job::Commit(txns, reply)).await?
    }

    reads_from_image!();

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.ask(|reply| Job::Compact(revision, reply)).await?
    }

    async fn close(&self) {
        // Closed already: nothing to wait for but the thread's end, which the answer implies.
        let _ = self.ask(Job::Close).await;
        self.jobs.lock().take();
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.jobs.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            // The writer catches its own panics; a failed join has nothing left to release.
            let _ = thread.join();
        }
    }
}
