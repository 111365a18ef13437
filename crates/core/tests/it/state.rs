//! State is a function of the set of events, reads equal the naive oracle, and sliding equals
//! folding and reading.

use crate::config;
use proptest::prelude::*;
use trueup_core::testing::{Dice, any_group, events_for, oracle, seal_again, seal_record};
use trueup_core::*;

const EVER: Micros = Micros(i64::MIN);

fn key() -> Key {
    Key::of(&[Value::Int(7), Value::Text("a{b}".into())])
}

/// The records of `events`, in this order, each at the position given with it.
fn tail(events: &[(Event, Option<Position>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (event, position) in events {
        record(key().bytes(), event, *position, &mut out);
    }
    out
}

fn unplaced(events: &[Event]) -> Vec<(Event, Option<Position>)> {
    events.iter().map(|e| (e.clone(), None)).collect()
}

/// What the state is made of and bounded by.
struct Kit {
    plan: Plan,
    limits: Limits,
    complete_from: Micros,
}

impl Kit {
    fn new(group: Group) -> Kit {
        Kit { plan: Plan::new(group), limits: Limits::default(), complete_from: EVER }
    }

    /// With a bound that a dozen events of [`events_for`] reach, in one of two cases.
    fn bounded(dice: &mut Dice, group: Group) -> Kit {
        let mut kit = Kit::new(group);
        if dice.one_in(2) {
            kit.limits.max_bytes = dice.below(1_200) as usize;
        }
        kit
    }

    /// With a store that vouches for less than all time, in one of three cases.
    fn vouched(mut self, dice: &mut Dice) -> Kit {
        if dice.one_in(3) {
            self.complete_from = Micros(999_900 + dice.below(500) as i64);
        }
        self
    }

    /// Whether the store vouches for less than a frame may span that reaches so far back.
    fn is_unvouched(&self, frame: Frame, at: i64) -> bool {
        let far = match frame {
            Frame::Range { far_us: Some(far_us), .. } => at - far_us,
            _ => i64::MIN,
        };
        // Bins of the tests are at most 60 us wide.
        far.saturating_sub(60) < self.complete_from.0
    }

    fn fold(&self, base: Option<&[u8]>, events: &[(Event, Option<Position>)]) -> Vec<u8> {
        let tail = tail(events);
        let stored = Stored { base, tail: &tail };
        fold(&self.plan, key().bytes(), stored, &self.limits).expect("own bytes").base
    }

    /// Folds in pieces whose lengths the dice choose.
    fn fold_in_pieces(&self, dice: &mut Dice, events: &[(Event, Option<Position>)]) -> Vec<u8> {
        let mut base: Option<Vec<u8>> = None;
        let mut rest = events;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + dice.below(rest.len() as u64) as usize);
            base = Some(self.fold(base.as_deref(), now));
            rest = later;
        }
        base.unwrap_or_else(|| self.fold(None, &[]))
    }

    fn ask(&self, base: Option<&[u8]>, tail: &[u8], at: i64, own: Option<&Event>) -> Vec<Answer> {
        let all: Vec<usize> = (0..self.plan.group().aggregates.len()).collect();
        let instant = Instant { at: Micros(at), own, complete_from: self.complete_from };
        let stored = Stored { base, tail };
        read(&self.plan, key().bytes(), stored, instant, &all, &self.limits).expect("own bytes")
    }
}

/// The request's own event, or none: one that is there already, one that is there with another time
/// and content, or a new one.
fn any_own(dice: &mut Dice, set: &[Event]) -> Option<Event> {
    let new = events_for(dice, 1, 450).pop()?;
    match dice.below(6) {
        0..=2 => None,
        3 if !set.is_empty() => Some(dice.pick(set).clone()),
        4 if !set.is_empty() => Some(Event { id: dice.pick(set).id.clone(), ..new }),
        _ => Some(Event { id: Id::Int(1000), ..new }),
    }
}

fn any_keep(dice: &mut Dice) -> Keep {
    let (width_us, origin_us) = (1 + dice.below(60) as i64, dice.below(30) as i64);
    *dice.pick(&[Keep::Exact, Keep::Lifetime, Keep::Binned { width_us, origin_us }])
}

/// Rows of some of the events and of instants between them, in order, each knowing no less than the
/// one before.
fn any_rows(dice: &mut Dice, events: &Events) -> Vec<Ask> {
    let n = events.len();
    let mut rows: Vec<Ask> = (0..n)
        .filter(|_| !dice.one_in(4))
        .map(|own| Ask { at: Micros(events.times[own]), own: Some(own), known: 0 })
        .collect();
    for _ in 0..dice.below(6) {
        let at = Micros(1_000_000 + dice.below(320) as i64);
        rows.push(Ask { at, own: None, known: 0 });
    }
    rows.sort_by_key(|row| (row.at, row.own.unwrap_or(usize::MAX)));
    let mut known = if dice.one_in(2) { n } else { dice.below(n as u64 + 1) as usize };
    for row in &mut rows {
        known = (known + dice.below(3) as usize).min(n).max(row.own.map_or(0, |own| own + 1));
        row.known = known;
    }
    rows
}

fn in_order(events: &[Event]) -> Vec<(Event, Option<Position>)> {
    let place = |(i, e): (usize, &Event)| {
        (e.clone(), Some(Position { source: 1, partition: 0, offset: i as u64 }))
    };
    events.iter().enumerate().map(place).collect()
}

proptest! {
    #![proptest_config(config())]

    /// The harm: an event that was recorded before its stream brought it counts twice, or leaves
    /// another state than one that was not.
    #[test]
    fn early_copies_anywhere_and_however_often_leave_the_streams_bytes(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let group = any_group(&mut dice, Keep::Exact);
        let kit = Kit::bounded(&mut dice, group);
        let n = 1 + dice.below(40) as usize;
        let stream = in_order(&events_for(&mut dice, n, 300));
        let mut both = stream.clone();
        for (event, _) in &stream {
            for _ in 0..dice.below(3) {
                let place = dice.below(both.len() as u64 + 1) as usize;
                both.insert(place, (event.clone(), None));
            }
        }
        prop_assert_eq!(kit.fold_in_pieces(&mut dice, &both), kit.fold(None, &stream));
    }

    #[test]
    fn exact_state_is_a_function_of_the_set_of_events(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let group = any_group(&mut dice, Keep::Exact);
        let kit = Kit::bounded(&mut dice, group);
        let n = dice.below(40) as usize;
        let mut events = unplaced(&events_for(&mut dice, n, 400));
        let whole = kit.fold(None, &events);
        dice.shuffle(&mut events);
        let repeats: Vec<_> = events.iter().filter(|_| dice.one_in(3)).cloned().collect();
        events.extend(repeats);
        let pieces = kit.fold_in_pieces(&mut dice, &events);
        prop_assert_eq!(&whole, &pieces);
        // A replay of everything changes nothing.
        prop_assert_eq!(&whole, &kit.fold(Some(&pieces), &events));
    }

    #[test]
    fn exact_reads_equal_the_oracle_or_say_unknown(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let group = any_group(&mut dice, Keep::Exact);
        let kit = Kit::bounded(&mut dice, group.clone()).vouched(&mut dice);
        let n = dice.below(30) as usize;
        let events = events_for(&mut dice, n, 400);
        let placed = unplaced(&events);
        let set = oracle::distinct(&events);
        let cut = dice.below(n as u64 + 1) as usize;
        let base = kit.fold(None, &placed[..cut]);
        let late = tail(&placed[cut..]);
        let own = any_own(&mut dice, &set);
        let at = own.as_ref().map_or(1_000_000 + dice.below(450) as i64, |own| own.time);
        let newest = set.last().map_or(i64::MIN, |e| e.time);
        let answers = kit.ask(Some(&base), &late, at, own.as_ref());
        prop_assert_eq!(&answers, &kit.ask(None, &tail(&placed), at, own.as_ref()));
        let is_bounded = kit.limits != Limits::default();
        for (aggregate, answer) in group.aggregates.iter().zip(answers) {
            let expected = oracle::answer(&group, aggregate, &set, at, own.as_ref());
            let empty = oracle::is_empty(&group, aggregate, &set, at, own.as_ref());
            match (answer.value, aggregate.frame) {
                (Err(Unknown::NotWhole { .. }), _) if is_bounded => {}
                (Err(Unknown::NotWhole { .. }), frame) if kit.is_unvouched(frame, at) => {}
                (Err(Unknown::NotWhole { .. }), Frame::Range { far_us: Some(far), .. }) => {
                    let horizon = group.horizon_us().expect("bounded");
                    prop_assert!(at - far < newest - horizon, "{:?} at {}", aggregate, at);
                }
                (Err(Unknown::NotWhole { .. }), _) => prop_assert!(at <= newest),
                (value, _) => prop_assert_eq!(
                    (value, answer.empty), (expected, empty), "{:?} at {}", aggregate, at
                ),
            }
        }
    }

    #[test]
    fn sliding_equals_folding_and_reading(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let keep = any_keep(&mut dice);
        let mut group = any_group(&mut dice, keep);
        // Nothing is trimmed or sealed, so that every instant can be asked.
        group.lateness_us = 10_000;
        group.reorder_us = 10_000;
        let kit = Kit::new(group);
        let plan = &kit.plan;
        let n = dice.below(24) as usize;
        let mut events = Events::new(&plan.group().slots);
        for event in &events_for(&mut dice, n, 300) {
            events.push(event.time, event.id.clone(), &event.slots);
        }
        let (events, _) = events.normalise();
        let rows = any_rows(&mut dice, &events);
        prop_assert!(is_ordered(&rows));
        let mut slid = vec![Vec::new(); plan.group().aggregates.len()];
        for (aggregate, values) in slid.iter_mut().enumerate() {
            slide(plan, aggregate, &events, &rows, |row, value| {
                assert_eq!(row, values.len());
                values.push(value);
            });
        }
        let all: Vec<Event> = (0..events.len()).map(|i| events.event(i)).collect();
        let placed = in_order(&all);
        for (number, row) in rows.iter().enumerate() {
            let own = row.own.map(|place| &all[place]);
            let base = kit.fold(None, &placed[..row.known]);
            let read = kit.ask(Some(&base), &[], row.at.0, own);
            for (aggregate, answer) in read.iter().enumerate() {
                prop_assert_eq!(&slid[aggregate][number], &answer.value, "{:?} of {:?}", row,
                    plan.group().aggregates[aggregate]);
            }
        }
    }

    #[test]
    fn partial_state_does_not_depend_on_splits_replays_or_how_partitions_mix(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let binned = Keep::Binned { width_us: 1 + dice.below(60) as i64, origin_us: 0 };
        let keep = if dice.one_in(3) { Keep::Lifetime } else { binned };
        let kit = Kit::new(any_group(&mut dice, keep));
        let n = dice.below(40) as usize;
        let mut shuffled: Vec<Event> = oracle::distinct(&events_for(&mut dice, n, 400));
        dice.shuffle(&mut shuffled);
        let mut partitions: Vec<Vec<(Event, Option<Position>)>> = vec![Vec::new(); 3];
        for event in shuffled {
            // A producer that repeats itself may do so in another partition.
            for _ in 0..1 + usize::from(dice.one_in(6)) {
                let partition = dice.below(3) as u32;
                let log = &mut partitions[partition as usize];
                let position = Position { source: 1, partition, offset: log.len() as u64 };
                log.push((event.clone(), Some(position)));
            }
        }
        let one_after_another: Vec<_> = partitions.iter().flatten().cloned().collect();
        let whole = kit.fold(None, &one_after_another);
        let mut mixed = Vec::new();
        let mut next = [0usize; 3];
        while mixed.len() < one_after_another.len() {
            let p = dice.below(3) as usize;
            if let Some(event) = partitions[p].get(next[p]) {
                mixed.push(event.clone());
                next[p] += 1;
            }
        }
        // Rewinds: what was sent already is sent again.
        let again = dice.below(mixed.len() as u64 + 1) as usize;
        let mut sent = mixed[..again].to_vec();
        sent.extend(mixed.clone());
        let pieces = kit.fold_in_pieces(&mut dice, &sent);
        prop_assert_eq!(&whole, &pieces);
        // A replay of everything changes nothing.
        prop_assert_eq!(&whole, &kit.fold(Some(&pieces), &mixed));
    }

    /// With conflicts too, and more repeats than ids are remembered: what is counted then depends
    /// on the order of arrival, but never on what was folded when.
    #[test]
    fn partial_state_does_not_depend_on_splits_whatever_comes(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let binned = Keep::Binned { width_us: 1 + dice.below(60) as i64, origin_us: 0 };
        let keep = if dice.one_in(3) { Keep::Lifetime } else { binned };
        let kit = Kit::new(any_group(&mut dice, keep));
        // The ids of 256 sealed events are remembered.
        let n = if dice.one_in(20) { 400 } else { dice.below(40) as usize };
        let events = in_order(&events_for(&mut dice, n, 400));
        let whole = kit.fold(None, &events);
        prop_assert_eq!(&whole, &kit.fold_in_pieces(&mut dice, &events));
    }

    #[test]
    fn partial_reads_equal_the_oracle_or_say_unknown(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let binned = Keep::Binned { width_us: 1 + dice.below(60) as i64, origin_us: 3 };
        let keep = if dice.one_in(3) { Keep::Lifetime } else { binned };
        let kit = Kit::new(any_group(&mut dice, keep)).vouched(&mut dice);
        let group = kit.plan.group().clone();
        let n = dice.below(30) as usize;
        let events = oracle::distinct(&events_for(&mut dice, n, 400));
        let mut order = events.clone();
        dice.shuffle(&mut order);
        let placed = in_order(&order);
        let cut = dice.below(placed.len() as u64 + 1) as usize;
        let base = kit.fold(None, &placed[..cut]);
        let late = tail(&placed[cut..]);
        // In a partial an event with the request's id and time is taken for the request's own.
        let is_other = |own: &Event| !events.iter().any(|e| {
            (&e.id, e.time) == (&own.id, own.time) && e != own
        });
        let own = any_own(&mut dice, &events).filter(is_other);
        let at = own.as_ref().map_or(1_000_000 + dice.below(450) as i64, |own| own.time);
        let newest = events.last().map_or(i64::MIN, |e| e.time);
        let answers = kit.ask(Some(&base), &late, at, own.as_ref());
        for (aggregate, answer) in group.aggregates.iter().zip(answers) {
            let expected = oracle::answer(&group, aggregate, &events, at, own.as_ref());
            let empty = oracle::is_empty(&group, aggregate, &events, at, own.as_ref());
            match answer.value {
                Err(Unknown::OwnUnsure) => {
                    let mut stored = own.iter().filter_map(|own| {
                        events.iter().find(|event| event.id == own.id)
                    });
                    prop_assert!(stored.any(|event| event.time != at), "{:?}", own);
                }
                Err(Unknown::NotWhole { .. }) if kit.is_unvouched(aggregate.frame, at) => {}
                Err(Unknown::NotWhole { .. } | Unknown::HoldsLater { .. }) => {
                    prop_assert!(at < newest, "{:?} at {} of {}", aggregate, at, newest);
                }
                value => prop_assert_eq!(
                    (value, answer.empty), (expected, empty), "{:?} at {}", aggregate, at
                ),
            }
        }
    }

    #[test]
    fn bytes_of_no_sense_that_bear_the_right_checksum_never_panic(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let keep = any_keep(&mut dice);
        let kit = Kit::new(any_group(&mut dice, keep));
        let placed = in_order(&events_for(&mut dice, 12, 400));
        let mut base = kit.fold(None, &placed[..8]);
        for _ in 0..1 + dice.below(4) {
            let at = 16 + dice.below(base.len() as u64 - 16) as usize;
            match dice.below(4) {
                0 => base[at] = dice.bits() as u8,
                1 => base[at] = 0xff,
                2 => base.truncate(at.max(17)),
                _ => base.insert(at, dice.bits() as u8),
            }
        }
        seal_again(key().bytes(), &mut base);
        let mut late = tail(&placed[8..]);
        let payload: Vec<u8> = (0..dice.below(40)).map(|_| dice.bits() as u8).collect();
        if dice.one_in(2) {
            seal_record(key().bytes(), &payload, &mut late);
        }
        let stored = Stored { base: Some(&base), tail: &late };
        let all: Vec<usize> = (0..kit.plan.group().aggregates.len()).collect();
        let own = placed[3].0.clone();
        for own in [None, Some(&own)] {
            let instant = Instant { at: Micros(1_000_300), own, complete_from: EVER };
            let _ = read(&kit.plan, key().bytes(), stored, instant, &all, &kit.limits);
        }
        if let Ok(again) = fold(&kit.plan, key().bytes(), stored, &kit.limits) {
            let stored = Stored { base: Some(&again.base), tail: &[] };
            let _ = fold(&kit.plan, key().bytes(), stored, &kit.limits);
        }
    }

    #[test]
    fn damaged_bytes_are_never_believed(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let keep = any_keep(&mut dice);
        let kit = Kit::new(any_group(&mut dice, keep));
        let placed = in_order(&events_for(&mut dice, 8, 400));
        let base = kit.fold(None, &placed[..5]);
        let late = tail(&placed[5..]);
        let mut whole = [base.as_slice(), late.as_slice()].concat();
        let at = dice.below(whole.len() as u64) as usize;
        whole[at] ^= 1 << dice.below(8);
        let (base2, late2) = whole.split_at(base.len());
        let stored = Stored { base: Some(base2), tail: late2 };
        prop_assert!(fold(&kit.plan, key().bytes(), stored, &kit.limits).is_err());
        let stored = Stored { base: Some(&base), tail: &late };
        prop_assert!(fold(&kit.plan, b"another key", stored, &kit.limits).is_err());
    }
}
