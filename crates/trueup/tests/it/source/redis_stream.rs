//! Streams of real Redis servers, of each version that is there: the contract of sources, and what
//! is their own.

use super::contract::{Logs, TestLog, check};
use crate::support::{SQL, options, payment};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trueup::ingest::source::{
    Bounds, Polled, ProduceError, RedisStreamProducer, RedisStreamSettings, RedisStreamSource,
    Source, SourceError, SourceRecord,
};
use trueup::node::NodeOptions;
use trueup::place::{LogPlace, SourcePlace};
use trueup_store::testing::servers::{RedisServer, Setup, programs, version};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a poll of these tests waits for records.
const POLL: Duration = Duration::from_millis(100);

/// How long a reader that says nothing counts as alive, as the source has it.
const ALIVE: Duration = Duration::from_secs(6);

struct Server(RedisServer);

/// A log, with the offsets of what was appended, by partition.
struct Streams<'a> {
    server: &'a RedisServer,
    name: String,
    offsets: Mutex<Vec<Vec<u64>>>,
}

impl Server {
    fn of(program: PathBuf) -> Server {
        Server(RedisServer::start(Setup { program, ..Setup::default() }))
    }

    fn streams(&self, partitions: u32) -> Streams<'_> {
        static NTH: AtomicU32 = AtomicU32::new(0);
        let name = format!("pay-{}", NTH.fetch_add(1, Ordering::Relaxed));
        let offsets = Mutex::new(vec![Vec::new(); partitions as usize]);
        let streams = Streams { server: &self.0, name, offsets };
        // Redis 6.2 counts a log as whole only if it was looked at before its first entry.
        drop(streams.source());
        streams
    }
}

impl Logs for Server {
    fn max_partitions(&self) -> u32 {
        64
    }

    fn make(&self, partitions: u32) -> Box<dyn TestLog + '_> {
        Box::new(self.streams(partitions))
    }
}

impl Streams<'_> {
    fn partitions(&self) -> usize {
        self.offsets.lock().unwrap().len()
    }

    fn key(&self, partition: u32) -> String {
        if self.partitions() == 1 {
            self.name.clone()
        } else {
            format!("{}.{partition}", self.name)
        }
    }

    fn settings(&self) -> RedisStreamSettings {
        let (port, name, partitions) = (self.server.port(), &self.name, self.partitions());
        let url = format!("redis-stream://127.0.0.1:{port}/{name}?partitions={partitions}");
        RedisStreamSettings::parse(&url).unwrap()
    }

    fn source(&self) -> RedisStreamSource {
        RedisStreamSource::open(self.settings()).unwrap()
    }

    fn trim_to(&self, partition: u32, first: u64) {
        self.server.command(&format!("XTRIM {} MINID {}", self.key(partition), id(first)));
    }

    /// Entries `0`, `1` and so on in partition 0.
    fn fill(&self, numbers: std::ops::Range<u32>) {
        self.append(0, &numbers.map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
    }
}

impl TestLog for Streams<'_> {
    fn append(&self, partition: u32, payloads: &[Vec<u8>]) {
        let client = redis::Client::open(self.server.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        for payloads in payloads.chunks(1_000) {
            let mut adds = redis::pipe();
            for payload in payloads {
                adds.cmd("XADD").arg(self.key(partition)).arg("*");
                adds.arg("by").arg("a test").arg("event").arg(payload);
            }
            let ids: Vec<String> = adds.query(&mut connection).unwrap();
            let offsets = ids.iter().map(|id| offset(id));
            self.offsets.lock().unwrap()[partition as usize].extend(offsets);
        }
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
        // Redis 6.2 tells trimming by the first entry, which running readers look at all the time.
        drop(self.source());
        self.trim_to(partition, before);
        true
    }
}

fn offset(id: &str) -> u64 {
    let (millis, number) = id.split_once('-').unwrap();
    (millis.parse::<u64>().unwrap() << 20) + number.parse::<u64>().unwrap()
}

fn id(offset: u64) -> String {
    format!("{}-{}", offset >> 20, offset % (1 << 20))
}

/// Runs a test on a server of each version.
fn on_each(test: impl Fn(&Server)) {
    for program in programs() {
        println!("Redis {}", version(&program));
        test(&Server::of(program));
    }
}

fn bounds(wait: Duration) -> Bounds {
    Bounds { records: 1_000, bytes: 1 << 20, wait }
}

fn owned(source: &mut RedisStreamSource) -> Vec<u32> {
    match source.poll(&bounds(POLL)).unwrap() {
        Polled::Owned(owned) => owned,
        Polled::Records(records) => panic!("{records:?}"),
    }
}

/// A reader of partition 0 that begins at an offset.
fn reading(streams: &Streams<'_>, offset: u64) -> RedisStreamSource {
    let mut source = streams.source();
    assert!(owned(&mut source).contains(&0));
    source.seek(&[(0, offset)]).unwrap();
    source
}

fn read(source: &mut RedisStreamSource, count: usize) -> Vec<SourceRecord> {
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
fn error_of(source: &mut RedisStreamSource) -> SourceError {
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

#[test]
fn streams_keep_the_contract_of_sources() {
    on_each(|server| check(server));
}

/// Row 36: what was trimmed before it was read must be a gap, and never be read over.
#[test]
fn entries_trimmed_before_they_were_read_are_a_gap_for_those_who_read_and_those_who_start() {
    on_each(|server| {
        let streams = server.streams(1);
        streams.fill(0..100);
        let mut source = reading(&streams, 0);
        let bounds = Bounds { records: 10, ..bounds(POLL) };
        let Polled::Records(records) = source.poll(&bounds).unwrap() else { panic!("owned") };
        let checkpoint = records[9].offset + 1;
        // The newest entry that was read stays: nothing is missing.
        streams.trim_to(0, records[9].offset);
        let Polled::Records(more) = source.poll(&bounds).unwrap() else { panic!("owned") };
        assert_eq!(more[0].payload, b"10");
        streams.trim_to(0, streams.place(0, 50));
        let error = error_of(&mut source);
        assert!(error.retry && error.detail.contains("are gone"), "{error}");
        let info = source.roster().unwrap()[0];
        assert_eq!(info.first, streams.place(0, 50));
        assert!(info.first > checkpoint, "a worker sees the gap");
        let refused = source.seek(&[(0, checkpoint)]).unwrap_err();
        assert!(!refused.retry && refused.remedy.contains("new beginning"), "{refused}");
    });
}

#[test]
fn entries_trimmed_from_an_unread_beginning_are_a_gap_although_none_was_read_before_them() {
    on_each(|server| {
        let streams = server.streams(1);
        let mut source = reading(&streams, 0);
        assert_eq!(source.poll(&bounds(POLL)).unwrap(), Polled::Records(Vec::new()));
        streams.fill(0..10);
        // So that 6.2 has seen which entry was the first.
        source.ends(&[0]).unwrap();
        streams.trim_to(0, streams.place(0, 3));
        assert!(error_of(&mut source).retry);
        assert_eq!(source.roster().unwrap()[0].first, streams.place(0, 3));
    });
}

#[test]
fn a_stream_that_was_emptied_after_it_was_read_goes_on_without_a_gap() {
    on_each(|server| {
        let streams = server.streams(1);
        streams.fill(0..10);
        let mut source = reading(&streams, 0);
        let checkpoint = read(&mut source, 10)[9].offset + 1;
        streams.trim_to(0, checkpoint);
        let info = source.roster().unwrap()[0];
        assert_eq!((info.first, info.end), (checkpoint, checkpoint));
        assert_eq!(source.first_time_us(0).unwrap(), None);
        streams.fill(10..12);
        assert_eq!(source.roster().unwrap()[0].first, checkpoint);
        source.seek(&[(0, checkpoint)]).unwrap();
        assert_eq!(read(&mut source, 2)[0].payload, b"10");
    });
}

#[test]
fn a_stream_deleted_and_made_anew_is_another_log() {
    on_each(|server| {
        let streams = server.streams(2);
        streams.fill(0..10);
        let mut source = reading(&streams, 0);
        let old = source.number();
        read(&mut source, 10);
        server.0.command(&format!("DEL {}", streams.key(0)));
        std::thread::sleep(Duration::from_millis(2));
        streams.fill(10..30);
        assert!(error_of(&mut source).retry, "the entry that was read is not there");
        // 6.2 cannot tell it from trimming; both are a gap.
        let info = source.roster().unwrap()[0];
        let is_gap = source.number() != old || info.first == streams.place(0, 10);
        assert!(is_gap, "{old} and {info:?}");
    });
}

#[test]
fn a_flushed_server_has_another_log_even_when_it_has_got_more_than_before() {
    on_each(|server| {
        let streams = server.streams(1);
        streams.fill(0..10);
        let mut source = reading(&streams, 0);
        let old = source.number();
        read(&mut source, 10);
        server.0.command("FLUSHALL");
        // Within one millisecond the new entries would have the old IDs, and only the next look at
        // the streams, half a second later, would tell.
        std::thread::sleep(Duration::from_millis(2));
        streams.fill(10..30);
        assert!(error_of(&mut source).retry);
        source.roster().unwrap();
        assert_ne!(source.number(), old);
        assert_eq!(streams.source().number(), source.number(), "for all readers");
    });
}

#[test]
fn a_server_that_came_back_without_what_was_read_has_another_log() {
    on_each(|server| {
        let streams = server.streams(1);
        streams.fill(0..10);
        drop(streams.source());
        let kept = server.0.try_args(&["DUMP", &streams.name]).unwrap();
        let records = read(&mut reading(&streams, 0), 10);
        streams.fill(10..12);
        let newest = read(&mut reading(&streams, records[9].offset + 1), 2)[1].offset;
        // As after a failover to a replica that had got neither the two nor the look after them.
        let mut connection = redis::Client::open(server.0.url()).unwrap().get_connection().unwrap();
        let redis::Value::BulkString(kept) = kept else { panic!("{kept:?}") };
        let mut back = redis::pipe();
        back.cmd("DEL").arg(format!("trueup-log/{}", streams.name));
        back.cmd("RESTORE").arg(&streams.name).arg(0).arg(kept).arg("REPLACE");
        back.exec(&mut connection).unwrap();
        let mut source = streams.source();
        let before = source.number();
        std::thread::sleep(Duration::from_millis(5));
        streams.fill(12..14);
        assert!(owned(&mut source).contains(&0));
        let error = source.seek(&[(0, newest + 1)]).unwrap_err();
        assert!(error.retry && error.detail.contains("was read and is not there"), "{error}");
        source.roster().unwrap();
        assert_ne!(source.number(), before, "so that checkpoints are a gap");
    });
}

#[test]
fn an_entry_without_the_field_comes_with_an_empty_payload_and_an_id_too_large_is_named() {
    let server = Server(RedisServer::plain());
    let streams = server.streams(1);
    server.0.command(&format!("XADD {} 5-0 other field", streams.name));
    server.0.command(&format!("XADD {} 1700000000123-7 event {{}}", streams.name));
    let mut source = reading(&streams, 0);
    let records = read(&mut source, 2);
    assert_eq!((&records[0].payload[..], &records[1].payload[..]), (&b""[..], &b"{}"[..]));
    assert_eq!(records[1].time_us, 1_700_000_000_123_000);
    assert_eq!(id(records[1].offset), "1700000000123-7");
    server.0.command(&format!("XADD {} 1700000000124-1048576 event {{}}", streams.name));
    let error = error_of(&mut source);
    assert!(!error.retry && error.detail.contains("1700000000124-1048576"), "{error}");
}

#[test]
fn what_only_a_person_can_mend_is_not_tried_again_and_passwords_are_not_told() {
    let server = Server(RedisServer::start(Setup {
        password: Some("hunter2".into()),
        ..Setup::with(&["--requirepass", "hunter2"])
    }));
    server.0.command("SET pay x");
    let port = server.0.port();
    let open = |url: &str| RedisStreamSource::open(RedisStreamSettings::parse(url).unwrap());
    for (url, remedy) in [
        (format!("redis-stream://127.0.0.1:{port}/pay"), "password"),
        (format!("redis-stream://:hunter3@127.0.0.1:{port}/pay"), "user and password"),
        (format!("redis-stream://:hunter2@127.0.0.1:{port}/pay"), "no stream"),
        (format!("redis-stream://:hunter2@127.0.0.1:{port}/free?db=99"), "db=NUMBER"),
    ] {
        let error = open(&url).unwrap_err();
        assert!(!error.retry && error.remedy.contains(remedy), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
    }
    open(&format!("redis-stream://:hunter2@127.0.0.1:{port}/free")).unwrap();
}

#[test]
fn a_server_that_is_gone_is_an_error_that_mends_itself_in_bounded_time() {
    let mut server = Server(RedisServer::plain());
    let url = format!("redis-stream://127.0.0.1:{}/pay", server.0.port());
    let mut source = RedisStreamSource::open(RedisStreamSettings::parse(&url).unwrap()).unwrap();
    owned(&mut source);
    server.0.kill();
    let began = Instant::now();
    for error in [source.roster().unwrap_err(), source.ends(&[0]).unwrap_err()] {
        assert!(error.retry, "{error}");
    }
    drop(source);
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
}

#[test]
fn a_server_that_hangs_costs_no_entry_and_holds_nobody_for_long() {
    let server = Server(RedisServer::plain());
    let streams = server.streams(1);
    streams.fill(0..10);
    let mut source = reading(&streams, 0);
    read(&mut source, 10);
    server.0.freeze();
    let began = Instant::now();
    assert!(error_of(&mut source).retry);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    server.0.thaw();
    streams.fill(10..20);
    let mut records = Vec::new();
    while records.len() < 10 {
        assert!(began.elapsed() < PATIENCE);
        match source.poll(&bounds(POLL)) {
            Ok(Polled::Records(came)) => records.extend(came),
            // Its lease ran out meanwhile, on a slow machine.
            Ok(Polled::Owned(_)) => source.seek(&[(0, streams.place(0, 9) + 1)]).unwrap(),
            Err(error) => assert!(error.retry, "{error}"),
        }
    }
    let payloads = records.iter().map(|record| String::from_utf8(record.payload.clone()).unwrap());
    assert!(payloads.eq((10..20).map(|number| number.to_string())));
}

#[test]
fn a_reader_that_was_silent_for_too_long_begins_anew_and_scripts_that_were_forgotten_come_back() {
    let server = Server(RedisServer::plain());
    let streams = server.streams(2);
    let mut silent = reading(&streams, 0);
    server.0.command("SCRIPT FLUSH");
    std::thread::sleep(ALIVE + Duration::from_millis(500));
    let mut other = streams.source();
    assert_eq!(owned(&mut other), [0, 1], "the silent one has lost both");
    assert!(owned(&mut silent).is_empty(), "and is told");
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
fn partitions_are_shared_out_evenly_among_any_number_of_readers() {
    let server = Server(RedisServer::plain());
    let streams = server.streams(7);
    let mut readers: Vec<(RedisStreamSource, Vec<u32>)> = Vec::new();
    for count in 1..=9 {
        readers.push((streams.source(), Vec::new()));
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

#[tokio::test]
async fn what_a_producer_acknowledged_stands_where_it_said_and_keys_keep_their_order() {
    let server = Server(RedisServer::plain());
    let streams = server.streams(4);
    let producer = RedisStreamProducer::open(streams.settings()).unwrap();
    let mut expected = Vec::new();
    for call in 0..20_u32 {
        let rows: Vec<(String, String)> = (0..20)
            .map(|row| ((row % 13).to_string(), format!("{} {call} {row}", row % 13)))
            .collect();
        let sent: Vec<_> = rows.iter().map(|(k, p)| (k.as_bytes(), p.as_bytes())).collect();
        let places = producer.send(&sent).await.unwrap();
        expected.extend(places.into_iter().zip(rows.into_iter().map(|(_, payload)| payload)));
    }
    assert_eq!(producer.waiting_bytes(), 0);
    let mut source = streams.source();
    let places: Vec<_> = owned(&mut source).into_iter().map(|partition| (partition, 0)).collect();
    source.seek(&places).unwrap();
    let records = read(&mut source, 400);
    let mut stands: Vec<_> = records
        .iter()
        .map(|r| ((r.partition, r.offset), String::from_utf8(r.payload.clone()).unwrap()))
        .collect();
    let keys: std::collections::BTreeSet<(String, u32)> = stands
        .iter()
        .map(|((partition, _), text)| (text.split(' ').next().unwrap().to_owned(), *partition))
        .collect();
    assert_eq!(keys.len(), 13, "a key has one partition");
    stands.sort();
    expected.sort();
    assert_eq!(stands, expected);
}

#[tokio::test]
async fn a_producer_refuses_at_once_what_is_above_its_bound_and_outlives_its_server() {
    let mut server = Server(RedisServer::plain());
    let url = format!("redis-stream://127.0.0.1:{}/pay", server.0.port());
    let settings = RedisStreamSettings::parse(&url).unwrap();
    let producer = RedisStreamProducer::with_limit(settings, 1_000).unwrap();
    let large = [7_u8; 2_000];
    let refused = producer.send(&[(b"key", &large)]).await.unwrap_err();
    assert_eq!(refused, ProduceError::Busy { queued: 0, limit: 1_000 });
    producer.send(&[(b"key", b"{}")]).await.unwrap();
    server.0.kill();
    let error = producer.send(&[(b"key", b"{}")]).await.unwrap_err();
    assert!(matches!(&error, ProduceError::Refused(error) if error.retry), "{error}");
    server.0.restart();
    producer.send(&[(b"key", b"{}")]).await.unwrap();
    assert_eq!(producer.waiting_bytes(), 0);
}

/// Offsets made of times once made a lag of 10^18 records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_offsets_are_times_has_a_freshness_and_no_lag_in_records() {
    let server = Server(RedisServer::plain());
    let url = format!("redis-stream://127.0.0.1:{}/pay?partitions=2", server.0.port());
    let source = SourcePlace::RedisStream(LogPlace { url, password: None });
    let sources = vec![(Some("payments".to_owned()), source)];
    let node = crate::support::Server::start(NodeOptions { sources, ..options(SQL) }).await;
    node.push("payments", serde_json::json!([payment(1, 60, "1.00")])).await;
    let metrics = node.send("GET", "/metrics", None, "").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let has =
        |name: &str, stream: &str| metrics.contains(&format!("{name}{{stream=\"{stream}\"}}"));
    assert!(has("trueup_freshness_microseconds", "payments"), "{metrics}");
    assert!(!has("trueup_lag_records", "payments"), "{metrics}");
    assert!(has("trueup_lag_records", "logins"), "{metrics}");
    node.stop().await;
}
