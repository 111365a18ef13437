//! Ways to fold: the same records laid out, folded, cut and repeated differently. State is a
//! function of the set of events, so no answer may change.

use crate::ask::ask_all;
use crate::case::Case;
use crate::records::{Record, records};
use crate::report::{Findings, each_case};
use std::collections::BTreeMap;
use std::sync::Arc;
use trueup_core::testing::Dice;
use trueup_core::{Keep, Position, Stored, fold};
use trueup_store::testing::block_on;
use trueup_store::{
    Answer, Append, At, Batch, Checkpoint, Marker, MemoryStore, Space, Store, StoreError, Swap,
};

/// Random orders that are tried of each case, besides the one from last to first.
const SHUFFLES: u64 = 12;

/// Partitions that the events of a shuffled case are dealt to.
const PARTITIONS: usize = 3;

/// How often a verb of a store that fails on cue is tried.
const TRIES: usize = 6;

/// A store being filled by hand.
pub(crate) struct Filling<'a, S> {
    case: &'a Case,
    pub(crate) store: Arc<S>,
}

impl<'a, S: Store + 'static> Filling<'a, S> {
    /// An empty store whose groups are all complete, so that nothing is unknown for want of a word.
    pub(crate) fn new(case: &'a Case, store: S) -> Filling<'a, S> {
        let filling = Filling { case, store: Arc::new(store) };
        let spaces: Vec<Space> = filling.spaces().collect();
        let markers: Vec<_> = spaces.iter().map(|&space| (space, Marker::Set(i64::MIN))).collect();
        let checkpoint = Checkpoint { source: 1, partition: 0, offset: 0, fresh_us: 0 };
        let checkpoints: Vec<_> = spaces.iter().map(|&space| (space, checkpoint)).collect();
        filling.write(&[], &markers, &checkpoints);
        filling
    }

    fn spaces(&self) -> impl Iterator<Item = Space> {
        let groups = self.case.catalog.definitions().groups.len();
        (0..groups).map(|group| self.case.catalog.space(group))
    }

    fn write(
        &self,
        appends: &[Append<'_>],
        markers: &[(Space, Marker)],
        checkpoints: &[(Space, Checkpoint)],
    ) {
        insist(|| {
            let stands = block_on(self.store.look(&[]))?.stands;
            block_on(self.store.append(&Batch {
                appends,
                markers,
                checkpoints,
                ..Batch::under(&stands)
            }))
        });
    }

    /// Puts records behind their keys' values.
    pub(crate) fn append<'r>(&self, records: impl IntoIterator<Item = &'r Record>) {
        let append = |record: &'r Record| Append { at: at(record), record: &record.bytes };
        let appends: Vec<Append<'_>> = records.into_iter().map(append).collect();
        self.write(&appends, &[], &[]);
    }

    /// Folds the values of these records' keys.
    pub(crate) fn fold<'r>(&self, records: impl IntoIterator<Item = &'r Record>) {
        for record in records {
            let swapped = insist(|| {
                let read = block_on(self.store.get(&[at(record)]))?.remove(0);
                let Some(value) = read.value else { return Ok(vec![true]) };
                let plan = self.case.catalog.plan(record.group);
                let base = Some(value.base()).filter(|base| !base.is_empty());
                let stored = Stored { base, tail: value.tail() };
                let folded = fold(plan, &record.key, stored, &self.case.catalog.limits).unwrap();
                block_on(self.store.swap(&[Swap {
                    epoch: read.stand.epoch,
                    at: at(record),
                    replaced: &value,
                    base: &folded.base,
                    kept: &[],
                }]))
            });
            assert_eq!(swapped, [true], "nobody else writes here");
        }
    }

    /// Asks the case's requests.
    pub(crate) fn ask(&self, how: &str, found: &mut Findings) {
        let store: Arc<S> = Arc::clone(&self.store);
        ask_all(self.case, store, how, found);
    }
}

/// Tries again what fails for a while, as callers of a store do.
fn insist<T>(call: impl Fn() -> Result<T, StoreError>) -> T {
    let tries = (0..TRIES).map(|_| call());
    let mut done = tries.skip_while(|answer| answer.as_ref().is_err_and(|e| e.advice().retry));
    done.next().expect("it does not fail for ever").unwrap_or_else(|error| panic!("{error}"))
}

fn at(record: &Record) -> At<'_> {
    At { space: record.space, key: &record.key }
}

/// All events in one partition, in the order of the log.
pub(crate) fn in_order(index: usize) -> Position {
    Position { source: 1, partition: 0, offset: index as u64 + 1 }
}

fn memory(case: &Case) -> Filling<'_, MemoryStore> {
    Filling::new(case, MemoryStore::new())
}

#[test]
fn records_are_read_without_a_fold() {
    each_case(|case, found| {
        let (events, refused) = records(case, in_order);
        found.dead("", &case.dead, &refused);
        let filling = memory(case);
        filling.append(events.iter().flatten());
        filling.ask("", found);
    });
}

#[test]
fn all_events_are_folded_in_one_go() {
    each_case(|case, found| {
        let (events, _) = records(case, in_order);
        let filling = memory(case);
        filling.append(events.iter().flatten());
        filling.fold(events.iter().flatten());
        filling.ask("", found);
    });
}

#[test]
fn each_event_is_folded_alone() {
    each_case(|case, found| {
        let (events, _) = records(case, in_order);
        let filling = memory(case);
        fold_each_alone(&filling, &events);
        filling.ask("", found);
    });
}

/// Appends and folds event by event.
pub(crate) fn fold_each_alone<S: Store + 'static>(
    filling: &Filling<'_, S>,
    events: &[Vec<Record>],
) {
    for records in events {
        filling.append(records);
        filling.fold(records);
    }
}

#[test]
fn cut_at_each_point_and_restored_from_bytes() {
    each_case(|case, found| {
        let (events, _) = records(case, in_order);
        for cut in 0..=events.len() {
            let (before, after) = events.split_at(cut);
            let first = memory(case);
            fold_each_alone(&first, before);
            let second = restored(case, &first, before);
            second.append(after.iter().flatten());
            second.ask(&format!(", cut at {cut}, unfolded"), found);
            second.fold(after.iter().flatten());
            second.ask(&format!(", cut at {cut}, folded"), found);
        }
    });
}

/// Another store with the same bytes and nothing else.
fn restored<'a>(
    case: &'a Case,
    from: &Filling<'_, MemoryStore>,
    events: &[Vec<Record>],
) -> Filling<'a, MemoryStore> {
    let to = memory(case);
    let by_key: BTreeMap<At<'_>, &Record> = events.iter().flatten().map(|r| (at(r), r)).collect();
    for (at, record) in by_key {
        let old = block_on(from.store.get(&[at])).unwrap().remove(0).value.unwrap();
        // A store takes a base only in place of something: of a record that is then gone.
        to.append([record]);
        let read = block_on(to.store.get(&[at])).unwrap().remove(0);
        let swap = Swap {
            epoch: read.stand.epoch,
            at,
            replaced: &read.value.unwrap(),
            base: old.base(),
            kept: old.tail(),
        };
        let swapped: Answer<'_, Vec<bool>> = to.store.swap(std::slice::from_ref(&swap));
        assert_eq!(block_on(swapped).unwrap(), [true]);
    }
    to
}

#[test]
fn shuffled_events_give_the_same_answers() {
    each_case(|case, found| {
        // Dealt to partitions in turn, each of which keeps its order where partials are kept.
        let position = |index: usize| Position {
            source: 1,
            partition: (index % PARTITIONS) as u32,
            offset: index as u64 + 1,
        };
        let (events, _) = records(case, position);
        let all: Vec<&Record> = events.iter().flatten().collect();
        for seed in 0..=SHUFFLES {
            let order = shuffled(case, &all, seed);
            let filling = memory(case);
            filling.append(order.iter().copied());
            filling.ask(&format!(", order {seed}, unfolded"), found);
            let filling = memory(case);
            for record in &order {
                filling.append([*record]);
                filling.fold([*record]);
            }
            filling.ask(&format!(", order {seed}, each folded alone"), found);
        }
    });
}

/// The records in another order: any for exact groups; for the others one that keeps each
/// partition's. Order 0 is from last to first, or from the last partition to the first.
fn shuffled<'r>(case: &Case, all: &[&'r Record], seed: u64) -> Vec<&'r Record> {
    let mut dice = Dice::new(seed);
    let is_exact = |record: &&&Record| case.catalog.plan(record.group).group().keep == Keep::Exact;
    let (mut exact, other): (Vec<&Record>, Vec<&Record>) = all.iter().partition(is_exact);
    let mut queues: Vec<Vec<&Record>> = (0..PARTITIONS as u32)
        .map(|partition| other.iter().rev().copied().filter(|r| r.partition == partition).collect())
        .collect();
    match seed {
        0 => exact.reverse(),
        _ => dice.shuffle(&mut exact),
    }
    while let Some(last) = queues.iter().rposition(|queue| !queue.is_empty()) {
        let from = if seed == 0 { last } else { dice.below(PARTITIONS as u64) as usize };
        exact.extend(queues[from].pop());
    }
    exact
}

#[test]
fn repeated_events_count_once() {
    each_case(|case, found| {
        let (events, _) = records(case, in_order);
        let again = |index: usize| in_order(index + case.events.len());
        let (sent_again, _) = records(case, again);
        let alternately = |index: usize| in_order(2 * index);
        let next = |index: usize| in_order(2 * index + 1);
        let (even, odd) = (records(case, alternately).0, records(case, next).0);
        let each_sent_twice: Vec<_> =
            even.into_iter().zip(odd).flat_map(|(first, second)| [first, second]).collect();
        let each_delivered_twice: Vec<_> =
            events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
        let logs = [
            ("the log delivered twice", [events.clone(), events.clone()].concat()),
            ("the log sent twice", [events, sent_again].concat()),
            ("each delivered twice", each_delivered_twice),
            ("each sent twice", each_sent_twice),
        ];
        for (how, log) in logs {
            let filling = memory(case);
            filling.append(log.iter().flatten());
            filling.ask(&format!(", {how}, unfolded"), found);
            let filling = memory(case);
            fold_each_alone(&filling, &log);
            filling.ask(&format!(", {how}, each folded alone"), found);
        }
    });
}
