//! Readers that ask for random keys all the while; afterwards every plain answer is held against
//! the log: it must be the sum over some cut between the positions that the answer itself
//! states and what had been sent by then. An answer with a hole is the sum over no cut.

use crate::pay::{self, CARDS, MERCHANTS, Payment};
use crate::pipeline::now_us;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use trueup::client::{Client, ClientOptions};
use trueup::ingest::source::{Bounds, KafkaSettings, KafkaSource, PartitionInfo, Polled, Source};
use trueup_core::testing::Dice;
use trueup_sql::decode::print::Timestamp;

/// Readers that ask at the same time: an answer that fails to come in time holds up one of them.
const READERS: u64 = 16;

/// How often each asks: all of them 500 times a second.
const EVERY: Duration = Duration::from_millis(32);

/// How far behind a plain answer may be, as the settings say.
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(2);

/// What is asked: the key's column, how many there are, and the columns, of an exact group, a
/// lifetime and bins.
const QUESTIONS: [(&str, i64, [&str; 2]); 3] = [
    ("card", CARDS, ["n_month", "total_month"]),
    ("card", CARDS, ["n_ever", "total_ever"]),
    ("merchant", MERCHANTS, ["n_merchant", "total_merchant"]),
];

/// A plain answer: neither STALE nor UNKNOWN.
struct Plain {
    question: usize,
    key: i64,
    /// Count and cents.
    answer: (i64, i64),
    /// Records that it vouches for, by partition.
    positions: BTreeMap<u32, u64>,
    /// Payments that had been sent when it came.
    sent: i64,
    /// Whether it vouches for what was there [`MAX_STALENESS`] before it was asked for.
    fresh: bool,
}

/// What readers saw.
#[derive(Default)]
pub(crate) struct Seen {
    plain: Vec<Plain>,
    /// Answers that were STALE.
    stale: usize,
    /// Answers that were UNKNOWN, and requests that failed.
    unknown: usize,
    /// How long they asked.
    asked_for: Duration,
}

/// Readers at work.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    began: Instant,
    readers: Vec<tokio::task::JoinHandle<Seen>>,
}

impl Watcher {
    /// Asks the server at a URL; payments below `sent` may be in the log.
    pub(crate) fn start(base_url: &str, seed: u64, sent: &Arc<AtomicI64>) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let reader = |number: u64| {
            let dice = Dice::new(seed * READERS + number);
            tokio::spawn(watch(base_url.to_owned(), dice, Arc::clone(&stop), Arc::clone(sent)))
        };
        let readers = (0..READERS).map(reader).collect();
        Watcher { readers, stop, began: Instant::now() }
    }

    /// Stops asking.
    pub(crate) async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Seen::default();
        for reader in self.readers {
            let seen = reader.await.unwrap();
            all.plain.extend(seen.plain);
            all.stale += seen.stale;
            all.unknown += seen.unknown;
        }
        all.asked_for = self.began.elapsed();
        all
    }
}

async fn watch(
    base_url: String,
    mut dice: Dice,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicI64>,
) -> Seen {
    let timeout = Duration::from_secs(10);
    let client = ClientOptions { base_url, timeout, ..ClientOptions::default() };
    let (client, mut seen) = (Client::new(&client).unwrap(), Seen::default());
    let at = Timestamp(pay::START_US + 20 * 86_400_000_000).to_string();
    // What a slow answer held up is asked afterwards, so that the rate holds.
    let mut ticks = tokio::time::interval(EVERY);
    while !stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        let question = dice.below(QUESTIONS.len() as u64) as usize;
        let (key, keys, columns) = QUESTIONS[question];
        let number = dice.below(keys as u64) as i64;
        let body = json!({ "keys": [{ key: number }], "at": at, "columns": columns,
                           "explain": "positions", "deadline_ms": 200 });
        let oldest = Timestamp(now_us() - MAX_STALENESS.as_micros() as i64).to_string();
        let reply = pay::post(&client, "/v1/features/risk", body).await;
        let sent = sent.load(Ordering::SeqCst);
        let row = reply.as_ref().map(|(_, reply)| &reply["rows"][0]).ok();
        match row.and_then(|row| plain(row, columns)) {
            Some((n, cents, positions)) => {
                let as_of = row.and_then(|row| row["as_of"][key].as_str());
                let fresh = as_of.is_some_and(|as_of| as_of >= oldest.as_str());
                let (answer, key) = ((n, cents), number);
                seen.plain.push(Plain { question, key, answer, positions, sent, fresh });
            }
            None if row.is_some_and(|row| row["status"] == "STALE") => seen.stale += 1,
            None => seen.unknown += 1,
        }
    }
    seen
}

/// Count, sum and positions of an answer that claims to be right.
fn plain(row: &Value, columns: [&str; 2]) -> Option<(i64, i64, BTreeMap<u32, u64>)> {
    if ["STALE", "UNKNOWN"].contains(&row["status"].as_str()?) {
        return None;
    }
    let n = row["features"][columns[0]].as_i64()?;
    let cents = match &row["features"][columns[1]] {
        Value::Null => 0,
        total => total.as_str()?.replace('.', "").parse().ok()?,
    };
    let positions = row["explain"][0]["positions"].as_array()?.iter().map(|position| {
        let partition = u32::try_from(position["partition"].as_u64()?).ok()?;
        Some((partition, position["offset"].as_u64()?))
    });
    Some((n, cents, positions.collect::<Option<_>>()?))
}

/// How far a reader of its own comes in a topic: by partition, records read, and where it ends.
/// Tells a pipeline that stands still from a broker that does.
pub(crate) fn readable(settings: KafkaSettings) -> String {
    let mut source = KafkaSource::open(settings).unwrap();
    let ends: Vec<PartitionInfo> = source.roster().unwrap();
    let mut read: BTreeMap<u32, u64> = BTreeMap::new();
    let bounds = Bounds { records: 10_000, bytes: 1 << 24, wait: Duration::from_millis(200) };
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until && ends.iter().any(|i| read.get(&i.partition) != Some(&i.end)) {
        match source.poll(&bounds) {
            Ok(Polled::Owned(partitions)) => {
                let places: Vec<(u32, u64)> = partitions.iter().map(|&p| (p, 0)).collect();
                source.seek(&places).unwrap();
            }
            Ok(Polled::Records(records)) => {
                records.iter().for_each(|r| *read.entry(r.partition).or_default() = r.offset + 1);
            }
            Err(error) => return error.to_string(),
        }
    }
    format!("read up to {read:?} of {ends:?}")
}

/// A payment of one key in one partition, and what the key's payments sum to before it.
struct Entry {
    offset: u64,
    id: i64,
    before: (i64, i64),
}

/// The payments of one key in one partition, in order; the last entry is none, but the end.
type History = Vec<Entry>;

/// A topic's payments by question and key.
pub(crate) struct Log {
    partitions: Vec<u32>,
    histories: BTreeMap<(usize, i64, u32), History>,
}

impl Log {
    /// Reads a topic from its first record to its end. A payment that is there twice counts where
    /// it came first.
    pub(crate) fn whole(settings: KafkaSettings) -> Log {
        let mut source = KafkaSource::open(settings).unwrap();
        let infos = source.roster().unwrap();
        let partitions: Vec<u32> = infos.iter().map(|info| info.partition).collect();
        let mut log = Log { partitions, histories: BTreeMap::new() };
        let mut read: BTreeMap<u32, u64> = BTreeMap::new();
        let bounds = Bounds { records: 10_000, bytes: 1 << 24, wait: Duration::from_millis(200) };
        let until = Instant::now() + Duration::from_secs(120);
        let mut known = BTreeSet::new();
        while infos.iter().any(|i| read.get(&i.partition).copied().unwrap_or(0) < i.end) {
            assert!(
                Instant::now() < until,
                "the broker does not give its log: {read:?}, {infos:?}"
            );
            match source.poll(&bounds).unwrap() {
                Polled::Owned(partitions) => {
                    let places: Vec<(u32, u64)> = partitions.iter().map(|&p| (p, 0)).collect();
                    source.seek(&places).unwrap();
                }
                Polled::Records(records) => {
                    for record in records {
                        read.insert(record.partition, record.offset + 1);
                        let event: Value = serde_json::from_slice(&record.payload).unwrap();
                        let id = event["id"].as_i64().unwrap();
                        if known.insert(id) {
                            log.add(record.partition, record.offset, &Payment::of(id));
                        }
                    }
                }
            }
        }
        log
    }

    fn add(&mut self, partition: u32, offset: u64, payment: &Payment) {
        let keys = [payment.card, payment.card, payment.merchant];
        for (question, key) in keys.into_iter().enumerate() {
            let history = self.histories.entry((question, key, partition)).or_insert_with(start);
            let end = history.last_mut().expect("it has an end");
            let (n, cents) = end.before;
            (end.offset, end.id) = (offset, payment.id);
            history.push(end_after((n + 1, cents + payment.cents)));
        }
    }

    /// What a key's payments of a partition sum to at each cut from what an answer vouches for to
    /// what was sent when it came.
    fn cuts(&self, answer: &Plain, partition: u32) -> Vec<(i64, i64)> {
        let at = (answer.question, answer.key, partition);
        let Some(history) = self.histories.get(&at) else { return vec![(0, 0)] };
        let stated = answer.positions.get(&partition).copied().unwrap_or(0);
        let first = history.partition_point(|entry| entry.offset < stated);
        let unsent = history[first..].iter().position(|entry| entry.id >= answer.sent);
        let last = first + unsent.expect("the end was never sent");
        history[first..=last].iter().map(|entry| entry.before).collect()
    }
}

fn start() -> History {
    vec![end_after((0, 0))]
}

fn end_after(before: (i64, i64)) -> Entry {
    Entry { offset: u64::MAX, id: i64::MAX, before }
}

/// Plain answers without which nothing was shown. Their share says nothing: it is that of the time
/// in which nothing was out of reach, and a busy machine takes longer to come back.
const ENOUGH: usize = 500;

impl Seen {
    /// Holds every plain answer against the log, and says how many there were.
    pub(crate) fn assert_right(&self, log: &Log) -> String {
        let [one, other] = log.partitions[..] else { panic!("a cut goes through two partitions") };
        for answer in &self.plain {
            let (count, cents) = answer.answer;
            let others = log.cuts(answer, other);
            // Each payment makes a cut one greater than the one before.
            let found = log.cuts(answer, one).into_iter().any(|cut| {
                let at = usize::try_from(count - cut.0 - others[0].0).ok();
                at.and_then(|at| others.get(at)).is_some_and(|other| other.1 == cents - cut.1)
            });
            let (key, _, columns) = QUESTIONS[answer.question];
            assert!(
                found,
                "{key} {}: {columns:?} were {count} and {cents} cents, which no cut between {:?} \
                 and the first {} payments gives",
                answer.key, answer.positions, answer.sent
            );
            assert!(answer.fresh, "{key} {}: {columns:?} were stale and not marked", answer.key);
        }
        let Seen { plain, stale, unknown, asked_for } = self;
        let all = plain.len() + stale + unknown;
        let enough = plain.len() >= ENOUGH;
        assert!(enough, "{} plain answers of {all} are too few to say anything", plain.len());
        format!(
            "{all} answers, {:.0} a second: {} plain and all right, {stale} stale, {unknown} \
             unknown",
            all as f64 / asked_for.as_secs_f64(),
            plain.len(),
        )
    }
}
