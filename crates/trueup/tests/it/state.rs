//! `trueup state show`: what the store holds of a key, taken apart for a person.

use crate::backfill::{Server, backfill, project, said, trueup, write_history};
use crate::pay::{Payment, push};
use serde_json::{Value, json};
use std::path::Path;
use trueup_store::testing::servers::RedisServer;

fn show(folder: &Path, arguments: &[&str]) -> std::process::Output {
    trueup(folder, &[&["state", "show"], arguments].concat()).output().unwrap()
}

fn shown(folder: &Path, arguments: &[&str]) -> Value {
    let output = show(folder, &[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Events that a group's answer says it holds, in base and tail together.
fn events(group: &Value) -> u64 {
    let sealed = group["base"]["bins"].as_array().into_iter().flatten();
    let sealed = sealed.chain([&group["base"]["floor"]]);
    let sealed: u64 = sealed.filter_map(|it| it["events"].as_u64()).sum();
    sealed + group["base"]["events"].as_u64().unwrap_or(0) + group["tail_records"].as_u64().unwrap()
}

fn count(ids: std::ops::Range<i64>, of: impl Fn(&Payment) -> bool) -> u64 {
    ids.map(Payment::of).filter(of).count() as u64
}

/// A history of 3,000 payments, and 50 more from the log.
async fn check(folder: &Path) {
    write_history(folder, 0..3_000);
    assert!(backfill(folder, &[]).status.success());
    let server = Server::start(folder);
    assert!(push(&server.client, 3_000..3_050, true).await);
    server.stop();

    let card = shown(folder, &["card=7"]);
    let groups = card.as_array().unwrap();
    assert_eq!(groups.len(), 2, "windows, and lifetimes: {card:#}");
    for group in groups {
        assert_eq!(events(group), count(0..3_050, |it| it.card == 7), "{group:#}");
        let meta = &group["meta"];
        assert_eq!((&meta["complete"], &meta["complete_since"]), (&json!(true), &Value::Null));
        assert_eq!(meta["backfill"]["stage"], "done");
        assert_eq!(meta["checkpoints"][0]["offset"], 50);
        assert!(meta["fresh"].is_string(), "{group:#}");
        assert!(group["epoch"].as_str().is_some_and(|epoch| epoch.len() == 16));
    }
    let merchant = shown(folder, &["merchant=3", "--events"]);
    let group = &merchant[0];
    assert_eq!(group["keeps"], "bins of 60 s");
    assert_eq!(events(group), count(0..3_050, |it| it.merchant == 3));
    let young = group["events"].as_array().unwrap().iter().chain(group["tail"].as_array().unwrap());
    for event in young {
        let payment = Payment::of(event["id"].as_i64().unwrap());
        assert_eq!(payment.merchant, 3);
        assert_eq!(event["slots"]["amount"], payment.json()["amount"], "{event}");
        assert_eq!(event["time"], payment.json()["at"], "{event}");
    }

    let text = said(&show(folder, &["card=7", "--events"]));
    for word in ["group payments/card", "complete since for ever", "backfill done", "of log"] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    let nobody = shown(folder, &["card=1000000"]);
    assert_eq!((&nobody[0]["base"], &nobody[0]["bytes"]), (&Value::Null, &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_embedded_store_is_shown_with_all_that_it_holds() {
    check(project("embedded:data").path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_redis_is_shown_with_all_that_it_holds() {
    let redis = RedisServer::plain();
    check(project(&redis.url()).path()).await;
}

#[test]
fn a_key_that_no_group_has_is_refused_with_those_that_there_are() {
    let folder = project("embedded:data");
    let refused = [
        (&["card=1"][..], "there is no state in data yet"),
        (&["id=1"], "no group has the key id; there are: card; merchant (stream payments)"),
        (&["card=1", "merchant=2"], "no group has the key card, merchant"),
        (&["card=x"], "card: "),
        (&["card"], "write keys as KEY=VALUE"),
        (&["card=1", "--store", "memory:"], "is the server's alone"),
    ];
    for (arguments, with) in refused {
        let output = show(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(with), "{with:?} is not in: {}", said(&output));
    }
    assert!(!folder.path().join("data").exists(), "looking made something");
}
