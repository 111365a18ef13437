//! How far a stream has been applied, and what was met on the way: for waiting callers, freshness
//! and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How far a partition of a stream has been applied to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records of the log that are in the state: all with offsets below this number.
    pub records: u64,
    /// One past the last offset of the log, as it was last heard of.
    pub end: u64,
    /// As of when, wall-clock microseconds since 1970, the state had everything.
    pub fresh_us: i64,
}

/// Counters of one stream, ever growing since the process began.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events that were acknowledged because the log has them.
    pub accepted: AtomicU64,
    /// Events that became dead letters.
    pub dead_letters: AtomicU64,
    /// Fields of pushed events that the stream declares no column for.
    pub unknown_fields: AtomicU64,
    /// The same of records that the worker read from a log.
    pub unknown_fields_read: AtomicU64,
    /// Rows of a history that were read, good and bad.
    pub rows: AtomicU64,
    /// Records appended to the store: one an event and group.
    pub records: AtomicU64,
    /// Values that were compacted.
    pub compactions: AtomicU64,
    /// Events that came again with equal content, as compaction met them.
    pub duplicates: AtomicU64,
    /// Events that came with an id that was there with other content, as compaction met them.
    pub id_conflicts: AtomicU64,
    /// Events that arrived older than any frame of their key can see, as compaction met them.
    pub late: AtomicU64,
    /// Compactions that made the oldest events of a key go because it reached its bound.
    pub keys_cut: AtomicU64,
    /// Records that panicked while they were worked out, and became dead letters.
    pub panicked: AtomicU64,
    /// Records that were passed over because they had ended the process again and again.
    pub quarantined: AtomicU64,
    /// Times that the worker had to begin again from the store's checkpoints.
    pub rewinds: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        if more > 0 {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// One stream's progress, shared between its workers and those who ask.
#[derive(Debug)]
pub struct Progress {
    lanes: watch::Sender<Lanes>,
    /// What was met.
    pub counts: Counts,
    /// Rows of a history below this offset are counted: they come again after a rewind.
    pub(super) counted: AtomicU64,
    history_end: OnceLock<u64>,
}

/// How far each of a stream's workers in this process is: one, or one for each set of definitions
/// that has groups of its own.
#[derive(Debug, Default)]
struct Lanes {
    applied: BTreeMap<u64, BTreeMap<u32, Applied>>,
    /// Those whose groups are served; all, unless somebody said.
    counted: Option<BTreeSet<u64>>,
    /// What ended those that go on no more.
    ended: BTreeMap<u64, String>,
    /// By partition, one past the last record that was written here: workers ask the log for its
    /// ends now and then only.
    pushed: BTreeMap<u32, u64>,
}

impl Lanes {
    /// By partition, how far the slowest worker is whose groups are served.
    fn slowest(&self) -> BTreeMap<u32, Applied> {
        let mut slowest: BTreeMap<u32, Applied> = BTreeMap::new();
        let counts = |lane: &u64| self.counted.as_ref().is_none_or(|served| served.contains(lane));
        let counted = self.applied.iter().filter(|(lane, _)| counts(lane));
        for (&partition, &applied) in counted.flat_map(|(_, partitions)| partitions) {
            let known = slowest.entry(partition).or_insert(applied);
            known.records = known.records.min(applied.records);
            known.end = known.end.max(applied.end);
            known.fresh_us = known.fresh_us.min(applied.fresh_us);
        }
        for (partition, known) in &mut slowest {
            known.end = known.end.max(self.pushed.get(partition).copied().unwrap_or(0));
        }
        slowest
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            lanes: watch::Sender::new(Lanes::default()),
            counts: Counts::default(),
            counted: AtomicU64::new(0),
            history_end: OnceLock::new(),
        }
    }
}

impl Progress {
    /// How far the partitions that are read here have been applied, taken together: their records,
    /// and the freshness of the slowest; nothing, and 0, before the first.
    pub fn applied(&self) -> Applied {
        let partitions = self.partitions();
        Applied {
            records: sum(&partitions, |applied| applied.records),
            end: sum(&partitions, |applied| applied.end),
            fresh_us: partitions.values().map(|applied| applied.fresh_us).min().unwrap_or(0),
        }
    }

    /// One past the last row of the history, once a worker has come there.
    pub fn history_end(&self) -> Option<u64> {
        self.history_end.get().copied()
    }

    /// All rows of the history are below this.
    pub(super) fn end_history(&self, rows: u64) {
        // A history that is read again ends where it did.
        self.history_end.get_or_init(|| rows);
    }

    /// The partitions that are read here, each with how far it is.
    pub fn partitions(&self) -> BTreeMap<u32, Applied> {
        self.lanes.borrow().slowest()
    }

    /// The same of one worker alone.
    pub fn lane(&self, lane: u64) -> BTreeMap<u32, Applied> {
        self.lanes.borrow().applied.get(&lane).cloned().unwrap_or_default()
    }

    /// Only the groups of these workers are served, and of others than `there` nothing is left.
    pub fn serve(&self, served: &BTreeSet<u64>, there: &BTreeSet<u64>) {
        self.lanes.send_modify(|lanes| {
            lanes.applied.retain(|lane, _| there.contains(lane));
            lanes.ended.retain(|lane, _| there.contains(lane));
            lanes.counted = Some(served.clone());
        });
    }

    /// These are the partitions that a worker reads, and how far they are.
    pub(super) fn advance(&self, lane: u64, partitions: BTreeMap<u32, Applied>) {
        self.lanes.send_modify(|lanes| {
            lanes.applied.insert(lane, partitions);
            // One that was ended and goes on was started again.
            lanes.ended.remove(&lane);
        });
    }

    /// The log has all records of these partitions below these offsets.
    pub(super) fn written(&self, ends: &[(u32, u64)]) {
        self.lanes.send_if_modified(|lanes| {
            for &(partition, end) in ends {
                let known = lanes.pushed.entry(partition).or_default();
                *known = end.max(*known);
            }
            // Nobody waits for an end, and those who wait for records need not look again.
            false
        });
    }

    /// Why a worker goes on no more, with the remedy; none while it does.
    pub fn ended(&self, lane: u64) -> Option<String> {
        self.lanes.borrow().ended.get(&lane).cloned()
    }

    /// A worker has ended.
    pub(super) fn end(&self, lane: u64, reason: String) {
        self.lanes.send_modify(|lanes| {
            lanes.ended.insert(lane, reason);
        });
    }

    /// Returns when of each of these partitions so many records are applied; bound it with a
    /// timeout.
    pub async fn wait_for(&self, places: &[(u32, u64)]) {
        let there = |lanes: &Lanes| {
            let applied = lanes.slowest();
            places.iter().all(|(partition, records)| {
                applied.get(partition).map_or(0, |applied| applied.records) >= *records
            })
        };
        let mut watching = self.lanes.subscribe();
        // The sender lives in self, so waiting ends only with the condition.
        let _ = watching.wait_for(there).await;
    }
}

/// Offsets of some logs are made of times, and many of those exceed a number.
fn sum(partitions: &BTreeMap<u32, Applied>, of: impl Fn(&Applied) -> u64) -> u64 {
    partitions.values().map(of).fold(0, u64::saturating_add)
}

/// A bell between those who write a stream's log and its workers. Rung while nobody waits, it is
/// heard by the next wait of each.
#[derive(Debug, Default)]
pub struct Bell {
    rings: Mutex<u64>,
    ringing: Condvar,
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.ringing.notify_all();
    }

    /// Returns when it was rung more often than `heard`, or after `bound`.
    pub(super) fn wait(&self, heard: &mut u64, bound: Duration) {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ringing.wait_timeout_while(rings, bound, |rings| *rings == *heard);
        let (rings, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *heard = *rings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_here_is_behind_before_a_worker_asks_the_log_for_its_end() {
        let progress = Progress::default();
        let applied = Applied { records: 3, end: 3, fresh_us: 7 };
        progress.advance(0, [(0, applied), (1, applied)].into());
        progress.written(&[(1, 9), (2, 4)]);
        progress.written(&[(1, 5)]);
        let ends: Vec<u64> = progress.partitions().values().map(|applied| applied.end).collect();
        assert_eq!(ends, [3, 9], "and nothing of a partition that is not read here");
    }
}
