//! Stores on servers, each under a prefix of its own, and a runtime for them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Runtime;
use trueup_store::{RedisOptions, RedisStore, StoreError};

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
