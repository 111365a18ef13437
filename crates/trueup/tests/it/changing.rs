//! A definition is changed under load, with workers and servers in processes of their own on Redis:
//! every answer belongs wholly to one of the two and is its plain count over what was sent up to
//! some moment, and none is worse off for the change.

use crate::pay::{self, CARDS, MERCHANTS, Payment};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup::client::{Client, ClientOptions};
use trueup_core::testing::Dice;
use trueup_sql::decode::print::{Decimal, Timestamp};
use trueup_sql::{SourceFile, compile};
use trueup_store::testing::servers::RedisServer;

/// Payments before anything is changed: some seconds of hydration on a busy machine.
const BEFORE: i64 = 6_000;

/// Payments of one call.
const CALL: i64 = 200;

/// Longer than anything here takes on a machine that does much else. A reader's lease, after it was
/// killed, takes 6 s of it.
const WITHIN: Duration = Duration::from_secs(60);

/// How soon every server is to know of a change, with as much again for a busy machine.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

const OLD: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT, merchant BIGINT, amount DECIMAL(12,2)
) WITH (event_time = 'at', lateness = '30 days');
CREATE VIEW risk AS
SELECT id, count(*) OVER month AS n, sum(amount) OVER month AS total FROM payments
WINDOW month AS (PARTITION BY card ORDER BY at
                 RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);";

const NEW: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT, merchant BIGINT, amount DECIMAL(12,2)
) WITH (event_time = 'at', lateness = '30 days');
CREATE VIEW risk AS
SELECT id, count(*) FILTER (WHERE amount >= 500) OVER month AS n,
  sum(amount) FILTER (WHERE amount >= 500) OVER month AS total,
  count(*) OVER shop AS n_shop FROM payments
WINDOW month AS (PARTITION BY card ORDER BY at
                 RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
       shop AS (PARTITION BY merchant ORDER BY date_bin(INTERVAL '1 minute', at)
                RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);";

/// The view's digest in some definitions: what a reply says that it is by.
fn digest(sql: &str) -> String {
    let file = SourceFile { name: "features.sql".into(), text: sql.into() };
    compile(&[file]).unwrap().view("risk").unwrap().digest.to_string()
}

/// What a version counts.
fn counts(is_new: bool, payment: &Payment) -> bool {
    !is_new || payment.cents >= 50_000
}

fn shown(cents: i64) -> String {
    Decimal { value: i128::from(cents), scale: 2 }.to_string()
}

/// A process of the command, killed when it is dropped.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Tells it to end and waits until it has.
    fn end(&mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.0.wait().unwrap().success(), "it ends with 0");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A reply as it was given.
struct Given {
    digest: String,
    card: i64,
    n: i64,
    total: Value,
    status: String,
    /// Payments that had been sent when it came.
    sent: i64,
}

/// Asks a server for random cards until told to stop.
async fn ask(client: Client, seed: u64, sent: Arc<AtomicI64>, stop: Arc<AtomicBool>) -> Vec<Given> {
    let mut dice = Dice::new(seed);
    let mut given = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let card = dice.below(CARDS as u64) as i64;
        let (status, reply) =
            pay::post(&client, "/v1/features/risk", card_body(card)).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{reply}");
        let row = &reply["rows"][0];
        given.push(Given {
            digest: reply["digest"].as_str().unwrap().to_string(),
            card,
            n: row["features"]["n"].as_i64().unwrap_or(-1),
            total: row["features"]["total"].clone(),
            status: row["status"].as_str().unwrap().to_string(),
            sent: sent.load(Ordering::SeqCst),
        });
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    given
}

fn card_body(card: i64) -> Value {
    let at = Timestamp(pay::START_US + 20 * 86_400_000_000).to_string();
    let (keys, columns) = (json!([{ "card": card }]), json!(["n", "total"]));
    json!({ "keys": keys, "at": at, "columns": columns, "deadline_ms": 10_000 })
}

/// Everything that runs.
struct Site {
    state: RedisServer,
    /// Has the log alone: what befalls the state must not befall it.
    _log: RedisServer,
    folder: TempDir,
    workers: Vec<Running>,
    servers: Vec<(Running, Client, String)>,
    sent: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    askers: Vec<tokio::task::JoinHandle<Vec<Given>>>,
}

impl Site {
    /// One worker and two servers with the old definitions, which have everything.
    async fn begin() -> Site {
        let (state, log) = (RedisServer::plain(), RedisServer::plain());
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "definitions = 'features.sql'\nstore = '{}'\nlisten = '127.0.0.1:0'\n\
             source = 'redis-stream://127.0.0.1:{}/payments'\nmax_staleness = '30s'\n",
            state.url(),
            log.port(),
        );
        std::fs::write(folder.path().join("trueup.toml"), settings).unwrap();
        std::fs::write(folder.path().join("features.sql"), OLD).unwrap();
        let mut site = Site {
            state,
            _log: log,
            folder,
            workers: Vec::new(),
            servers: Vec::new(),
            sent: Arc::default(),
            stop: Arc::default(),
            askers: Vec::new(),
        };
        site.start_worker(None);
        for number in 0..2 {
            let server = serve(site.folder.path(), number);
            site.servers.push(server);
        }
        site.push(BEFORE).await;
        site.both_answer(false, WITHIN).await;
        site
    }

    /// The files hold the new definitions from now on.
    fn change(&self) {
        std::fs::write(self.folder.path().join("features.sql"), NEW).unwrap();
    }

    fn start_worker(&mut self, crash: Option<&str>) {
        let number = self.workers.len();
        let mut command = command(self.folder.path(), &format!("worker-{number}.log"));
        command.args(["ingest", "--data", &format!("data-{number}")]);
        command.envs(crash.map(|place| ("TRUEUP_CRASH", place)));
        self.workers.push(Running(command.spawn().unwrap()));
    }

    async fn push(&self, more: i64) {
        let end = self.sent.load(Ordering::SeqCst) + more;
        while self.sent.load(Ordering::SeqCst) < end {
            let first = self.sent.load(Ordering::SeqCst);
            let next = (first + CALL).min(end);
            // Before it is sent: an answer may hold it before the call has come back.
            self.sent.store(next, Ordering::SeqCst);
            assert!(pay::push(&self.servers[0].1, first..next, false).await);
        }
    }

    /// Begins to ask both servers all the while.
    fn watch(&mut self) {
        for (number, (_, client, _)) in self.servers.iter().enumerate() {
            let (sent, stop) = (Arc::clone(&self.sent), Arc::clone(&self.stop));
            self.askers.push(tokio::spawn(ask(client.clone(), number as u64, sent, stop)));
        }
    }

    /// Ends the asking; how many replies were by the old definitions and by the new.
    async fn assert_all_right(&mut self) -> [usize; 2] {
        self.stop.store(true, Ordering::SeqCst);
        let names = [digest(OLD), digest(NEW)];
        let mut seen = [0, 0];
        for asker in std::mem::take(&mut self.askers) {
            // A server's answers about one card never go back within one version.
            let mut known: BTreeMap<(usize, i64), usize> = BTreeMap::new();
            for given in asker.await.unwrap() {
                let version = names.iter().position(|name| *name == given.digest).unwrap();
                seen[version] += 1;
                assert_ne!(given.status, "UNKNOWN", "because of the change");
                assert_ne!(given.status, "STALE", "because of the change");
                let states = states(version == 1, given.card, given.sent);
                let is_it = |(n, total): &(i64, Value)| (*n, total) == (given.n, &given.total);
                let from = known.get(&(version, given.card)).copied().unwrap_or(0);
                let found = states.iter().skip(from).position(is_it);
                let found = found.unwrap_or_else(|| {
                    let (n, total, card) = (given.n, given.total, given.card);
                    panic!("no moment at which card {card} had {n}, {total} in version {version}")
                });
                known.insert((version, given.card), from + found);
            }
        }
        seen
    }

    /// Waits until both servers answer by these definitions, with all that was sent.
    async fn both_answer(&self, is_new: bool, within: Duration) {
        let (name, sent) =
            (digest(if is_new { NEW } else { OLD }), self.sent.load(Ordering::SeqCst));
        let until = Instant::now() + within;
        for number in 0..self.servers.len() {
            for card in 0..CARDS {
                let whole = states(is_new, card, sent).pop().unwrap();
                loop {
                    let client = &self.servers[number].1;
                    let reply = pay::post(client, "/v1/features/risk", card_body(card)).await;
                    let reply = reply.unwrap().1;
                    let found = &reply["rows"][0]["features"];
                    if reply["digest"] == name && found["n"] == whole.0 && found["total"] == whole.1
                    {
                        break;
                    }
                    assert!(Instant::now() < until, "{reply}, not {whole:?}; {}", self.story());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// The feature that only the new definitions have, for every merchant.
    async fn shops_are_right(&self) {
        let sent = self.sent.load(Ordering::SeqCst);
        let at = Timestamp(pay::START_US + 20 * 86_400_000_000).to_string();
        let keys: Vec<Value> =
            (0..MERCHANTS).map(|merchant| json!({ "merchant": merchant })).collect();
        let body = json!({ "keys": keys, "at": at, "columns": ["n_shop"], "deadline_ms": 10_000 });
        for (_, client, _) in &self.servers {
            let (_, reply) = pay::post(client, "/v1/features/risk", body.clone()).await.unwrap();
            for merchant in 0..MERCHANTS {
                let plain = (0..sent).filter(|&id| Payment::of(id).merchant == merchant).count();
                assert_eq!(
                    reply["rows"][merchant as usize]["features"]["n_shop"], plain,
                    "{reply}"
                );
            }
        }
    }

    async fn told(&self, server: usize) -> Value {
        let client = &self.servers[server].1;
        let reply = client.request(Method::GET, "/v1/views", None, Bytes::new()).await.unwrap();
        let views: Value = serde_json::from_slice(&reply.body).unwrap();
        views["definitions"].clone()
    }

    /// `trueup rollback`, as a person in a hurry runs it.
    fn roll_back(&self) {
        let mut command = command(self.folder.path(), "rollback.log");
        let url = &self.servers[1].2;
        let done = command.args(["rollback", "--yes", "--url", url]).status().unwrap();
        assert!(done.success(), "{}", self.story());
    }

    /// What the processes said.
    fn story(&self) -> String {
        let mut story = String::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let said = std::fs::read_to_string(&path).unwrap();
                story += &format!("\n== {}\n{said}", path.display());
            }
        }
        story
    }
}

/// What a version counts for a card, after each of the payments that were sent.
fn states(is_new: bool, card: i64, sent: i64) -> Vec<(i64, Value)> {
    let (mut n, mut total) = (0, 0);
    let mut states = vec![(0, Value::Null)];
    for payment in (0..sent).map(Payment::of).filter(|payment| payment.card == card) {
        if counts(is_new, &payment) {
            n += 1;
            total += payment.cents;
            states.push((n, json!(shown(total))));
        }
    }
    states
}

fn command(folder: &Path, log: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let log = std::fs::File::options().create(true).append(true).open(folder.join(log)).unwrap();
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

/// A server that applies nothing itself, a client of it, and where it listens.
fn serve(folder: &Path, number: usize) -> (Running, Client, String) {
    let mut command = command(folder, &format!("server-{number}.log"));
    let mut process = command.arg("serve").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.find_map(|line| Some(line.split_once("listening on ")?.1.to_string()));
    let base_url = found.expect("it listens");
    // Whoever reads no more would make it wait for room.
    std::thread::spawn(move || lines.for_each(drop));
    let options =
        ClientOptions { base_url: base_url.clone(), timeout: WITHIN, ..Default::default() };
    (Running(process), Client::new(&options).unwrap(), base_url)
}

/// Row 56: a model that is fed half of a new definition, or nothing while it fills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_changed_under_load_answers_wholly_by_the_old_or_the_new() {
    let mut site = Site::begin().await;
    site.watch();
    site.change();
    site.start_worker(None);
    // A server that is started with the new files answers by the old ones as well.
    let late = serve(site.folder.path(), 2);
    let until = Instant::now() + WITHIN;
    while site.told(0).await["previous"].is_null() || site.told(1).await["previous"].is_null() {
        site.push(CALL).await;
        assert!(Instant::now() < until, "{} {}", site.told(0).await, site.story());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.workers[0].end();
    site.servers.push(late);
    site.push(1_000).await;
    site.both_answer(true, WITHIN).await;
    site.shops_are_right().await;
    let [by_old, by_new] = site.assert_all_right().await;
    assert!(by_old > 10 && by_new > 10, "{by_old} by the old, {by_new} by the new");

    site.push(CALL).await;
    site.roll_back();
    site.both_answer(false, KNOWN_WITHIN).await;
    println!("{by_old} answers by the old definitions, {by_new} by the new, each right");
}

/// A worker dies at any point of hydrating: what is half filled is never served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_while_it_hydrates_leaves_the_old_definitions_in_service() {
    let mut site = Site::begin().await;
    // Alone, so that nobody hydrates in its place.
    site.workers[0].end();
    site.watch();
    site.change();
    for times in [2, 3] {
        site.start_worker(Some(&format!("before-checkpoint:{times}")));
        let died = site.workers.last_mut().unwrap().0.wait().unwrap();
        assert!(!died.success(), "{}", site.story());
        assert_eq!(site.told(0).await["previous"], Value::Null, "{}", site.story());
    }
    let given = {
        site.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for asker in std::mem::take(&mut site.askers) {
            all.extend(asker.await.unwrap());
        }
        site.stop.store(false, Ordering::SeqCst);
        all
    };
    let old = digest(OLD);
    assert!(given.iter().all(|given| given.digest == old && given.status != "UNKNOWN"));
    site.start_worker(None);
    site.push(CALL).await;
    site.both_answer(true, WITHIN).await;
    site.shops_are_right().await;
    site.roll_back();
    site.both_answer(false, KNOWN_WITHIN).await;
}

/// Redis loses everything in the middle, the note of what is served too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_flushed_while_definitions_change_is_told_again_and_filled_again() {
    let mut site = Site::begin().await;
    site.change();
    site.start_worker(None);
    let until = Instant::now() + WITHIN;
    while site.told(0).await["candidate"].is_null() && site.told(0).await["previous"].is_null() {
        assert!(Instant::now() < until, "{}", site.story());
    }
    site.state.command("FLUSHALL");
    site.push(1_000).await;
    site.both_answer(true, WITHIN).await;
    site.shops_are_right().await;
    site.roll_back();
    site.both_answer(false, KNOWN_WITHIN).await;
}
