//! Records packed for the log, and the chunks in which it keeps them.
//!
//! ```text
//!   chunk:   checksum u64 | count u32 | records
//!            the checksum is xxh3 of the rest, seeded by stream number and first offset
//!   record:  log time i64 (microseconds since 1970) | length u32 | payload
//! ```
//!
//! All little-endian. A row a record would cost an index entry each; a chunk costs one for some
//! hundreds of records.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::StoreError;
use crate::store::{MAX_RECORD_BYTES, check_len};

/// Bytes of records at which a chunk is closed. The database gives a value that does not share a
/// page a power of two of bytes; with its headers this stays below 64 KiB.
const CHUNK_BYTES: usize = 60 << 10;
/// Bytes before a record's payload.
const HEAD_BYTES: usize = 12;

/// One record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place in the stream, from 0, without gaps.
    pub offset: u64,
    /// When the log took it, wall-clock microseconds since 1970; the caller's word.
    pub time_us: i64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Records to be appended together, in this order.
#[derive(Clone, Debug, Default)]
pub struct Lot {
    count: u32,
    bytes: Vec<u8>,
}

impl Lot {
    /// Adds a record with the time at which the log took it, in microseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above [`crate::MAX_RECORD_BYTES`].
    pub fn push(&mut self, time_us: i64, payload: &[u8]) -> Result<(), StoreError> {
        check_len("record", payload.len(), MAX_RECORD_BYTES)?;
        self.bytes.extend_from_slice(&time_us.to_le_bytes());
        // At most MAX_RECORD_BYTES, far below 4 GiB.
        self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(payload);
        self.count += 1;
        Ok(())
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of its records with their heads.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn heads(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (record, behind) = split(rest)?;
            rest = behind;
            Some(record)
        })
    }
}

/// One record with its head, and what is behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len: [u8; 4] = bytes.get(8..HEAD_BYTES)?.try_into().ok()?;
    bytes.split_at_checked(HEAD_BYTES.checked_add(u32::from_le_bytes(len) as usize)?)
}

/// Chunks being filled for one stream within one transaction.
pub(super) struct Packer {
    first: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl Packer {
    /// Begins at the stream's end.
    pub(super) fn new(end: u64) -> Self {
        Self { first: end, count: 0, bytes: Vec::new() }
    }

    /// The offset of the next record.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Adds a lot; `full` is given each chunk that is complete.
    pub(super) fn add<E>(
        &mut self,
        lot: &Lot,
        mut full: impl FnMut(u64, u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for record in lot.heads() {
            if self.count > 0 && self.bytes.len() + record.len() > CHUNK_BYTES {
                self.close(&mut full)?;
            }
            self.bytes.extend_from_slice(record);
            self.count += 1;
        }
        Ok(())
    }

    /// Gives out what is left.
    pub(super) fn close<E>(
        &mut self,
        mut full: impl FnMut(u64, u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.count > 0 {
            full(self.first, self.count, &self.bytes)?;
            self.first = self.end();
            self.count = 0;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// A chunk's bytes as they are stored.
pub(super) fn seal(at: (u32, u64), count: u32, records: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(12 + records.len());
    chunk.extend_from_slice(&[0; 8]);
    chunk.extend_from_slice(&count.to_le_bytes());
    chunk.extend_from_slice(records);
    let sum = checksum(at, &chunk[8..]);
    chunk[..8].copy_from_slice(&sum.to_le_bytes());
    chunk
}

fn checksum((number, first): (u32, u64), body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, first ^ u64::from(number).rotate_left(32))
}

/// A record within a chunk.
pub(super) struct Borrowed<'c> {
    pub(super) offset: u64,
    pub(super) time_us: i64,
    pub(super) payload: &'c [u8],
}

impl Borrowed<'_> {
    pub(super) fn to_owned(&self) -> LogRecord {
        let Self { offset, time_us, payload } = *self;
        LogRecord { offset, time_us, payload: payload.to_vec() }
    }
}

/// The records of a stored chunk.
pub(super) fn records<'c>(
    stream: &str,
    at: (u32, u64),
    chunk: &'c [u8],
) -> Result<impl Iterator<Item = Result<Borrowed<'c>, StoreError>>, StoreError> {
    let corrupt = StoreError::Corrupt {
        place: format!("The log of {stream} at offset {}", at.1),
        detail: "the checksum does not fit".to_owned(),
    };
    let opened = chunk.split_first_chunk().and_then(|(sum, body)| {
        let (count, records) = body.split_first_chunk()?;
        let fits = u64::from_le_bytes(*sum) == checksum(at, body);
        fits.then_some((u32::from_le_bytes(*count), records))
    });
    let (count, mut rest) = opened.ok_or_else(|| corrupt.clone())?;
    Ok((0..count).map(move |nth| {
        let (record, behind) = split(rest).ok_or_else(|| corrupt.clone())?;
        rest = behind;
        let (time_us, _) = record.split_first_chunk().ok_or_else(|| corrupt.clone())?;
        Ok(Borrowed {
            offset: at.1 + u64::from(nth),
            time_us: i64::from_le_bytes(*time_us),
            payload: &record[HEAD_BYTES..],
        })
    }))
}
