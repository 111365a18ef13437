//! Subjects of streams on a real server of NATS: the contract of sources, and what is their own.

use super::contract::{Logs, TestLog, check};
use crate::nats_server::{NatsServer, fresh, url};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use trueup::ingest::source::{
    Bounds, NatsProducer, NatsSettings, NatsSource, Polled, ProduceError, Source, SourceError,
    SourceRecord,
};
use trueup_store::testing::servers::Proxy;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a poll of these tests waits for records.
const POLL: Duration = Duration::from_millis(100);

/// How long a reader that says nothing counts as alive, as the source has it.
const ALIVE: Duration = Duration::from_secs(6);

/// A log, with the offsets of what was appended, by partition.
struct Subjects<'a> {
    server: &'a NatsServer,
    name: String,
    offsets: Mutex<Vec<Vec<u64>>>,
}

impl NatsServer {
    fn subjects(&self, partitions: u32) -> Subjects<'_> {
        self.subjects_in(partitions, Config::default())
    }

    fn subjects_in(&self, partitions: u32, config: Config) -> Subjects<'_> {
        let name = fresh();
        self.make_stream(&name, config);
        Subjects { server: self, name, offsets: Mutex::new(vec![Vec::new(); partitions as usize]) }
    }
}

impl Logs for NatsServer {
    fn max_partitions(&self) -> u32 {
        64
    }

    fn make(&self, partitions: u32) -> Box<dyn TestLog + '_> {
        Box::new(self.subjects(partitions))
    }
}

impl Subjects<'_> {
    fn partitions(&self) -> u32 {
        self.offsets.lock().unwrap().len() as u32
    }

    fn subject(&self, partition: u32) -> String {
        if self.partitions() == 1 {
            self.name.clone()
        } else {
            format!("{}.{partition}", self.name)
        }
    }

    fn settings(&self) -> NatsSettings {
        self.server.settings(&self.name, self.partitions())
    }

    fn source(&self) -> NatsSource {
        NatsSource::open(self.settings()).unwrap()
    }

    /// Messages `0`, `1` and so on in a partition.
    fn fill(&self, partition: u32, numbers: std::ops::Range<u32>) {
        self.append(partition, &numbers.map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
    }
}

impl TestLog for Subjects<'_> {
    fn append(&self, partition: u32, payloads: &[Vec<u8>]) {
        let subject = self.subject(partition);
        let sequences: Vec<u64> = self.server.admin(async |context| {
            let mut acknowledging = Vec::new();
            for payload in payloads {
                let sent = context.publish(subject.clone(), payload.clone().into()).await;
                acknowledging.push(sent.unwrap().into_future());
            }
            let acknowledged = join_all(acknowledging).await;
            acknowledged.into_iter().map(|acknowledged| acknowledged.unwrap().sequence).collect()
        });
        self.offsets.lock().unwrap()[partition as usize].extend(sequences);
    }

    fn place(&self, partition: u32, number: u64) -> u64 {
        let offsets = &self.offsets.lock().unwrap()[partition as usize];
        let end = offsets.last().map_or(0, |last| last + 1);
        let beyond = || end + (number - offsets.len() as u64);
        offsets.get(number as usize).copied().unwrap_or_else(beyond)
    }

    fn reader(&self) -> Box<dyn Source> {
        Box::new(self.source())
    }

    fn trim(&self, partition: u32, before: u64) -> bool {
        let subject = self.subject(partition);
        self.server.with_stream(&self.name, async |stream| {
            stream.purge().filter(subject).sequence(before).await.unwrap();
        });
        true
    }
}

fn bounds(wait: Duration) -> Bounds {
    Bounds { records: 1_000, bytes: 1 << 20, wait }
}

fn owned(source: &mut NatsSource) -> Vec<u32> {
    match source.poll(&bounds(POLL)).unwrap() {
        Polled::Owned(owned) => owned,
        Polled::Records(records) => panic!("{records:?}"),
    }
}

/// A reader of partition 0 that begins at an offset.
fn reading(subjects: &Subjects<'_>, offset: u64) -> NatsSource {
    let mut source = subjects.source();
    assert!(owned(&mut source).contains(&0));
    source.seek(&[(0, offset)]).unwrap();
    source
}

fn read(source: &mut NatsSource, count: usize) -> Vec<SourceRecord> {
    let (began, mut records) = (Instant::now(), Vec::new());
    while records.len() < count {
        assert!(began.elapsed() < PATIENCE, "{} of {count}", records.len());
        match source.poll(&bounds(POLL)).unwrap() {
            Polled::Records(came) => records.extend(came),
            Polled::Owned(owned) => panic!("{owned:?} are owned now, without need"),
        }
    }
    records
}

/// What the next polls end with; they bring nothing.
fn error_of(source: &mut NatsSource) -> SourceError {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match source.poll(&bounds(POLL)) {
            Ok(Polled::Records(records)) => assert_eq!(records, []),
            Ok(Polled::Owned(owned)) => panic!("{owned:?}"),
            Err(error) => return error,
        }
    }
    panic!("no error in {PATIENCE:?}")
}

/// A reader that does as a worker does: after an error that mends itself, and when its partitions
/// change, it begins again behind what it has; every payload must come once, in order.
struct Steady {
    source: NatsSource,
    /// By partition: where it goes on, and the payloads that came.
    read: BTreeMap<u32, (u64, Vec<u32>)>,
    owned: Vec<u32>,
    /// Errors met.
    errors: usize,
}

impl Steady {
    fn of(source: NatsSource) -> Steady {
        Steady { source, read: BTreeMap::new(), owned: Vec::new(), errors: 0 }
    }

    fn step(&mut self) {
        match self.source.poll(&bounds(POLL)) {
            Ok(Polled::Owned(owned)) => {
                self.owned = owned;
                self.begin();
            }
            Ok(Polled::Records(records)) => {
                for record in records {
                    let (next, payloads) = self.read.entry(record.partition).or_default();
                    assert!(record.offset >= *next, "{record:?} came before");
                    *next = record.offset + 1;
                    payloads.push(String::from_utf8(record.payload).unwrap().parse().unwrap());
                }
            }
            Err(error) => {
                assert!(error.retry, "{error}");
                self.errors += 1;
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let began = Instant::now();
        loop {
            let places: Vec<(u32, u64)> = (self.owned.iter())
                .map(|partition| {
                    (*partition, self.read.get(partition).map_or(0, |(next, _)| *next))
                })
                .collect();
            match self.source.roster().and_then(|_| self.source.seek(&places)) {
                Ok(()) => return,
                Err(error) => assert!(error.retry && began.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Polls until the partition has so many, and holds them against what was appended.
    #[track_caller]
    fn read_to(&mut self, partition: u32, count: u32) {
        let began = Instant::now();
        while self.read.get(&partition).is_none_or(|(_, read)| read.len() < count as usize) {
            assert!(began.elapsed() < PATIENCE, "{:?} of {count}", self.read.get(&partition));
            self.step();
        }
        assert!(self.read[&partition].1.iter().copied().eq(0..count), "{:?}", self.read);
    }
}

#[test]
fn subjects_of_a_stream_keep_the_contract_of_sources() {
    check(&NatsServer::start());
}

/// Row 36: what was trimmed before it was read must be a gap, and never be read over.
#[test]
fn messages_purged_before_they_were_read_are_a_gap_for_those_who_read_and_those_who_start() {
    let server = NatsServer::start();
    let subjects = server.subjects(1);
    subjects.fill(0, 0..100);
    let mut source = reading(&subjects, 0);
    // A poll brings what has come so far.
    let mut some = |count: usize| {
        let (began, mut records) = (Instant::now(), Vec::new());
        while records.len() < count {
            assert!(began.elapsed() < PATIENCE, "{} of {count}", records.len());
            let few = Bounds { records: count - records.len(), ..bounds(POLL) };
            let Polled::Records(more) = source.poll(&few).unwrap() else { panic!("owned") };
            records.extend(more);
        }
        records
    };
    let checkpoint = some(10)[9].offset + 1;
    // What is gone behind the reader is nobody's loss.
    subjects.trim(0, checkpoint);
    assert_eq!(some(1)[0].payload, b"10");
    // What was asked for ahead is here already, but is no more what the stream has.
    subjects.trim(0, subjects.place(0, 50));
    let error = error_of(&mut source);
    assert!(error.retry && error.detail.contains("are gone"), "{error}");
    let info = source.roster().unwrap()[0];
    assert_eq!(info.first, subjects.place(0, 50));
    assert!(info.first > checkpoint, "a worker sees the gap");
    let refused = source.seek(&[(0, checkpoint)]).unwrap_err();
    assert!(!refused.retry && refused.remedy.contains("new beginning"), "{refused}");
}

#[test]
fn a_partition_emptied_after_it_was_read_goes_on_without_a_gap_and_so_do_the_others() {
    let server = NatsServer::start();
    let subjects = server.subjects(3);
    subjects.fill(0, 0..10);
    subjects.fill(1, 0..5);
    let mut source = subjects.source();
    assert_eq!(owned(&mut source), [0, 1, 2]);
    source.seek(&[(0, 0), (1, 0), (2, 0)]).unwrap();
    read(&mut source, 15);
    source.ends(&[0, 1, 2]).unwrap();
    let checkpoint = subjects.place(0, 9) + 1;
    subjects.trim(0, checkpoint);
    let roster = source.roster().unwrap();
    assert_eq!((roster[0].first, roster[0].end), (checkpoint, checkpoint));
    assert_eq!(source.first_time_us(0).unwrap(), None);
    assert_eq!(roster[1].first, 0, "it was not this one's message that went");
    assert_eq!((roster[2].first, roster[2].end), (0, 0));
    subjects.fill(0, 10..12);
    assert_eq!(source.roster().unwrap()[0].first, checkpoint);
    source.seek(&[(0, checkpoint)]).unwrap();
    assert_eq!(read(&mut source, 2)[0].payload, b"10");
}

#[test]
fn a_stream_that_forgets_by_number_is_read_on_in_its_quiet_partitions_too() {
    let server = NatsServer::start();
    let config = Config { max_messages: 50, ..Config::default() };
    let subjects = server.subjects_in(2, config);
    let mut steady = Steady::of(subjects.source());
    subjects.fill(1, 0..3);
    for round in 0..10 {
        subjects.fill(0, round * 20..(round + 1) * 20);
        steady.read_to(0, (round + 1) * 20);
        // As a worker does every half second.
        steady.source.ends(&[0, 1]).unwrap();
    }
    let roster = steady.source.roster().unwrap();
    let quiet = steady.read[&1].0;
    assert_eq!((roster[1].first, roster[1].end), (quiet, quiet), "all of it is gone and was read");
    assert!(roster[0].first > 0 && roster[0].end == steady.read[&0].0);
    subjects.fill(1, 3..5);
    steady.read_to(1, 5);
    // Those that start now go by what was written down, which happens once a second.
    std::thread::sleep(Duration::from_millis(1_100));
    steady.source.ends(&[0, 1]).unwrap();
    drop(steady.source);
    let mut source = subjects.source();
    assert_eq!(source.roster().unwrap()[1].first, quiet);
}

#[test]
fn messages_forgotten_by_age_before_they_were_read_are_a_gap() {
    let server = NatsServer::start();
    let config = Config { max_age: Duration::from_secs(2), ..Config::default() };
    let subjects = server.subjects_in(1, config);
    subjects.fill(0, 0..10);
    let mut source = reading(&subjects, 0);
    let checkpoint = read(&mut source, 10)[9].offset + 1;
    drop(source);
    subjects.fill(0, 10..20);
    std::thread::sleep(Duration::from_secs(4));
    let mut source = subjects.source();
    let info = source.roster().unwrap()[0];
    assert!(info.first > checkpoint, "{info:?} and {checkpoint}");
    // Nothing came since: nothing is missing.
    let (first, end) = (info.first, info.end);
    assert_eq!((first, end), (subjects.place(0, 19) + 1, subjects.place(0, 19) + 1));
}

#[test]
fn a_stream_deleted_and_made_anew_is_another_log() {
    let server = NatsServer::start();
    let subjects = server.subjects(2);
    subjects.fill(0, 0..10);
    let mut source = reading(&subjects, 0);
    let old = source.number();
    read(&mut source, 10);
    server.admin(async |context| {
        context.delete_stream(&subjects.name).await.unwrap();
    });
    let error = source.roster().unwrap_err();
    assert!(!error.retry && error.remedy.contains("Make the stream"), "{error}");
    server.make_stream(&subjects.name, Config::default());
    subjects.fill(0, 10..30);
    source.roster().unwrap();
    assert_ne!(source.number(), old);
    assert_eq!(subjects.source().number(), source.number(), "for all readers");
}

#[test]
fn a_stream_that_came_back_without_what_was_read_is_another_log() {
    let mut server = NatsServer::start();
    let name = fresh();
    server.make_stream(&name, Config::default());
    let append = |server: &NatsServer, numbers: std::ops::Range<u32>| {
        let offsets = Mutex::new(vec![Vec::new()]);
        Subjects { server, name: name.clone(), offsets }.fill(0, numbers);
    };
    append(&server, 0..10);
    let mut source = NatsSource::open(server.settings(&name, 1)).unwrap();
    let old = source.number();
    owned(&mut source);
    source.seek(&[(0, 0)]).unwrap();
    read(&mut source, 10);
    drop(source);
    // As after a loss of power: files as they were some time ago.
    server.kill();
    let stream = server.folder().join("jetstream/$G/streams").join(&name);
    let kept = tempfile::tempdir().unwrap();
    copy(&stream, kept.path());
    server.restart();
    append(&server, 10..20);
    let mut source = NatsSource::open(server.settings(&name, 1)).unwrap();
    assert_eq!((source.number(), source.ends(&[0]).unwrap()), (old, vec![21]));
    drop(source);
    server.kill();
    std::fs::remove_dir_all(&stream).unwrap();
    copy(kept.path(), &stream);
    server.restart();
    append(&server, 20..22);
    let mut source = NatsSource::open(server.settings(&name, 1)).unwrap();
    source.roster().unwrap();
    assert_ne!(source.number(), old, "so that checkpoints are a gap");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_place_whose_message_before_is_of_another_subject_makes_the_log_another_one() {
    let server = NatsServer::start();
    let subjects = server.subjects(2);
    subjects.fill(0, 0..3);
    subjects.fill(1, 0..3);
    subjects.fill(0, 3..4);
    let mut source = subjects.source();
    let old = source.number();
    owned(&mut source);
    let error = source.seek(&[(0, subjects.place(1, 1) + 1)]).unwrap_err();
    assert!(error.retry && error.detail.contains("is another one now"), "{error}");
    source.roster().unwrap();
    assert_ne!(source.number(), old);
}

#[test]
fn what_only_a_person_can_mend_is_not_tried_again_and_passwords_are_not_told() {
    let server = NatsServer::start();
    let open = |url: &str, password: Option<&str>| {
        NatsSource::open(NatsSettings::parse(url).unwrap().or_password(password))
    };
    let queue = Config {
        name: "queue".into(),
        subjects: vec!["queue".into()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    server.admin(async |context| drop(context.create_stream(queue).await.unwrap()));
    server.make_stream("pay", Config::default());
    for (stream, subject, remedy) in [
        ("none", "pay", "Make the stream"),
        ("pay", "elsewhere", "Give the stream this subject"),
        ("queue", "queue", "retention `limits`"),
    ] {
        let url = format!("nats://127.0.0.1:{}/{subject}?stream={stream}", server.port());
        let error = open(&url, None).unwrap_err();
        assert!(!error.retry && error.remedy.contains(remedy), "{error}");
    }
    let login = NatsServer::start_with(&["--user", "me", "--pass", "hunter2"]);
    let token = NatsServer::start_with(&["--auth", "hunter2-token"]);
    let at = |user: &str, port: u16| format!("nats://{user}127.0.0.1:{port}/pay?stream=pay");
    for (url, password, remedy) in [
        (at("me@", login.port()), Some("hunter2"), "Make the stream"),
        (at("me@", login.port()), Some("hunter3"), "user and password"),
        (at("", login.port()), None, "user and password"),
        (at("me:hunter2@", login.port()), None, "Make the stream"),
        (at("", token.port()), Some("hunter2-token"), "Make the stream"),
        (at("", token.port()), Some("hunter3"), "the token"),
    ] {
        let error = open(&url, password).unwrap_err();
        assert!(!error.retry && error.remedy.contains(remedy), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
    }
}

#[test]
fn a_server_that_is_gone_is_an_error_that_mends_itself_in_bounded_time() {
    let mut server = NatsServer::start();
    server.make_stream("pay", Config::default());
    let mut source = NatsSource::open(server.settings("pay", 1)).unwrap();
    owned(&mut source);
    server.kill();
    let began = Instant::now();
    for error in [source.roster().unwrap_err(), source.ends(&[0]).unwrap_err()] {
        assert!(error.retry, "{error}");
    }
    assert!(NatsSource::open(server.settings("pay", 1)).unwrap_err().retry);
    drop(source);
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
}

#[test]
fn a_server_killed_and_started_again_under_its_readers_loses_and_doubles_nothing() {
    let mut server = NatsServer::start();
    server.make_stream("pay", Config::default());
    let mut steady = Steady::of(NatsSource::open(server.settings("pay", 2)).unwrap());
    for round in 0..5 {
        let numbers = round * 100..(round + 1) * 100;
        let offsets = Mutex::new(vec![Vec::new(); 2]);
        let subjects = Subjects { server: &server, name: "pay".into(), offsets };
        subjects.fill(0, numbers.clone());
        subjects.fill(1, numbers.clone());
        // Some are here, some are on their way.
        steady.step();
        steady.step();
        server.kill();
        server.restart();
        steady.read_to(0, numbers.end);
        steady.read_to(1, numbers.end);
    }
    assert!(steady.errors > 0, "it noticed");
}

#[test]
fn a_connection_that_is_cut_all_the_time_loses_and_doubles_nothing() {
    let server = NatsServer::start();
    let subjects = server.subjects(2);
    let proxy = Proxy::before(server.port());
    let settings = NatsSettings::parse(&url(proxy.port(), &subjects.name, 2)).unwrap();
    let mut steady = Steady::of(NatsSource::open(settings).unwrap());
    for round in 0..10 {
        let numbers = round * 500..(round + 1) * 500;
        subjects.fill(0, numbers.clone());
        subjects.fill(1, numbers.clone());
        for _ in 0..round % 3 {
            steady.step();
        }
        proxy.cut();
        steady.read_to(0, numbers.end);
        steady.read_to(1, numbers.end);
    }
    assert!(steady.errors > 0, "it noticed");
}

#[test]
fn a_server_that_hangs_costs_no_message_and_holds_nobody_for_long() {
    let server = NatsServer::start();
    let subjects = server.subjects(1);
    subjects.fill(0, 0..10);
    let mut steady = Steady::of(subjects.source());
    steady.read_to(0, 10);
    server.freeze();
    let began = Instant::now();
    let error = loop {
        match steady.source.poll(&bounds(POLL)) {
            Err(error) => break error,
            Ok(polled) => assert_eq!(polled, Polled::Records(Vec::new())),
        }
    };
    assert!(error.retry && began.elapsed() < Duration::from_secs(10), "{error}");
    server.thaw();
    subjects.fill(0, 10..20);
    steady.read_to(0, 20);
}

#[test]
fn a_message_larger_than_what_is_asked_for_ahead_comes_all_the_same() {
    let server = NatsServer::start();
    let subjects = server.subjects(40);
    let large = vec![b'7'; 1_000_000];
    for _ in 0..3 {
        subjects.append(7, std::slice::from_ref(&large));
        subjects.fill(7, 0..1);
    }
    let mut source = subjects.source();
    let places: Vec<(u32, u64)> = owned(&mut source).into_iter().map(|p| (p, 0)).collect();
    source.seek(&places).unwrap();
    let records = read(&mut source, 6);
    assert!(records.iter().step_by(2).all(|record| record.payload == large));
}

#[test]
fn a_reader_that_was_silent_for_too_long_begins_anew() {
    let server = NatsServer::start();
    let subjects = server.subjects(2);
    let mut silent = reading(&subjects, 0);
    let mut other = subjects.source();
    assert!(owned(&mut other).is_empty(), "the first one has both");
    let until = Instant::now() + ALIVE + Duration::from_secs(4);
    let mut owned_by_other = Vec::new();
    while owned_by_other != [0, 1] {
        assert!(Instant::now() < until, "{owned_by_other:?}");
        if let Polled::Owned(owned) = other.poll(&bounds(POLL)).unwrap() {
            owned_by_other = owned;
        }
    }
    assert!(owned(&mut silent).is_empty(), "it has lost both, and is told");
    let until = Instant::now() + PATIENCE;
    let mut shared = (Vec::new(), vec![0, 1]);
    while (shared.0.len(), shared.1.len()) != (1, 1) {
        assert!(Instant::now() < until, "{shared:?}");
        if let Polled::Owned(owned) = silent.poll(&bounds(POLL)).unwrap() {
            shared.0 = owned;
        }
        if let Polled::Owned(owned) = other.poll(&bounds(POLL)).unwrap() {
            shared.1 = owned;
        }
    }
}

#[test]
fn partitions_of_a_reader_that_died_are_read_on_by_another_from_where_it_is_told() {
    let server = NatsServer::start();
    let subjects = server.subjects(2);
    subjects.fill(0, 0..50);
    let mut dead = reading(&subjects, 0);
    let checkpoint = read(&mut dead, 50)[29].offset + 1;
    // As when its process was killed: nothing is given up.
    std::mem::forget(dead);
    let mut steady = Steady::of(subjects.source());
    steady.read.insert(0, (checkpoint, (0..30).collect()));
    steady.read_to(0, 50);
    assert_eq!(steady.owned, [0, 1]);
}

#[test]
fn partitions_are_shared_out_evenly_among_any_number_of_readers() {
    let server = NatsServer::start();
    let subjects = server.subjects(7);
    let mut readers: Vec<(NatsSource, Vec<u32>)> = Vec::new();
    for count in 1..=9 {
        readers.push((subjects.source(), Vec::new()));
        let until = Instant::now() + PATIENCE;
        loop {
            for (reader, owned) in &mut readers {
                let bounds = bounds(Duration::from_millis(10));
                if let Polled::Owned(partitions) = reader.poll(&bounds).unwrap() {
                    *owned = partitions;
                }
            }
            let mut all: Vec<u32> = readers.iter().flat_map(|(_, owned)| owned.clone()).collect();
            all.sort_unstable();
            let (least, most) = (7 / count, 7_usize.div_ceil(count));
            let is_fair = |(_, owned): &(_, Vec<u32>)| (least..=most).contains(&owned.len());
            if all.iter().copied().eq(0..7) && readers.iter().all(is_fair) {
                break;
            }
            assert!(Instant::now() < until, "{count} readers: {all:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_producer_acknowledged_stands_where_it_said_and_keys_keep_their_partition() {
    let server = NatsServer::start();
    tokio::task::block_in_place(|| server.make_stream("pay", Config::default()));
    let producer = NatsProducer::open(server.settings("pay", 4));
    let mut expected = Vec::new();
    for call in 0..20_u32 {
        let rows: Vec<(String, String)> = (0..20)
            .map(|row| ((row % 13).to_string(), format!("{} {call} {row}", row % 13)))
            .collect();
        let sent: Vec<_> = rows.iter().map(|(k, p)| (k.as_bytes(), p.as_bytes())).collect();
        let places = producer.send(&sent).await.unwrap();
        // Sent again, they stand where they stood.
        assert_eq!(producer.send(&sent).await.unwrap(), places);
        expected.extend(places.into_iter().zip(rows.into_iter().map(|(_, payload)| payload)));
    }
    assert_eq!(producer.waiting_bytes(), 0);
    let mut stands = tokio::task::block_in_place(|| {
        let mut source = NatsSource::open(server.settings("pay", 4)).unwrap();
        let places: Vec<_> = owned(&mut source).into_iter().map(|p| (p, 0)).collect();
        source.seek(&places).unwrap();
        let records = read(&mut source, 400);
        let text = |record: SourceRecord| String::from_utf8(record.payload).unwrap();
        let place = |r: SourceRecord| ((r.partition, r.offset), text(r));
        records.into_iter().map(place).collect::<Vec<_>>()
    });
    let keys: std::collections::BTreeSet<(String, u32)> = (stands.iter())
        .map(|((partition, _), text)| (text.split(' ').next().unwrap().to_owned(), *partition))
        .collect();
    assert_eq!(keys.len(), 13, "a key has one partition");
    stands.sort();
    expected.sort();
    assert_eq!(stands, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_refuses_at_once_what_is_above_its_bound_and_outlives_its_server() {
    let mut server = NatsServer::start();
    tokio::task::block_in_place(|| server.make_stream("pay", Config::default()));
    let producer = NatsProducer::with_limit(server.settings("pay", 1), 1_000);
    let large = [7_u8; 2_000];
    let refused = producer.send(&[(b"key", &large)]).await.unwrap_err();
    assert_eq!(refused, ProduceError::Busy { queued: 0, limit: 1_000 });
    producer.send(&[(b"key", b"{}")]).await.unwrap();
    server.kill();
    let error = producer.send(&[(b"key", b"{1}")]).await.unwrap_err();
    assert!(matches!(&error, ProduceError::Refused(error) if error.retry), "{error}");
    server.restart();
    producer.send(&[(b"key", b"{2}")]).await.unwrap();
    assert_eq!(producer.waiting_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_says_what_a_person_must_mend() {
    let server = NatsServer::start();
    tokio::task::block_in_place(|| {
        server.make_stream("pay", Config::default());
        server.make_stream("small", Config { max_message_size: 100, ..Config::default() });
    });
    let (large, huge) = (vec![b'7'; 1_000], vec![b'7'; 2 << 20]);
    let other = format!("nats://127.0.0.1:{}/pay?stream=small", server.port());
    for (settings, payload, remedy) in [
        (server.settings("none", 1), &b"{}"[..], "Make the stream"),
        (server.settings("small", 1), &large, "smaller events"),
        (server.settings("pay", 1), &huge, "smaller events"),
        (NatsSettings::parse(&other).unwrap(), b"{}", "Another stream takes this subject"),
    ] {
        let error = NatsProducer::open(settings).send(&[(b"key", payload)]).await.unwrap_err();
        let ProduceError::Refused(error) = error else { panic!("{error}") };
        assert!(!error.retry && error.remedy.contains(remedy), "{error}");
    }
}
