//! Kafka's protocol, spoken by a real broker: the contract of sources, and what is Kafka's own.

use super::contract::{Logs, TestLog, check, now_us};
use crate::broker::{Broker, SINGLY, fresh};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use trueup::ingest::source::{
    Bounds, KafkaProducer, KafkaSettings, KafkaSource, Polled, ProduceError, Source, SourceError,
    SourceRecord,
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a poll of these tests waits for records.
const POLL: Duration = Duration::from_millis(200);

struct Topics(Broker);

struct Topic<'a> {
    broker: &'a Broker,
    name: String,
    group: String,
    producer: BaseProducer,
}

impl Topics {
    fn topic(&self, partitions: u32) -> Topic<'_> {
        Topic::make(&self.0, partitions)
    }
}

impl Logs for Topics {
    fn max_partitions(&self) -> u32 {
        64
    }

    fn make(&self, partitions: u32) -> Box<dyn TestLog + '_> {
        Box::new(self.topic(partitions))
    }
}

impl Topic<'_> {
    fn make(broker: &Broker, partitions: u32) -> Topic<'_> {
        let (name, group) = (fresh("topic"), fresh("group"));
        broker.make_topic(&name, partitions);
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", broker.address()).set(SINGLY.0, SINGLY.1);
        Topic { broker, name, group, producer: config.create().unwrap() }
    }

    fn settings(&self) -> KafkaSettings {
        self.broker.settings(&self.name, &self.group)
    }

    fn source(&self) -> KafkaSource {
        KafkaSource::open(self.settings()).unwrap()
    }
}

impl TestLog for Topic<'_> {
    fn append(&self, partition: u32, payloads: &[Vec<u8>]) {
        for payload in payloads {
            let record = BaseRecord::<(), Vec<u8>>::to(&self.name);
            let record = record.partition(partition as i32).payload(payload);
            self.producer.send(record.timestamp(now_us() / 1_000)).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn reader(&self) -> Box<dyn Source> {
        Box::new(self.source())
    }

    /// The broker has no way to delete records.
    fn trim(&self, _partition: u32, _before: u64) -> bool {
        false
    }
}

#[test]
fn a_topic_keeps_the_contract_of_sources() {
    check(&Topics(Broker::start()));
}

fn bounds(wait: Duration) -> Bounds {
    Bounds { records: 1_000, bytes: 1 << 20, wait }
}

/// Polls until something comes that is wanted; what else comes is dropped.
fn poll_for<T>(source: &mut KafkaSource, wanted: impl Fn(Polled) -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = wanted(source.poll(&bounds(POLL)).unwrap()) {
            return found;
        }
    }
    panic!("not in {PATIENCE:?}")
}

/// A reader that has its partitions and begins at the first records.
fn reading(source: &mut KafkaSource) {
    let owned = poll_for(source, |polled| match polled {
        Polled::Owned(owned) if !owned.is_empty() => Some(owned),
        _ => None,
    });
    let places: Vec<_> = owned.into_iter().map(|partition| (partition, 0)).collect();
    source.seek(&places).unwrap();
}

fn read(source: &mut KafkaSource, count: usize) -> Vec<SourceRecord> {
    let (began, mut records) = (Instant::now(), Vec::new());
    while records.len() < count {
        assert!(began.elapsed() < PATIENCE, "{} of {count} in {PATIENCE:?}", records.len());
        match source.poll(&bounds(POLL)) {
            Ok(Polled::Records(came)) => records.extend(came),
            Ok(Polled::Owned(owned)) => panic!("{owned:?} are owned now, without need"),
            Err(error) => assert!(error.retry, "{error}"),
        }
    }
    records
}

/// The first error of a call that is made again and again.
fn error_of<T>(mut call: impl FnMut() -> Result<T, SourceError>) -> SourceError {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Err(error) = call() {
            return error;
        }
    }
    panic!("no error in {PATIENCE:?}")
}

#[test]
fn a_topic_that_is_not_there_is_named_and_not_waited_for() {
    let broker = Broker::start();
    let mut source = KafkaSource::open(broker.settings("nowhere", "g")).unwrap();
    let roster = source.roster().unwrap_err();
    let polled = error_of(|| source.poll(&bounds(POLL)));
    for error in [roster, polled] {
        assert!(!error.retry && error.to_string().contains("/nowhere?group=g"), "{error}");
        assert!(error.remedy.contains("Make the topic"), "{error}");
    }
}

#[test]
fn a_topic_that_the_broker_has_lost_is_an_error_and_not_a_quiet_topic() {
    let mut broker = Broker::start();
    broker.make_topic("topic", 1);
    broker.restart();
    let mut source = KafkaSource::open(broker.settings("topic", "g")).unwrap();
    let polled = error_of(|| source.poll(&bounds(POLL)));
    assert!(!polled.retry && polled.remedy.contains("Make the topic"), "{polled}");
}

#[test]
#[cfg(feature = "kafka-tls")]
fn a_password_that_is_refused_is_not_tried_again_and_not_told() {
    let broker = Broker::start_guarded();
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "me"),
        ("sasl.password", "hunter2"),
    ];
    let mut source = KafkaSource::open(broker.settings_with("topic", "g", &properties)).unwrap();
    let began = Instant::now();
    let refused = error_of(|| match source.poll(&bounds(POLL)) {
        Err(error) if error.retry => Ok(()),
        polled => polled.map(drop),
    });
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(refused.remedy.contains("sasl.*"), "{refused}");
    assert!(!format!("{refused} {refused:?} {source:?}").contains("hunter2"), "{refused}");
}

#[test]
#[cfg(feature = "kafka-tls")]
fn tls_is_in_this_build_and_a_certificate_that_is_not_there_is_named() {
    let broker = Broker::start();
    let safe = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-256")];
    let user = [("sasl.username", "me"), ("sasl.password", "hunter2")];
    let taken = broker.settings_with("topic", "g", &[safe, user].concat());
    drop(KafkaSource::open(taken).unwrap());
    let nowhere = [("security.protocol", "SSL"), ("ssl.ca.location", "nowhere.pem")];
    let settings = broker.settings_with("topic", "g", &nowhere);
    let refused = KafkaSource::open(settings).unwrap_err();
    assert!(!refused.retry && refused.detail.contains("ssl.ca.location"), "{refused}");
}

#[test]
fn a_broker_that_is_not_there_is_an_error_that_mends_itself_in_bounded_time() {
    let mut broker = Broker::start();
    let settings = broker.settings("topic", "g");
    broker.kill();
    let mut source = KafkaSource::open(settings).unwrap();
    let began = Instant::now();
    let errors = [
        source.roster().unwrap_err(),
        source.ends(&[0]).unwrap_err(),
        error_of(|| source.poll(&bounds(POLL))),
    ];
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    for error in errors {
        assert!(error.retry, "{error}");
    }
    let began = Instant::now();
    drop(source);
    assert!(began.elapsed() < PATIENCE / 2, "closing took {:?}", began.elapsed());
}

#[test]
fn a_broker_that_hangs_and_goes_on_costs_no_record() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 1);
    let mut source = topic.source();
    reading(&mut source);
    topic.append(0, &(0..100).map(|n: u32| n.to_string().into_bytes()).collect::<Vec<_>>());
    let mut records = read(&mut source, 1);
    broker.pause();
    let began = Instant::now();
    let hung = source.poll(&bounds(POLL));
    assert!(began.elapsed() < POLL * 20, "a poll hung for {:?}", began.elapsed());
    if let Ok(Polled::Records(came)) = hung {
        records.extend(came);
    }
    std::thread::sleep(Duration::from_secs(2));
    broker.resume();
    let left = 100 - records.len();
    records.extend(read(&mut source, left));
    let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
    assert!(offsets.iter().copied().eq(0..100), "{offsets:?}");
}

#[test]
fn closing_a_reader_whose_broker_hangs_takes_a_bounded_time() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 1);
    let mut source = topic.source();
    reading(&mut source);
    broker.pause();
    let began = Instant::now();
    drop(source);
    assert!(began.elapsed() < PATIENCE / 2, "closing took {:?}", began.elapsed());
    println!("closing took {:?}", began.elapsed());
}

#[test]
fn a_reader_that_was_silent_for_too_long_is_told_that_it_owns_nothing() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 2);
    let silent = [("max.poll.interval.ms", "6000")];
    let settings = broker.settings_with(&topic.name, &topic.group, &silent);
    let mut source = KafkaSource::open(settings).unwrap();
    reading(&mut source);
    topic.append(0, &[b"before".to_vec()]);
    read(&mut source, 1);
    std::thread::sleep(Duration::from_secs(8));
    topic.append(0, &[b"after".to_vec()]);
    let began = Instant::now();
    let mut owned = Vec::new();
    while owned.last() != Some(&vec![0, 1]) {
        assert!(began.elapsed() < PATIENCE, "{owned:?}");
        match source.poll(&bounds(POLL)) {
            Ok(Polled::Owned(partitions)) => owned.push(partitions),
            Ok(Polled::Records(records)) => assert_eq!(records, [], "nothing was sought anew"),
            Err(error) => assert!(error.retry, "{error}"),
        }
    }
    assert_eq!(owned, [vec![], vec![0, 1]], "first it lost both, then it got them anew");
    source.seek(&[(0, 1), (1, 0)]).unwrap();
    assert_eq!(read(&mut source, 1)[0].payload, b"after");
}

/// librdkafka to 2.15 aborts the process when assignments follow each other too closely (its issue
/// 5573).
#[test]
fn rewinds_that_follow_each_other_closely_end_no_process() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 2);
    let payloads: Vec<Vec<u8>> = (0..300_u32).map(|number| number.to_be_bytes().into()).collect();
    (0..2).for_each(|partition| topic.append(partition, &payloads));
    let mut source = topic.source();
    reading(&mut source);
    for round in 0..100 {
        let offset = round % 7;
        (0..3).for_each(|_| source.seek(&[(0, offset), (1, offset)]).unwrap());
        let first = read(&mut source, 1);
        assert_eq!(first[0].offset, offset, "round {round}");
    }
    source.seek(&[(0, 0), (1, 0)]).unwrap();
    assert_eq!(read(&mut source, 600).len(), 600);
}

#[test]
fn what_was_applied_is_shown_to_the_brokers_tools() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 1);
    topic.append(0, &vec![b"x".to_vec(); 10]);
    let mut source = topic.source();
    reading(&mut source);
    read(&mut source, 10);
    source.applied(&[(0, 7), (5, 1)]);
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("group.id", &topic.group);
    let tool: BaseConsumer = config.create().unwrap();
    let (began, mut shown) = (Instant::now(), Offset::Invalid);
    while shown != Offset::Offset(7) {
        assert!(began.elapsed() < PATIENCE, "{shown:?}");
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic.name, 0);
        let told = tool.committed_offsets(asked, PATIENCE).unwrap();
        shown = told.elements()[0].offset();
    }
}

#[test]
fn a_payload_that_is_not_there_comes_as_an_empty_one_and_times_are_the_producers() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 1);
    let record = BaseRecord::<[u8], [u8]>::to(&topic.name).key(&b"k"[..]);
    topic.producer.send(record.timestamp(1_700_000_000_123)).unwrap();
    topic.producer.flush(PATIENCE).unwrap();
    let mut source = topic.source();
    reading(&mut source);
    let expected = SourceRecord {
        partition: 0,
        offset: 0,
        time_us: 1_700_000_000_123_000,
        payload: Vec::new(),
    };
    assert_eq!(read(&mut source, 1), [expected]);
    assert_eq!(source.first_time_us(0).unwrap(), Some(1_700_000_000_123_000));
}

#[test]
fn what_a_producer_acknowledged_stands_where_it_said_and_keys_keep_their_order() {
    let broker = Broker::start();
    let topic = Topic::make(&broker, 4);
    let producer = KafkaProducer::open(topic.settings()).unwrap();
    let (tell, told) = channel();
    for number in 0..400_u32 {
        let (tell, key) = (tell.clone(), number % 13);
        let payload = format!("{key} {number}").into_bytes();
        let back = payload.clone();
        let sent = Box::new(move |place| tell.send((place, back)).unwrap());
        producer.send(&key.to_be_bytes(), &payload, sent).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.waiting_bytes(), 0);
    let mut source = topic.source();
    reading(&mut source);
    let records = read(&mut source, 400);
    let acknowledged: Vec<_> = told.try_iter().collect();
    assert_eq!(acknowledged.len(), 400);
    for (place, payload) in acknowledged {
        let (partition, offset) = place.unwrap();
        let stands = records.iter().find(|r| r.partition == partition && r.offset == offset);
        assert_eq!(stands.unwrap().payload, payload);
    }
    let mut last: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    for record in &records {
        let text = String::from_utf8(record.payload.clone()).unwrap();
        let (key, number) = text.split_once(' ').unwrap();
        let (key, number): (u32, u32) = (key.parse().unwrap(), number.parse().unwrap());
        if let Some((partition, before)) = last.insert(key, (record.partition, number)) {
            assert!(partition == record.partition && before < number, "{before} before {text}");
        }
    }
    assert_eq!(last.len(), 13);
}

#[test]
fn a_producer_refuses_at_once_what_would_wait_above_its_bound_and_reports_what_was_lost() {
    let mut broker = Broker::start();
    broker.make_topic("topic", 1);
    let settings = broker.settings_with("topic", "g", &[("message.timeout.ms", "2000")]);
    broker.kill();
    let producer = KafkaProducer::with_limit(settings, 10_000).unwrap();
    let (tell, told) = channel();
    let mut taken = 0;
    let refused = loop {
        let tell = tell.clone();
        let sent = Box::new(move |place| tell.send(place).unwrap());
        match producer.send(b"key", &[7; 1_000], sent) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 100, "nothing bounds what waits");
    };
    let waiting = producer.waiting_bytes();
    assert_eq!(refused, ProduceError::Busy { queued: waiting, limit: 10_000 });
    assert!(taken > 5 && waiting <= 10_000, "{taken} records, {waiting} bytes");
    for _ in 0..taken {
        let error = told.recv_timeout(PATIENCE).unwrap().unwrap_err();
        assert!(error.retry, "{error}");
    }
    assert_eq!(producer.waiting_bytes(), 0);
    assert!(told.try_recv().is_err(), "each is told once");
}

#[test]
fn a_producer_whose_number_the_broker_has_forgotten_takes_another() {
    let mut broker = Broker::start();
    broker.make_topic("topic", 1);
    let settings = broker.settings_with("topic", "g", &[("message.timeout.ms", "2000")]);
    let producer = KafkaProducer::open(settings).unwrap();
    let send = || {
        let (tell, told) = channel();
        let sent = Box::new(move |place| tell.send(place).unwrap());
        producer.send(b"key", b"payload", sent).map_err(|refused| format!("{refused:?}"))?;
        told.recv_timeout(PATIENCE).unwrap().map_err(|error| error.to_string())
    };
    for offset in 0..3 {
        assert_eq!(send(), Ok((0, offset)));
    }
    broker.restart();
    broker.make_topic("topic", 1);
    let began = Instant::now();
    loop {
        let sent = send();
        if sent.is_ok() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{sent:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
