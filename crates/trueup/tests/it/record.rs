//! `"record": true`: an answer and its event in one step, on every store; what a reply says of
//! where the event is, and what becomes of it when a part is away.

mod cost;
mod faults;
mod parallel;

use crate::support::{Server, TEN, payment};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use trueup::client::{Client, ClientOptions};
use trueup_sql::decode::print::Timestamp;

/// Far longer than any call takes here that is answered at all, milliseconds.
const PATIENT_MS: u64 = 10_000;

/// Records a payment and asks what its card has.
fn recording(payment: &Value) -> Value {
    json!({ "rows": [payment], "record": true, "deadline_ms": PATIENT_MS,
            "columns": ["payments_last_hour", "amount_last_hour"] })
}

/// The count that a row's answer gives of its card, and where the row was recorded.
fn counted(row: &Value) -> (Option<i64>, &str) {
    let recorded = row["recorded"].as_str().unwrap_or_else(|| panic!("{row}"));
    (row["features"]["payments_last_hour"].as_i64(), recorded)
}

/// What a look-up at ten o'clock finds of card 1.
async fn looked_up(server: &Server) -> Value {
    let at = Timestamp(TEN).to_string();
    let columns = ["payments_last_hour", "amount_last_hour"];
    let body = json!({ "keys": [{ "card": 1 }], "at": at, "columns": columns,
                       "deadline_ms": PATIENT_MS });
    server.ask("risk", body).await["features"].clone()
}

/// A client with so many connections.
fn client(server: &Server, connections: usize) -> Client {
    let base_url = format!("http://{}", server.address);
    let timeout = Duration::from_secs(60);
    Client::new(&ClientOptions { base_url, connections, timeout, ..Default::default() }).unwrap()
}

/// The first row's answer; asks again where the server is busy.
async fn ask(client: &Client, body: &Value) -> Value {
    loop {
        let (media, text) = (Some("application/json"), body.to_string());
        let asked = client.request(Method::POST, "/v1/features/risk", media, text.into());
        let reply = asked.await.unwrap();
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        match reply.status {
            StatusCode::OK => return answer["rows"][0].clone(),
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(5)).await,
            status => panic!("{status}: {answer}"),
        }
    }
}

/// Payments of card 1 at ten o'clock, by their ids.
fn at_ten(id: i64) -> Value {
    payment(id, 0, "1.00")
}
