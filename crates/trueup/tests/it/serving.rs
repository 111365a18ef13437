//! Events in, features out, over HTTP.

use crate::support::{SQL, Server, TEN, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use trueup::clock::Clock;
use trueup::ingest::NewBeginning;
use trueup::node::{Node, NodeOptions};
use trueup::place::Place;
use trueup_core::Micros;

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_event_is_counted_for_the_next_row() {
    let server = Server::start(options(SQL)).await;
    let reply =
        server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "2.00")])).await;
    assert_eq!(reply, json!({ "accepted": 2, "dead_letters": [], "applied": true }));
    let row = server.ask("risk", json!({ "rows": [payment(3, 0, "4.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 3);
    assert_eq!(row["features"]["amount_last_hour"], "7.00");
    assert_eq!(row["features"]["score_last_hour"], 0.5);
    assert_eq!(row["features"]["merchant_last_hour"], 3);
    assert_eq!(row["statuses"], json!({ "logins_last_hour": "NOT_FOUND" }));
    assert_eq!(row["status"], "NOT_FOUND");
    assert_eq!(row["sources"], json!({ "card": "store", "merchant": "store" }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_counts_once_before_and_after_it_is_delivered() {
    let server = Server::start(options(SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    let ask = json!({ "rows": [payment(2, 0, "2.00")] });
    let before = server.ask("risk", ask.clone()).await;
    server.push("payments", json!([payment(2, 0, "2.00")])).await;
    let after = server.ask("risk", ask).await;
    assert_eq!(before["features"]["payments_last_hour"], 2);
    assert_eq!(before["features"], after["features"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_retried_is_counted_once() {
    let server = Server::start(options(SQL)).await;
    for _ in 0..3 {
        let reply = server.push("payments", json!([payment(1, 60, "1.00")])).await;
        assert_eq!(reply["accepted"], 1);
    }
    let row = server
        .ask(
            "risk",
            json!({ "keys": [{ "card": 1, "merchant": "m" }],
                                         "at": "2026-11-24T10:00:00Z" }),
        )
        .await;
    assert_eq!(row["features"]["payments_last_hour"], 1);
    assert_eq!(row["features"]["merchant_last_hour"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_pipeline_is_behind_of_is_stale_and_says_since_when() {
    let now = Arc::new(AtomicI64::new(TEN));
    let shown = Arc::clone(&now);
    let clock = Clock::of(move || Micros(shown.load(Ordering::SeqCst)));
    let dir = tempfile::tempdir().unwrap();
    let embedded = |ingest| NodeOptions {
        place: Place::Embedded(dir.path().into()),
        clock: clock.clone(),
        ingest,
        ..options(SQL)
    };
    let server = Server::start(embedded(true)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    server.stop().await;
    now.fetch_add(60_000_000, Ordering::SeqCst);
    let server = Server::start(embedded(false)).await;
    let row = server.ask("risk", json!({ "rows": [payment(2, 0, "1.00")] })).await;
    assert_eq!(row["statuses"]["payments_last_hour"], "STALE");
    assert_eq!(row["features"]["payments_last_hour"], 2);
    let reason = row["reasons"]["payments_last_hour"].as_str().unwrap();
    assert!(reason.contains("2026-11-24T10:00:00"), "{reason}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_no_pipeline_made_is_unknown_and_never_zero() {
    let server = Server::start(NodeOptions { ingest: false, ..options(SQL) }).await;
    let row = server.ask("risk", json!({ "rows": [payment(1, 0, "1.00")] })).await;
    assert_eq!(row["statuses"]["payments_last_hour"], "UNKNOWN");
    assert_eq!(row["features"]["payments_last_hour"], Value::Null);
    assert!(row["reasons"]["payments_last_hour"].as_str().unwrap().contains("trueup run"));
    let ready = server.send("GET", "/readyz", None, "").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_on_a_quiet_pipeline_is_zero_and_not_unknown() {
    let server = Server::start(options(SQL)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let row = server.ask("risk", json!({ "keys": [{ "card": 77 }] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 0);
    assert_eq!(row["statuses"]["payments_last_hour"], "NOT_FOUND");
    assert_eq!(row["features"]["merchant_last_hour"], Value::Null);
    assert_eq!(row["statuses"]["merchant_last_hour"], "NULL_VALUE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_far_ahead_of_its_log_is_a_dead_letter_and_the_rest_goes_on() {
    let server = Server::start(options(SQL)).await;
    let ahead = payment(1, -86_400, "1.00");
    let reply = server.push("payments", json!([ahead, payment(2, 10, "2.00")])).await;
    assert_eq!(reply["accepted"], 1);
    assert_eq!(reply["dead_letters"][0]["index"], 0);
    assert_eq!(reply["dead_letters"][0]["column"], "at");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_answers_as_before_and_reads_the_log_no_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = || NodeOptions { place: Place::Embedded(dir.path().into()), ..options(SQL) };
    let ask = json!({ "rows": [payment(9, 0, "1.00")], "explain": true });
    let server = Server::start(embedded()).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "2.00")])).await;
    server.push("logins", json!([{ "id": "a", "at": "2026-11-24T09:59:00Z", "card": 1 }])).await;
    let before = server.ask("risk", ask.clone()).await;
    server.stop().await;
    let server = Server::start(embedded()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after = server.ask("risk", ask).await;
    assert_eq!(before["features"], after["features"]);
    assert_eq!(before["features"]["logins_last_hour"], 1);
    assert_eq!(before["explain"], after["explain"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explained_answer_lists_the_events_that_each_value_counted() {
    let server = Server::start(options(SQL)).await;
    let late = payment(3, 7_200, "5.00");
    let events = json!([payment(1, 60, "1.00"), payment(2, 30, "2.00"), late]);
    server.push("payments", events).await;
    let ask = json!({ "rows": [payment(4, 0, "4.00")], "explain": true,
                      "columns": ["amount_last_hour", "merchant_last_hour", "logins_last_hour"] });
    let row = server.ask("risk", ask).await;
    let frame = |name: &str| {
        let frames = row["explain"].as_array().unwrap().iter();
        let mut frames = frames.flat_map(|look_up| look_up["frames"].as_array().unwrap());
        frames.find(|frame| frame["columns"] == json!([name])).unwrap().clone()
    };
    let hour = frame("amount_last_hour");
    assert_eq!(hour["from"], "2026-11-24T09:00:00.000000Z");
    assert_eq!(hour["to"], "2026-11-24T10:00:00.000000Z");
    assert_eq!(hour["counted"], 3);
    let listed: Vec<i64> =
        hour["events"].as_array().unwrap().iter().map(|it| it["id"].as_i64().unwrap()).collect();
    assert_eq!(listed, [4, 2, 1], "the request's own first, not the one of two hours ago");
    let busy = frame("merchant_last_hour");
    let raw = busy["counted"].as_u64().unwrap();
    assert_eq!(raw + busy["in_bins"].as_u64().unwrap_or(0), 3, "{busy}");
    assert_eq!(frame("logins_last_hour")["events"], json!([]));
    assert_eq!(row["explain"][0]["source"], "store");
    assert_eq!(row["explain"][0]["as_of"], row["as_of"]["card"]);
    let ask = json!({ "rows": [payment(4, 0, "4.00")], "explain": "positions" });
    let lighter = server.ask("risk", ask).await;
    assert_eq!(lighter["explain"][0]["positions"], row["explain"][0]["positions"]);
    assert_eq!(lighter["explain"][0]["frames"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_under_a_state_is_refused_until_somebody_declares_it() {
    let dir = tempfile::tempdir().unwrap();
    let embedded =
        |policy| NodeOptions { place: Place::Embedded(dir.path().into()), policy, ..options(SQL) };
    let server = Server::start(embedded(NewBeginning::Refuse)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    server.stop().await;
    std::fs::remove_file(dir.path().join("log.redb")).unwrap();
    let refused = Node::start(embedded(NewBeginning::Refuse)).unwrap_err().to_string();
    assert!(refused.contains("made anew") && refused.contains("--new-beginning"), "{refused}");
    let server = Server::start(embedded(NewBeginning::Declared)).await;
    server.push("payments", json!([payment(2, 30, "2.00")])).await;
    let row = server.ask("risk", json!({ "rows": [payment(3, 0, "4.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_share_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = || NodeOptions { place: Place::Embedded(dir.path().into()), ..options(SQL) };
    let server = Server::start(embedded()).await;
    let refused = Node::start(embedded()).unwrap_err().to_string();
    assert!(refused.contains("in use by process"), "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_read_again_over_http() {
    let server = Server::start(options(SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "2.00")])).await;
    let reply = server.send("GET", "/v1/events/payments?from=1", None, "").await;
    let line: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&line["offset"], &line["event"]["id"]), (&json!(1), &json!(2)));
    assert_eq!(line["log_time_us"], TEN);
    let end = server.send("GET", "/v1/events/payments?from=2", None, "").await;
    assert!(end.body.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_each_stage_cost() {
    let server = Server::start(options(SQL)).await;
    let body = json!({ "rows": [payment(1, 0, "1.00")] }).to_string();
    let reply = server.send("POST", "/v1/features/risk", Some("application/json"), body).await;
    let timing = reply.headers["server-timing"].to_str().unwrap();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    for stage in ["parse", "store", "compute", "encode"] {
        assert!(timing.contains(&format!("{stage};dur=")), "{timing}");
        assert!(answer["timing_us"][stage].is_u64(), "{answer}");
    }
    let metrics = server.send("GET", "/metrics", None, "").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let counted = "trueup_stage_seconds_count{stage=\"store\",view=\"risk\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_an_event_time_gets_the_servers_clock_and_is_told() {
    let server = Server::start(options(SQL)).await;
    let row =
        server.ask("risk", json!({ "rows": [{ "id": 1, "card": 1, "amount": "1.00" }] })).await;
    assert_eq!(row["event_time"], "2026-11-24T10:00:00.000000Z");
    assert_eq!(row["features"]["payments_last_hour"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_columns_that_are_asked_for_are_answered() {
    let server = Server::start(options(SQL)).await;
    let ask = json!({ "rows": [payment(1, 0, "1.00")], "columns": ["amount_last_hour"] });
    let row = server.ask("risk", ask).await;
    assert_eq!(row["features"], json!({ "amount_last_hour": "1.00" }));
    assert_eq!(row["sources"], json!({ "card": "store" }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_token_answers_nobody_without_it() {
    let token = Some("0123456789abcdef".to_string());
    let server = Server::start(NodeOptions { token, ..options(SQL) }).await;
    let row = server.ask("risk", json!({ "rows": [payment(1, 0, "1.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 1);
    let base_url = format!("http://{}", server.address);
    let stranger = trueup::client::ClientOptions { base_url, ..Default::default() };
    let stranger = trueup::client::Client::new(&stranger).unwrap();
    for (method, path) in trueup::http::ROUTES {
        let path = path.replace("{view}", "risk").replace("{stream}", "payments");
        let reply = stranger.request(method.parse().unwrap(), &path, None, "{}".into()).await;
        let status = reply.unwrap().status;
        match path.as_str() {
            "/livez" | "/readyz" | "/health" => {
                assert_ne!(status, StatusCode::UNAUTHORIZED, "{path}");
            }
            _ => assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}"),
        }
    }
    server.stop().await;
}
