//! A history as what a worker reads: files, a piece at a time, decoded by a thread of its own while
//! the worker writes. What waits between the two is bounded, whatever the files' size.
//!
//! A row's offset is made of the number of its file and the row's number in it, so that reading
//! goes on in the middle without counting the rows before:
//!
//! ```text
//! offset  [ 23 bits: file ][ 40 bits: row, or line ]
//! ```

use crate::ingest::push::cut;
use crate::ingest::source::{Bounds, SourceError};
use arrow::array::RecordBatch;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use trueup_offline::{EventFile, OfflineError, Place, Progress, Rows, at_place};
use trueup_sql::decode::Decoder;
use xxhash_rust::xxh3::Xxh3Default;

/// Bits of an offset for the row within its file: a file of 2^40 rows would take decades to write.
const ROW_BITS: u32 = 40;

/// Files of a history, at most: offsets stay within 63 bits, for what keeps them in signed numbers.
const MAX_FILES: usize = 1 << 23;

/// Pieces that wait for the worker: enough that neither waits for the other for long, some
/// megabytes.
const WAITING: usize = 4;

/// The file of an offset, counted from 0, and the row or line in it.
pub fn file_and_row(offset: u64) -> (usize, u64) {
    ((offset >> ROW_BITS) as usize, offset & ((1 << ROW_BITS) - 1))
}

/// A row that is no event.
#[derive(Debug)]
pub(in crate::ingest) struct BadRow {
    pub(in crate::ingest) offset: u64,
    /// Where it stands and what is wrong.
    pub(in crate::ingest) reason: String,
    /// The row as it came, where it came as text.
    pub(in crate::ingest) bytes: Vec<u8>,
}

/// Rows that were read.
#[derive(Debug)]
pub(in crate::ingest) struct Read {
    /// The good ones.
    pub(in crate::ingest) batch: RecordBatch,
    /// Their offsets.
    pub(in crate::ingest) offsets: Vec<u64>,
    /// The others.
    pub(in crate::ingest) bad: Vec<BadRow>,
    /// The offset of what comes after all of these.
    pub(in crate::ingest) next: u64,
    file: Arc<str>,
    lines: bool,
}

impl Read {
    /// Where a good row stands, for a person.
    pub(in crate::ingest) fn place(&self, row: usize) -> String {
        let (_, number) = file_and_row(self.offsets[row]);
        let place = if self.lines { Place::Line(number + 1) } else { Place::Row(number) };
        format!("{}, {place}", self.file)
    }

    /// How many there are, good and bad, from an offset on.
    pub(in crate::ingest) fn count_from(&self, offset: u64) -> u64 {
        let known = self.offsets.partition_point(|&at| at < offset);
        let known_bad = self.bad.partition_point(|bad| bad.offset < offset);
        (self.offsets.len() - known + self.bad.len() - known_bad) as u64
    }

    /// The first `n` good rows with the bad ones before the next good one, and the rest.
    fn split(mut self, n: usize) -> (Read, Option<Read>) {
        let Some(&next) = self.offsets.get(n) else { return (self, None) };
        let later = self.bad.partition_point(|bad| bad.offset < next);
        let rest = Read {
            batch: self.batch.slice(n, self.batch.num_rows() - n),
            offsets: self.offsets.split_off(n),
            bad: self.bad.split_off(later),
            next: self.next,
            file: Arc::clone(&self.file),
            lines: self.lines,
        };
        let first = Read { batch: self.batch.slice(0, n), next, ..self };
        (first, Some(rest))
    }
}

/// What came of a poll.
pub(in crate::ingest) enum Next {
    /// Rows; none if none came in time.
    Rows(Option<Read>),
    /// There are no more.
    End,
}

/// What the reading thread hands over.
enum Piece {
    Rows(Read),
    Failed(OfflineError),
    End,
}

/// The worker has gone elsewhere, or reading failed.
enum Stopped {
    Left,
    Failed(OfflineError),
}

impl From<OfflineError> for Stopped {
    fn from(error: OfflineError) -> Stopped {
        Stopped::Failed(error)
    }
}

/// The files of a history.
#[derive(Clone, Debug)]
pub struct Files {
    name: String,
    all: Arc<Vec<EventFile>>,
}

impl Files {
    /// The file at a path, or those of the folder there in the order of their names.
    ///
    /// # Errors
    /// [`OfflineError`], with what to do about it.
    pub fn at(path: &Path) -> Result<Files, OfflineError> {
        Files::of(path.display().to_string(), EventFile::all(path)?)
    }

    /// These files, which are called so together.
    ///
    /// # Errors
    /// There are too many.
    pub fn of(name: String, all: Vec<EventFile>) -> Result<Files, OfflineError> {
        if all.len() > MAX_FILES {
            let reason = format!("{} files; a history may have {MAX_FILES}", all.len());
            return Err(OfflineError::File { path: name, reason });
        }
        Ok(Files { name, all: Arc::new(all) })
    }

    /// What they are called to people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.all.iter().map(EventFile::bytes).sum()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// A hash of their names and lengths, in their order: another one for another history.
    pub fn hash(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        for file in self.all.iter() {
            let name = file.path().file_name().unwrap_or_default().as_encoded_bytes();
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(&file.bytes().to_le_bytes());
        }
        hash.digest()
    }

    /// What an offset stands for, for a person.
    pub fn place(&self, offset: u64) -> String {
        let (file, row) = file_and_row(offset);
        match self.all.get(file) {
            Some(file) => format!("row {row} of {}", file.name()),
            None => format!("the end of {}", self.name),
        }
    }
}

/// A history, as one worker reads it.
pub struct History {
    files: Files,
    decoder: Decoder,
    /// Bytes of the files that were read, for whoever shows it.
    read: Arc<AtomicU64>,
    pieces: Option<Receiver<Piece>>,
    /// What the last poll had no room for.
    rest: Option<Read>,
    /// Whether it was said that all of it is read here.
    pub(in crate::ingest) told: bool,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("files", &self.files).finish_non_exhaustive()
    }
}

impl History {
    /// Reads nothing before it is told from where; `read` is told how many bytes were read.
    pub fn new(files: Files, decoder: Decoder, read: Arc<AtomicU64>) -> History {
        History { files, decoder, read, pieces: None, rest: None, told: false }
    }

    /// Begins reading at an offset, and forgets what was read ahead.
    pub(in crate::ingest) fn seek(&mut self, offset: u64) -> Result<(), SourceError> {
        self.rest = None;
        let (sender, pieces) = sync_channel(WAITING);
        let (files, decoder) = (self.files.clone(), self.decoder.clone());
        let read = Arc::clone(&self.read);
        let reading = move || {
            // Whoever does not take the last word has gone elsewhere.
            let _ = match read_all(&files, &decoder, offset, &read, &sender) {
                Ok(()) => sender.send(Piece::End),
                Err(Stopped::Failed(error)) => sender.send(Piece::Failed(error)),
                Err(Stopped::Left) => Ok(()),
            };
        };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(reading);
        thread.map_err(|error| self.failed(format!("no thread can be had: {error}")))?;
        self.pieces = Some(pieces);
        Ok(())
    }

    /// The next rows.
    pub(in crate::ingest) fn poll(&mut self, bounds: &Bounds) -> Result<Next, SourceError> {
        let Some(pieces) = &self.pieces else { return Ok(Next::Rows(None)) };
        let rows = match self.rest.take() {
            Some(rest) => rest,
            None => match pieces.recv_timeout(bounds.wait) {
                Ok(Piece::Rows(rows)) => rows,
                Ok(Piece::End) => return Ok(Next::End),
                Ok(Piece::Failed(error)) => return Err(self.failed(error.to_string())),
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Rows(None)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failed("reading ended before the end".to_owned()));
                }
            },
        };
        let (first, rest) = rows.split(bounds.records);
        self.rest = rest;
        Ok(Next::Rows(Some(first)))
    }

    fn failed(&self, detail: String) -> SourceError {
        let (source, retry) = (self.files.name.clone(), false);
        let remedy = "Mend the history and give the same command again; it goes on from there.";
        SourceError { source, detail, retry, remedy }
    }
}

/// Reads all files from an offset on.
fn read_all(
    files: &Files,
    decoder: &Decoder,
    offset: u64,
    read: &AtomicU64,
    sender: &SyncSender<Piece>,
) -> Result<(), Stopped> {
    let (first, _) = file_and_row(offset);
    let mut before: u64 = files.all.iter().take(first).map(EventFile::bytes).sum();
    for (nth, file) in files.all.iter().enumerate().skip(first) {
        let start = (nth as u64) << ROW_BITS;
        let from = offset.saturating_sub(start);
        let watch = |progress: Progress| read.store(before + progress.done, Ordering::Relaxed);
        file.read::<Stopped>(decoder, from, &watch, &mut |rows| match piece(rows, start, from) {
            Some(rows) => sender.send(Piece::Rows(rows)).map_err(|_| Stopped::Left),
            None => Ok(()),
        })?;
        before += file.bytes();
    }
    Ok(())
}

/// The rows from a number of their file on; `None` if all of them are before it.
fn piece(rows: Rows, start: u64, from: u64) -> Option<Read> {
    let kept = rows.decoded.kept.iter().map(|&index| rows.number(index));
    let numbers: Vec<u64> = kept.collect();
    let known = numbers.partition_point(|&number| number < from);
    let bad = rows.decoded.bad.iter().filter(|bad| rows.number(bad.index) >= from);
    let bad: Vec<BadRow> = bad.map(|bad| bad_row(&rows, bad, start)).collect();
    let last = numbers.last().copied().max(bad.last().map(|bad| bad.offset - start))?;
    if last < from {
        return None;
    }
    Some(Read {
        batch: rows.decoded.batch.slice(known, numbers.len() - known),
        offsets: numbers[known..].iter().map(|number| start + number).collect(),
        bad,
        next: start + last + 1,
        file: Arc::clone(&rows.source),
        lines: matches!(rows.place(0), Place::Line(_)),
    })
}

fn bad_row(rows: &Rows, bad: &trueup_sql::decode::BadEvent, start: u64) -> BadRow {
    let place = rows.place(bad.index);
    let reason = at_place(&rows.source, place, bad.column.as_deref(), &bad.reason);
    BadRow { offset: start + rows.number(bad.index), reason: cut(reason), bytes: bad.row.clone() }
}
