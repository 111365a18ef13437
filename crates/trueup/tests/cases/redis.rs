//! The cases over Redis: one server, behind Sentinel, and a Cluster of three primaries, each real.
//! Every case has a prefix of its own on one set of servers.

use crate::ask::ask_all;
use crate::case::Case;
use crate::folding::{Filling, fold_each_alone, in_order};
use crate::records::records;
use crate::report::{Findings, each_case};
use crate::stores::{Pipeline, runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::runtime::Runtime;
use trueup_store::testing::servers::{Cluster, RedisServer, Sentinels, Setup};
use trueup_store::{Log, RedisOptions, RedisStore};

/// A store on servers that were started once, for one case.
struct Stores<'a> {
    url: String,
    runtime: &'a Runtime,
    made: AtomicU32,
}

impl<'a> Stores<'a> {
    fn at(url: String, runtime: &'a Runtime) -> Stores<'a> {
        Stores { url, runtime, made: AtomicU32::new(0) }
    }

    fn next(&self) -> u32 {
        self.made.fetch_add(1, Relaxed)
    }

    fn open(&self, number: u32) -> RedisStore {
        let mut options = RedisOptions::default();
        options.prefix = format!("case-{number}");
        self.runtime.block_on(RedisStore::open(&self.url, options)).unwrap()
    }
}

/// The worker applies a case's events, half of them before it is started again.
fn the_worker(url: String) {
    let runtime = runtime();
    let stores = Stores::at(url, &runtime);
    each_case(|case, found| {
        let folder = tempfile::tempdir().unwrap();
        let (half, end) = (case.events.len() / 2, case.events.len());
        let number = stores.next();
        for events in [0..half, half..end] {
            let log = Log::open(folder.path(), trueup_store::Options::LOG).unwrap();
            let store = Arc::new(stores.open(number));
            let pipeline = Pipeline::start(case, &runtime, log, store.clone());
            pipeline.feed(events.clone());
            let refused = pipeline.stop();
            if events.end == end {
                found.dead("", &case.dead, &refused);
                ask_all(case, store, "", found);
            }
        }
    });
}

fn folded_alone(case: &Case, store: RedisStore, found: &mut Findings) {
    let (events, _) = records(case, in_order);
    let filling = Filling::new(case, store);
    fold_each_alone(&filling, &events);
    filling.ask(", folded alone", found);
}

#[test]
fn the_worker_over_redis_with_a_restart_in_the_middle() {
    let server = RedisServer::plain();
    the_worker(server.url());
}

#[test]
fn the_worker_over_redis_behind_sentinel_with_a_restart_in_the_middle() {
    let servers = Sentinels::start(&Setup::default(), 1);
    the_worker(servers.url());
}

#[test]
fn the_worker_over_a_redis_cluster_with_a_restart_in_the_middle() {
    let servers = Cluster::start(&Setup::default());
    the_worker(servers.url());
}

#[test]
fn each_event_is_folded_alone_in_redis() {
    let server = RedisServer::plain();
    let runtime = runtime();
    let stores = Stores::at(server.url(), &runtime);
    each_case(|case, found| folded_alone(case, stores.open(stores.next()), found));
}
