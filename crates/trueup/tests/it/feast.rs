//! Clients of Feast, as they come from PyPI, read features from a server.

use crate::support::{SQL, Server, one_thread, options, packages, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The cards that have payments, one to three each.
const CARDS: i64 = 50;

fn payments_of(card: i64) -> i64 {
    card % 3 + 1
}

/// What a client of this version is given; the newest is in the environment itself, the others lie
/// beside it.
async fn asked_by(version: &'static str, url: String) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/feast/client.py");
    let told = tokio::task::spawn_blocking(move || {
        let clients = packages("TRUEUP_TEST_FEAST", "feast");
        let mut command = one_thread(Command::new(clients.join("bin/python")));
        // Without -O the client instruments its own classes whenever it is imported, which takes
        // some seconds; with it Python compiles all anew unless what it compiled is kept.
        command.arg("-O").env_remove("PYTHONDONTWRITEBYTECODE");
        command.arg(script).arg(url).env("PYTHONPATH", clients.join(version));
        command.output().unwrap()
    });
    let told = told.await.unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{version}: {said}");
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["version"], version);
    told["answers"].clone()
}

async fn server() -> Server {
    let server = Server::start(options(SQL)).await;
    let of_card = |card| {
        (0..payments_of(card)).map(move |number| {
            let mut payment = payment(card * 10 + number, 60, "1.50");
            payment["card"] = card.into();
            payment
        })
    };
    let events: Vec<Value> = (1..=CARDS).flat_map(of_card).collect();
    server.push("payments", json!(events)).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_feast_read_what_the_server_answers() {
    let server = server().await;
    let url = format!("http://{}", server.address);
    for version in ["0.66.0", "0.63.0", "0.60.0"] {
        let answers = asked_by(version, url.clone()).await;
        let row = json!({ "card": [1], "payments_last_hour": [2], "score_last_hour": [0.5],
                          "amount_last_hour": ["3.00"] });
        assert_eq!(answers["one row"], row, "{version}");
        assert_eq!(answers["full names"]["risk__payments_last_hour"], json!([2]), "{version}");
        let counts: Vec<i64> = (1..=CARDS).map(payments_of).collect();
        assert_eq!(answers["fifty rows"]["payments_last_hour"], json!(counts), "{version}");
        let service = &answers["a service"];
        assert_eq!(service["payments_last_hour"], json!([2, 0]), "{version}");
        assert_eq!(service["amount_last_hour"], json!(["3.00", null]), "{version}");
        assert_eq!(service["logins_last_hour"], json!([0, 0]), "{version}");
        let unknown = &answers["an unknown feature"];
        assert_eq!(unknown["raised"], "FeatureViewNotFoundException", "{version}: {unknown}");
        assert!(unknown["text"].as_str().unwrap().contains("it has: id, amount"), "{unknown}");
        let never = &answers["a card never seen"];
        assert_eq!(never["payments_last_hour"], json!([0]), "{version}: as in training");
        assert_eq!(never["score_last_hour"], json!([null]), "{version}");
    }
    server.stop().await;
}

/// A result by its name.
fn result<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let names = reply["metadata"]["feature_names"].as_array().unwrap();
    &reply["results"][names.iter().position(|it| it == name).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_come_in_feasts_words_and_in_our_own_where_it_has_none() {
    let server = server().await;
    let ask = json!({ "entities": { "card": [1, 999] },
                      "features": ["risk:payments_last_hour", "risk:merchant_last_hour"] });
    let (status, reply) = server.post("/get-online-features", &ask).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply["metadata"]["feature_names"][0], "card");
    assert_eq!(reply["results"][0]["event_timestamps"][0], "1970-01-01T00:00:00.000000Z");
    let count = result(&reply, "payments_last_hour");
    assert_eq!(count["values"], json!([2, 0]));
    assert_eq!(count["statuses"], json!(["PRESENT", "PRESENT"]));
    assert_eq!(count["trueup_statuses"], json!(["PRESENT", "NOT_FOUND"]));
    assert_eq!(count["event_timestamps"][0], "2026-11-24T10:00:00.000000Z");
    let lacking = result(&reply, "merchant_last_hour");
    assert_eq!(lacking["values"], json!([null, null]));
    assert_eq!(lacking["statuses"], json!(["NOT_FOUND", "NOT_FOUND"]), "no merchant was given");
    assert!(lacking["trueup_reasons"][0].as_str().unwrap().contains("no such key"), "{lacking}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_the_id_of_their_stream_are_answered_as_if_appended() {
    let server = server().await;
    let ask = json!({
        "entities": { "id": [1, 2], "card": [1, 1], "merchant": ["m", "other"],
                      "amount": ["4.00", 5], "score": [1.0, 0.5], "at": [null, null] },
        "features": ["risk:amount_last_hour", "risk:merchant_last_hour"],
    });
    let (status, reply) = server.post("/get-online-features", &ask).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(result(&reply, "amount_last_hour")["values"], json!(["7.00", "8.00"]));
    let merchants: i64 = (1..=CARDS).map(payments_of).sum();
    assert_eq!(result(&reply, "merchant_last_hour")["values"], json!([merchants + 1, 1]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_feasts_clients_cannot_have_is_told_in_a_form_that_they_raise() {
    let server = server().await;
    let typed =
        |entities: Value, features: Value| json!({ "entities": entities, "features": features });
    let card = || json!({ "card": [1] });
    for (ask, code, part) in [
        (typed(card(), json!(["nothing:n"])), 404, "FeatureViewNotFoundException"),
        (typed(card(), json!(["risk:nothing"])), 404, "it has: id, amount"),
        (json!({ "entities": card(), "feature_service": "x" }), 404, "FeatureServiceNotFound"),
        (typed(card(), json!(["risk:id", "approved:id"])), 422, "FeatureNameCollisionError"),
        (typed(card(), json!(["risk"])), 400, "VIEW:COLUMN"),
        (typed(json!({}), json!(["risk:id"])), 400, "no entities"),
        (typed(json!({ "card": [1], "merchant": [] }), json!(["risk:id"])), 400, "merchant has 0"),
        (typed(json!({ "user": [1] }), json!(["risk:amount_last_hour"])), 422, "the key user"),
        (typed(json!({ "card": ["x"] }), json!(["risk:amount_last_hour"])), 422, "BIGINT"),
        (typed(json!({ "card": vec![1; 1_001] }), json!(["risk:id"])), 413, "1000"),
        (json!({ "entities": card() }), 400, "feature_service is wanted"),
    ] {
        let (status, reply) = server.post("/get-online-features", &ask).await;
        assert_eq!(status.as_u16(), code, "{ask}: {reply}");
        assert!(reply.to_string().contains(part), "{ask}: {reply}");
        if let Some(text) = reply.as_str() {
            let error: Value = serde_json::from_str(text).unwrap();
            assert_eq!(error["module"], "feast.errors");
        }
    }
    server.stop().await;
}
