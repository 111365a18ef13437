//! Dead letters: events that could not be used, with the reason, the position and the bytes.
//!
//! ```text
//!   dead        stream number, sequence  -> 0, 1 or 2 u8 | offset u64 | partition u32, if 2
//!                                           | reason length u32 | reason | bytes
//!               0: without a position; 1: of partition 0; 2: of the partition that follows
//!   dead_at     stream number, offset    -> sequence     so that a replay files nothing twice
//!   dead_in     stream number, partition, offset -> sequence      the same, of other partitions
//!   dead_count  stream number            -> letters ever filed
//! ```

use redb::WriteTransaction;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition};

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
const DEAD_IN: TableDefinition<'_, (u32, u32, u64), u64> = TableDefinition::new("dead_in");
const DEAD_COUNT: TableDefinition<'_, u32, u64> = TableDefinition::new("dead_count");

/// An event that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its partition and offset in the stream's log, if it got that far.
    pub position: Option<(u32, u64)>,
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
        let (partition, offset) = self.position.unwrap_or_default();
        let mut row = vec![match self.position {
            None => 0,
            Some((0, _)) => 1,
            Some(_) => 2,
        }];
        row.extend_from_slice(&offset.to_le_bytes());
        if partition > 0 {
            row.extend_from_slice(&partition.to_le_bytes());
        }
        // At most MAX_REASON_BYTES.
        row.extend_from_slice(&(self.reason.len() as u32).to_le_bytes());
        row.extend_from_slice(self.reason.as_bytes());
        row.extend_from_slice(&self.bytes);
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (has, rest) = row.split_first()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (partition, rest) = match has {
            2 => rest.split_first_chunk().map(|(part, rest)| (u32::from_le_bytes(*part), rest))?,
            _ => (0, rest),
        };
        let (len, rest) = rest.split_first_chunk()?;
        let (reason, bytes) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(Self {
            position: (*has > 0).then_some((partition, u64::from_le_bytes(*offset))),
            reason: String::from_utf8_lossy(reason).into_owned(),
            bytes: bytes.to_vec(),
        })
    }
}

/// Makes the tables.
pub(super) fn make(txn: &WriteTransaction) -> Result<(), Trouble> {
    txn.open_table(DEAD)?;
    txn.open_table(DEAD_AT)?;
    txn.open_table(DEAD_IN)?;
    txn.open_table(DEAD_COUNT)?;
    Ok(())
}

/// Where letters of one stream stand that are filed already.
struct Places<'txn> {
    number: u32,
    first: Table<'txn, (u32, u64), u64>,
    others: Table<'txn, (u32, u32, u64), u64>,
}

impl Places<'_> {
    /// Whether there was a letter of this place.
    fn insert(&mut self, place: (u32, u64), sequence: u64) -> Result<bool, Trouble> {
        Ok(match place {
            (0, offset) => {
                let there = self.first.get((self.number, offset))?.is_some();
                if !there {
                    self.first.insert((self.number, offset), sequence)?;
                }
                there
            }
            (partition, offset) => {
                let at = (self.number, partition, offset);
                let there = self.others.get(at)?.is_some();
                if !there {
                    self.others.insert(at, sequence)?;
                }
                there
            }
        })
    }

    fn remove(&mut self, place: (u32, u64)) -> Result<(), Trouble> {
        match place {
            (0, offset) => self.first.remove((self.number, offset))?.map(drop),
            (partition, offset) => self.others.remove((self.number, partition, offset))?.map(drop),
        };
        Ok(())
    }
}

/// Files letters; returns how many were new.
pub(super) fn file(
    txn: &WriteTransaction,
    number: u32,
    letters: &[DeadLetter],
) -> Result<u64, Trouble> {
    let mut dead = txn.open_table(DEAD)?;
    let mut places =
        Places { number, first: txn.open_table(DEAD_AT)?, others: txn.open_table(DEAD_IN)? };
    let mut counts = txn.open_table(DEAD_COUNT)?;
    let before = counts.get(number)?.map_or(0, |count| count.value());
    let mut ever = before;
    for letter in letters {
        if let Some(position) = letter.position
            && places.insert(position, ever)?
        {
            continue;
        }
        dead.insert((number, ever), letter.encode().as_slice())?;
        ever += 1;
        if let Some(oldest) = ever.checked_sub(MAX_KEPT + 1) {
            let gone =
                dead.remove((number, oldest))?.and_then(|row| DeadLetter::decode(row.value()));
            if let Some(position) = gone.and_then(|letter| letter.position) {
                places.remove(position)?;
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
