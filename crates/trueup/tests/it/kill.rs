//! SIGKILL while events are pushed: the harm is an event that was acknowledged and is gone, or one
//! that counts twice.
//!
//! A server in a process of its own is pushed to by several callers at once, each of which sends an
//! event again until it is acknowledged. At a random moment the process is killed, and the next one
//! begins on the same directory. Whenever a server has been sent all that was not acknowledged,
//! every key's counts and sums must be those of all payments; at the end rows are held against a
//! training set of what was pushed, and the log against what was acknowledged.

use crate::child::{Server, catalog};
use crate::pay::{Payment, counts_are_right, post, push};
use crate::training::train;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use trueup::catalog::Catalog;
use trueup::client::Client;
use trueup_core::testing::Dice;
use trueup_store::{Log, Options};

/// Kills by chance, over all directories.
const ROUNDS: usize = 200;

/// Directories, each with a server, at work at one time.
const MACHINES: usize = 2;

/// A server is killed within this time of its first word, milliseconds.
const MAX_ROUND_MS: u64 = 300;

/// Callers at one server.
const CALLERS: usize = 4;

/// Events of the largest call.
const MAX_EVENTS: u64 = 8;

/// Longer than any opening takes, on a machine that does much else.
const OPENS_WITHIN: Duration = Duration::from_secs(20);

/// Longer than a server takes to reach the place at which it is to die.
const DIES_WITHIN: Duration = Duration::from_secs(60);

/// Rows that are asked at the end, in one call each.
const ASKED_ROWS: usize = 100;

/// Signals, as Unix numbers them.
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// A directory, and what was sent there.
struct Machine {
    folder: tempfile::TempDir,
    /// The number of the next payment.
    next: AtomicI64,
    /// Payments of calls that were not acknowledged, to be sent again.
    pending: Mutex<Vec<Range<i64>>>,
    seed: u64,
    checks: usize,
    slowest: Duration,
    resent: usize,
}

impl Machine {
    fn new(seed: u64) -> Machine {
        Machine {
            folder: tempfile::tempdir().unwrap(),
            next: AtomicI64::new(0),
            pending: Mutex::default(),
            seed,
            checks: 0,
            slowest: Duration::ZERO,
            resent: 0,
        }
    }

    /// Starts a server; how it ended, if it died before it listened.
    fn start(&mut self, crash: Option<&str>) -> Result<Server, ExitStatus> {
        let began = Instant::now();
        let server = Server::start(self.folder.path(), crash);
        self.slowest = self.slowest.max(began.elapsed());
        assert!(self.slowest < OPENS_WITHIN, "it opens at once, not in {:?}", self.slowest);
        server
    }

    /// Sends again what was not acknowledged, checks all counts, and pushes on, until the server is
    /// gone.
    async fn push_until_it_dies(&mut self, client: &Client, round: u64) {
        if !self.settle(client).await {
            return;
        }
        let callers = (0..CALLERS as u64).map(|caller| {
            let mut dice = Dice::new(self.seed << 32 | round << 8 | caller);
            let machine = &*self;
            async move {
                loop {
                    let n = 1 + dice.below(MAX_EVENTS) as i64;
                    let first = machine.next.fetch_add(n, Ordering::SeqCst);
                    if !push(client, first..first + n, dice.one_in(4)).await {
                        machine.pending.lock().unwrap().push(first..first + n);
                        return;
                    }
                }
            }
        });
        let [a, b, c, d]: [_; CALLERS] =
            callers.collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("all callers"));
        tokio::join!(a, b, c, d);
    }

    /// Everything acknowledged and applied, and every key's counts right; `false` if the server
    /// went away before.
    async fn settle(&mut self, client: &Client) -> bool {
        while let Some(ids) = { self.pending.lock().unwrap().pop() } {
            if !push(client, ids.clone(), true).await {
                self.pending.lock().unwrap().push(ids);
                return false;
            }
            self.resent += (ids.end - ids.start) as usize;
        }
        let end = self.next.load(Ordering::SeqCst);
        if end == 0 {
            return true;
        }
        // Acknowledged is in the log; after this it is in the state too.
        let settled = push(client, end - 1..end, true).await && counts_are_right(client, end).await;
        self.checks += usize::from(settled);
        settled
    }
}

#[test]
fn two_hundred_kills_while_pushing_lose_and_double_nothing() {
    let rounds = ROUNDS / MACHINES;
    let machine = |seed| move || kill_by_chance(Machine::new(seed), rounds);
    let machines: Vec<_> =
        (0..MACHINES as u64).map(|seed| std::thread::spawn(machine(seed))).collect();
    machines.into_iter().for_each(|machine| machine.join().unwrap());
}

fn kill_by_chance(mut machine: Machine, rounds: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut dice = Dice::new(machine.seed);
    for round in 0..rounds as u64 {
        let mut server = machine.start(None).expect("nothing ends it before it is killed");
        let client = server.client.clone();
        let lives = Duration::from_millis(dice.below(MAX_ROUND_MS));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(lives);
            server.kill()
        });
        runtime.block_on(machine.push_until_it_dies(&client, round));
        let status = killer.join().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "it was killed, and died of nothing else");
    }
    runtime.block_on(end(&mut machine, &format!("{rounds} kills")));
    assert!(machine.checks > rounds / 10, "enough rounds lived long enough to be checked");
}

#[test]
fn a_kill_in_the_middle_of_a_compaction_or_a_checkpoint_loses_and_doubles_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut machine = Machine::new(7);
    let places = ["compaction", "before-checkpoint", "after-checkpoint"];
    let mut round = 0;
    for times in [1, 4, 16, 40] {
        for place in places {
            round += 1;
            let cue = format!("{place}:{times}");
            let status = machine.start(Some(&cue)).map_or_else(
                // It died over what the one before had left for it to apply.
                |died| died,
                |mut server| {
                    let client = server.client.clone();
                    let pushing = machine.push_until_it_dies(&client, round);
                    let died = async { tokio::time::timeout(DIES_WITHIN, pushing).await };
                    assert!(runtime.block_on(died).is_ok(), "it did not die at {cue}");
                    server.wait()
                },
            );
            assert_eq!(status.signal(), Some(SIGABRT), "{cue}");
        }
    }
    runtime.block_on(end(&mut machine, &format!("{round} kills at {places:?}")));
}

/// The last check: a server that nobody kills, every count, rows against a training set, and the
/// log against what was acknowledged.
async fn end(machine: &mut Machine, how: &str) {
    let mut server = machine.start(None).expect("it opens");
    let client = server.client.clone();
    assert!(machine.settle(&client).await, "nobody kills this one");
    let end = machine.next.load(Ordering::SeqCst);
    let rows = rows_are_trained(&client, end).await;
    server.kill();
    let (records, payments) = logged(machine.folder.path());
    let lost = (0..end).filter(|id| !payments.contains(id)).count();
    assert_eq!(lost, 0, "of {end} acknowledged payments are not in the log");
    println!(
        "{how}: {end} payments acknowledged, {} in the log, {} of them again; {} sent again; \
         0 lost, 0 doubled in {} checks of all keys; {rows} rows equal to training; slowest \
         start {:?}",
        payments.len(),
        records - payments.len(),
        machine.resent,
        machine.checks,
        machine.slowest
    );
}

/// How many records the log of a directory holds, and of which payments.
fn logged(folder: &Path) -> (usize, BTreeSet<i64>) {
    let log = Log::open(folder, Options::LOG).unwrap();
    let records = log.read("payments", 0, usize::MAX, usize::MAX).unwrap();
    let id = |payload: &[u8]| {
        let event: Value = serde_json::from_slice(payload).unwrap();
        event["id"].as_i64().unwrap()
    };
    let payments = records.iter().map(|record| id(&record.payload)).collect();
    (records.len(), payments)
}

/// Asks for rows that were pushed and for rows behind them all, and holds every value against the
/// training set over the payments `0..end`. Returns how many rows.
async fn rows_are_trained(client: &Client, end: i64) -> usize {
    let catalog = catalog();
    let old: Vec<i64> = (0..end).step_by(1 + end as usize / ASKED_ROWS).collect();
    // Old instants lie before what bins and lifetimes have sealed, which is UNKNOWN and no number.
    let exact = ["id", "n_hour", "total_hour", "merchants_hour", "spread_hour", "last_amount"];
    compare(client, &catalog, end, &old, Some(&exact)).await;
    let new: Vec<i64> = (end + 50..end + 50 + ASKED_ROWS as i64).collect();
    compare(client, &catalog, end, &new, None).await;
    old.len() + new.len()
}

async fn compare(
    client: &Client,
    catalog: &Catalog,
    end: i64,
    ids: &[i64],
    columns: Option<&[&str]>,
) {
    let rows: Vec<Value> = ids.iter().map(|&id| Payment::of(id).json()).collect();
    let body = json!({ "rows": rows, "columns": columns, "deadline_ms": 10_000 });
    let (status, reply) = post(client, "/v1/features/risk", body).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{reply}");
    let asked: Vec<RecordBatch> = ids.iter().map(|&id| batch(catalog, id..id + 1)).collect();
    let asked = concat_batches(&asked[0].schema(), &asked).unwrap();
    let history = batch(catalog, 0..end);
    let trained = train(catalog.definitions(), "risk", history, Some(asked));
    assert_eq!(trained.num_rows(), ids.len());
    for (row, id) in ids.iter().enumerate() {
        let served = reply["rows"][row]["features"].as_object().unwrap();
        for (name, value) in served {
            let mut text = Vec::new();
            trueup::json::value(&mut text, trained.column_by_name(name).unwrap().as_ref(), row);
            let expected: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(*value, expected, "{name} of payment {id}, after {end}");
        }
    }
}

fn batch(catalog: &Catalog, ids: Range<i64>) -> RecordBatch {
    let rows: Vec<String> = ids.map(|id| Payment::of(id).json().to_string()).collect();
    let rows: Vec<&[u8]> = rows.iter().map(|row| row.as_bytes()).collect();
    let decoded = catalog.streams()[0].decoder.json_rows(&rows).unwrap();
    assert!(decoded.bad.is_empty());
    decoded.batch
}
