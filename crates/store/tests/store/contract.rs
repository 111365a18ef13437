//! One contract, every store.

use tempfile::TempDir;
use trueup_store::testing::{Disk, FaultyStore, Verb, When, block_on, contract};
use trueup_store::{EmbeddedStore, MemoryStore, Options, Store, StoreError};

use crate::support::{append, at, content};

#[test]
fn the_memory_store_keeps_every_rule() {
    contract::check(MemoryStore::new);
}

#[test]
fn the_embedded_store_keeps_every_rule() {
    let dir = TempDir::new().expect("a directory for the test");
    let nth = std::cell::Cell::new(0);
    contract::check(|| {
        nth.set(nth.get() + 1);
        let fresh = dir.path().join(nth.get().to_string());
        EmbeddedStore::open(&fresh, Options::STATE).expect("it opens")
    });
}

#[test]
fn the_embedded_store_keeps_every_rule_when_each_write_files_the_rows_before_it() {
    let options = Options { rows_bytes: 0, ..Options::STATE };
    contract::check(|| {
        EmbeddedStore::open_on(Box::new(Disk::default()), options).expect("it opens")
    });
}

#[test]
fn the_embedded_store_keeps_every_rule_on_the_disk_that_the_crash_tests_use() {
    contract::check(|| {
        EmbeddedStore::open_on(Box::new(Disk::default()), Options::STATE).expect("it opens")
    });
}

#[test]
fn the_faulty_store_without_a_cue_keeps_every_rule() {
    contract::check(|| FaultyStore::new(MemoryStore::new()));
}

#[test]
fn the_faulty_store_fails_the_call_it_was_told_to_and_no_other() {
    let store = FaultyStore::new(MemoryStore::new());
    store.fail(Verb::Append, 1, When::Before);
    store.fail(Verb::Append, 2, When::After);
    let answers: Vec<bool> =
        ["1", "2", "3", "4"].map(|record| append(&store, "a", record, 0).is_ok()).to_vec();
    assert_eq!(answers, [true, false, false, true]);
    assert_eq!(content(&store, "a").as_deref(), Ok("134"));
    assert_eq!(store.calls(Verb::Append), 4);
    let lost = block_on(store.get(&[at("a")]));
    assert!(lost.is_ok(), "{lost:?}");
}

/// An error of each kind says what, and ends with a remedy.
#[test]
fn every_error_ends_with_its_remedy() {
    let errors = [
        StoreError::Full { path: "/data/state.redb".into(), detail: "no space".into() },
        StoreError::Broken { path: "/data/state.redb".into(), detail: "I/O error".into() },
        StoreError::Busy { queued: 70, limit: 64 },
        StoreError::TooLarge { what: "key", len: 5000, limit: 4096 },
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.ends_with(error.advice().remedy), "{text}");
        assert!(!text.contains(".."), "{text}");
    }
}
