//! A disk that loses power, tears what it had not synced, or runs full.
#![allow(clippy::unwrap_used)]

use super::disk::Disk;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::StorageBackend;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a disk writes or loses as one.
const SECTOR: usize = 512;

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Faulty(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    live: Vec<u8>,
    /// What the last sync made safe, and what was asked for since.
    durable: Vec<u8>,
    unsynced: Vec<Op>,
    /// Operations left until the power goes; `None`: never.
    fuse: Option<u64>,
    dead: bool,
    /// Bytes the disk holds at most.
    capacity: Option<u64>,
    /// Syncs fail, as a dying disk's do, after which nobody knows what was kept.
    sync_fails: bool,
}

#[derive(Debug)]
enum Op {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Op::Resize(len) => bytes.resize(*len, 0),
            Op::Write(at, data) => {
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Faulty {
    pub(super) fn disk(&self) -> Disk {
        let backend = self.clone();
        Disk::with(
            Path::new("faulty.redb"),
            Box::new(move |builder| Ok(builder.create_with_backend(Handle(backend.clone()))?)),
        )
    }

    /// Cuts the power after `operations` more writes, resizes and syncs.
    pub(super) fn cut_power_after(&self, operations: u64) {
        self.0.lock().fuse = Some(operations);
    }

    pub(super) fn set_capacity(&self, capacity: Option<u64>) {
        self.0.lock().capacity = capacity;
    }

    pub(super) fn len(&self) -> u64 {
        self.0.lock().live.len() as u64
    }

    pub(super) fn set_sync_fails(&self, fails: bool) {
        self.0.lock().sync_fails = fails;
    }

    /// The disk as found when power is back: all that was synced, and of the rest any sectors.
    pub(super) fn after_power_loss(&self, seed: u64) -> Faulty {
        let mut random = StdRng::seed_from_u64(seed);
        let state = self.0.lock();
        let mut bytes = state.durable.clone();
        for op in &state.unsynced {
            match op {
                Op::Resize(_) if random.random_bool(0.5) => op.apply(&mut bytes),
                Op::Resize(_) => {}
                Op::Write(at, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        if random.random_bool(0.5) {
                            Op::Write(at + n * SECTOR, sector.to_vec()).apply(&mut bytes);
                        }
                    }
                }
            }
        }
        Faulty(Arc::new(Mutex::new(State { live: bytes.clone(), durable: bytes, ..State::default() })))
    }

    /// Damages bytes that were safe.
    pub(super) fn scribble(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = self.0.lock();
        let len = state.live.len();
        for _ in 0..64 {
            let at = random.random_range(0..len);
            state.live[at] ^= 0x55;
        }
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        if let Some(fuse) = &mut self.fuse {
            self.dead |= *fuse == 0;
            *fuse = fuse.saturating_sub(1);
        }
        if self.dead { Err(io::Error::other("no power (injected)")) } else { Ok(()) }
    }

    fn change(&mut self, op: Op, end: u64) -> io::Result<()> {
        self.step()?;
        if self.capacity.is_some_and(|capacity| end > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        op.apply(&mut self.live);
        self.unsynced.push(op);
        Ok(())
    }
}

/// One opening of the disk.
#[derive(Debug)]
struct Handle(Faulty);

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.0.lock();
        let at = usize::try_from(offset).unwrap();
        let bytes = state.live.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.0.lock().change(Op::Resize(usize::try_from(len).unwrap()), len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.step()?;
        if state.sync_fails {
            return Err(io::Error::other("sync failed (injected)"));
        }
        state.durable = state.live.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.0.0.lock().change(Op::Write(at, data.to_vec()), offset + data.len() as u64)
    }
}
