//! A disk in memory that fails as disks do: it loses power, tears and reorders writes, fills up,
//! and returns errors.
//!
//! ```text
//!   now      what a running process reads
//!   durable  what the last sync made safe
//!   since    the operations after that, in order: a crash keeps all, none or some of them
//! ```

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, StorageBackend};

use crate::engine::Place;

/// The size of a disk's atomic write, in bytes: a torn write ends at a multiple of it.
const SECTOR_BYTES: usize = 512;
/// The unit in which a file takes room, in bytes; what was never written is a hole and takes none.
const BLOCK_BYTES: usize = 4096;
/// What a reserve takes of the disk's room, in bytes.
const RESERVE_BYTES: u64 = 256 << 10;

/// What becomes of the operations since the last sync when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None reached the disk.
    Lost,
    /// Some did, in any order, and one of them in part; decided by this seed.
    Torn(u64),
    /// All did: the process was killed, the machine went on.
    Killed,
}

/// A disk for one file. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    now: Vec<u8>,
    durable: Vec<u8>,
    since: Vec<Op>,
    operations: u64,
    /// The power fails before this operation: nothing after it happens.
    dies_at: Option<u64>,
    room: Option<u64>,
    /// Blocks that were written.
    blocks: BTreeSet<usize>,
    reserved: bool,
    sync_error: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Op {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                if to.len() < at + bytes.len() {
                    to.resize(at + bytes.len(), 0);
                }
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(len) => to.resize(*len, 0),
        }
    }
}

impl Disk {
    /// A disk with these bytes on it.
    pub fn holding(bytes: Vec<u8>) -> Self {
        let written = bytes.chunks(BLOCK_BYTES).enumerate();
        let blocks = written.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
        let blocks = blocks.map(|(nth, _)| nth).collect();
        let inner = Inner { now: bytes.clone(), durable: bytes, blocks, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// What a running process reads.
    pub fn bytes(&self) -> Vec<u8> {
        self.inner().now.clone()
    }

    /// Writes, resizings and syncs so far.
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// The power fails before the operation of this number.
    pub fn die_at(&self, operation: u64) {
        self.inner().dies_at = Some(operation);
    }

    /// The disk as it is found after the power came back.
    pub fn after(&self, crash: Crash) -> Self {
        let inner = self.inner();
        let bytes = match crash {
            Crash::Killed => inner.now.clone(),
            Crash::Lost => inner.durable.clone(),
            Crash::Torn(seed) => torn(&inner, seed),
        };
        Self::holding(bytes)
    }

    /// Bytes of room that file and reserve take.
    pub fn taken(&self) -> u64 {
        self.inner().taken(0)
    }

    /// From now on file and reserve may take so much room; `None` for no bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.inner().room = bytes;
    }

    /// From now on each sync fails with an I/O error.
    pub fn fail_syncs(&self) {
        self.inner().sync_error = true;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operate(&self, op: Op) -> io::Result<()> {
        let mut inner = self.inner();
        inner.count()?;
        if let Op::Write(at, bytes) = &op {
            let blocks = at / BLOCK_BYTES..(at + bytes.len()).div_ceil(BLOCK_BYTES);
            let new = blocks.clone().filter(|block| !inner.blocks.contains(block)).count();
            let taken = inner.taken(new);
            if new > 0 && inner.room.is_some_and(|room| taken > room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inner.blocks.extend(blocks);
        }
        op.apply(&mut inner.now);
        inner.since.push(op);
        Ok(())
    }
}

impl Inner {
    fn taken(&self, more_blocks: usize) -> u64 {
        let reserved = if self.reserved { RESERVE_BYTES } else { 0 };
        reserved + ((self.blocks.len() + more_blocks) * BLOCK_BYTES) as u64
    }

    fn count(&mut self) -> io::Result<()> {
        if self.dies_at.is_some_and(|dies_at| self.operations >= dies_at) {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        Ok(())
    }
}

/// Any of the operations since the last sync, each kept, dropped, or (a write) kept in part.
fn torn(inner: &Inner, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = inner.durable.clone();
    for op in &inner.since {
        match (op, random.next() % 4) {
            (_, 0) => {}
            (Op::Write(at, written), 1) => {
                let sectors = written.len().div_ceil(SECTOR_BYTES) as u64;
                let kept = (random.next() % sectors.max(1)) as usize * SECTOR_BYTES;
                Op::Write(*at, written[..kept].to_vec()).apply(&mut bytes);
            }
            _ => op.apply(&mut bytes),
        }
    }
    bytes
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let found = inner.now.get(from..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(Op::SetLen(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.count()?;
        if inner.sync_error {
            return Err(io::Error::other("input/output error"));
        }
        let since = std::mem::take(&mut inner.since);
        since.iter().for_each(|op| op.apply(&mut inner.durable));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(Op::Write(usize::try_from(offset).map_err(io::Error::other)?, data.to_vec()))
    }
}

impl Place for Disk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        if self.bytes().is_empty() {
            let aside = Self::default();
            let made = Database::builder().create_with_backend(aside.clone());
            drop(made.map_err(io::Error::other)?);
            let made = Self::holding(aside.bytes());
            let mut inner = self.inner();
            inner.now = made.bytes();
            inner.durable = made.bytes();
            inner.blocks.clone_from(&made.inner().blocks);
        }
        Ok(Box::new(self.clone()))
    }

    fn opened(&self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let needed = inner.taken(0) + RESERVE_BYTES;
        if !inner.reserved && inner.room.is_some_and(|room| needed > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.reserved = true;
        Ok(())
    }

    fn release(&self) -> io::Result<()> {
        self.inner().reserved = false;
        Ok(())
    }

    fn holder(&self) -> Option<u32> {
        None
    }

    fn size(&self) -> u64 {
        self.inner().now.len() as u64
    }

    fn name(&self) -> String {
        "disk".to_owned()
    }
}
