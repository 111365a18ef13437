//! The embedded store: one file, one process, value and checkpoint in one transaction.
//!
//! ```text
//!   metas   digest (32)          -> checksum (8) | space number | marker | checkpoints (meta.rs)
//!   tails   space number, key    -> base length (4) | record | record ...
//!   bases   space number, key    -> base
//! ```
//!
//! Every key has a row in `tails`, so an append reads and writes one row, whose size is that of the
//! tail, which compaction keeps short; the state behind it may be as large as it likes. The row
//! also says how long the base is, for nothing.
//!
//! The life of a record: appended to the tail's row in a transaction that also raises the
//! checkpoint, visible at once, on disk with the next sync; folded by the caller into a new base,
//! and swapped away.
//!
//! Buffered writes lost with the power are the last ones, whole transactions, checkpoints included:
//! the log is replayed from there. Values are guarded by their owner's checksums, metas by ours.

mod meta;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition};
use redb::{Table, WriteTransaction};

use crate::StoreError;
use crate::engine::{Engine, InDirectory, Options, Place, Trouble};
use crate::store::{
    Answer, At, Batch, Durability, Grown, Look, MAX_VALUE_BYTES, Meta, Read, Space, Stand, Stats,
    Store, Swap, Value, check_batch, check_len, check_swaps, tail_after,
};
use meta::Filed;

/// The version of the layout above.
const FORMAT: u64 = 1;
/// The file's name within its directory.
const FILE: &str = "state.redb";

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
const METAS: Bytes = TableDefinition::new("metas");
const TAILS: Bytes = TableDefinition::new("tails");
const BASES: Bytes = TableDefinition::new("bases");

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// A store in one file, `state.redb`, of a directory that this process has for itself.
#[derive(Debug)]
pub struct EmbeddedStore {
    engine: Engine,
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] with the process that has it, [`StoreError::Open`],
    /// [`StoreError::Format`], [`StoreError::Corrupt`], and the disk's.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::on(Box::new(InDirectory::new(dir, FILE)), options)
    }

    /// Opens the store on a disk of the caller's making.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    #[cfg(feature = "testing")]
    pub fn open_on(place: Box<dyn Place>, options: Options) -> Result<Self, StoreError> {
        Self::on(place, options)
    }

    fn on(place: Box<dyn Place>, options: Options) -> Result<Self, StoreError> {
        let engine = Engine::open(place, options, FORMAT, |txn| {
            for table in [METAS, TAILS, BASES] {
                txn.open_table(table)?;
            }
            Ok(())
        })?;
        Ok(Self { engine })
    }

    fn read(&self, keys: &[At<'_>]) -> Result<Vec<Read>, StoreError> {
        self.engine.read(|txn, stand| {
            let (tails, bases) = (txn.open_table(TAILS)?, txn.open_table(BASES)?);
            let filings = txn.open_table(METAS)?;
            let mut metas: Vec<(Space, Option<u32>, Arc<Meta>)> = Vec::new();
            let mut reads = Vec::with_capacity(keys.len());
            for at in keys {
                let known = match metas.iter().position(|(space, ..)| *space == at.space) {
                    Some(known) => known,
                    None => {
                        let filed = filed(&filings, at.space)?;
                        let number = filed.as_ref().map(|filed| filed.number);
                        metas.push((at.space, number, Arc::new(Filed::meta(filed, stand))));
                        metas.len() - 1
                    }
                };
                let (_, number, meta) = &metas[known];
                let value = match number {
                    Some(number) => self.value(&tails, &bases, &row(*number, at.key))?,
                    None => None,
                };
                reads.push(Read { value, meta: Arc::clone(meta) });
            }
            Ok(reads)
        })
    }

    fn value(
        &self,
        tails: &impl ReadableTable<&'static [u8], &'static [u8]>,
        bases: &impl ReadableTable<&'static [u8], &'static [u8]>,
        row: &[u8],
    ) -> Result<Option<Value>, Trouble> {
        let Some(found) = tails.get(row)? else { return Ok(None) };
        let (base_len, tail) = self.split(found.value())?;
        if base_len == 0 {
            return Ok(Some(Value::new(&[], tail)));
        }
        let base = bases.get(row)?.ok_or_else(|| self.corrupt("a base is missing"))?;
        if base.value().len() != base_len {
            return Err(self.corrupt("a base is not as long as its tail says").into());
        }
        Ok(Some(Value::new(base.value(), tail)))
    }

    /// A row of `tails`: the length of the base, and the records.
    fn split<'r>(&self, found: &'r [u8]) -> Result<(usize, &'r [u8]), StoreError> {
        let (len, tail) =
            found.split_first_chunk().ok_or_else(|| self.corrupt("a tail is cut short"))?;
        Ok((u32::from_le_bytes(*len) as usize, tail))
    }

    fn corrupt(&self, detail: &str) -> StoreError {
        StoreError::Corrupt { place: self.engine.name(), detail: detail.to_owned() }
    }

    fn write(&self, batch: &Batch<'_>) -> Result<Vec<Grown>, StoreError> {
        check_batch(batch)?;
        self.engine.write(batch.durability, |txn, stand| {
            if batch.under != stand {
                return Err(StoreError::Rewound { known: batch.under, found: stand }.into());
            }
            let numbers = write_metas(txn, batch)?;
            let mut tails = txn.open_table(TAILS)?;
            let mut order: Vec<usize> = (0..batch.appends.len()).collect();
            order.sort_by_key(|&nth| batch.appends[nth].at);
            let mut grown = vec![Grown { base_len: 0, tail_len: 0 }; order.len()];
            let mut scratch = Vec::new();
            for run in order.chunk_by(|&a, &b| batch.appends[a].at == batch.appends[b].at) {
                let at = batch.appends[run[0]].at;
                let records = run.iter().map(|&nth| batch.appends[nth].record);
                let row = row(numbers[&at.space], at.key);
                let done = self.append_to(&mut tails, &row, records, &mut scratch)?;
                run.iter().for_each(|&nth| grown[nth] = done);
            }
            Ok(grown)
        })
    }

    fn append_to<'r>(
        &self,
        tails: &mut Rows<'_>,
        row: &[u8],
        records: impl Iterator<Item = &'r [u8]>,
        scratch: &mut Vec<u8>,
    ) -> Result<Grown, Trouble> {
        scratch.clear();
        match tails.get(row)? {
            Some(found) => scratch.extend_from_slice(found.value()),
            None => scratch.extend_from_slice(&0_u32.to_le_bytes()),
        }
        records.for_each(|record| scratch.extend_from_slice(record));
        let (base_len, tail) = self.split(scratch)?;
        let grown = Grown { base_len, tail_len: tail.len() };
        check_len("tail", grown.tail_len, MAX_VALUE_BYTES)?;
        tails.insert(row, scratch.as_slice())?;
        Ok(grown)
    }

    fn swap_all(&self, swaps: &[Swap<'_>]) -> Result<Vec<bool>, StoreError> {
        check_swaps(swaps)?;
        self.engine.write(Durability::Buffered, |txn, stand| {
            let metas = txn.open_table(METAS)?;
            let mut tails = txn.open_table(TAILS)?;
            let mut bases = txn.open_table(BASES)?;
            let mut done = Vec::with_capacity(swaps.len());
            for swap in swaps {
                let filed = filed(&metas, swap.at.space)?;
                let swapped = match filed {
                    Some(filed) if swap.epoch == stand.epoch => {
                        self.swap_one(&mut tails, &mut bases, filed.number, swap)?
                    }
                    _ => false,
                };
                done.push(swapped);
            }
            Ok(done)
        })
    }

    fn swap_one(
        &self,
        tails: &mut Rows<'_>,
        bases: &mut Rows<'_>,
        number: u32,
        swap: &Swap<'_>,
    ) -> Result<bool, Trouble> {
        let row = row(number, swap.at.key);
        let Some(value) = self.value(tails, bases, &row)? else { return Ok(false) };
        let Some(tail) = tail_after(swap, value.base(), value.tail()) else { return Ok(false) };
        check_len("tail", tail.len(), MAX_VALUE_BYTES)?;
        if swap.base.is_empty() {
            bases.remove(row.as_slice())?;
        } else {
            bases.insert(row.as_slice(), swap.base)?;
        }
        if swap.base.is_empty() && tail.is_empty() {
            tails.remove(row.as_slice())?;
        } else {
            // Bases are at most MAX_VALUE_BYTES, far below 4 GiB.
            let base_len = (swap.base.len() as u32).to_le_bytes();
            tails.insert(row.as_slice(), [&base_len[..], &tail].concat().as_slice())?;
        }
        Ok(true)
    }

    fn forget(&self, space: Space) -> Result<(), StoreError> {
        self.engine.write(Durability::Buffered, |txn, _| {
            let mut metas = txn.open_table(METAS)?;
            let Some(filed) = filed(&metas, space)? else { return Ok(()) };
            metas.remove(&space.as_bytes()[..])?;
            let first = filed.number.to_be_bytes();
            for table in [TAILS, BASES] {
                let mut rows = txn.open_table(table)?;
                match filed.number.checked_add(1).map(u32::to_be_bytes) {
                    Some(end) => rows.retain_in(&first[..]..&end[..], |_, _| false)?,
                    None => rows.retain_in(&first[..].., |_, _| false)?,
                }
            }
            Ok(())
        })
    }

    fn walk(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.engine.read(|txn, _| {
            let Some(filed) = find_meta(txn, space)? else { return Ok(Vec::new()) };
            let tails = txn.open_table(TAILS)?;
            // The least key after `after` is `after` and a zero byte.
            let mut from = row(filed.number, after.unwrap_or_default());
            if after.is_some() {
                from.push(0);
            }
            let number = filed.number.to_be_bytes();
            let mut keys = Vec::new();
            for found in tails.range(from.as_slice()..)?.take(limit) {
                let (row, _) = found?;
                match row.value().strip_prefix(&number[..]) {
                    Some(key) => keys.push(key.to_vec()),
                    None => break,
                }
            }
            Ok(keys)
        })
    }
}

/// The row of a key in `tails` and `bases`; rows of one space stand together.
fn row(number: u32, key: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], key].concat()
}

fn filed(
    metas: &impl ReadableTable<&'static [u8], &'static [u8]>,
    space: Space,
) -> Result<Option<Filed>, Trouble> {
    let Some(bytes) = metas.get(&space.as_bytes()[..])? else { return Ok(None) };
    Ok(Some(Filed::decode(space, bytes.value())?))
}

fn find_meta(txn: &ReadTransaction, space: Space) -> Result<Option<Filed>, Trouble> {
    filed(&txn.open_table(METAS)?, space)
}

/// Writes the metas that a batch touches, and returns the number of each space in it.
fn write_metas(txn: &WriteTransaction, batch: &Batch<'_>) -> Result<BTreeMap<Space, u32>, Trouble> {
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
    for (space, since_us) in batch.markers {
        if let Some((filed, changed)) = touched.get_mut(space) {
            filed.meta.complete_since_us = *since_us;
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
fn next_number(metas: &Rows<'_>, touched: &BTreeMap<Space, (Filed, bool)>) -> Result<u32, Trouble> {
    let mut next = touched.values().map(|(filed, _)| filed.number + 1).max().unwrap_or(0);
    for found in metas.iter()? {
        let (space, bytes) = found?;
        next = next.max(Filed::decode(meta::space_of(space.value())?, bytes.value())?.number + 1);
    }
    Ok(next)
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, keys: &'a [At<'a>]) -> Answer<'a, Vec<Read>> {
        Box::pin(async move { self.read(keys) })
    }

    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look> {
        Box::pin(async move {
            self.engine.read(|txn, stand| {
                let meta = |space: &Space| Ok(Filed::meta(find_meta(txn, *space)?, stand));
                let metas = spaces.iter().map(meta).collect::<Result<_, Trouble>>()?;
                Ok(Look { stand, metas })
            })
        })
    }

    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>> {
        Box::pin(async move { self.write(batch) })
    }

    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>> {
        Box::pin(async move { self.swap_all(swaps) })
    }

    fn drop_space<'a>(&'a self, space: Space) -> Answer<'a, ()> {
        Box::pin(async move { self.forget(space) })
    }

    fn spaces(&self) -> Answer<'_, Vec<Space>> {
        Box::pin(async move {
            self.engine.read(|txn, _: Stand| {
                let metas = txn.open_table(METAS)?;
                let rows = metas.iter()?;
                rows.map(|found| Ok(meta::space_of(found?.0.value())?)).collect()
            })
        })
    }

    fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(async move { self.walk(space, after, limit) })
    }

    fn sync(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.engine.write(Durability::Synced, |_, _| Ok(())) })
    }

    fn stats(&self) -> Answer<'_, Stats> {
        Box::pin(async move {
            let keys = self.engine.read(|txn, _| Ok(txn.open_table(TAILS)?.len()?))?;
            Ok(Stats { keys, disk_bytes: self.engine.disk_bytes() })
        })
    }
}
