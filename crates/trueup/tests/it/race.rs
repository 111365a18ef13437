//! A worker that looks at log and store while another one goes on: the harm is a process that ends
//! and waits for a person, for events that were never missing. And callers who ask at once for what
//! they were told is applied.

use crate::support::{SQL, catalog, payment};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use trueup::catalog::Catalog;
use trueup::clock::Clock;
use trueup::ingest::source::{Bounds, LogSource, PartitionInfo, Polled, Source, SourceError};
use trueup::ingest::{NewBeginning, Pusher, Worker, WorkerOptions};
use trueup_core::Micros;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{Lot, MemoryStore, RedisOptions, RedisStore, Store};

const STREAM: &str = "payments";

/// How long a worker may take for an event.
const APPLIED_WITHIN: Duration = Duration::from_secs(60);

/// What two workers of one log share.
struct Scene {
    runtime: Runtime,
    catalog: Arc<Catalog>,
    pusher: Pusher,
    store: Arc<dyn Store>,
}

impl Scene {
    fn new(store: Arc<dyn Store>) -> Scene {
        let (runtime, catalog) = (Runtime::new().unwrap(), catalog(SQL));
        let log = trueup_store::Log::in_memory().unwrap();
        let clock = Clock::of(|| Micros(crate::support::TEN));
        let pusher = Pusher::local(Arc::clone(&catalog), log, clock);
        Scene { runtime, catalog, pusher, store }
    }

    fn options(&self, lane: u64) -> WorkerOptions {
        WorkerOptions {
            catalog: Arc::clone(&self.catalog),
            stream: 0,
            avro: None,
            letters: Arc::clone(self.pusher.log.as_ref().unwrap()),
            store: Arc::clone(&self.store),
            clock: self.pusher.clock.clone(),
            progress: Arc::clone(&self.pusher.progress[0]),
            lane,
            wake: Arc::clone(&self.pusher.wakes[0]),
            policy: NewBeginning::Refuse,
            data: None,
            letterbox: None,
            max_bad_percent: None,
        }
    }

    fn source(&self) -> LogSource {
        let log = Arc::clone(self.pusher.log.as_ref().unwrap());
        LogSource::open(log, STREAM, Arc::clone(&self.pusher.wakes[0])).unwrap()
    }

    /// Puts a payment into the log and waits until it is applied.
    fn pay(&self, id: i64) {
        self.log(id);
        self.wait_for_the_end();
    }

    /// Puts a payment into the log.
    fn log(&self, id: i64) {
        let mut lot = Lot::default();
        lot.push(crate::support::TEN, payment(id, 60, "1.00").to_string().as_bytes()).unwrap();
        self.pusher.log.as_ref().unwrap().append(STREAM, lot).unwrap();
    }

    fn wait_for_the_end(&self) {
        let end = self.pusher.log.as_ref().unwrap().info(STREAM).unwrap().unwrap().end;
        self.runtime.block_on(async {
            // A call without events wakes the worker.
            self.pusher.push(0, &[]).await.unwrap();
            let places = [(0, end)];
            let applied = self.pusher.progress[0].wait_for(&places);
            tokio::time::timeout(APPLIED_WITHIN, applied).await.expect("the worker applies it");
        });
    }
}

/// A log that has gone on when it has said where it ends.
struct GoesOn {
    log: LogSource,
    scene: &'static Scene,
}

impl fmt::Debug for GoesOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)
    }
}

impl Source for GoesOn {
    fn number(&self) -> u32 {
        self.log.number()
    }

    fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError> {
        let before = self.log.roster();
        self.scene.pay(before.as_ref().unwrap()[0].end as i64 + 1);
        before
    }

    fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        self.log.seek(places)
    }

    fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError> {
        self.log.poll(bounds)
    }

    fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        self.log.ends(partitions)
    }

    fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError> {
        self.log.first_time_us(partition)
    }

    fn applied(&mut self, places: &[(u32, u64)]) {
        self.log.applied(places);
    }
}

#[test]
fn a_checkpoint_that_another_worker_moves_on_meanwhile_is_no_gap() {
    // The worker's thread may outlive the test.
    let scene: &'static Scene = Box::leak(Box::new(Scene::new(Arc::new(MemoryStore::default()))));
    let handle = scene.runtime.handle();
    let first = Worker::start(scene.options(1), Box::new(scene.source()), handle).unwrap();
    scene.pay(1);
    let goes_on = GoesOn { log: scene.source(), scene };
    let second = Worker::start(scene.options(2), Box::new(goes_on), handle);
    second.expect("nothing is missing").stop().unwrap();
    first.stop().unwrap();
}

/// What a waiting push is told is applied was `UNKNOWN` until the next checkpoint, if it was
/// the first that a worker read.
#[test]
fn the_first_records_that_are_applied_are_vouched_for_at_once() {
    let redis = RedisServer::plain();
    let never = Duration::from_secs(24 * 3_600);
    let mut options = RedisOptions::default();
    options.checkpoint_every = never;
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(RedisStore::open(&redis.url(), options)).unwrap();
    let scene = Scene::new(Arc::new(store));
    scene.log(1);
    let handle = scene.runtime.handle();
    let worker = Worker::start(scene.options(1), Box::new(scene.source()), handle).unwrap();
    scene.wait_for_the_end();
    let spaces = scene.catalog.spaces(0);
    let look = scene.runtime.block_on(scene.store.look(&spaces)).unwrap();
    for meta in &look.metas {
        assert!(meta.complete_since_us.is_some() && meta.fresh_us.is_some(), "{meta:?}");
    }
    worker.stop().unwrap();
}
