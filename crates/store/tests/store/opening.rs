//! What is refused at opening, with its remedy.

use redb::{Database, TableDefinition};
use tempfile::TempDir;
use trueup_store::testing::block_on;
use trueup_store::{EmbeddedStore, Options, Store, StoreError};

use crate::support::{applied, apply, assert_state_agrees_with_checkpoint};

#[test]
fn a_store_that_was_closed_opens_with_everything_in_it_and_a_new_incarnation() {
    let dir = TempDir::new().expect("a directory for the test");
    let open = || EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
    let store = open();
    (0..100).for_each(|offset| apply(&store, offset).expect("it appends"));
    let before = block_on(store.look(&[])).expect("it answers").stands;
    drop(store);
    let store = open();
    let after = block_on(store.look(&[])).expect("it answers").stands;
    assert_eq!(assert_state_agrees_with_checkpoint(&store), 100);
    assert_eq!(after.as_slice()[0].epoch, before.as_slice()[0].epoch);
    assert_ne!(after.as_slice()[0].incarnation, before.as_slice()[0].incarnation);
}

#[test]
fn a_file_of_another_format_is_refused_and_left_as_it_is() {
    const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
    let dir = TempDir::new().expect("a directory for the test");
    let path = dir.path().join("state.redb");
    drop(EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens"));
    let db = Database::open(&path).expect("it is free");
    let txn = db.begin_write().expect("it is free");
    txn.open_table(ABOUT).expect("it is there").insert("format", 77).expect("it writes");
    txn.commit().expect("it commits");
    drop(db);
    let refused = EmbeddedStore::open(dir.path(), Options::STATE).map(drop);
    let path = path.display().to_string();
    assert_eq!(refused, Err(StoreError::Format { path, found: 77, known: 1 }));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().expect("a directory for the test");
    let path = dir.path().join("state.redb");
    for content in [b"not a database".repeat(1000), vec![0; 10_000]] {
        std::fs::write(&path, &content).expect("it writes");
        let refused = EmbeddedStore::open(dir.path(), Options::STATE).map(drop);
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
        assert_eq!(std::fs::read(&path).expect("it reads"), content);
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().expect("a directory for the test");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("it writes");
    let refused = EmbeddedStore::open(&file.join("data"), Options::STATE).map(drop);
    let Err(error @ StoreError::Open { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[test]
fn a_store_that_nobody_wrote_to_opens_again_empty() {
    let dir = TempDir::new().expect("a directory for the test");
    for _ in 0..2 {
        let store = EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
        assert_eq!(applied(&store), Ok(None));
    }
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("it is there")
        .map(|entry| entry.expect("it is there").file_name())
        .collect();
    assert_eq!(left.len(), 3, "file, reserve and holder: {left:?}");
}
