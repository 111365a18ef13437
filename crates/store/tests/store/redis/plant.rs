//! First bases in Redis: how long they live, and what they do to a server that was flushed, and in
//! a cluster that moves buckets.

use std::time::Duration;

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{Cluster, RedisServer, Setup};
use trueup_store::{Plant, RedisStore, Store, StoreError};

use super::cluster::bucket_of;
use super::support::{fresh, left_ms, look_when_up, open, read, stands, write};
use crate::support::{at, content};

const EXPIRY: Duration = Duration::from_secs(60);

/// Plants in this epoch.
fn plant_in(store: &RedisStore, key: &str, epoch: u64, expiry: Option<Duration>) -> bool {
    let plant = Plant { epoch, at: at(key), base: b"base", expiry };
    block_on(store.plant(&plant)).expect("it answers")
}

/// The epoch that a reader finds.
fn epoch(store: &RedisStore, key: &str) -> u64 {
    read(store, key).expect("it answers").stand.epoch
}

/// The base of a key.
fn base(store: &RedisStore, key: &str) -> Option<Vec<u8>> {
    Some(read(store, key).expect("it answers").value?.base().to_vec())
}

/// The harm: what was put there for a key that nobody asks for again stays for ever.
#[test]
fn a_first_base_has_its_time_to_live_if_it_has_one() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    assert!(plant_in(&store, "mortal", epoch(&store, "mortal"), Some(EXPIRY)));
    assert!(left_ms(&server, "mortal") > 50_000);
    assert!(plant_in(&store, "lasting", epoch(&store, "lasting"), None));
    assert_eq!(left_ms(&server, "lasting"), -1);
}

/// The harm: a worker goes on in a store that somebody else has begun again, as if nothing had been
/// lost.
#[test]
fn a_first_base_in_a_flushed_server_makes_the_writers_of_before_rewind() {
    let server = RedisServer::plain();
    let options = fresh();
    let (worker, other) = (open(&server.url(), options.clone()), open(&server.url(), options));
    let under = stands(&worker);
    write(&worker, &under, "a", "one", Some(1)).expect("it appends");
    let before = epoch(&other, "a");
    server.command("FLUSHALL");
    assert!(!plant_in(&other, "a", before, Some(EXPIRY)), "it was seen in an epoch that is gone");
    assert_eq!(epoch(&other, "a"), 0);
    assert!(plant_in(&other, "a", 0, Some(EXPIRY)));
    assert_eq!(base(&other, "a").as_deref(), Some(&b"base"[..]));
    let refused = write(&worker, &under, "b", "two", Some(2));
    assert!(matches!(refused, Err(StoreError::Rewound { .. })), "{refused:?}");
    let look = look_when_up(&worker);
    assert_eq!(look.metas[0].offset(0, 0), None, "nothing vouches for anything");
    write(&worker, &look.stands, "a", "one", Some(1)).expect("it begins again");
    assert_eq!(content(&other, "a").as_deref(), Ok("baseone"), "and appends behind it");
}

/// The harm: a base is put on the node that a bucket has left, and is there for nobody.
#[test]
fn a_first_base_goes_where_its_bucket_has_moved() {
    let cluster = Cluster::start(&Setup::default());
    let store = open(&cluster.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    let slot = bucket_of(&store, "a").slot;
    let from = cluster.owner(slot);
    cluster.move_slot(slot, from, (from + 1) % 3);
    let mut keys = (0..).map(|nth| format!("k{nth}"));
    let other = keys.find(|key| bucket_of(&store, key).slot == slot).expect("there are many");
    assert!(plant_in(&store, &other, epoch(&store, &other), Some(EXPIRY)));
    assert_eq!(base(&store, &other).as_deref(), Some(&b"base"[..]));
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
}
