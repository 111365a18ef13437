//! Ways to keep: the pipeline that runs in production, from the log through its worker, over each
//! store; and stores that fail on cue.

use crate::ask::ask_all;
use crate::case::Case;
use crate::folding::{Filling, fold_each_alone, in_order};
use crate::records::records;
use crate::report::{Refused, each_case};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use trueup::clock::Clock;
use trueup::ingest::source::LogSource;
use trueup::ingest::{NewBeginning, Pusher, Worker, WorkerOptions};
use trueup_core::Micros;
use trueup_store::testing::{FaultyStore, Verb, When, block_on};
use trueup_store::{EmbeddedStore, Log, Lot, MemoryStore, Options, Store};

/// How long a worker may take to apply some events; it retries what fails within some milliseconds.
const APPLIED_WITHIN: Duration = Duration::from_secs(30);

/// Dead letters that are looked at; cases have a dozen events.
const MANY: usize = 1_000;

/// The workers of a case's streams, at work between a log and a store.
pub(crate) struct Pipeline<'a> {
    case: &'a Case,
    runtime: &'a Runtime,
    pusher: Pusher,
    workers: Vec<Worker>,
}

impl<'a> Pipeline<'a> {
    pub(crate) fn start(
        case: &'a Case,
        runtime: &'a Runtime,
        log: Log,
        store: Arc<dyn Store>,
    ) -> Self {
        let streams = case.catalog.streams().len();
        let pusher = Pusher::local(Arc::clone(&case.catalog), log, Clock::of(|| Micros(0)));
        let log = Arc::clone(pusher.log.as_ref().unwrap());
        let start = |stream| {
            let options = WorkerOptions {
                catalog: Arc::clone(&case.catalog),
                stream,
                avro: None,
                letters: Arc::clone(&log),
                store: Arc::clone(&store),
                clock: pusher.clock.clone(),
                progress: Arc::clone(&pusher.progress[stream]),
                lane: 1,
                wake: Arc::clone(&pusher.wakes[stream]),
                policy: NewBeginning::Refuse,
                data: None,
                letterbox: None,
                max_bad_percent: None,
            };
            let name = &case.catalog.streams()[stream].stream.name;
            let (log, wake) = (Arc::clone(&log), Arc::clone(&pusher.wakes[stream]));
            let source = Box::new(LogSource::open(log, name, wake).unwrap());
            Worker::start(options, source, runtime.handle()).unwrap()
        };
        let workers = (0..streams).map(start).collect();
        Pipeline { case, runtime, pusher, workers }
    }

    /// Puts some of the case's events into the log as they are, the bad ones too, which the worker
    /// is to find, and waits until they are applied.
    pub(crate) fn feed(&self, events: Range<usize>) {
        for event in &self.case.events[events] {
            let mut lot = Lot::default();
            lot.push(event.log_us, &event.bytes).unwrap();
            self.log().append(self.name(event.stream), lot).unwrap();
        }
        for (stream, progress) in self.pusher.progress.iter().enumerate() {
            let end = self.log().info(self.name(stream)).unwrap().unwrap().end;
            self.runtime.block_on(async {
                // A call without events wakes the worker.
                self.pusher.push(stream, &[]).await.unwrap();
                let applied =
                    tokio::time::timeout(APPLIED_WITHIN, progress.wait_for(&[(0, end)])).await;
                applied.expect("the worker applies its log");
            });
        }
    }

    fn log(&self) -> &Log {
        self.pusher.log.as_ref().unwrap()
    }

    fn name(&self, stream: usize) -> &'a str {
        &self.case.catalog.streams()[stream].stream.name
    }

    /// Ends the workers and returns what they refused.
    pub(crate) fn stop(self) -> Vec<Refused> {
        self.workers.into_iter().for_each(|worker| worker.stop().unwrap());
        refused(self.case, self.pusher.log.as_ref().unwrap())
    }
}

/// The dead letters that workers filed in a log, by the events that they are.
pub(crate) fn refused(case: &Case, log: &Log) -> Vec<Refused> {
    let mut all = Vec::new();
    for (stream, part) in case.catalog.streams().iter().enumerate() {
        let in_stream: Vec<usize> =
            (0..case.events.len()).filter(|&i| case.events[i].stream == stream).collect();
        for (_, letter) in log.dead_letters(&part.stream.name, None, MANY).unwrap() {
            let Some((_, offset)) = letter.position else { continue };
            let index = in_stream[offset as usize];
            all.push(Refused { index, column: None, reason: letter.reason });
        }
    }
    all
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn the_worker_over_the_memory_store() {
    let runtime = runtime();
    each_case(|case, found| {
        for one_by_one in [false, true] {
            let store = Arc::new(MemoryStore::new());
            let log = Log::in_memory().unwrap();
            let pipeline = Pipeline::start(case, &runtime, log, store.clone());
            let all = 0..case.events.len();
            match one_by_one {
                true => all.for_each(|index| pipeline.feed(index..index + 1)),
                false => pipeline.feed(all),
            }
            let how = if one_by_one { ", one by one" } else { ", in one batch" };
            found.dead(how, &case.dead, &pipeline.stop());
            ask_all(case, store, how, found);
        }
    });
}

#[test]
fn the_worker_over_the_embedded_store_with_a_restart_in_the_middle() {
    let runtime = runtime();
    each_case(|case, found| {
        let folder = tempfile::tempdir().unwrap();
        let (half, end) = (case.events.len() / 2, case.events.len());
        for events in [0..half, half..end] {
            let (store, log) = open(folder.path());
            let pipeline = Pipeline::start(case, &runtime, log, store);
            pipeline.feed(events.clone());
            let refused = pipeline.stop();
            if events.end == end {
                found.dead("", &case.dead, &refused);
            }
        }
        let (store, _) = open(folder.path());
        ask_all(case, store, "", found);
    });
}

fn open(folder: &Path) -> (Arc<EmbeddedStore>, Log) {
    let store = EmbeddedStore::open(folder, Options::STATE).unwrap();
    (Arc::new(store), Log::open(folder, Options::LOG).unwrap())
}

#[test]
fn the_worker_over_a_store_that_fails_on_cue() {
    let runtime = runtime();
    each_case(|case, found| {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let log = Log::in_memory().unwrap();
        let pipeline = Pipeline::start(case, &runtime, log, store.clone());
        let (half, end) = (case.events.len() / 2, case.events.len());
        store.fail(Verb::Append, 0, When::Before);
        store.fail(Verb::Append, 1, When::After);
        store.fail(Verb::Look, 1, When::Before);
        pipeline.feed(0..half);
        store.fail(Verb::Append, 0, When::After);
        pipeline.feed(half..end);
        found.dead("", &case.dead, &pipeline.stop());
        assert!(store.calls(Verb::Look) > 1, "a worker looks again after a failure");
        ask_all(case, store, "", found);
    });
}

#[test]
fn each_event_folded_alone_over_a_store_whose_every_other_call_fails() {
    each_case(|case, found| {
        let (events, _) = records(case, in_order);
        let filling = Filling::new(case, FaultyStore::new(MemoryStore::new()));
        let calls = 4 * events.iter().map(Vec::len).sum::<usize>() as u64 + 4;
        for call in (0..calls).step_by(2) {
            let when = if call % 4 == 0 { When::Before } else { When::After };
            for verb in [Verb::Append, Verb::Swap, Verb::Get, Verb::Look] {
                filling.store.fail(verb, call, when);
            }
        }
        fold_each_alone(&filling, &events);
        // The answer is asked of what is left when nothing fails any more.
        (0..calls).for_each(|_| drop(block_on(filling.store.get(&[]))));
        filling.ask("", found);
    });
}
