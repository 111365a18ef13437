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
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::runtime::Runtime;
use trueup::catalog::Catalog;
use trueup::ingest::{Prepared, Progress, Write, Writes, prepare};
use trueup_core::Position;
use trueup_sql::SourceFile;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{Append, At, Checkpoint, Marker, RedisOptions, RedisStore, Stands, Store};
use workload::{CARDS, DEFINITION, EVENTS_OF_A_CARD, Event};

/// Events sent in one go; a worker that has much to read takes up to 4,096.
const BATCH: usize = 4_000;
/// Batches of a way in one round.
const BATCHES: usize = 10;
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
    catalog: Arc<Catalog>,
    store: Arc<RedisStore>,
    stands: Stands,
    progress: Arc<Progress>,
    writes: Writes,
    /// Events that were written.
    written: usize,
    /// When a checkpoint was last written.
    told: Instant,
}

/// What the bare ways and those of today write to.
struct Bare<'a> {
    runtime: &'a Runtime,
    connection: MultiplexedConnection,
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    run(&runtime, &RedisServer::plain());
}

fn run(runtime: &Runtime, server: &RedisServer) {
    let mut writers = ["steady", "heated"].map(|prefix| Writer::new(runtime, server, prefix));
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection = runtime.block_on(client.get_multiplexed_async_connection());
    let mut bare = Bare { runtime, connection: connection.expect("it connects") };
    let began = Instant::now();
    for first in (0..BEFORE).step_by(BATCH) {
        let events: Vec<Event> = (first..first + BATCH).map(Event::new).collect();
        bare.send(&today::sorted_sets(&events, false));
        bare.send(&today::minute_buckets(&events, false));
        for writer in &mut writers {
            let batch = workload::decoded(&writer.catalog.streams()[0], &events);
            writer.write(&batch);
        }
    }
    println!("{BEFORE} events before the first round, in {:.0} s", began.elapsed().as_secs_f64());
    let compactions_before = compactions(&writers[0]);
    let mut took: Vec<Vec<f64>> = vec![Vec::new(); WAYS.len()];
    for round in 0..ROUNDS {
        for (nth, (_, way)) in WAYS.iter().enumerate() {
            let writer = &mut writers[usize::from(*way == Way::Worker { hot: true })];
            took[nth].push(seconds(writer, &mut bare, *way, round));
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
    writer.progress.counts.compactions.load(Ordering::Relaxed)
}

fn print(took: &[Vec<f64>]) {
    println!("| way | events/s | records/s | of bare APPEND |\n|---|---|---|---|");
    for ((name, _), seconds) in WAYS.iter().zip(took) {
        let ratios = took[0].iter().zip(seconds).map(|(bare, way)| bare / way).collect();
        let events = (BATCH * BATCHES) as f64 / median(seconds.clone());
        println!("| {name} | {events:.0} | {:.0} | {:.2} |", 2.0 * events, median(ratios));
    }
}

/// Seconds that a way takes for the batches of a round, until nothing of them is under way.
fn seconds(writer: &mut Writer, bare: &mut Bare<'_>, way: Way, round: usize) -> f64 {
    let event = if way == (Way::Worker { hot: true }) { Event::hot } else { Event::new };
    let batches = (0..BATCHES).map(|batch| BEFORE + (round * BATCHES + batch) * BATCH);
    let events: Vec<Vec<Event>> =
        batches.clone().map(|first| (first..first + BATCH).map(event).collect()).collect();
    let part = &writer.catalog.streams()[0];
    let decoded: Vec<RecordBatch> =
        events.iter().map(|events| workload::decoded(part, events)).collect();
    let prepared: Vec<Prepared> = decoded
        .iter()
        .zip(batches)
        .map(|(decoded, first)| writer.prepare(decoded, first))
        .collect();
    let appends: Vec<Vec<Append<'_>>> =
        prepared.iter().map(|prepared| prepared.appends(&writer.catalog)).collect();
    let names: Vec<Vec<Vec<u8>>> = appends
        .iter()
        .map(|appends| appends.iter().map(|append| name(append.at)).collect())
        .collect();
    let began = Instant::now();
    for batch in 0..BATCHES {
        let (events, names, appends) = (&events[batch], &names[batch], &appends[batch]);
        match way {
            Way::Bare { expire } => bare.send(&bare_appends(names, appends, expire)),
            Way::Worker { .. } => writer.write(&decoded[batch]),
            Way::SortedSets { expire } => bare.send(&today::sorted_sets(events, expire)),
            Way::Minutes { expire } => bare.send(&today::minute_buckets(events, expire)),
        }
    }
    writer.writes.drain().expect("it writes");
    began.elapsed().as_secs_f64()
}

impl Writer {
    /// Under a prefix of its own.
    fn new(runtime: &Runtime, server: &RedisServer, prefix: &str) -> Writer {
        let file = SourceFile { name: "four_windows.sql".to_owned(), text: DEFINITION.to_owned() };
        let catalog = Catalog::new(trueup_sql::compile(&[file]).expect("it compiles"));
        let mut options = RedisOptions::default();
        prefix.clone_into(&mut options.prefix);
        let store = runtime.block_on(RedisStore::open(&server.url(), options)).expect("it opens");
        let stands = runtime.block_on(store.look(&catalog.spaces(0))).expect("it answers").stands;
        let (catalog, store) = (Arc::new(catalog), Arc::new(store));
        let progress = Arc::new(Progress::default());
        let writes = Writes::new(
            Arc::clone(&catalog),
            Arc::<RedisStore>::clone(&store),
            Arc::clone(&progress),
            runtime.handle().clone(),
        );
        let (written, told) = (0, Instant::now());
        Writer { catalog, store, stands, progress, writes, written, told }
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

    /// As a worker does with a batch, by the same code: records, worked out while the batch before
    /// is under way; an append with a checkpoint when one is due; compaction of what has outgrown
    /// its bound beside the next.
    fn write(&mut self, batch: &RecordBatch) {
        let prepared = self.prepare(batch, self.written);
        self.written += batch.num_rows();
        let due = self.told.elapsed() >= self.store.checkpoint_every();
        let (mut checkpoints, mut markers) = (Vec::new(), Vec::new());
        if due {
            let offset = self.written as u64;
            let said = Checkpoint { source: SOURCE, partition: 0, offset, fresh_us: offset as i64 };
            let spaces = self.catalog.spaces(0);
            checkpoints = spaces.iter().map(|&space| (space, said)).collect();
            markers = spaces.iter().map(|&space| (space, Marker::Begin(0))).collect();
            self.told = Instant::now();
        }
        self.writes.settle().expect("it appends");
        self.writes.compact().expect("it swaps");
        let stands = self.stands.clone();
        let write = Write { prepared, stands, checkpoints, markers };
        self.writes.begin(write).expect("it appends");
    }
}

impl Bare<'_> {
    /// Sends commands in one pipeline and waits for all replies.
    fn send(&mut self, pipeline: &Pipeline) {
        let sent = self.connection.send_packed_commands(pipeline, 0, pipeline.len());
        let replies = self.runtime.block_on(sent).expect("it answers");
        for reply in &replies {
            assert!(!matches!(reply, redis::Value::ServerError(_)), "{reply:?}");
        }
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

/// The middle of some numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
