//! The pipeline on real parts: events through a broker, state in Redis, workers and servers in
//! processes of their own. Whatever is killed, stopped, flushed or taken over meanwhile, in the end
//! every key holds what a plain count says.
//!
//! `TRUEUP_CHAOS_ROUNDS` says how many faults each of the tests of faults makes; without it a few.

use crate::broker::{Broker, SINGLY, fresh};
use crate::pay::{self, CARDS, MERCHANTS};
use crate::watch::{Watcher, whole_log};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup::client::{Client, ClientOptions};
use trueup_core::testing::Dice;
use trueup_sql::decode::print::Timestamp;
use trueup_store::RedisStore;
use trueup_store::testing::servers::{Cluster, RedisServer, Sentinels, Setup};

/// Faults of each test where nothing is said.
const ROUNDS: usize = 4;

/// Payments that are pushed between two faults.
pub(crate) const BETWEEN: i64 = 400;

/// Payments of one call.
const CALL: i64 = 100;

/// How long the pipeline may take to be whole again: a worker that was killed is given up after 6 s
/// of silence, and the next one joins within some more.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);

/// Partitions of the topic.
const PARTITIONS: u32 = 4;

pub(crate) fn rounds() -> usize {
    let said = std::env::var("TRUEUP_CHAOS_ROUNDS").ok();
    said.map_or(ROUNDS, |said| said.parse().expect("TRUEUP_CHAOS_ROUNDS is a number"))
}

/// A process of the command, killed when it is dropped.
pub(crate) struct Running(Child);

impl Running {
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
    client: Client,
    /// Payments that were pushed.
    pushed: i64,
}

impl Pipeline {
    /// Workers and a server on the store at a URL.
    fn start(store: &str, workers: usize) -> Pipeline {
        Pipeline::with(store, workers, PARTITIONS, "1d")
    }

    /// The same with a reader that asks all the while, and a bound on staleness that it may meet.
    fn watched(store: &str, workers: usize, seed: u64) -> Pipeline {
        let mut pipeline = Pipeline::with(store, workers, 2, "2s");
        pipeline.watcher = Some(Watcher::start(pipeline.base_url.clone(), seed));
        pipeline
    }

    fn with(store: &str, workers: usize, partitions: u32, max_staleness: &str) -> Pipeline {
        let broker = Broker::start();
        let (topic, group) = (fresh("payments"), fresh("group"));
        tokio::task::block_in_place(|| broker.make_topic(&topic, partitions));
        let lines = format!(
            "store = '{store}'\nsource = 'kafka://{}/{topic}?group={group}'\n\
             max_staleness = '{max_staleness}'\n[kafka]\n'{}' = '{}'\n\
             'session.timeout.ms' = '6000'\n'heartbeat.interval.ms' = '200'\n\
             'fetch.wait.max.ms' = '5'\n",
            broker.address(),
            SINGLY.0,
            SINGLY.1,
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
        let client = Client::new(&client).unwrap();
        let (kafka, watcher, pushed) = (None, None, 0);
        Pipeline { kafka, base_url, watcher, folder, workers, server, client, pushed }
    }

    /// Pushes payments until so many more are acknowledged by the broker.
    pub(crate) async fn push(&mut self, more: i64) {
        let end = self.pushed + more;
        while self.pushed < end {
            let next = (self.pushed + CALL).min(end);
            self.watcher.iter().for_each(|watcher| watcher.sending(next));
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

    /// Waits until everything that was pushed is vouched for in every key's answer, and compares
    /// every key with a plain count.
    pub(crate) async fn assert_whole(&mut self) {
        let pushed_at = now_us();
        let until = Instant::now() + WHOLE_WITHIN;
        while !self.is_vouched_for(pushed_at).await {
            assert!(Instant::now() < until, "not whole in time; {}", self.story().await);
            assert!(self.workers.iter_mut().all(|worker| worker.0.try_wait().unwrap().is_none()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(pay::counts_are_right(&self.client, self.pushed).await, "the server answers");
    }

    /// Ends the reader and holds what it saw against the log.
    async fn assert_reader_saw_no_hole(&mut self) {
        let seen = self.watcher.take().expect("there is a reader").stop().await;
        let (broker, topic) = self.kafka.as_ref().expect("the log is Kafka's");
        let settings = broker.settings(topic, &fresh("reader"));
        let log = tokio::task::block_in_place(|| whole_log(settings));
        seen.assert_right(&log);
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
        let body = json!({ "keys": [{ "card": 1 }], "columns": ["n_month"], "explain": true });
        let reply = pay::post(&self.client, "/v1/features/risk", body).await;
        story + &format!("\n== reply\n{:?}", reply.map(|(_, reply)| reply.to_string()))
    }

    async fn is_vouched_for(&self, since_us: i64) -> bool {
        let since = Timestamp(since_us).to_string();
        for (key, keys) in [("card", CARDS), ("merchant", MERCHANTS)] {
            let each: Vec<Value> = (0..keys).map(|number| json!({ key: number })).collect();
            let column = if key == "card" { "n_month" } else { "n_merchant" };
            let body = json!({ "keys": each, "columns": [column], "deadline_ms": 10_000 });
            let (_, reply) = pay::post(&self.client, "/v1/features/risk", body).await.unwrap();
            let rows = reply["rows"].as_array().unwrap();
            let fresh = |row: &Value| {
                row["as_of"][key].as_str().is_some_and(|as_of| as_of >= since.as_str())
            };
            if !rows.iter().all(fresh) {
                return false;
            }
        }
        true
    }
}

fn now_us() -> i64 {
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
    std::thread::spawn(move || lines.for_each(drop));
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
    (pipeline.server, pipeline.client) = (server, Client::new(&client).unwrap());
    pipeline.assert_whole().await;
}

/// Rows 1 to 4, and 37: workers die at any point of what they do, and others take over.
async fn workers_are_killed(count: usize, seed: u64) {
    let redis = RedisServer::plain();
    let mut pipeline = Pipeline::start(&redis.url(), count);
    let mut dice = Dice::new(seed);
    pipeline.begin().await;
    for _ in 0..rounds() {
        pipeline.push(dice.below(BETWEEN as u64) as i64 + 1).await;
        tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
        pipeline.replace(dice.below(count as u64) as usize);
        pipeline.push(BETWEEN).await;
    }
    pipeline.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_that_is_killed_over_and_over_loses_and_doubles_nothing() {
    workers_are_killed(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_of_which_one_is_killed_over_and_over_lose_and_double_nothing() {
    workers_are_killed(2, 2).await;
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

/// Row 10: the primary dies with writes that no replica had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_sentinel_that_lose_writes_lose_no_event() {
    let mut servers = Sentinels::start(&Setup::default(), 2);
    let mut pipeline = Pipeline::start(&servers.url(), 2);
    pipeline.begin().await;
    for round in 0..rounds().min(20) {
        pipeline.push(BETWEEN).await;
        let old = servers.primary();
        // Alternately it dies, and comes back as one that still takes itself for the primary.
        if round % 2 == 0 {
            servers.servers[old].kill();
            servers.wait_for_another_than(old);
            servers.servers[old].restart();
        } else {
            servers.servers[old].freeze();
            servers.wait_for_another_than(old);
            servers.servers[old].thaw();
        }
        pipeline.push(BETWEEN).await;
        pipeline.assert_whole().await;
    }
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
    for round in 0..rounds() {
        pipeline.push(BETWEEN).await;
        if round % 2 == 0 {
            pipeline.workers.push(worker(pipeline.folder.path(), 2));
        } else if let Some(mut leaving) = pipeline.workers.pop() {
            leaving.signal("-TERM");
            assert!(leaving.0.wait().unwrap().success(), "it drains and ends with 0");
        }
        pipeline.push(BETWEEN).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    pipeline.assert_whole().await;
}

/// Row 11: a replica takes a primary's place, asked or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_a_cluster_lose_and_double_nothing() {
    let cluster = Cluster::start(&Setup::default());
    let mut pipeline = Pipeline::start(&cluster.url(), 2);
    pipeline.begin().await;
    for round in 0..rounds() {
        pipeline.push(BETWEEN).await;
        let how = ["CLUSTER FAILOVER FORCE", "CLUSTER FAILOVER TAKEOVER"][round % 2];
        let is_replica = |node: &&RedisServer| node.text("INFO replication").contains("role:slave");
        let replica = cluster.nodes.iter().find(is_replica);
        replica.expect("there are replicas").command(how);
        pipeline.push(BETWEEN).await;
        pipeline.assert_whole().await;
    }
}

/// While workers die, Redis fails over and is flushed, no plain answer is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_no_wrong_plain_answer_while_everything_fails() {
    let mut servers = Sentinels::start(&Setup::default(), 2);
    let mut pipeline = Pipeline::watched(&servers.url(), 2, 7);
    let mut dice = Dice::new(7);
    pipeline.begin().await;
    for round in 0..rounds() {
        pipeline.push(BETWEEN).await;
        match round % 3 {
            0 => {
                let old = servers.primary();
                servers.servers[old].kill();
                servers.wait_for_another_than(old);
                servers.servers[old].restart();
            }
            1 => pipeline.replace(dice.below(2) as usize),
            _ => drop(servers.servers[servers.primary()].command("FLUSHALL")),
        }
        pipeline.push(BETWEEN).await;
        pipeline.assert_whole().await;
    }
    pipeline.assert_reader_saw_no_hole().await;
}
