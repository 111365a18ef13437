//! State from a history, and a worker that takes over from there: the harm is an event of either
//! that is lost or counts twice, or a number that is vouched for before all are in.

use crate::child::catalog;
use crate::pay::{Payment, counts_are_right, counts_are_whole, post, push};
use crate::pipeline::now_us;
use hyper::StatusCode;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup::client::{Client, ClientOptions};
use trueup_core::testing::Dice;
use trueup_store::testing::servers::{RedisServer, Sentinels, Setup};
use trueup_store::{Log, Options};

/// How long a backfill may take that is disturbed.
const DONE_WITHIN: Duration = Duration::from_secs(120);

/// Part of what a history of 100,000 payments has Redis take in: enough to be in the middle of it.
const PART_BYTES: u64 = 500_000;

/// How long a worker may take until all keys are vouched for: it may have to join a group.
const VOUCHED_WITHIN: Duration = Duration::from_secs(60);

/// The signal of a fault on cue, as Unix numbers it.
pub(crate) const SIGABRT: i32 = 6;

/// A folder with definitions and settings for a store.
pub(crate) fn project(store: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "definitions = 'pay.sql'\nstore = '{store}'\nlisten = '127.0.0.1:0'\n\
         max_staleness = '1d'\n"
    );
    std::fs::write(folder.path().join("trueup.toml"), settings).unwrap();
    std::fs::write(folder.path().join("pay.sql"), include_str!("pay.sql")).unwrap();
    folder
}

pub(crate) fn trueup(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

pub(crate) fn backfill(folder: &Path, more: &[&str]) -> Output {
    let arguments = [&["backfill", "--history", "history"], more].concat();
    trueup(folder, &arguments).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    format!("{out}{err}")
}

#[track_caller]
pub(crate) fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

#[track_caller]
pub(crate) fn assert_refused(output: &Output, with: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    assert!(said(output).contains(with), "{with:?} is not in: {}", said(output));
}

/// Writes payments as a history of three files of three formats, in no order.
pub(crate) fn write_history(folder: &Path, ids: Range<i64>) {
    let mut ids: Vec<i64> = ids.collect();
    let mut dice = Dice::new(ids.len() as u64);
    for n in (1..ids.len()).rev() {
        ids.swap(n, dice.below(n as u64 + 1) as usize);
    }
    let rows: Vec<Value> = ids.iter().map(|&id| Payment::of(id).json()).collect();
    let history = folder.join("history");
    std::fs::create_dir_all(&history).unwrap();
    let (first, rest) = rows.split_at(rows.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let mut lines = File::create(history.join("a.jsonl")).unwrap();
    first.iter().for_each(|row| writeln!(lines, "{row}").unwrap());
    let mut csv = String::from("id,at,card,merchant,amount\n");
    for row in second {
        let text = |name: &str| row[name].to_string().replace('"', "");
        let fields = ["id", "at", "card", "merchant", "amount"].map(text);
        csv += &format!("{}\n", fields.join(","));
    }
    std::fs::write(history.join("b.csv"), csv).unwrap();
    let lines: Vec<String> = third.iter().map(Value::to_string).collect();
    let batch = catalog().streams()[0].decoder.json_rows(&lines).unwrap().batch;
    let file = File::create(history.join("c.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A process of the command, killed when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server in a process of its own.
pub(crate) struct Server {
    process: Process,
    pub(crate) client: Client,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Server {
        Server::of(folder, "run")
    }

    /// `trueup run`, or `trueup serve`.
    pub(crate) fn of(folder: &Path, command: &str) -> Server {
        Server::with(folder, &[command])
    }

    /// The same with flags.
    pub(crate) fn with(folder: &Path, arguments: &[&str]) -> Server {
        let mut process = trueup(folder, arguments);
        let mut process = process.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut heard = String::new();
        let base_url = lines.by_ref().map(Result::unwrap).find_map(|line| {
            heard += &format!("{line}\n");
            Some(line.split_once("listening on ")?.1.to_string())
        });
        let base_url = base_url.unwrap_or_else(|| panic!("it does not listen: {heard}"));
        // Whoever reads no more would make it wait for room.
        std::thread::spawn(move || lines.for_each(drop));
        let timeout = Duration::from_secs(30);
        let options = ClientOptions { base_url, timeout, ..ClientOptions::default() };
        Server { process: Process(process), client: Client::new(&options).unwrap() }
    }

    /// SIGTERM, so that it says its last word.
    pub(crate) fn stop(mut self) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.process.0.wait().unwrap().success());
    }
}

/// A worker takes over: after `from..to` were pushed, every key of exact windows, bins and
/// lifetimes holds what a plain count of all payments says.
pub(crate) async fn assert_taken_over(folder: &Path, from: i64, to: i64) {
    let server = Server::start(folder);
    assert_whole(&server.client, from).await;
    for first in (from..to).step_by(100) {
        assert!(push(&server.client, first..(first + 100).min(to), false).await);
    }
    assert_whole(&server.client, to).await;
    server.stop();
}

/// Waits until everything that was pushed before is vouched for in every key's answer, which is
/// then right.
async fn assert_whole(client: &Client, end: i64) {
    let (since_us, until) = (now_us(), Instant::now() + VOUCHED_WITHIN);
    while !counts_are_whole(client, end, since_us).await {
        assert!(Instant::now() < until, "not vouched for in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_over_from_a_history_in_several_files_and_loses_and_doubles_nothing() {
    let folder = project("embedded:data");
    write_history(folder.path(), 0..9_000);
    let output = backfill(folder.path(), &[]);
    assert_done(&output);
    for word in ["payments: 9000 rows of history", "for ever; the log takes over at 0:0"] {
        assert!(said(&output).contains(word), "{}", said(&output));
    }
    assert_taken_over(folder.path(), 9_000, 9_700).await;
}

/// What the log holds already is in the history too, so its first part must not be applied again.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_reaches_into_the_log_is_taken_over_where_it_ends() {
    for (up_to, rows) in [("end", 500), ("0:400", 400)] {
        let folder = project("embedded:data");
        let server = Server::start(folder.path());
        assert!(push(&server.client, 0..500, true).await);
        server.stop();
        write_history(folder.path(), 0..rows);
        let output = backfill(folder.path(), &["--up-to", up_to]);
        assert_refused(&output, "has a state already; --again drops");
        assert_done(&backfill(folder.path(), &["--up-to", up_to, "--again"]));
        assert_taken_over(folder.path(), 500, 800).await;
    }
}

/// The counts must not depend on where it dies: between the plan and the first row, in the middle,
/// and between the two last steps.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_dies_anywhere_and_is_begun_again_loses_and_doubles_nothing() {
    let folder = project("embedded:data");
    write_history(folder.path(), 0..60_000);
    let places = [
        "backfill-begun:0",
        "before-checkpoint:0",
        "before-checkpoint:1",
        "after-checkpoint:1",
        "compaction:0",
        "compaction:1",
        "after-checkpoint:2",
        "before-checkpoint:2",
        "backfill-ending:0",
        "backfill-ended:0",
    ];
    for again in [&[][..], &["--again"]] {
        for (nth, cue) in places.iter().enumerate() {
            // Only the first of a series drops what is there.
            let more = if nth == 0 { again } else { &[] };
            let arguments = [&["backfill", "--history", "history"], more].concat();
            let died = trueup(folder.path(), &arguments).env("TRUEUP_CRASH", cue).output().unwrap();
            assert_eq!(died.status.signal(), Some(SIGABRT), "{cue}: {}", said(&died));
        }
        let output = backfill(folder.path(), &[]);
        assert_done(&output);
        assert!(said(&output).contains("this history is in already"), "{}", said(&output));
    }
    assert_taken_over(folder.path(), 60_000, 60_300).await;
}

/// A worker would apply the log's beginning a second time over it, or vouch for the part.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_a_state_that_is_half_built_or_half_dropped() {
    let folder = project("embedded:data");
    write_history(folder.path(), 0..12_000);
    let die = |cue: &str, more: &[&str]| {
        let arguments = [&["backfill", "--history", "history"], more].concat();
        let died = trueup(folder.path(), &arguments).env("TRUEUP_CRASH", cue).output().unwrap();
        assert_eq!(died.status.signal(), Some(SIGABRT), "{cue}: {}", said(&died));
    };
    let refuses = || {
        let worker = trueup(folder.path(), &["ingest"]).output().unwrap();
        assert_refused(&worker, "is being built from history, or was left so half way");
        let worker = trueup(folder.path(), &["ingest", "--new-beginning"]).output().unwrap();
        assert_refused(&worker, "let `trueup backfill` come to its end");
    };
    for cue in ["backfill-begun:0", "after-checkpoint:2", "backfill-ending:0"] {
        die(cue, &[]);
        refuses();
    }
    assert_done(&backfill(folder.path(), &[]));
    die("backfill-dropping:0", &["--again"]);
    refuses();
    assert_refused(&backfill(folder.path(), &[]), "has a state already; --again drops");
    assert_done(&backfill(folder.path(), &["--again"]));
    die("backfill-begun:0", &["--again"]);
    let abandon = || trueup(folder.path(), &["backfill", "--abandon"]).output().unwrap();
    assert_done(&abandon());
    assert_refused(&abandon(), "no backfill of stream payments was broken off");
    assert_taken_over(folder.path(), 0, 300).await;
}

/// What the server says of definitions.
async fn definitions(server: &Server) -> Value {
    let reply = server.client.request(hyper::Method::GET, "/v1/views", None, Default::default());
    let views: Value = serde_json::from_slice(&reply.await.unwrap().body).unwrap();
    views["definitions"].clone()
}

/// A worker that took what is half built for what is left of an older state would drop hours of
/// reading, and one that went on with it would vouch for half a history.
#[tokio::test(flavor = "multi_thread")]
async fn changed_definitions_wait_for_the_backfill_of_their_groups_and_drop_nothing_of_it() {
    let folder = project("embedded:data");
    let server = Server::start(folder.path());
    assert!(push(&server.client, 0..500, true).await);
    server.stop();
    // Every group is another one.
    let changed = include_str!("pay.sql").replace("FROM payments", "FROM payments WHERE id >= 0");
    std::fs::write(folder.path().join("pay.sql"), changed).unwrap();
    write_history(folder.path(), 0..500);
    let begin = ["backfill", "--history", "history", "--up-to", "end"];
    let cue = ("TRUEUP_CRASH", "backfill-ending:0");
    let died = trueup(folder.path(), &begin).env(cue.0, cue.1).output().unwrap();
    assert_eq!(died.status.signal(), Some(SIGABRT), "{}", said(&died));

    let server = Server::start(folder.path());
    let until = Instant::now() + VOUCHED_WITHIN;
    let waits = |told: &Value| told["candidate"]["stuck"].to_string().contains("trueup backfill");
    while !waits(&definitions(&server).await) {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(push(&server.client, 500..600, true).await);
    assert!(counts_are_right(&server.client, 600).await, "what is in service goes on");
    server.stop();

    let output = backfill(folder.path(), &["--up-to", "end"]);
    assert_done(&output);
    assert!(said(&output).contains("goes on at"), "{}", said(&output));
    let server = Server::start(folder.path());
    while definitions(&server).await["candidate"] != Value::Null {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(counts_are_right(&server.client, 600).await, "the log took over where it was said to");
    server.stop();
}

#[test]
fn what_does_not_fit_a_broken_off_backfill_is_refused_with_the_remedy() {
    let folder = project("embedded:data");
    write_history(folder.path(), 0..12_000);
    let begin = ["backfill", "--history", "history", "--since", "2026-01-01T00:00:00Z"];
    let died = trueup(folder.path(), &begin).env("TRUEUP_CRASH", "after-checkpoint:2").output();
    assert_eq!(died.unwrap().status.signal(), Some(SIGABRT));
    let other = ["--since", "2025-01-01T00:00:00Z"];
    assert_refused(&backfill(folder.path(), &other), "has another --since; give what");
    let other = ["--up-to", "0:1"];
    assert_refused(&backfill(folder.path(), &other), "has another --up-to; give what");
    write_history(folder.path(), 0..12_001);
    assert_refused(&backfill(folder.path(), &[]), "was of another history");
    write_history(folder.path(), 0..12_000);
    let output = backfill(folder.path(), &[]);
    assert_done(&output);
    for word in ["goes on at row", "complete since 2026-01-01T00:00:00"] {
        assert!(said(&output).contains(word), "{}", said(&output));
    }
}

#[test]
fn places_that_the_log_does_not_have_are_refused_before_anything_is_written() {
    let folder = project("embedded:data");
    write_history(folder.path(), 0..10);
    let refused = [
        ("0:7", "the log is to take over at 7 of partition 0, which has 0 to 0"),
        ("1:0", "--up-to names partitions [1], and the log has [0]; name each"),
    ];
    for (up_to, with) in refused {
        assert_refused(&backfill(folder.path(), &["--up-to", up_to]), with);
    }
    for wrong in ["last", "0:1,0:2", "0"] {
        let output = backfill(folder.path(), &["--up-to", wrong]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
    let output = trueup(folder.path(), &["backfill"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let nowhere = ["backfill", "--history", "nowhere"];
    assert_refused(&trueup(folder.path(), &nowhere).output().unwrap(), "nowhere");
    let memory = ["--store", "memory:"];
    assert_refused(&backfill(folder.path(), &memory), "nothing would be left of it");
    assert_done(&backfill(folder.path(), &[]));
}

/// One bad row must not stop twenty million good ones, nor vanish.
#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_dead_letters_with_reason_and_place_and_the_rest_counts() {
    let folder = project("embedded:data");
    write_history(folder.path(), 0..900);
    let lines = [
        "{\"id\": 1000, \"at\": \"2026-03-02T00:00:00Z\", \"card\": \"x\"}",
        "no JSON",
        "{\"id\": 1001, \"at\": \"2999-01-01T00:00:00Z\", \"card\": 1}",
    ];
    std::fs::write(folder.path().join("history/d.jsonl"), lines.join("\n")).unwrap();
    let csv = "id,at,card\n1002,,1\n";
    std::fs::write(folder.path().join("history/e.csv"), csv).unwrap();
    for again in [&[][..], &["--again"]] {
        let output = backfill(folder.path(), &[again, &["--output", "json"]].concat());
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["rows"], &report["dead_letters"]), (&json!(904), &json!(4)));
        // Read again, the same rows have their letters already.
        let log = Log::open(&folder.path().join("data"), Options::LOG).unwrap();
        let letters = log.dead_letters("payments", None, 100).unwrap();
        let reasons: Vec<&str> = letters.iter().map(|(_, it)| it.reason.as_str()).collect();
        assert_eq!(letters.len(), 4, "{reasons:?}");
        let places =
            ["d.jsonl, line 1, column card", "d.jsonl, line 2", "e.csv, line 2, column at"];
        for place in places {
            assert!(reasons.iter().any(|reason| reason.contains(place)), "{place}: {reasons:?}");
        }
        let ahead = letters.iter().find(|(_, it)| it.reason.contains("ahead")).unwrap();
        assert!(ahead.1.reason.contains("d.jsonl, line 3"), "{}", ahead.1.reason);
        assert!(String::from_utf8_lossy(&ahead.1.bytes).contains("\"id\":1001"));
    }
    assert_taken_over(folder.path(), 900, 1_000).await;
}

/// A backfill at work on Redis, with what disturbs it.
struct Disturbed {
    folder: TempDir,
    process: Process,
    began: Instant,
}

impl Disturbed {
    fn start(folder: TempDir) -> Disturbed {
        let log = File::create(folder.path().join("backfill.log")).unwrap();
        let mut command = trueup(folder.path(), &["backfill", "--history", "history"]);
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Disturbed { folder, process: Process(process), began: Instant::now() }
    }

    /// Waits until it has written another part of its history to this server.
    fn write_on(&mut self, redis: &RedisServer) {
        let taken_in = || -> u64 {
            let told = redis.text("INFO stats");
            let bytes = told.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
            bytes.unwrap().parse().unwrap()
        };
        let before = taken_in();
        while taken_in() < before + PART_BYTES {
            let is_at_work = self.process.0.try_wait().unwrap().is_none();
            assert!(is_at_work, "it was done before it was disturbed");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL, and the same command again.
    fn kill(self) -> Disturbed {
        drop(self.process);
        Disturbed::start(self.folder)
    }

    fn finish(mut self) -> TempDir {
        loop {
            let ended = self.process.0.try_wait().unwrap();
            let told = || std::fs::read_to_string(self.folder.path().join("backfill.log")).unwrap();
            match ended {
                Some(status) => assert!(status.success(), "{}", told()),
                None => {
                    assert!(self.began.elapsed() < DONE_WITHIN, "not done in time: {}", told());
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
            }
            return self.folder;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_into_redis_that_is_killed_over_and_over_loses_and_doubles_nothing() {
    let redis = RedisServer::plain();
    let folder = project(&redis.url());
    write_history(folder.path(), 0..30_000);
    let mut dice = Dice::new(1);
    let mut at_work = Disturbed::start(folder);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(100 + dice.below(700)));
        at_work = at_work.kill();
    }
    let folder = at_work.finish();
    assert_taken_over(folder.path(), 30_000, 30_300).await;
}

/// Redis loses everything, the plan too.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_under_a_backfill_is_filled_from_the_beginning() {
    let redis = RedisServer::plain();
    let folder = project(&redis.url());
    write_history(folder.path(), 0..100_000);
    let mut at_work = Disturbed::start(folder);
    for _ in 0..3 {
        at_work.write_on(&redis);
        redis.command("FLUSHALL");
    }
    let folder = at_work.finish();
    assert_taken_over(folder.path(), 100_000, 100_300).await;
}

/// A replica that lacks the last writes becomes the primary.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_fails_over_under_a_backfill_loses_and_doubles_nothing() {
    let mut servers = Sentinels::start(&Setup::default(), 2);
    let folder = project(&servers.url());
    write_history(folder.path(), 0..100_000);
    let mut at_work = Disturbed::start(folder);
    let old = servers.primary();
    at_work.write_on(&servers.servers[old]);
    servers.servers[old].kill();
    servers.wait_for_another_than(old);
    servers.servers[old].restart();
    let folder = at_work.finish();
    assert_taken_over(folder.path(), 100_000, 100_300).await;
}

/// Counts would be those of the part that is in.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_vouched_for_before_a_history_is_in() {
    let redis = RedisServer::plain();
    let folder = project(&redis.url());
    write_history(folder.path(), 0..12_000);
    let begin = ["backfill", "--history", "history"];
    for cue in ["backfill-begun:0", "after-checkpoint:2", "backfill-ending:0"] {
        let died = trueup(folder.path(), &begin).env("TRUEUP_CRASH", cue).output().unwrap();
        assert_eq!(died.status.signal(), Some(SIGABRT), "{cue}: {}", said(&died));
        let server = Server::of(folder.path(), "serve");
        for asked in ASKED {
            let (value, status) = answer(&server, asked).await;
            assert_eq!(status, "UNKNOWN", "{cue}: {asked:?}: {value}");
        }
    }
    assert_done(&backfill(folder.path(), &[]));
    assert_taken_over(folder.path(), 12_000, 12_100).await;
}

/// A key and column of each group.
const ASKED: [(&str, &str); 3] =
    [("card", "n_month"), ("card", "n_ever"), ("merchant", "n_merchant")];

/// The answer for a key and column, with its status.
async fn answer(server: &Server, (key, column): (&str, &str)) -> (Value, Value) {
    let body = json!({ "keys": [{ key: 1 }], "columns": [column], "deadline_ms": 10_000 });
    let (status, reply) = post(&server.client, "/v1/features/risk", body).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{reply}");
    (reply["rows"][0]["features"][column].clone(), reply["rows"][0]["status"].clone())
}

/// A group that is begun with a log's first record was taken for whole though a history had been
/// read into the state: what only that has counted as nothing, without a word.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_log_never_had_is_not_forgotten_when_definitions_change_or_the_store_is_emptied() {
    let redis = RedisServer::plain();
    let folder = project(&redis.url());
    write_history(folder.path(), 0..500);
    assert_done(&backfill(folder.path(), &["--up-to", "first"]));
    assert_taken_over(folder.path(), 500, 600).await;

    // Every group is another one, and begins with what the log has.
    let changed = include_str!("pay.sql").replace("FROM payments", "FROM payments WHERE id >= 0");
    std::fs::write(folder.path().join("pay.sql"), changed).unwrap();
    let server = Server::start(folder.path());
    let until = Instant::now() + VOUCHED_WITHIN;
    let short = |told: &Value| told["candidate"]["stuck"].to_string().contains("complete only");
    while !short(&definitions(&server).await) {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(counts_are_right(&server.client, 600).await, "what is in service goes on");
    server.stop();
    std::fs::write(folder.path().join("pay.sql"), include_str!("pay.sql")).unwrap();

    // The note goes with the rest: once the worker knows by itself, once by its directory.
    for is_running in [true, false] {
        let server = is_running.then(|| Server::start(folder.path()));
        redis.command("FLUSHALL");
        let server = server.unwrap_or_else(|| Server::start(folder.path()));
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            for asked in ASKED {
                let (value, status) = answer(&server, asked).await;
                assert_eq!((value, status), (Value::Null, json!("UNKNOWN")), "{asked:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.stop();
        let status = trueup(folder.path(), &["status"]).output().unwrap();
        let said = said(&status);
        assert!(!said.contains("for ever") && said.contains("64/64"), "{said}");
    }
}

/// The worker's records would be dropped with the rest, or stand among those of the history.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_a_worker_is_at_work_on_is_not_dropped() {
    let redis = RedisServer::plain();
    let folder = project(&redis.url());
    write_history(folder.path(), 0..100);
    let server = Server::start(folder.path());
    assert!(push(&server.client, 100..200, true).await);
    // Another folder for logs and letters: this one is the worker's.
    let again = ["--again", "--data", "other"];
    assert_refused(&backfill(folder.path(), &again), "somebody is at work on its groups");
    assert_refused(&backfill(folder.path(), &["--data", "other"]), "has a state already");
    assert!(push(&server.client, 200..300, true).await, "the worker goes on");
    server.stop();
    // The history holds what came before the log's first record.
    assert_done(&backfill(folder.path(), &["--again"]));
    assert_taken_over(folder.path(), 300, 400).await;
}

/// The settings of a stream that comes from a new topic of three partitions.
#[cfg(feature = "kafka")]
pub(crate) fn of_topic(broker: &crate::broker::Broker) -> String {
    use crate::broker::{PATIENT, SINGLY, fresh};
    let (topic, group) = (fresh("payments"), fresh("group"));
    tokio::task::block_in_place(|| broker.make_topic(&topic, 3));
    format!(
        "source = 'kafka://{}/{topic}?group={group}'\n[kafka]\n'{}' = '{}'\n'{}' = '{}'\n\
         'session.timeout.ms' = '6000'\n'heartbeat.interval.ms' = '200'\n",
        broker.address(),
        PATIENT.0,
        PATIENT.1,
        SINGLY.0,
        SINGLY.1
    )
}

/// The topic's first records are in the history: whoever applied them again would count them twice.
#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_a_topic_takes_over_where_the_history_ends() {
    let (redis, broker) = (RedisServer::plain(), crate::broker::Broker::start());
    let folder = project(&redis.url());
    let path = folder.path().join("trueup.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, settings + &of_topic(&broker)).unwrap();
    let server = Server::of(folder.path(), "serve");
    for first in (0..800).step_by(100) {
        assert!(push(&server.client, first..first + 100, false).await);
    }
    server.stop();
    write_history(folder.path(), 0..800);
    let output = backfill(folder.path(), &["--up-to", "end"]);
    assert_done(&output);
    assert_taken_over(folder.path(), 800, 1_200).await;
}
