//! What comes from the database is what the store would have answered.

use super::scene::{
    LOGINS, PATIENT, PAYMENTS, SQL, applied, ask, database, fallback, missing, node_options,
    of_place, on_redis, payment, printed, sources, wide,
};
use crate::postgres_server::url;
use crate::support::{Server, TEN, options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trueup::database::{DatabasePlace, TableSettings};
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Bounds, Serving};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;

/// A payment that nobody has seen yet, at ten.
pub(crate) fn new_payment(id: i64, card: i64) -> Value {
    let mut row = payment(id);
    row["card"] = json!(card);
    row["at"] = json!(Timestamp(TEN).to_string());
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_from_the_database_are_those_of_the_store_bit_for_bit() {
    let postgres = database().await;
    check_values(&missing(&fallback(postgres.url(), wide()))).await;
}

/// Compares all values of both views with those of a store to which all events were applied.
pub(crate) async fn check_values(from_database: &Serving) {
    let from_store = applied().await;
    let mut rows: Vec<Value> = (0..PAYMENTS).map(payment).collect();
    rows.extend((0..8).map(|card| new_payment(PAYMENTS + card, card)));
    let mut compared = 0;
    for view in ["risk", "approved"] {
        let there = ask(from_database, view, &rows, PATIENT).await;
        let here = ask(&from_store, view, &rows, PATIENT).await;
        for (row, (there_row, here_row)) in
            printed(&there).into_iter().zip(printed(&here)).enumerate()
        {
            let names = there.columns.iter().map(|(output, _)| {
                from_store.catalog.view(view).unwrap().outputs[*output].name.as_str()
            });
            for (name, (there, here)) in names.zip(there_row.iter().zip(&here_row)) {
                // The store keeps less than a database.
                if !here.ends_with("UNKNOWN") {
                    assert_eq!(there, here, "{view}.{name} of {}", rows[row]);
                    compared += 1;
                }
            }
            let is_in = !here_row[0].ends_with("NOT_IN_VIEW");
            let expected = if is_in { "database" } else { "request" };
            assert!(sources(&there, row).iter().all(|source| *source == expected), "{view} {row}");
        }
    }
    assert!(compared > 2_000, "{compared} values were compared");
}

/// Row 7: what a flush has taken would read as customers without a past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_is_answered_for_by_the_database_and_a_new_user_never_asks_it() {
    let (postgres, redis) = (database().await, RedisServer::plain());
    let folder = tempfile::tempdir().unwrap();
    let worker = Server::start(on_redis(redis.url(), folder.path(), options(SQL))).await;
    worker.push("payments", (0..PAYMENTS).map(payment).collect()).await;
    worker.push("logins", (0..LOGINS).map(super::scene::login).collect()).await;
    worker.stop().await;
    let with_database = node_options(postgres.url(), wide());
    let server = Server::start(on_redis(redis.url(), folder.path(), with_database)).await;
    let body = |card| json!({ "rows": [new_payment(PAYMENTS, card)], "deadline_ms": 10_000 });

    let before = server.ask("risk", body(1)).await;
    assert_eq!(before["sources"]["card"], "store", "{before}");
    let new = server.ask("risk", body(999)).await;
    assert_eq!(new["statuses"]["payments_hour"], "NOT_FOUND", "{new}");
    assert_eq!(postgres.questions(), 0, "what the marker covers is not asked for");

    redis.command("FLUSHALL");
    let reply = server
        .send("POST", "/v1/features/risk", Some("application/json"), body(1).to_string())
        .await;
    let timing = reply.headers["server-timing"].to_str().unwrap().to_owned();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    let after = &answer["rows"][0];
    assert_eq!(after["sources"]["card"], "database", "{after}");
    assert_eq!(after["features"], before["features"]);
    assert_eq!(after["statuses"], before["statuses"]);
    assert!(answer["timing_us"]["fallback"].as_u64().unwrap() > 0, "{answer}");
    assert!(timing.contains("fallback;dur="), "{timing}");
    let metrics = server.send("GET", "/metrics", None, "").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("trueup_fallback_total{what=\"answered\"}"), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_more_events_than_the_bound_is_unknown_where_they_are_needed() {
    let postgres = database().await;
    let fallback = fallback(postgres.url(), Bounds { max_rows: 10, ..wide() });
    let answered = ask(&missing(&fallback), "risk", &[new_payment(PAYMENTS, 1)], PATIENT).await;
    let of = |name: &str| {
        let view = missing(&fallback);
        let view = view.catalog.view("risk").unwrap();
        let place = view.outputs.iter().position(|output| output.name == name).unwrap();
        answered.rows[0].statuses[place].clone()
    };
    let (status, reason) = of("amount_ever");
    assert_eq!(status.name(), "UNKNOWN");
    assert!(reason.unwrap().contains("more than 10 events"));
    assert_eq!(of("amounts_three").0.name(), "PRESENT");
}

/// How a node ends that is to start with these settings of the table of payments.
fn refusal(url: String, table: TableSettings) -> String {
    let place = DatabasePlace::Postgres { url, password: None };
    let tables = BTreeMap::from([("payments".to_string(), table)]);
    let database = Some(of_place(place, tables, wide()));
    Node::start(NodeOptions { database, ..options(SQL) }).err().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_do_not_fit_are_refused_at_start_with_place_and_remedy() {
    let postgres = database().await;
    let client = postgres.connect().await;
    client
        .batch_execute("CREATE TABLE short AS SELECT *, 1.5::real AS small FROM payments")
        .await
        .unwrap();
    let table = |table: &str, columns: &[(&str, &str)]| TableSettings {
        table: Some(table.into()),
        columns: columns.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        time_unit: None,
    };
    let said = |table: TableSettings, parts: &[&str]| {
        let found = refusal(postgres.url(), table);
        assert!(parts.iter().all(|part| found.contains(part)), "{found}");
    };
    said(table("public.nowhere", &[]), &["nowhere", "[database_tables.payments] table"]);
    said(table("short", &[("amount", "sum")]), &["\"sum\"", "[database_tables.payments] columns"]);
    said(table("short", &[("score", "small")]), &["small", "float4", "DOUBLE", "view"]);
    said(table("short", &[("at", "id")]), &["\"id\"", "time_unit"]);
    said(table("short", &[("sum", "amount")]), &["no column sum", "amount, score"]);
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_keeps_no_server_from_starting() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(node_options(url(nobody.port()), wide())).await;
    let row =
        server.ask("risk", json!({ "rows": [new_payment(1, 1)], "deadline_ms": 2_000 })).await;
    let reason = row["reasons"]["payments_hour"].as_str().unwrap();
    assert!(reason.contains("the database does not answer"), "{reason}");
    server.stop().await;
}
