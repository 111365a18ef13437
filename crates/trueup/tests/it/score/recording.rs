//! Rows that are scored and recorded by one request.

use super::{SQL, Shelf, payment};
use crate::outage::on_redis;
use crate::support::{Server, options};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use trueup::node::NodeOptions;
use trueup::place::Place;
use trueup_store::testing::servers::{Cluster, RedisServer, Setup};

/// Payments that are scored and recorded at one time.
const PAYMENTS: i64 = 200;

/// The first row's answer; asks again where the server is busy and took nothing.
async fn record(server: &Server, model: &str, id: i64) -> Value {
    let body = json!({ "rows": [payment(id, 0)], "record": true, "deadline_ms": 10_000 });
    loop {
        let (status, reply) = server.post(&format!("/v1/score/{model}"), &body).await;
        if status == StatusCode::OK {
            return reply["rows"][0].clone();
        }
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(is_busy && !reply.to_string().contains("recorded all the same"), "{reply}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the model `count`, whose score is a payment's count, says of all payments.
async fn scores(server: &Arc<Server>) -> Vec<i64> {
    let mut calls = JoinSet::new();
    for id in 2..2 + PAYMENTS {
        let server = Arc::clone(server);
        calls.spawn(async move {
            let row = record(&server, "count", id).await;
            assert_eq!(row["recorded"], "log", "{row}");
            let score = row["score"].as_f64().unwrap_or_else(|| panic!("{row}"));
            assert_eq!(row["features"]["n"].as_f64(), Some(score), "{row}");
            score as i64
        });
    }
    let mut scores = calls.join_all().await;
    scores.sort_unstable();
    scores
}

/// Two payments of one card at one instant were each scored as if there were no other.
async fn each_is_scored_with_those_before_it(options: NodeOptions) {
    let shelf = Shelf::new();
    shelf.put("count", "count");
    let settle = |given: &mut NodeOptions| {
        given.place = options.place;
        given.clock = options.clock;
        given.max_staleness = Duration::from_secs(3_600);
    };
    let server = Arc::new(shelf.server_with(settle).await);
    // One was there before.
    assert_eq!(scores(&server).await, (2..2 + PAYMENTS).collect::<Vec<_>>());
    let all = 1 + PAYMENTS;
    assert_eq!(scores(&server).await, vec![all; PAYMENTS as usize], "repeats count nothing");
    let events: Vec<Value> = (2..2 + PAYMENTS).map(|id| payment(id, 0)).collect();
    server.push("payments", json!(events)).await;
    assert_eq!(scores(&server).await, vec![all; PAYMENTS as usize], "nor the stream's copies");
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_scored_at_one_instant_are_scored_with_those_before_them_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Embedded(folder.path().into());
    each_is_scored_with_those_before_it(NodeOptions { place, ..options(SQL) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_scored_at_one_instant_are_scored_with_those_before_them_on_one_redis() {
    let (redis, folder) = (RedisServer::plain(), tempfile::tempdir().unwrap());
    each_is_scored_with_those_before_it(on_redis(&redis.url(), folder.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_scored_at_one_instant_are_scored_with_those_before_them_on_a_cluster() {
    let (cluster, folder) = (Cluster::start(&Setup::default()), tempfile::tempdir().unwrap());
    each_is_scored_with_those_before_it(on_redis(&cluster.url(), folder.path())).await;
}

/// A caller whose score came too late took it that nothing was recorded, and sent the payment again
/// under another id.
#[tokio::test(flavor = "multi_thread")]
async fn a_score_that_is_late_says_that_the_row_is_recorded_all_the_same() {
    let shelf = Shelf::new();
    shelf.put("slow", "slow");
    shelf.put("count", "count");
    let server = shelf.server().await;
    let body = json!({ "rows": [payment(2, 0)], "record": true, "deadline_ms": 1_000 });
    let (status, problem) = server.post("/v1/score/slow", &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["type"], "urn:trueup:problem:late", "{problem}");
    let remedy = problem["remedy"].as_str().unwrap();
    assert!(remedy.contains("recorded all the same: 1 in the log"), "{problem}");
    assert_eq!(record(&server, "count", 3).await["score"], 3.0);
    server.stop().await;
}
