//! Power loss and kills at every single write: the harm is a state that disagrees with its
//! checkpoint, or an acknowledged event that is gone.

use trueup_store::testing::{Crash, Disk, block_on};
use trueup_store::{EmbeddedStore, Log, Store, StoreError};

use crate::support::{
    apply, assert_state_agrees_with_checkpoint, compact, lot, open_on, payload, small_cache,
};

/// What may be left of unsynced writes: nothing, all, or some in any order and torn.
const CRASHES: [Crash; 6] =
    [Crash::Lost, Crash::Killed, Crash::Torn(1), Crash::Torn(2), Crash::Torn(3), Crash::Torn(4)];

/// How far a pipeline got before its disk died.
#[derive(Default)]
struct Progress {
    /// Events acknowledged as on disk.
    synced: u64,
    /// Events handed to the store, the last of them perhaps in vain.
    tried: u64,
}

/// Some events, compactions and syncs, until the disk dies.
fn pipeline(disk: &Disk, progress: &mut Progress) -> Result<(), StoreError> {
    let store = open_on(disk)?;
    for offset in 0..60 {
        progress.tried = offset + 1;
        apply(&store, offset)?;
        if offset % 5 == 4 {
            compact(&store, offset)?;
        }
        if offset % 8 == 7 {
            block_on(store.sync())?;
            progress.synced = offset + 1;
        }
    }
    Ok(())
}

/// Operations of a run that ends well.
fn operations(run: impl Fn(&Disk)) -> u64 {
    let disk = Disk::default();
    run(&disk);
    disk.operations()
}

#[test]
fn power_lost_at_any_write_leaves_state_and_checkpoint_of_one_moment_and_nothing_synced_is_gone() {
    let total = operations(|disk| {
        pipeline(disk, &mut Progress::default()).expect("a sound disk");
    });
    let mut crashes = 0;
    for dies_at in 0..total {
        let disk = Disk::default();
        disk.die_at(dies_at);
        let mut progress = Progress::default();
        // An error where a caller waits for one; else the power fails as the store is closed.
        let _ = pipeline(&disk, &mut progress);
        for crash in CRASHES {
            let found = disk.after(crash);
            let store = open_on(&found)
                .unwrap_or_else(|error| panic!("{crash:?} at operation {dies_at}: {error}"));
            let applied = assert_state_agrees_with_checkpoint(&store);
            assert!(
                (progress.synced..=progress.tried).contains(&applied),
                "{crash:?} at operation {dies_at}: {applied} applied, {} synced",
                progress.synced
            );
            go_on(&store, applied);
            crashes += 1;
        }
    }
    println!("{crashes} crashes at {total} operations");
    assert!(total > 100, "the pipeline must write enough to be worth it: {total}");
}

/// After a crash the pipeline goes on from the checkpoint.
fn go_on(store: &EmbeddedStore, applied: u64) {
    for offset in applied..applied + 3 {
        apply(store, offset).expect("a sound disk");
        compact(store, offset).expect("a sound disk");
    }
    block_on(store.sync()).expect("a sound disk");
    assert_eq!(assert_state_agrees_with_checkpoint(store), applied + 3);
}

/// Applies and syncs `before`, then runs `harmed` and a sync on a disk that dies at each operation
/// of the two.
fn each_crash_within(
    before: u64,
    harmed: impl Fn(&EmbeddedStore) -> Result<(), StoreError>,
) -> u64 {
    let prepare = |disk: &Disk| {
        let store = open_on(disk).expect("a sound disk");
        (0..before).for_each(|offset| apply(&store, offset).expect("a sound disk"));
        block_on(store.sync()).expect("a sound disk");
        store
    };
    let finish = |store: &EmbeddedStore| harmed(store).and_then(|()| block_on(store.sync()));
    let disk = Disk::default();
    let store = prepare(&disk);
    let from = disk.operations();
    finish(&store).expect("a sound disk");
    let upto = disk.operations();
    for dies_at in from..upto {
        let disk = Disk::default();
        let store = prepare(&disk);
        disk.die_at(dies_at);
        let failed = finish(&store);
        assert!(matches!(failed, Err(StoreError::Broken { .. })), "at {dies_at}: {failed:?}");
        for crash in CRASHES {
            let store = open_on(&disk.after(crash)).expect("it opens after a crash");
            assert!(assert_state_agrees_with_checkpoint(&store) >= before);
        }
    }
    upto - from
}

#[test]
fn a_kill_in_the_middle_of_a_compaction_loses_and_doubles_nothing() {
    let operations = each_crash_within(40, |store| (30..40).try_for_each(|at| compact(store, at)));
    assert!(operations > 3, "{operations}");
}

#[test]
fn a_kill_in_the_middle_of_a_checkpoint_loses_and_doubles_nothing() {
    let operations = each_crash_within(40, |store| apply(store, 40));
    assert!(operations > 3, "{operations}");
}

/// The rows in memory are filed after each dozen of these.
#[test]
fn a_kill_while_rows_are_filed_loses_and_doubles_nothing() {
    let operations = each_crash_within(40, |store| (40..70).try_for_each(|at| apply(store, at)));
    assert!(operations > 3, "{operations}");
}

#[test]
fn power_lost_at_any_write_loses_no_event_that_the_log_acknowledged() {
    let run = |disk: &Disk| {
        let mut acknowledged = 0;
        let Ok(log) = Log::open_on(Box::new(disk.clone()), small_cache()) else { return 0 };
        for size in [1, 3, 500, 1, 40, 700, 2] {
            match log.append("pay", lot(acknowledged..acknowledged + size)) {
                Ok(first) => assert_eq!(first, acknowledged),
                Err(_) => return acknowledged,
            }
            acknowledged += size;
        }
        acknowledged
    };
    let total = operations(|disk| assert_eq!(run(disk), 1247));
    for dies_at in 0..total {
        let disk = Disk::default();
        disk.die_at(dies_at);
        let acknowledged = run(&disk);
        for crash in CRASHES {
            let place = Box::new(disk.after(crash));
            let log = Log::open_on(place, small_cache()).expect("it opens after a crash");
            let end = log.info("pay").expect("it answers").map_or(0, |info| info.end);
            assert!(end >= acknowledged, "{crash:?} at {dies_at}: {end} of {acknowledged}");
            let records = log.read("pay", 0, usize::MAX, usize::MAX).expect("it answers");
            assert_eq!(records.len() as u64, end);
            for (offset, record) in (0..).zip(records) {
                assert_eq!((record.offset, record.payload), (offset, payload(offset)));
            }
        }
    }
}

#[test]
fn a_failed_sync_is_fatal_until_the_store_is_opened_anew() {
    let disk = Disk::default();
    let store = open_on(&disk).expect("a sound disk");
    (0..20).for_each(|offset| apply(&store, offset).expect("a sound disk"));
    block_on(store.sync()).expect("a sound disk");
    apply(&store, 20).expect("a buffered write");
    disk.fail_syncs();
    let failed = block_on(store.sync());
    assert!(matches!(failed, Err(StoreError::Broken { .. })), "{failed:?}");
    let text = failed.expect_err("it failed").to_string();
    assert!(text.contains("restart"), "the remedy is named: {text}");
    // A second sync must not say that all is well, nor may anybody read what may not be on disk.
    assert!(matches!(block_on(store.sync()), Err(StoreError::Broken { .. })));
    assert!(matches!(apply(&store, 21), Err(StoreError::Broken { .. })));
    assert!(matches!(block_on(store.spaces()), Err(StoreError::Broken { .. })));
    drop(store);
    let store = open_on(&disk.after(Crash::Lost)).expect("the last good commit opens");
    assert_eq!(assert_state_agrees_with_checkpoint(&store), 20);
}

#[test]
fn a_failed_sync_of_the_log_acknowledges_nothing() {
    let disk = Disk::default();
    let log = Log::open_on(Box::new(disk.clone()), small_cache()).expect("a sound disk");
    log.append("pay", lot(0..10)).expect("a sound disk");
    disk.fail_syncs();
    for _ in 0..2 {
        let failed = log.append("pay", lot(10..20));
        assert!(matches!(failed, Err(StoreError::Broken { .. })), "{failed:?}");
    }
    drop(log);
    let log = Log::open_on(Box::new(disk.after(Crash::Lost)), small_cache()).expect("it opens");
    assert_eq!(log.info("pay").expect("it answers").map(|info| info.end), Some(10));
}
