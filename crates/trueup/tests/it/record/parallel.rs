//! Many who record payments of one card at one instant: each counts those before it and itself, and
//! repeats count nothing.

use super::{PATIENT_MS, ask, at_ten, client, counted, looked_up, recording};
use crate::outage::on_redis;
use crate::support::{SQL, Server, options, payment};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;
use trueup::client::Client;
use trueup::node::NodeOptions;
use trueup::place::Place;
use trueup_store::testing::servers::{Cluster, RedisServer, Setup};

/// Payments that are recorded at one time.
const PAYMENTS: i64 = 200;

/// On a machine that does much else nothing is STALE, which is not what this is about.
const FRESH_FOR: Duration = Duration::from_secs(3600);

/// Records all payments at one time; what each is answered, in the order of their ids.
async fn record_all(client: &Client) -> Vec<Value> {
    let mut calls = JoinSet::new();
    for id in 1..=PAYMENTS {
        let client = client.clone();
        calls.spawn(async move { (id, ask(&client, &recording(&at_ten(id))).await) });
    }
    let mut answers = calls.join_all().await;
    answers.sort_by_key(|(id, _)| *id);
    answers.into_iter().map(|(_, row)| row).collect()
}

async fn compactions(server: &Server) -> u64 {
    let text = server.send("GET", "/metrics", None, "").await.body;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("what=\"compactions\"") && line.contains("payments"));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0)
}

/// Two payments of one card at one instant were each answered as if there were no other; or a retry
/// of the caller, or the stream's own copy, counted again.
async fn each_counts_those_before_it_once(options: NodeOptions) {
    let server = Server::start(NodeOptions { max_staleness: FRESH_FOR, ..options }).await;
    let client = client(&server, PAYMENTS as usize);
    let answers = record_all(&client).await;
    let mut counts: Vec<i64> = Vec::new();
    for row in &answers {
        let (count, recorded) = counted(row);
        assert_eq!(recorded, "log", "{row}");
        let count = count.unwrap_or_else(|| panic!("{row}"));
        assert_eq!(row["features"]["amount_last_hour"], format!("{count}.00"), "{row}");
        counts.push(count);
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=PAYMENTS).collect::<Vec<_>>());
    let all = json!({ "payments_last_hour": PAYMENTS,
                      "amount_last_hour": format!("{PAYMENTS}.00") });
    assert_eq!(looked_up(&server).await, all);

    for row in record_all(&client).await {
        assert_eq!(counted(&row), (Some(PAYMENTS), "log"), "a repeat counts nothing: {row}");
    }
    assert_eq!(looked_up(&server).await, all, "repeats changed it");

    let events: Vec<Value> = (1..=PAYMENTS).map(at_ten).collect();
    for _ in 0..2 {
        let pushed = server.push("payments", json!(events)).await;
        assert_eq!(pushed["applied"], true, "{pushed}");
    }
    assert_eq!(looked_up(&server).await, all, "the stream's copies changed it");
    let next = ask(&client, &recording(&at_ten(PAYMENTS + 1))).await;
    assert_eq!(counted(&next), (Some(PAYMENTS + 1), "log"));
    assert!(compactions(&server).await > 0, "the worker folded what it found meanwhile");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_recorded_at_one_instant_each_count_those_before_them_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Embedded(folder.path().into());
    each_counts_those_before_it_once(NodeOptions { place, ..options(SQL) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_recorded_at_one_instant_each_count_those_before_them_in_memory() {
    each_counts_those_before_it_once(options(SQL)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_recorded_at_one_instant_each_count_those_before_them_on_one_redis() {
    let (redis, folder) = (RedisServer::plain(), tempfile::tempdir().unwrap());
    each_counts_those_before_it_once(on_redis(&redis.url(), folder.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_recorded_at_one_instant_each_count_those_before_them_on_a_cluster() {
    let (cluster, folder) = (Cluster::start(&Setup::default()), tempfile::tempdir().unwrap());
    each_counts_those_before_it_once(on_redis(&cluster.url(), folder.path())).await;
}

/// Two servers of one store answer payments of one card: each sees what the other recorded, also
/// where neither writes a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_recorded_at_two_servers_see_each_other_before_any_log_has_them() {
    let (redis, folder) = (RedisServer::plain(), tempfile::tempdir().unwrap());
    let both = |ingest| NodeOptions {
        ingest,
        record_to_log: false,
        max_staleness: FRESH_FOR,
        ..on_redis(&redis.url(), folder.path())
    };
    let (one, other) = (Server::start(both(true)).await, Server::start(both(false)).await);
    let mut counts = Vec::new();
    for id in 1..=40 {
        let server = if id % 2 == 0 { &one } else { &other };
        let row = server.ask("risk", recording(&at_ten(id))).await;
        let (count, recorded) = counted(&row);
        assert_eq!(recorded, "state", "{row}");
        counts.push(count.unwrap());
    }
    assert_eq!(counts, (1..=40).collect::<Vec<_>>());
    one.push("payments", (1..=40).map(at_ten).collect()).await;
    assert_eq!(looked_up(&other).await["payments_last_hour"], 40, "once in all");
}

/// Rows of one request do not see each other, recorded or not; those of the next see them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_request_are_seen_by_the_next_and_not_by_each_other() {
    let server = Server::start(options(SQL)).await;
    let rows = json!([at_ten(1), at_ten(2), payment(3, 60, "1.00")]);
    let body = json!({ "rows": rows, "record": true, "columns": ["payments_last_hour"],
                       "deadline_ms": PATIENT_MS });
    let (_, reply) = server.post("/v1/features/risk", &body).await;
    for row in reply["rows"].as_array().unwrap() {
        assert_eq!(counted(row), (Some(1), "log"), "{row}");
    }
    assert!(reply["timing_us"]["log"].is_u64(), "{reply}");
    let next = server.ask("risk", recording(&at_ten(4))).await;
    assert_eq!(counted(&next), (Some(4), "log"));
    server.stop().await;
}

/// Columns that are not asked for are of groups that the event enters all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_recorded_in_all_exact_groups_of_its_stream_whatever_is_asked_of_it() {
    let server = Server::start(NodeOptions { record_to_log: false, ..options(SQL) }).await;
    let body = json!({ "rows": [at_ten(1)], "record": true, "columns": ["amount"] });
    let row = server.ask("risk", body).await;
    assert_eq!(
        (&row["features"], &row["recorded"]),
        (&json!({ "amount": "1.00" }), &json!("state"))
    );
    let ask = json!({ "rows": [at_ten(2)], "deadline_ms": PATIENT_MS });
    let risk = server.ask("risk", ask.clone()).await;
    assert_eq!(risk["features"]["payments_last_hour"], 2);
    assert_eq!(risk["features"]["merchant_last_hour"], 1, "bins see it when the stream brings it");
    assert_eq!(server.ask("approved", ask).await["features"]["n"], 2);
    server.stop().await;
}
