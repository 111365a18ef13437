//! What a worker writes in a second: events that are decoded go into Redis, with checkpoints, times
//! to live, and compaction by the arithmetic that serves and trains. Beside it the bare commands
//! with the same bytes, and what people use today, on one server by one client.
//!
//! ```text
//! cargo bench --workspace --all-features --bench ingest
//! ```
//!
//! The state begins as in a long run: a card has a hundred events within the longest window, and
//! what leaves it is trimmed. The ways take turns; a ratio is the median of the rounds' own, so
//! that other work on the machine takes from all of them alike.

mod today;
mod workload;

use arrow::array::RecordBatch;
use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use std::time::{Duration, Instant};
use trueup::catalog::Catalog;
use trueup::ingest::{Counts, Prepared, compact, prepare};
use trueup_core::Position;
use trueup_sql::SourceFile;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{
    Append, At, Batch, Checkpoint, Marker, RedisOptions, RedisStore, Stands, Store,
};
use workload::{CARDS, DEFINITION, EVENTS_OF_A_CARD, Event};

/// Events sent in one go.
const BATCH: usize = 1_000;
/// Batches of a way in one round.
const BATCHES: usize = 40;
const ROUNDS: usize = 9;
/// Events before the first round: as many as the longest window holds.
const BEFORE: usize = CARDS * EVENTS_OF_A_CARD;
/// The log's number, in positions.
const SOURCE: u32 = 1;

/// A way to keep an event.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bare { expire: bool },
    Worker { hot: bool },
    SortedSets { expire: bool },
    Minutes { expire: bool },
}

const WAYS: [(&str, Way); 8] = [
    ("bare APPEND", Way::Bare { expire: false }),
    ("bare APPEND and PEXPIRE", Way::Bare { expire: true }),
    ("worker: records, checkpoints, expiry, compaction", Way::Worker { hot: false }),
    ("the same, 30 % of events with one merchant", Way::Worker { hot: true }),
    ("sorted sets", Way::SortedSets { expire: false }),
    ("sorted sets with PEXPIRE", Way::SortedSets { expire: true }),
    ("hashes of minutes", Way::Minutes { expire: false }),
    ("hashes of minutes with PEXPIRE", Way::Minutes { expire: true }),
];

/// What writes to the store.
struct Writer {
    catalog: Catalog,
    store: RedisStore,
    stands: Stands,
    counts: Counts,
    /// Events that were written.
    written: usize,
    /// When a checkpoint was last written.
    told: Instant,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&RedisServer::plain()));
}

async fn run(server: &RedisServer) {
    let mut writers = [Writer::new(server, "steady").await, Writer::new(server, "heated").await];
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut bare = client.get_multiplexed_async_connection().await.expect("it connects");
    let began = Instant::now();
    for first in (0..BEFORE).step_by(BATCH) {
        let events: Vec<Event> = (first..first + BATCH).map(Event::new).collect();
        send(&mut bare, &today::sorted_sets(&events, false)).await;
        send(&mut bare, &today::minute_buckets(&events, false)).await;
        for writer in &mut writers {
            let batch = workload::decoded(&writer.catalog.streams()[0], &events);
            writer.write(&batch).await;
        }
    }
    println!("{BEFORE} events before the first round, in {:.0} s", began.elapsed().as_secs_f64());
    let compactions_before = compactions(&writers[0]);
    let mut took: Vec<Vec<f64>> = vec![Vec::new(); WAYS.len()];
    for round in 0..ROUNDS {
        for (nth, (_, way)) in WAYS.iter().enumerate() {
            let writer = &mut writers[usize::from(*way == Way::Worker { hot: true })];
            took[nth].push(seconds(writer, &mut bare, *way, round).await);
        }
    }
    print(&took);
    let records = 2 * BATCH * BATCHES * ROUNDS;
    println!(
        "worker: {records} records, {} checkpoint calls in all, a compaction every {:.0} records",
        writers[0].store.counts().checkpoints,
        records as f64 / (compactions(&writers[0]) - compactions_before) as f64
    );
}

fn compactions(writer: &Writer) -> u64 {
    writer.counts.compactions.load(std::sync::atomic::Ordering::Relaxed)
}

fn print(took: &[Vec<f64>]) {
    println!("| way | events/s | records/s | of bare APPEND |\n|---|---|---|---|");
    for ((name, _), seconds) in WAYS.iter().zip(took) {
        let ratios = took[0].iter().zip(seconds).map(|(bare, way)| bare / way).collect();
        let events = (BATCH * BATCHES) as f64 / median(seconds.clone());
        println!("| {name} | {events:.0} | {:.0} | {:.2} |", 2.0 * events, median(ratios));
    }
}

/// Seconds that a way takes for the batches of a round.
async fn seconds(
    writer: &mut Writer,
    bare: &mut MultiplexedConnection,
    way: Way,
    round: usize,
) -> f64 {
    let mut took = Duration::ZERO;
    for batch in 0..BATCHES {
        let first = BEFORE + (round * BATCHES + batch) * BATCH;
        let event = if way == (Way::Worker { hot: true }) { Event::hot } else { Event::new };
        let events: Vec<Event> = (first..first + BATCH).map(event).collect();
        let decoded = workload::decoded(&writer.catalog.streams()[0], &events);
        let prepared = writer.prepare(&decoded, first);
        let appends = prepared.appends(&writer.catalog);
        let names: Vec<Vec<u8>> = appends.iter().map(|append| name(append.at)).collect();
        let began = Instant::now();
        match way {
            Way::Bare { expire } => {
                send(bare, &bare_appends(&names, &appends, expire)).await;
            }
            Way::Worker { .. } => writer.write(&decoded).await,
            Way::SortedSets { expire } => send(bare, &today::sorted_sets(&events, expire)).await,
            Way::Minutes { expire } => send(bare, &today::minute_buckets(&events, expire)).await,
        }
        took += began.elapsed();
    }
    took.as_secs_f64()
}

impl Writer {
    /// Under a prefix of its own.
    async fn new(server: &RedisServer, prefix: &str) -> Writer {
        let file = SourceFile { name: "four_windows.sql".to_owned(), text: DEFINITION.to_owned() };
        let catalog = Catalog::new(trueup_sql::compile(&[file]).expect("it compiles"));
        let mut options = RedisOptions::default();
        prefix.clone_into(&mut options.prefix);
        let store = RedisStore::open(&server.url(), options).await.expect("it opens");
        let stands = store.look(&catalog.spaces(0)).await.expect("it answers").stands;
        let (counts, written) = (Counts::default(), 0);
        Writer { catalog, store, stands, counts, written, told: Instant::now() }
    }

    /// Records of events of which the first has this number.
    fn prepare(&self, batch: &RecordBatch, first: usize) -> Prepared {
        let position = |nth: usize| {
            let offset = (first + nth) as u64 + 1;
            Position { source: SOURCE, partition: 0, offset }
        };
        let positions: Vec<Position> = (0..batch.num_rows()).map(position).collect();
        prepare(&self.catalog, &self.catalog.streams()[0], batch, &positions, |_, _| true)
    }

    /// As a worker does with a batch: records, an append with a checkpoint when one is due,
    /// compaction of what has outgrown its bound.
    async fn write(&mut self, batch: &RecordBatch) {
        let prepared = self.prepare(batch, self.written);
        let appends = prepared.appends(&self.catalog);
        self.written += batch.num_rows();
        let due = self.told.elapsed() >= self.store.checkpoint_every();
        let offset = self.written as u64;
        let said = Checkpoint { source: SOURCE, partition: 0, offset, fresh_us: offset as i64 };
        let spaces = self.catalog.spaces(0);
        let checkpoints: Vec<_> = spaces.iter().map(|&space| (space, said)).collect();
        let markers: Vec<_> = spaces.iter().map(|&space| (space, Marker::Begin(0))).collect();
        let batch = Batch {
            appends: &appends,
            checkpoints: if due { &checkpoints } else { &[] },
            markers: if due { &markers } else { &[] },
            expiry: self.catalog.expiry(),
            ..Batch::under(&self.stands)
        };
        let grown = self.store.append(&batch).await.expect("it appends");
        if due {
            self.told = Instant::now();
        }
        let keys = appends.iter().enumerate().map(|(n, append)| (prepared.group_of(n), append.at));
        let compacted = compact(&self.catalog, &self.store, &self.counts, keys, &grown).await;
        compacted.expect("it swaps");
    }
}

/// The name of a value for the bare ways, as long as the store's.
fn name(at: At<'_>) -> Vec<u8> {
    const PREFIX: &str = "bareup:{b17}:0123456789abcdef:v:";
    let mut name = PREFIX.as_bytes().to_vec();
    for byte in &at.space.as_bytes()[..16] {
        name.extend(format!("{byte:02x}").into_bytes());
    }
    name.push(b':');
    name.extend_from_slice(at.key);
    name
}

/// A command a record.
fn bare_appends(names: &[Vec<u8>], appends: &[Append<'_>], expire: bool) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(2 * appends.len());
    for (append, name) in appends.iter().zip(names) {
        pipeline.cmd("APPEND").arg(name).arg(append.record);
        if expire {
            pipeline.cmd("PEXPIRE").arg(name).arg(workload::WINDOW_MS);
        }
    }
    pipeline
}

/// Sends commands in one pipeline and waits for all replies.
async fn send(bare: &mut MultiplexedConnection, pipeline: &Pipeline) {
    let replies = bare.send_packed_commands(pipeline, 0, pipeline.len()).await;
    let replies = replies.expect("it answers");
    for reply in &replies {
        assert!(!matches!(reply, redis::Value::ServerError(_)), "{reply:?}");
    }
}

/// The middle of some numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
