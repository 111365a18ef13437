//! The local log: what came in by push, in order, durable before it is acknowledged, and read again
//! from any offset.
//!
//! ```text
//!   streams  name                  -> number, first offset, one past the last, birth (stream.rs)
//!   chunks   number, first offset  -> count, records with their times                (lot.rs)
//!   dead     number, sequence      -> position, reason, bytes                        (dead.rs)
//! ```
//!
//! The life of a record: the caller packs it into a [`Lot`] on its own thread and submits that; the
//! writer thread takes all lots that wait, commits them in one transaction with one sync, and then
//! calls each caller back with the offset of its first record. So a thousand callers share one
//! sync, and none waits for more than two. The queue is bounded in bytes; when it is full, `submit`
//! refuses at once.
//!
//! It tells nobody of new records: callers know when their lots are in. It deletes nothing unless
//! [`Log::trim`] is called.

mod dead;
mod lot;
mod stream;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use redb::{ReadTransaction, ReadableTable, TableDefinition};

use crate::StoreError;
use crate::engine::{Engine, InDirectory, InMemory, Options, Place, Trouble};
use crate::store::{Durability, check_len};
use stream::{STREAMS, StreamRow};
use writer::{Job, Writer};

pub use dead::{DeadCount, DeadLetter};
pub use lot::{LogRecord, Lot};

/// The version of the layout above.
const FORMAT: u64 = 1;
/// The file's name within its directory.
const FILE: &str = "log.redb";
/// Longest name of a stream, in bytes.
const MAX_STREAM_NAME_BYTES: usize = 256;

const CHUNKS: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("chunks");

/// Called once, on the writer's thread, when a submission is on disk (with the offset of its first
/// record, or the number of letters that were new) or has failed. It must neither block nor panic.
pub type Done = Box<dyn FnOnce(Result<u64, StoreError>) + Send>;

/// What the log holds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The first offset that is left.
    pub first: u64,
    /// One past the last offset.
    pub end: u64,
    /// Random, made with the stream: another one means that the log was made anew and its offsets
    /// mean other events.
    pub birth: u64,
}

/// A log in one file, `log.redb`, of a directory that this process has for itself.
#[derive(Debug)]
pub struct Log {
    engine: Arc<Engine>,
    writer: Writer,
}

impl Log {
    /// Opens the log in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// As [`crate::EmbeddedStore::open`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::on(Box::new(InDirectory::new(dir, FILE)), options)
    }

    /// Whether there is a log in a directory.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    /// A log that ends with the process.
    ///
    /// # Errors
    /// None that is known.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::on(Box::new(InMemory), Options::LOG)
    }

    /// Opens the log on a disk of the caller's making.
    ///
    /// # Errors
    /// As [`Log::open`].
    #[cfg(feature = "testing")]
    pub fn open_on(place: Box<dyn Place>, options: Options) -> Result<Self, StoreError> {
        Self::on(place, options)
    }

    fn on(place: Box<dyn Place>, options: Options) -> Result<Self, StoreError> {
        let engine = Engine::open(place, options, FORMAT, |txn| {
            txn.open_table(STREAMS)?;
            txn.open_table(CHUNKS)?;
            dead::make(txn)
        })?;
        let engine = Arc::new(engine);
        let writer = Writer::start(Arc::clone(&engine))?;
        Ok(Self { engine, writer })
    }

    /// Hands records to the writer and returns at once; `done` is called when they are on disk.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too much waits, [`StoreError::TooLarge`] for the name; then `done`
    /// is not called.
    pub fn submit(&self, stream: &str, lot: Lot, done: Done) -> Result<(), StoreError> {
        check_len("stream name", stream.len(), MAX_STREAM_NAME_BYTES)?;
        self.writer.submit(Job::Append { stream: stream.to_owned(), lot, done })
    }

    /// Appends records and waits until they are on disk. Returns the offset of the first.
    ///
    /// # Errors
    /// Those of [`Log::submit`], and the disk's: then nothing is acknowledged, yet it may be found
    /// in the log later.
    pub fn append(&self, stream: &str, lot: Lot) -> Result<u64, StoreError> {
        self.wait(|done| self.submit(stream, lot, done))
    }

    /// Files events that could not be used, and returns at once; `done` is called when they are on
    /// disk. Letters with a position that is filed already are left out, so a replay files nothing
    /// twice.
    ///
    /// # Errors
    /// As [`Log::submit`].
    pub fn submit_dead(
        &self,
        stream: &str,
        letters: Vec<DeadLetter>,
        done: Done,
    ) -> Result<(), StoreError> {
        check_len("stream name", stream.len(), MAX_STREAM_NAME_BYTES)?;
        for letter in &letters {
            letter.check()?;
        }
        self.writer.submit(Job::Bury { stream: stream.to_owned(), letters, done })
    }

    /// Files events that could not be used and waits until they are on disk. Returns how many were
    /// new.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn bury(&self, stream: &str, letters: Vec<DeadLetter>) -> Result<u64, StoreError> {
        self.wait(|done| self.submit_dead(stream, letters, done))
    }

    fn wait(&self, submit: impl FnOnce(Done) -> Result<(), StoreError>) -> Result<u64, StoreError> {
        let (tell, told) = channel();
        // Nobody listens any more only if this thread is gone.
        submit(Box::new(move |done| drop(tell.send(done))))?;
        told.recv().unwrap_or_else(|_| Err(writer::gone()))
    }

    /// Records from an offset on, in order: at most `max_records`, and no more once `max_bytes` of
    /// payload are reached (one at least, if there is one). Empty at the log's end.
    ///
    /// # Errors
    /// [`StoreError::Gap`] when the offset was trimmed or lies beyond the end,
    /// [`StoreError::Corrupt`].
    pub fn read(
        &self,
        stream: &str,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        self.engine.read(|txn, _| {
            let StreamRow { number, first, end, .. } = find(txn, stream)?.unwrap_or_default();
            if from < first || from > end {
                let stream = stream.to_owned();
                return Err(StoreError::Gap { stream, wanted: from, first, end }.into());
            }
            let mut taken =
                Taken { next: from, max_records, max_bytes, bytes: 0, records: Vec::new() };
            let chunks = txn.open_table(CHUNKS)?;
            let start = chunks.range((number, 0)..=(number, from))?.next_back();
            let start = start.transpose()?.map_or((number, from), |(at, _)| at.value());
            for found in chunks.range(start..(number, end))? {
                let (at, chunk) = found?;
                if !taken.take(stream, at.value(), chunk.value())? {
                    return Ok(taken.records);
                }
            }
            if taken.next == end {
                return Ok(taken.records);
            }
            Err(missing(stream, taken.next).into())
        })
    }

    /// What the log holds of a stream; `None` for a stream that nothing was appended to.
    ///
    /// # Errors
    /// The disk's.
    pub fn info(&self, stream: &str) -> Result<Option<StreamInfo>, StoreError> {
        self.engine.read(|txn, _| {
            let row = find(txn, stream)?;
            Ok(row.map(|StreamRow { first, end, birth, .. }| StreamInfo { first, end, birth }))
        })
    }

    /// The names of all streams, ascending.
    ///
    /// # Errors
    /// The disk's.
    pub fn streams(&self) -> Result<Vec<String>, StoreError> {
        self.engine.read(|txn, _| {
            let rows = stream::all(&txn.open_table(STREAMS)?)?;
            Ok(rows.into_iter().map(|(name, _)| name).collect())
        })
    }

    /// Forgets the records below an offset. Room in the file is used again for later records.
    ///
    /// # Errors
    /// The disk's.
    pub fn trim(&self, stream: &str, before: u64) -> Result<(), StoreError> {
        self.engine.write(Durability::Synced, |txn, _| {
            let mut streams = txn.open_table(STREAMS)?;
            let Some(row) = stream::find(&streams, stream)? else { return Ok(()) };
            let StreamRow { number, first, end, .. } = row;
            let before = before.clamp(first, end);
            let mut chunks = txn.open_table(CHUNKS)?;
            // The chunk that holds `before` stays whole, unless `before` is the end.
            let holder = chunks.range((number, 0)..=(number, before))?.next_back();
            let holder = holder.transpose()?.map(|(at, _)| at.value());
            let upto = if before == end { Some((number, end)) } else { holder };
            if let Some(upto) = upto {
                chunks.retain_in((number, 0)..upto, |_, _| false)?;
            }
            stream::put(&mut streams, stream, StreamRow { first: before, ..row })
        })
    }

    /// At most `limit` dead letters of a stream, in the order of their filing, with their sequence
    /// numbers; those after `after`, or from the first on.
    ///
    /// # Errors
    /// The disk's.
    pub fn dead_letters(
        &self,
        stream: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
        self.engine.read(|txn, _| dead::list(txn, stream, after, limit))
    }

    /// Forgets dead letters, by their numbers, that are done with; those with a reason stay, and
    /// have that one from now on. A replay of the log files none of them again.
    ///
    /// # Errors
    /// The disk's.
    pub fn settle(
        &self,
        stream: &str,
        outcomes: &[(u64, Option<String>)],
    ) -> Result<(), StoreError> {
        self.engine.write(Durability::Synced, |txn, _| dead::settle(txn, stream, outcomes))
    }

    /// How many dead letters a stream has.
    ///
    /// # Errors
    /// The disk's.
    pub fn dead_count(&self, stream: &str) -> Result<DeadCount, StoreError> {
        self.engine.read(|txn, _| dead::count(txn, stream))
    }

    /// Bytes of the file; 0 in memory.
    pub fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}

/// What a read has gathered so far.
struct Taken {
    /// The offset wanted next.
    next: u64,
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
    records: Vec<LogRecord>,
}

impl Taken {
    /// Takes what is wanted of a chunk; `false` when that is enough.
    fn take(&mut self, stream: &str, at: (u32, u64), chunk: &[u8]) -> Result<bool, StoreError> {
        for record in lot::records(stream, at, chunk)? {
            let record = record?;
            if record.offset < self.next {
                continue;
            }
            if record.offset > self.next {
                return Err(missing(stream, self.next));
            }
            let full = self.bytes + record.payload.len() > self.max_bytes;
            if self.records.len() >= self.max_records || (full && !self.records.is_empty()) {
                return Ok(false);
            }
            self.bytes += record.payload.len();
            self.records.push(record.to_owned());
            self.next += 1;
        }
        Ok(true)
    }
}

/// Offsets have no holes, so one that is not there was lost.
fn missing(stream: &str, offset: u64) -> StoreError {
    StoreError::Corrupt {
        place: format!("The log of {stream} at offset {offset}"),
        detail: "the record is missing".to_owned(),
    }
}

fn find(txn: &ReadTransaction, stream: &str) -> Result<Option<StreamRow>, Trouble> {
    stream::find(&txn.open_table(STREAMS)?, stream)
}
