//! What goes wrong in streams and stores, and what must not come of it.

use trueup_core::testing::Dice;
use trueup_core::*;

const EVER: Micros = Micros(i64::MIN);
const KEY: &[u8] = b"user 42";
const AMOUNT: usize = 0;
const CENTS: usize = 1;
const COUNT: usize = 2;
const BINS: Keep = Keep::Binned { width_us: 10, origin_us: 0 };

fn over(func: Func, arg: Option<usize>, far_us: i64, near_us: i64) -> Aggregate {
    let frame = Frame::Range { far_us: Some(far_us), near_us };
    Aggregate { func, arg, filter: None, frame }
}

/// A double, a decimal and an integer a record.
fn plan(keep: Keep, aggregates: Vec<Aggregate>) -> Plan {
    Plan::new(Group {
        keep,
        id: IdKind::Int,
        slots: vec![Kind::Float, Kind::Decimal { scale: 2 }, Kind::Int],
        aggregates,
        lateness_us: 50,
        future_us: 0,
        reorder_us: 20,
    })
}

fn event(id: i64, time: i64, amount: f64) -> Event {
    let cents = Value::Decimal((amount * 100.0) as i128);
    Event { time, id: Id::Int(id), slots: vec![Value::Float(amount), cents, Value::Int(id)] }
}

fn tail<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<u8> {
    let mut out = Vec::new();
    for (event, offset) in events.into_iter().zip(0..) {
        record(KEY, event, Some(Position { source: 0, partition: 0, offset }), &mut out);
    }
    out
}

fn folded<'e>(plan: &Plan, events: impl IntoIterator<Item = &'e Event>) -> Folded {
    let stored = Stored { base: None, tail: &tail(events) };
    fold(plan, KEY, stored, &Limits::default()).expect("own bytes")
}

fn ask(plan: &Plan, base: &[u8], at: i64, own: Option<&Event>) -> Vec<Result<Value, Unknown>> {
    let all: Vec<usize> = (0..plan.group().aggregates.len()).collect();
    let instant = Instant { at: Micros(at), own, complete_from: EVER };
    let stored = Stored { base: Some(base), tail: &[] };
    let answers = read(plan, KEY, stored, instant, &all, &Limits::default()).expect("own bytes");
    answers.into_iter().map(|answer| answer.value).collect()
}

/// What training says for one event's row.
fn trained(plan: &Plan, events: &[Event], row: i64) -> Vec<Result<Value, Unknown>> {
    let mut columns = Events::new(&plan.group().slots);
    events.iter().for_each(|e| columns.push(e.time, e.id.clone(), &e.slots));
    let (columns, _) = columns.normalise();
    let own = columns.find(&Id::Int(row)).expect("it is there");
    let ask = Ask { at: Micros(columns.times[own]), own: Some(own), known: columns.len() };
    let mut answers = Vec::new();
    for aggregate in 0..plan.group().aggregates.len() {
        slide(plan, aggregate, &columns, &[ask], |_, value| answers.push(value));
    }
    answers
}

/// Row 24: the same id comes twice with different content. Were the first one to win, a replay in
/// another order would serve another number.
#[test]
fn an_id_with_two_contents_counts_once_by_rule_and_is_reported_in_any_order() {
    let plan = plan(Keep::Exact, vec![over(Func::Sum, Some(AMOUNT), 100, 0)]);
    let (one, other) = (event(7, 1_000, 10.0), event(7, 1_003, 99.0));
    for order in [[&one, &other], [&other, &one]] {
        let folded = folded(&plan, order);
        assert_eq!(folded.met.conflicts, 1, "the conflict is told");
        assert_eq!(folded.held, 1);
        let answers = ask(&plan, &folded.base, 1_010, None);
        assert_eq!(answers, [Ok(Value::Float(99.0))], "the later one, whichever came first");
    }
    let content = (event(7, 1_000, 10.0), event(7, 1_000, 99.0));
    for order in [[&content.0, &content.1], [&content.1, &content.0]] {
        let folded = folded(&plan, order);
        assert_eq!(folded.met.conflicts, 1);
        assert_eq!(ask(&plan, &folded.base, 1_010, None), [Ok(Value::Float(99.0))]);
    }
}

/// The records of `events` from `from` on, each at the position of its place.
fn tail_from(events: &[Event], from: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (offset, event) in events.iter().enumerate().skip(from) {
        let position = Position { source: 0, partition: 0, offset: offset as u64 + 1 };
        record(KEY, event, Some(position), &mut out);
    }
    out
}

/// Rows 8 to 11: a store came back without records that it had acknowledged, later ones were put
/// behind, and then the worker went back and sent everything again.
#[test]
fn records_sent_again_after_a_loss_fill_the_hole_and_count_once() {
    let mut dice = Dice::new(11);
    for keep in [Keep::Exact, BINS, Keep::Lifetime] {
        let far_us = if keep == Keep::Lifetime { None } else { Some(200) };
        let frame = Frame::Range { far_us, near_us: 0 };
        let all = [Func::Sum, Func::Count, Func::Last];
        let aggregate = |func| Aggregate { func, arg: Some(AMOUNT), filter: None, frame };
        let plan = plan(keep, all.map(aggregate).to_vec());
        for _ in 0..200 {
            let count = 2 + dice.below(40) as usize;
            let events: Vec<Event> =
                (0..count as i64).map(|i| event(i, 1_000 + i * 7, i as f64 / 7.0)).collect();
            let checkpoint = dice.below(count as u64) as usize;
            let survived = checkpoint + dice.below((count - checkpoint) as u64 + 1) as usize;
            let lost_to = survived + dice.below((count - survived) as u64 + 1) as usize;
            let whole = folded_bytes(&plan, None, &tail_from(&events, 0), &|_| true);
            let settled = |position: Position| position.offset <= checkpoint as u64;
            // What survived, what was sent before anybody noticed, and everything again.
            let mut tail = tail_from(&events[..survived], 0);
            tail.extend_from_slice(&tail_from(&events, lost_to));
            let before = folded_bytes(&plan, None, &tail, &settled);
            let mut rest = before.kept.clone();
            rest.extend_from_slice(&tail_from(&events, checkpoint));
            let after = folded_bytes(&plan, Some(&before.base), &rest, &|_| true);
            assert_eq!(after.base, whole.base, "{keep:?} {checkpoint} {survived} {lost_to}");
            assert_eq!(after.kept, [], "{keep:?}");
            let none_young = keep == Keep::Exact || count == checkpoint;
            assert!(!none_young || before.kept.is_empty(), "an exact set takes in everything");
        }
    }
}

fn folded_bytes(
    plan: &Plan,
    base: Option<&[u8]>,
    tail: &[u8],
    settled: &dyn Fn(Position) -> bool,
) -> Folded {
    fold_settled(plan, KEY, Stored { base, tail }, &Limits::default(), settled).expect("own bytes")
}

/// Without the rule that only settled records are folded, that same loss would lose for good.
#[test]
fn a_fold_of_records_that_are_not_settled_would_shut_their_forerunners_out() {
    let plan = plan(Keep::Lifetime, vec![lifetime_count()]);
    let events: Vec<Event> = (0..10).map(|i| event(i, 1_000 + i * 7, 1.0)).collect();
    let hole = folded_bytes(&plan, None, &tail_from(&events, 5), &|_| true);
    let again = folded_bytes(&plan, Some(&hole.base), &tail_from(&events, 0), &|_| true);
    assert_eq!(ask(&plan, &again.base, 2_000, None), [Ok(Value::Int(5))], "five are shut out");
    let young = folded_bytes(&plan, None, &tail_from(&events, 5), &|_| false);
    let mut tail = young.kept.clone();
    tail.extend_from_slice(&tail_from(&events, 0));
    let again = folded_bytes(&plan, Some(&young.base), &tail, &|_| true);
    assert_eq!(ask(&plan, &again.base, 2_000, None), [Ok(Value::Int(10))]);
}

/// Without the rule that after an error everything is sent again from the first record that is not
/// acknowledged, one that others have overtaken would be taken for a redelivery.
#[test]
fn a_record_that_is_overtaken_after_an_error_would_be_lost() {
    let plan = plan(Keep::Lifetime, vec![lifetime_count()]);
    let events: Vec<Event> = (0..10).map(|i| event(i, 1_000 + i * 7, 1.0)).collect();
    let count = |tails: [Vec<u8>; 2]| {
        // Each is acknowledged, a checkpoint says so, and then it is folded.
        let first = folded_bytes(&plan, None, &tails[0], &|_| true);
        let rest = [first.kept, tails[1].clone()].concat();
        let folded = folded_bytes(&plan, Some(&first.base), &rest, &|_| true);
        ask(&plan, &folded.base, 2_000, None)
    };
    let (failed, all) = (3, tail_from(&events, 0));
    let single = |at: usize| tail_from(&events[..at + 1], at);
    let overtaking = [tail_from(&events[..failed], 0), tail_from(&events, failed + 1)].concat();
    assert_eq!(count([overtaking.clone(), single(failed)]), [Ok(Value::Int(9))], "one is lost");
    let in_order = tail_from(&events[..failed], 0);
    assert_eq!(count([in_order, tail_from(&events, failed)]), [Ok(Value::Int(10))]);
    assert_eq!(count([all, overtaking]), [Ok(Value::Int(10))], "redeliveries count nothing");
}

fn lifetime_count() -> Aggregate {
    let frame = Frame::Range { far_us: None, near_us: 0 };
    Aggregate { func: Func::Count, arg: None, filter: None, frame }
}

/// Row 25: events overtake each other. A state that depends on it cannot be replayed.
#[test]
fn events_out_of_order_within_the_lateness_leave_the_same_bytes() {
    let mut dice = Dice::new(25);
    let events: Vec<Event> =
        (0..60).map(|i| event(i, 1_000 + i * 3, i as f64 / 3.0 - 7.0)).collect();
    for keep in [Keep::Exact, BINS, Keep::Lifetime] {
        let far_us = if keep == Keep::Lifetime { None } else { Some(200) };
        let frame = Frame::Range { far_us, near_us: 0 };
        let all = [Func::Sum, Func::VarPop, Func::Min, Func::Last];
        let aggregate = |func| Aggregate { func, arg: Some(AMOUNT), filter: None, frame };
        let plan = plan(keep, all.map(aggregate).to_vec());
        let in_order = folded(&plan, &events).base;
        for _ in 0..50 {
            // Positions follow the arrival, whatever the order of the times.
            let mut shuffled = events.clone();
            for pair in 0..shuffled.len() - 6 {
                shuffled.swap(pair, pair + dice.below(6) as usize);
            }
            assert_eq!(folded(&plan, &shuffled).base, in_order, "{keep:?}");
        }
    }
}

/// Row 26: an event comes when nothing can see it any more. Kept, it would grow the state for ever;
/// counted in silence, an answer would differ from its training row.
#[test]
fn an_event_later_than_any_frame_is_dropped_and_counted_and_changes_no_answer() {
    for keep in [Keep::Exact, BINS] {
        let counts = [over(Func::Count, None, 100, 0), over(Func::Sum, Some(CENTS), 60, 20)];
        let plan = plan(keep, counts.to_vec());
        let known: Vec<Event> = (0..5).map(|i| event(i, 2_000 + i * 10, 1.0)).collect();
        let before = folded(&plan, &known);
        // Older than the newest by more than frame, lateness, bin and reorder together.
        let late = event(99, 2_040 - 100 - 50 - 10 - 20 - 1_000, 1e6);
        let mut tail = Vec::new();
        record(KEY, &late, Some(Position { source: 0, partition: 0, offset: 9 }), &mut tail);
        let stored = Stored { base: Some(&before.base), tail: &tail };
        let after = fold(&plan, KEY, stored, &Limits::default()).expect("own bytes");
        assert_eq!(after.met.late, 1, "{keep:?}: it is counted");
        assert_eq!(after.held, before.held, "{keep:?}: and dropped");
        let all: Vec<Event> = known.iter().chain([&late]).cloned().collect();
        for row in known.iter().filter(|row| row.time > 2_020) {
            let own = Some(row);
            let answers = ask(&plan, &after.base, row.time, own);
            assert_eq!(answers, ask(&plan, &before.base, row.time, own), "{keep:?}");
            let Id::Int(id) = row.id else { panic!("integers") };
            assert_eq!(answers, trained(&plan, &all, id), "{keep:?}: training sees no more");
        }
    }
}

/// Row 26: whoever watches `late` for a lagging source must not be shown events that came in order
/// and were folded, many at once, after they had left every frame.
#[test]
fn events_that_come_in_order_are_never_late_however_far_apart_and_whenever_they_are_folded() {
    let last_two = Frame::Rows { far: 1, near: 0 };
    let rows = Aggregate { frame: last_two, ..over(Func::Count, None, 0, 0) };
    for (keep, more) in [(Keep::Exact, vec![]), (Keep::Exact, vec![rows]), (BINS, vec![])] {
        let aggregates = [vec![over(Func::Count, None, 100, 0)], more].concat();
        let plan = plan(keep, aggregates);
        let events: Vec<Event> = (0..100).map(|i| event(i, i * 7_200, 1.0)).collect();
        let all = folded(&plan, &events);
        assert_eq!((all.met.added, all.met.late), (100, 0), "{keep:?}");
        let late: Vec<Event> = [&events[..], &[event(100, 7_200, 1.0)]].concat();
        assert_eq!(folded(&plan, &late).met.late, 1, "{keep:?}: the one that came too late is");
    }
}

/// Row 27: events of one microsecond. A tie counted in training and not in serving is a skew that
/// no average shows.
#[test]
fn ties_count_by_one_rule_in_serving_and_in_training() {
    let ties = [event(1, 500, 1.0), event(2, 500, 2.0), event(3, 500, 4.0), event(4, 499, 8.0)];
    let with_ties = over(Func::Sum, Some(AMOUNT), 10, 0);
    let without = over(Func::Sum, Some(AMOUNT), 10, 1);
    let rows = Frame::Rows { far: 1, near: 0 };
    let last_two = Aggregate { frame: rows, ..with_ties.clone() };
    let plan = plan(Keep::Exact, vec![with_ties, without, last_two]);
    let base = folded(&plan, &ties).base;
    for (row, last_two) in [(0, 9.0), (1, 3.0), (2, 6.0)] {
        let expected = [15.0, 8.0, last_two].map(|x| Ok(Value::Float(x)));
        assert_eq!(ask(&plan, &base, 500, Some(&ties[row])), expected, "served, row {row}");
        assert_eq!(trained(&plan, &ties, row as i64 + 1), expected, "trained, row {row}");
    }
}

/// Row 46: what is not finite poisons every sum that it enters.
#[test]
fn nothing_that_is_not_finite_is_believed_and_the_greatest_and_least_doubles_are_exact() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
        for keep in [Keep::Exact, BINS] {
            let plan = plan(keep, vec![over(Func::Sum, Some(AMOUNT), 100, 0)]);
            let mut poisoned = event(1, 100, 0.5);
            poisoned.slots[AMOUNT] = Value::Float(bad);
            let stored = Stored { base: None, tail: &tail([&poisoned]) };
            let found = fold(&plan, KEY, stored, &Limits::default());
            assert_eq!(found, Err(Corrupt::Record { number: 0 }), "{bad} in {keep:?}");
        }
    }
    let amounts = [f64::MAX, 1e308, 5e-324, -f64::MAX, -1e308, 2.5e-310];
    for keep in [Keep::Exact, BINS] {
        let plan = plan(keep, vec![over(Func::Sum, Some(AMOUNT), 100, 0)]);
        let events: Vec<Event> =
            amounts.iter().zip(0..).map(|(x, i)| event(i, 100 + i, *x)).collect();
        let sum = ask(&plan, &folded(&plan, &events).base, 110, None);
        assert_eq!(sum, [Ok(Value::Float(5e-324 + 2.5e-310))], "what cancels leaves the rest");
    }
}

/// Row 47: refunds.
#[test]
fn refunds_are_amounts_like_others_and_their_sums_means_and_extremes_are_exact() {
    let refunds = [-0.1, 0.3, -1e9, 1e9, -0.2, 12.5];
    let events: Vec<Event> = refunds.iter().zip(0..).map(|(x, i)| event(i, 100 + i, *x)).collect();
    for keep in [Keep::Exact, BINS] {
        let all = [Func::Sum, Func::Avg, Func::Min, Func::Max];
        let plan = plan(keep, all.map(|func| over(func, Some(CENTS), 100, 0)).to_vec());
        let expected = [
            Value::Decimal(1250),
            Value::Float(12.5 / 6.0),
            Value::Decimal(-100_000_000_000),
            Value::Decimal(100_000_000_000),
        ];
        let answers = ask(&plan, &folded(&plan, &events).base, 110, None);
        assert_eq!(answers, expected.map(Ok), "{keep:?}");
    }
}

/// Row 48: a sum outgrows its type. Wrapped, a great turnover would look like a small one.
#[test]
fn a_sum_that_overflows_is_unknown_never_wrapped_and_known_again_when_it_fits() {
    let great = 10i128.pow(38) - 1;
    let mut events: Vec<Event> = (0..3).map(|i| event(i, 100 + i * 40, f64::MAX)).collect();
    for event in &mut events {
        event.slots[CENTS] = Value::Decimal(great);
        event.slots[COUNT] = Value::Int(i64::MAX);
    }
    for keep in [Keep::Exact, BINS] {
        let sums = [AMOUNT, CENTS, COUNT].map(|slot| over(Func::Sum, Some(slot), 50, 0));
        let mean = over(Func::Avg, Some(AMOUNT), 50, 0);
        let plan = plan(keep, sums.into_iter().chain([mean]).collect());
        let base = folded(&plan, &events).base;
        let overflow = || Err(Unknown::Overflow);
        let both = ask(&plan, &base, 180, Some(&events[2]));
        let mean = Ok(Value::Float(f64::MAX));
        assert_eq!(both, [overflow(), overflow(), overflow(), mean.clone()], "{keep:?}");
        assert_eq!(trained(&plan, &events, 2), both, "{keep:?}: in training too");
        let one = ask(&plan, &base, 215, None);
        let fits = [Value::Float(f64::MAX), Value::Decimal(great), Value::Int(i64::MAX)];
        assert_eq!(one[..3], fits.map(Ok), "{keep:?}");
        assert_eq!(one[3], mean);
    }
}

/// Row 62: a bit flips in a stored value. Believed, it would be a wrong number that looks right.
#[test]
fn a_flipped_bit_anywhere_in_a_keys_state_is_found_and_never_answered() {
    for keep in [Keep::Exact, BINS, Keep::Lifetime] {
        let far_us = if keep == Keep::Lifetime { None } else { Some(100) };
        let frame = Frame::Range { far_us, near_us: 0 };
        let sum = Aggregate { func: Func::Sum, arg: Some(AMOUNT), filter: None, frame };
        let plan = plan(keep, vec![sum]);
        let events: Vec<Event> = (0..9).map(|i| event(i, 100 + i * 9, i as f64)).collect();
        let (base, tail) = (folded(&plan, &events[..7]).base, tail(&events[7..]));
        let value = [base.as_slice(), tail.as_slice()].concat();
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (base, tail) = flipped.split_at(base.len());
            let stored = Stored { base: Some(base), tail };
            let instant = Instant { at: Micros(200), own: None, complete_from: EVER };
            let found = read(&plan, KEY, stored, instant, &[0], &Limits::default());
            assert!(found.is_err(), "bit {bit} of {keep:?}: {found:?}");
        }
        let swapped = Stored { base: Some(&base), tail: &tail };
        let instant = Instant { at: Micros(200), own: None, complete_from: EVER };
        let found = read(&plan, b"user 43", swapped, instant, &[0], &Limits::default());
        assert!(found.is_err(), "the value of another key");
    }
}

/// A key outgrows its bound. Cut in silence, its counts would be short for ever.
#[test]
fn a_key_that_outgrows_its_bound_is_unknown_where_it_was_cut_and_never_short() {
    let plan = plan(Keep::Exact, vec![over(Func::Count, None, 100_000, 0)]);
    let limits = Limits { max_bytes: 3_000 };
    let events: Vec<Event> = (0..1_000).map(|i| event(i, i * 100, 1.0)).collect();
    let stored = Stored { base: None, tail: &tail(&events) };
    let folded = fold(&plan, KEY, stored, &limits).expect("own bytes");
    assert!(folded.cut && folded.held < 200, "{} held", folded.held);
    assert!(folded.base.len() <= limits.max_bytes, "{} bytes", folded.base.len());
    let first = 1_000 - folded.held as i64;
    let answers = ask(&plan, &folded.base, 99_900, None);
    let from = Micros((first - 1) * 100 + 1);
    assert_eq!(answers, [Err(Unknown::NotWhole { from })], "the frame reaches behind the cut");
    let short = Plan::new(Group {
        aggregates: vec![over(Func::Count, None, 5_000, 0)],
        ..plan.group().clone()
    });
    let answers = ask(&short, &folded.base, 99_900, None);
    assert_eq!(answers, [Ok(Value::Int(51))], "and this one does not");
}
