//! What the verbs cost: `cargo bench --workspace --all-features --bench core`. `docs/benches.md`
//! has the results.

use divan::{Bencher, black_box, counter::ItemsCount};
use trueup_core::testing::Dice;
use trueup_core::{
    Aggregate, Event, Frame, Func, Group, Id, IdKind, Instant, Keep, Key, Kind, Limits, Micros,
    Plan, Position, Stored, Value, fold, read, record,
};

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;
/// The time of the newest event.
const NOW_US: i64 = 1_780_000_000 * SECOND_US;

const AMOUNT: usize = 0;
const MERCHANT: usize = 1;
const DECLINED: usize = 2;

fn main() {
    print_sizes();
    divan::main();
}

/// Eight features of a user's last 30 days, as a fraud team asks for them.
fn features(keep: Keep) -> Vec<Aggregate> {
    let over = |func, arg, filter, back_us| {
        let frame = Frame::Range { far_us: Some(back_us), near_us: 0 };
        Aggregate { func, arg, filter, frame }
    };
    let merchants = if keep == Keep::Exact { Func::CountDistinct } else { Func::ApproxDistinct };
    vec![
        over(Func::Count, None, None, HOUR_US),
        over(Func::Sum, Some(AMOUNT), None, DAY_US),
        over(Func::Avg, Some(AMOUNT), None, 30 * DAY_US),
        over(Func::Max, Some(AMOUNT), None, 30 * DAY_US),
        over(Func::StddevPop, Some(AMOUNT), None, 30 * DAY_US),
        over(Func::Count, None, Some(DECLINED), DAY_US),
        over(merchants, Some(MERCHANT), None, 30 * DAY_US),
        over(Func::Last, Some(MERCHANT), None, 30 * DAY_US),
    ]
}

fn plan(keep: Keep) -> Plan {
    Plan::new(Group {
        keep,
        id: IdKind::Int,
        slots: vec![Kind::Decimal { scale: 2 }, Kind::Int, Kind::Bool],
        aggregates: features(keep),
        lateness_us: HOUR_US,
        future_us: 0,
        reorder_us: 10 * SECOND_US,
    })
}

const MINUTES: Keep = Keep::Binned { width_us: 60 * SECOND_US, origin_us: 0 };

fn key() -> Key {
    Key::of(&[Value::Int(4_711)])
}

/// The `back`-th event before the newest, of a key that has one every `every_us`.
fn event(back: i64, every_us: i64) -> Event {
    let mut dice = Dice::new(back as u64);
    let slots = vec![
        Value::Decimal(i128::from(dice.below(50_000))),
        Value::Int(1_000 + dice.below(5_000) as i64),
        Value::Bool(dice.one_in(10)),
    ];
    let time = NOW_US - back * every_us - dice.below(every_us as u64) as i64;
    // Ids of a whole stream: those of one key are some thousands apart.
    let id = Id::Int(9_000_000_000 - back * 5_000 - dice.below(5_000) as i64);
    Event { time, id, slots }
}

/// The records of the events from `oldest` back to `newest` (not in), oldest first.
fn records(oldest: i64, newest: i64, every_us: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for back in (newest..oldest).rev() {
        let position = Position { source: 1, partition: 3, offset: (1 << 30) - back as u64 };
        record(key().bytes(), &event(back, every_us), Some(position), &mut out);
    }
    out
}

fn folded(plan: &Plan, base: Option<&[u8]>, tail: &[u8]) -> Vec<u8> {
    let stored = Stored { base, tail };
    fold(plan, key().bytes(), stored, &Limits::default()).expect("own bytes").base
}

/// How far apart the events of a user are: a hundred fit into the longest frame.
const USER_EVERY_US: i64 = 7 * HOUR_US;
/// And those of a busy merchant: a day has 28,800.
const MERCHANT_EVERY_US: i64 = 3 * SECOND_US;

fn print_sizes() {
    for n in [100, 1_000] {
        let plan = plan(Keep::Exact);
        let every_us = 30 * DAY_US / n;
        let base = folded(&plan, None, &records(n, 0, every_us)).len();
        let tail = records(1, 0, every_us).len();
        println!(
            "an event takes {:.1} bytes in a folded base of {n} ({base} bytes), {tail} as a record",
            base as f64 / n as f64
        );
    }
    let plan = plan(MINUTES);
    let base = folded(&plan, None, &records(28_800, 0, MERCHANT_EVERY_US)).len();
    println!("a merchant's day of minutes takes {base} bytes in a folded base");
}

/// Eight features at the time of a new event, which is in no state yet.
fn read_eight(bencher: Bencher<'_, '_>, keep: Keep, every_us: i64, base: &[u8], tail: &[u8]) {
    let (plan, key) = (plan(keep), key());
    let own = event(-1, every_us);
    let own = Event { time: NOW_US + SECOND_US, ..own };
    let wanted: Vec<usize> = (0..plan.group().aggregates.len()).collect();
    bencher.bench_local(|| {
        let instant =
            Instant { at: Micros(own.time), own: Some(&own), complete_from: Micros(i64::MIN) };
        let stored = Stored { base: Some(black_box(base)), tail: black_box(tail) };
        read(&plan, key.bytes(), stored, instant, &wanted, &Limits::default())
    });
}

/// A user's payment: a hundred events in the base, so many records behind it.
#[divan::bench(args = [0, 20])]
fn read_100_events(bencher: Bencher<'_, '_>, tail: i64) {
    let base = folded(&plan(Keep::Exact), None, &records(100, tail, USER_EVERY_US));
    read_eight(bencher, Keep::Exact, USER_EVERY_US, &base, &records(tail, 0, USER_EVERY_US));
}

/// A heavy user's: a thousand events.
#[divan::bench(args = [0, 20])]
fn read_1000_events(bencher: Bencher<'_, '_>, tail: i64) {
    let every_us = USER_EVERY_US / 10;
    let base = folded(&plan(Keep::Exact), None, &records(1_000, tail, every_us));
    read_eight(bencher, Keep::Exact, every_us, &base, &records(tail, 0, every_us));
}

/// A busy merchant's day of minutes.
#[divan::bench(args = [0, 20])]
fn read_1440_bins(bencher: Bencher<'_, '_>, tail: i64) {
    let base = folded(&plan(MINUTES), None, &records(28_800, tail, MERCHANT_EVERY_US));
    read_eight(bencher, MINUTES, MERCHANT_EVERY_US, &base, &records(tail, 0, MERCHANT_EVERY_US));
}

fn fold_into(bencher: Bencher<'_, '_>, keep: Keep, held: i64, tail: i64, every_us: i64) {
    let (plan, key) = (plan(keep), key());
    let base = folded(&plan, None, &records(held + tail, tail, every_us));
    let tail_bytes = records(tail, 0, every_us);
    bencher.counter(ItemsCount::new(tail as u64)).bench_local(|| {
        let stored = Stored { base: Some(black_box(&base)), tail: black_box(&tail_bytes) };
        fold(&plan, key.bytes(), stored, &Limits::default())
    });
}

/// One record into so many events.
#[divan::bench(args = [100, 1_000])]
fn fold_one_record(bencher: Bencher<'_, '_>, held: i64) {
    fold_into(bencher, Keep::Exact, held, 1, 30 * DAY_US / held);
}

/// A hundred records at once, as a compaction does.
#[divan::bench(args = [100, 1_000])]
fn fold_a_hundred_records(bencher: Bencher<'_, '_>, held: i64) {
    fold_into(bencher, Keep::Exact, held, 100, 30 * DAY_US / held);
}

/// So many records into a busy merchant's day of minutes, of which the youngest 10 s are raw.
#[divan::bench(args = [1, 100, 1_000])]
fn fold_into_bins(bencher: Bencher<'_, '_>, tail: i64) {
    fold_into(bencher, MINUTES, 28_800, tail, MERCHANT_EVERY_US);
}

/// So many records into a hot merchant, whose youngest 10 s hold 10,000 events.
#[divan::bench(args = [100, 1_000])]
fn fold_into_ten_thousand_raw(bencher: Bencher<'_, '_>, tail: i64) {
    fold_into(bencher, MINUTES, 20_000, tail, 1_000);
}

/// One event's record.
#[divan::bench]
fn record_one(bencher: Bencher<'_, '_>) {
    let (key, event) = (key(), event(0, USER_EVERY_US));
    let position = Some(Position { source: 1, partition: 3, offset: 1 << 30 });
    let mut out = Vec::with_capacity(1 << 10);
    bencher.bench_local(|| {
        out.clear();
        record(key.bytes(), black_box(&event), position, &mut out);
        out.len()
    });
}
