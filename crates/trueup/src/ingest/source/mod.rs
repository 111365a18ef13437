//! Where a stream's events come from: a log of partitions, each read whole and in order from an
//! offset that the worker names.
//!
//! ```text
//! roster ─▶ seek ─▶ poll, poll, poll …      Owned: the partitions to read here have changed;
//!             ▲        │                    nothing of them comes before the next seek
//!             └────────┘ Owned, rewind
//! ```
//!
//! A source knows nothing of events: it brings bytes with their places. It keeps no position of its
//! own either: what has been applied stands in the store. What a source must do is held by one
//! contract suite for all of them.

#[cfg(feature = "kafka")]
mod kafka;
mod log;
#[cfg(feature = "nats")]
mod nats;
mod produce;
mod redis_stream;
mod url;

#[cfg(feature = "kafka")]
pub use kafka::{KafkaProducer, KafkaSettings, KafkaSource, Sent};
pub use log::LogSource;
#[cfg(feature = "nats")]
pub use nats::{NatsProducer, NatsSettings, NatsSource};
pub use produce::ProduceError;
pub use redis_stream::{RedisStreamProducer, RedisStreamSettings, RedisStreamSource, entry_id};

use std::fmt;
use std::time::Duration;

/// The number that positions of a history carry. Small, since every record has it.
pub const HISTORY: u32 = 0;

/// Under this number a backfill writes down what it does; there are no records of it.
pub const PLAN: u32 = 1;

/// The least number that a log may have.
pub const FIRST_LOG: u32 = 2;

/// The number of a log, made of a hash or a random number: one that is no log's is not taken.
fn log_number(any: u32) -> u32 {
    any.max(FIRST_LOG)
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The partition it stands in.
    pub partition: u32,
    /// Its place there; ascending, not always without gaps.
    pub offset: u64,
    /// When the log took it, microseconds since 1970; the producer's word where the log keeps no
    /// time of its own.
    pub time_us: i64,
    /// The event's bytes.
    pub payload: Vec<u8>,
}

/// What the log holds of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The partition.
    pub partition: u32,
    /// The first offset that is left; 0 if nothing was ever trimmed.
    pub first: u64,
    /// One past the last offset.
    pub end: u64,
}

/// A log's number, and all its partitions.
pub type LogEdges = (u32, Vec<PartitionInfo>);

/// Asks a log where it begins and ends, again and again, for one who does not read it. Blocks, each
/// time for a bounded time.
pub type LogLook = Box<dyn FnMut() -> Result<LogEdges, SourceError> + Send>;

/// How much one poll may bring, and how long it may wait for the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records at most.
    pub records: usize,
    /// Bytes of payloads at which to stop; one record may exceed them.
    pub bytes: usize,
    /// How long to wait while nothing comes.
    pub wait: Duration,
}

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Records, those of one partition in order; none if none came in time.
    Records(Vec<SourceRecord>),
    /// All partitions that are to be read here from now on. Nothing of them comes before
    /// [`Source::seek`].
    Owned(Vec<u32>),
}

/// Why a source did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// The source as its setting names it, without secrets.
    pub source: String,
    /// What failed.
    pub detail: String,
    /// Whether the same call may succeed later without anybody doing anything.
    pub retry: bool,
    /// What to do about it, as one sentence.
    pub remedy: &'static str,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {}: {}. {}", self.source, self.detail, self.remedy)
    }
}

impl std::error::Error for SourceError {}

/// The log of one stream, as one worker reads it. Calls block, each for a bounded time.
pub trait Source: Send + fmt::Debug {
    /// The number that positions of this log carry; another one for a log that was made anew, where
    /// that can be told.
    fn number(&self) -> u32;

    /// All partitions of the log, ascending, whether read here or elsewhere.
    ///
    /// # Errors
    /// [`SourceError`], also when the log does not exist.
    fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError>;

    /// Begins reading partitions at offsets (the first to come is at or after it), and forgets what
    /// was fetched of them before.
    ///
    /// # Errors
    /// [`SourceError`].
    fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError>;

    /// What came, or which partitions are ours now. The first poll that does not fail says
    /// [`Polled::Owned`] as soon as that is known.
    ///
    /// # Errors
    /// [`SourceError`]; what was fetched and not yet returned comes with a later poll.
    fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError>;

    /// One past the last offset of each of these partitions, as the log said after this call began.
    ///
    /// # Errors
    /// [`SourceError`].
    fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError>;

    /// When the log took the first record that is left of a partition, microseconds since 1970;
    /// `None` if none is left.
    ///
    /// # Errors
    /// [`SourceError`].
    fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError>;

    /// Everything below these offsets is in the store. For the log's own tools that show lag;
    /// nothing is ever read back from it, and a failure is nobody's loss.
    fn applied(&mut self, places: &[(u32, u64)]);

    /// Waits before the next try of something else that failed, and stays a reader meanwhile. A
    /// seek must follow before the next poll: records that come now may be dropped.
    fn rest(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }
}
