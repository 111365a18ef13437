//! Dead letters: events that could not be used, with the reason, the position and the bytes.
//!
//! ```text
//!   dead        stream number, sequence  -> kind u8 | offset u64 | partition u32, if 2
//!                                           | time i64, if 4 | reason length u32 | reason | bytes
//!               kind 0: without a position; 1: of partition 0; 2: of the partition that follows;
//!               4 more: a time follows; 8 more: settled, reason and bytes are gone
//!   dead_at     stream number, offset    -> sequence     so that a replay files nothing twice
//!   dead_in     stream number, partition, offset -> sequence      the same, of other partitions
//!   dead_count  stream number            -> letters ever filed
//!   dead_gone   stream number            -> settled ones among those that are kept
//! ```
//!
//! A letter that is settled leaves its position behind, so that a replay of the log does not file
//! it again.

use redb::WriteTransaction;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError};

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
/// Made with the first letter that is settled: older files have none.
const DEAD_GONE: TableDefinition<'_, u32, u64> = TableDefinition::new("dead_gone");

/// The bits of a kind.
const PLACE: u8 = 3;
const TIMED: u8 = 4;
const SETTLED: u8 = 8;

/// An event that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its partition and offset in the stream's log, if it got that far.
    pub position: Option<(u32, u64)>,
    /// When the stream's log took it, or else when it came, microseconds since 1970; letters of
    /// older files have none.
    pub time_us: Option<i64>,
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
    /// Still kept; the rest was settled, or pushed out by younger ones.
    pub kept: u64,
}

impl DeadLetter {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        check_len("dead letter", self.bytes.len(), MAX_RECORD_BYTES)?;
        check_len("reason", self.reason.len(), MAX_REASON_BYTES)
    }

    fn encode(&self) -> Vec<u8> {
        let (partition, offset) = self.position.unwrap_or_default();
        let place = match self.position {
            None => 0,
            Some((0, _)) => 1,
            Some(_) => 2,
        };
        let mut row = vec![place | if self.time_us.is_some() { TIMED } else { 0 }];
        row.extend_from_slice(&offset.to_le_bytes());
        if partition > 0 {
            row.extend_from_slice(&partition.to_le_bytes());
        }
        row.extend(self.time_us.into_iter().flat_map(i64::to_le_bytes));
        // At most MAX_REASON_BYTES.
        row.extend_from_slice(&(self.reason.len() as u32).to_le_bytes());
        row.extend_from_slice(self.reason.as_bytes());
        row.extend_from_slice(&self.bytes);
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (kind, rest) = row.split_first()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (partition, rest) = match kind & PLACE {
            2 => rest.split_first_chunk().map(|(part, rest)| (u32::from_le_bytes(*part), rest))?,
            _ => (0, rest),
        };
        let (time_us, rest) = match kind & TIMED {
            0 => (None, rest),
            _ => {
                rest.split_first_chunk().map(|(us, rest)| (Some(i64::from_le_bytes(*us)), rest))?
            }
        };
        let (len, rest) = rest.split_first_chunk()?;
        let (reason, bytes) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(Self {
            position: (kind & PLACE > 0).then_some((partition, u64::from_le_bytes(*offset))),
            time_us,
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
    /// Files a letter's place; whether there was a letter of it.
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
    let (mut ever, mut settled) = (before, 0);
    for letter in letters {
        if let Some(position) = letter.position
            && places.insert(position, ever)?
        {
            continue;
        }
        dead.insert((number, ever), letter.encode().as_slice())?;
        ever += 1;
        if let Some(oldest) = ever.checked_sub(MAX_KEPT + 1) {
            let gone = dead.remove((number, oldest))?.map(|row| row.value().to_vec());
            settled += u64::from(gone.as_deref().is_some_and(is_settled));
            let gone = gone.and_then(|row| DeadLetter::decode(&row));
            if let Some(position) = gone.and_then(|letter| letter.position) {
                places.remove(position)?;
            }
        }
    }
    counts.insert(number, ever)?;
    if settled > 0 {
        add_gone(txn, number, |gone| gone.saturating_sub(settled))?;
    }
    Ok(ever - before)
}

/// Forgets letters that are done with, but for their places; those with a reason stay, with that
/// one.
pub(super) fn settle(
    txn: &WriteTransaction,
    stream: &str,
    outcomes: &[(u64, Option<String>)],
) -> Result<(), Trouble> {
    let found = super::stream::find(&txn.open_table(super::STREAMS)?, stream)?;
    let Some(StreamRow { number, .. }) = found else { return Ok(()) };
    let mut dead = txn.open_table(DEAD)?;
    let mut settled = 0;
    for (sequence, reason) in outcomes {
        // One that younger ones have pushed out, or that is settled already, is nothing to do.
        let row = dead.get((number, *sequence))?.map(|row| row.value().to_vec());
        let Some(row) = row.filter(|row| !is_settled(row)) else { continue };
        let Some(letter) = DeadLetter::decode(&row) else { continue };
        let row = match reason {
            Some(reason) => DeadLetter { reason: cut(reason), ..letter }.encode(),
            None => {
                settled += 1;
                let empty = DeadLetter { reason: String::new(), bytes: Vec::new(), ..letter };
                let mut row = empty.encode();
                row[0] |= SETTLED;
                row
            }
        };
        dead.insert((number, *sequence), row.as_slice())?;
    }
    add_gone(txn, number, |gone| gone + settled)
}

fn add_gone(
    txn: &WriteTransaction,
    number: u32,
    change: impl Fn(u64) -> u64,
) -> Result<(), Trouble> {
    let mut gone = txn.open_table(DEAD_GONE)?;
    let before = gone.get(number)?.map_or(0, |gone| gone.value());
    gone.insert(number, change(before))?;
    Ok(())
}

fn is_settled(row: &[u8]) -> bool {
    row.first().is_some_and(|kind| kind & SETTLED > 0)
}

/// A reason within its bound.
fn cut(reason: &str) -> String {
    let end = (0..=MAX_REASON_BYTES.min(reason.len())).rev();
    let end = end.into_iter().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    reason[..end].to_owned()
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
    let mut letters = Vec::new();
    for found in dead.range((number, from)..=(number, u64::MAX))? {
        if letters.len() >= limit {
            break;
        }
        let (at, row) = found?;
        if is_settled(row.value()) {
            continue;
        }
        let sequence = at.value().1;
        let letter = DeadLetter::decode(row.value()).ok_or_else(|| StoreError::Corrupt {
            place: format!("Dead letter {sequence} of {stream}"),
            detail: "it is cut short".to_owned(),
        })?;
        letters.push((sequence, letter));
    }
    Ok(letters)
}

pub(super) fn count(txn: &ReadTransaction, stream: &str) -> Result<DeadCount, Trouble> {
    let Some(StreamRow { number, .. }) = super::find(txn, stream)? else {
        return Ok(DeadCount::default());
    };
    let counts = txn.open_table(DEAD_COUNT)?;
    let ever = counts.get(number)?.map_or(0, |count| count.value());
    let gone = match txn.open_table(DEAD_GONE) {
        Ok(gone) => gone.get(number)?.map_or(0, |gone| gone.value()),
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(DeadCount { ever, kept: ever.min(MAX_KEPT).saturating_sub(gone) })
}
