//! A value taken apart says what its base holds and what stands behind it.

use crate::config;
use proptest::prelude::*;
use trueup_core::{
    Aggregate, Base, Event, Frame, Func, Group, Id, IdKind, Instant, Keep, Key, Kind, Limits,
    Micros, Partials, Plan, Position, Receipt, Stored, Value, fold, inspect, receipts, record,
};

const SECOND: i64 = 1_000_000;

fn plan(keep: Keep) -> Plan {
    let frame = Frame::Range { far_us: Some(60 * SECOND), near_us: 0 };
    let sum = Aggregate { func: Func::Sum, arg: Some(0), filter: None, frame };
    Plan::new(Group {
        keep,
        id: IdKind::Int,
        slots: vec![Kind::Int],
        aggregates: vec![sum],
        lateness_us: 0,
        future_us: 0,
        reorder_us: SECOND,
    })
}

fn event(second: i64) -> Event {
    Event { time: second * SECOND, id: Id::Int(second), slots: vec![Value::Int(second)] }
}

/// Records of these seconds, each at the offset of its second.
fn records(key: &Key, seconds: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut tail = Vec::new();
    for second in seconds {
        let position = Position { source: 7, partition: 1, offset: second as u64 };
        record(key.bytes(), &event(second), Some(position), &mut tail);
    }
    tail
}

fn base_of(plan: &Plan, key: &Key, tail: &[u8]) -> Vec<u8> {
    let stored = Stored { base: None, tail };
    fold(plan, key.bytes(), stored, &Limits::default()).expect("own bytes").base
}

#[test]
fn the_events_of_an_exact_base_and_the_records_behind_it_are_all_shown() {
    let (plan, key) = (plan(Keep::Exact), Key::of(&[Value::Int(5)]));
    let base = base_of(&plan, &key, &records(&key, 1..=100));
    let tail = records(&key, 101..=102);
    let shown = inspect(&plan, key.bytes(), Stored { base: Some(&base), tail: &tail }).unwrap();
    let held = shown.base.unwrap();
    assert_eq!(held.events, (40..=100).map(event).collect::<Vec<_>>(), "of one frame");
    assert_eq!((held.oldest_us, held.newest_us), (Some(SECOND), Some(100 * SECOND)));
    assert_eq!(held.whole_from_us, Some(40 * SECOND));
    assert_eq!(held.admitted, []);
    let position = |offset| Some(Position { source: 7, partition: 1, offset });
    assert_eq!(shown.tail, [(event(101), position(101)), (event(102), position(102))]);
}

#[test]
fn bins_are_shown_with_how_many_events_they_are_of() {
    let keep = Keep::Binned { width_us: 10 * SECOND, origin_us: 0 };
    let (plan, key) = (plan(keep), Key::of(&[Value::Int(5)]));
    let base = base_of(&plan, &key, &records(&key, 1..=25));
    let shown = inspect(&plan, key.bytes(), Stored { base: Some(&base), tail: &[] }).unwrap();
    let bin = |start: i64, newest: i64, events| Partials {
        start_us: start * SECOND,
        newest_us: newest * SECOND,
        events,
    };
    let expected = Base {
        version: 1,
        events: vec![event(24), event(25)],
        bins: vec![bin(0, 9, 9), bin(10, 19, 10), bin(20, 23, 4)],
        oldest_us: Some(SECOND),
        newest_us: Some(25 * SECOND),
        recent_ids: 23,
        admitted: vec![Position { source: 7, partition: 1, offset: 25 }],
        ..Base::default()
    };
    assert_eq!(shown.base, Some(expected));
}

#[test]
fn bytes_of_another_key_are_not_believed() {
    let (plan, key) = (plan(Keep::Exact), Key::of(&[Value::Int(5)]));
    let base = base_of(&plan, &key, &records(&key, 1..=3));
    let other = Key::of(&[Value::Int(6)]);
    assert!(inspect(&plan, other.bytes(), Stored { base: Some(&base), tail: &[] }).is_err());
    let tail = records(&key, 1..=3);
    assert!(inspect(&plan, other.bytes(), Stored { base: None, tail: &tail }).is_err());
}

/// The receipt of the one aggregate at this second, for the event of the second itself.
fn receipt(plan: &Plan, key: &Key, stored: Stored<'_>, second: i64, most: usize) -> Receipt {
    let own = event(second);
    let complete_from = Micros(i64::MIN);
    let instant = Instant { at: Micros(own.time), own: Some(&own), complete_from };
    let limits = Limits::default();
    receipts(plan, key.bytes(), stored, instant, &[0], &limits, most).expect("own bytes").remove(0)
}

fn listed(seconds: impl Iterator<Item = i64>) -> Vec<(Micros, Id)> {
    seconds.map(|second| (Micros(second * SECOND), Id::Int(second))).collect()
}

#[test]
fn a_receipt_lists_what_the_frame_counted_the_newest_first_and_the_requests_own_once() {
    let (plan, key) = (plan(Keep::Exact), Key::of(&[Value::Int(5)]));
    let base = base_of(&plan, &key, &records(&key, 1..=90));
    let tail = records(&key, 91..=100);
    let stored = Stored { base: Some(&base), tail: &tail };
    let frame = |second| (Some(Micros((second - 60) * SECOND)), Some(Micros(second * SECOND)));
    // Of the frame at 95 the oldest events have been trimmed: its value is UNKNOWN.
    for (second, counted) in [(100, 61), (101, 61), (95, 56)] {
        let (from, to) = frame(second);
        let events = listed((second - 2..=second).rev());
        let expected = Receipt { from, to, counted, events, in_partials: 0 };
        assert_eq!(receipt(&plan, &key, stored, second, 3), expected, "at {second}");
    }
    assert_eq!(receipt(&plan, &key, Stored::default(), 7, 3).events, listed([7].into_iter()));
}

#[test]
fn a_receipt_of_bins_says_how_many_events_are_known_by_their_bin_alone() {
    let keep = Keep::Binned { width_us: 10 * SECOND, origin_us: 0 };
    let (plan, key) = (plan(keep), Key::of(&[Value::Int(5)]));
    let base = base_of(&plan, &key, &records(&key, 1..=100));
    let stored = Stored { base: Some(&base), tail: &[] };
    let receipt = receipt(&plan, &key, stored, 100, 100);
    assert_eq!((receipt.from, receipt.to), (Some(Micros(40 * SECOND)), Some(Micros(100 * SECOND))));
    assert_eq!(receipt.counted + receipt.in_partials, 61);
    assert!(receipt.in_partials > 0, "{receipt:?}");
    assert_eq!(receipt.events, listed((101 - receipt.counted as i64..=100).rev()));
}

fn part() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i128>().prop_map(Value::Decimal),
        (-1e300..1e300).prop_map(Value::Float),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        any::<i64>().prop_map(Value::Time),
        any::<i32>().prop_map(Value::Date),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// A key that is shown as another one sends whoever is paged to the wrong card.
    #[test]
    fn a_key_shows_the_values_that_it_was_made_of(
        parts in proptest::collection::vec(part(), 0..4),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let key = Key::of(&parts);
        prop_assert_eq!(Key::values(key.bytes()), Some(parts));
        // Bytes that are no key have none, or are another spelling of one; they never panic.
        Key::values(&bytes);
    }
}
