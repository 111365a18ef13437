//! Where a worker stands: the store's checkpoints held against what the log has.
//!
//! Positions count records from 1, so a checkpoint's offset is the number of records that are in
//! the state, and 0 says that the pipeline stands at the beginning of the log.

use super::backfill;
use super::source::{HISTORY, PartitionInfo};
use crate::catalog::{Catalog, StreamPart};
use std::collections::BTreeMap;
use trueup_store::{Checkpoint, Look, Meta, NEVER_US, Space, Stands};

/// What to do when the log does not hold what comes after the checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NewBeginning {
    /// Refuse to start: events would be missing without a word.
    #[default]
    Refuse,
    /// Drop that state and begin with the first record that the log has; frames that reach behind
    /// it are unknown.
    Declared,
}

/// Where the worker of one stream stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// What the store said that it is.
    pub(super) stands: Stands,
    /// The number of this log among the sources of positions.
    pub(super) source: u32,
    /// All partitions of the log, whether read here or elsewhere.
    pub(super) places: BTreeMap<u32, Place>,
    /// Since when groups that have no marker are complete, for the first write to say.
    pub(super) markers: Vec<(usize, i64)>,
}

/// Where one partition stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Whether it is read here.
    pub(super) owned: bool,
    /// The offset of the next record to read.
    pub(super) next: u64,
    /// For each group of the stream, how many records are in its state.
    pub(super) applied: Vec<u64>,
    /// As of when the state has everything of it, as far as this worker knows.
    pub(super) fresh_us: i64,
    /// One past the last offset, as the log last said.
    pub(super) end: u64,
    /// Whether the store has not heard of it.
    unheard: bool,
    /// Whether the store has been told all of the above.
    pub(super) told: bool,
    /// Whether the store has been told from here how fresh it is, so that it may be vouched for.
    vouched: bool,
}

/// The first group whose state is being built from a history, or was left so.
pub(super) fn under_way(part: &StreamPart, look: &Look) -> Option<usize> {
    let mut groups = part.groups.iter().zip(&look.metas);
    groups.find(|(_, meta)| backfill::is_under_way(meta)).map(|(&group, _)| group)
}

/// The groups whose next records the log does not hold, each with the reason.
pub(super) fn gaps(
    part: &StreamPart,
    source: u32,
    roster: &[PartitionInfo],
    look: &Look,
) -> Vec<(usize, String)> {
    let groups = part.groups.iter().zip(&look.metas);
    groups.filter_map(|(&group, meta)| Some((group, gap(meta, source, roster)?))).collect()
}

/// Why what comes after a group's checkpoints is not in the log.
pub(crate) fn gap(meta: &Meta, source: u32, roster: &[PartitionInfo]) -> Option<String> {
    let mine = |checkpoint: &&Checkpoint| checkpoint.source == source;
    if !meta.checkpoints.is_empty() && !meta.checkpoints.iter().any(|it| mine(&it)) {
        return Some("the log was made anew".to_string());
    }
    for Checkpoint { partition, offset, .. } in meta.checkpoints.iter().filter(mine) {
        let Some(info) = roster.iter().find(|info| info.partition == *partition) else {
            return Some(format!("partition {partition} of the log is gone"));
        };
        if *offset > info.end {
            return Some(format!(
                "partition {partition} of the log ends at {}, before the checkpoint at {offset}",
                info.end
            ));
        }
        if *offset < info.first {
            return Some(format!(
                "partition {partition} of the log begins at {}, behind the checkpoint at {offset}",
                info.first
            ));
        }
    }
    None
}

/// Groups with checkpoints of which nobody said since when they are complete: what a worker wrote
/// that did not know of their dropping. How such a state began is not known.
pub(super) fn orphans(part: &StreamPart, look: &Look) -> Vec<usize> {
    let groups = part.groups.iter().zip(&look.metas);
    let is_orphan = |meta: &Meta| meta.complete_since_us.is_none() && !meta.checkpoints.is_empty();
    groups.filter(|(_, meta)| is_orphan(meta)).map(|(&group, _)| group).collect()
}

impl Standing {
    /// Where to begin, for metas without a gap; `since_us` is since when a state is complete that
    /// begins with the log's first records.
    pub(super) fn begin(
        part: &StreamPart,
        source: u32,
        roster: &[PartitionInfo],
        look: Look,
        since_us: i64,
    ) -> Standing {
        let place = |info: &PartitionInfo| {
            let told = look.metas.iter().map(|meta| meta.offset(source, info.partition));
            let applied: Vec<u64> = told.map(|told| told.unwrap_or(info.first)).collect();
            let unheard =
                look.metas.iter().any(|meta| meta.offset(source, info.partition).is_none());
            let next = applied.iter().copied().min().unwrap_or(info.end);
            let place = Place {
                owned: false,
                next,
                applied,
                fresh_us: NEVER_US,
                end: info.end,
                unheard,
                told: true,
                vouched: false,
            };
            (info.partition, place)
        };
        let unmarked = part.groups.iter().zip(&look.metas);
        let unmarked = unmarked.filter(|(_, meta)| meta.complete_since_us.is_none());
        Standing {
            source,
            places: roster.iter().map(place).collect(),
            markers: unmarked.map(|(&group, _)| (group, since_us)).collect(),
            stands: look.stands,
        }
    }

    /// Where to begin in a history. Nothing is marked before its end.
    pub(super) fn fill(part: &StreamPart, look: Look) -> Standing {
        // Its end is not known before it has been read.
        let all = PartitionInfo { partition: backfill::PARTITION, first: 0, end: u64::MAX };
        let standing = Standing::begin(part, HISTORY, &[all], look, i64::MAX);
        Standing { markers: Vec::new(), ..standing }
    }

    /// Everything of a partition below an offset has come, and was so fresh.
    pub(super) fn advance(&mut self, partition: u32, next: u64, fresh_us: i64) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.next = next;
            place.fresh_us = place.fresh_us.max(fresh_us);
            place.told = false;
        }
    }

    /// From here on these partitions are read; where each begins.
    pub(super) fn own(&mut self, partitions: &[u32]) -> Vec<(u32, u64)> {
        for (partition, place) in &mut self.places {
            place.owned = partitions.contains(partition);
        }
        self.owned().map(|(partition, place)| (partition, place.next)).collect()
    }

    /// The partitions that are read here.
    pub(super) fn owned(&self) -> impl Iterator<Item = (u32, &Place)> {
        self.places.iter().filter(|(_, place)| place.owned).map(|(number, place)| (*number, place))
    }

    /// Whether there is something that the store has not been told.
    pub(super) fn is_untold(&self) -> bool {
        let untold = |place: &Place| place.unheard || (place.owned && !place.told);
        !self.markers.is_empty() || self.places.values().any(untold)
    }

    /// Whether it is known how fresh a partition that is read here is, and the store was not told.
    pub(super) fn is_unvouched(&self) -> bool {
        self.owned().any(|(_, place)| !place.vouched && place.fresh_us != NEVER_US)
    }

    /// What there is to tell the store: how far the partitions are that are read here, and that
    /// there are others which it has not heard of.
    pub(super) fn checkpoints(
        &self,
        catalog: &Catalog,
        part: &StreamPart,
    ) -> Vec<(Space, Checkpoint)> {
        let mut checkpoints = Vec::new();
        for (&partition, place) in &self.places {
            if !place.owned && !place.unheard {
                continue;
            }
            for (&group, &applied) in part.groups.iter().zip(&place.applied) {
                let (offset, fresh_us) = match place.owned {
                    true => (place.next.max(applied), place.fresh_us),
                    false => (applied, NEVER_US),
                };
                let checkpoint = Checkpoint { source: self.source, partition, offset, fresh_us };
                checkpoints.push((catalog.space(group), checkpoint));
            }
        }
        checkpoints
    }

    /// The store has been told.
    pub(super) fn told(&mut self) {
        self.markers.clear();
        for place in self.places.values_mut() {
            (place.unheard, place.told) = (false, true);
            place.vouched |= place.owned && place.fresh_us != NEVER_US;
        }
    }
}
