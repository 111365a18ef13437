//! Compaction: tails that have outgrown their bound are folded into their bases.
//!
//! The fold is `core`'s; the store swaps bytes, and only if they are those that were folded.

use super::IngestError;
use super::prepare::Prepared;
use super::progress::Counts;
use crate::catalog::{Catalog, stored};
use crate::outgrown;
use std::collections::{BTreeMap, BTreeSet};
use trueup_core::{Position, fold_settled};
use trueup_store::{At, Grown, Space, Store, Swap};

/// Bytes of a tail below which a value is left alone: some fifty records, which a read folds in a
/// few microseconds.
const MIN_TAIL_BYTES: usize = 2 << 10;

/// Bytes of a tail above which a value is compacted whatever its base: a read folds no more.
const MAX_TAIL_BYTES: usize = 64 << 10;

/// A tail may grow to this share of its base, so that what compaction writes stays in proportion to
/// what is appended.
const BASE_SHARE: usize = 4;

/// Values that are read and folded at a time: bounds the memory.
const BATCH_KEYS: usize = 256;

/// Whether a value of these lengths is to be compacted.
fn outgrown(grown: &Grown) -> bool {
    let bound = (grown.base_len / BASE_SHARE).clamp(MIN_TAIL_BYTES, MAX_TAIL_BYTES);
    grown.tail_len > bound
}

/// Keys of values that have outgrown their bound, each with the number of its group.
#[derive(Debug, Default)]
pub(super) struct Outgrown {
    keys: BTreeSet<(usize, Vec<u8>)>,
}

impl Outgrown {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Those of a batch besides; `grown` says for each of its records how long its value is.
    pub(super) fn add(&mut self, catalog: &Catalog, prepared: &Prepared, grown: &[Grown]) {
        let appends = prepared.appends(catalog);
        let records = appends.iter().zip(grown).enumerate();
        let due: BTreeSet<(usize, &[u8])> = records
            .filter(|(_, (_, grown))| outgrown(grown))
            .map(|(nth, (append, _))| (prepared.group_of(nth), append.at.key))
            .collect();
        self.keys.extend(due.into_iter().map(|(group, key)| (group, key.to_vec())));
    }
}

/// Compacts these keys. Only records behind the checkpoints are folded.
///
/// # Errors
/// What the store says.
pub(super) async fn compact(
    catalog: &Catalog,
    store: &dyn Store,
    counts: &Counts,
    due: &Outgrown,
) -> Result<(), IngestError> {
    let keys = due.keys.iter();
    let due: Vec<(usize, At<'_>)> =
        keys.map(|(group, key)| (*group, At { space: catalog.space(*group), key })).collect();
    for some in due.chunks(BATCH_KEYS) {
        compact_some(catalog, store, counts, some).await?;
    }
    Ok(())
}

async fn compact_some(
    catalog: &Catalog,
    store: &dyn Store,
    counts: &Counts,
    keys: &[(usize, At<'_>)],
) -> Result<(), IngestError> {
    let ats: Vec<At<'_>> = keys.iter().map(|(_, at)| *at).collect();
    let reads = store.get(&ats).await?;
    let mut folded = Vec::with_capacity(keys.len());
    let mut cut: BTreeMap<Space, Vec<&[u8]>> = BTreeMap::new();
    for ((group, at), read) in keys.iter().zip(&reads) {
        let Some(value) = &read.value else { continue };
        // An append need not know how long the base is.
        let (base_len, tail_len) = (value.base().len(), value.tail().len());
        if !outgrown(&Grown { base_len, tail_len }) {
            continue;
        }
        let settled = |Position { source, partition, offset }: Position| {
            read.meta.offset(source, partition).is_some_and(|applied| offset <= applied)
        };
        let (plan, stored) = (catalog.plan(*group), stored(value));
        match fold_settled(plan, at.key, stored, &catalog.limits, &settled) {
            Ok(done) if done.kept.len() == tail_len => {}
            Ok(done) => {
                Counts::add(&counts.compactions, 1);
                Counts::add(&counts.duplicates, done.met.duplicates);
                Counts::add(&counts.id_conflicts, done.met.conflicts);
                Counts::add(&counts.late, done.met.late);
                Counts::add(&counts.keys_cut, u64::from(done.cut));
                if done.cut {
                    cut.entry(at.space).or_default().push(at.key);
                }
                folded.push((*at, value, read.stand.epoch, done));
            }
            // The damage stays where it is, so that reads of this key say UNKNOWN.
            Err(error) => {
                let group = &catalog.group(*group).name;
                tracing::error!(group, %error, "a value is damaged and is left as it is");
            }
        }
    }
    let swaps: Vec<Swap<'_>> = folded
        .iter()
        .map(|(at, replaced, epoch, done)| Swap {
            epoch: *epoch,
            at: *at,
            replaced,
            base: &done.base,
            kept: &done.kept,
        })
        .collect();
    crate::fault::point("compaction");
    // A swap that is refused found other bytes than were folded; the next append tries again.
    store.swap(&swaps).await?;
    for (space, keys) in cut {
        outgrown::note(store, space, &keys).await?;
    }
    Ok(())
}
