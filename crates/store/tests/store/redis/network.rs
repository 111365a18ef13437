//! What a network does to bytes on their way: no reader may get another key's value, and nothing
//! waits longer than its timeout.

use std::time::{Duration, Instant};

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{Mode, Proxy, RedisServer};
use trueup_store::{Detail, RedisOptions, Store, StoreError};

use super::support::{RUNTIME, fresh, open, stands, write};
use crate::support::at;

const KEYS: usize = 40;

fn key(nth: usize) -> String {
    format!("key {nth}")
}

/// A store behind a proxy, with keys whose values name them.
fn behind() -> (RedisServer, Proxy, trueup_store::RedisStore) {
    behind_with(fresh())
}

fn behind_with(options: RedisOptions) -> (RedisServer, Proxy, trueup_store::RedisStore) {
    let server = RedisServer::plain();
    let proxy = Proxy::before(server.port());
    let store = open(&format!("redis://127.0.0.1:{}", proxy.port()), options);
    let under = stands(&store);
    for nth in 0..KEYS {
        let value = format!("value of {} {}", key(nth), "x".repeat(nth * 50));
        write(&store, &under, &key(nth), &value, None).expect("it appends");
    }
    (server, proxy, store)
}

/// Reads keys from several tasks; how many answers were right and how many were refused.
fn read_all(store: &trueup_store::RedisStore, rounds: usize) -> (usize, usize) {
    let (mut right, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let reads = (0..4).map(|reader| {
            scope.spawn(move || {
                let (mut right, mut refused) = (0, 0);
                for round in 0..rounds {
                    let nth = (round * 7 + reader * 11) % KEYS;
                    let keys = [key(nth), key((nth + 1) % KEYS), key((nth + 2) % KEYS)];
                    let places = [at(&keys[0]), at(&keys[1]), at(&keys[2])];
                    let Ok(reads) = block_on(store.read(&places, Detail::Summary)) else {
                        refused += 1;
                        continue;
                    };
                    for (key, read) in keys.iter().zip(reads) {
                        let value = read.value.expect("it was appended");
                        let text = String::from_utf8_lossy(value.tail()).into_owned();
                        assert!(text.starts_with(&format!("value of {key} ")), "{key}: {text}");
                    }
                    right += 1;
                }
                (right, refused)
            })
        });
        for read in reads.collect::<Vec<_>>() {
            let (r, f) = read.join().expect("no wrong answer");
            right += r;
            refused += f;
        }
    });
    (right, refused)
}

/// The harm: a reply that belongs to a question given up before is taken for the next one's.
#[test]
fn a_connection_cut_in_the_middle_of_replies_never_gives_another_keys_value() {
    let (_server, proxy, store) = behind();
    let (mut right, mut refused) = (0, 0);
    for nth in 0..60 {
        proxy.set(Mode::CutAfter(nth * 997 % 20_000));
        let (r, f) = read_all(&store, 20);
        right += r;
        refused += f;
    }
    println!("right {right}, refused {refused}, connections {}", store.counts().connections);
    assert!(right > 1000, "{right} right, {refused} refused");
    assert!(store.counts().connections > 30, "the cuts were felt");
}

#[test]
fn replies_in_pieces_of_any_size_are_put_together() {
    // Single bytes take their time on a busy machine, and time is not what this is about.
    let mut options = fresh();
    options.read_timeout = Duration::from_secs(10);
    let (_server, proxy, store) = behind_with(options);
    for size in [1, 2, 3, 7, 64, 1000] {
        proxy.set(Mode::Slice(size));
        let (right, refused) = read_all(&store, 10);
        assert!(right > refused, "{size}: {right} right, {refused} refused");
    }
}

/// The harm: an answer that comes after its timeout is taken for a later question's.
#[test]
fn answers_later_than_their_timeout_are_given_up_and_never_mistaken() {
    let (_server, proxy, store) = behind();
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let began = Instant::now();
    let (right, refused) = read_all(&store, 4);
    assert_eq!(right, 0, "{refused} refused");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    proxy.set(Mode::Pass);
    std::thread::sleep(Duration::from_secs(1));
    let (right, refused) = read_all(&store, 10);
    assert!(right > 30, "{right} right, {refused} refused");
}

/// The harm: a half-open connection holds a reader for minutes.
#[test]
fn a_half_open_connection_is_given_up_at_the_timeout_and_another_one_is_opened() {
    let (_server, proxy, store) = behind();
    proxy.set(Mode::Swallow);
    let (name, began) = (key(1), Instant::now());
    let refused = block_on(store.read(&[at(&name)], Detail::Summary));
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    proxy.set(Mode::Pass);
    let until = Instant::now() + Duration::from_secs(3);
    while block_on(store.read(&[at(&name)], Detail::Summary)).is_err() {
        assert!(Instant::now() < until, "it does not come back");
    }
}

/// The harm: readers of a server that does not answer pile up, in tasks and memory.
#[test]
fn many_readers_of_a_silent_server_end_together() {
    let (_server, proxy, store) = behind();
    proxy.set(Mode::Swallow);
    let store = std::sync::Arc::new(store);
    let began = Instant::now();
    let refused = RUNTIME.block_on(async {
        let readers = (0..2000).map(|nth| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let name = key(nth % KEYS);
                store.read(&[at(&name)], Detail::Summary).await.is_err()
            })
        });
        let mut refused = 0;
        for reader in readers.collect::<Vec<_>>() {
            refused += usize::from(reader.await.expect("no panic"));
        }
        refused
    });
    assert_eq!(refused, 2000);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(store.counts().connections < 10, "{}", store.counts().connections);
}

/// The harm: a batch whose answer got lost is taken for written, or a checkpoint speaks of it.
#[test]
fn a_write_whose_answer_is_lost_is_not_acknowledged_and_can_be_sent_again() {
    let (_server, proxy, store) = behind();
    let under = stands(&store);
    let mut sent = 0;
    for offset in 1..=40_u64 {
        proxy.set(Mode::CutAfter((offset as usize * 331) % 3000));
        let mut answer = write(&store, &under, "log", &format!("<{offset}>"), Some(offset));
        sent += 1;
        while let Err(error) = answer {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            answer = write(&store, &under, "log", &format!("<{offset}>"), Some(offset));
            sent += 1;
        }
        let look = block_on(store.look(&[at("log").space]));
        if let Ok(look) = look {
            assert_eq!(look.metas[0].offset(0, 0), Some(offset));
        }
    }
    proxy.set(Mode::Pass);
    std::thread::sleep(Duration::from_millis(200));
    let held = crate::support::content(&store, "log").expect("it answers");
    let mut last = 0;
    for record in held.split(['<', '>']).filter(|record| !record.is_empty()) {
        let offset: u64 = record.parse().expect("a number");
        assert!(offset == last || offset == last + 1, "out of order: {held}");
        last = offset;
    }
    assert_eq!(last, 40, "{held}");
    assert!(sent > 45, "the cuts were felt: {sent}");
}
