//! Fills: events that were asked for elsewhere, and the word for them, in whatever order they come
//! with what the stream brings.

use crate::config;
use proptest::prelude::*;
use std::cmp::Reverse;
use trueup_core::testing::{Dice, any_group, events_for};
use trueup_core::*;

fn key() -> Key {
    Key::of(&[Value::Int(7)])
}

fn records(events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|event| record(key().bytes(), event, None, &mut out));
    out
}

fn folded(plan: &Plan, base: Option<&[u8]>, tail: &[u8]) -> Vec<u8> {
    let stored = Stored { base, tail };
    fold(plan, key().bytes(), stored, &Limits::default()).expect("own bytes").base
}

fn filled(plan: &Plan, stored: Stored<'_>, records: &[u8], vouch: Vouch) -> Option<Filled> {
    fill(plan, key().bytes(), stored, records, vouch, &Limits::default()).expect("own bytes")
}

fn any_vouch(dice: &mut Dice) -> Vouch {
    let (from, as_of) = (dice.below(5) as i64, dice.below(5) as i64);
    Vouch { from: Micros(from), as_of: Micros(as_of) }
}

proptest! {
    #![proptest_config(config())]

    /// Law 3. The harm: an older fill that comes late undoes a newer one, or what the stream
    /// brought.
    #[test]
    fn fills_appends_and_folds_in_any_order_are_one_state(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(any_group(&mut dice, Keep::Exact));
        let mut events = events_for(&mut dice, 30, 400);
        let (mut best, mut base, mut tail) = (None::<Vouch>, None::<Vec<u8>>, Vec::new());
        let expected = folded(&plan, None, &records(&events));
        while !events.is_empty() {
            let some = events.split_off(dice.below(events.len() as u64) as usize);
            match dice.below(3) {
                0 => tail.extend(records(&some)),
                1 => {
                    tail.extend(records(&some));
                    base = Some(folded(&plan, base.as_deref(), &tail));
                    tail.clear();
                }
                _ => {
                    let (vouch, stored) =
                        (any_vouch(&mut dice), Stored { base: base.as_deref(), tail: &tail });
                    let done = filled(&plan, stored, &records(&some), vouch).expect("it fits");
                    (base, tail) = (Some(done.base), Vec::new());
                    let rank = |vouch: &Vouch| (vouch.as_of, Reverse(vouch.from));
                    best = best.into_iter().chain([vouch]).max_by_key(rank);
                }
            }
        }
        let base = folded(&plan, base.as_deref(), &tail);
        let stored = Stored { base: Some(&base), tail: &[] };
        prop_assert_eq!(vouched(&plan, key().bytes(), stored).expect("own bytes"), best);
        let expected = match best {
            None => expected,
            Some(vouch) => {
                let stored = Stored { base: Some(&expected), tail: &[] };
                filled(&plan, stored, &[], vouch).expect("it fits").base
            }
        };
        prop_assert_eq!(base, expected);
    }
}

/// Counts of the last ten, and the last three values, of events numbered by their times.
fn plan(keep: Keep) -> Plan {
    let range = Frame::Range { far_us: Some(10), near_us: 0 };
    let rows = Frame::Rows { far: 2, near: 0 };
    let over = |func, arg, frame| Aggregate { func, arg, filter: None, frame };
    let mut aggregates = vec![over(Func::Count, None, range)];
    if keep == Keep::Exact {
        aggregates.push(over(Func::ArrayAgg, Some(0), rows));
    }
    let slots = vec![Kind::Int];
    let (lateness_us, future_us, reorder_us) = (0, 0, 0);
    Plan::new(Group {
        keep,
        id: IdKind::Int,
        slots,
        aggregates,
        lateness_us,
        future_us,
        reorder_us,
    })
}

fn event(time: i64) -> Event {
    Event { time, id: Id::Int(time), slots: vec![Value::Int(time)] }
}

fn vouch(from: i64, as_of: i64) -> Vouch {
    Vouch { from: Micros(from), as_of: Micros(as_of) }
}

fn ask(plan: &Plan, stored: Stored<'_>, at: i64, from: i64) -> Vec<Result<Value, Unknown>> {
    let instant = Instant { at: Micros(at), own: None, complete_from: Micros(from) };
    let answers = read(plan, key().bytes(), stored, instant, &[0, 1], &Limits::default());
    answers.expect("own bytes").into_iter().map(|answer| answer.value).collect()
}

/// The harm: bins count an event of the database, and once more when the stream brings it.
#[test]
fn what_cannot_hold_ids_is_not_filled() {
    for keep in [Keep::Binned { width_us: 5, origin_us: 0 }, Keep::Lifetime] {
        let records = records(&[event(1)]);
        assert_eq!(filled(&plan(keep), Stored::default(), &records, vouch(0, 1)), None);
    }
}

/// The harm: what trimming let go comes back, and a window that looks whole is not.
#[test]
fn a_fill_brings_nothing_back_that_trimming_let_go() {
    let plan = plan(Keep::Exact);
    let times: Vec<Event> = (0..100).map(event).collect();
    let base = folded(&plan, None, &records(&times));
    let stored = Stored { base: Some(&base), tail: &[] };
    let done = filled(&plan, stored, &records(&times[..50]), vouch(0, 100)).expect("it fits");
    let there = Stored { base: Some(&done.base), tail: &[] };
    let inspected = inspect(&plan, key().bytes(), there).expect("own bytes").base.expect("a base");
    assert_eq!(inspected.events.len(), 11);
    assert_eq!(done.whole_from, Micros(89), "the word reaches no further than the state");
}

/// The harm: the oldest events that the stream brought go, for those that can be asked for again.
#[test]
fn a_key_is_not_filled_beyond_its_bound() {
    let plan = plan(Keep::Exact);
    let limits = Limits { max_bytes: 30 };
    let many = records(&(0..=10).map(event).collect::<Vec<_>>());
    let try_fill = |records: &[u8]| {
        fill(&plan, key().bytes(), Stored::default(), records, vouch(0, 10), &limits)
    };
    assert_eq!(try_fill(&many), Ok(None));
    assert!(try_fill(&records(&[event(1)])).expect("own bytes").is_some());
}

#[test]
fn folding_keeps_a_word_and_makes_none() {
    let plan = plan(Keep::Exact);
    let plain = folded(&plan, None, &records(&[event(1)]));
    let stored = Stored { base: Some(&plain), tail: &[] };
    assert_eq!(vouched(&plan, key().bytes(), stored), Ok(None));
    let done = filled(&plan, stored, &[], vouch(-5, 2)).expect("it fits");
    let more = folded(&plan, Some(&done.base), &records(&[event(2)]));
    let stored = Stored { base: Some(&more), tail: &[] };
    assert_eq!(vouched(&plan, key().bytes(), stored), Ok(Some(vouch(-5, 2))));
    let other = Key::of(&[Value::Int(8)]);
    assert_eq!(vouched(&plan, other.bytes(), stored), Err(Corrupt::Base));
}

/// The harm: the last three are two that are known and one from before a gap.
#[test]
fn a_frame_of_rows_does_not_reach_behind_what_is_vouched_for() {
    let plan = plan(Keep::Exact);
    let tail = records(&[event(1), event(20), event(30), event(40)]);
    let stored = Stored { base: None, tail: &tail };
    let list = |times: [i64; 2]| Ok(Value::List(times.map(Value::Int).to_vec()));
    assert_eq!(ask(&plan, stored, 45, 20)[1], list([30, 40]));
    let gap = Err(Unknown::NotWhole { from: Micros(35) });
    assert_eq!(ask(&plan, stored, 45, 35)[1], gap);
    assert_eq!(ask(&plan, stored, 45, 35)[0], Ok(Value::Int(1)));
}
