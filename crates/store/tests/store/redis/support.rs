//! Stores on servers, each under a prefix of its own, and a runtime for them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use trueup_store::testing::block_on;
use trueup_store::testing::servers::{PATIENCE, RedisServer};
use trueup_store::{
    Append, Batch, Checkpoint, Detail, Look, Marker, Read, RedisOptions, RedisStore, Stands, Store,
    StoreError,
};

use crate::support::at;

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
});

/// Options with a prefix that no other store of this process has.
pub(crate) fn fresh() -> RedisOptions {
    static NTH: AtomicU32 = AtomicU32::new(0);
    let mut options = RedisOptions::default();
    options.prefix = format!("t{}", NTH.fetch_add(1, Ordering::Relaxed));
    options
}

pub(crate) fn try_open(url: &str, options: RedisOptions) -> Result<RedisStore, StoreError> {
    RUNTIME.block_on(RedisStore::open(url, options))
}

pub(crate) fn open(url: &str, options: RedisOptions) -> RedisStore {
    try_open(url, options).expect("the store opens")
}

/// The stands, as a writer begins.
pub(crate) fn stands(store: &RedisStore) -> Stands {
    block_on(store.look(&[])).expect("it answers").stands
}

/// Appends a record to a key and, unless it is `None`, writes down an offset.
pub(crate) fn write(
    store: &RedisStore,
    under: &Stands,
    key: &str,
    record: &str,
    offset: Option<u64>,
) -> Result<(), StoreError> {
    let said = offset.map(|offset| {
        let checkpoint = Checkpoint { source: 0, partition: 0, offset, fresh_us: offset as i64 };
        (at(key).space, checkpoint)
    });
    let batch = Batch {
        appends: &[Append { at: at(key), record: record.as_bytes() }],
        checkpoints: said.as_slice(),
        markers: &[(at(key).space, Marker::Begin(i64::MIN))],
        ..Batch::under(under)
    };
    block_on(store.append(&batch)).map(drop)
}

/// [`write`] until the servers take it; what is not for waiting comes back.
pub(crate) fn write_when_up(
    store: &RedisStore,
    under: &Stands,
    key: &str,
    record: &str,
) -> Result<(), StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match write(store, under, key, record, None) {
            Err(StoreError::Unavailable { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

/// A look, when the servers answer again.
pub(crate) fn look_when_up(store: &RedisStore) -> Look {
    let until = Instant::now() + PATIENCE;
    loop {
        match block_on(store.look(&[at("").space])) {
            Err(StoreError::Unavailable { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => return answer.expect("it answers"),
        }
    }
}

/// The key's value read plainly, with its meta.
pub(crate) fn read(store: &RedisStore, key: &str) -> Result<Read, StoreError> {
    block_on(store.read(&[at(key)], Detail::Summary)).map(|mut reads| reads.remove(0))
}

pub(crate) fn is_rewound(answer: &Result<(), StoreError>) -> bool {
    matches!(answer, Err(StoreError::Rewound { .. }))
}

/// How many buckets stand elsewhere, and how many of them under another epoch.
pub(crate) fn moved_on(before: &Stands, after: &Stands) -> (usize, usize) {
    let pairs = || before.as_slice().iter().zip(after.as_slice());
    let other = pairs().filter(|(before, after)| before != after).count();
    (other, pairs().filter(|(before, after)| before.epoch != after.epoch).count())
}

/// Milliseconds that a key's value has left; negative when it stays for ever.
pub(crate) fn left_ms(server: &RedisServer, key: &str) -> i64 {
    let names = server.command(&format!("KEYS *:v:*:{key}"));
    let names: Vec<String> = redis::from_redis_value(names).expect("names");
    redis::from_redis_value(server.command(&format!("PTTL {}", names[0]))).expect("a number")
}
