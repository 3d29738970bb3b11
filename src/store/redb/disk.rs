//! The file: one table that is both the log and the map, and how it is written, read and reopened.
//!
//! `log`: revision (8 bytes, big-endian) and key -> flags (1), created (8, little-endian), value.
//! Each write is one appended entry, so a batch dirties the right edge of one tree and each value
//! is on disk once. The map is the last entry of each key; an entry that a later one replaced is
//! history, removed some time after compaction passed it. `meta`: `format`, `compacted`.
//!
//! Commits are redb's one-phase kind: one fdatasync, and a torn commit is found by its checksums
//! when the file is next opened. One run each on a 2-core machine, 1 KiB values, the raw disk at
//! 7,000 fdatasyncs/s in both: 3,500 commits/s with one writer and 20,000 with 16, against 2,500 and
//! 11,000 two-phase. Quick repair is two-phase plus saving the allocator's state, so it cannot do
//! better. What it buys is little here: the file is read and checked whole at every start anyway
//! (136 MiB, 55,000 objects, after a crash: 250 ms with loading).

use super::OpenError;
use super::load;
use crate::store::history::History;
use crate::store::image::Image;
use crate::store::{Event, Extract, Revision};
use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, StorageError, TableDefinition, TableError};
use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const LOG: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("log");
pub(super) const META: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("meta");
const FORMAT: u8 = 1;
/// redb's page cache. Reads never come here once loaded, so it needs to hold little more than
/// the pages of a batch; redb's own default is 1 GiB.
const CACHE: usize = 16 << 20;

/// The entry was a delete.
pub(super) const DELETED: u8 = 1;
/// The entry's value is that of the record it replaced, and is not repeated.
pub(super) const SAME: u8 = 2;

/// Where an entry is.
pub(super) type Place = (Revision, Arc<str>);

/// Opens the database: the file, or in tests a backend that fails.
pub(super) type Opener = Box<dyn Fn(&mut Builder) -> Result<Database, redb::Error> + Send>;

pub(super) struct Disk {
    path: PathBuf,
    opener: Opener,
    /// `None` after a failure: redb refuses to go on after an I/O error until it is reopened.
    database: Option<Database>,
    /// What `meta` says.
    compacted: Revision,
}

impl Disk {
    pub(super) fn at(path: &Path) -> Self {
        let file = path.to_path_buf();
        let open = move |builder: &mut Builder| {
            if !file.exists() {
                begin(builder, &file)?;
            }
            connect(builder, existing(&file)?)
        };
        Self::with(path, Box::new(open))
    }

    pub(super) fn with(path: &Path, opener: Opener) -> Self {
        Self { path: path.into(), opener, database: None, compacted: 0 }
    }

    pub(super) fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// Opens the file and reads everything into an image.
    pub(super) fn open(&mut self, limit: History, extract: &Extract) -> Result<(Image, VecDeque<Place>), OpenError> {
        let database = self.guarded(|disk| disk.connect()).map_err(|error| self.explain(error))?;
        let format = read_meta(&database, "format").map_err(|error| self.explain(error))?;
        if format.as_deref() != Some(&[FORMAT]) {
            let found = format.and_then(|format| format.first().copied()).unwrap_or(0);
            return Err(OpenError::Format { path: self.path.clone(), found, known: FORMAT });
        }
        let loaded = self.guarded(|_| load::load(&database, limit, extract)).map_err(|error| self.explain(error))?;
        self.compacted = loaded.compacted;
        self.database = Some(database);
        Ok((loaded.image, loaded.garbage))
    }

    /// Makes events durable, records how far history is compacted, and removes garbage, all or
    /// nothing. `revision` is the newest published one: should an earlier batch that failed turn out
    /// to be on disk after all, it is taken back, as its writers were told. The error is the reason.
    pub(super) fn write(
        &mut self,
        revision: Revision,
        events: &[Arc<Event>],
        compacted: Revision,
        garbage: &[Place],
    ) -> Result<(), Arc<str>> {
        let result = self.guarded(|disk| {
            if disk.database.is_none() {
                let database = disk.connect()?;
                take_back(&database, revision)?;
                disk.database = Some(database);
            }
            match &disk.database {
                Some(database) => write(database, events, (compacted > disk.compacted).then_some(compacted), garbage),
                None => Ok(()),
            }
        });
        match result {
            Ok(()) => self.compacted = self.compacted.max(compacted),
            Err(error) => {
                let reason = format!("{}: {error}", self.path.display());
                tracing::error!(path = %self.path.display(), %error, "the store cannot write; it will reopen the file");
                // Closing a database that failed may itself panic or fail; it is gone either way.
                let failed = self.database.take();
                let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(failed)));
                return Err(reason.into());
            }
        }
        Ok(())
    }

    fn connect(&self) -> Result<Database, redb::Error> {
        // Checksums cost a fraction of the loading that follows, and a damaged page is found before it is trusted.
        let database = (self.opener)(Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true))?;
        initialise(&database)?;
        Ok(database)
    }

    /// redb asserts in places where a damaged file surprises it; that must not end the process.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        std::panic::catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            Err(redb::Error::Corrupted(text.to_string()))
        })
    }

    fn explain(&self, error: redb::Error) -> OpenError {
        let path = self.path.clone();
        match error {
            redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path },
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                OpenError::Corrupted { path, detail: error.to_string() }
            }
            redb::Error::Io(source) => OpenError::Io { path, source },
            other => OpenError::Corrupted { path, detail: other.to_string() },
        }
    }
}

/// Makes a new file whole before it gets its name, durably: one that lost power in the middle would
/// look like one that is damaged.
fn begin(builder: &mut Builder, path: &Path) -> Result<(), redb::Error> {
    let unfinished = path.with_extension("redb.new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StorageError::Io(error).into()),
        _ => {}
    }
    // Readable by its owner only, since it holds Secrets.
    let options = &mut std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&unfinished);
    let database = connect(builder, file.map_err(StorageError::Io)?)?;
    initialise(&database)?;
    drop(database);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named = std::fs::rename(&unfinished, path).and_then(|()| std::fs::File::open(parent)?.sync_all());
    Ok(named.map_err(StorageError::Io)?)
}

fn existing(path: &Path) -> Result<std::fs::File, StorageError> {
    std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(StorageError::Io)
}

fn connect(builder: &mut Builder, file: std::fs::File) -> Result<Database, redb::Error> {
    Ok(builder.create_with_backend(FileBackend::new(file)?)?)
}

fn initialise(database: &Database) -> Result<(), redb::Error> {
    if read_meta(database, "format")?.is_none() {
        let txn = database.begin_write()?;
        txn.open_table(LOG)?;
        txn.open_table(META)?.insert(&b"format"[..], &[FORMAT][..])?;
        txn.commit()?;
    }
    Ok(())
}

pub(super) fn read_meta(database: &Database, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let txn = database.begin_read()?;
    match txn.open_table(META) {
        Ok(table) => Ok(table.get(name.as_bytes())?.map(|value| value.value().to_vec())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(
    database: &Database,
    events: &[Arc<Event>],
    compacted: Option<Revision>,
    garbage: &[Place],
) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    {
        let mut log = txn.open_table(LOG)?;
        for event in events {
            let (flags, value) = body(event);
            let mut entry = log.insert_reserve(&*place(event.revision, &event.record.key), 9 + value.len())?;
            let entry = entry.as_mut();
            entry[0] = flags;
            entry[1..9].copy_from_slice(&event.record.created.to_le_bytes());
            entry[9..].copy_from_slice(&value);
        }
        for (revision, key) in garbage {
            log.remove(&*place(*revision, key))?;
        }
        if let Some(compacted) = compacted {
            txn.open_table(META)?.insert(&b"compacted"[..], &compacted.to_be_bytes()[..])?;
        }
    }
    Ok(txn.commit()?)
}

/// Removes entries newer than `revision`.
fn take_back(database: &Database, revision: Revision) -> Result<(), redb::Error> {
    let after = (revision + 1).to_be_bytes();
    let newer: Vec<Vec<u8>> = {
        let txn = database.begin_read()?;
        let log = txn.open_table(LOG)?;
        let range = log.range::<&[u8]>(&after[..]..)?;
        range.map(|entry| Ok(entry?.0.value().to_vec())).collect::<Result<_, StorageError>>()?
    };
    if newer.is_empty() {
        return Ok(());
    }
    let txn = database.begin_write()?;
    {
        let mut log = txn.open_table(LOG)?;
        for key in &newer {
            log.remove(&**key)?;
        }
    }
    Ok(txn.commit()?)
}

fn place(revision: Revision, key: &str) -> Vec<u8> {
    let mut place = Vec::with_capacity(8 + key.len());
    place.extend_from_slice(&revision.to_be_bytes());
    place.extend_from_slice(key.as_bytes());
    place
}

fn body(event: &Event) -> (u8, Bytes) {
    match &event.previous {
        Some(previous) if event.deleted && previous.value == event.record.value => (DELETED | SAME, Bytes::new()),
        _ if event.deleted => (DELETED, event.record.value.bytes()),
        _ => (0, event.record.value.bytes()),
    }
}
