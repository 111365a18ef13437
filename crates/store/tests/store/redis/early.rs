//! Early copies in Redis: what a script puts behind the values that it reads, and when it does not.

use std::time::Duration;

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{Cluster, RedisServer, Setup};
use trueup_store::{Append, Detail, Early, Recorded, RedisStore, Store, StoreError};

use super::cluster::bucket_of;
use super::support::{fresh, left_ms, look_when_up, open, stands, write};
use crate::support::{at, content};

const EXPIRY: Duration = Duration::from_secs(60);

fn record(store: &RedisStore, key: &str, copy: &str) -> Result<Recorded, StoreError> {
    let early = Early {
        appends: &[Append { at: at(key), record: copy.as_bytes() }],
        expiry: &[(at(key).space, EXPIRY)],
        room: 1 << 20,
    };
    block_on(store.record(&[at(key)], &early, Detail::Summary))
}

/// What was read of the key, and whether the copy is there.
fn told(recorded: Result<Recorded, StoreError>) -> (Option<String>, bool) {
    let recorded = recorded.expect("it answers");
    let value = recorded.reads[0].value.as_ref();
    let text = value.map(|value| String::from_utf8_lossy(value.tail()).into_owned());
    (text, recorded.appended[0])
}

/// The harm: a value that began with an early copy stays for ever.
#[test]
fn a_value_that_begins_with_an_early_copy_has_its_time_to_live() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    write(&store, &stands(&store), "begun", "x", Some(1)).expect("it appends");
    assert_eq!(told(record(&store, "new", "early")), (None, true));
    assert!(left_ms(&server, "new") > 50_000);
}

/// The harm: what a flushed store answers is taken for a state that begins with an early copy.
#[test]
fn a_flushed_bucket_takes_no_early_copy_until_a_writer_has_begun_it_again() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    assert_eq!(told(record(&store, "a", "two")), (Some("one".into()), true));
    server.command("FLUSHALL");
    assert_eq!(told(record(&store, "a", "three")), (None, false));
    let size: i64 = redis::from_redis_value(server.command("DBSIZE")).expect("a number");
    assert_eq!(size, 0, "nothing was made");
    write(&store, &look_when_up(&store).stands, "a", "one", Some(1)).expect("it begins again");
    assert_eq!(told(record(&store, "a", "two")), (Some("one".into()), true));
    assert_eq!(content(&store, "a").as_deref(), Ok("onetwo"));
}

/// The harm: a store that takes no more writes answers nothing either.
#[test]
fn a_server_without_memory_is_read_though_it_takes_no_copy() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    server.command("CONFIG SET maxmemory 1");
    assert_eq!(told(record(&store, "a", "two")), (Some("one".into()), false));
    server.command("CONFIG SET maxmemory 0");
    assert_eq!(told(record(&store, "a", "two")), (Some("one".into()), true));
    assert!(left_ms(&server, "a") > 50_000);
}

/// The harm: a server that was demoted answers with what it had, as if nobody else recorded.
#[test]
fn a_demoted_server_is_not_taken_for_one_that_has_read_everybodys_copies() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    server.command("REPLICAOF 127.0.0.1 1");
    let refused = record(&store, "a", "two");
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

/// The harm: an early copy stays behind on the node that a bucket has left.
#[test]
fn an_early_copy_goes_where_its_bucket_has_moved() {
    let cluster = Cluster::start(&Setup::default());
    let store = open(&cluster.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    assert_eq!(told(record(&store, "a", "two")), (Some("one".into()), true));
    let slot = bucket_of(&store, "a").slot;
    let from = cluster.owner(slot);
    cluster.move_slot(slot, from, (from + 1) % 3);
    assert_eq!(told(record(&store, "a", "three")), (Some("onetwo".into()), true));
    assert_eq!(content(&store, "a").as_deref(), Ok("onetwothree"));
    assert_eq!(store.counts().early, 2);
}
