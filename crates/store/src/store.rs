//! The store's contract: few verbs, bytes in and bytes out.
//!
//! ```text
//!   space (digest of a group)
//!     meta:   stand (epoch, incarnation) | complete since
//!             | per (source, partition): offset, freshness
//!     key  -> [ base ][ record ][ record ] ...    base: swapped whole; records: appended blind
//! ```
//!
//! What every store keeps, and [`crate::testing::contract`] tests:
//!
//! - A read of many keys sees all values *and* their meta at one moment (on a store of several
//!   buckets: each value with its own meta). So a value is never older than the checkpoints read
//!   with it.
//! - A checkpoint stands only if every append that it speaks of stands. It takes the larger of what
//!   is there and what is said, so repeating it is harmless.
//! - A swap is refused unless the bytes that it replaces are those that were folded. What was
//!   appended meanwhile stays.
//! - Writers name the [`Stand`] under which their earlier appends were acknowledged. A store that
//!   may have lost some of them since (power loss, disk full, a failover, a flush) has another
//!   stand and refuses; the writer looks and rewinds.
//!
//! **Why async with boxed futures.** The server keeps thousands of reads of a remote store in
//! flight on a few threads, and pipelines them; a blocking trait would need a thread for each.
//! Boxing keeps the trait usable as `dyn Store` and costs one allocation a call, far below a read.
//! The memory and embedded stores are ready at the first poll: their reads take microseconds and
//! may run on the server's threads; their writes commit to a file, so call them where blocking is
//! allowed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::StoreError;

/// Longest key, in bytes: a few partition columns, text included. Longer ones would dominate the
/// index pages.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// Longest record, in bytes: one event as one group needs it.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// Longest base, and longest tail, in bytes. The bound per key of the state itself is far lower (1
/// MiB by default).
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// What a verb returns: a future that may be sent between threads.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The name of a space: the digest of the group whose state it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space([u8; 32]);

impl Space {
    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Space {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A place in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At<'a> {
    /// The group's space.
    pub space: Space,
    /// The key within it; may be empty, at most [`MAX_KEY_BYTES`].
    pub key: &'a [u8],
}

/// Which store, and which life of it, an acknowledgement came from. Compare for equality only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stand {
    /// Random, made when the store is first written; another one means that everything is gone.
    pub epoch: u64,
    /// Another one means that acknowledged writes may be gone: in the embedded store, those since
    /// the last sync.
    pub incarnation: u64,
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{:016x}", self.epoch, self.incarnation)
    }
}

/// How far one partition of a source has been applied to a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The source's number.
    pub source: u32,
    /// The partition of the source.
    pub partition: u32,
    /// The highest applied offset: this one and all below are in the state.
    pub offset: u64,
    /// As of when, in wall-clock microseconds since 1970, the state had everything of this
    /// partition; the writer's word.
    pub fresh_us: i64,
}

/// What a store knows of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The store's stand at the moment of the read.
    pub stand: Stand,
    /// Event time in microseconds since which the space holds every event; `i64::MIN` for ever;
    /// `None` when nobody said.
    pub complete_since_us: Option<i64>,
    /// In the order of (source, partition).
    pub checkpoints: Vec<Checkpoint>,
}

impl Meta {
    /// The meta of a space that nobody has written to.
    pub fn empty(stand: Stand) -> Self {
        Self { stand, complete_since_us: None, checkpoints: Vec::new() }
    }

    /// The highest applied offset of a partition; `None` when none was applied.
    pub fn offset(&self, source: u32, partition: u32) -> Option<u64> {
        let at = self.find(source, partition).ok()?;
        Some(self.checkpoints[at].offset)
    }

    /// The freshness of the partition that is furthest behind; `None` when nothing was applied.
    pub fn fresh_us(&self) -> Option<i64> {
        self.checkpoints.iter().map(|checkpoint| checkpoint.fresh_us).min()
    }

    /// Takes the larger of what is there and what is said, for offset and freshness apart.
    pub(crate) fn raise(&mut self, said: Checkpoint) {
        match self.find(said.source, said.partition) {
            Ok(at) => {
                let there = &mut self.checkpoints[at];
                there.offset = there.offset.max(said.offset);
                there.fresh_us = there.fresh_us.max(said.fresh_us);
            }
            Err(at) => self.checkpoints.insert(at, said),
        }
    }

    fn find(&self, source: u32, partition: u32) -> Result<usize, usize> {
        self.checkpoints
            .binary_search_by_key(&(source, partition), |there| (there.source, there.partition))
    }
}

/// The value of a key: a base and the records appended behind it, in the order of their appending.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Value {
    bytes: Vec<u8>,
    base_len: usize,
}

impl Value {
    /// A value from its two parts.
    pub fn new(base: &[u8], tail: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(base.len() + tail.len());
        bytes.extend_from_slice(base);
        bytes.extend_from_slice(tail);
        Self { bytes, base_len: base.len() }
    }

    /// What the last swap put in; empty before the first.
    pub fn base(&self) -> &[u8] {
        &self.bytes[..self.base_len]
    }

    /// Puts a record behind what is there.
    pub(crate) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
    }

    /// The records behind the base.
    pub fn tail(&self) -> &[u8] {
        &self.bytes[self.base_len..]
    }
}

/// One key's answer to [`Store::get`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// `None` when the key holds nothing.
    pub value: Option<Value>,
    /// What the store knew of the key's space at the moment of the read; shared by the keys of one
    /// space.
    pub meta: Arc<Meta>,
}

/// Where a writer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What to name in the appends that follow.
    pub stand: Stand,
    /// One for each space asked for, in that order. On a store of several buckets: the least of
    /// them.
    pub metas: Vec<Meta>,
}

/// One record behind one key's value.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Whose value.
    pub at: At<'a>,
    /// The record's bytes, at most [`MAX_RECORD_BYTES`].
    pub record: &'a [u8],
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is visible. Power loss may take it back, but only together with everything after it,
    /// and with the checkpoints that speak of it.
    #[default]
    Buffered,
    /// When it, and everything before it, is on disk.
    Synced,
}

/// What is written in one go. On the embedded store this is one transaction; on every store the
/// checkpoints and markers stand only if the appends do.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The stand from the writer's last [`Store::look`].
    pub under: Stand,
    /// In the order in which the records of one key are to stand.
    pub appends: &'a [Append<'a>],
    /// What is applied with this batch.
    pub checkpoints: &'a [(Space, Checkpoint)],
    /// Since when spaces are complete (see [`Meta::complete_since_us`]); `None` withdraws. The last
    /// word stands.
    pub markers: &'a [(Space, Option<i64>)],
    /// When to acknowledge.
    pub durability: Durability,
}

impl Batch<'_> {
    /// A batch that says nothing yet, to be filled by update syntax.
    pub fn under(stand: Stand) -> Self {
        Self {
            under: stand,
            appends: &[],
            checkpoints: &[],
            markers: &[],
            durability: Durability::Buffered,
        }
    }
}

/// How long a value is after an append: what decides whether to compact it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Bytes of the base.
    pub base_len: usize,
    /// Bytes of the tail, this batch included.
    pub tail_len: usize,
}

/// A compaction: a new base in place of what was folded into it.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'a> {
    /// The epoch in the meta that was read with the value.
    pub epoch: u64,
    /// Whose value.
    pub at: At<'a>,
    /// The value as it was read.
    pub replaced: &'a Value,
    /// The new base, at most [`MAX_VALUE_BYTES`]. Empty, with nothing kept or appended since,
    /// removes the key.
    pub base: &'a [u8],
    /// The records of the replaced tail that were not folded; they stand before what was appended
    /// since the read.
    pub kept: &'a [u8],
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Keys of all spaces.
    pub keys: u64,
    /// Bytes of the database file, 0 in memory.
    pub disk_bytes: u64,
}

/// Bytes by key. See the module for what every store keeps.
pub trait Store: Send + Sync + fmt::Debug {
    /// Many keys of many spaces at one moment, in the order asked.
    fn get<'a>(&'a self, keys: &'a [At<'a>]) -> Answer<'a, Vec<Read>>;

    /// Where a writer begins, at its start and after [`StoreError::Rewound`].
    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look>;

    /// Appends records and writes checkpoints and markers; all or nothing on the embedded store.
    /// Returns, for each append, the lengths of its key's value after the whole batch.
    ///
    /// # Errors
    /// [`StoreError::Rewound`] when the stand is another, [`StoreError::TooLarge`]; then nothing
    /// was written. After [`StoreError::Full`] and [`StoreError::Unavailable`] it may have been:
    /// look, and send all of it again.
    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>>;

    /// Puts new bases in. Says for each whether it was done; `false` means that the value is no
    /// longer the one that was folded, and nothing is changed.
    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>>;

    /// Removes all keys, checkpoints and the marker of a space.
    fn drop_space<'a>(&'a self, space: Space) -> Answer<'a, ()>;

    /// All spaces that were written to, in ascending order.
    fn spaces(&self) -> Answer<'_, Vec<Space>>;

    /// At most `limit` keys of a space that come after `after`, ascending. For audits and expiry:
    /// each call is one moment, a walk of several calls is not.
    fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<u8>>>;

    /// Returns when everything acknowledged before is on disk (nothing to do for a store that
    /// leaves that to a server).
    fn sync(&self) -> Answer<'_, ()>;

    /// How much the store holds.
    fn stats(&self) -> Answer<'_, Stats>;
}

/// Refuses what is above the bounds, before anything is written.
pub(crate) fn check_batch(batch: &Batch<'_>) -> Result<(), StoreError> {
    for append in batch.appends {
        check_len("key", append.at.key.len(), MAX_KEY_BYTES)?;
        check_len("record", append.record.len(), MAX_RECORD_BYTES)?;
    }
    Ok(())
}

/// Refuses bases above the bound.
pub(crate) fn check_swaps(swaps: &[Swap<'_>]) -> Result<(), StoreError> {
    for swap in swaps {
        check_len("key", swap.at.key.len(), MAX_KEY_BYTES)?;
        check_len("base", swap.base.len(), MAX_VALUE_BYTES)?;
    }
    Ok(())
}

/// Refuses a length above its bound.
pub(crate) fn check_len(what: &'static str, len: usize, limit: usize) -> Result<(), StoreError> {
    if len > limit { Err(StoreError::TooLarge { what, len, limit }) } else { Ok(()) }
}

/// The tail that a swap leaves, or `None` when what is there is not what was folded.
pub(crate) fn tail_after(swap: &Swap<'_>, base: &[u8], tail: &[u8]) -> Option<Vec<u8>> {
    if base != swap.replaced.base() {
        return None;
    }
    let since = tail.strip_prefix(swap.replaced.tail())?;
    Some([swap.kept, since].concat())
}

/// A number that no other store has, from the operating system's randomness.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
