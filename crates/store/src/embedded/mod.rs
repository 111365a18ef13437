//! The embedded store: one file, one process, value and checkpoint in one transaction.
//!
//! ```text
//!   metas    digest (32)          -> checksum (8) | space number | marker | checkpoints (meta.rs)
//!   tails    space number, key    -> base length (4) | record | record ...
//!   bases    space number, key    -> base
//!   journal  sequence             -> changes to tails that are not filed yet      (overlay.rs)
//!   notes    name                 -> checksum (8) | note
//! ```
//!
//! Every key has a row in `tails`, filed or still in memory, which also says how long the base is,
//! for nothing. The row is as long as the tail, which compaction keeps short; the state behind it
//! may be as large as it likes.
//!
//! The life of a record: journalled in a transaction that also raises the checkpoint, and added to
//! its key's row in memory, visible at once, on disk with the next sync; filed in `tails` with
//! thousands of others when memory or journal are full; folded by the caller into a new base, and
//! swapped away.
//!
//! Buffered writes lost with the power are the last ones, whole transactions, checkpoints included:
//! the log is replayed from there. Values are guarded by their owner's checksums, metas and the
//! journal by ours.

mod meta;
mod overlay;
mod plant;
mod record;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::StoreError;
use crate::engine::{Engine, InDirectory, Options, Place, Trouble};
use crate::store::{
    Answer, Append, At, Batch, Detail, Durability, Early, Grown, Look, MAX_VALUE_BYTES, Meta,
    Plant, Read, Recorded, Space, Stand, Stats, Store, Swap, Value, check_appends, check_len,
    check_note, check_swaps, tail_after,
};
use crate::survey::{Server, Survey};
use meta::Filed;
use overlay::{Entry, Overlay, Row, filed_row};
use tables::{
    BASES, JOURNAL, METAS, NOTES, Rows, TAILS, file_note, file_rows, filed, find_meta, in_order,
    noted, row, write_metas,
};

/// The version of the layout above.
const FORMAT: u64 = 1;
/// The file's name within its directory.
const FILE: &str = "state.redb";

/// A store in one file, `state.redb`, of a directory that this process has for itself.
///
/// Locks are taken in this order: the engine's, then that of the rows in memory. A writer holds the
/// latter from just before its commit until the rows are those of the commit, and a reader while it
/// has its snapshot; so the two always belong together, and no reader waits for a disk.
#[derive(Debug)]
pub struct EmbeddedStore {
    engine: Engine,
    overlay: RwLock<Overlay>,
}

/// What a transaction will change of the rows in memory when it is committed.
struct Pending {
    /// Rows as they are filed, for those that are not in memory yet.
    loaded: Vec<(Vec<u8>, Row)>,
    entry: Entry,
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
            txn.open_table(JOURNAL)?;
            txn.open_table(NOTES)?;
            Ok(())
        })?;
        let store = Self { engine, overlay: RwLock::default() };
        store.restore()?;
        Ok(store)
    }

    fn shared(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on one snapshot and the rows in memory that belong to it.
    fn view<T>(
        &self,
        work: impl Fn(&ReadTransaction, Stand, &Overlay) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        loop {
            let lock = || self.shared();
            let done = self.engine.read_under(lock, |txn, stand, overlay| {
                if overlay.incarnation != Some(stand.incarnation) {
                    return Ok(None);
                }
                work(txn, stand, overlay).map(Some)
            })?;
            match done {
                Some(done) => return Ok(done),
                // The file was opened again, at an earlier commit.
                None => self.restore()?,
            }
        }
    }

    /// Makes the rows in memory those of the file, if they are of another life of it.
    fn restore(&self) -> Result<(), StoreError> {
        let lock = || self.exclusive();
        self.engine.read_under(lock, |txn, Stand { incarnation, .. }, overlay| {
            if overlay.incarnation != Some(incarnation) {
                let (tails, journal) = (txn.open_table(TAILS)?, txn.open_table(JOURNAL)?);
                **overlay =
                    Overlay::restore(incarnation, &tails, &journal, |what| self.corrupt(what))?;
            }
            Ok(())
        })
    }

    /// The rows in memory, as the one writer sees them.
    fn rows_within(
        &self,
        txn: &WriteTransaction,
        Stand { incarnation, .. }: Stand,
    ) -> Result<RwLockReadGuard<'_, Overlay>, Trouble> {
        if self.shared().incarnation != Some(incarnation) {
            let (tails, journal) = (txn.open_table(TAILS)?, txn.open_table(JOURNAL)?);
            *self.exclusive() =
                Overlay::restore(incarnation, &tails, &journal, |what| self.corrupt(what))?;
        }
        Ok(self.shared())
    }

    /// Runs `work` in one transaction, journals what it says and applies it to the rows in memory.
    fn change<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction, Stand, &Overlay, &mut Pending) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        if self.shared().is_full(self.engine.options().rows_bytes) {
            self.file()?;
        }
        let (done, pending, mut overlay) =
            self.engine.write(Durability::Buffered, |txn, stand| {
                let mut pending = Pending { loaded: Vec::new(), entry: Entry::with_room(0, 0) };
                let rows = self.rows_within(txn, stand)?;
                let done = work(txn, stand, &rows, &mut pending)?;
                if !pending.entry.is_empty() {
                    let sequence = rows.sequence;
                    let mut journal = txn.open_table(JOURNAL)?;
                    journal.insert(sequence, pending.entry.seal(sequence))?;
                }
                drop(rows);
                Ok((done, pending, self.exclusive()))
            })?;
        pending.loaded.into_iter().for_each(|(row, state)| overlay.load(row, state));
        if !pending.entry.is_empty() && overlay.apply(&pending.entry).is_none() {
            // Not what was journalled: whoever comes next reads the journal.
            overlay.incarnation = None;
        }
        drop(overlay);
        if durability == Durability::Synced {
            // Apart, so that no reader waits for the disk.
            self.engine.write(Durability::Synced, |_, _| Ok(()))?;
        }
        Ok(done)
    }

    /// Files all rows in memory and empties the journal. The rows mean the same before the commit
    /// and after it, so readers need not wait while its many pages are written.
    fn file(&self) -> Result<(), StoreError> {
        let filed = self.engine.write(Durability::Buffered, |txn, stand| {
            let rows = self.rows_within(txn, stand)?;
            file_rows(txn, &rows)?;
            Ok((rows.incarnation, rows.sequence))
        })?;
        let mut overlay = self.exclusive();
        if (overlay.incarnation, overlay.sequence) == filed {
            overlay.all_filed(self.engine.options().rows_bytes);
        } else {
            // Another writer came between, or the file was opened again: the journal knows.
            overlay.incarnation = None;
        }
        Ok(())
    }

    fn reads(&self, keys: &[At<'_>]) -> Result<Vec<Read>, StoreError> {
        self.view(|txn, stand, overlay| {
            let (tails, bases) = (txn.open_table(TAILS)?, txn.open_table(BASES)?);
            self.reads_in(&txn.open_table(METAS)?, &tails, &bases, (stand, overlay), keys)
        })
    }

    fn reads_in<T: ReadableTable<&'static [u8], &'static [u8]>>(
        &self,
        filings: &T,
        tails: &T,
        bases: &T,
        (stand, overlay): (Stand, &Overlay),
        keys: &[At<'_>],
    ) -> Result<Vec<Read>, Trouble> {
        let mut metas: Vec<(Space, Option<u32>, Arc<Meta>)> = Vec::new();
        let mut reads = Vec::with_capacity(keys.len());
        for at in keys {
            let known = match metas.iter().position(|(space, ..)| *space == at.space) {
                Some(known) => known,
                None => {
                    let filed = filed(filings, at.space)?;
                    let number = filed.as_ref().map(|filed| filed.number);
                    metas.push((at.space, number, Arc::new(Filed::meta(filed))));
                    metas.len() - 1
                }
            };
            let (_, number, meta) = &metas[known];
            let value = match number {
                Some(number) => self.value(overlay, tails, bases, &row(*number, at.key))?,
                None => None,
            };
            reads.push(Read { value, stand, meta: Arc::clone(meta) });
        }
        Ok(reads)
    }

    fn value(
        &self,
        overlay: &Overlay,
        tails: &impl ReadableTable<&'static [u8], &'static [u8]>,
        bases: &impl ReadableTable<&'static [u8], &'static [u8]>,
        row: &[u8],
    ) -> Result<Option<Value>, Trouble> {
        if let Some(state) = overlay.get(row) {
            let value = || self.value_of(bases, row, state.base_len, &state.tail);
            return if state.gone { Ok(None) } else { value().map(Some) };
        }
        let Some(found) = tails.get(row)? else { return Ok(None) };
        let cut_short = || self.corrupt("a tail is cut short");
        let (len, tail) = found.value().split_first_chunk().ok_or_else(cut_short)?;
        self.value_of(bases, row, u32::from_le_bytes(*len) as usize, tail).map(Some)
    }

    fn value_of(
        &self,
        bases: &impl ReadableTable<&'static [u8], &'static [u8]>,
        row: &[u8],
        base_len: usize,
        tail: &[u8],
    ) -> Result<Value, Trouble> {
        if base_len == 0 {
            return Ok(Value::new(&[], tail));
        }
        let base = bases.get(row)?.ok_or_else(|| self.corrupt("a base is missing"))?;
        if base.value().len() != base_len {
            return Err(self.corrupt("a base is not as long as its tail says").into());
        }
        Ok(Value::new(base.value(), tail))
    }

    fn corrupt(&self, detail: &str) -> StoreError {
        StoreError::Corrupt { place: self.engine.name(), detail: detail.to_owned() }
    }

    fn write(&self, batch: &Batch<'_>) -> Result<Vec<Grown>, StoreError> {
        check_appends(batch.appends)?;
        self.change(batch.durability, |txn, stand, overlay, pending| {
            batch.under.check(&[stand])?;
            let numbers = write_metas(txn, batch)?;
            let tails = txn.open_table(TAILS)?;
            let order = in_order(batch.appends, &numbers);
            let bytes = |append: &Append<'_>| 4 + append.at.key.len() + append.record.len();
            let bytes = batch.appends.iter().map(bytes).sum();
            pending.entry = Entry::with_room(order.len(), bytes);
            let mut grown = vec![Grown { base_len: 0, tail_len: 0 }; order.len()];
            for run in order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let row = row(run[0].0, run[0].1);
                let records = run.iter().map(|&(_, _, nth)| batch.appends[nth].record);
                let added = records.clone().map(<[u8]>::len).sum::<usize>();
                pending.entry.append(&row, records);
                let held = |state: &Row| (state.base_len, state.tail.len());
                let (base_len, held_len) = match overlay.get(&row) {
                    Some(state) => held(state),
                    None => {
                        let state = filed_row(&tails, &row, &|what| self.corrupt(what))?;
                        let lens = held(&state);
                        pending.loaded.push((row, state));
                        lens
                    }
                };
                let done = Grown { base_len, tail_len: held_len + added };
                check_len("tail", done.tail_len, MAX_VALUE_BYTES)?;
                run.iter().for_each(|&(_, _, nth)| grown[nth] = done);
            }
            Ok(grown)
        })
    }

    fn swap_all(&self, swaps: &[Swap<'_>]) -> Result<Vec<bool>, StoreError> {
        check_swaps(swaps)?;
        self.change(Durability::Buffered, |txn, stand, overlay, pending| {
            let metas = txn.open_table(METAS)?;
            let tails = txn.open_table(TAILS)?;
            let mut bases = txn.open_table(BASES)?;
            // What this call has swapped already.
            let mut swapped: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
            let mut done = Vec::with_capacity(swaps.len());
            for swap in swaps {
                let Some(filed) =
                    filed(&metas, swap.at.space)?.filter(|_| swap.epoch == stand.epoch)
                else {
                    done.push(false);
                    continue;
                };
                let row = row(filed.number, swap.at.key);
                let state = match swapped.get(&row).or_else(|| overlay.get(&row)) {
                    Some(state) => state.clone(),
                    None => {
                        let state = filed_row(&tails, &row, &|what| self.corrupt(what))?;
                        pending.loaded.push((row.clone(), state.clone()));
                        state
                    }
                };
                let after = self.swap_one(&mut bases, &row, &state, swap)?;
                done.push(after.is_some());
                if let Some(after) = after {
                    pending.entry.set(&row, &after);
                    swapped.insert(row, after);
                }
            }
            Ok(done)
        })
    }

    /// Puts the base in; `None` if the value is not the one that was folded.
    fn swap_one(
        &self,
        bases: &mut Rows<'_>,
        row: &[u8],
        state: &Row,
        swap: &Swap<'_>,
    ) -> Result<Option<Row>, Trouble> {
        if state.gone {
            return Ok(None);
        }
        let value = self.value_of(bases, row, state.base_len, &state.tail)?;
        let Some(tail) = tail_after(swap, value.base(), value.tail()) else { return Ok(None) };
        check_len("tail", tail.len(), MAX_VALUE_BYTES)?;
        if swap.base.is_empty() {
            bases.remove(row)?;
        } else {
            bases.insert(row, swap.base)?;
        }
        let gone = swap.base.is_empty() && tail.is_empty();
        Ok(Some(Row { base_len: swap.base.len(), tail, gone, ..state.clone() }))
    }

    fn forget(&self, space: Space) -> Result<(), StoreError> {
        let mut overlay = self.engine.write(Durability::Buffered, |txn, stand| {
            let rows = self.rows_within(txn, stand)?;
            // The journal would bring rows of the space back.
            file_rows(txn, &rows)?;
            drop(rows);
            let mut metas = txn.open_table(METAS)?;
            if let Some(filed) = filed(&metas, space)? {
                metas.remove(&space.as_bytes()[..])?;
                let first = filed.number.to_be_bytes();
                for table in [TAILS, BASES] {
                    let mut rows = txn.open_table(table)?;
                    match filed.number.checked_add(1).map(u32::to_be_bytes) {
                        Some(end) => rows.retain_in(&first[..]..&end[..], |_, _| false)?,
                        None => rows.retain_in(&first[..].., |_, _| false)?,
                    }
                }
            }
            Ok(self.exclusive())
        })?;
        overlay.clear();
        Ok(())
    }

    fn walk(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.view(|txn, _, overlay| {
            let Some(filed) = find_meta(txn, space)? else { return Ok(Vec::new()) };
            // The least key after `after` is `after` and a zero byte.
            let mut from = row(filed.number, after.unwrap_or_default());
            if after.is_some() {
                from.push(0);
            }
            let number = filed.number.to_be_bytes();
            let key = |row: &[u8]| row[number.len()..].to_vec();
            let wanted = |row: &[u8]| row.starts_with(&number) && row >= from.as_slice();
            let live = overlay.rows().filter(|(row, state)| wanted(row) && !state.gone);
            let mut live: Vec<&[u8]> = live.map(|(row, _)| row).collect();
            live.sort_unstable();
            let mut keys: BTreeSet<Vec<u8>> = live.into_iter().take(limit).map(key).collect();
            let tails = txn.open_table(TAILS)?;
            let mut left = limit;
            for found in tails.range(from.as_slice()..)? {
                let (row, _) = found?;
                if left == 0 || !row.value().starts_with(&number) {
                    break;
                }
                // Rows in memory are counted above.
                if overlay.get(row.value()).is_none() {
                    keys.insert(key(row.value()));
                    left -= 1;
                }
            }
            Ok(keys.into_iter().take(limit).collect())
        })
    }

    fn count(&self) -> Result<u64, StoreError> {
        self.view(|txn, _, overlay| {
            let mut keys = txn.open_table(TAILS)?.len()?;
            for (_, state) in overlay.rows() {
                match (state.filed, state.gone) {
                    (true, true) => keys -= 1,
                    (false, false) => keys += 1,
                    _ => {}
                }
            }
            Ok(keys)
        })
    }
}

impl Store for EmbeddedStore {
    fn read<'a>(&'a self, keys: &'a [At<'a>], _: Detail) -> Answer<'a, Vec<Read>> {
        Box::pin(async move { self.reads(keys) })
    }

    fn record<'a>(
        &'a self,
        keys: &'a [At<'a>],
        early: &'a Early<'a>,
        _: Detail,
    ) -> Answer<'a, Recorded> {
        Box::pin(async move { self.record_all(keys, early) })
    }

    fn writes_block(&self) -> bool {
        true
    }

    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look> {
        Box::pin(async move {
            self.engine.read(|txn, stand| {
                let meta = |space: &Space| Ok(Filed::meta(find_meta(txn, *space)?));
                let metas = spaces.iter().map(meta).collect::<Result<_, Trouble>>()?;
                Ok(Look { stands: stand.into(), metas })
            })
        })
    }

    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>> {
        Box::pin(async move { self.write(batch) })
    }

    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>> {
        Box::pin(async move { self.swap_all(swaps) })
    }

    fn plant<'a>(&'a self, plant: &'a Plant<'a>) -> Answer<'a, bool> {
        Box::pin(async move { self.plant_one(plant) })
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

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(
            async move { self.engine.read(|txn, _: Stand| noted(&txn.open_table(NOTES)?, name)) },
        )
    }

    fn set_note<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            check_note(name, bytes)?;
            self.engine.write(Durability::Synced, |txn, _| {
                if noted(&txn.open_table(NOTES)?, name)?.as_deref() != expected {
                    return Ok(false);
                }
                file_note(txn, name, bytes)?;
                Ok(true)
            })
        })
    }

    fn sync(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.engine.write(Durability::Synced, |_, _| Ok(())) })
    }

    fn stats(&self) -> Answer<'_, Stats> {
        Box::pin(
            async move { Ok(Stats { keys: self.count()?, disk_bytes: self.engine.disk_bytes() }) },
        )
    }

    fn survey<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Survey> {
        Box::pin(async move {
            let server = Server {
                place: self.engine.name(),
                software: concat!("Trueup ", env!("CARGO_PKG_VERSION")).to_owned(),
                used_bytes: Some(self.engine.disk_bytes()),
                limit_bytes: None,
            };
            Ok(Survey::of_one(server, "one file", self.look(spaces).await?))
        })
    }
}
