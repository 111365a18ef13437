//! The pipeline on real parts: events through a broker, state in Redis, workers and servers in
//! processes of their own. Whatever is killed, stopped, flushed or taken over meanwhile, in the end
//! every key holds what a plain count says.
//!
//! `TRUEUP_CHAOS_ROUNDS` says how many faults each of the tests of faults makes; without it a few.

use crate::broker::{Broker, PATIENT, SINGLY, fresh};
use crate::failover::{self, Failover, Lost};
use crate::objects::Objects;
use crate::pay;
use crate::watch::{Log, MAX_STALENESS, Watcher, readable};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup::client::{Client, ClientOptions};
use trueup::ingest::source::KafkaSettings;
use trueup_core::testing::Dice;
use trueup_sql::decode::print::Timestamp;
use trueup_store::RedisStore;
use trueup_store::testing::servers::{Cluster, RedisServer, Sentinels, Setup};

/// Faults of each test where nothing is said.
const ROUNDS: usize = 2;

/// Payments that are pushed between two faults.
pub(crate) const BETWEEN: i64 = 400;

/// Payments of one call.
const CALL: i64 = 100;

/// Milliseconds between two calls of a load, unless `TRUEUP_CHAOS_PACE_MS` says otherwise.
const PACE_MS: u64 = 100;

/// How long the pipeline may take to be whole again: a worker that was killed is given up after 6 s
/// of silence, and the next one joins within some more.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);

/// How long a share of partitions lasts where workers come and go.
const SHARE_EVERY: Duration = Duration::from_secs(8);

/// How long a member of the group may take no record before it is given up.
const SILENT_FOR: Duration = Duration::from_secs(15);

/// Partitions of the topic.
const PARTITIONS: u32 = 4;

pub(crate) fn rounds() -> usize {
    let said = std::env::var("TRUEUP_CHAOS_ROUNDS").ok();
    said.map_or(ROUNDS, |said| said.parse().expect("TRUEUP_CHAOS_ROUNDS is a number"))
}

/// A process of the command, killed when it is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn new(process: Child) -> Running {
        Running(process)
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }

    /// Sends a signal such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Settings and what runs on them, with a broker where the tests are of Kafka.
pub(crate) struct Pipeline {
    kafka: Option<(Broker, String)>,
    base_url: String,
    watcher: Option<Watcher>,
    folder: TempDir,
    pub(crate) workers: Vec<Running>,
    server: Running,
    client: Arc<Client>,
    /// Payments that were pushed.
    pub(crate) pushed: i64,
    /// Payments below this number may be in the log.
    sent: Arc<AtomicI64>,
}

/// Payments that are pushed, call after call, while something else happens.
struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<i64>,
}

impl Pipeline {
    /// Workers and a server on the store at a URL.
    pub(crate) fn start(store: &str, workers: usize) -> Pipeline {
        Pipeline::with(store, workers, PARTITIONS, "1d")
    }

    /// The same with a reader that asks all the while, and a bound on staleness that it may meet.
    pub(crate) fn watched(store: &str, workers: usize, seed: u64) -> Pipeline {
        Pipeline::with(store, workers, 2, &bound()).and_reader(seed)
    }

    fn and_reader(mut self, seed: u64) -> Pipeline {
        self.watcher = Some(Watcher::start(&self.base_url, seed, &self.sent));
        self
    }

    /// The same with so many partitions of the topic, and a bound on staleness.
    pub(crate) fn with(
        store: &str,
        workers: usize,
        partitions: u32,
        max_staleness: &str,
    ) -> Pipeline {
        let broker = Broker::start();
        Pipeline::through(broker, store, workers, partitions, max_staleness)
    }

    /// The same through this broker.
    fn through(
        broker: Broker,
        store: &str,
        workers: usize,
        partitions: u32,
        max_staleness: &str,
    ) -> Pipeline {
        let (topic, group) = (fresh("payments"), fresh("group"));
        tokio::task::block_in_place(|| broker.make_topic(&topic, partitions));
        // librdkafka waits as long for the answer to a join as a reader may be silent.
        let lines = format!(
            "store = '{store}'\nsource = 'kafka://{}/{topic}?group={group}'\n\
             max_staleness = '{max_staleness}'\n[kafka]\n'{}' = '{}'\n'{}' = '{}'\n\
             'session.timeout.ms' = '6000'\n'heartbeat.interval.ms' = '200'\n\
             'max.poll.interval.ms' = '{}'\n\
             'max.in.flight.requests.per.connection' = '1'\n",
            broker.address(),
            PATIENT.0,
            PATIENT.1,
            SINGLY.0,
            SINGLY.1,
            SILENT_FOR.as_millis(),
        );
        Pipeline { kafka: Some((broker, topic)), ..Pipeline::on(&lines, workers) }
    }

    /// Workers and a server on a store and a source, which these lines of settings name.
    pub(crate) fn on(lines: &str, workers: usize) -> Pipeline {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!("definitions = 'pay.sql'\nlisten = '127.0.0.1:0'\n{lines}");
        std::fs::write(folder.path().join("trueup.toml"), settings).unwrap();
        std::fs::write(folder.path().join("pay.sql"), include_str!("pay.sql")).unwrap();
        let workers = (0..workers).map(|number| worker(folder.path(), number)).collect();
        let (server, base_url) = server(folder.path());
        let timeout = Duration::from_secs(30);
        let client = ClientOptions { base_url: base_url.clone(), timeout, ..Default::default() };
        let client = Arc::new(Client::new(&client).unwrap());
        let (kafka, watcher, pushed, sent) = (None, None, 0, Arc::default());
        Pipeline { kafka, base_url, watcher, folder, workers, server, client, pushed, sent }
    }

    /// Does something while payments are pushed, and returns when all that were sent are
    /// acknowledged by the broker.
    pub(crate) async fn under_load<T>(&mut self, what: impl FnOnce(&mut Pipeline) -> T) -> T {
        let load = self.load();
        let done = what(self);
        load.stop.store(true, Ordering::SeqCst);
        self.pushed = load.task.await.expect("the broker takes payments");
        done
    }

    fn load(&self) -> Load {
        let (client, sent) = (Arc::clone(&self.client), Arc::clone(&self.sent));
        let (stop, mut next) = (Arc::new(AtomicBool::new(false)), self.pushed);
        let stopped = Arc::clone(&stop);
        let said = std::env::var("TRUEUP_CHAOS_PACE_MS").ok();
        let pace_ms = said.map_or(PACE_MS, |said| said.parse().expect("it is a number"));
        let pace = Duration::from_millis(pace_ms);
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let end = next + CALL;
                sent.store(end, Ordering::SeqCst);
                let until = Instant::now() + WHOLE_WITHIN;
                while !pay::is_taken(&client, next..end).await {
                    assert!(Instant::now() < until, "the broker takes nothing");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                next = end;
                tokio::time::sleep(pace).await;
            }
            next
        });
        Load { stop, task }
    }

    /// Pushes payments until so many more are acknowledged by the broker.
    pub(crate) async fn push(&mut self, more: i64) {
        let end = self.pushed + more;
        while self.pushed < end {
            let next = (self.pushed + CALL).min(end);
            self.sent.store(next, Ordering::SeqCst);
            assert!(pay::push(&self.client, self.pushed..next, false).await, "the broker has them");
            self.pushed = next;
        }
    }

    /// Waits until everybody is at work: a worker does not start on a store that it cannot reach.
    pub(crate) async fn begin(&mut self) {
        self.push(BETWEEN).await;
        self.assert_whole().await;
    }

    /// Kills a worker and starts another in its place.
    pub(crate) fn replace(&mut self, number: usize) {
        self.workers[number].kill();
        self.workers[number] = worker(self.folder.path(), number);
    }

    /// Where the settings are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same, and waits until the other one is at work: one that is to start on a store that
    /// does not answer ends, and whoever watches over it starts it again.
    pub(crate) fn replace_and_wait(&mut self, number: usize) {
        let starts = self.starts(number);
        self.replace(number);
        self.wait_for_start(number, starts);
    }

    /// Starts one more worker, and waits until it is at work.
    pub(crate) fn hire(&mut self) {
        let number = self.workers.len();
        let starts = self.starts(number);
        self.workers.push(worker(self.folder.path(), number));
        self.wait_for_start(number, starts);
    }

    /// How often workers of this number have begun to apply.
    fn starts(&self, number: usize) -> usize {
        let log = self.folder.path().join(format!("worker-{number}.log"));
        // There is none before the first.
        let said = std::fs::read_to_string(log).unwrap_or_default();
        said.matches("applying events until told to stop").count()
    }

    fn wait_for_start(&self, number: usize, before: usize) {
        let until = Instant::now() + WHOLE_WITHIN;
        while self.starts(number) == before {
            assert!(Instant::now() < until, "worker {number} does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets the newest worker drain and end.
    pub(crate) fn dismiss(&mut self) {
        let mut leaving = self.workers.pop().expect("there is one");
        leaving.signal("-TERM");
        let ended = leaving.0.wait().unwrap();
        let log = self.folder.path().join(format!("worker-{}.log", self.workers.len()));
        let said = || std::fs::read_to_string(&log).unwrap();
        assert!(ended.success(), "it drains and ends with 0, not {ended}: {}", said());
    }

    /// SIGKILL for the last worker, in whose place none comes.
    fn kill_last(&mut self) {
        self.workers.pop().expect("there is one").kill();
    }

    /// How often workers went back to their checkpoints.
    pub(crate) fn rewinds(&self) -> usize {
        self.said_by_workers().matches("begins again from the checkpoints").count()
    }

    /// What all workers there were have logged.
    fn said_by_workers(&self) -> String {
        let log = |number| self.folder.path().join(format!("worker-{number}.log"));
        (0..).map_while(|number| std::fs::read_to_string(log(number)).ok()).collect()
    }

    /// Waits until everything that was pushed is vouched for in every key's answer, and compares
    /// these answers with a plain count: those of a moment later may come from another server.
    pub(crate) async fn assert_whole(&mut self) {
        let (pushed, since_us) = (self.pushed, now_us());
        self.wait_until(async |it| pay::counts_are_whole(it, pushed, since_us).await).await;
    }

    /// Waits until everything that was pushed is vouched for in every key's answer.
    pub(crate) async fn assert_vouched_for(&mut self) {
        let since_us = now_us();
        self.wait_until(async |it| pay::are_vouched_for(it, since_us).await).await;
    }

    /// Waits while all workers work.
    async fn wait_until(&mut self, is_so: impl AsyncFn(&Client) -> bool) {
        let until = Instant::now() + WHOLE_WITHIN;
        while !is_so(&self.client).await {
            assert!(Instant::now() < until, "not whole in time; {}", self.story().await);
            let running = self.workers.iter_mut().all(|it| it.0.try_wait().unwrap().is_none());
            assert!(running, "a worker has ended; {}", self.story().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the reader and holds what it saw against the log.
    pub(crate) async fn assert_reader_saw_no_hole(&mut self) -> String {
        let seen = self.watcher.take().expect("there is a reader").stop().await;
        let settings = self.reader();
        tokio::task::block_in_place(|| seen.assert_right(&Log::whole(settings)))
    }

    /// The broker of a pipeline on Kafka.
    pub(crate) fn broker(&self) -> &Broker {
        &self.kafka.as_ref().expect("the log is Kafka's").0
    }

    /// How to read the topic whole, in a group of its own.
    fn reader(&self) -> KafkaSettings {
        let (broker, topic) = self.kafka.as_ref().expect("the log is Kafka's");
        broker.settings_with(topic, &fresh("reader"), &[PATIENT])
    }

    /// What the processes said, and what the server says now.
    async fn story(&self) -> String {
        let mut story = String::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let said = std::fs::read_to_string(&path).unwrap();
                story += &format!("\n== {}\n{said}", path.display());
            }
        }
        if self.kafka.is_some() {
            let settings = self.reader();
            let log = tokio::task::block_in_place(|| readable(settings));
            story += &format!("\n== the log by itself\n{log}");
        }
        let body =
            json!({ "keys": [{ "card": 1 }], "columns": ["n_month"], "explain": "positions" });
        let reply = pay::post(&self.client, "/v1/features/risk", body).await;
        story + &format!("\n== reply\n{:?}", reply.map(|(_, reply)| reply.to_string()))
    }

    /// What the server says of a card.
    async fn answer(&self) -> Value {
        let at = Timestamp(pay::START_US + 20 * 86_400_000_000).to_string();
        let body = json!({ "keys": [{ "card": 1 }], "at": at, "columns": ["n_month"] });
        let (_, reply) = pay::post(&self.client, "/v1/features/risk", body).await.unwrap();
        reply["rows"][0].clone()
    }
}

/// How old a plain answer may be where a reader asks, as settings have it.
fn bound() -> String {
    format!("{}s", MAX_STALENESS.as_secs())
}

pub(crate) fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

fn command(folder: &Path, log: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let log = std::fs::File::options().create(true).append(true).open(folder.join(log)).unwrap();
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

fn worker(folder: &Path, number: usize) -> Running {
    let data = format!("data-{number}");
    let mut command = command(folder, &format!("worker-{number}.log"));
    // Which partitions it reads tells a worker that stands still from one that has nothing to do.
    command.env("TRUEUP_LOG", "info");
    Running(command.args(["ingest", "--data", &data]).spawn().unwrap())
}

/// A server that applies nothing itself, and where it listens.
fn server(folder: &Path) -> (Running, String) {
    let mut command = command(folder, "server.log");
    let mut process = command.arg("serve").stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(process.stderr.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    let found = lines.find_map(|line| Some(line.split_once("listening on ")?.1.to_string()));
    let base_url = found.expect("it listens");
    // Whoever reads no more would make it wait for room.
    let mut log = std::fs::File::options().append(true).open(folder.join("server.log")).unwrap();
    std::thread::spawn(move || lines.for_each(|line| writeln!(log, "{line}").unwrap()));
    (Running(process), base_url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_broker_are_served_from_redis_by_another_process() {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), 1);
    pipeline.push(1_000).await;
    pipeline.assert_whole().await;
    // A server that applies nothing itself is ready when the state is fresh.
    let ready = pipeline.client.request(Method::GET, "/readyz?verbose", None, Bytes::new());
    let ready = ready.await.unwrap();
    assert_eq!(ready.status, StatusCode::OK, "{}", String::from_utf8_lossy(&ready.body));
    // A server that starts later knows everything too.
    let (server, base_url) = server(pipeline.folder.path());
    let client = ClientOptions { base_url, ..ClientOptions::default() };
    (pipeline.server, pipeline.client) = (server, Arc::new(Client::new(&client).unwrap()));
    pipeline.assert_whole().await;
}

/// Rows 1 to 4, and 37: workers die at any point of what they do, and others take over.
async fn workers_are_killed(count: usize, seed: u64) {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), count);
    let mut dice = Dice::new(seed);
    pipeline.begin().await;
    for _ in 0..rounds() {
        let (pause, victim) = (dice.below(600), dice.below(count as u64) as usize);
        let strike = |pipeline: &mut Pipeline| {
            std::thread::sleep(Duration::from_millis(pause));
            pipeline.replace(victim);
        };
        pipeline.under_load(strike).await;
        // The next kill meets workers that are at work again.
        pipeline.assert_vouched_for().await;
    }
    pipeline.assert_whole().await;
    println!(
        "{} kills of {count} workers, {} payments: none lost, none doubled",
        rounds(),
        pipeline.pushed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_that_is_killed_over_and_over_loses_and_doubles_nothing() {
    workers_are_killed(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_of_which_one_is_killed_over_and_over_lose_and_double_nothing() {
    workers_are_killed(2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_of_which_one_is_killed_over_and_over_lose_and_double_nothing() {
    workers_are_killed(4, 4).await;
}

/// The broker dies while it is written and read; what it acknowledged is in its objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_broker_that_is_killed_and_started_again_under_load_loses_and_doubles_nothing() {
    let redis = RedisServer::plain();
    let objects = Objects::start();
    let broker = Broker::start_kept(objects.environment());
    let mut pipeline = Pipeline::through(broker, &redis.url(), 2, 2, &bound()).and_reader(23);
    let mut dice = Dice::new(23);
    pipeline.begin().await;
    for _ in 0..rounds() {
        let [before, away, after] = [dice.below(600), dice.below(1_500), 300];
        let die = |pipeline: &mut Pipeline| {
            let (broker, _) = pipeline.kafka.as_mut().unwrap();
            std::thread::sleep(Duration::from_millis(before));
            broker.kill();
            std::thread::sleep(Duration::from_millis(away));
            broker.restart();
            std::thread::sleep(Duration::from_millis(after));
        };
        pipeline.under_load(die).await;
        pipeline.assert_vouched_for().await;
    }
    pipeline.assert_whole().await;
    let seen = pipeline.assert_reader_saw_no_hole().await;
    println!("{} deaths, {} payments: none lost, none doubled; {seen}", rounds(), pipeline.pushed);
}

/// Row 38: a worker that was given up and comes back writes what others have written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_slept_past_its_session_loses_and_doubles_nothing() {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), 2);
    pipeline.push(BETWEEN).await;
    pipeline.assert_whole().await;
    pipeline.workers[0].signal("-STOP");
    pipeline.push(BETWEEN).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    pipeline.push(BETWEEN).await;
    pipeline.workers[0].signal("-CONT");
    pipeline.push(BETWEEN).await;
    pipeline.assert_whole().await;
}

/// Row 7: Redis loses everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_flushed_under_load_is_filled_again_from_the_log() {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), 2);
    pipeline.begin().await;
    for _ in 0..rounds() {
        pipeline.push(BETWEEN).await;
        redis.command("FLUSHALL");
        pipeline.push(BETWEEN).await;
    }
    pipeline.assert_whole().await;
}

/// Row 8: Redis comes back as it was some time ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_with_an_older_dump_is_caught_up() {
    let mut redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), 1);
    pipeline.begin().await;
    for _ in 0..rounds() {
        pipeline.push(BETWEEN).await;
        redis.command("SAVE");
        pipeline.push(BETWEEN).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.kill();
        redis.restart();
        pipeline.push(BETWEEN).await;
    }
    pipeline.assert_whole().await;
}

/// Row 10: the primary dies, or sleeps, with writes that no replica had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_sentinel_that_lose_writes_lose_no_event() {
    let mut servers = Sentinels::start(&Setup::default(), 2);
    let mut pipeline = Pipeline::start(&servers.url(), 2);
    pipeline.begin().await;
    let mut lost = Lost::default();
    for round in 0..rounds().min(20) {
        // Alternately it dies, and comes back as one that still takes itself for the primary.
        let how = [Failover::Kill, Failover::Freeze][round % 2];
        lost.add(pipeline.under_load(|_| failover::of_sentinels(&mut servers, how)).await);
        pipeline.assert_whole().await;
    }
    println!("{lost}; {} payments: none lost, none doubled", pipeline.pushed);
    assert!(lost.bytes > 0, "writes were lost: {lost}");
}

/// Row 12: slots move while they are written and read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_lose_and_double_nothing() {
    let cluster = Cluster::start(&Setup::default());
    let mut pipeline = Pipeline::start(&cluster.url(), 2);
    pipeline.begin().await;
    let mut dice = Dice::new(12);
    for _ in 0..rounds() {
        pipeline.push(BETWEEN).await;
        for _ in 0..4 {
            let slot = RedisStore::slot(dice.below(64) as usize);
            let from = cluster.owner(slot);
            let others: Vec<usize> = (0..3)
                .map(|bucket| RedisStore::slot(bucket * 20))
                .map(|slot| cluster.owner(slot))
                .filter(|&owner| owner != from)
                .collect();
            let Some(&to) = others.first() else { continue };
            tokio::task::block_in_place(|| cluster.move_slot(slot, from, to));
            pipeline.push(CALL).await;
            // A move is seen within a second; the next one comes after that.
            tokio::time::sleep(Duration::from_millis(1_200)).await;
        }
    }
    pipeline.assert_whole().await;
}

/// Row 9: the append-only file ends in the middle of what was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_append_only_file_was_cut_is_caught_up() {
    let durable =
        ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--aof-load-truncated", "yes"];
    let mut redis = RedisServer::start(Setup::with(&durable));
    let mut pipeline = Pipeline::start(&redis.url(), 1);
    pipeline.begin().await;
    let mut dice = Dice::new(9);
    for _ in 0..rounds() {
        pipeline.push(BETWEEN).await;
        redis.kill();
        let file = redis.newest_aof();
        let whole = std::fs::read(&file).unwrap();
        let cut = dice.below(whole.len().min(200_000) as u64) as usize;
        std::fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        redis.restart();
        pipeline.push(BETWEEN).await;
        pipeline.assert_whole().await;
    }
}

/// Row 37: partitions change hands all the time, without anybody dying.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_and_go_lose_and_double_nothing() {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), 2);
    pipeline.begin().await;
    let share = |pipeline: &mut Pipeline| {
        for round in 0..rounds() {
            if round % 2 == 0 {
                pipeline.hire()
            } else {
                pipeline.dismiss()
            }
            std::thread::sleep(SHARE_EVERY);
        }
    };
    pipeline.under_load(share).await;
    pipeline.assert_whole().await;
    println!("{} rebalances, {} payments: none lost, none doubled", rounds(), pipeline.pushed);
}

/// Row 11: a replica takes a primary's place, asked or not, without the last writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_a_cluster_that_lose_writes_lose_no_event() {
    let mut cluster = Cluster::start(&Setup::default());
    let mut pipeline = Pipeline::start(&cluster.url(), 2);
    pipeline.begin().await;
    let (mut lost, mut dice) = (Lost::default(), Dice::new(11));
    for round in 0..rounds().max(Failover::ALL.len()) {
        let how = Failover::ALL[round % Failover::ALL.len()];
        let bucket = dice.below(64) as usize;
        lost.add(pipeline.under_load(|_| failover::of_cluster(&mut cluster, how, bucket)).await);
        pipeline.assert_whole().await;
    }
    println!("{lost}; {} payments: none lost, none doubled", pipeline.pushed);
    assert!(lost.bytes > 0, "writes were lost: {lost}");
}

/// A group gives up members that ask for nothing for long, and those that wait for the store have
/// nothing to ask for. They would join again later, but tansu 0.6 still takes one that left for the
/// leader if another died meanwhile, and gives partitions to nobody from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_for_longer_than_members_may_be_silent_costs_no_member_its_place() {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), 2);
    pipeline.hire();
    pipeline.begin().await;
    redis.freeze();
    pipeline.push(BETWEEN).await;
    pipeline.kill_last();
    tokio::time::sleep(SILENT_FOR + Duration::from_secs(5)).await;
    redis.thaw();
    pipeline.push(BETWEEN).await;
    pipeline.assert_whole().await;
    assert!(pipeline.rewinds() > 0);
    let said = pipeline.said_by_workers();
    assert!(!said.contains("PollExceeded"), "no member was given up: {said}");
}

/// Row 20: the log is out of reach. Answers that are not marked would say that nothing happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_out_of_reach_makes_answers_stale_until_it_is_caught_up() {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::with(&redis.url(), 1, 2, "2s");
    pipeline.begin().await;
    let before = pipeline.answer().await;
    assert_eq!(before["status"], "PRESENT");
    pipeline.broker().pause();
    let until = Instant::now() + WHOLE_WITHIN;
    let meanwhile = loop {
        let answer = pipeline.answer().await;
        if answer["status"] == "STALE" {
            break answer;
        }
        assert!(Instant::now() < until, "it is not marked: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(meanwhile["features"], before["features"]);
    pipeline.broker().resume();
    pipeline.push(BETWEEN).await;
    pipeline.assert_whole().await;
    assert_eq!(pipeline.answer().await["status"], "PRESENT");
}
