//! Times to live: set with the first append, seldom after it, and never for ever by mistake.

use std::time::Duration;

use trueup_store::testing::block_on;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{Append, Batch, Grown, RedisStore, Stands, Store, Swap};

use super::support::{fresh, open, read, stands};
use crate::support::at;

fn add(store: &RedisStore, under: &Stands, record: &str, expiry: Duration) -> Grown {
    let batch = Batch {
        appends: &[Append { at: at("a"), record: record.as_bytes() }],
        expiry: &[(at("a").space, expiry)],
        ..Batch::under(under)
    };
    block_on(store.append(&batch)).expect("it appends")[0]
}

/// Milliseconds that the one value has left; negative when it has none.
fn left_ms(server: &RedisServer) -> i64 {
    let names: Vec<String> = redis::from_redis_value(server.command("KEYS *:v:*")).expect("names");
    assert_eq!(names.len(), 1);
    redis::from_redis_value(server.command(&format!("PTTL {}", names[0]))).expect("a number")
}

#[test]
fn a_time_to_live_is_set_with_the_first_append_and_then_only_when_an_eighth_has_passed() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let (under, expiry) = (stands(&store), Duration::from_secs(8));
    for nth in 0..100 {
        add(&store, &under, &format!("<{nth}>"), expiry);
    }
    assert!(store.counts().refreshes <= 2, "{}", store.counts().refreshes);
    std::thread::sleep(Duration::from_millis(1100));
    let before = left_ms(&server);
    assert!(before < 7000, "{before}");
    add(&store, &under, "late", expiry);
    assert!(left_ms(&server) > 7500, "{}", left_ms(&server));
}

/// The harm: a value outlives its users for ever, because its time to live went with a value that
/// somebody else removed.
#[test]
fn a_value_that_somebody_else_removed_gets_its_time_to_live_again() {
    let server = RedisServer::plain();
    let options = fresh();
    let (store, other) = (open(&server.url(), options.clone()), open(&server.url(), options));
    let (under, expiry) = (stands(&store), Duration::from_secs(60));
    add(&store, &under, "one", expiry);
    let found = read(&other, "a").expect("it answers");
    let replaced = found.value.expect("it was appended");
    let epoch = found.stand.epoch;
    let swap = Swap { epoch, at: at("a"), replaced: &replaced, base: b"", kept: b"" };
    assert_eq!(block_on(other.swap(&[swap])), Ok(vec![true]));
    add(&store, &under, "two", expiry);
    assert!(left_ms(&server) > 50_000);
}

#[test]
fn a_swap_keeps_the_time_to_live() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    add(&store, &under, "one", Duration::from_secs(60));
    let found = read(&store, "a").expect("it answers");
    let replaced = found.value.expect("it was appended");
    let epoch = found.stand.epoch;
    let swap = Swap { epoch, at: at("a"), replaced: &replaced, base: b"base", kept: b"" };
    assert_eq!(block_on(store.swap(&[swap])), Ok(vec![true]));
    assert!(left_ms(&server) > 50_000);
}

#[test]
fn a_value_of_a_space_without_expiry_stays() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    let batch = Batch { appends: &[Append { at: at("a"), record: b"x" }], ..Batch::under(&under) };
    block_on(store.append(&batch)).expect("it appends");
    assert_eq!(left_ms(&server), -1);
}
