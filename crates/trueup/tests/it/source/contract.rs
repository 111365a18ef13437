//! The rules that every source keeps, one function each. A source's tests run [`check`] with a
//! maker of empty logs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trueup::ingest::source::{Bounds, PartitionInfo, Polled, Source, SourceRecord};

/// How long a test waits for what must come: a first join of a group may take half a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a poll of these tests waits for records.
const POLL: Duration = Duration::from_millis(200);

/// By how much a busy machine may overrun a wait.
const SLACK: Duration = Duration::from_secs(2);

/// The log's clock and ours may differ in rounding: some keep milliseconds.
const CLOCK_SLACK_US: i64 = 2_000;

/// Makes logs of one kind.
pub(crate) trait Logs: Sync {
    /// How many partitions a log of this kind can have.
    fn max_partitions(&self) -> u32;

    /// A new, empty log.
    fn make(&self, partitions: u32) -> Box<dyn TestLog + '_>;
}

/// A log that a test writes.
pub(crate) trait TestLog: Sync {
    /// Appends records and returns when the log has them.
    fn append(&self, partition: u32, payloads: &[Vec<u8>]);

    /// The offset of a partition's record, by its number from 0; for the numbers of records to
    /// come, offsets from the end on.
    fn place(&self, _partition: u32, number: u64) -> u64 {
        number
    }

    /// A reader of it; all readers of a log are of one group.
    fn reader(&self) -> Box<dyn Source>;

    /// Forgets the records below an offset; `false` where this kind cannot.
    fn trim(&self, partition: u32, before: u64) -> bool;
}

/// A rule and its sentence.
type Rule = (&'static str, fn(&dyn Logs));

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        const RULES: &[Rule] = &[$((stringify!($rule), $rule)),*];
    };
}

rules![
    all_partitions_are_owned_by_the_only_reader_and_nothing_comes_before_a_seek,
    a_roster_names_every_partition_with_its_first_and_end,
    records_come_from_the_sought_offset_on_in_order_with_bytes_and_times,
    every_partition_is_read_whole,
    an_empty_payload_comes_as_one,
    a_poll_brings_no_more_records_than_asked,
    a_poll_stops_at_its_bytes_and_one_record_may_exceed_them,
    a_poll_waits_as_long_as_asked_and_no_longer,
    a_record_that_comes_ends_the_wait,
    ends_are_those_after_the_call_began,
    a_seek_forgets_what_was_fetched_before_it,
    a_seek_of_one_partition_leaves_the_others_where_they_are,
    a_place_outside_the_log_is_refused_and_never_moved,
    what_was_applied_moves_no_reader,
    two_readers_share_the_partitions_and_the_one_that_stays_gets_all,
    the_first_time_is_that_of_the_first_record_left,
    numbers_tell_logs_apart_and_not_readers,
];

/// Runs every rule on a log of its own, all at the same time: most of a rule's life is waiting.
///
/// # Panics
/// With the sentences of the rules that are broken.
pub(crate) fn check(logs: &dyn Logs) {
    let broken: Vec<&str> = std::thread::scope(|scope| {
        let run = |(name, rule): &Rule| {
            let (name, rule) = (*name, *rule);
            let thread = std::thread::Builder::new().name(name.replace('_', " "));
            (name, thread.spawn_scoped(scope, move || rule(logs)).unwrap())
        };
        let running: Vec<_> = RULES.iter().map(run).collect();
        let ended = running.into_iter().map(|(name, thread)| (name, thread.join()));
        ended.filter_map(|(name, end)| end.err().map(|_| name)).collect()
    });
    assert!(broken.is_empty(), "broken: {broken:#?}");
}

/// Microseconds since 1970, by the clock that the logs of the tests go by.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn bounds(records: usize) -> Bounds {
    Bounds { records, bytes: 1 << 20, wait: POLL }
}

fn payloads(partition: u32, numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| format!("{partition}/{number}").into_bytes()).collect()
}

/// A log of so many partitions, as far as its kind has them, each with so many records; a record's
/// bytes say where it stands.
fn log_of(logs: &dyn Logs, partitions: u32, records: u64) -> (Box<dyn TestLog + '_>, Vec<u32>) {
    let partitions = partitions.min(logs.max_partitions());
    let log = logs.make(partitions);
    for partition in 0..partitions {
        log.append(partition, &payloads(partition, 0..records));
    }
    (log, (0..partitions).collect())
}

/// The offsets of a partition's records.
fn places(log: &dyn TestLog, partition: u32, numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.map(|number| log.place(partition, number)).collect()
}

/// Polls until the partitions are said, and returns them.
fn owned(source: &mut dyn Source) -> Vec<u32> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match source.poll(&bounds(1)).unwrap() {
            Polled::Owned(mut partitions) => {
                partitions.sort_unstable();
                return partitions;
            }
            Polled::Records(records) => assert_eq!(records, [], "nothing was sought"),
        }
    }
    panic!("no partitions in {PATIENCE:?}")
}

/// A reader that is told to begin every partition at a record, or at the log's beginning for 0.
fn reading(log: &dyn TestLog, partitions: &[u32], from: u64) -> Box<dyn Source> {
    let mut source = log.reader();
    assert_eq!(owned(&mut *source), partitions);
    let place = |partition| if from == 0 { 0 } else { log.place(partition, from) };
    let places: Vec<_> =
        partitions.iter().map(|&partition| (partition, place(partition))).collect();
    source.seek(&places).unwrap();
    source
}

/// Polls until that many records came.
fn read(source: &mut dyn Source, count: usize) -> Vec<SourceRecord> {
    let (began, mut records) = (Instant::now(), Vec::new());
    while records.len() < count {
        assert!(began.elapsed() < PATIENCE, "{} of {count} in {PATIENCE:?}", records.len());
        records.extend(came(source, count - records.len()));
    }
    records
}

/// The records that one poll brings.
fn came(source: &mut dyn Source, at_most: usize) -> Vec<SourceRecord> {
    match source.poll(&bounds(at_most)).unwrap() {
        Polled::Records(records) => records,
        Polled::Owned(partitions) => panic!("{partitions:?} are owned now, without need"),
    }
}

fn offsets(records: &[SourceRecord]) -> BTreeMap<u32, Vec<u64>> {
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for record in records {
        offsets.entry(record.partition).or_default().push(record.offset);
    }
    offsets
}

fn all_partitions_are_owned_by_the_only_reader_and_nothing_comes_before_a_seek(logs: &dyn Logs) {
    let (log, partitions) = log_of(logs, 4, 5);
    let mut source = log.reader();
    assert_eq!(owned(&mut *source), partitions);
    for _ in 0..5 {
        assert_eq!(came(&mut *source, 10), [], "nothing was sought");
    }
    source.seek(&[(0, 0)]).unwrap();
    let records = read(&mut *source, 5);
    assert_eq!(
        offsets(&records),
        BTreeMap::from([(0, places(&*log, 0, 0..5))]),
        "only 0 was sought"
    );
    assert_eq!(came(&mut *source, 10), []);
}

fn a_roster_names_every_partition_with_its_first_and_end(logs: &dyn Logs) {
    let (log, partitions) = log_of(logs, 4, 3);
    let mut source = log.reader();
    let info = |partition| PartitionInfo { partition, first: 0, end: log.place(partition, 2) + 1 };
    let expected: Vec<_> = partitions.iter().copied().map(info).collect();
    assert_eq!(source.roster().unwrap(), expected);
    log.append(0, &payloads(0, 3..5));
    let (first, end) = (log.place(0, 2), log.place(0, 4) + 1);
    if log.trim(0, first) {
        let trimmed = source.roster().unwrap()[0];
        assert_eq!(trimmed, PartitionInfo { partition: 0, first, end });
    }
}

fn records_come_from_the_sought_offset_on_in_order_with_bytes_and_times(logs: &dyn Logs) {
    let before = now_us();
    let (log, _) = log_of(logs, 1, 100);
    let after = now_us();
    let mut source = reading(&*log, &[0], 37);
    let records = read(&mut *source, 63);
    for (record, number) in records.iter().zip(37..) {
        assert_eq!((record.partition, record.offset), (0, log.place(0, number)));
        assert_eq!(record.payload, format!("0/{number}").into_bytes());
        let time = record.time_us;
        let in_between = before - CLOCK_SLACK_US <= time && time <= after + CLOCK_SLACK_US;
        assert!(in_between, "{before} <= {time} <= {after}");
    }
    log.append(0, &payloads(0, 100..101));
    assert_eq!(read(&mut *source, 1)[0].offset, log.place(0, 100));
}

fn every_partition_is_read_whole(logs: &dyn Logs) {
    let (log, partitions) = log_of(logs, 4, 2_000);
    let mut source = reading(&*log, &partitions, 0);
    let records = read(&mut *source, 2_000 * partitions.len());
    for (partition, offsets) in offsets(&records) {
        assert_eq!(offsets, places(&*log, partition, 0..2_000), "partition {partition}");
    }
    assert_eq!(came(&mut *source, 10), [], "there are no more");
}

fn an_empty_payload_comes_as_one(logs: &dyn Logs) {
    let log = logs.make(1);
    log.append(0, &[b"a".to_vec(), Vec::new(), b"c".to_vec()]);
    let records = read(&mut *reading(&*log, &[0], 0), 3);
    let payloads: Vec<&[u8]> = records.iter().map(|record| &record.payload[..]).collect();
    assert_eq!(payloads, [&b"a"[..], b"", b"c"]);
}

fn a_poll_brings_no_more_records_than_asked(logs: &dyn Logs) {
    let (log, _) = log_of(logs, 1, 50);
    let mut source = reading(&*log, &[0], 0);
    let mut next = 0;
    while next < 50 {
        let records = came(&mut *source, 7);
        assert!(records.len() <= 7, "{} records, not 7", records.len());
        let end = next + records.len() as u64;
        let came: Vec<u64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(came, places(&*log, 0, next..end));
        next = end;
    }
}

fn a_poll_stops_at_its_bytes_and_one_record_may_exceed_them(logs: &dyn Logs) {
    let log = logs.make(1);
    log.append(0, &vec![vec![7; 1_000]; 20]);
    let mut source = reading(&*log, &[0], 0);
    let (began, mut count) = (Instant::now(), 0);
    while count < 20 {
        assert!(began.elapsed() < PATIENCE, "{count} of 20 in {PATIENCE:?}");
        let bounds = Bounds { records: 20, bytes: 2_500, wait: POLL };
        let Polled::Records(records) = source.poll(&bounds).unwrap() else { panic!("owned") };
        assert!(records.len() <= 3, "{} records of 1000 bytes", records.len());
        count += records.len();
    }
    source.seek(&[(0, 0)]).unwrap();
    let tight = Bounds { records: 20, bytes: 1, wait: PATIENCE };
    let Polled::Records(records) = source.poll(&tight).unwrap() else { panic!("owned") };
    assert_eq!(
        offsets(&records)[&0],
        places(&*log, 0, 0..1),
        "one record exceeds, and two are too many"
    );
}

fn a_poll_waits_as_long_as_asked_and_no_longer(logs: &dyn Logs) {
    let log = logs.make(1);
    let mut source = reading(&*log, &[0], 0);
    for wait in [0, 300, 1_500].map(Duration::from_millis) {
        // An earlier ring of the log's bell may end one wait; it ends no second one.
        let asked = Bounds { records: 1, bytes: 1, wait };
        source.poll(&Bounds { wait: Duration::ZERO, ..asked }).unwrap();
        let began = Instant::now();
        assert_eq!(source.poll(&asked).unwrap(), Polled::Records(Vec::new()));
        let took = began.elapsed();
        assert!(took + Duration::from_millis(5) >= wait, "asked for {wait:?}, took {took:?}");
        assert!(took < wait + SLACK, "asked for {wait:?}, took {took:?}");
    }
}

fn a_record_that_comes_ends_the_wait(logs: &dyn Logs) {
    let log = logs.make(1);
    let mut source = reading(&*log, &[0], 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(POLL);
            log.append(0, &payloads(0, 0..1));
        });
        let began = Instant::now();
        let patient = Bounds { records: 1, bytes: 1, wait: PATIENCE };
        let Polled::Records(records) = source.poll(&patient).unwrap() else { panic!("owned") };
        assert_eq!(records.len(), 1);
        assert!(began.elapsed() < PATIENCE / 2, "waited {:?}", began.elapsed());
    });
}

fn ends_are_those_after_the_call_began(logs: &dyn Logs) {
    let (log, partitions) = log_of(logs, 2, 1);
    let mut source = reading(&*log, &partitions, 0);
    let last = partitions[partitions.len() - 1];
    for end in 2..12 {
        log.append(last, &payloads(last, end - 1..end));
        assert_eq!(source.ends(&[last]).unwrap(), [log.place(last, end - 1) + 1]);
    }
    let mut asked = partitions.clone();
    asked.reverse();
    let records = |&partition: &u32| if partition == last { 11 } else { 1 };
    let end = |partition: &u32| log.place(*partition, records(partition) - 1) + 1;
    let expected: Vec<u64> = asked.iter().map(end).collect();
    assert_eq!(source.ends(&asked).unwrap(), expected, "in the order they were asked for");
    assert_eq!(source.ends(&[]).unwrap(), [0; 0]);
}

fn a_seek_forgets_what_was_fetched_before_it(logs: &dyn Logs) {
    let (log, _) = log_of(logs, 1, 3_000);
    let mut source = reading(&*log, &[0], 0);
    for (count, place) in [(1, 2_900), (10, 5), (700, 4), (1, 1_500), (2, 0)] {
        read(&mut *source, count);
        source.seek(&[(0, log.place(0, place))]).unwrap();
        let records = read(&mut *source, 40);
        let came = offsets(&records).remove(&0).unwrap();
        assert_eq!(came, places(&*log, 0, place..place + 40), "sought {place}");
    }
}

fn a_seek_of_one_partition_leaves_the_others_where_they_are(logs: &dyn Logs) {
    if logs.max_partitions() < 2 {
        return;
    }
    let (log, partitions) = log_of(logs, 2, 500);
    let mut source = reading(&*log, &partitions, 0);
    let mut seen = offsets(&read(&mut *source, 300));
    source.seek(&[(0, log.place(0, 100))]).unwrap();
    let zero_before = seen.remove(&0).unwrap_or_default();
    let one_before = seen.remove(&1).unwrap_or_default();
    let rest = offsets(&read(&mut *source, 400 + 500 - one_before.len()));
    assert_eq!(zero_before, places(&*log, 0, 0..zero_before.len() as u64));
    assert_eq!(rest[&0], places(&*log, 0, 100..500));
    let one: Vec<u64> =
        one_before.iter().chain(rest.get(&1).into_iter().flatten()).copied().collect();
    assert_eq!(one, places(&*log, 1, 0..500), "partition 1 was not sought again");
}

fn a_place_outside_the_log_is_refused_and_never_moved(logs: &dyn Logs) {
    let (log, _) = log_of(logs, 1, 10);
    let mut beyond = vec![log.place(0, 1_000)];
    if log.trim(0, log.place(0, 5)) {
        beyond.push(log.place(0, 2));
    }
    let mut source = reading(&*log, &[0], 5);
    read(&mut *source, 5);
    for place in beyond {
        let began = Instant::now();
        let refused = source.seek(&[(0, place)]).err().or_else(|| {
            while began.elapsed() < PATIENCE {
                match source.poll(&bounds(10)) {
                    Ok(polled) => assert_eq!(polled, Polled::Records(Vec::new()), "at {place}"),
                    Err(error) => return Some(error),
                }
            }
            None
        });
        let refused = refused.unwrap_or_else(|| panic!("{place} was not refused"));
        assert!(!refused.retry, "nothing mends this by itself: {refused}");
    }
    source.seek(&[(0, log.place(0, 6))]).unwrap();
    assert_eq!(offsets(&read(&mut *source, 4))[&0], places(&*log, 0, 6..10));
}

fn what_was_applied_moves_no_reader(logs: &dyn Logs) {
    let (log, partitions) = log_of(logs, 2, 20);
    let applied: Vec<_> =
        partitions.iter().map(|&partition| (partition, log.place(partition, 15))).collect();
    let mut first = reading(&*log, &partitions, 0);
    first.applied(&applied);
    assert_eq!(read(&mut *first, 20 * partitions.len()).len(), 20 * partitions.len());
    drop(first);
    let mut second = reading(&*log, &partitions, 0);
    let records = read(&mut *second, 20 * partitions.len());
    for (partition, offsets) in offsets(&records) {
        assert_eq!(offsets, places(&*log, partition, 0..20));
    }
}

fn two_readers_share_the_partitions_and_the_one_that_stays_gets_all(logs: &dyn Logs) {
    if logs.max_partitions() < 2 {
        return;
    }
    let (log, partitions) = log_of(logs, 4, 10);
    let mut one = Member { source: reading(&*log, &partitions, 0), owned: partitions.clone() };
    let mut two = Member { source: log.reader(), owned: Vec::new() };
    until("they share", || {
        one.step();
        two.step();
        let mut both = [&one.owned[..], &two.owned].concat();
        both.sort_unstable();
        !one.owned.is_empty() && !two.owned.is_empty() && both == partitions
    });
    drop(two);
    until("the one that stays has all", || {
        one.step();
        one.owned == partitions
    });
    one.source.seek(&[(0, 0), (1, 0), (2, 0), (3, 0)]).unwrap();
    assert_eq!(read(&mut *one.source, 40).len(), 40);
}

/// A reader and what it was told to read.
struct Member {
    source: Box<dyn Source>,
    owned: Vec<u32>,
}

impl Member {
    /// Polls once; what is newly owned is sought from the beginning.
    fn step(&mut self) {
        match self.source.poll(&bounds(3)).unwrap() {
            Polled::Owned(mut partitions) => {
                partitions.sort_unstable();
                self.owned = partitions;
                let places: Vec<_> = self.owned.iter().map(|&partition| (partition, 0)).collect();
                self.source.seek(&places).unwrap();
            }
            Polled::Records(records) => {
                let ours = records.iter().all(|record| self.owned.contains(&record.partition));
                assert!(ours, "{:?} are owned, and {records:?} came", self.owned);
            }
        }
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
    }
}

fn the_first_time_is_that_of_the_first_record_left(logs: &dyn Logs) {
    let log = logs.make(1);
    let mut source = reading(&*log, &[0], 0);
    assert_eq!(source.first_time_us(0).unwrap(), None);
    log.append(0, &payloads(0, 0..1));
    // Times of some logs are of milliseconds.
    std::thread::sleep(Duration::from_millis(5));
    log.append(0, &payloads(0, 1..2));
    for _ in 0..3 {
        let first = source.first_time_us(0).unwrap();
        let records = read(&mut *source, 2);
        assert!(records[0].time_us < records[1].time_us);
        assert_eq!(first, Some(records[0].time_us));
        source.seek(&[(0, 0)]).unwrap();
    }
    let second = read(&mut *source, 2)[1].time_us;
    if log.trim(0, log.place(0, 1)) {
        assert_eq!(source.first_time_us(0).unwrap(), Some(second));
    }
    if log.trim(0, log.place(0, 2)) {
        assert_eq!(source.first_time_us(0).unwrap(), None);
    }
}

fn numbers_tell_logs_apart_and_not_readers(logs: &dyn Logs) {
    let (log, other) = (logs.make(1), logs.make(1));
    assert_eq!(log.reader().number(), log.reader().number());
    assert_ne!(log.reader().number(), other.reader().number());
}
