//! The store's contract: few verbs, bytes in and bytes out.
//!
//! ```text
//!   bucket: stand (epoch, incarnation)            one in memory and on disk, many in Redis
//!     space (digest of a group)
//!       meta:   complete since | per (source, partition): offset, freshness
//!       key  -> [ base ][ record ][ record ] ...  base: swapped whole; records: appended blind
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
//! - A note is a small value beside the spaces, which belongs to none. It is set only where it is
//!   still what its writer saw, so of several writers each knows whose word stands. A store that
//!   loses acknowledged writes may lose a note's last ones too: whoever needs it says it again.
//! - An early copy is appended in the step that reads its key, so that of two who do this to one
//!   key at once one reads what the other appended. It claims nothing: no checkpoint speaks of it,
//!   and a store that loses it owes it to nobody.
//! - A first base is put where a key holds nothing, in the epoch in which it was seen to, and
//!   nowhere else. It claims nothing of the space either.
//! - Writers name the [`Stands`] under which their earlier appends were acknowledged. A store that
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
use std::time::Duration;

use crate::StoreError;
use crate::survey::{Policies, Survey};

/// Longest key, in bytes: a few partition columns, text included. Longer ones would dominate the
/// index pages.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// What no record begins with: a store that keeps a value in one string tells a base by it.
pub const BASE_MARK: u8 = 0;
/// Longest record, in bytes: one event as one group needs it.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// Longest base, and longest tail, in bytes. The bound per key of the state itself is far lower (1
/// MiB by default).
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// Longest note, in bytes: a few sets of definitions, each of up to 1 MiB, with what JSON adds.
pub const MAX_NOTE_BYTES: usize = 8 << 20;
/// Longest name of a note, in bytes: a word that the program chooses.
pub(crate) const MAX_NOTE_NAME_BYTES: usize = 64;

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

/// Which bucket of a store, and which life of it, an acknowledgement came from. Compare for
/// equality only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stand {
    /// Random, made before the first write; another one means that everything is gone, and 0 that
    /// nothing was ever written.
    pub epoch: u64,
    /// Another one means that acknowledged writes may be gone: in the embedded store those since
    /// the last sync, in Redis those that a replica had not got.
    pub incarnation: u64,
}

/// The stands of all buckets of a store, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stands(Vec<Stand>);

impl Stands {
    /// Stands by bucket.
    pub fn new(stands: Vec<Stand>) -> Self {
        Self(stands)
    }

    /// By bucket.
    pub fn as_slice(&self) -> &[Stand] {
        &self.0
    }

    /// The error of a store whose buckets stand as `found`, for a writer that knew these.
    pub(crate) fn check(&self, found: &[Stand]) -> Result<(), StoreError> {
        let nowhere = Stand { epoch: 0, incarnation: 0 };
        let differs = (0..self.0.len().max(found.len())).find(|&n| self.0.get(n) != found.get(n));
        match differs {
            None => Ok(()),
            Some(n) => Err(StoreError::Rewound {
                known: self.0.get(n).copied().unwrap_or(nowhere),
                found: found.get(n).copied().unwrap_or(nowhere),
            }),
        }
    }
}

impl From<Stand> for Stands {
    /// The stands of a store of one bucket.
    fn from(stand: Stand) -> Self {
        Self(vec![stand])
    }
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

/// The freshness of a partition of which nothing was applied yet: what a writer says of all that it
/// knows of, so that nobody takes the state for whole before each was begun.
pub const NEVER_US: i64 = i64::MIN;

/// What a store knows of a space, in one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    /// Event time in microseconds since which the space holds every event; `i64::MIN` for ever;
    /// `None` when nobody said.
    pub complete_since_us: Option<i64>,
    /// The freshness of the partition that is furthest behind; `None` when nothing was applied, or
    /// nothing of one that was heard of.
    pub fresh_us: Option<i64>,
    /// On a store whose values expire: wall-clock microseconds since 1970 at which its first write
    /// was made, so that nothing can have expired before that and the shortest expiry. `None` where
    /// nothing expires.
    pub began_us: Option<i64>,
    /// In the order of (source, partition); empty in a [`Detail::Summary`] of some stores.
    pub checkpoints: Vec<Checkpoint>,
}

impl Meta {
    /// Whether a writer has said anything of the space.
    pub(crate) fn is_begun(&self) -> bool {
        self.complete_since_us.is_some() || !self.checkpoints.is_empty()
    }

    /// The highest applied offset of a partition; `None` when none was applied.
    pub fn offset(&self, source: u32, partition: u32) -> Option<u64> {
        let at = self.find(source, partition).ok()?;
        Some(self.checkpoints[at].offset)
    }

    /// Puts checkpoints in, in the order of (source, partition), and the freshness that follows.
    pub(crate) fn with_checkpoints(mut self, checkpoints: Vec<Checkpoint>) -> Self {
        self.fresh_us = slowest(&checkpoints);
        self.checkpoints = checkpoints;
        self
    }

    /// Does what a writer says of the marker.
    pub(crate) fn mark(&mut self, marker: Marker) {
        self.complete_since_us = match (marker, self.complete_since_us) {
            (Marker::Begin(_), Some(there)) => Some(there),
            (Marker::Begin(since_us), None) | (Marker::Set(since_us), _) => Some(since_us),
            (Marker::Withdraw, _) => None,
        };
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
        self.fresh_us = slowest(&self.checkpoints);
    }

    fn find(&self, source: u32, partition: u32) -> Result<usize, usize> {
        self.checkpoints
            .binary_search_by_key(&(source, partition), |there| (there.source, there.partition))
    }
}

fn slowest(checkpoints: &[Checkpoint]) -> Option<i64> {
    let slowest = checkpoints.iter().map(|checkpoint| checkpoint.fresh_us).min();
    slowest.filter(|&fresh_us| fresh_us != NEVER_US)
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

    /// A value whose parts stand one behind the other, the base first.
    pub(crate) fn of(bytes: Vec<u8>, base_len: usize) -> Self {
        Self { bytes, base_len }
    }

    /// What the last swap put in; empty before the first.
    pub fn base(&self) -> &[u8] {
        &self.bytes[..self.base_len]
    }

    /// Bytes of both parts.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
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
    /// The stand of the key's bucket at the moment of the read.
    pub stand: Stand,
    /// What the bucket knew of the key's space at the moment of the read; shared by the keys of one
    /// space and bucket.
    pub meta: Arc<Meta>,
}

/// How much a read tells of its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Detail {
    /// Marker and freshness: what an answer needs. A store may leave the checkpoints out.
    #[default]
    Summary,
    /// The checkpoints too.
    Positions,
}

/// Where a writer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What to name in the appends that follow.
    pub stands: Stands,
    /// One for each space asked for, in that order. On a store of several buckets what all of them
    /// have: partitions that every bucket knows, with the least offset and freshness, and the
    /// latest marker, or none if one of them has none.
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

/// What a writer says about since when a space is complete (see [`Meta::complete_since_us`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Since then, where nothing is said yet: the word of one who begins to apply a log.
    Begin(i64),
    /// Since then, whatever was said: the word of one who has filled the space.
    Set(i64),
    /// Nobody knows any more.
    Withdraw,
}

/// What is written in one go. On the embedded store this is one transaction; on every store the
/// checkpoints and markers stand only if the appends do.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The stands from the writer's last [`Store::look`].
    pub under: &'a Stands,
    /// In the order in which the records of one key are to stand.
    pub appends: &'a [Append<'a>],
    /// What is applied with this batch.
    pub checkpoints: &'a [(Space, Checkpoint)],
    /// Since when spaces are complete, in every bucket. The last word stands.
    pub markers: &'a [(Space, Marker)],
    /// After how long a value that nobody writes to may go, counted from its last append, for
    /// spaces that the batch appends to; values of others stay. A store that never forgets may
    /// ignore it.
    pub expiry: &'a [(Space, Duration)],
    /// When to acknowledge.
    pub durability: Durability,
}

impl<'a> Batch<'a> {
    /// A batch that says nothing yet, to be filled by update syntax.
    pub fn under(stands: &'a Stands) -> Self {
        Self {
            under: stands,
            appends: &[],
            checkpoints: &[],
            markers: &[],
            expiry: &[],
            durability: Durability::Buffered,
        }
    }
}

/// Records that one who reads appends for those who read after him; see [`Store::record`].
#[derive(Clone, Copy, Debug)]
pub struct Early<'a> {
    /// In the order in which the records of one key are to stand.
    pub appends: &'a [Append<'a>],
    /// As [`Batch::expiry`], which is counted from here too.
    pub expiry: &'a [(Space, Duration)],
    /// Bytes that a value may have with its early copies: what would make it longer is left out.
    pub room: usize,
}

impl Early<'_> {
    /// None.
    pub(crate) const NONE: Early<'static> = Early { appends: &[], expiry: &[], room: 0 };
}

/// One's answer to [`Store::record`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recorded {
    /// For each key as it was before the early copies, in the order asked.
    pub reads: Vec<Read>,
    /// For each early copy, whether it is there now.
    pub appended: Vec<bool>,
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
    /// The epoch that was read with the value.
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

/// A first base for a key that holds nothing; see [`Store::plant`].
#[derive(Clone, Copy, Debug)]
pub struct Plant<'a> {
    /// The epoch in which the key was seen to hold nothing; 0 where the bucket had none, which is
    /// then begun.
    pub epoch: u64,
    /// Whose value it becomes.
    pub at: At<'a>,
    /// The base, at least a byte and at most [`MAX_VALUE_BYTES`].
    pub base: &'a [u8],
    /// After how long the value may go if nobody writes to it; `None` for never.
    pub expiry: Option<Duration>,
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
    /// Many keys of many spaces at one moment (on a store of several buckets: those of one bucket),
    /// in the order asked.
    fn read<'a>(&'a self, keys: &'a [At<'a>], detail: Detail) -> Answer<'a, Vec<Read>>;

    /// [`Store::read`] with the positions.
    fn get<'a>(&'a self, keys: &'a [At<'a>]) -> Answer<'a, Vec<Read>> {
        self.read(keys, Detail::Positions)
    }

    /// [`Store::read`], and then appends early copies, in one step (on a store of several buckets:
    /// one step a bucket): nobody's copy comes between the read of a key and the append to it.
    /// Visible at once, and as durable as a buffered write.
    ///
    /// A copy is left out where no writer has said anything of its space, since nobody would ever
    /// look after it there, and where its value has no more room.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] and [`StoreError::Marked`]; then nothing was written. After others
    /// it may have been; sent again, copies stand there twice.
    fn record<'a>(
        &'a self,
        keys: &'a [At<'a>],
        early: &'a Early<'a>,
        detail: Detail,
    ) -> Answer<'a, Recorded>;

    /// Whether writes are done by the thread that polls them, with its commit to a file: then they
    /// are not for threads that others wait for.
    fn writes_block(&self) -> bool {
        false
    }

    /// Where a writer begins, at its start and after [`StoreError::Rewound`].
    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look>;

    /// Appends records and writes checkpoints and markers; all or nothing on the embedded store.
    /// Returns, for each append, the lengths of its key's value after the whole batch.
    ///
    /// # Errors
    /// [`StoreError::Rewound`] when a stand is another; then no checkpoint of that bucket was
    /// written, and on a store of one bucket nothing else either. [`StoreError::TooLarge`]; then
    /// nothing was written. After [`StoreError::Full`] and [`StoreError::Unavailable`] it may have
    /// been: look, and send all of it again.
    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>>;

    /// Puts new bases in. Says for each whether it was done; `false` means that the value is no
    /// longer the one that was folded, and nothing is changed.
    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>>;

    /// Puts a first base where a key holds nothing, in one step. Says whether it was done; `false`
    /// means that something is there by now, or that the epoch is another, and nothing is changed.
    /// For one who knows from elsewhere what the key is to hold.
    ///
    /// Nobody need have said anything of the space, which is listed among those that were written
    /// to from then on: whoever drops what is not needed any more finds it.
    fn plant<'a>(&'a self, plant: &'a Plant<'a>) -> Answer<'a, bool>;

    /// Removes all keys, checkpoints and the marker of a space. On a store where that is not one
    /// moment the marker goes first and the checkpoints last, so that one who was interrupted is
    /// not taken for one who has not begun.
    fn drop_space<'a>(&'a self, space: Space) -> Answer<'a, ()>;

    /// Makes every other writer look again: what one says who looked before this is refused as
    /// [`StoreError::Rewound`]. For one who takes a space over and has written down that he does.
    /// A store that one process has for itself has no other writer, and nothing to do.
    fn fence(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

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

    /// What was noted under a name; `None` when nothing was, or it was lost with the rest.
    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Vec<u8>>>;

    /// Notes `bytes` under a name, if what is there is `expected`. Says whether it was done, and
    /// returns when it is on disk.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]; then nothing was written. After [`StoreError::Unavailable`] it may
    /// have been: read it again.
    fn set_note<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Answer<'a, bool>;

    /// Returns when everything acknowledged before is on disk (nothing to do for a store that
    /// leaves that to a server).
    fn sync(&self) -> Answer<'_, ()>;

    /// How much the store holds.
    fn stats(&self) -> Answer<'_, Stats>;

    /// What the store says of itself and, bucket by bucket, of these spaces. It writes nothing, and
    /// is not one moment.
    fn survey<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Survey>;

    /// How the store's servers are set up. A store within the process has none.
    fn policies(&self) -> Answer<'_, Vec<Policies>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// How often checkpoints are worth what they cost, where they are not free: a writer may leave
    /// them out of the batches between.
    fn checkpoint_every(&self) -> Duration {
        Duration::ZERO
    }
}

/// Refuses what is above the bounds, before anything is written.
pub(crate) fn check_appends(appends: &[Append<'_>]) -> Result<(), StoreError> {
    for append in appends {
        check_len("key", append.at.key.len(), MAX_KEY_BYTES)?;
        check_len("record", append.record.len(), MAX_RECORD_BYTES)?;
        if append.record.first() == Some(&BASE_MARK) {
            return Err(StoreError::Marked);
        }
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

/// Refuses a first base out of bounds.
pub(crate) fn check_plant(plant: &Plant<'_>) -> Result<(), StoreError> {
    check_len("key", plant.at.key.len(), MAX_KEY_BYTES)?;
    check_len("base", plant.base.len(), MAX_VALUE_BYTES)
}

/// Refuses notes above the bounds.
pub(crate) fn check_note(name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    check_len("note's name", name.len(), MAX_NOTE_NAME_BYTES)?;
    check_len("note", bytes.len(), MAX_NOTE_BYTES)
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
