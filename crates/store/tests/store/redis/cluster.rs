//! Buckets that move from node to node while writers write and readers read.

use std::time::{Duration, Instant};

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{Cluster, Setup, wait_until};
use trueup_store::{RedisOptions, RedisStore, Store, StoreError};

use super::support::{
    fresh, is_rewound, look_when_up, moved_on, open, read, stands, write, write_when_up,
};
use crate::support::{at, content};

/// A bucket by number and slot.
pub(crate) struct Bucket {
    pub(crate) number: usize,
    pub(crate) slot: u16,
}

/// The bucket of a key that has been written to.
pub(crate) fn bucket_of(store: &RedisStore, key: &str) -> Bucket {
    let number = store.bucket(at(key));
    Bucket { number, slot: RedisStore::slot(number) }
}

/// A cluster with a store in which key `a` has a record and a checkpoint, and where `a` is and
/// where it is not.
struct Scene {
    cluster: Cluster,
    store: RedisStore,
    under: trueup_store::Stands,
    bucket: Bucket,
    from: usize,
    to: usize,
    options: RedisOptions,
}

fn scene() -> Scene {
    let cluster = Cluster::start(&Setup::default());
    let options = fresh();
    let store = open(&cluster.url(), options.clone());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    let bucket = bucket_of(&store, "a");
    let from = cluster.owner(bucket.slot);
    Scene { to: (from + 1) % 3, cluster, store, under, bucket, from, options }
}

/// The harm: a moved bucket is lost, or counts as flushed though nothing is missing.
#[test]
fn a_bucket_that_moved_is_read_at_once_and_adopted_by_writers() {
    let Scene { cluster, store, under, bucket, from, to, .. } = scene();
    cluster.move_slot(bucket.slot, from, to);
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
    let refused = write(&store, &under, "a", "two", Some(2));
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (1, 0), "bucket {}", bucket.number);
    assert_eq!(now.metas[0].offset(0, 0), Some(1));
    write(&store, &now.stands, "a", "two", Some(2)).expect("it goes on");
    assert_eq!(content(&store, "a").as_deref(), Ok("onetwo"));
    assert!(store.counts().moved > 0);
}

/// The harm: a checkpoint on the old node vouches for what only the new one has.
#[test]
fn while_a_bucket_is_on_its_way_appends_follow_and_checkpoints_are_held_back() {
    let Scene { cluster, store, under, bucket, from, to, .. } = scene();
    cluster.begin_move(bucket.slot, from, to);
    // `b` is new and in the same bucket, so it is made on the new node.
    let new = (0..).map(|nth| format!("b{nth}"));
    let new = new.into_iter().find(|key| store.bucket(at(key)) == bucket.number).expect("one");
    write(&store, &under, &new, "new", Some(2)).expect("it appends");
    assert!(store.counts().asked > 0 && store.counts().withheld > 0, "{:?}", store.counts());
    let began = Instant::now();
    let waits = read(&store, &new);
    assert!(matches!(waits, Err(StoreError::Unavailable { .. })), "{waits:?}");
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    // Who begins now waits: nobody knows yet whose the bucket is.
    let refused = block_on(open(&cluster.url(), fresh()).look(&[]));
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");

    while cluster.move_keys(bucket.slot, from, to, 1) > 0 {
        write(&store, &under, "a", ".", None).expect("it appends wherever the key is");
    }
    cluster.end_move(bucket.slot, from, to);
    let refused = write_when_up(&store, &under, "a", "!");
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (1, 0));
    assert_eq!(now.metas[0].offset(0, 0), Some(1), "what was held back was never written");
    assert_eq!(content(&store, &new).as_deref(), Ok("new"));
    let held = content(&store, "a").expect("it answers");
    assert!(held.starts_with("one."), "{held}");
}

/// The harm: a move that was called off leaves appends on a node that nobody vouches for.
#[test]
fn a_move_that_is_called_off_makes_every_writer_look_again() {
    let Scene { cluster, store, under, bucket, from, to, .. } = scene();
    cluster.begin_move(bucket.slot, from, to);
    wait_until("the move is seen", || {
        write(&store, &under, "a", "two", None).is_ok() && {
            write(&store, &under, "a", "two", Some(2)).is_ok() && store.counts().withheld > 0
        }
    });
    for nth in [from, to] {
        cluster.nodes[nth].command(&format!("CLUSTER SETSLOT {} STABLE", bucket.slot));
    }
    let mut answer = Ok(());
    wait_until("the writer is told", || {
        answer = write(&store, &under, "a", "three", None);
        answer.is_err()
    });
    assert!(is_rewound(&answer), "{answer:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (1, 0));
    write(&store, &now.stands, "a", "four", Some(2)).expect("it goes on");
    let offset = look_when_up(&store).metas[0].offset(0, 0);
    assert_eq!(offset, Some(2), "checkpoints are written again");
}

/// The harm: a bucket moves to a node that fails over before anyone looks; keys that had moved are
/// gone, and the bucket's stand, which moved last, says that all is well.
#[test]
fn a_bucket_that_moved_to_a_node_that_failed_over_since_is_begun_anew() {
    let Scene { cluster, store, under, bucket, from, to, options } = scene();
    // No process watches meanwhile.
    drop(store);
    let promoted = to + 3;
    cluster.nodes[promoted].command("CLUSTER FAILOVER TAKEOVER");
    cluster.wait_for_primary(promoted, from);
    cluster.move_slot(bucket.slot, from, promoted);
    wait_until("all know", || cluster.owner(bucket.slot) == promoted);

    let store = open(&cluster.url(), options);
    let now = look_when_up(&store);
    let number = bucket.number;
    assert_ne!(now.stands.as_slice()[number].epoch, under.as_slice()[number].epoch);
    let after = read(&store, "a").expect("it answers");
    assert_eq!((after.value, after.meta.complete_since_us), (None, None));
    assert_eq!(now.metas[0].offset(0, 0), None, "one bucket has nothing, so nothing counts");
}

/// The harm: resharding makes readers wait or fail.
#[test]
fn readers_go_on_while_buckets_move_to_and_fro() {
    let Scene { cluster, store, under: _, bucket, from, to, .. } = scene();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (right, refused) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut right, mut refused) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match content(&store, "a") {
                    Ok(held) => {
                        assert_eq!(held, "one");
                        right += 1;
                    }
                    Err(StoreError::Unavailable { .. }) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            (right, refused)
        });
        for _ in 0..5 {
            cluster.move_slot(bucket.slot, from, to);
            std::thread::sleep(Duration::from_millis(50));
            cluster.move_slot(bucket.slot, to, from);
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("no wrong answer")
    });
    println!("right {right}, refused {refused}");
    assert!(right > 100 && refused * 10 < right, "right {right}, refused {refused}");
}
