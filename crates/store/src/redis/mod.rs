//! The store in Redis: on one server, behind Sentinel, or in a Cluster. What it is *not*: a cache
//! with a fallback, a lock, or a place of arithmetic.
//!
//! **Constraints.** Writers are many and blind: they append and never read before. A server may
//! lose its latest writes with a failover, all of them with a flush, and in a cluster part of its
//! keys may move elsewhere; none of that may lose an event that counts as applied, or count one
//! twice. Only commands of Redis 6.2 are used.
//!
//! **Layout.** Keys are spread over 64 buckets. All keys of a bucket have one hash tag, so they are
//! in one slot, and one command or script sees them at one moment:
//!
//! ```text
//!   bucket b17     stand     epoch, incarnation of its server, primaries seen      words.rs
//!                  spaces    what was written to                                   name.rs
//!                  summary   of each space: complete since, least freshness        words.rs
//!                  marks     of each space: offset and freshness by partition
//!                  value     of each key: base and records                         value.rs
//! ```
//!
//! Notes lie beside them, in the slot of bucket 0 and in no epoch (`note.rs`).
//!
//! **The life of a record.** `APPEND` puts it behind its value (`append.rs`), in order with the
//! others of its bucket on one connection (`exchange.rs`); those of one value in a batch go
//! together (`gather.rs`). When all of a batch are acknowledged, a script writes the checkpoint
//! into every bucket, if that still stands where the appends were acknowledged (`checkpoint.rs`).
//! A reader gets value, summary and stand in one `MGET` (`read.rs`). Later a compaction folds it
//! and a script swaps the new base in, if the bytes are still those that were folded (`swap.rs`).
//! An early copy has a life of its own: a reader's script puts it behind the value that it reads
//! (`record.rs`), and no checkpoint ever speaks of it. A value may also begin with a base, which
//! one who knows it from elsewhere puts where there is none (`plant.rs`).
//!
//! **The rules that make it hold**, each in force here but *fold*, which is the compactor's:
//!
//! - *who*: a connection never comes back by itself (`link.rs`). On a new one, and when a bucket is
//!   found on another node, the bucket is looked at before anything is appended (`look.rs`); if it
//!   stands elsewhere, the writer is told [`StoreError::Rewound`].
//! - *order*: after an error nothing of the batch counts, and the writer sends all of it again.
//! - *inc*, *epoch*: the checkpoint's script requires the incarnation and the epoch that the writer
//!   named. The epoch is in every name, so writers of an older one harm nobody.
//! - *bytes*: the swap's script requires header and tail that were read.
//! - *seen*: a bucket on another node is adopted only if that node's incarnation was on record, or
//!   it is the promoted replica of the bucket's own; else it may have lost keys, and is begun anew.
//!
//! **A bucket on its way** in a cluster has keys on two nodes. Appends follow their keys; reads
//! wait for the move, within their deadline; checkpoints and swaps are held back, since no one
//! place can vouch for both nodes. When it has arrived, its stand is another one and writers
//! rewind.

mod admin;
mod append;
mod checkpoint;
mod cluster;
mod counts;
mod exchange;
mod futures;
mod gather;
mod greeting;
mod link;
mod look;
mod memo;
mod name;
mod node;
mod note;
mod options;
mod plant;
mod policies;
mod read;
mod record;
mod router;
mod script;
mod survey;
mod swap;
mod url;
mod value;
mod watch;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use counts::RedisCounts;
pub use options::{RedisOptions, Rules};

use self::counts::Counts;
use self::futures::{Within, join_all};
use self::link::Dial;
use self::look::Standing;
use self::memo::Memo;
use self::name::Names;
use self::node::Lane;
use self::router::Router;
use self::url::Target;
use self::words::BUCKETS;
use crate::StoreError;
use crate::store::{
    Answer, At, Batch, Detail, Early, Grown, Look, Plant, Read, Recorded, Space, Stats, Store, Swap,
};
use crate::survey::{Policies, Survey};

/// A store in Redis. Its verbs may be awaited on any thread; timers and sockets run on the runtime
/// in which it was opened.
pub struct RedisStore {
    inner: Arc<Inner>,
    runtime: Handle,
    watch: JoinHandle<()>,
}

/// A space of a bucket in an epoch.
type Written = (usize, u64, Space);

struct Inner {
    router: Router,
    names: Names,
    /// By bucket.
    standings: Vec<Mutex<Standing>>,
    /// The epoch last seen, by bucket; 0 when none was.
    epochs: Vec<AtomicU64>,
    memo: Memo,
    /// What this process has entered into the sets of spaces.
    written: Mutex<HashSet<Written>>,
}

impl Inner {
    fn options(&self) -> &RedisOptions {
        &self.router.dial.options
    }

    fn counts(&self) -> &Counts {
        &self.router.dial.counts
    }

    fn epoch(&self, bucket: usize) -> u64 {
        self.epochs[bucket].load(Ordering::Acquire)
    }

    fn know_epoch(&self, bucket: usize, epoch: u64) {
        self.epochs[bucket].store(epoch, Ordering::Release);
    }

    fn written(&self) -> MutexGuard<'_, HashSet<Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a space is new to a bucket, as far as this process knows; then it is not any more.
    fn know_space(&self, space: Written) -> bool {
        self.written().insert(space)
    }

    fn forget_spaces(&self, which: impl Fn(&Written) -> bool) {
        self.written().retain(|space| !which(space));
    }
}

impl RedisStore {
    /// Opens the store at a URL: `redis://`, `rediss://`, `unix:`, `redis-sentinel://` or
    /// `redis-cluster://`, as the settings page of the documentation lists them. Call it within a
    /// tokio runtime that lives as long as the store.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when the URL, the server or its configuration will not do, with the
    /// remedy; [`StoreError::Unavailable`] when it cannot be reached now.
    pub async fn open(url: &str, options: RedisOptions) -> Result<Self, StoreError> {
        check_prefix(&options.prefix)?;
        let target = Target::parse(url)?;
        let names = Names::new(&options.prefix);
        let inner = Arc::new(Inner {
            router: Router::new(Dial { target, options, counts: Counts::default() }),
            names,
            standings: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            epochs: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            memo: Memo::default(),
            written: Mutex::default(),
        });
        inner.router.link(0, Lane::Reads).await?;
        let links = inner.router.primaries();
        let links = links.iter().map(|node| node.link(Lane::Reads, &inner.router.dial));
        join_all(links).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        inner.observe(&mut BTreeMap::new()).await;
        let watched =
            if inner.options().rules.watch { Arc::downgrade(&inner) } else { Weak::new() };
        let watch = tokio::spawn(watch::watch(watched));
        Ok(Self { inner, runtime: Handle::current(), watch })
    }

    /// What it did so far.
    pub fn counts(&self) -> RedisCounts {
        self.inner.counts().read()
    }

    /// The bucket of a key.
    #[cfg(feature = "testing")]
    pub fn bucket(&self, at: At<'_>) -> usize {
        name::bucket_of(at)
    }

    /// A bucket's slot in a cluster.
    #[cfg(feature = "testing")]
    pub fn slot(bucket: usize) -> u16 {
        name::slot_of(bucket)
    }

    fn run<'a, T: Send + 'a>(
        &'a self,
        verb: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(Within::new(self.runtime.clone(), verb))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({})", self.inner.router.dial.target)
    }
}

fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !prefix.is_empty() && prefix.bytes().all(fine) {
        return Ok(());
    }
    Err(StoreError::Unfit {
        place: format!("The prefix {prefix:?}"),
        detail: "it has a character that Redis or its patterns read in their own way".to_owned(),
        remedy: "Use letters, digits, '.', '_' and '-'.",
    })
}

impl Store for RedisStore {
    fn read<'a>(&'a self, keys: &'a [At<'a>], detail: Detail) -> Answer<'a, Vec<Read>> {
        self.run(self.inner.read(keys, detail))
    }

    fn record<'a>(
        &'a self,
        keys: &'a [At<'a>],
        early: &'a Early<'a>,
        detail: Detail,
    ) -> Answer<'a, Recorded> {
        self.run(self.inner.record_early(keys, early, detail))
    }

    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look> {
        self.run(self.inner.look(spaces))
    }

    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>> {
        self.run(self.inner.append(batch))
    }

    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>> {
        self.run(self.inner.swap(swaps))
    }

    fn plant<'a>(&'a self, plant: &'a Plant<'a>) -> Answer<'a, bool> {
        self.run(self.inner.plant(plant))
    }

    fn drop_space<'a>(&'a self, space: Space) -> Answer<'a, ()> {
        self.run(self.inner.drop_space(space))
    }

    fn fence(&self) -> Answer<'_, ()> {
        self.run(self.inner.fence())
    }

    fn spaces(&self) -> Answer<'_, Vec<Space>> {
        self.run(self.inner.spaces())
    }

    fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<u8>>> {
        self.run(self.inner.keys(space, after, limit))
    }

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.run(self.inner.note(name))
    }

    fn set_note<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Answer<'a, bool> {
        self.run(self.inner.set_note(name, expected, bytes))
    }

    /// Redis writes to disk as it is set up to; there is nothing to wait for.
    fn sync(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stats(&self) -> Answer<'_, Stats> {
        self.run(self.inner.stats())
    }

    fn survey<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Survey> {
        self.run(self.inner.survey(spaces))
    }

    fn policies(&self) -> Answer<'_, Vec<Policies>> {
        self.run(self.inner.policies())
    }

    fn checkpoint_every(&self) -> Duration {
        self.inner.options().checkpoint_every
    }
}
