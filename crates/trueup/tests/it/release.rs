//! Definitions that change between two starts of a process on one directory: what was served goes
//! on until what is new vouches for as much.

use crate::support::{SQL, Server, TEN, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use trueup::node::NodeOptions;
use trueup::place::{BadRecords, Place};
use trueup_store::{Log, Options};

/// Longer than hydrating a handful of events takes, on a machine that does much else.
const HYDRATED_WITHIN: Duration = Duration::from_secs(30);

/// How soon everybody is to know of a change, with as much again for a busy machine.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// What the other tests have, but sums leave out what is below 2.
fn changed() -> String {
    let changed = SQL.replace(
        "sum(amount) OVER hour AS amount_last_hour",
        "sum(amount) FILTER (WHERE amount >= 2) OVER hour AS amount_last_hour",
    );
    assert_ne!(changed, SQL);
    changed
        + ";
CREATE VIEW extra AS SELECT id, count(*) OVER hour AS n FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)"
}

fn on(folder: &Path, sql: &str) -> NodeOptions {
    NodeOptions { place: Place::Embedded(folder.to_path_buf()), ..options(sql) }
}

/// The sum that is served for card 1.
async fn amount(server: &Server) -> Value {
    let row = server.ask("risk", json!({ "keys": [{ "card": 1 }] })).await;
    row["features"]["amount_last_hour"].clone()
}

async fn definitions(server: &Server) -> Value {
    let reply = server.send("GET", "/v1/views", None, "").await;
    let views: Value = serde_json::from_slice(&reply.body).unwrap();
    views["definitions"].clone()
}

/// Asks until the sum is this one; every sum before must be the other.
async fn becomes(server: &Server, before: &str, after: &str, within: Duration) {
    let until = Instant::now() + within;
    loop {
        let found = amount(server).await;
        if found == after {
            return;
        }
        assert_eq!(found, before);
        let told = definitions(server).await;
        assert!(Instant::now() < until, "still {before} after {within:?}: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn change(server: &Server, what: &str) -> (StatusCode, Value) {
    server.post(&format!("/v1/definitions/{what}"), &json!({})).await
}

/// A feature that is wrong for as long as its windows fill would be fed to the model as if it were
/// right; and what was right before would be gone.
#[tokio::test(flavor = "multi_thread")]
async fn changed_definitions_answer_when_they_are_hydrated_and_one_step_leads_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(on(folder.path(), SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "2.00")])).await;
    assert_eq!(amount(&server).await, "3.00");
    server.stop().await;

    let server = Server::start(on(folder.path(), &changed())).await;
    becomes(&server, "3.00", "2.00", HYDRATED_WITHIN).await;
    let told = definitions(&server).await;
    assert_eq!(told["candidate"], Value::Null);
    let (new, old) = (told["current"]["digest"].clone(), told["previous"]["digest"].clone());
    assert_eq!(told["served"], new);

    // What is no longer served is kept up to date.
    server.push("payments", json!([payment(3, 20, "4.00"), payment(4, 10, "0.50")])).await;
    assert_eq!(amount(&server).await, "6.00");
    let (status, reply) = change(&server, "rollback").await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply, json!({ "change": "rollback", "from": new, "to": old }));
    becomes(&server, "6.00", "7.50", KNOWN_WITHIN).await;
    server.push("payments", json!([payment(5, 5, "1.00")])).await;
    assert_eq!(amount(&server).await, "8.50");
    server.stop().await;

    // A start with the files of either moves nothing: who went back did so for a reason.
    let server = Server::start(on(folder.path(), &changed())).await;
    tokio::time::sleep(KNOWN_WITHIN).await;
    assert_eq!(amount(&server).await, "8.50");
    assert_eq!(change(&server, "rollback").await.0, StatusCode::OK);
    becomes(&server, "8.50", "6.00", KNOWN_WITHIN).await;
    server.stop().await;
    let server = Server::start(on(folder.path(), SQL)).await;
    assert_eq!(amount(&server).await, "6.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_without_a_new_group_answer_the_first_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(on(folder.path(), SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    server.stop().await;
    let more = SQL.replace("count(*) OVER hour AS pay", "count(*) OVER hour + 1 AS pay");
    assert_ne!(more, SQL);
    let server = Server::start(on(folder.path(), &more)).await;
    let row = server.ask("risk", json!({ "keys": [{ "card": 1 }] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 2, "{row}");
    server.stop().await;
}

fn trueup(server: &Server, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(arguments).args(["--url", &url, "--output", "json"]).stdin(Stdio::null());
    command.env("TRUEUP_DEFINITIONS", "test.sql");
    tokio::task::block_in_place(|| command.output().unwrap())
}

/// A log that no longer holds its beginning cannot fill a group as far back as the one in service:
/// served at once, features that were known would be UNKNOWN.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_would_vouch_for_less_wait_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(on(folder.path(), SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "2.00")])).await;
    server.stop().await;
    Log::open(folder.path(), Options::LOG).unwrap().trim("payments", 1).unwrap();

    let server = Server::start(on(folder.path(), &changed())).await;
    let until = Instant::now() + HYDRATED_WITHIN;
    while definitions(&server).await["candidate"]["stuck"].as_array().is_none_or(Vec::is_empty) {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(amount(&server).await, "3.00");
    let ready = server.send("GET", "/readyz?verbose", None, "").await;
    let said = String::from_utf8_lossy(&ready.body).into_owned();
    assert_eq!(ready.status, StatusCode::OK, "{said}");
    assert!(said.contains("are being hydrated: group payments/card, 100 %"), "{said}");
    assert!(said.contains("is complete only since 2026-11-24T10:05:00.000001Z"), "{said}");
    let rows = json!({ "rows": [payment(3, 0, "1.00")] });
    let (status, problem) = server.post("/v1/features/extra", &rows).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("there is no view extra yet: definitions "), "{detail}");

    let promoted = trueup(&server, &["promote"]);
    assert!(promoted.status.success(), "{promoted:?}");
    let until = Instant::now() + KNOWN_WITHIN;
    while amount(&server).await == "3.00" {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
    }
    let row = server.ask("risk", json!({ "keys": [{ "card": 1 }] })).await;
    assert_eq!(row["statuses"]["amount_last_hour"], "UNKNOWN", "{row}");
    let back = trueup(&server, &["rollback"]);
    assert!(back.status.success(), "{back:?}");
    let reply: Value = serde_json::from_slice(&back.stdout).unwrap();
    assert_eq!(reply["change"], "rollback");
    let until = Instant::now() + KNOWN_WITHIN;
    while amount(&server).await != "3.00" {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
    }
    server.stop().await;
}

/// Definitions with a mistake in a type would drain the log into the dead letters, and take those
/// in service down with them.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_cannot_use_what_the_log_holds_stop_alone_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(on(folder.path(), SQL)).await;
    let payments: Vec<Value> = (1..=150).map(|id| payment(id, 60, "1.00")).collect();
    server.push("payments", json!(payments)).await;
    server.stop().await;
    let wrong = SQL.replace("merchant VARCHAR", "merchant BIGINT");
    assert_ne!(wrong, SQL);

    let server = Server::start(on(folder.path(), &wrong)).await;
    let why = "100 of the last 100 records of stream payments cannot be used";
    let until = Instant::now() + HYDRATED_WITHIN;
    while !definitions(&server).await["candidate"]["stuck"].to_string().contains(why) {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ready = server.send("GET", "/readyz?verbose", None, "").await;
    let said = String::from_utf8_lossy(&ready.body).into_owned();
    assert_eq!(ready.status, StatusCode::OK, "{said}");
    assert!(said.contains(why), "{said}");
    assert_eq!(amount(&server).await, "150.00");
    server.push("payments", json!([payment(151, 60, "1.00")])).await;
    assert_eq!(amount(&server).await, "151.00");
    assert_eq!(kept_letters(&server).await, 0, "nothing of it is passed over");
    server.stop().await;

    // Somebody who means it says so, to the workers of all definitions.
    let bad = BadRecords { max_percent: None, ..BadRecords::default() };
    let server = Server::start(NodeOptions { bad, ..on(folder.path(), &wrong) }).await;
    let until = Instant::now() + HYDRATED_WITHIN;
    while definitions(&server).await["candidate"] != Value::Null {
        assert!(Instant::now() < until, "{}", definitions(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kept_letters(&server).await, 151);
    server.stop().await;
}

async fn kept_letters(server: &Server) -> u64 {
    let reply = server.send("GET", "/v1/dead-letters/payments", None, "").await;
    let listed: Value = serde_json::from_slice(&reply.body).unwrap();
    listed["kept"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_is_not_there_is_refused_by_name() {
    let server = Server::start(options(SQL)).await;
    for what in ["rollback", "promote", "forget"] {
        let (status, problem) = change(&server, what).await;
        assert_eq!(status, StatusCode::CONFLICT, "{what}: {problem}");
    }
    assert_eq!(change(&server, "undo").await.0, StatusCode::NOT_FOUND);
    let back = trueup(&server, &["rollback"]);
    assert_eq!(back.status.code(), Some(1));
    let said = String::from_utf8_lossy(&back.stderr).into_owned();
    assert!(said.contains("there are no previous definitions to go back to"), "{said}");
    server.stop().await;
}

/// State that nobody needs would stay for ever; dropped too early, there would be no way back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_dropped_and_the_rest_goes_on() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use trueup::clock::Clock;
    use trueup_core::Micros;
    let now = Arc::new(AtomicI64::new(TEN));
    let shown = Arc::clone(&now);
    let clock = Clock::of(move || Micros(shown.load(Ordering::SeqCst)));
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(on(folder.path(), SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "2.00")])).await;
    server.stop().await;
    let server = Server::start(NodeOptions { clock, ..on(folder.path(), &changed()) }).await;
    becomes(&server, "3.00", "2.00", HYDRATED_WITHIN).await;
    let spaces = || async {
        let store = trueup_store::EmbeddedStore::open(folder.path(), Options::STATE).unwrap();
        trueup_store::Store::spaces(&store).await.unwrap().len()
    };
    assert_eq!(change(&server, "forget").await.0, StatusCode::OK);
    tokio::time::sleep(KNOWN_WITHIN).await;
    now.fetch_add(11_000_000, Ordering::SeqCst);
    tokio::time::sleep(KNOWN_WITHIN).await;
    assert_eq!(change(&server, "rollback").await.0, StatusCode::CONFLICT);
    server.push("payments", json!([payment(3, 20, "4.00")])).await;
    assert_eq!(amount(&server).await, "6.00");
    server.stop().await;
    assert_eq!(spaces().await, 4, "those of cards twice, of merchants and of logins");
}
