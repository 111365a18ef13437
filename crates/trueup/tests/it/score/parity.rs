//! Ten thousand rows through a running `trueup run` and through ONNX Runtime in Python: one score.

use super::{PATIENCE, SQL, python, runtime};
use crate::support::Server;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trueup_core::testing::Dice;
use trueup_sql::decode::print::{Decimal, Timestamp};

/// Rows that are scored, and of one request.
const ROWS: usize = 10_000;
const AT_ONCE: usize = 1_000;

/// Events before them.
const EVENTS: u64 = 3_000;

/// How far scores may lie apart.
const BOUND: f64 = 1e-6;

/// The models that `models.py` makes, with the share of rows that have a score.
const MODELS: [(&str, f64); 8] = [
    ("logistic_default", 1.0),
    ("logistic", 1.0),
    ("gradient_boosting", 1.0),
    ("hist_gradient_boosting", 1.0),
    ("neural_network", 1.0),
    ("lightgbm_default", 1.0),
    ("lightgbm", 1.0),
    ("named_inputs", 0.5),
];

/// The command with a folder of models that is empty as yet.
fn process(folder: &Path) -> Server {
    std::fs::create_dir(folder.join("models")).unwrap();
    std::fs::create_dir(folder.join("home")).unwrap();
    std::fs::write(folder.join("test.sql"), SQL).unwrap();
    let settings = format!(
        "definitions = 'test.sql'\nstore = 'memory:'\nlisten = '127.0.0.1:0'\n\
         [models]\nruntime = '{}'\n[models.named_inputs]\noutput = 'probability'\n",
        runtime().display()
    );
    std::fs::write(folder.join("trueup.toml"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.arg("run").current_dir(folder);
    command.env("HOME", folder.join("home")).env_remove("ORT_DISABLE_TELEMETRY");
    Server::of_command(&mut command)
}

/// A payment of a number, with NULL here and there.
fn payment(id: u64, now_us: i64) -> Value {
    let mut dice = Dice::new(id);
    let at_us = now_us - dice.below(7_000_000_000) as i64;
    let amount = Decimal { value: i128::from(dice.below(50_000)) - 1_000, scale: 2 };
    let mut payment = json!({
        "id": id,
        "at": Timestamp(at_us).to_string(),
        "card": dice.below(400),
        "merchant": format!("m{}", dice.below(5)),
        "amount": amount.to_string(),
        "speed": dice.below(1_000_000) as f64 / 7.0,
        "items": dice.below(1 << 40),
        "online": dice.one_in(2),
    });
    for column in ["merchant", "amount", "speed", "items", "online"] {
        if dice.one_in(9) {
            payment[column] = Value::Null;
        }
    }
    payment
}

async fn asked(server: &Server, path: &str, rows: &[Value]) -> Value {
    let body = json!({ "rows": rows, "deadline_ms": 10_000 });
    let (status, reply) = server.post(path, &body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {reply}");
    reply
}

/// The features of all rows, as Python gets them.
async fn features(server: &Server, rows: &[Value]) -> Value {
    let (mut all, mut digest) = (Vec::new(), Value::Null);
    for rows in rows.chunks(AT_ONCE) {
        let reply = asked(server, "/v1/features/risk", rows).await;
        all.extend(reply["rows"].as_array().unwrap().iter().map(|row| row["features"].clone()));
        digest = reply["digest"].clone();
    }
    json!({ "digest": digest, "rows": all })
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_are_those_of_onnx_runtime_in_python_on_ten_thousand_rows() {
    let folder = tempfile::tempdir().unwrap();
    let server = process(folder.path());
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    let events: Vec<Value> = (0..EVENTS).map(|id| payment(id, now_us)).collect();
    server.push("payments", json!(events)).await;
    let rows: Vec<Value> = (0..ROWS as u64).map(|n| payment(EVENTS + n, now_us)).collect();
    let table = folder.path().join("rows.json");
    std::fs::write(&table, features(&server, &rows).await.to_string()).unwrap();
    let models = folder.path().join("models");
    let told = tokio::task::spawn_blocking(move || {
        python(&[Path::new("parity"), &table, &models]).lines().last().unwrap().to_owned()
    });
    let expected: Value = serde_json::from_str(&told.await.unwrap()).unwrap();
    let made = Instant::now();
    for (model, share) in MODELS {
        while !super::remark(&server, model).await.contains("scores view risk") {
            assert!(made.elapsed() < PATIENCE, "{model}: {}", super::remark(&server, model).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let expected = expected[model].as_array().unwrap();
        let (found, took) = scored(&server, model, &rows).await;
        let (mut compared, mut largest) = (0, 0_f64);
        for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found.is_null(), expected.is_null(), "{model}, row {row}: {found}");
            let (Some(found), Some(expected)) = (found.as_f64(), expected.as_f64()) else {
                continue;
            };
            compared += 1;
            largest = largest.max((found - expected).abs());
        }
        println!("{model}: {compared} of {ROWS} scores, largest difference {largest:e}, {took:?}");
        assert_eq!((found.len(), expected.len()), (ROWS, ROWS));
        assert!(largest <= BOUND, "{model}: {largest}");
        assert!(compared as f64 >= share * ROWS as f64, "{model}: only {compared} had a score");
    }
    // ONNX Runtime leaves an id of the machine there, and what it is going to report.
    let left: Vec<_> = std::fs::read_dir(folder.path().join("home")).unwrap().collect();
    assert!(left.is_empty(), "the runtime reports: {left:?}");
}

/// The scores of all rows, and how long inference took.
async fn scored(server: &Server, model: &str, rows: &[Value]) -> (Vec<Value>, Duration) {
    let began = Instant::now();
    let (mut scores, mut inference_us) = (Vec::new(), 0);
    for rows in rows.chunks(AT_ONCE) {
        let reply = asked(server, &format!("/v1/score/{model}"), rows).await;
        assert_eq!((&reply["model"], &reply["view"]), (&json!(model), &json!("risk")));
        inference_us += reply["timing_us"]["inference"].as_u64().unwrap();
        scores.extend(reply["rows"].as_array().unwrap().iter().map(|row| row["score"].clone()));
    }
    println!("{model}: {:?} with retrieval and encoding", began.elapsed());
    (scores, Duration::from_micros(inference_us))
}
