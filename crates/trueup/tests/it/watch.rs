//! A reader that asks for random keys all the while, and afterwards holds every plain answer
//! against the log: it must be the sum over some cut between the positions that the answer itself
//! states and what had been sent by then. An answer with a hole is the sum over no cut.

use crate::pay::{self, CARDS, MERCHANTS, Payment};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use trueup::client::{Client, ClientOptions};
use trueup::ingest::source::{Bounds, KafkaSettings, KafkaSource, Polled, Source};
use trueup_core::testing::Dice;
use trueup_sql::decode::print::Timestamp;

/// How often a question is asked.
const EVERY: Duration = Duration::from_millis(2);

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
    n: i64,
    cents: i64,
    /// Records that it vouches for, by partition.
    positions: BTreeMap<u32, u64>,
    /// Payments that had been sent when it came.
    sent: i64,
}

/// What a reader saw.
#[derive(Default)]
pub(crate) struct Seen {
    plain: Vec<Plain>,
    /// Answers that were STALE or UNKNOWN, or requests that failed.
    marked: usize,
}

/// A reader at work.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicI64>,
    task: tokio::task::JoinHandle<Seen>,
}

impl Watcher {
    /// Asks the server at a URL.
    pub(crate) fn start(base_url: String, seed: u64) -> Watcher {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let watch = watch(base_url, seed, Arc::clone(&stop), Arc::clone(&sent));
        Watcher { task: tokio::spawn(watch), stop, sent }
    }

    /// Payments below this number may be in the log from now on.
    pub(crate) fn sending(&self, end: i64) {
        self.sent.store(end, Ordering::SeqCst);
    }

    /// Stops asking.
    pub(crate) async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

async fn watch(base_url: String, seed: u64, stop: Arc<AtomicBool>, sent: Arc<AtomicI64>) -> Seen {
    let timeout = Duration::from_secs(10);
    let client = ClientOptions { base_url, timeout, ..ClientOptions::default() };
    let (client, mut dice, mut seen) =
        (Client::new(&client).unwrap(), Dice::new(seed), Seen::default());
    let at = Timestamp(pay::START_US + 20 * 86_400_000_000).to_string();
    while !stop.load(Ordering::SeqCst) {
        let question = dice.below(QUESTIONS.len() as u64) as usize;
        let (key, keys, columns) = QUESTIONS[question];
        let number = dice.below(keys as u64) as i64;
        let body = json!({ "keys": [{ key: number }], "at": at, "columns": columns,
                           "explain": true, "deadline_ms": 200 });
        let reply = pay::post(&client, "/v1/features/risk", body).await;
        let sent = sent.load(Ordering::SeqCst);
        match reply.ok().and_then(|(_, reply)| plain(&reply["rows"][0], columns)) {
            Some((n, cents, positions)) => {
                seen.plain.push(Plain { question, key: number, n, cents, positions, sent });
            }
            None => seen.marked += 1,
        }
        tokio::time::sleep(EVERY).await;
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

/// A topic's payments, by partition, in order.
pub(crate) fn whole_log(settings: KafkaSettings) -> BTreeMap<u32, Vec<(u64, i64)>> {
    let mut source = KafkaSource::open(settings).unwrap();
    let mut log: BTreeMap<u32, Vec<(u64, i64)>> = BTreeMap::new();
    let mut left: BTreeMap<u32, u64> = BTreeMap::new();
    for info in source.roster().unwrap() {
        log.insert(info.partition, Vec::new());
        left.insert(info.partition, info.end);
    }
    let bounds = Bounds { records: 10_000, bytes: 1 << 24, wait: Duration::from_millis(200) };
    let until = Instant::now() + Duration::from_secs(60);
    while log.iter().any(|(partition, records)| (records.len() as u64) < left[partition]) {
        assert!(Instant::now() < until, "the log is read in time");
        match source.poll(&bounds).unwrap() {
            Polled::Owned(partitions) => {
                let places: Vec<(u32, u64)> = partitions.iter().map(|&p| (p, 0)).collect();
                source.seek(&places).unwrap();
            }
            Polled::Records(records) => {
                for record in records {
                    let event: Value = serde_json::from_slice(&record.payload).unwrap();
                    let id = event["id"].as_i64().unwrap();
                    log.get_mut(&record.partition).unwrap().push((record.offset, id));
                }
            }
        }
    }
    log
}

impl Seen {
    /// Holds every plain answer against the log.
    pub(crate) fn assert_right(&self, log: &BTreeMap<u32, Vec<(u64, i64)>>) {
        assert_eq!(log.len(), 2, "a cut is searched through two partitions");
        for answer in &self.plain {
            let of_key = |id: &i64| {
                let payment = Payment::of(*id);
                let key = [payment.card, payment.card, payment.merchant][answer.question];
                (key == answer.key).then_some(payment.cents)
            };
            // Of each partition, the sums over the cuts from what is vouched for to what was sent.
            let cuts: Vec<Vec<(i64, i64)>> = (log.iter())
                .map(|(partition, records)| {
                    let stated = answer.positions.get(partition).copied().unwrap_or(0);
                    let (mut sum, mut cuts) = ((0, 0), Vec::new());
                    for (offset, id) in records {
                        if *offset >= stated {
                            cuts.push(sum);
                            if *id >= answer.sent {
                                return cuts;
                            }
                        }
                        if let Some(cents) = of_key(id) {
                            sum = (sum.0 + 1, sum.1 + cents);
                        }
                    }
                    cuts.push(sum);
                    cuts
                })
                .collect();
            let found = cuts[0]
                .iter()
                .any(|(n, cents)| cuts[1].contains(&(answer.n - n, answer.cents - cents)));
            let (key, _, columns) = QUESTIONS[answer.question];
            assert!(
                found,
                "{key} {}: {columns:?} were {} and {} cents, which no cut between {:?} and the \
                 first {} payments gives",
                answer.key, answer.n, answer.cents, answer.positions, answer.sent
            );
        }
        println!("{} plain answers, all right; {} marked", self.plain.len(), self.marked);
        assert!(self.plain.len() > self.marked / 10, "too few plain answers to say anything");
    }
}
