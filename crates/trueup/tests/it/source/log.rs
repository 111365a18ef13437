//! The local log, in memory, held to the contract of sources.

use super::contract::{Logs, TestLog, check, now_us};
use std::sync::Arc;
use trueup::ingest::Bell;
use trueup::ingest::source::{LogSource, Source};
use trueup_store::{Log, Lot};

const STREAM: &str = "payments";

struct LocalLogs;

struct LocalLog {
    log: Arc<Log>,
    bell: Arc<Bell>,
}

impl Logs for LocalLogs {
    fn max_partitions(&self) -> u32 {
        1
    }

    fn make(&self, _partitions: u32) -> Box<dyn TestLog + '_> {
        let log = Arc::new(Log::in_memory().unwrap());
        Box::new(LocalLog { log, bell: Arc::new(Bell::default()) })
    }
}

impl TestLog for LocalLog {
    fn append(&self, _partition: u32, payloads: &[Vec<u8>]) {
        let mut lot = Lot::default();
        for payload in payloads {
            lot.push(now_us(), payload).unwrap();
        }
        self.log.append(STREAM, lot).unwrap();
        self.bell.ring();
    }

    fn reader(&self) -> Box<dyn Source> {
        let (log, bell) = (Arc::clone(&self.log), Arc::clone(&self.bell));
        Box::new(LogSource::open(log, STREAM, bell).unwrap())
    }

    fn trim(&self, _partition: u32, before: u64) -> bool {
        self.log.trim(STREAM, before).unwrap();
        true
    }
}

#[test]
fn the_local_log_keeps_the_contract_of_sources() {
    check(&LocalLogs);
}

#[test]
fn a_ring_ends_a_poll_that_waits_for_records() {
    let log = LocalLogs.make(1);
    let mut source = log.reader();
    let bounds = trueup::ingest::source::Bounds {
        records: 1,
        bytes: 1,
        wait: std::time::Duration::from_secs(60),
    };
    source.poll(&bounds).unwrap();
    source.seek(&[(0, 0)]).unwrap();
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| log.append(0, &[]));
        source.poll(&bounds).unwrap();
    });
    assert!(began.elapsed() < bounds.wait, "an empty append rang, and the poll slept on");
}
