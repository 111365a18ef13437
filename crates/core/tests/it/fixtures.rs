//! Bytes of each format version, as they were written when it was the present one, and what they
//! must be read as for ever.
//!
//! `tests/fixtures/v1` holds, for each way of keeping (and for exact bases each kind of id), a
//! base, a tail of records behind it, and the answers of both together, one line an aggregate.
//! Between them they have every kind of value, NULLs among them, every partial, near and far sums,
//! one of the beaten, the word of a fill, bins, a floor, raw events, recent ids and admitted
//! offsets.
//!
//! Two tests: the bytes are read as the answers say, in every version; and today's code writes the
//! same bytes, in the present version. If the second one fails, stored state has been orphaned.
//!
//! For a version 2: raise `FORMAT_VERSION`, keep the code that reads 1, add `"v2"` to [`VERSIONS`],
//! run `UPDATE_FIXTURES=1 cargo nextest run --release --workspace --all-features fixtures`, which
//! writes the files of the present version only, and commit `tests/fixtures/v2` beside `v1`, whose
//! files never change.

use std::fmt::Write;
use std::path::PathBuf;
use trueup_core::testing::oracle;
use trueup_core::*;

/// All versions that are read, the present one last.
const VERSIONS: &[&str] = &["v1"];

const KINDS: [Kind; 7] = [
    Kind::Bool,
    Kind::Int,
    Kind::Decimal { scale: 2 },
    Kind::Float,
    Kind::Text,
    Kind::Time,
    Kind::Date,
];
const FILTER: usize = 0;
const NUMBERS: [usize; 3] = [1, 2, 3];

const MINUTE_US: i64 = 60_000_000;
/// The instant that is asked, and the time of the newest event.
const NOW_US: i64 = 1_772_000_000_000_000;

/// The one with the word of a fill in its base.
const FILLED: &str = "exact-filled";
const WORD: Vouch = Vouch { from: Micros(NOW_US - 90 * MINUTE_US), as_of: Micros(NOW_US + 1) };

/// A fixture's name, how its group keeps events, and ids.
const FIXTURES: [(&str, Keep, IdKind); 6] = [
    ("exact", Keep::Exact, IdKind::Int),
    (FILLED, Keep::Exact, IdKind::Int),
    ("exact-hashed-ids", Keep::Exact, IdKind::Hash),
    ("exact-text-ids", Keep::Exact, IdKind::Text),
    ("binned", Keep::Binned { width_us: MINUTE_US, origin_us: 7 }, IdKind::Int),
    ("lifetime", Keep::Lifetime, IdKind::Text),
];

/// Every aggregate of every kind of argument that the way of keeping allows.
fn group(keep: Keep, id: IdKind) -> Group {
    let far_us = if keep == Keep::Lifetime { None } else { Some(60 * MINUTE_US) };
    let range = Frame::Range { far_us, near_us: 0 };
    let over = |func, arg, filter, frame| Aggregate { func, arg, filter, frame };
    let mut aggregates = vec![over(Func::Count, None, None, range)];
    for slot in 0..KINDS.len() {
        let any = [Func::Count, Func::Min, Func::Max, Func::First, Func::Last];
        aggregates.extend(any.map(|func| over(func, Some(slot), None, range)));
        aggregates.push(over(Func::ApproxDistinct, Some(slot), Some(FILTER), range));
        if keep == Keep::Exact {
            let rows = Frame::Rows { far: 3, near: 0 };
            aggregates.push(over(Func::CountDistinct, Some(slot), None, range));
            aggregates.push(over(Func::ArrayAgg, Some(slot), None, rows));
            let lag = Frame::Rows { far: 2, near: 2 };
            aggregates.push(over(Func::Lag, Some(slot), None, lag));
        }
    }
    for slot in NUMBERS {
        let all = [
            Func::Sum,
            Func::Avg,
            Func::VarPop,
            Func::VarSamp,
            Func::StddevPop,
            Func::StddevSamp,
            Func::Percentile(0.5),
        ];
        aggregates.extend(all.map(|func| over(func, Some(slot), Some(FILTER), range)));
    }
    aggregates.extend([Func::BoolAnd, Func::BoolOr].map(|f| over(f, Some(FILTER), None, range)));
    if let Keep::Binned { .. } = keep {
        let ever = Frame::Range { far_us: None, near_us: MINUTE_US };
        aggregates.push(over(Func::Sum, Some(2), None, ever));
    }
    Group {
        keep,
        id,
        slots: KINDS.to_vec(),
        aggregates,
        lateness_us: MINUTE_US,
        future_us: MINUTE_US,
        reorder_us: 2 * MINUTE_US,
    }
}

fn id(kind: IdKind, number: i64) -> Id {
    let text = format!("payment-{number}");
    Id::of_text(kind, &text).unwrap_or(Id::Int(number * 1_000 - 5_000))
}

/// A row of events: number of the id, minutes before now, values by [`KINDS`].
type Row = (i64, i64, [Value; 7]);

fn rows() -> Vec<Row> {
    use Value::{Bool, Date, Decimal, Float, Int, Null, Text, Time};
    let text = |text: &str| Text(text.into());
    let nulls = || [Null, Null, Null, Null, Null, Null, Null];
    vec![
        // Beyond the horizon of an hour and two minutes.
        (1, 200, [Bool(true), Int(1), Decimal(100), Float(0.5), text("old"), Time(1), Date(1)]),
        (2, 50, [Bool(true), Int(-7), Decimal(-1250), Float(-0.1), text("de"), Time(-1), Date(-1)]),
        (3, 50, nulls()),
        (
            4,
            41,
            [
                Bool(true),
                Int(i64::MAX),
                Decimal(10i128.pow(38) - 1),
                Float(f64::MAX),
                text(""),
                Time(i64::MAX),
                Date(i32::MAX),
            ],
        ),
        (
            5,
            40,
            [
                Bool(true),
                Int(i64::MIN + 1),
                Decimal(1 - 10i128.pow(38)),
                Float(f64::MIN),
                text("über\0\n"),
                Time(i64::MIN),
                Date(i32::MIN),
            ],
        ),
        (6, 40, [Bool(false), Int(300), Decimal(1), Float(5e-324), text("de"), Null, Null]),
        // The same id with an earlier time: it gives way.
        (6, 45, [Bool(true), Int(9), Null, Null, text("first"), Null, Date(3)]),
        (
            7,
            10,
            [Bool(true), Int(128), Decimal(64), Float(1e15), text("fr"), Time(2), Date(20_500)],
        ),
        (8, 3, [Null, Int(0), Decimal(0), Float(0.0), Null, Time(0), Date(0)]),
        (9, 1, [Bool(true), Int(-64), Decimal(-1), Float(1.25), text("us"), Time(63), Date(64)]),
        (10, 0, [Bool(true), Int(2), Decimal(3), Float(0.1), text("at"), Time(4), Date(5)]),
    ]
}

/// Rows from here on are records behind the base.
const FOLDED: usize = 8;

fn event(kind: IdKind, (number, minutes, slots): &Row) -> Event {
    let time = NOW_US - minutes * MINUTE_US - number * 1_000;
    Event { time, id: id(kind, *number), slots: slots.to_vec() }
}

fn key() -> Key {
    use Value::{Bool, Date, Decimal, Float, Int, Null, Text, Time};
    let text = Text("a{b}:ü".into());
    Key::of(&[Null, Bool(true), Int(-1), Decimal(5), Float(0.5), text, Time(6), Date(7)])
}

/// A base and a tail behind it, as today's code writes them.
fn written(name: &str, keep: Keep, kind: IdKind) -> (Vec<u8>, Vec<u8>) {
    let plan = Plan::new(group(keep, kind));
    let tail = |rows: &[Row], first: u64| {
        let mut out = Vec::new();
        for (row, offset) in rows.iter().zip(first..) {
            // Two partitions; exact groups take records without a position too.
            let position = Position { source: 3, partition: offset as u32 % 2, offset };
            let position = (keep != Keep::Exact || offset % 3 > 0).then_some(position);
            record(key().bytes(), &event(kind, row), position, &mut out);
        }
        out
    };
    let (rows, key) = (rows(), key());
    let folded = tail(&rows[..FOLDED], 100);
    let stored = Stored { base: None, tail: &folded };
    let base = match name {
        FILLED => {
            let none = Stored::default();
            let filled = fill(&plan, key.bytes(), none, &folded, WORD, &Limits::default());
            filled.expect("own bytes").expect("it fits").base
        }
        _ => fold(&plan, key.bytes(), stored, &Limits::default()).expect("own bytes").base,
    };
    (base, tail(&rows[FOLDED..], 1_000))
}

fn read_back(keep: Keep, kind: IdKind, base: &[u8], tail: &[u8]) -> Vec<Answer> {
    let plan = Plan::new(group(keep, kind));
    let all: Vec<usize> = (0..plan.group().aggregates.len()).collect();
    let instant = Instant { at: Micros(NOW_US), own: None, complete_from: Micros(i64::MIN) };
    let stored = Stored { base: Some(base), tail };
    read(&plan, key().bytes(), stored, instant, &all, &Limits::default()).expect("it decodes")
}

fn as_lines(keep: Keep, kind: IdKind, answers: &[Answer]) -> String {
    let mut out = String::new();
    for (aggregate, answer) in group(keep, kind).aggregates.iter().zip(answers) {
        let Aggregate { func, arg, filter, frame } = aggregate;
        let what = format!("{func:?} of {arg:?} where {filter:?} over {frame:?}");
        writeln!(out, "{what} = {:?}, empty: {}", answer.value, answer.empty).expect("a string");
    }
    out
}

fn place(version: &str, name: &str, part: &str) -> PathBuf {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(version).join(format!("{name}.{part}"))
}

fn file(version: &str, name: &str, part: &str) -> Vec<u8> {
    let path = place(version, name, part);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn bytes_of_every_released_version_are_read_as_they_were_written() {
    for version in VERSIONS {
        for (name, keep, kind) in FIXTURES {
            let (base, tail) = (file(version, name, "base"), file(version, name, "tail"));
            let answers = as_lines(keep, kind, &read_back(keep, kind, &base, &tail));
            let expected = String::from_utf8(file(version, name, "answers")).expect("text");
            for (answer, expected) in answers.lines().zip(expected.lines()) {
                assert_eq!(answer, expected, "{version} {name}");
            }
            assert_eq!(answers.lines().count(), expected.lines().count(), "{version} {name}");
        }
    }
}

#[test]
fn todays_code_writes_the_bytes_of_the_present_version() {
    assert_eq!(VERSIONS.last(), Some(&format!("v{FORMAT_VERSION}").as_str()));
    let version = VERSIONS[VERSIONS.len() - 1];
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    for (name, keep, kind) in FIXTURES {
        let (base, tail) = written(name, keep, kind);
        if update {
            let answers = as_lines(keep, kind, &read_back(keep, kind, &base, &tail));
            let parts = [("base", &base[..]), ("tail", &tail[..]), ("answers", answers.as_bytes())];
            for (part, bytes) in parts {
                std::fs::write(place(version, name, part), bytes).expect("a place to write");
            }
        }
        assert_eq!(base, file(version, name, "base"), "the base of {name}");
        assert_eq!(tail, file(version, name, "tail"), "the tail of {name}");
    }
}

#[test]
fn the_word_of_a_fill_is_read_as_it_was_written() {
    let base = file("v1", FILLED, "base");
    let stored = Stored { base: Some(&base), tail: &[] };
    let plan = Plan::new(group(Keep::Exact, IdKind::Int));
    assert_eq!(vouched(&plan, key().bytes(), stored), Ok(Some(WORD)));
}

/// The answers in the files are themselves judged, by the naive oracle.
#[test]
fn the_fixtures_hold_the_answers_of_the_oracle() {
    for (name, keep, kind) in FIXTURES {
        let group = group(keep, kind);
        let events: Vec<Event> = rows().iter().map(|row| event(kind, row)).collect();
        let set = oracle::distinct(&events);
        let (base, tail) = written(name, keep, kind);
        let answers = read_back(keep, kind, &base, &tail);
        let mut compared = 0;
        for (aggregate, answer) in group.aggregates.iter().zip(answers) {
            // A sketch of the median is near it, not it.
            if matches!(aggregate.func, Func::Percentile(_)) && keep != Keep::Exact {
                continue;
            }
            let expected = oracle::answer(&group, aggregate, &set, NOW_US, None);
            assert_eq!(answer.value, expected, "{name}: {aggregate:?}");
            compared += 1;
        }
        assert!(compared > 50, "{name}: {compared}");
    }
}
