//! The tails that were written lately, in memory, and the journal that brings them back.
//!
//! A row of a B-tree costs some microseconds to change, whatever little is added to it, and a batch
//! of events changes nearly as many rows as it has records. So a batch goes to the file as one
//! entry of the journal, in the transaction of its checkpoints, and to the rows in memory; a
//! hundred batches later each row is filed once, with all that came together.
//!
//! ```text
//!   journal  sequence -> checksum u64 (xxh3 of the rest, seeded by the sequence) | change ...
//!   change   kind u8 | row length u16 | data length u32 | row | data
//!            0 append: data is the records
//!            1 set:    data is the row as `tails` has it
//!            2 remove: no data
//! ```
//!
//! All little-endian. A row that is here is here whole: the one in `tails`, if there is one, is
//! older and not looked at.

use std::collections::HashMap;

use redb::ReadableTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::StoreError;
use crate::engine::Trouble;

/// What a row costs in memory beside its bytes.
const ROW_BYTES: usize = 96;

/// What a change takes beside row and data, in bytes.
const HEAD_BYTES: usize = 7;

const APPEND: u8 = 0;
const SET: u8 = 1;
const REMOVE: u8 = 2;

/// A key's row: what `tails` has of it, or will have.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) base_len: usize,
    pub(super) tail: Vec<u8>,
    /// Whether the key holds nothing.
    pub(super) gone: bool,
    /// Whether `tails` has a row of the key.
    pub(super) filed: bool,
    /// Whether it is another one than `tails` has.
    pub(super) dirty: bool,
}

impl Row {
    /// The row as `tails` has it; `None` if that is cut short.
    pub(super) fn decode(bytes: &[u8]) -> Option<Row> {
        let (len, tail) = bytes.split_first_chunk()?;
        let base_len = u32::from_le_bytes(*len) as usize;
        Some(Row { base_len, tail: tail.to_vec(), gone: false, filed: true, dirty: false })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        // Bases are at most MAX_VALUE_BYTES, far below 4 GiB.
        out.extend_from_slice(&(self.base_len as u32).to_le_bytes());
        out.extend_from_slice(&self.tail);
    }
}

/// Changes on their way into the journal.
#[derive(Debug)]
pub(super) struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    /// An entry with room for so many changes of so many bytes together, their rows included.
    pub(super) fn with_room(changes: usize, bytes: usize) -> Entry {
        let mut room = Vec::with_capacity(8 + changes * HEAD_BYTES + bytes);
        room.resize(8, 0);
        Entry { bytes: room }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == 8
    }

    pub(super) fn append<'r>(&mut self, row: &[u8], records: impl Iterator<Item = &'r [u8]>) {
        let head = self.head(APPEND, row);
        records.for_each(|record| self.bytes.extend_from_slice(record));
        self.close(head, row);
    }

    pub(super) fn set(&mut self, row: &[u8], state: &Row) {
        let head = self.head(if state.gone { REMOVE } else { SET }, row);
        if !state.gone {
            self.bytes.extend_from_slice(&(state.base_len as u32).to_le_bytes());
            self.bytes.extend_from_slice(&state.tail);
        }
        self.close(head, row);
    }

    fn head(&mut self, kind: u8, row: &[u8]) -> usize {
        self.bytes.push(kind);
        // A row is a key of at most MAX_KEY_BYTES with four bytes before it.
        self.bytes.extend_from_slice(&(row.len() as u16).to_le_bytes());
        let head = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(row);
        head
    }

    fn close(&mut self, head: usize, row: &[u8]) {
        // Values are at most MAX_VALUE_BYTES, far below 4 GiB.
        let data = (self.bytes.len() - head - 4 - row.len()) as u32;
        self.bytes[head..head + 4].copy_from_slice(&data.to_le_bytes());
    }

    /// The bytes to be journalled under `sequence`.
    pub(super) fn seal(&mut self, sequence: u64) -> &[u8] {
        let sum = xxh3_64_with_seed(&self.bytes[8..], sequence);
        self.bytes[..8].copy_from_slice(&sum.to_le_bytes());
        &self.bytes
    }
}

/// Rows in memory.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Which life of the file this belongs to; another one means that it must be restored.
    pub(super) incarnation: Option<u64>,
    rows: HashMap<Vec<u8>, Row>,
    row_bytes: usize,
    journal_bytes: usize,
    /// Of the next entry.
    pub(super) sequence: u64,
}

impl Overlay {
    pub(super) fn get(&self, row: &[u8]) -> Option<&Row> {
        self.rows.get(row)
    }

    /// All rows, in no order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u8], &Row)> {
        self.rows.iter().map(|(row, state)| (row.as_slice(), state))
    }

    /// Whether the rows are to be filed before more are taken in, if they may take so many bytes.
    pub(super) fn is_full(&self, rows_bytes: usize) -> bool {
        self.row_bytes > rows_bytes || self.journal_bytes > rows_bytes
    }

    /// Puts in a row as `tails` has it, before changes to it are applied.
    pub(super) fn load(&mut self, row: Vec<u8>, state: Row) {
        self.row_bytes += row.len() + state.tail.len() + ROW_BYTES;
        self.rows.insert(row, state);
    }

    /// Applies an entry that is in the journal. Its rows are loaded.
    pub(super) fn apply(&mut self, entry: &Entry) -> Option<()> {
        self.journal_bytes += entry.bytes.len();
        self.sequence += 1;
        let mut changes = &entry.bytes[8..];
        while let Some((kind, row, data)) = next_change(&mut changes)? {
            let held = self.rows.get_mut(row)?;
            self.row_bytes -= held.tail.len();
            match kind {
                APPEND if held.gone => {
                    *held = Row { tail: data.to_vec(), filed: held.filed, ..Row::default() };
                }
                APPEND => held.tail.extend_from_slice(data),
                SET => *held = Row { filed: held.filed, ..Row::decode(data)? },
                REMOVE => *held = Row { gone: true, filed: held.filed, ..Row::default() },
                _ => return None,
            }
            held.dirty = true;
            self.row_bytes += held.tail.len();
        }
        Some(())
    }

    /// All rows have been filed. They stay, for those who append to them next; half of them go if
    /// they take more than `rows_bytes`.
    pub(super) fn all_filed(&mut self, rows_bytes: usize) {
        self.journal_bytes = 0;
        let (all_stay, sequence) = (self.row_bytes <= rows_bytes, self.sequence);
        self.rows.retain(|row, state| {
            (state.filed, state.dirty) = (true, false);
            // Another half each time, and the same one in each run.
            let stays = all_stay || xxh3_64_with_seed(row, sequence) & 1 == 0;
            stays && !state.gone
        });
        let bytes = |(row, state): (&Vec<u8>, &Row)| row.len() + state.tail.len() + ROW_BYTES;
        self.row_bytes = self.rows.iter().map(bytes).sum();
    }

    /// Nothing is held any more.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        (self.row_bytes, self.journal_bytes) = (0, 0);
    }

    /// What the journal says, on top of what is filed.
    pub(super) fn restore(
        incarnation: u64,
        tails: &impl ReadableTable<&'static [u8], &'static [u8]>,
        journal: &impl ReadableTable<u64, &'static [u8]>,
        corrupt: impl Fn(&str) -> StoreError,
    ) -> Result<Overlay, Trouble> {
        let damaged = || corrupt("an entry of the journal is damaged");
        let mut overlay = Overlay::default();
        for found in journal.iter()? {
            let (sequence, bytes) = found?;
            let (sequence, bytes) = (sequence.value(), bytes.value());
            let (sum, body) = bytes.split_first_chunk().ok_or_else(damaged)?;
            if u64::from_le_bytes(*sum) != xxh3_64_with_seed(body, sequence) {
                return Err(damaged().into());
            }
            let mut changes = body;
            while let Some((_, row, _)) = next_change(&mut changes).ok_or_else(damaged)? {
                if overlay.get(row).is_none() {
                    let state = filed_row(tails, row, &corrupt)?;
                    overlay.load(row.to_vec(), state);
                }
            }
            overlay.sequence = sequence;
            overlay.apply(&Entry { bytes: bytes.to_vec() }).ok_or_else(damaged)?;
        }
        overlay.incarnation = Some(incarnation);
        Ok(overlay)
    }
}

/// A row as `tails` has it; one that holds nothing if it has none.
pub(super) fn filed_row(
    tails: &impl ReadableTable<&'static [u8], &'static [u8]>,
    row: &[u8],
    corrupt: &impl Fn(&str) -> StoreError,
) -> Result<Row, Trouble> {
    let Some(found) = tails.get(row)? else {
        return Ok(Row { gone: true, ..Row::default() });
    };
    let row = Row::decode(found.value()).ok_or_else(|| corrupt("a tail is cut short"))?;
    Ok(row)
}

/// A change of an entry: its kind, its row, its data.
type Change<'e> = (u8, &'e [u8], &'e [u8]);

/// The next change of an entry, if there is one; `None` if its bytes are cut short.
fn next_change<'e>(bytes: &mut &'e [u8]) -> Option<Option<Change<'e>>> {
    let Some((kind, rest)) = bytes.split_first() else { return Some(None) };
    let (row_len, rest) = rest.split_first_chunk()?;
    let (data_len, rest) = rest.split_first_chunk()?;
    let (row, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*row_len)))?;
    let (data, rest) = rest.split_at_checked(u32::from_le_bytes(*data_len) as usize)?;
    *bytes = rest;
    Some(Some((*kind, row, data)))
}
