//! Dead letters: events that could not be used, with the reason, the position and the bytes.
//!
//! ```text
//!   dead        stream number, sequence  -> has position u8 | position u64
//!                                           | reason length u32 | reason | bytes
//!   dead_at     stream number, position  -> sequence     so that a replay files nothing twice
//!   dead_count  stream number            -> letters ever filed
//! ```

use redb::WriteTransaction;
use redb::{ReadTransaction, ReadableTable, TableDefinition};

use super::stream::StreamRow;
use crate::StoreError;
use crate::engine::Trouble;
use crate::store::{MAX_RECORD_BYTES, check_len};

/// Letters kept of one stream: a broken producer must not fill the disk. When there are more, the
/// oldest go.
const MAX_KEPT: u64 = 100_000;
/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 4 << 10;

const DEAD: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("dead");
const DEAD_AT: TableDefinition<'_, (u32, u64), u64> = TableDefinition::new("dead_at");
const DEAD_COUNT: TableDefinition<'_, u32, u64> = TableDefinition::new("dead_count");

/// An event that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its offset in the stream's log, if it got that far.
    pub position: Option<u64>,
    /// Why, for a person.
    pub reason: String,
    /// The event as it came.
    pub bytes: Vec<u8>,
}

/// How many dead letters a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeadCount {
    /// Ever filed.
    pub ever: u64,
    /// Still kept; the rest was pushed out by younger ones.
    pub kept: u64,
}

impl DeadLetter {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        check_len("dead letter", self.bytes.len(), MAX_RECORD_BYTES)?;
        check_len("reason", self.reason.len(), MAX_REASON_BYTES)
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = vec![u8::from(self.position.is_some())];
        row.extend_from_slice(&self.position.unwrap_or_default().to_le_bytes());
        // At most MAX_REASON_BYTES.
        row.extend_from_slice(&(self.reason.len() as u32).to_le_bytes());
        row.extend_from_slice(self.reason.as_bytes());
        row.extend_from_slice(&self.bytes);
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (has, rest) = row.split_first()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (reason, bytes) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(Self {
            position: (*has == 1).then_some(u64::from_le_bytes(*position)),
            reason: String::from_utf8_lossy(reason).into_owned(),
            bytes: bytes.to_vec(),
        })
    }
}

/// Makes the tables.
pub(super) fn make(txn: &WriteTransaction) -> Result<(), Trouble> {
    txn.open_table(DEAD)?;
    txn.open_table(DEAD_AT)?;
    txn.open_table(DEAD_COUNT)?;
    Ok(())
}

/// Files letters; returns how many were new.
pub(super) fn file(
    txn: &WriteTransaction,
    number: u32,
    letters: &[DeadLetter],
) -> Result<u64, Trouble> {
    let mut dead = txn.open_table(DEAD)?;
    let mut places = txn.open_table(DEAD_AT)?;
    let mut counts = txn.open_table(DEAD_COUNT)?;
    let before = counts.get(number)?.map_or(0, |count| count.value());
    let mut ever = before;
    for letter in letters {
        if let Some(position) = letter.position {
            if places.get((number, position))?.is_some() {
                continue;
            }
            places.insert((number, position), ever)?;
        }
        dead.insert((number, ever), letter.encode().as_slice())?;
        ever += 1;
        if let Some(oldest) = ever.checked_sub(MAX_KEPT + 1) {
            let gone =
                dead.remove((number, oldest))?.and_then(|row| DeadLetter::decode(row.value()));
            if let Some(position) = gone.and_then(|letter| letter.position) {
                places.remove((number, position))?;
            }
        }
    }
    counts.insert(number, ever)?;
    Ok(ever - before)
}

pub(super) fn list(
    txn: &ReadTransaction,
    stream: &str,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, DeadLetter)>, Trouble> {
    let Some(StreamRow { number, .. }) = super::find(txn, stream)? else { return Ok(Vec::new()) };
    let dead = txn.open_table(DEAD)?;
    let from = match after {
        Some(u64::MAX) => return Ok(Vec::new()),
        Some(after) => after + 1,
        None => 0,
    };
    let found = dead.range((number, from)..=(number, u64::MAX))?.take(limit);
    found
        .map(|found| {
            let (at, row) = found?;
            let sequence = at.value().1;
            let letter = DeadLetter::decode(row.value()).ok_or_else(|| StoreError::Corrupt {
                place: format!("Dead letter {sequence} of {stream}"),
                detail: "it is cut short".to_owned(),
            })?;
            Ok((sequence, letter))
        })
        .collect()
}

pub(super) fn count(txn: &ReadTransaction, stream: &str) -> Result<DeadCount, Trouble> {
    let Some(StreamRow { number, .. }) = super::find(txn, stream)? else {
        return Ok(DeadCount::default());
    };
    let counts = txn.open_table(DEAD_COUNT)?;
    let ever = counts.get(number)?.map_or(0, |count| count.value());
    Ok(DeadCount { ever, kept: ever.min(MAX_KEPT) })
}
