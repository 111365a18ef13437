//! The tables of the file, and what is done to several rows of them at once.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::meta::{self, Filed};
use super::overlay::Overlay;
use crate::StoreError;
use crate::engine::Trouble;
use crate::store::{Append, Batch, Space};

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub(super) const METAS: Bytes = TableDefinition::new("metas");
pub(super) const TAILS: Bytes = TableDefinition::new("tails");
pub(super) const BASES: Bytes = TableDefinition::new("bases");
pub(super) const JOURNAL: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("journal");
pub(super) const NOTES: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("notes");

pub(super) type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Appends by row, those of one row in the order of their appending: number of the
/// space, key, place among them.
pub(super) fn in_order<'b>(
    appends: &[Append<'b>],
    numbers: &BTreeMap<Space, u32>,
) -> Vec<(u32, &'b [u8], usize)> {
    // Spaces are few, and a search among digests would cost more than the rest.
    let numbers: Vec<(Space, u32)> = numbers.iter().map(|(space, nr)| (*space, *nr)).collect();
    let number = |space: Space| numbers.iter().find(|(other, _)| *other == space);
    let appends = appends.iter().enumerate();
    let places =
        appends.filter_map(|(nth, append)| Some((number(append.at.space)?.1, append.at.key, nth)));
    let mut order: Vec<_> = places.collect();
    order.sort_unstable();
    order
}

/// What is noted under a name.
pub(super) fn noted(
    notes: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<Vec<u8>>, Trouble> {
    let Some(found) = notes.get(name)? else { return Ok(None) };
    let sealed = found.value().split_first_chunk();
    match sealed.filter(|(sum, note)| u64::from_le_bytes(**sum) == note_sum(name, note)) {
        Some((_, note)) => Ok(Some(note.to_vec())),
        None => Err(StoreError::Corrupt {
            place: format!("The note {name}"),
            detail: "the checksum does not fit".to_owned(),
        }
        .into()),
    }
}

/// Notes something, behind its checksum.
pub(super) fn file_note(txn: &WriteTransaction, name: &str, note: &[u8]) -> Result<(), Trouble> {
    let sealed = [&note_sum(name, note).to_le_bytes()[..], note].concat();
    txn.open_table(NOTES)?.insert(name, sealed.as_slice())?;
    Ok(())
}

fn note_sum(name: &str, note: &[u8]) -> u64 {
    xxh3_64_with_seed(note, xxh3_64(name.as_bytes()))
}

/// Files rows, in order, and empties the journal.
pub(super) fn file_rows(txn: &WriteTransaction, overlay: &Overlay) -> Result<(), Trouble> {
    let mut tails = txn.open_table(TAILS)?;
    let mut bytes = Vec::new();
    let mut rows: Vec<_> = overlay.rows().filter(|(_, state)| state.dirty).collect();
    rows.sort_unstable_by_key(|(row, _)| *row);
    for (row, state) in rows {
        if state.gone {
            tails.remove(row)?;
        } else {
            state.encode(&mut bytes);
            tails.insert(row, bytes.as_slice())?;
        }
    }
    txn.open_table(JOURNAL)?.retain(|_, _| false)?;
    Ok(())
}

/// The row of a key in `tails` and `bases`; rows of one space stand together.
pub(super) fn row(number: u32, key: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], key].concat()
}

pub(super) fn filed(
    metas: &impl ReadableTable<&'static [u8], &'static [u8]>,
    space: Space,
) -> Result<Option<Filed>, Trouble> {
    let Some(bytes) = metas.get(&space.as_bytes()[..])? else { return Ok(None) };
    Ok(Some(Filed::decode(space, bytes.value())?))
}

pub(super) fn find_meta(txn: &ReadTransaction, space: Space) -> Result<Option<Filed>, Trouble> {
    filed(&txn.open_table(METAS)?, space)
}

/// Writes the metas that a batch touches, and returns the number of each space in it.
pub(super) fn write_metas(
    txn: &WriteTransaction,
    batch: &Batch<'_>,
) -> Result<BTreeMap<Space, u32>, Trouble> {
    let mut metas = txn.open_table(METAS)?;
    let mut touched: BTreeMap<Space, (Filed, bool)> = BTreeMap::new();
    let appended = batch.appends.iter().map(|append| append.at.space);
    let said = batch.checkpoints.iter().map(|(space, _)| *space);
    let marked = batch.markers.iter().map(|(space, _)| *space);
    let mut last = None;
    for space in appended.chain(said).chain(marked) {
        if last.replace(space) == Some(space) || touched.contains_key(&space) {
            continue;
        }
        let (filed, new) = match filed(&metas, space)? {
            Some(filed) => (filed, false),
            None => (Filed::new(next_number(&metas, &touched)?), true),
        };
        touched.insert(space, (filed, new));
    }
    for (space, checkpoint) in batch.checkpoints {
        if let Some((filed, changed)) = touched.get_mut(space) {
            filed.meta.raise(*checkpoint);
            *changed = true;
        }
    }
    for (space, marker) in batch.markers {
        if let Some((filed, changed)) = touched.get_mut(space) {
            filed.meta.mark(*marker);
            *changed = true;
        }
    }
    for (space, (filed, changed)) in &touched {
        if *changed {
            metas.insert(&space.as_bytes()[..], filed.encode(*space).as_slice())?;
        }
    }
    Ok(touched.into_iter().map(|(space, (filed, _))| (space, filed.number)).collect())
}

/// A number that no space has. Spaces are few, and new ones rare.
pub(super) fn next_number(
    metas: &Rows<'_>,
    touched: &BTreeMap<Space, (Filed, bool)>,
) -> Result<u32, Trouble> {
    let mut next = touched.values().map(|(filed, _)| filed.number + 1).max().unwrap_or(0);
    for found in metas.iter()? {
        let (space, bytes) = found?;
        next = next.max(Filed::decode(meta::space_of(space.value())?, bytes.value())?.number + 1);
    }
    Ok(next)
}
