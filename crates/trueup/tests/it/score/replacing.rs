//! Files that come, change and go under a running server.

use super::{Shelf, metric, payment, remark, score, until};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Callers at one time.
const CALLERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_replaced_under_load_without_a_failed_request() {
    let shelf = Shelf::new();
    shelf.put("one", "fraud");
    let server = Arc::new(shelf.server().await);
    let end = Arc::new(AtomicBool::new(false));
    let caller = |server: Arc<crate::support::Server>, end: Arc<AtomicBool>| async move {
        let mut seen: Vec<(String, Value)> = Vec::new();
        while !end.load(Ordering::SeqCst) {
            let (status, reply) = score(&server, "fraud", payment(2, 0)).await;
            assert_eq!(status, StatusCode::OK, "{reply}");
            let version = reply["version"].as_str().unwrap().to_owned();
            seen.push((version, reply["rows"][0]["score"].clone()));
        }
        seen
    };
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(caller(Arc::clone(&server), Arc::clone(&end)))).collect();
    for made in ["two", "one", "two"] {
        let before = remark(&server, "fraud").await;
        shelf.put(made, "fraud");
        until(&server, |now| *now != before).await;
    }
    end.store(true, Ordering::SeqCst);
    let (mut pairs, mut requests) = (BTreeSet::new(), 0);
    for caller in callers {
        let seen = caller.await.unwrap();
        requests += seen.len();
        pairs.extend(seen.into_iter().map(|(version, score)| (version, score.to_string())));
    }
    println!("{requests} requests, none failed");
    let scores: Vec<&str> = pairs.iter().map(|(_, score)| score.as_str()).collect();
    assert_eq!(pairs.len(), 2, "each version has its score: {pairs:?}");
    assert!(scores.contains(&"1.0") && scores.contains(&"2.0"), "{pairs:?}");
    Arc::into_inner(server).unwrap().stop().await;
}

/// A half-copied file took the fraud model away.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_leaves_the_model_that_was_there() {
    let shelf = Shelf::new();
    shelf.put("one", "fraud");
    let server = shelf.server().await;
    let (_, before) = score(&server, "fraud", payment(2, 0)).await;
    std::fs::write(shelf.path("fraud"), b"no model").unwrap();
    let told = until(&server, |now| now.contains("is loaded")).await;
    assert!(told.contains(before["version"].as_str().unwrap()), "{told}");
    let (status, after) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!((status, &after["rows"]), (StatusCode::OK, &before["rows"]));
    assert_eq!(after["version"], before["version"]);
    assert_eq!(metric(&server, "trueup_models_refused_total{model=\"fraud\"}").await, 1.0);
    let ready = server.send("GET", "/readyz", None, "").await;
    assert_eq!(ready.status, StatusCode::OK, "features are answered all the same");
    shelf.put("two", "fraud");
    until(&server, |now| now.contains("scores view risk")).await;
    let (_, mended) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!(mended["rows"][0]["score"], 2.0);
    std::fs::remove_file(shelf.path("fraud")).unwrap();
    until(&server, |now| now.is_empty()).await;
    let (status, gone) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!((status, &gone["status"]), (StatusCode::NOT_FOUND, &json!(404)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inference_is_timed_apart_from_retrieval() {
    let shelf = Shelf::new();
    shelf.put("one", "fraud");
    let server = shelf.server().await;
    let body = json!({ "rows": [payment(2, 0)] }).to_string();
    let reply = server.send("POST", "/v1/score/fraud", Some("application/json"), body).await;
    let timing = reply.headers["server-timing"].to_str().unwrap();
    assert!(timing.contains("store;dur=") && timing.contains("inference;dur="), "{timing}");
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    let times = answer["timing_us"].as_object().unwrap();
    let retrieval = times["retrieval"].as_u64().unwrap();
    let parts = times.iter().filter(|(stage, _)| !["inference", "retrieval"].contains(&&***stage));
    let sum: u64 = parts.map(|(_, took)| took.as_u64().unwrap()).sum();
    // Each part is cut to whole microseconds.
    assert!((sum..sum + 6).contains(&retrieval), "{times:?}");
    assert_eq!(answer["rows"][0]["features"], json!({ "n": 2 }));
    assert_eq!(answer["rows"][0]["status"], "PRESENT");
    let plain = server.ask("risk", json!({ "rows": [payment(2, 0)], "columns": ["n"] })).await;
    assert_eq!(of_features(&answer["rows"][0]), of_features(&plain));
    for line in [
        "trueup_score_seconds_count{model=\"fraud\"}",
        "trueup_score_requests_total{code=\"200\",model=\"fraud\"}",
        "trueup_scores_total{model=\"fraud\",what=\"score\"}",
        "trueup_models_loaded",
    ] {
        assert_eq!(metric(&server, line).await, 1.0, "{line}");
    }
    let stage = "trueup_stage_seconds_count{stage=\"inference\",view=\"risk\"}";
    assert_eq!(metric(&server, stage).await, 0.0, "it is no stage of retrieval");
    server.stop().await;
}

/// The members of a row that are not the model's, in their order.
fn of_features(row: &Value) -> Vec<&String> {
    row.as_object().unwrap().keys().filter(|member| *member != "score").collect()
}
