//! The log: order, offsets, bounds, retention and dead letters.

use std::sync::mpsc::channel;
use std::thread;

use proptest::prelude::*;
use tempfile::TempDir;
use trueup_store::{
    DeadCount, DeadLetter, Log, LogRecord, Lot, MAX_RECORD_BYTES, Options, StoreError,
};

use crate::support::{lot, payload};

fn log() -> Log {
    Log::in_memory().expect("it opens")
}

fn offsets(records: &[LogRecord]) -> Vec<u64> {
    records.iter().map(|record| record.offset).collect()
}

#[test]
fn a_log_that_nobody_wrote_to_is_empty() {
    let log = log();
    assert_eq!(log.info("pay"), Ok(None));
    assert_eq!(log.streams(), Ok(vec![]));
    assert_eq!(log.read("pay", 0, 10, 10), Ok(vec![]));
    assert_eq!(log.dead_letters("pay", None, 10), Ok(vec![]));
    assert_eq!(log.dead_count("pay"), Ok(DeadCount::default()));
    assert_eq!(log.trim("pay", 7), Ok(()));
}

#[test]
fn records_come_back_with_offset_time_and_bytes() {
    let log = log();
    let mut two = Lot::default();
    two.push(-5, b"first").expect("it is small");
    two.push(i64::MAX, b"").expect("it is small");
    assert_eq!(log.append("pay", two), Ok(0));
    let records = log.read("pay", 0, 10, 1000).expect("it answers");
    let first = LogRecord { offset: 0, time_us: -5, payload: b"first".to_vec() };
    assert_eq!(records, [first, LogRecord { offset: 1, time_us: i64::MAX, payload: vec![] }]);
}

#[test]
fn streams_count_their_offsets_apart() {
    let log = log();
    assert_eq!(log.append("pay", lot(0..5)), Ok(0));
    assert_eq!(log.append("login", lot(0..3)), Ok(0));
    assert_eq!(log.append("pay", lot(5..6)), Ok(5));
    assert_eq!(log.streams(), Ok(vec!["login".to_owned(), "pay".to_owned()]));
    let ends = ["pay", "login"].map(|name| log.info(name).expect("it answers").map(|at| at.end));
    assert_eq!(ends, [Some(6), Some(3)]);
    let births =
        ["pay", "login"].map(|name| log.info(name).expect("it answers").map(|at| at.birth));
    assert_ne!(births[0], births[1]);
}

#[test]
fn a_read_stops_at_its_bounds_but_returns_one_record_at_least() {
    let log = log();
    log.append("pay", lot(100..110)).expect("it appends");
    let read =
        |from, records, bytes| offsets(&log.read("pay", from, records, bytes).expect("it answers"));
    assert_eq!(read(3, 4, usize::MAX), [3, 4, 5, 6]);
    assert_eq!(read(0, usize::MAX, 100 + 101), [0, 1]);
    assert_eq!(read(0, usize::MAX, 100 + 100), [0]);
    assert_eq!(read(9, usize::MAX, 0), [9]);
    assert_eq!(read(0, 0, 1000), [0; 0]);
    assert_eq!(read(10, 10, 10), [0; 0]);
}

#[test]
fn an_offset_that_the_log_does_not_hold_is_a_gap_and_not_an_empty_answer() {
    let log = log();
    log.append("pay", lot(0..2000)).expect("it appends");
    log.trim("pay", 1500).expect("it trims");
    let gap = |wanted| StoreError::Gap { stream: "pay".into(), wanted, first: 1500, end: 2000 };
    assert_eq!(log.read("pay", 1499, 1, 1), Err(gap(1499)));
    assert_eq!(log.read("pay", 2001, 1, 1), Err(gap(2001)));
    assert_eq!(offsets(&log.read("pay", 1500, 2, 9999).expect("it answers")), [1500, 1501]);
    assert_eq!(log.append("pay", lot(2000..2001)), Ok(2000));
}

#[test]
fn trimming_to_the_end_keeps_the_count_going() {
    let log = log();
    log.append("pay", lot(0..10)).expect("it appends");
    log.trim("pay", 99).expect("it trims");
    log.trim("pay", 3).expect("an older trim changes nothing");
    let info = log.info("pay").expect("it answers").expect("the stream is known");
    assert_eq!((info.first, info.end), (10, 10));
    assert_eq!(log.append("pay", lot(10..12)), Ok(10));
    assert_eq!(offsets(&log.read("pay", 10, 9, 9999).expect("it answers")), [10, 11]);
}

#[test]
fn a_lot_without_records_is_acknowledged_at_the_end() {
    let log = log();
    log.append("pay", lot(0..4)).expect("it appends");
    assert_eq!(log.append("pay", Lot::default()), Ok(4));
}

#[test]
fn what_is_too_large_is_refused() {
    let mut one = Lot::default();
    let refused = one.push(0, &vec![0; MAX_RECORD_BYTES + 1]);
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert!(one.is_empty());
    one.push(0, &vec![7; MAX_RECORD_BYTES]).expect("as large as may be");
    let log = log();
    let refused = log.append(&"long".repeat(100), one.clone());
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(log.append("pay", one), Ok(0));
    assert_eq!(log.read("pay", 0, 9, 9).expect("it answers")[0].payload.len(), MAX_RECORD_BYTES);
}

/// A producer faster than the disk must be held back, not buffered without end.
#[test]
fn a_full_queue_refuses_at_once_and_takes_again_later() {
    let log = log();
    let mut mebibyte = Lot::default();
    mebibyte.push(0, &vec![1; MAX_RECORD_BYTES]).expect("as large as may be");
    // The writer is held in its first callback until told to go on, so that what is submitted must
    // wait.
    let (go_on, held) = channel::<()>();
    let hold = Box::new(move |_| {
        let _ = held.recv();
    });
    log.submit("pay", lot(0..1), hold).expect("the queue is empty");
    let (tell, told) = channel();
    let mut taken = 0_u64;
    let refused = loop {
        let tell = tell.clone();
        match log.submit("pay", mebibyte.clone(), Box::new(move |done| drop(tell.send(done)))) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 200, "the queue must have a bound");
    };
    assert!(matches!(refused, StoreError::Busy { .. }), "{refused:?}");
    drop(go_on);
    let firsts: Vec<u64> =
        (0..taken).map(|_| told.recv().expect("called back").expect("it appends")).collect();
    assert_eq!(firsts, (1..=taken).collect::<Vec<_>>());
    log.append("pay", mebibyte).expect("there is room again");
}

#[test]
fn many_threads_share_the_log_and_each_keeps_its_order() {
    let dir = TempDir::new().expect("a directory for the test");
    let log = Log::open(dir.path(), Options::LOG).expect("it opens");
    thread::scope(|scope| {
        for name in 0..8_u8 {
            let log = &log;
            scope.spawn(move || {
                for nth in 0..40_u8 {
                    let mut one = Lot::default();
                    one.push(i64::from(nth), &[name, nth]).expect("it is small");
                    log.append("pay", one).expect("it appends");
                }
            });
        }
    });
    let records = log.read("pay", 0, usize::MAX, usize::MAX).expect("it answers");
    assert_eq!(offsets(&records), (0..320).collect::<Vec<_>>());
    for name in 0..8 {
        let own: Vec<u8> =
            records.iter().filter(|r| r.payload[0] == name).map(|r| r.payload[1]).collect();
        assert_eq!(own, (0..40).collect::<Vec<_>>(), "thread {name}");
    }
}

#[test]
fn what_waits_when_the_log_is_dropped_is_written_first() {
    let dir = TempDir::new().expect("a directory for the test");
    let log = Log::open(dir.path(), Options::LOG).expect("it opens");
    for nth in 0..100 {
        log.submit("pay", lot(nth..nth + 1), Box::new(drop)).expect("there is room");
    }
    drop(log);
    let log = Log::open(dir.path(), Options::LOG).expect("it opens");
    assert_eq!(log.info("pay").expect("it answers").map(|info| info.end), Some(100));
}

fn letter(position: Option<u64>, reason: &str) -> DeadLetter {
    let position = position.map(|offset| (0, offset));
    let (time_us, bytes) = (Some(-7), reason.as_bytes().to_vec());
    DeadLetter { position, time_us, reason: reason.to_owned(), bytes }
}

#[test]
fn dead_letters_are_listed_with_reason_position_and_bytes() {
    let log = log();
    let letters = vec![letter(Some(4), "no time"), letter(None, ""), letter(Some(9), "NaN")];
    assert_eq!(log.bury("pay", letters.clone()), Ok(3));
    let listed = log.dead_letters("pay", None, 2).expect("it answers");
    assert_eq!(listed, [(0, letters[0].clone()), (1, letters[1].clone())]);
    let rest = log.dead_letters("pay", Some(1), 9).expect("it answers");
    assert_eq!(rest, [(2, letters[2].clone())]);
    assert_eq!(log.dead_count("pay"), Ok(DeadCount { ever: 3, kept: 3 }));
    assert_eq!(log.dead_count("login"), Ok(DeadCount::default()));
}

#[test]
fn a_replay_files_no_dead_letter_twice() {
    let log = log();
    log.bury("pay", vec![letter(Some(4), "no time"), letter(Some(5), "NaN")]).expect("filed");
    assert_eq!(log.bury("pay", vec![letter(Some(5), "NaN"), letter(Some(6), "NaN")]), Ok(1));
    let other = DeadLetter { position: Some((7, 4)), ..letter(None, "NaN") };
    assert_eq!(log.bury("pay", vec![other.clone()]), Ok(1), "of another partition");
    assert_eq!(log.bury("pay", vec![other]), Ok(0));
    let positions: Vec<_> = log
        .dead_letters("pay", None, 9)
        .expect("it answers")
        .into_iter()
        .map(|(_, letter)| letter.position)
        .collect();
    assert_eq!(positions, [Some((0, 4)), Some((0, 5)), Some((0, 6)), Some((7, 4))]);
}

#[test]
fn a_letter_that_is_settled_is_gone_and_a_replay_does_not_bring_it_back() {
    let log = log();
    let letters = vec![letter(Some(4), "no time"), letter(None, "x"), letter(Some(9), "NaN")];
    log.bury("pay", letters.clone()).expect("filed");
    let outcomes = [(0, None), (2, Some("still NaN".to_owned())), (7, None)];
    for _ in 0..2 {
        log.settle("pay", &outcomes).expect("it settles");
        let left = log.dead_letters("pay", None, 9).expect("it answers");
        let refused = DeadLetter { reason: "still NaN".into(), ..letters[2].clone() };
        assert_eq!(left, [(1, letters[1].clone()), (2, refused)]);
        assert_eq!(log.dead_count("pay"), Ok(DeadCount { ever: 3, kept: 2 }));
    }
    assert_eq!(log.bury("pay", vec![letter(Some(4), "no time")]), Ok(0));
    let crowd = (100..100_100).map(|offset| letter(Some(offset), "x")).collect();
    log.bury("pay", crowd).expect("filed");
    let kept = log.dead_letters("pay", None, usize::MAX).expect("it answers").len();
    assert_eq!((kept, log.dead_count("pay").expect("it answers").kept), (100_000, 100_000));
    assert_eq!(log.bury("pay", vec![letter(Some(4), "no time")]), Ok(1), "it was pushed out");
    assert_eq!(log.settle("login", &[(0, None)]), Ok(()));
}

#[test]
fn a_broken_producer_pushes_out_its_oldest_dead_letters_and_fills_no_disk() {
    let log = log();
    for thousand in 0..101 {
        let letters = (0..1000).map(|nth| letter(Some(thousand * 1000 + nth), "x")).collect();
        assert_eq!(log.bury("pay", letters), Ok(1000));
    }
    assert_eq!(log.dead_count("pay"), Ok(DeadCount { ever: 101_000, kept: 100_000 }));
    let oldest = log.dead_letters("pay", None, 1).expect("it answers");
    assert_eq!(oldest, [(1000, letter(Some(1000), "x"))]);
    assert_eq!(log.dead_letters("pay", None, usize::MAX).expect("it answers").len(), 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the sizes of lots, the trims and the place where a read begins.
    #[test]
    fn a_read_returns_exactly_the_records_that_are_left(
        sizes in prop::collection::vec(0_u64..900, 1..8),
        trim in 0.0..1.0_f64,
        from in 0.0..1.0_f64,
        max in 1_usize..2000,
    ) {
        let log = log();
        let mut end = 0;
        for size in sizes {
            prop_assert_eq!(log.append("pay", lot(end..end + size)), Ok(end));
            end += size;
        }
        let first = (end as f64 * trim) as u64;
        log.trim("pay", first).expect("it trims");
        let from = first + ((end - first) as f64 * from) as u64;
        let records = log.read("pay", from, max, usize::MAX).expect("it answers");
        let expected: Vec<u64> = (from..end).take(max).collect();
        prop_assert_eq!(offsets(&records), expected);
        for record in records {
            prop_assert_eq!(record.payload, payload(record.offset));
        }
    }
}
