//! A full disk: the harm is an acknowledgement of what is not kept, or an outage of reads because
//! writes fail.

use trueup_store::testing::{Disk, block_on};
use trueup_store::{Batch, Log, Store, StoreError};

use crate::support::{
    applied, apply, assert_state_agrees_with_checkpoint, lot, open_on, payload, small_cache,
};

/// Applies and syncs, one by one, until the disk is full. Returns the first offset that was not
/// synced.
fn fill(store: &dyn Store, from: u64) -> (u64, StoreError) {
    for offset in from..from + 100_000 {
        if let Err(error) = apply(store, offset).and_then(|()| block_on(store.sync())) {
            return (offset, error);
        }
    }
    panic!("the disk never filled up");
}

#[test]
fn a_full_disk_acknowledges_nothing_reads_go_on_and_writes_resume_when_there_is_room() {
    let disk = Disk::default();
    let store = open_on(&disk).expect("there is room");
    apply(&store, 0).and_then(|()| block_on(store.sync())).expect("there is room");
    let before = block_on(store.look(&[])).expect("it answers").stands;
    disk.set_room(Some(disk.taken() + (2 << 20)));

    let (failed_at, error) = fill(&store, 1);
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.advice().retry, "the caller is told to try again: {error}");

    // What was too little for the file to grow by is taken by somebody else.
    disk.set_room(Some(disk.taken()));
    for _ in 0..3 {
        let held = assert_state_agrees_with_checkpoint(&store);
        assert!(held >= failed_at, "{held} of {failed_at} synced events");
        let refused = apply(&store, held);
        assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    }

    disk.set_room(None);
    let refused = block_on(store.append(&Batch::under(&before)));
    assert!(
        matches!(refused, Err(StoreError::Rewound { .. })),
        "a writer that does not know that buffered writes went: {refused:?}"
    );
    let from = applied(&store).expect("it answers").map_or(0, |offset| offset + 1);
    (from..from + 50).for_each(|offset| apply(&store, offset).expect("there is room again"));
    block_on(store.sync()).expect("there is room again");
    assert_eq!(assert_state_agrees_with_checkpoint(&store), from + 50);
    drop(store);
    let store = open_on(&disk).expect("it opens");
    assert_eq!(assert_state_agrees_with_checkpoint(&store), from + 50);
}

/// The disk fills up at every length that the file may have, so at every kind of write.
#[test]
fn a_disk_that_fills_up_at_any_point_never_tears_state_from_checkpoint() {
    for room in (0..50).map(|step| (300 << 10) + step * (4 << 10)) {
        let disk = Disk::default();
        disk.set_room(Some(room));
        let Ok(store) = open_on(&disk) else { continue };
        let (failed_at, error) = fill(&store, 0);
        assert!(matches!(error, StoreError::Full { .. }), "{room}: {error:?}");
        println!("room for {room} bytes: full at event {failed_at}");
        assert!(assert_state_agrees_with_checkpoint(&store) >= failed_at, "{room}");
        disk.set_room(None);
        let from = applied(&store).expect("it answers").map_or(0, |offset| offset + 1);
        apply(&store, from).expect("there is room again");
        assert_eq!(assert_state_agrees_with_checkpoint(&store), from + 1, "{room}");
    }
}

#[test]
fn a_store_that_is_opened_on_a_full_disk_can_be_read() {
    let disk = Disk::default();
    let store = open_on(&disk).expect("there is room");
    (0..30).for_each(|offset| apply(&store, offset).expect("there is room"));
    block_on(store.sync()).expect("there is room");
    drop(store);
    let disk = Disk::holding(disk.bytes());
    disk.set_room(Some(disk.taken()));
    let store = open_on(&disk).expect("it opens without room");
    assert_eq!(assert_state_agrees_with_checkpoint(&store), 30);
    let refused = apply(&store, 30);
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
}

#[test]
fn a_log_on_a_full_disk_acknowledges_nothing_and_can_be_read() {
    let disk = Disk::default();
    let log = Log::open_on(Box::new(disk.clone()), small_cache()).expect("there is room");
    log.append("pay", lot(0..10)).expect("there is room");
    disk.set_room(Some(disk.taken() + (2 << 20)));
    let mut acknowledged = 10;
    let error = loop {
        match log.append("pay", lot(acknowledged..acknowledged + 100)) {
            Ok(first) => assert_eq!(first, acknowledged),
            Err(error) => break error,
        }
        acknowledged += 100;
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    let records = log.read("pay", 0, usize::MAX, usize::MAX).expect("reads go on");
    assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged}", records.len());
    disk.set_room(None);
    let end = log.info("pay").expect("it answers").map_or(0, |info| info.end);
    assert_eq!(log.append("pay", lot(end..end + 100)), Ok(end));
    let records = log.read("pay", 0, usize::MAX, usize::MAX).expect("it answers");
    for (offset, record) in (0..end + 100).zip(&records) {
        assert_eq!((record.offset, &record.payload), (offset, &payload(offset)));
    }
    assert_eq!(records.len() as u64, end + 100);
}
