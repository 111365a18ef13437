//! Everything is bounded: keys, values, calls. What is above a bound is refused or UNKNOWN with the
//! reason, and nothing else suffers.

use crate::support::{SQL, Server, TEN, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use trueup::catalog::Catalog;
use trueup::node::NodeOptions;
use trueup_sql::{SourceFile, compile};

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_key_is_refused_before_the_store_is_asked_and_stops_no_pipeline() {
    let server = Server::start(options(SQL)).await;
    let mut huge = payment(1, 60, "1.00");
    huge["merchant"] = "x".repeat(10_000).into();
    let reply = server.push("payments", json!([huge, payment(2, 30, "2.00")])).await;
    assert_eq!(reply["accepted"], 1);
    assert_eq!(reply["dead_letters"][0]["column"], "merchant");
    let (status, problem) =
        server.post("/v1/features/risk", &json!({ "rows": [huge.clone()] })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["at"], "body, rows[0].merchant");
    let keys = json!({ "keys": [{ "merchant": "x".repeat(10_000) }] });
    let (status, _) = server.post("/v1/features/risk", &keys).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let row = server.ask("risk", json!({ "rows": [payment(3, 0, "4.00")] })).await;
    assert_eq!(row["features"]["amount_last_hour"], "6.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_keys_in_one_call_are_refused() {
    let server = Server::start(options(SQL)).await;
    let keys: Vec<Value> = (0..10_000).map(|card| json!({ "card": card })).collect();
    let (status, problem) = server.post("/v1/features/risk", &json!({ "keys": keys })).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{problem}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_more_events_than_its_bound_is_unknown_behind_it_and_never_short() {
    let file = SourceFile { name: "test.sql".into(), text: SQL.into() };
    let mut catalog = Catalog::new(compile(&[file]).unwrap());
    catalog.limits.max_bytes = 1_000;
    let server = Server::start(NodeOptions { catalog: Arc::new(catalog), ..options(SQL) }).await;
    let events: Vec<Value> = (0..400).map(|id| payment(id, 2_000 - id, "1.00")).collect();
    server.push("payments", events.into()).await;
    let row = server.ask("risk", json!({ "rows": [payment(1_000, 0, "1.00")] })).await;
    assert_eq!(row["statuses"]["payments_last_hour"], "UNKNOWN");
    assert_eq!(row["features"]["payments_last_hour"], Value::Null);
    assert!(row["reasons"]["payments_last_hour"].as_str().unwrap().contains("whole"));
    assert_eq!(row["features"]["merchant_last_hour"], 401, "bins do not have that bound");
    let other = server.ask("risk", json!({ "keys": [{ "card": 2 }] })).await;
    assert_eq!(other["features"]["payments_last_hour"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_at_the_ends_of_the_calendar_are_events_or_dead_letters_and_never_overflow() {
    let server = Server::start(options(SQL)).await;
    let at = |time: Value| {
        let mut event = payment(TEN, 0, "1.00");
        event["at"] = time;
        event
    };
    for (time, taken) in [
        (json!("0001-01-01T00:00:00Z"), 1),
        (json!("1969-12-31T23:59:59.999999Z"), 1),
        (json!("9999-12-31T23:59:59.999999Z"), 0),
        (json!("2026-11-24T10:00:00.0000001Z"), 0),
        (json!(1_795_514_400), 0),
        (json!(-1), 0),
        (json!(9_223_372_036_854_775_807_i64), 0),
    ] {
        let reply = server.push("payments", json!([at(time.clone())])).await;
        assert_eq!(reply["accepted"], taken, "{time}: {reply}");
    }
    for time in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
        let row = server.ask("risk", json!({ "keys": [{ "card": 1 }], "at": time })).await;
        assert!(row["status"].is_string());
    }
    server.stop().await;
}
