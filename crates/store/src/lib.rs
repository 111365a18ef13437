//! Bytes by key: where the state of the windows and the local log are kept.
//!
//! A store holds, for a *space* (one group of one compiled definition, named by its digest) and a
//! key, a value that is a base and a tail of records behind it; and, for each space, how far each
//! partition of the stream has been applied. It knows nothing of events, windows or aggregates: it
//! never computes, so every store gives the same answer.
//!
//! It is not a cache (what is not there is not fetched from elsewhere), has no clock (times are the
//! caller's), and expires nothing that it was not told to.
//!
//! ```
//! use trueup_store::testing::block_on;
//! use trueup_store::{Append, At, Batch, MemoryStore, Space, Store};
//!
//! let store = MemoryStore::new();
//! let users = Space::from([7; 32]);
//! let stands = block_on(store.look(&[users]))?.stands;
//! let at = At { space: users, key: b"user 42" };
//! let appends = &[Append { at, record: b"event" }];
//! block_on(store.append(&Batch { appends, ..Batch::under(&stands) }))?;
//! let reads = block_on(store.get(&[at]))?;
//! assert_eq!(reads[0].value.as_ref().map(|value| value.tail()), Some(&b"event"[..]));
//! # Ok::<(), trueup_store::StoreError>(())
//! ```

mod embedded;
mod engine;
mod error;
mod log;
mod memory;
mod redis;
mod store;
mod survey;

#[cfg(feature = "testing")]
pub mod testing;

pub use self::redis::{RedisCounts, RedisOptions, RedisStore, Rules};
pub use embedded::EmbeddedStore;
pub use engine::Options;
pub use error::{Advice, Fault, StoreError};
pub use log::{DeadCount, DeadLetter, Done, Log, LogRecord, Lot, StreamInfo};
pub use memory::MemoryStore;
pub use store::{
    Answer, Append, At, BASE_MARK, Batch, Checkpoint, Detail, Durability, Early, Grown, Look,
    MAX_KEY_BYTES, MAX_NOTE_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES, Marker, Meta, NEVER_US,
    Plant, Read, Recorded, Space, Stand, Stands, Stats, Store, Swap, Value,
};
pub use survey::{Bucket, BucketState, Policies, Server, Survey};
