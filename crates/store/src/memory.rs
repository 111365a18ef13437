//! The store in memory: for tests, for `memory:` and as the plainest reading of the contract.
//! Nothing survives the process.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::StoreError;
use crate::store::{
    Answer, Append, At, Batch, Detail, Early, Grown, Look, MAX_VALUE_BYTES, Meta, Plant, Read,
    Recorded, Space, Stand, Stats, Store, Swap, Value, check_appends, check_len, check_note,
    check_plant, check_swaps, random_u64, tail_after,
};
use crate::survey::{Server, Survey};

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    stand: Stand,
    held: Mutex<BTreeMap<Space, Held>>,
    notes: Mutex<BTreeMap<String, Vec<u8>>>,
}

#[derive(Debug, Clone, Default)]
struct Held {
    meta: Meta,
    values: BTreeMap<Vec<u8>, Value>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let stand = Stand { epoch: random_u64(), incarnation: random_u64() };
        Self { stand, held: Mutex::default(), notes: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Space, Held>> {
        // No verb leaves the map half written: each checks first and then cannot fail.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reads(&self, held: &BTreeMap<Space, Held>, keys: &[At<'_>]) -> Vec<Read> {
        let mut metas: BTreeMap<Space, Arc<Meta>> = BTreeMap::new();
        keys.iter()
            .map(|at| {
                let space = held.get(&at.space);
                let meta = metas.entry(at.space).or_insert_with(|| {
                    Arc::new(space.map_or_else(Meta::default, |space| space.meta.clone()))
                });
                let value = space.and_then(|space| space.values.get(at.key).cloned());
                Read { value, stand: self.stand, meta: Arc::clone(meta) }
            })
            .collect()
    }

    fn record_all(&self, keys: &[At<'_>], early: &Early<'_>) -> Result<Recorded, StoreError> {
        check_appends(early.appends)?;
        let mut held = self.held();
        let reads = self.reads(&held, keys);
        let append = |append: &Append<'_>| {
            let space = held.get_mut(&append.at.space).filter(|space| space.meta.is_begun());
            let Some(space) = space else { return false };
            let len = space.values.get(append.at.key).map_or(0, Value::size);
            let fits = len + append.record.len() <= early.room;
            if fits {
                space.values.entry(append.at.key.to_vec()).or_default().push(append.record);
            }
            fits
        };
        Ok(Recorded { reads, appended: early.appends.iter().map(append).collect() })
    }

    fn write(&self, batch: &Batch<'_>) -> Result<Vec<Grown>, StoreError> {
        check_appends(batch.appends)?;
        batch.under.check(&[self.stand])?;
        let mut held = self.held();
        check_tails(&held, batch)?;
        for append in batch.appends {
            let space = held.entry(append.at.space).or_default();
            space.values.entry(append.at.key.to_vec()).or_default().push(append.record);
        }
        for (space, said) in batch.checkpoints {
            held.entry(*space).or_default().meta.raise(*said);
        }
        for (space, marker) in batch.markers {
            held.entry(*space).or_default().meta.mark(*marker);
        }
        let grown = batch.appends.iter().map(|append| {
            let value = &held[&append.at.space].values[append.at.key];
            Grown { base_len: value.base().len(), tail_len: value.tail().len() }
        });
        Ok(grown.collect())
    }

    fn swap_one(&self, swap: &Swap<'_>) -> bool {
        if swap.epoch != self.stand.epoch {
            return false;
        }
        let mut held = self.held();
        let Some(space) = held.get_mut(&swap.at.space) else { return false };
        let Some(value) = space.values.get_mut(swap.at.key) else { return false };
        let Some(tail) = tail_after(swap, value.base(), value.tail()) else { return false };
        *value = Value::new(swap.base, &tail);
        if swap.base.is_empty() && tail.is_empty() {
            space.values.remove(swap.at.key);
        }
        true
    }

    fn plant_one(&self, plant: &Plant<'_>) -> bool {
        let mut held = self.held();
        let is_there = |space: &Held| space.values.contains_key(plant.at.key);
        if plant.epoch != self.stand.epoch || held.get(&plant.at.space).is_some_and(is_there) {
            return false;
        }
        let values = &mut held.entry(plant.at.space).or_default().values;
        values.insert(plant.at.key.to_vec(), Value::new(plant.base, &[]));
        true
    }
}

/// Refuses a batch that would make any tail too long.
fn check_tails(held: &BTreeMap<Space, Held>, batch: &Batch<'_>) -> Result<(), StoreError> {
    let mut tails: BTreeMap<At<'_>, usize> = BTreeMap::new();
    for append in batch.appends {
        let tail_len = tails.entry(append.at).or_insert_with(|| {
            let value =
                held.get(&append.at.space).and_then(|space| space.values.get(append.at.key));
            value.map_or(0, |value| value.tail().len())
        });
        *tail_len += append.record.len();
        check_len("tail", *tail_len, MAX_VALUE_BYTES)?;
    }
    Ok(())
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn read<'a>(&'a self, keys: &'a [At<'a>], _: Detail) -> Answer<'a, Vec<Read>> {
        Box::pin(async move { Ok(self.reads(&self.held(), keys)) })
    }

    fn record<'a>(
        &'a self,
        keys: &'a [At<'a>],
        early: &'a Early<'a>,
        _: Detail,
    ) -> Answer<'a, Recorded> {
        Box::pin(async move { self.record_all(keys, early) })
    }

    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look> {
        Box::pin(async move {
            let held = self.held();
            let meta = |space| held.get(space).map_or_else(Meta::default, |held| held.meta.clone());
            Ok(Look { stands: self.stand.into(), metas: spaces.iter().map(meta).collect() })
        })
    }

    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>> {
        Box::pin(async move { self.write(batch) })
    }

    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>> {
        Box::pin(async move {
            check_swaps(swaps)?;
            Ok(swaps.iter().map(|swap| self.swap_one(swap)).collect())
        })
    }

    fn plant<'a>(&'a self, plant: &'a Plant<'a>) -> Answer<'a, bool> {
        Box::pin(async move {
            check_plant(plant)?;
            Ok(self.plant_one(plant))
        })
    }

    fn drop_space<'a>(&'a self, space: Space) -> Answer<'a, ()> {
        Box::pin(async move {
            self.held().remove(&space);
            Ok(())
        })
    }

    fn spaces(&self) -> Answer<'_, Vec<Space>> {
        Box::pin(async move { Ok(self.held().keys().copied().collect()) })
    }

    fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(async move {
            let held = self.held();
            let keys = held.get(&space).into_iter().flat_map(|space| space.values.keys());
            let later = keys.filter(|key| after.is_none_or(|after| key.as_slice() > after));
            Ok(later.take(limit).cloned().collect())
        })
    }

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.notes().get(name).cloned()) })
    }

    fn set_note<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            check_note(name, bytes)?;
            let mut notes = self.notes();
            if notes.get(name).map(Vec::as_slice) != expected {
                return Ok(false);
            }
            notes.insert(name.to_owned(), bytes.to_vec());
            Ok(true)
        })
    }

    fn sync(&self) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn stats(&self) -> Answer<'_, Stats> {
        Box::pin(async move {
            let keys = self.held().values().map(|space| space.values.len() as u64).sum();
            Ok(Stats { keys, disk_bytes: 0 })
        })
    }

    fn survey<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Survey> {
        Box::pin(async move {
            let server = Server {
                place: "memory".to_owned(),
                software: concat!("Trueup ", env!("CARGO_PKG_VERSION")).to_owned(),
                used_bytes: None,
                limit_bytes: None,
            };
            Ok(Survey::of_one(server, "in the process", self.look(spaces).await?))
        })
    }
}
