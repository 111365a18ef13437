//! Records a second and events a second, way by way.
//!
//! The store's ways begin as in a long run: every value has a base of a hundred events and a tail
//! of some length below the worker's bound, so that as many values outgrow it in each batch as do
//! in the long run. Compaction reads and swaps what a fold would; the fold itself is `core`'s, and
//! its bench says what it costs.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{Append, At, Batch, Checkpoint, Grown, RedisStore, Space, Stands, Store, Swap};

use super::workload::{BATCH, EXPIRY, Event, Keys, USERS, scatter, spaces};
use super::{connect, median, open, send, today};

/// Batches of a way in one round.
const BATCHES: usize = 40;
const ROUNDS: usize = 9;
/// The worker's bound on a tail: a quarter of the base, at least so much.
const MIN_TAIL_BYTES: usize = 2 << 10;
/// Records that it holds.
const TAIL_RECORDS: usize = MIN_TAIL_BYTES / 28;
/// Bytes of a folded base of a hundred events (`docs/benches.md`, Arithmetic).
const BASE_BYTES: usize = 1270;
/// Values read and swapped in one go by the worker.
const COMPACTED_TOGETHER: usize = 256;

/// A way to keep an event.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bare {
        expire: bool,
    },
    Store {
        compact: bool,
    },
    /// Every record of a batch goes to a value of its own.
    Spread {
        store: bool,
    },
    SortedSets {
        expire: bool,
    },
    Minutes {
        expire: bool,
    },
}

const WAYS: [(&str, Way); 10] = [
    ("bare APPEND", Way::Bare { expire: false }),
    ("bare APPEND and PEXPIRE", Way::Bare { expire: true }),
    ("store, expiry, checkpoint every 100 ms", Way::Store { compact: false }),
    ("the same with compaction", Way::Store { compact: true }),
    ("bare APPEND, all keys differ", Way::Spread { store: false }),
    ("store, all keys differ", Way::Spread { store: true }),
    ("sorted sets", Way::SortedSets { expire: false }),
    ("sorted sets with PEXPIRE", Way::SortedSets { expire: true }),
    ("hashes of minutes", Way::Minutes { expire: false }),
    ("hashes of minutes with PEXPIRE", Way::Minutes { expire: true }),
];

/// A store under a prefix of its own, and its writer.
struct Writer {
    store: RedisStore,
    stands: Stands,
    /// When a checkpoint was last written.
    told: Instant,
}

struct Bench<'a> {
    /// One whose tails are compacted and one whose tails are not, so that neither pays for the
    /// other.
    compacted: Writer,
    growing: Writer,
    bare: MultiplexedConnection,
    keys: &'a Keys,
    /// The name of each value in Redis, under another prefix of the same length.
    names: HashMap<(Space, &'a [u8]), Vec<u8>>,
    compactions: u64,
}

pub(super) async fn run(server: &RedisServer) {
    let keys = Keys::new();
    let [compacted, growing] =
        [Writer::new(server, "folded").await, Writer::new(server, "growth").await];
    let (bare, names) = (connect(server).await, HashMap::new());
    let mut bench = Bench { compacted, growing, bare, keys: &keys, names, compactions: 0 };
    bench.compacted.fill(&keys).await;
    bench.growing.fill(&keys).await;
    bench.learn_names().await;
    let mut took: Vec<Vec<f64>> = vec![Vec::new(); WAYS.len()];
    for round in 0..ROUNDS {
        for (nth, (_, way)) in WAYS.iter().enumerate() {
            took[nth].push(bench.round(*way, round).await);
        }
    }
    print(&bench, &took);
}

fn print(bench: &Bench<'_>, took: &[Vec<f64>]) {
    println!("| way | events/s | records/s | of bare APPEND |\n|---|---|---|---|");
    for (nth, (name, way)) in WAYS.iter().enumerate() {
        let bare = if matches!(way, Way::Spread { .. }) { 4 } else { 0 };
        // Of each round its own ratio: what disturbs a round disturbs all of its ways.
        let ratios = took[bare].iter().zip(&took[nth]).map(|(bare, way)| bare / way).collect();
        let events = (BATCH * BATCHES) as f64 / median(took[nth].clone());
        println!("| {name} | {events:.0} | {:.0} | {:.2} |", 2.0 * events, median(ratios));
    }
    let counts = bench.compacted.store.counts();
    let appended = BATCH * 2 * BATCHES * ROUNDS;
    println!(
        "with compaction: {appended} records, {} checkpoint calls, one swap for {:.0} records",
        counts.checkpoints,
        appended as f64 / bench.compactions as f64
    );
}

impl Writer {
    async fn new(server: &RedisServer, prefix: &str) -> Self {
        let store = open(server, prefix).await;
        let stands = store.look(&[]).await.expect("it answers").stands;
        Self { store, stands, told: Instant::now() }
    }

    /// Gives every value a base and a tail of some length.
    async fn fill(&mut self, keys: &Keys) {
        let tail = vec![7; MIN_TAIL_BYTES];
        for (some, ats) in keys.all().chunks(BATCH).enumerate() {
            let append = |(nth, &at)| {
                let records = scatter((some * BATCH + nth) as u64) as usize % TAIL_RECORDS;
                Append { at, record: &tail[..28 * (1 + records)] }
            };
            let appends: Vec<Append<'_>> = ats.iter().enumerate().map(append).collect();
            self.append(&appends, false).await;
            self.swap(ats, true).await;
        }
    }

    /// By the store, with a checkpoint when one is due.
    async fn append(&mut self, appends: &[Append<'_>], tell: bool) -> Vec<Grown> {
        let due = tell && self.told.elapsed() >= self.store.checkpoint_every();
        let offset = self.store.counts().appends;
        let said = Checkpoint { source: 1, partition: 0, offset, fresh_us: offset as i64 };
        let checkpoints = spaces().map(|space| (space, said));
        let batch = Batch {
            appends,
            checkpoints: if due { &checkpoints } else { &[] },
            expiry: &spaces().map(|space| (space, EXPIRY)),
            ..Batch::under(&self.stands)
        };
        let grown = self.store.append(&batch).await.expect("it appends");
        if due {
            self.told = Instant::now();
        }
        grown
    }

    /// Reads values and puts new bases in; keeps the tails or takes them for folded. Says how many
    /// it did.
    async fn swap(&mut self, ats: &[At<'_>], keep: bool) -> u64 {
        let reads = self.store.get(ats).await.expect("it answers");
        let base = [1; BASE_BYTES];
        let mut swaps: Vec<Swap<'_>> = Vec::with_capacity(ats.len());
        for (read, &at) in reads.iter().zip(ats) {
            let replaced = read.value.as_ref().expect("it was appended");
            let kept = if keep { replaced.tail() } else { b"" };
            swaps.push(Swap { epoch: read.stand.epoch, at, replaced, base: &base, kept });
        }
        let done = self.store.swap(&swaps).await.expect("it swaps");
        done.iter().filter(|&&done| done).count() as u64
    }
}

impl Bench<'_> {
    /// The names of all values, for the bare ways.
    async fn learn_names(&mut self) {
        let names = send(&mut self.bare, Pipeline::new().cmd("KEYS").arg("growth:*:v:*")).await;
        let names: Vec<Vec<u8>> = redis::from_redis_value(names[0].clone()).expect("names");
        let mut by_end: HashMap<(Space, Vec<u8>), Vec<u8>> = HashMap::new();
        for mut name in names {
            let key = name[name.len() - 9..].to_vec();
            // 32 hex digits of the digest and a colon stand before the key.
            let of_users = name[name.len() - 42..].starts_with(b"01");
            name[..6].copy_from_slice(b"bareup");
            by_end.insert((spaces()[usize::from(!of_users)], key), name);
        }
        for at in self.keys.all() {
            let name = by_end.remove(&(at.space, at.key.to_vec())).expect("its name");
            self.names.insert((at.space, at.key), name);
        }
    }

    /// Seconds that a way takes for the batches of a round.
    async fn round(&mut self, way: Way, round: usize) -> f64 {
        let mut took = Duration::ZERO;
        for batch in 0..BATCHES {
            let first = (round * BATCHES + batch) * BATCH;
            let events: Vec<Event> = (first..first + BATCH).map(Event::new).collect();
            let records: Vec<[u8; 28]> = events.iter().map(Event::record).collect();
            let appends = match way {
                Way::Spread { .. } => Self::spread(self.keys, first, &records),
                _ => self.keys.appends(&events, &records),
            };
            let names = self.bare_names(&appends);
            let began = Instant::now();
            match way {
                Way::Bare { expire } => bare(&mut self.bare, &names, &appends, expire).await,
                Way::Spread { store: false } => {
                    bare(&mut self.bare, &names, &appends, false).await;
                }
                Way::Spread { store: true } | Way::Store { compact: false } => {
                    self.growing.append(&appends, true).await;
                }
                Way::Store { compact: true } => {
                    let grown = self.compacted.append(&appends, true).await;
                    self.compact(&appends, &grown).await;
                }
                Way::SortedSets { expire } => {
                    send(&mut self.bare, &today::sorted_sets(&events, expire)).await;
                }
                Way::Minutes { expire } => {
                    send(&mut self.bare, &today::minute_buckets(&events, expire)).await;
                }
            }
            took += began.elapsed();
        }
        took.as_secs_f64()
    }

    /// As many records, each of another value.
    fn spread<'b>(keys: &'b Keys, first: usize, records: &'b [[u8; 28]]) -> Vec<Append<'b>> {
        let twice = records.iter().chain(records).enumerate();
        let append = |(nth, record): (usize, &'b [u8; 28])| {
            // A stride that visits all keys in an order far from theirs.
            let at = keys.at((0, (2 * first + nth) * 7919 % USERS));
            Append { at, record }
        };
        twice.map(append).collect()
    }

    /// The names under which the bare ways append.
    fn bare_names(&self, appends: &[Append<'_>]) -> Vec<Vec<u8>> {
        let name = |append: &Append<'_>| self.names[&(append.at.space, append.at.key)].clone();
        appends.iter().map(name).collect()
    }

    /// As the worker compacts, but for the arithmetic.
    async fn compact(&mut self, appends: &[Append<'_>], grown: &[Grown]) {
        let outgrown = |grown: &Grown| grown.tail_len > MIN_TAIL_BYTES.max(grown.base_len / 4);
        let due: BTreeSet<At<'_>> = appends
            .iter()
            .zip(grown)
            .filter(|(_, grown)| outgrown(grown))
            .map(|(append, _)| append.at)
            .collect();
        let due: Vec<At<'_>> = due.into_iter().collect();
        for ats in due.chunks(COMPACTED_TOGETHER) {
            self.compactions += self.compacted.swap(ats, false).await;
        }
    }
}

/// A command a record, all in one pipeline.
async fn bare(
    connection: &mut MultiplexedConnection,
    names: &[Vec<u8>],
    appends: &[Append<'_>],
    expire: bool,
) {
    let mut pipeline = Pipeline::with_capacity(2 * appends.len());
    for (append, name) in appends.iter().zip(names) {
        pipeline.cmd("APPEND").arg(name).arg(append.record);
        if expire {
            pipeline.cmd("PEXPIRE").arg(name).arg(EXPIRY.as_millis() as u64);
        }
    }
    send(connection, &pipeline).await;
}
