//! State from a table of a database, copied and then read as files are: the harm is an event of
//! table and log that is lost or counts twice, or a part of a table that is taken for all of it.

use crate::backfill::{
    Process, SIGABRT, Server, assert_done, assert_refused, assert_taken_over, project, said, trueup,
};
use crate::child::catalog;
use crate::pay::{Payment, push};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use trueup::catalog::stored;
use trueup::database::{Ask, DatabasePlace, Names, TableSettings};
use trueup_core::fold;
use trueup_core::testing::Dice;
use trueup_sql::EpochUnit;
use trueup_store::{At, EmbeddedStore, Log, Options, Store};

/// Keys of a group in these tests, far more than there are.
const ALL_KEYS: usize = 10_000;

/// A project whose settings name a database.
fn on(store: &str, database: &str) -> TempDir {
    let folder = project(store);
    settle(&folder, |said| format!("{said}database = '{database}'\n"));
    folder
}

fn settle(folder: &TempDir, change: impl Fn(String) -> String) {
    let path = folder.path().join("trueup.toml");
    std::fs::write(&path, change(std::fs::read_to_string(&path).unwrap())).unwrap();
}

/// SQLite has no type for times.
const UNIT: &str = "time_unit = 'microseconds'";

/// The same with a table of these payments in SQLite, which writers and readers may share.
fn on_sqlite(ids: Range<i64>) -> TempDir {
    let folder = on("embedded:data", "sqlite:bank.db");
    settle(&folder, |said| format!("{said}[database_tables.payments]\n{UNIT}\n"));
    let table = "PRAGMA journal_mode = WAL;
        CREATE TABLE payments (
          id INTEGER PRIMARY KEY, at TEXT, card, merchant INTEGER, amount TEXT)";
    open(&folder).execute_batch(table).unwrap();
    insert(&folder, ids);
    folder
}

fn open(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("bank.db")).unwrap()
}

fn insert(folder: &TempDir, ids: Range<i64>) {
    let rows: Vec<Value> = ids.map(|id| Payment::of(id).json()).collect();
    let insert = "INSERT INTO payments SELECT value ->> 'id', value ->> 'at', value ->> 'card',
                  value ->> 'merchant', value ->> 'amount' FROM json_each(?1)";
    open(folder).execute(insert, [Value::from(rows).to_string()]).unwrap();
}

const FIRST: &[&str] = &["--up-to", "first"];

fn backfill(folder: &TempDir, more: &[&str]) -> Output {
    command(folder, more).output().unwrap()
}

fn command(folder: &TempDir, more: &[&str]) -> std::process::Command {
    trueup(folder.path(), &[&["backfill", "--history", "database"], more].concat())
}

/// Dies where it is told to.
#[track_caller]
fn die(folder: &TempDir, cue: &str, more: &[&str]) {
    let died = command(folder, more).env("TRUEUP_CRASH", cue).output().unwrap();
    assert_eq!(died.status.signal(), Some(SIGABRT), "{cue}: {}", said(&died));
}

/// The copies that are left in a folder of data.
pub(crate) fn copies(data: &Path) -> Vec<String> {
    let names = std::fs::read_dir(data).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("history-")).collect()
}

/// All values of all groups, by key, folded to the end: how much of one a worker had folded is a
/// matter of when it came to it.
pub(crate) async fn state(folder: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = EmbeddedStore::open(&folder.join("data"), Options::STATE).unwrap();
    let catalog = catalog();
    let mut all = Vec::new();
    for &group in &catalog.streams()[0].groups {
        let (space, plan) = (catalog.space(group), catalog.plan(group));
        for key in store.keys(space, None, ALL_KEYS).await.unwrap() {
            let read = store.get(&[At { space, key: &key }]).await.unwrap().remove(0);
            let value = read.value.expect("a key has a value");
            let folded = fold(plan, &key, stored(&value), &catalog.limits).expect("it is sound");
            all.push((key, folded.base));
        }
    }
    assert!(all.len() > 40, "{} keys", all.len());
    all
}

/// The table's state is that of the same rows in a file, bit for bit; and the log takes over.
async fn check_like_a_file(folder: TempDir, rows: i64) {
    let output = backfill(&folder, FIRST);
    assert_done(&output);
    for word in [&format!("{rows} rows of table"), "0 rows left out", "the log takes over at 0:0"] {
        assert!(said(&output).contains(word), "{word}: {}", said(&output));
    }
    assert!(copies(&folder.path().join("data")).is_empty(), "the copy is left");
    let file = project("embedded:data");
    let lines: Vec<String> = (0..rows).map(|id| Payment::of(id).json().to_string()).collect();
    std::fs::write(file.path().join("a.jsonl"), lines.join("\n")).unwrap();
    let history = ["backfill", "--history", "a.jsonl"];
    assert_done(&trueup(file.path(), &history).output().unwrap());
    assert_eq!(state(folder.path()).await, state(file.path()).await);
    assert_taken_over(folder.path(), rows, rows + 300).await;
}

/// The harm: SQLite has every text behind all integers, so a miss found no event, and the frame was
/// called empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_miss_in_a_table_of_sqlite_whose_times_are_text_is_no_empty_frame() {
    let (folder, catalog) = (on_sqlite(0..10), catalog());
    let stream = &catalog.streams()[0].stream;
    let settings = TableSettings { time_unit: Some(EpochUnit::Micros), ..Default::default() };
    let names = Names::of(stream, Some(&settings)).unwrap();
    let place = DatabasePlace::Sqlite(folder.path().join("bank.db"));
    let database = trueup::database::open(&place, 1, Duration::from_secs(10)).unwrap();
    let table = database.look(stream, &names).await.unwrap();
    let ask = Ask {
        keys: vec![stream.column("card").unwrap()],
        values: vec![trueup_core::Value::Int(Payment::of(0).card)],
        from_us: i64::MIN,
        to_us: i64::MAX,
        limit: 10,
    };
    let refused = database.events(&table, &ask).await.unwrap_err().to_string();
    assert!(refused.contains("an event time is text"), "{refused}");
    let nobody = Ask { values: vec![trueup_core::Value::Int(-1)], ..ask };
    assert!(database.events(&table, &nobody).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_sqlite_makes_the_state_that_its_rows_make_as_a_file() {
    check_like_a_file(on_sqlite(0..9_000), 9_000).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgresql_makes_the_state_that_its_rows_make_as_a_file() {
    let server = postgres::server(0..9_000).await;
    check_like_a_file(on("embedded:data", &server.url()), 9_000).await;
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_mariadb_makes_the_state_that_its_rows_make_as_a_file() {
    use crate::mariadb_server::MariadbServer;
    let server = MariadbServer::start().await;
    let row = |id| {
        let Payment { id, at_us, card, merchant, cents } = Payment::of(id);
        let at = format!("TIMESTAMP '1970-01-01 00:00:00' + INTERVAL {at_us} MICROSECOND");
        format!("({id}, {at}, {card}, {merchant}, {cents} / 100)")
    };
    let rows: Vec<String> = (0..9_000).map(row).collect();
    let table = "CREATE TABLE payments (id BIGINT PRIMARY KEY, at DATETIME(6) NOT NULL,
                 card BIGINT, merchant BIGINT, amount DECIMAL(12,2))";
    server.run(table).await;
    server.run(&format!("INSERT INTO payments VALUES {}", rows.join(", "))).await;
    check_like_a_file(on("embedded:data", &server.url()), 9_000).await;
    server.run("ALTER TABLE payments ENGINE = MyISAM").await;
    let folder = on("embedded:data", &server.url());
    assert_refused(&backfill(&folder, FIRST), "its engine MyISAM has no snapshots; copy it");
}

/// What table and log both hold is one event, wherever the log takes over.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_log_brings_are_left_out_of_the_table_and_count_once() {
    // The log has 400 to 899, at the offsets from 0 on, the table has all.
    for (up_to, left_out) in [("first", 500), ("0:200", 300), ("end", 0)] {
        let folder = on_sqlite(0..1_000);
        let server = Server::start(folder.path());
        assert!(push(&server.client, 400..900, true).await);
        server.stop();
        let up_to = ["--up-to", up_to];
        assert_refused(&backfill(&folder, &up_to), "has a state already; --again drops");
        let again = [&up_to[..], &["--again", "--output", "json"]].concat();
        let output = backfill(&folder, &again);
        assert_done(&output);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = (&report["left_out"], &report["rows"]);
        assert_eq!(found, (&json!(left_out), &json!(1_000 - left_out)), "{report}");
        assert_taken_over(folder.path(), 1_000, 1_300).await;
    }
}

/// Each log is read by its own reader, and has its own notion of an end.
#[cfg(all(feature = "kafka", feature = "nats"))]
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_broker_brings_are_left_out_of_the_table_and_count_once() {
    use crate::nats_server::NatsServer;
    use async_nats::jetstream::stream::Config;
    use trueup_store::testing::servers::RedisServer;
    let (kafka, nats) = (crate::broker::Broker::start(), NatsServer::start());
    let redis = RedisServer::plain();
    tokio::task::block_in_place(|| nats.make_stream("pay", Config::default()));
    let sources = [
        crate::backfill::of_topic(&kafka),
        format!("source = '{}'\n", nats.url("pay", 2)),
        format!("source = 'redis-stream://127.0.0.1:{}/pay?partitions=2'\n", redis.port()),
    ];
    for source in sources {
        let folder = on_sqlite(0..1_000);
        settle(&folder, |said| {
            let (top, tables) = said.split_once("[database_tables").unwrap();
            format!("{top}{source}[database_tables{tables}")
        });
        // The log has 400 to 899, the table has all.
        let server = Server::start(folder.path());
        assert!(push(&server.client, 400..900, true).await);
        server.stop();
        let output = backfill(&folder, &["--up-to", "first", "--again", "--output", "json"]);
        assert_done(&output);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = (&report["left_out"], &report["rows"]);
        assert_eq!(found, (&json!(500), &json!(500)), "{source}: {report}");
        assert_taken_over(folder.path(), 1_000, 1_300).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_more_events_than_may_be_held_is_refused_and_nothing_is_left() {
    let folder = on_sqlite(0..100);
    let server = Server::start(folder.path());
    assert!(push(&server.client, 0..100, true).await);
    server.stop();
    let few = ["--up-to", "first", "--again", "--overlap", "99"];
    assert_refused(&backfill(&folder, &few), "the log has more than 99 events from --up-to on");
    assert!(copies(&folder.path().join("data")).is_empty());
    assert_done(&backfill(&folder, &["--up-to", "first", "--again", "--overlap", "100"]));
    assert_taken_over(folder.path(), 100, 200).await;
}

/// The counts must not depend on where it dies, and a whole copy must not be made again: the table
/// has moved on since.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_a_table_that_dies_anywhere_goes_on_with_the_same_rows() {
    let folder = on_sqlite(0..30_000);
    for cue in ["history-copying:0", "history-copying:3", "history-whole:0", "history-copied:0"] {
        die(&folder, cue, FIRST);
    }
    // These the log brings.
    insert(&folder, 30_000..30_200);
    let places = [
        "backfill-begun:0",
        "before-checkpoint:1",
        "after-checkpoint:2",
        "compaction:1",
        "backfill-ending:0",
        "backfill-ended:0",
    ];
    for cue in places {
        die(&folder, cue, FIRST);
        assert_eq!(copies(&folder.path().join("data")).len(), 1, "{cue}");
    }
    let output = backfill(&folder, &[]);
    assert_done(&output);
    assert!(said(&output).contains("this history is in already"), "{}", said(&output));
    assert!(copies(&folder.path().join("data")).is_empty(), "the copy is left");
    assert_taken_over(folder.path(), 30_000, 30_200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_a_table_that_is_killed_over_and_over_loses_and_doubles_nothing() {
    let folder = on_sqlite(0..60_000);
    let mut dice = Dice::new(7);
    let mut killed = 0;
    for _ in 0..8 {
        let mut command = command(&folder, FIRST);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut process = Process(child);
        std::thread::sleep(Duration::from_millis(30 + dice.below(400)));
        killed += u32::from(process.0.try_wait().unwrap().is_none());
    }
    assert!(killed > 2, "killed only {killed} times");
    let output = backfill(&folder, FIRST);
    // Where the last but one came to its end there is a state.
    let is_done = output.status.success() || said(&output).contains("has a state already");
    assert!(is_done, "{}", said(&output));
    assert_taken_over(folder.path(), 60_000, 60_100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backfill_of_a_table_cannot_begin_with_is_refused_with_the_remedy() {
    let folder = on_sqlite(0..12_000);
    let none = project("embedded:data");
    assert_refused(&backfill(&none, FIRST), "none is set; name it with --database");
    assert_refused(&backfill(&folder, &[]), "--history database needs --up-to");
    assert_refused(&backfill(&folder, &["--up-to", "0:7"]), "the log is to take over at 7");
    let lag = ["--up-to", "first", "--log-lag", "soon"];
    assert_refused(&backfill(&folder, &lag), "--log-lag: \"soon\" is no duration");
    let elsewhere = ["--up-to", "first", "--database", "sqlite:nowhere.db"];
    assert_refused(&backfill(&folder, &elsewhere), "setting database: nowhere.db");
    open(&folder).execute_batch("ALTER TABLE payments RENAME amount TO paid").unwrap();
    let output = backfill(&folder, FIRST);
    assert_refused(&output, "say which table and columns have the events of stream payments");
    open(&folder).execute_batch("ALTER TABLE payments RENAME TO paid").unwrap();
    assert_refused(&backfill(&folder, FIRST), "no such table: payments");
    let mapped = format!("{UNIT}\ntable = 'paid'\ncolumns = {{ amount = 'paid' }}");
    settle(&folder, |said| said.replace(UNIT, &mapped));

    die(&folder, "after-checkpoint:2", FIRST);
    assert_refused(&backfill(&folder, &["--up-to", "0:1"]), "was of another history, or its copy");
    let data = folder.path().join("data");
    let copy = data.join(copies(&data).remove(0));
    std::fs::remove_dir_all(copy).unwrap();
    assert_refused(&backfill(&folder, FIRST), "its copy is gone; --again begins anew");
    die(&folder, "after-checkpoint:2", &["--up-to", "first", "--again"]);
    let abandon = ["backfill", "--abandon"];
    assert_done(&trueup(folder.path(), &abandon).output().unwrap());
    assert!(copies(&data).is_empty(), "the copy is left");
    assert_done(&backfill(&folder, FIRST));
    assert_taken_over(folder.path(), 12_000, 12_100).await;
}

/// One bad row must not stop the others, nor vanish.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_events_are_dead_letters_with_what_they_hold() {
    let folder = on_sqlite(0..900);
    let bad = "INSERT INTO payments VALUES
        (1000, NULL, 1, 1, '1.00'), (1001, '2026-03-02T00:00:00Z', 'x', 1, '1.00'),
        (1002, '2026-03-02T00:00:00Z', x'00ff', 1, '1.00')";
    open(&folder).execute_batch(bad).unwrap();
    let output = backfill(&folder, &["--up-to", "first", "--output", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["rows"], &report["dead_letters"]), (&json!(903), &json!(3)), "{report}");
    let log = Log::open(&folder.path().join("data"), Options::LOG).unwrap();
    let letters = log.dead_letters("payments", None, 100).unwrap();
    let told: Vec<String> = letters
        .iter()
        .map(|(_, it)| format!("{} | {}", it.reason, String::from_utf8_lossy(&it.bytes)))
        .collect();
    let words = [
        ["table \"payments\" of sqlite:bank.db, copy ", ", column at: ", "\"id\":1000"],
        ["line 902", ", column card: ", "\"card\":\"x\""],
        ["line 903", ": ", "bytes"],
    ];
    for words in words {
        let is_told = |told: &String| words.iter().all(|word| told.contains(word));
        assert!(told.iter().any(is_told), "{words:?} are not in {told:#?}");
    }
    drop(log);
    assert_taken_over(folder.path(), 900, 1_000).await;
}

/// A full disk: the system's bound on the length of a file stands for it.
#[test]
fn a_copy_that_has_no_room_is_refused_and_leaves_nothing() {
    let redis = trueup_store::testing::servers::RedisServer::plain();
    let folder = on_sqlite(0..1_000);
    let long = "INSERT INTO payments
        WITH RECURSIVE n(id) AS (SELECT 1000 UNION ALL SELECT id + 1 FROM n WHERE id < 4000)
        SELECT id, '2026-03-02T00:00:00Z', 1, 'x' || hex(zeroblob(5000)), '1.00' FROM n";
    open(&folder).execute_batch(long).unwrap();
    let store = ["--store", &redis.url()];
    let command = [env!("CARGO_BIN_EXE_trueup"), "backfill", "--history", "database"];
    let words = [&command[..], FIRST, &store].concat().join(" ");
    // In blocks of 512 bytes: 20 MB, more than logs begin with, less than the copy takes.
    let script = format!("trap '' XFSZ; ulimit -f 40000; exec {words}");
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    assert_refused(&output, "make room, or name a folder on a larger disk with --data");
    assert!(copies(&folder.path().join("data")).is_empty(), "something is left");
    open(&folder).execute_batch("DELETE FROM payments WHERE id >= 1000").unwrap();
    assert_done(&backfill(&folder, &[FIRST, &store].concat()));
}

#[test]
fn a_training_set_from_a_table_is_that_of_its_rows_in_a_file() {
    let folder = on_sqlite(0..2_000);
    let lines: Vec<String> = (0..2_000).map(|id| Payment::of(id).json().to_string()).collect();
    std::fs::write(folder.path().join("a.jsonl"), lines.join("\n")).unwrap();
    let train = |history: &str, out: &str| {
        let words = ["train", "risk", "--history", history, "--out", out];
        assert_done(&trueup(folder.path(), &words).output().unwrap());
        std::fs::read(folder.path().join(out)).unwrap()
    };
    let (table, file) = (train("database", "t.csv"), train("a.jsonl", "f.csv"));
    assert!(table.len() > 100_000 && table == file, "{} and {}", table.len(), file.len());
    let manifest = std::fs::read_to_string(folder.path().join("t.csv.manifest.json")).unwrap();
    assert!(manifest.contains("table \\\"payments\\\" of sqlite:bank.db"), "{manifest}");
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::postgres_server::PostgresServer;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use trueup_store::testing::servers::RedisServer;

    const INSERT: &str = "INSERT INTO payments SELECT * FROM
        jsonb_populate_recordset(null::payments, $1::text::jsonb)";

    /// A PostgreSQL with these payments.
    pub(super) async fn server(ids: Range<i64>) -> PostgresServer {
        let server = PostgresServer::start().await;
        let client = server.connect().await;
        let table = "CREATE TABLE payments (id BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL,
                     card BIGINT, merchant BIGINT, amount NUMERIC(12,2))";
        client.batch_execute(table).await.unwrap();
        let rows: Vec<Value> = ids.map(|id| Payment::of(id).json()).collect();
        client.execute(INSERT, &[&Value::from(rows).to_string()]).await.unwrap();
        server
    }

    /// Writes payments into the table and then into the log, until told to stop: how many there
    /// are then.
    async fn produce(
        server: &PostgresServer,
        log: &RedisServer,
        next: i64,
        stop: &AtomicBool,
    ) -> i64 {
        let client = server.connect().await;
        let mut id = next;
        while !stop.load(Ordering::SeqCst) {
            let event = Payment::of(id).json().to_string();
            client.execute(INSERT, &[&format!("[{event}]")]).await.unwrap();
            log.try_args(&["XADD", "payments", "*", "event", &event]).unwrap();
            id += 1;
        }
        id
    }

    /// The harm: a table that is in use is no history, so the service has to stand still for it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_that_producers_write_to_all_the_while_is_counted_once_with_their_log() {
        let server = Arc::new(server(0..3_000).await);
        let (store, log) = (RedisServer::plain(), Arc::new(RedisServer::plain()));
        let folder = on(&store.url(), &server.url());
        let source = format!("source = 'redis-stream://127.0.0.1:{}/payments'\n", log.port());
        settle(&folder, |said| said + &source);
        for id in 2_000..3_000 {
            let event = Payment::of(id).json().to_string();
            log.try_args(&["XADD", "payments", "*", "event", &event]).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let producer = {
            let (server, log, stop) = (Arc::clone(&server), Arc::clone(&log), Arc::clone(&stop));
            tokio::spawn(async move { produce(&server, &log, 3_000, &stop).await })
        };
        let words = ["--up-to", "first", "--log-lag", "1s", "--output", "json"];
        let output = tokio::task::block_in_place(|| backfill(&folder, &words));
        stop.store(true, Ordering::SeqCst);
        let end = producer.await.unwrap();
        assert_done(&output);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let left_out = report["left_out"].as_i64().unwrap();
        assert_eq!(report["rows"], 2_000, "{report}");
        assert!(left_out >= 1_000 && 2_000 + left_out < end, "all of {end} were in it: {report}");
        assert_taken_over(folder.path(), end, end + 300).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_is_away_or_does_not_encrypt_is_told_and_nothing_is_left() {
        let mut server = server(0..100).await;
        let tls = server.url().replace("sslmode=disable", "sslmode=require");
        let folder = on("embedded:data", &tls);
        assert_refused(&backfill(&folder, FIRST), "the server does not encrypt; set it up");
        let clear = ["--up-to", "first", "--database", &server.url()];
        let client = server.connect().await;
        client.batch_execute("ALTER TABLE payments RENAME amount TO paid").await.unwrap();
        assert_refused(&backfill(&folder, &clear), "say which column of the table it is");
        client.batch_execute("ALTER TABLE payments RENAME TO paid").await.unwrap();
        assert_refused(&backfill(&folder, &clear), "say which table has the events");
        server.stop();
        assert_refused(
            &backfill(&folder, &clear),
            "setting database: the database does not answer",
        );
        assert!(copies(&folder.path().join("data")).is_empty());
    }

    /// The harm: a short table counts as the whole one.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_is_cut_in_the_middle_of_a_copy_is_no_end_of_the_table() {
        let server = server(0..60_000).await;
        let folder = on("embedded:data", &server.url());
        let client = server.connect().await;
        let mut command = command(&folder, FIRST);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE application_name = 'trueup' AND query LIKE 'FETCH%'";
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while client.query_one(cut, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(std::time::Instant::now() < until, "it fetched nothing");
        }
        let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
        assert_refused(&output, "nothing is left of the copy: give the same command again");
        assert!(copies(&folder.path().join("data")).is_empty());
        assert_done(&backfill(&folder, FIRST));
        assert_taken_over(folder.path(), 60_000, 60_100).await;
    }
}
