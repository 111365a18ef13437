//! Where a worker begins: the store's checkpoints held against what the log has.
//!
//! Positions count records from 1, so a checkpoint's offset is the number of records that are in
//! the state, and 0 says that the pipeline stands at the beginning of the log. The source number
//! comes from the log's birth: a log that was made anew brings other positions, and what was
//! applied from the old one is recognised as another's.

use super::IngestError;
use crate::catalog::{Catalog, StreamPart};
use trueup_store::{Checkpoint, Log, Look, Lot, Meta, Space, Stands, StreamInfo};

/// The partition that a local log's records are of: it has but one.
pub(super) const PARTITION: u32 = 0;

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
    pub(super) stands: Stands,
    /// The number of this log among the sources of positions.
    pub(super) source: u32,
    /// The offset of the next record to read.
    pub(super) next: u64,
    /// For each group of the stream, how many records are in its state.
    pub(super) applied: Vec<u64>,
    /// Since when groups that have no marker are complete, for the first batch to say.
    pub(super) markers: Vec<(usize, i64)>,
}

/// The stream in the log; made if it is not there.
pub(super) fn info(log: &Log, stream: &str) -> Result<StreamInfo, IngestError> {
    if let Some(info) = log.info(stream)? {
        return Ok(info);
    }
    log.append(stream, Lot::default())?;
    log.info(stream)?.ok_or_else(|| IngestError::NoStream { stream: stream.to_string() })
}

/// The number that positions of a log of this birth carry.
pub(super) fn source_of(birth: u64) -> u32 {
    (birth >> 32) as u32 ^ birth as u32
}

/// The groups whose next records the log does not hold, each with the reason.
pub(super) fn gaps(part: &StreamPart, look: &Look, info: StreamInfo) -> Vec<(usize, &'static str)> {
    let groups = part.groups.iter().zip(&look.metas);
    groups.filter_map(|(&group, meta)| Some((group, gap(meta, info)?))).collect()
}

/// Where to begin, for metas without a gap.
pub(super) fn begin(
    log: &Log,
    part: &StreamPart,
    look: &Look,
    info: StreamInfo,
) -> Result<Standing, IngestError> {
    let source = source_of(info.birth);
    let mut standing = Standing {
        stands: look.stands.clone(),
        source,
        next: info.end,
        applied: Vec::with_capacity(part.groups.len()),
        markers: Vec::new(),
    };
    for (&group, meta) in part.groups.iter().zip(&look.metas) {
        let applied = meta.offset(source, PARTITION).unwrap_or(info.first);
        if meta.complete_since_us.is_none() {
            standing.markers.push((group, complete_since(log, part, info)?));
        }
        standing.applied.push(applied);
        standing.next = standing.next.min(applied);
    }
    Ok(standing)
}

/// Why what comes after a group's checkpoint is not in the log.
fn gap(meta: &Meta, info: StreamInfo) -> Option<&'static str> {
    match meta.offset(source_of(info.birth), PARTITION) {
        Some(applied) if applied > info.end => Some("the log ends before the checkpoint"),
        Some(applied) if applied < info.first => Some("the log begins behind the checkpoint"),
        None if !meta.checkpoints.is_empty() => Some("the log was made anew"),
        _ => None,
    }
}

/// The event time since when a state that begins with the log's first record is complete.
///
/// A log held from its first record is the whole history. Else what is gone was admitted, so no
/// event time in it lies further ahead than the first record's log time and the bound on future
/// times.
fn complete_since(log: &Log, part: &StreamPart, info: StreamInfo) -> Result<i64, IngestError> {
    if info.first == 0 {
        return Ok(i64::MIN);
    }
    let first = log.read(&part.stream.name, info.first, 1, 1)?;
    let from = first.first().map_or(i64::MAX, |record| record.time_us);
    Ok(from.saturating_add(part.stream.future_us).saturating_add(1))
}

impl Standing {
    /// Checkpoints of all groups: everything below `records` is in the state.
    pub(super) fn checkpoints(
        &self,
        catalog: &Catalog,
        part: &StreamPart,
        records: u64,
        fresh_us: i64,
    ) -> Vec<(Space, Checkpoint)> {
        let checkpoint = |(&group, &applied): (&usize, &u64)| {
            let offset = records.max(applied);
            let checkpoint =
                Checkpoint { source: self.source, partition: PARTITION, offset, fresh_us };
            (catalog.space(group), checkpoint)
        };
        part.groups.iter().zip(&self.applied).map(checkpoint).collect()
    }
}
