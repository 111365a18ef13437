//! What a backfill writes down in the store before it writes anything else, so that whoever comes
//! next knows what the state is of, and where the log takes over.
//!
//! It stands among the checkpoints of each group, since these move, and are lost, together with
//! what they speak of. Numbers that no log has keep it apart:
//!
//! ```text
//! source    partition     offset
//! HISTORY   0             rows that are in the state: a checkpoint like any other
//! PLAN      n             first offset of partition n of the log that the history has not
//!           ROUND         odd: under way, or broken off; even: done
//!           FILES         hash of the history's files
//!           LOG           the log's number
//!           SINCE, BEGUN  microseconds, shifted to be no less than 0
//! ```
//!
//! Checkpoints only rise, so a state that is to be dropped is marked by a later round and by files
//! that no history has. Freshness: the plan's is that of all time, for nothing will come of it; the
//! history's is never, until the end, so that a bucket that holds part of it vouches for nothing,
//! whoever else writes there.

use crate::ingest::source::{HISTORY, PLAN};
use std::collections::BTreeMap;
use trueup_store::{Checkpoint, Meta, NEVER_US};

/// The partition of a history's positions: it has but one.
pub(in crate::ingest) const PARTITION: u32 = 0;

/// Partitions of a log are numbered below this.
const PARTITIONS: u32 = 1 << 31;

const ROUND: u32 = u32::MAX;
const FILES: u32 = u32::MAX - 1;
const LOG: u32 = u32::MAX - 2;
const SINCE: u32 = u32::MAX - 3;
const BEGUN: u32 = u32::MAX - 4;

/// The files of a state that is to be dropped: those of no history.
const CONDEMNED: u64 = u64::MAX;

/// Shifts an instant so that instants and offsets are ordered alike.
const SHIFT: u64 = 1 << 63;

/// What a backfill does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A hash of the history's files: their names and lengths.
    pub files: u64,
    /// The number of the log that takes over.
    pub log: u32,
    /// By partition of the log, the first offset that the history has not.
    pub up_to: BTreeMap<u32, u64>,
    /// Event time in microseconds since 1970 since which the history is complete; `i64::MIN` for
    /// ever.
    pub since_us: i64,
    /// When it was begun, microseconds since 1970: for events that do not say when they became
    /// known, the time by which they were.
    pub begun_us: i64,
}

/// What a group's checkpoints say of backfills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing was ever written.
    Nothing,
    /// A backfill under way, or broken off.
    UnderWay(Plan),
    /// A state that is being dropped, or whose dropping was broken off.
    Condemned,
    /// A state, from a backfill that was done or from a log.
    State,
}

impl Found {
    pub(super) fn in_meta(meta: &Meta) -> Found {
        if is_under_way(meta) {
            return Plan::of(meta).map_or(Found::Condemned, Found::UnderWay);
        }
        let nothing = meta.checkpoints.is_empty() && meta.complete_since_us.is_none();
        if nothing { Found::Nothing } else { Found::State }
    }
}

/// Whether a group's state is being built from a history, or was left so.
pub fn is_under_way(meta: &Meta) -> bool {
    meta.offset(PLAN, ROUND).is_some_and(|round| round % 2 == 1)
}

/// Below which offset all rows of a history are in a group's state.
pub fn rows_in(meta: &Meta) -> Option<u64> {
    meta.offset(HISTORY, PARTITION)
}

/// What marks a state as one that is to be dropped.
pub(super) fn condemned(meta: &Meta) -> [Checkpoint; 2] {
    let round = meta.offset(PLAN, ROUND).unwrap_or(0);
    [said(ROUND, round + 1 + round % 2), said(FILES, CONDEMNED)]
}

fn said(partition: u32, offset: u64) -> Checkpoint {
    Checkpoint { source: PLAN, partition, offset, fresh_us: i64::MAX }
}

impl Plan {
    /// The plan in a group's checkpoints; `None` if there is none, or none that still holds.
    pub fn of(meta: &Meta) -> Option<Plan> {
        let offset = |partition| meta.offset(PLAN, partition);
        let instant = |partition| offset(partition).map(|offset| (offset ^ SHIFT) as i64);
        let of_log = |it: &&Checkpoint| it.source == PLAN && it.partition < PARTITIONS;
        let up_to = meta.checkpoints.iter().filter(of_log).map(|it| (it.partition, it.offset));
        Some(Plan {
            files: offset(FILES).filter(|&files| files != CONDEMNED)?,
            log: u32::try_from(offset(LOG)?).ok()?,
            up_to: up_to.collect(),
            since_us: instant(SINCE)?,
            begun_us: instant(BEGUN)?,
        })
    }

    /// What is written down when it is begun.
    pub(super) fn begun(&self) -> Vec<Checkpoint> {
        let instant = |partition, us: i64| said(partition, us as u64 ^ SHIFT);
        let mut all = vec![
            said(ROUND, 1),
            said(FILES, self.files),
            said(LOG, u64::from(self.log)),
            instant(SINCE, self.since_us),
            instant(BEGUN, self.begun_us),
        ];
        all.extend(self.up_to.iter().map(|(&partition, &offset)| said(partition, offset)));
        all
    }

    /// What is written down when all `rows` are in the state: the log takes over from here.
    pub(super) fn done(&self, rows: u64) -> Vec<Checkpoint> {
        let history =
            Checkpoint { source: HISTORY, partition: PARTITION, offset: rows, fresh_us: i64::MAX };
        let log = |(&partition, &offset): (&u32, &u64)| Checkpoint {
            source: self.log,
            partition,
            offset,
            // Its worker says when it has begun.
            fresh_us: NEVER_US,
        };
        let mut all = vec![said(ROUND, 2), history];
        all.extend(self.up_to.iter().map(log));
        all
    }

    /// Whether a group's state is what this plan was to make.
    pub(super) fn is_done(&self, meta: &Meta) -> bool {
        let taken_over =
            |(&partition, &offset): (&u32, &u64)| meta.offset(self.log, partition) >= Some(offset);
        meta.offset(PLAN, ROUND) == Some(2)
            && meta.complete_since_us.is_some()
            && Plan::of(meta).as_ref() == Some(self)
            && self.up_to.iter().all(taken_over)
    }

    /// The number that partitions of dead letters of this history have: no log's, and another one
    /// for another history, so that a row of each may have a letter.
    pub(in crate::ingest) fn letters(&self) -> u32 {
        self.files as u32 | PARTITIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            files: 7,
            log: 99,
            up_to: BTreeMap::from([(0, 5), (3, 0)]),
            since_us: i64::MIN,
            begun_us: -1,
        }
    }

    fn meta(mut checkpoints: Vec<Checkpoint>, complete_since_us: Option<i64>) -> Meta {
        checkpoints.sort_by_key(|said| (said.source, said.partition));
        Meta { checkpoints, complete_since_us, ..Meta::default() }
    }

    #[test]
    fn a_plan_comes_back_from_the_checkpoints_that_it_was_written_as() {
        let begun = meta(plan().begun(), None);
        assert_eq!(Found::in_meta(&begun), Found::UnderWay(plan()));
        assert!(is_under_way(&begun) && !plan().is_done(&begun));
        assert_eq!(Found::in_meta(&Meta::default()), Found::Nothing);
    }

    #[test]
    fn a_plan_that_is_done_is_a_state_and_no_longer_under_way() {
        let mut all = plan().begun();
        all.retain(|said| said.partition != ROUND);
        all.extend(plan().done(40));
        let done = meta(all, Some(i64::MIN));
        assert_eq!(Found::in_meta(&done), Found::State);
        assert!(plan().is_done(&done));
        assert_eq!(rows_in(&done), Some(40));
    }

    /// The harm: a state that is half dropped is taken for one to go on with.
    #[test]
    fn a_condemned_state_is_under_way_and_nobodys_plan() {
        let rounds = [(None, 1), (Some(1), 3), (Some(2), 3), (Some(3), 5)];
        for (round, condemned_round) in rounds {
            let before = meta(round.map(|round| said(ROUND, round)).into_iter().collect(), None);
            let marks = condemned(&before);
            assert_eq!(marks[0].offset, condemned_round);
            let mut all = plan().begun();
            all.retain(|said| ![ROUND, FILES].contains(&said.partition));
            all.extend(marks);
            assert_eq!(Found::in_meta(&meta(all, None)), Found::Condemned);
        }
    }
}
