//! What is not scored: models that do not fit, rows without the values that a model needs, and
//! requests that come too late.

use super::{Shelf, metric, payment, remark, runtime, said, score};
use crate::support::options;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Policy, Status, ViewPolicy};

fn without(column: &str) -> Value {
    let mut row = payment(2, 0);
    row[column] = Value::Null;
    row
}

/// A NULL in a tensor of integers was scored as 0 items.
#[tokio::test(flavor = "multi_thread")]
async fn null_is_no_integer_and_the_row_has_no_score_but_a_reason() {
    let shelf = Shelf::new();
    shelf.put("integers", "fraud");
    let server = shelf.server().await;
    let body = json!({ "rows": [payment(2, 0), without("items"), payment(3, 0)] });
    let (status, reply) = server.post("/v1/score/fraud", &body).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    let scores: Vec<&Value> =
        reply["rows"].as_array().unwrap().iter().map(|row| &row["score"]).collect();
    assert_eq!(scores, [&json!(3.0), &Value::Null, &json!(3.0)]);
    let why = reply["rows"][1]["score_reason"].as_str().unwrap();
    assert!(why.contains("input items is NULL"), "{why}");
    assert_eq!(reply["rows"][1]["statuses"]["items"], "NULL_VALUE");
    let line = "trueup_scores_total{model=\"fraud\",what=\"null\"}";
    assert_eq!(metric(&server, line).await, 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_makes_of_nan_is_no_score_unless_it_is_a_number() {
    let shelf = Shelf::new();
    shelf.put("amount", "fraud");
    let server = shelf.server().await;
    let (_, known) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!(known["rows"][0]["score"], 12.5);
    let (_, unknown) = score(&server, "fraud", without("amount")).await;
    assert_eq!(unknown["rows"][0]["score"], Value::Null);
    assert_eq!(unknown["rows"][0]["score_reason"], "the model gave NaN, which is no score");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_unknown_is_what_the_views_policy_says() {
    let shelf = Shelf::new();
    let view = |policy, defaults: &[(&str, &str)]| {
        let defaults = defaults.iter().map(|(name, text)| (name.to_string(), text.to_string()));
        let policies = vec![(Status::Unknown, policy)];
        let said = ViewPolicy { policies, defaults: defaults.collect() };
        [("risk".to_owned(), said)].into()
    };
    shelf.put("one", "fraud");
    // Without a pipeline all that is looked up is UNKNOWN.
    let blind = |views| NodeOptions {
        ingest: false,
        models: Some(shelf.settings()),
        views,
        ..options(super::SQL)
    };
    for (views, expected) in [
        (Default::default(), Value::Null),
        (view(Policy::Null, &[]), Value::Null),
        (view(Policy::Default, &[("n", "7")]), json!(1.0)),
    ] {
        let server = crate::support::Server::start(blind(views)).await;
        let (status, reply) = score(&server, "fraud", payment(2, 0)).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert_eq!(reply["rows"][0]["score"], expected, "{reply}");
        assert_eq!(reply["rows"][0]["statuses"]["n"], "UNKNOWN");
        server.stop().await;
    }
    let server = crate::support::Server::start(blind(view(Policy::Refuse, &[]))).await;
    let (status, problem) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["type"], "urn:trueup:problem:refused-by-policy");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_view_leaves_out_has_no_score() {
    let shelf = Shelf::new();
    shelf.put("amount", "fraud");
    let change = |options: &mut NodeOptions| {
        let models = options.models.as_mut().unwrap();
        models.each.insert("fraud".to_owned(), said(Some("large"), &[], None));
    };
    let server = shelf.server_with(change).await;
    let (_, reply) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!(reply["view"], "large", "settings go before what the model says");
    assert_eq!(reply["rows"][0]["score"], Value::Null);
    assert_eq!(reply["rows"][0]["score_reason"], "the view leaves the row out");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_do_not_fit_are_refused_by_name_and_the_server_starts() {
    let shelf = Shelf::new();
    let cases = [
        ("of_no_view", "view = \"NAME\" under [models.of_no_view]"),
        ("of_no_columns", "there are three ways: columns = [...]"),
        ("of_another", "it was trained on a view of the digest 000000"),
        ("mystery", "Mystery"),
        ("image", "input x is"),
        ("half", "input n is Tensor<f16>"),
    ];
    cases.iter().for_each(|(name, _)| shelf.put(name, name));
    shelf.put("of_no_columns", "named_twice");
    shelf.put("of_no_columns", "wide");
    let change = |options: &mut NodeOptions| {
        let each = &mut options.models.as_mut().unwrap().each;
        each.insert("named_twice".to_owned(), said(None, &["n", "at", "n", "n"], None));
        each.insert("wide".to_owned(), said(None, &["n", "items", "amount", "speed"], None));
    };
    let server = shelf.server_with(change).await;
    let typed = ("named_twice", "column at is TIMESTAMP; such an input takes BIGINT, DOUBLE");
    for (name, part) in cases.into_iter().chain([typed]) {
        let told = remark(&server, name).await;
        assert!(told.starts_with("not loaded: ") && told.contains(part), "{name}: {told}");
        let (status, problem) = score(&server, name, payment(2, 0)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{name}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{name}: {problem}");
    }
    let (status, reply) = score(&server, "wide", payment(2, 0)).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply["rows"][0]["score"], (2.0 + 3.0 + 12.5 + 0.5) / 4.0);
    let (status, problem) = score(&server, "nothing", payment(2, 0)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem["remedy"].as_str().unwrap().contains("half, image, mystery"), "{problem}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_fit_get_the_problems_of_features() {
    let shelf = Shelf::new();
    shelf.put("one", "fraud");
    let server = shelf.server().await;
    for (body, status, place, part) in [
        (json!({}), 400, "body", "neither rows nor keys"),
        (json!({ "rows": [], "columns": ["n"] }), 400, "columns", "columns of its own"),
        (json!({ "rows": [], "deadline_ms": 0 }), 400, "deadline_ms", "10000"),
        (json!({ "rows": [{ "id": "x" }] }), 422, "rows[0].id", "BIGINT"),
        (json!({ "keys": [{ "user": 1 }] }), 422, "keys[0]", "card"),
        (json!({ "rows": vec![payment(2, 0); 1_001] }), 413, "rows", "1000"),
    ] {
        let (found, problem) = server.post("/v1/score/fraud", &body).await;
        assert_eq!(found.as_u16(), status, "{problem}");
        assert!(problem["at"].as_str().unwrap().contains(place), "{problem}");
        assert!(problem.to_string().contains(part), "{problem}");
    }
    let path = "/v1/score/fraud?x=1";
    let (status, problem) = server.post(path, &json!({ "rows": [] })).await;
    assert_eq!((status.as_u16(), &problem["at"]), (400, &json!("query")));
    let (status, empty) = server.post("/v1/score/fraud", &json!({ "rows": [] })).await;
    assert_eq!((status.as_u16(), &empty["rows"]), (200, &json!([])));
    let by_key = json!({ "keys": [{ "card": 1 }], "at": "2026-11-24T10:00:00Z" });
    let (status, reply) = server.post("/v1/score/fraud", &by_key).await;
    assert_eq!((status.as_u16(), &reply["rows"][0]["features"]["n"]), (200, &json!(1)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_too_long_is_stopped_at_the_deadline_and_others_go_on() {
    let shelf = Shelf::new();
    shelf.put("slow", "slow");
    shelf.put("one", "fraud");
    let server = shelf.server().await;
    let began = Instant::now();
    let late = json!({ "rows": [payment(2, 0)], "deadline_ms": 300 });
    for _ in 0..8 {
        let (status, problem) = server.post("/v1/score/slow", &late).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        assert_eq!(problem["type"], "urn:trueup:problem:late", "{problem}");
    }
    println!("eight requests that are late took {:?}", began.elapsed());
    let began = Instant::now();
    let (status, reply) = score(&server, "fraud", payment(2, 0)).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    println!("the next request took {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "runs that nobody waits for go on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_or_folder_that_is_missing_is_told_at_start_with_the_remedy() {
    let shelf = Shelf::new();
    let mut settings = shelf.settings();
    settings.runtime = "nowhere/libonnxruntime.so.1".into();
    let refused = |settings| {
        let models = Some(settings);
        Node::start(NodeOptions { models, ..options(super::SQL) }).unwrap_err().to_string()
    };
    let why = refused(settings.clone());
    for part in ["setting models.runtime", "nowhere/libonnxruntime.so.1", "pip install onnxruntime"]
    {
        assert!(why.contains(part), "{why}");
    }
    settings.runtime = shelf.path("draft");
    std::fs::write(&settings.runtime, b"no library").unwrap();
    let why = refused(settings.clone());
    assert!(why.contains("cannot be used"), "{why}");
    settings.runtime = runtime();
    settings.folder = shelf.served.path().join("nowhere");
    let why = refused(settings);
    assert!(why.contains("setting models.folder") && why.contains("make it"), "{why}");
}
