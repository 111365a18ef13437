//! `trueup doctor`: environments on real servers, by the command run as a person runs it. The harm
//! is production that differs from what was measured and trained on, and nobody says so.

use crate::backfill::{Server, said, trueup};
use crate::pay::{START_US, post, push};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;

/// The tables of an application that nobody made for look-ups.
const TABLES: &str = "CREATE TABLE payments (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
                                             card INTEGER, merchant INTEGER, amount TEXT);";

const INDEXES: &str = "CREATE INDEX by_card ON payments (card, at);
                       CREATE INDEX by_merchant ON payments (merchant, at);";

/// What all environments have unless they say otherwise.
const COMMON: &str = "definitions = 'pay.sql'\nlisten = '127.0.0.1:0'\nmax_staleness = '1d'\n\
                      database_tables = { payments = { time_unit = 'microseconds' } }\n";

/// How long definitions may take to come into service.
const SOON: Duration = Duration::from_secs(60);

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pay.sql"), include_str!("pay.sql")).unwrap();
    folder
}

/// Writes the settings of two environments.
fn settle(folder: &Path, dev: &str, production: &str) {
    let text = format!("{COMMON}[env.dev]\n{dev}\n[env.production]\n{production}\n");
    std::fs::write(folder.join("trueup.toml"), text).unwrap();
}

/// Lines of an environment with a store of its own.
fn on(redis: &RedisServer, data: &str) -> String {
    format!("store = '{}'\ndata = '{data}'", redis.url())
}

/// Has a process of an environment apply some payments, and end.
async fn fill(folder: &Path, environment: &str) {
    let server = Server::with(folder, &["run", "--env", environment]);
    assert!(push(&server.client, 0..50, true).await);
    server.stop();
}

/// Has a process of an environment bring its files' definitions into service, and end.
fn change(folder: &Path, environment: &str) {
    let server = Server::with(folder, &["run", "--env", environment]);
    let until = Instant::now() + SOON;
    loop {
        let status = trueup(folder, &["status", "--json", "--env", environment]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let roles: Vec<&str> = status["definitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["role"].as_str().unwrap())
            .collect();
        if roles == ["current", "previous"] {
            break;
        }
        assert!(Instant::now() < until, "{status:#}");
    }
    server.stop();
}

fn doctor(folder: &Path, arguments: &[&str]) -> Output {
    trueup(folder, &[&["doctor"], arguments].concat()).output().unwrap()
}

const BOTH: &[&str] = &["--env", "dev", "--env", "production"];

/// Errors and warnings by name, and whether the exit code says that there are errors.
#[track_caller]
fn check(folder: &Path, arguments: &[&str], errors: &[&str], warnings: &[&str]) -> Value {
    let output = doctor(folder, &[&["--json"], arguments].concat());
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let names = |severity: &str| -> Vec<&str> {
        let found = told["findings"].as_array().unwrap().iter();
        let found = found.filter(|it| it["severity"] == severity);
        // How fast a machine with other work is, is not what is tested.
        found.map(|it| it["name"].as_str().unwrap()).filter(|it| *it != "slow-retrieval").collect()
    };
    assert_eq!((&names("error")[..], &names("warning")[..]), (errors, warnings), "{told:#}");
    assert_eq!(output.status.code(), Some(i32::from(!errors.is_empty())), "{}", said(&output));
    told
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// The story: features from a store in dev, from a query on the database in production.
#[tokio::test(flavor = "multi_thread")]
async fn production_without_a_store_is_found_refused_and_timed() {
    let folder = folder();
    let folder = folder.path();
    let database = Connection::open(folder.join("payments.db")).unwrap();
    database.execute_batch(&format!("{TABLES}{INDEXES}")).unwrap();
    let redis = RedisServer::plain();
    settle(folder, &on(&redis, "data"), "database = 'sqlite:payments.db'");
    fill(folder, "dev").await;
    let told = check(folder, BOTH, &["no-online-store"], &[]);
    let production = &told["environments"][1];
    assert_eq!(production["database"]["miss"]["lacking"], 0, "{production:#}");
    assert!(production["database"]["miss"]["p50_ms"].as_f64() > Some(0.0), "{production:#}");
    assert_eq!(told["environments"][0]["store"]["retrieval"]["asks"], 200);

    let output = doctor(folder, BOTH);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = [
        "ERROR  no-online-store (production)",
        "every feature would be a query on sqlite:payments.db: ",
        " ms (p50), ",
        "; the store of dev takes ",
        "1 error, no warnings",
    ];
    assert_says(&text, &words);
    // A variable that is said of all environments would hide it.
    let mut hidden = trueup(folder, &[&["doctor"], BOTH].concat());
    let hidden = hidden.env("TRUEUP_STORE", redis.url()).output().unwrap();
    assert_eq!(hidden.status.code(), Some(1), "{}", said(&hidden));

    let served = trueup(folder, &["serve", "--env", "production"]).output().unwrap();
    assert_eq!(served.status.code(), Some(1));
    assert_says(&said(&served), &["production does not start without an online store"]);
}

/// The same under a name that settings do not know for production: a store that was never filled.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_never_filled_is_the_database_asked_directly() {
    let folder = folder();
    let folder = folder.path();
    let database = Connection::open(folder.join("payments.db")).unwrap();
    database.execute_batch(TABLES).unwrap();
    let live = format!("{COMMON}[env.live]\ndatabase = 'sqlite:payments.db'\n");
    std::fs::write(folder.join("trueup.toml"), live).unwrap();
    let errors = ["database-asked-directly", "missing-index", "missing-index"];
    let told = check(folder, &["--env", "live"], &errors, &["not-asked"]);
    let remedies = [1, 2].map(|nth| told["findings"][nth]["remedy"].as_str().unwrap());
    let by_card = "CREATE INDEX payments_card_at ON \"payments\" (\"card\", \"at\")";
    assert_eq!(remedies[0], by_card);
    assert!(!folder.join("data").exists(), "examining made something");
    database.execute_batch(&remedies.join(";")).unwrap();
    check(folder, &["--env", "live"], &errors[..1], &["not-asked"]);
    database.execute_batch("DROP TABLE payments").unwrap();
    check(
        folder,
        &["--env", "live"],
        &["database-asked-directly", "database-unusable"],
        &["not-asked"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_that_are_alike_pass_and_each_difference_is_named() {
    let folder = folder();
    let folder = folder.path();
    let (dev, production) = (RedisServer::plain(), RedisServer::plain());
    let (on_dev, on_production) = (on(&dev, "data-dev"), on(&production, "data-production"));
    settle(folder, &on_dev, &on_production);
    fill(folder, "dev").await;
    fill(folder, "production").await;
    let told = check(folder, BOTH, &[], &[]);
    let [one, two] = [0, 1].map(|nth| &told["environments"][nth]);
    assert_eq!(one["definitions"], two["definitions"]);
    assert_eq!(one["definitions"]["files"], one["definitions"]["served"]);
    assert_eq!((&one["store"]["lack"], &two["store"]["lack"]), (&Value::Null, &Value::Null));
    assert_says(&said(&doctor(folder, BOTH)), &["no errors, no warnings"]);
    check(folder, &[], &[], &[]);

    production.command("CONFIG SET maxmemory-policy allkeys-lru");
    check(folder, BOTH, &["evicts"], &[]);
    production.command("CONFIG SET maxmemory-policy noeviction");
    production.command("CONFIG SET appendonly yes");
    production.command("CONFIG SET min-replicas-to-write 1");
    check(folder, BOTH, &[], &["persistence-differs", "min-replicas-differ"]);
    production.command("CONFIG SET appendonly no");
    production.command("CONFIG SET min-replicas-to-write 0");

    let sql = include_str!("pay.sql").replace("INTERVAL '1 hour'", "INTERVAL '2 hours'");
    std::fs::write(folder.join("other.sql"), sql).unwrap();
    settle(folder, &on_dev, &format!("{on_production}\ndefinitions = 'other.sql'"));
    check(folder, BOTH, &[], &["files-not-served"]);
    change(folder, "production");
    let told = check(folder, BOTH, &["definitions-differ"], &[]);
    assert_says(told["findings"][0]["what"].as_str().unwrap(), &["; views risk"]);

    std::thread::sleep(Duration::from_secs(1));
    settle(folder, &on_dev, &format!("{on_production}\nmax_staleness = '1s'"));
    let stale = ["stale", "definitions-differ"];
    check(folder, BOTH, &stale, &["files-not-served", "max-staleness-differs"]);
    settle(folder, &on_dev, &on_dev);
    check(folder, BOTH, &["one-store"], &[]);
    settle(folder, &on_dev, &format!("{on_dev}\nstore_prefix = 'other'"));
    check(folder, BOTH, &["not-vouched-for"], &["one-server"]);
}

/// A card with more payments than a key holds was UNKNOWN, and nobody knew which window to bin.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_outgrown_its_bound_is_named_with_what_to_do() {
    let folder = folder();
    let folder = folder.path();
    let redis = RedisServer::plain();
    settle(folder, &on(&redis, "data"), "");
    let server = Server::with(folder, &["run"]);
    assert!(push(&server.client, 0..50, true).await);
    let busy = |id: i64| {
        let at = Timestamp(START_US + id * 1_000_000).to_string();
        json!({ "id": id, "at": at, "card": 77, "merchant": id % 5, "amount": "10.25" })
    };
    for first in (1_000..91_000).step_by(10_000) {
        let events: Vec<Value> = (first..first + 10_000).map(busy).collect();
        let path = "/v1/events/payments?wait=applied&wait_ms=60000";
        let (status, reply) =
            post(&server.client, path, json!({ "events": events })).await.unwrap();
        assert_eq!((status.as_u16(), &reply["applied"]), (200, &Value::from(true)), "{reply}");
    }
    server.stop();
    let told = check(folder, &["--env", "dev"], &[], &["keys-outgrown"]);
    let what = told["findings"][0]["what"].as_str().unwrap();
    assert_says(what, &["group payments/card", "bound, 1 of", "card=77 (", " hours of its events"]);
    assert_says(&said(&doctor(folder, &["--env", "dev"])), &["do: bin this window: ORDER BY"]);
}

/// A store that is away looked as if nothing was wrong with what it could not tell.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_an_error() {
    let folder = folder();
    let folder = folder.path();
    let mut redis = RedisServer::plain();
    settle(folder, &on(&redis, "data"), "definitions = 'none.sql'\nstore = 'embedded:state'");
    redis.kill();
    check(folder, &[], &["not-asked"], &[]);
    let errors = ["not-asked", "definitions-unusable"];
    check(folder, BOTH, &errors, &["store-kinds-differ"]);
    let output = doctor(folder, &["--env", "nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(&said(&output), &["ERROR  settings-refused (nowhere)", "choose one with --env"]);
}
