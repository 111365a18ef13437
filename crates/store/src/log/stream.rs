//! What the log files of a stream.
//!
//! ```text
//!   checksum u64 | number u32 | first u64 | end u64 | birth u64
//!   the checksum is xxh3 of the rest, seeded by the name
//! ```
//!
//! All little-endian. A flipped bit in a name would make the stream one that never was, and its
//! records nobody's; so a name that is not found is believed only when all that are there are
//! sound.

use redb::{ReadableTable, Table, TableDefinition};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::StoreError;
use crate::engine::Trouble;
use crate::store::random_u64;

pub(super) const STREAMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("streams");

/// One stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamRow {
    /// Its name in the other tables.
    pub(super) number: u32,
    /// The first offset that is left.
    pub(super) first: u64,
    /// One past the last offset.
    pub(super) end: u64,
    /// Random, made with the stream.
    pub(super) birth: u64,
}

impl StreamRow {
    fn encode(&self, name: &str) -> Vec<u8> {
        let mut body = self.number.to_le_bytes().to_vec();
        for word in [self.first, self.end, self.birth] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        [&checksum(name, &body).to_le_bytes()[..], &body].concat()
    }

    fn decode(name: &str, row: &[u8]) -> Result<Self, StoreError> {
        parse(name, row).ok_or_else(|| StoreError::Corrupt {
            place: format!("The log's row of stream {name}"),
            detail: "the checksum does not fit".to_owned(),
        })
    }
}

fn checksum(name: &str, body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(name.as_bytes()))
}

fn parse(name: &str, row: &[u8]) -> Option<StreamRow> {
    let (sum, body) = row.split_first_chunk()?;
    if u64::from_le_bytes(*sum) != checksum(name, body) {
        return None;
    }
    let (number, rest) = body.split_first_chunk()?;
    let (first, rest) = rest.split_first_chunk()?;
    let (end, rest) = rest.split_first_chunk()?;
    let (birth, _) = rest.split_first_chunk()?;
    Some(StreamRow {
        number: u32::from_le_bytes(*number),
        first: u64::from_le_bytes(*first),
        end: u64::from_le_bytes(*end),
        birth: u64::from_le_bytes(*birth),
    })
}

/// A stream; `None` for a name that was never written to.
pub(super) fn find(
    streams: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<StreamRow>, Trouble> {
    if let Some(row) = streams.get(name)? {
        return Ok(Some(StreamRow::decode(name, row.value())?));
    }
    all(streams).map(|_| None)
}

/// All streams, by name. They are few.
pub(super) fn all(
    streams: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<(String, StreamRow)>, Trouble> {
    let rows = streams.iter()?;
    rows.map(|found| {
        let (name, row) = found?;
        Ok((name.value().to_owned(), StreamRow::decode(name.value(), row.value())?))
    })
    .collect()
}

/// Files a stream.
pub(super) fn put(
    streams: &mut Table<'_, &'static str, &'static [u8]>,
    name: &str,
    row: StreamRow,
) -> Result<(), Trouble> {
    streams.insert(name, row.encode(name).as_slice())?;
    Ok(())
}

/// Gives a stream the next number. Streams are never removed, so their count is free.
pub(super) fn new(
    streams: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<StreamRow, Trouble> {
    let last = all(streams)?.into_iter().map(|(_, row)| row.number).max();
    let number = last.map_or(0, |last| last + 1);
    Ok(StreamRow { number, first: 0, end: 0, birth: random_u64() })
}
