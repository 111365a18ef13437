//! Two processes on one directory, and processes that are killed: real ones.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;
use trueup_store::testing::block_on;
use trueup_store::{EmbeddedStore, Log, Options, Store, StoreError};

use crate::child::{as_child, next_number, spawn};
use crate::support::{applied, apply, assert_state_agrees_with_checkpoint, compact, lot, payload};

const KILLS: u64 = 25;

fn kill(child: &mut Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_second_process_on_one_directory_is_refused_by_path_and_pid() {
    if let Some(dir) = as_child() {
        let store = EmbeddedStore::open(Path::new(&dir), Options::STATE).expect("it opens");
        let log = Log::open(Path::new(&dir), Options::LOG).expect("it opens");
        println!("held by {}", std::process::id());
        std::thread::sleep(Duration::from_secs(60));
        drop((store, log));
        return;
    }
    let dir = TempDir::new().expect("a directory for the test");
    let name = "processes::a_second_process_on_one_directory_is_refused_by_path_and_pid";
    let (mut child, mut said) = spawn(name, dir.path().as_os_str());
    let held_by = next_number(&mut said, "held by ").expect("the child opens the store");
    assert_eq!(held_by, u64::from(child.id()));

    let store = EmbeddedStore::open(dir.path(), Options::STATE).map(drop);
    let log = Log::open(dir.path(), Options::LOG).map(drop);
    for (refused, file) in [(store, "state.redb"), (log, "log.redb")] {
        let path = dir.path().join(file).display().to_string();
        let error = StoreError::InUse { path: path.clone(), pid: Some(child.id()) };
        assert_eq!(refused, Err(error.clone()));
        let text = error.to_string();
        assert!(text.contains(&path) && text.contains(&child.id().to_string()), "{text}");
    }

    kill(&mut child);
    EmbeddedStore::open(dir.path(), Options::STATE).expect("the dead hold no lock");
    Log::open(dir.path(), Options::LOG).expect("the dead hold no lock");
}

#[test]
fn a_second_handle_in_one_process_is_refused() {
    let dir = TempDir::new().expect("a directory for the test");
    let store = EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
    let refused = EmbeddedStore::open(dir.path(), Options::STATE).map(drop);
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    apply(&store, 0).expect("the first is unharmed");
    drop(store);
    EmbeddedStore::open(dir.path(), Options::STATE).expect("it is free again");
}

/// The child appends, compacts and syncs as fast as it can, and says what is synced; it is killed
/// at odd moments.
#[test]
fn kills_at_random_moments_lose_nothing_synced_and_double_nothing() {
    if let Some(dir) = as_child() {
        let store = EmbeddedStore::open(Path::new(&dir), Options::STATE).expect("it opens");
        for offset in applied(&store).expect("it answers").map_or(0, |offset| offset + 1).. {
            apply(&store, offset).expect("a sound disk");
            if offset % 3 == 0 {
                compact(&store, offset).expect("a sound disk");
            }
            if offset % 10 == 0 {
                block_on(store.sync()).expect("a sound disk");
                println!("synced {offset}");
            }
        }
        return;
    }
    let dir = TempDir::new().expect("a directory for the test");
    let mut applied = 0;
    for round in 0..KILLS {
        let name = "processes::kills_at_random_moments_lose_nothing_synced_and_double_nothing";
        let (mut child, mut said) = spawn(name, dir.path().as_os_str());
        let mut synced = next_number(&mut said, "synced ").expect("the child gets somewhere");
        std::thread::sleep(Duration::from_micros(round * 1_700 % 23_000));
        kill(&mut child);
        while let Some(later) = next_number(&mut said, "synced ") {
            synced = later;
        }
        let store = EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
        let now = assert_state_agrees_with_checkpoint(&store);
        assert!(now > synced && now > applied, "{now} applied, {synced} synced, {applied} before");
        applied = now;
    }
    println!("{KILLS} kills, {applied} events");
}

#[test]
fn kills_at_random_moments_lose_nothing_that_the_log_acknowledged() {
    if let Some(dir) = as_child() {
        let log = Log::open(Path::new(&dir), Options::LOG).expect("it opens");
        let mut end = log.info("pay").expect("it answers").map_or(0, |info| info.end);
        loop {
            assert_eq!(log.append("pay", lot(end..end + 50)), Ok(end));
            end += 50;
            println!("acknowledged {end}");
        }
    }
    let dir = TempDir::new().expect("a directory for the test");
    for round in 0..KILLS {
        let name = "processes::kills_at_random_moments_lose_nothing_that_the_log_acknowledged";
        let (mut child, mut said) = spawn(name, dir.path().as_os_str());
        let mut acknowledged =
            next_number(&mut said, "acknowledged ").expect("the child gets somewhere");
        std::thread::sleep(Duration::from_micros(round * 1_900 % 23_000));
        kill(&mut child);
        while let Some(later) = next_number(&mut said, "acknowledged ") {
            acknowledged = later;
        }
        let log = Log::open(dir.path(), Options::LOG).expect("it opens");
        let records = log.read("pay", 0, usize::MAX, usize::MAX).expect("it answers");
        assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged}", records.len());
        for (offset, record) in (0..).zip(records) {
            assert_eq!((record.offset, record.payload), (offset, payload(offset)));
        }
    }
}
