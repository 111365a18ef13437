//! Payments that follow from their numbers, what is to be counted of them, and calls that push them
//! and ask.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use trueup::client::{Client, ClientError};
use trueup_core::testing::Dice;
use trueup_sql::decode::print::{Decimal, Timestamp};

/// 2026-03-02T00:00:00Z in microseconds: when the first payment was made.
pub(crate) const START_US: i64 = 1_772_409_600_000_000;

/// Payments are a second apart, and each up to this many seconds late.
const LATE_S: u64 = 40;

pub(crate) const CARDS: i64 = 40;
pub(crate) const MERCHANTS: i64 = 7;

/// One payment.
pub(crate) struct Payment {
    pub(crate) id: i64,
    pub(crate) at_us: i64,
    pub(crate) card: i64,
    pub(crate) merchant: i64,
    pub(crate) cents: i64,
}

impl Payment {
    /// The payment of a number.
    pub(crate) fn of(id: i64) -> Payment {
        let mut dice = Dice::new(id as u64);
        Payment {
            id,
            at_us: START_US + (id + (LATE_S - dice.below(LATE_S)) as i64) * 1_000_000,
            card: dice.below(CARDS as u64) as i64,
            merchant: dice.below(MERCHANTS as u64) as i64,
            cents: dice.below(100_000) as i64 - 5_000,
        }
    }

    /// As it is pushed, and as it is asked for.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "at": Timestamp(self.at_us).to_string(),
            "card": self.card,
            "merchant": self.merchant,
            "amount": cents(self.cents),
        })
    }
}

fn cents(value: i64) -> String {
    Decimal { value: i128::from(value), scale: 2 }.to_string()
}

/// How many payments there are and what they sum to, in cents, by key.
#[derive(Default)]
struct Sums(BTreeMap<i64, (i64, i64)>);

impl Sums {
    fn of(ids: Range<i64>, key: impl Fn(&Payment) -> i64) -> Sums {
        let mut sums = Sums::default();
        for payment in ids.map(Payment::of) {
            let (n, total) = sums.0.entry(key(&payment)).or_default();
            *n += 1;
            *total += payment.cents;
        }
        sums
    }
}

/// Pushes payments in one call; `true` if the server acknowledged all of them. What breaks the
/// connection may have come before or after they were taken.
pub(crate) async fn push(client: &Client, ids: Range<i64>, wait: bool) -> bool {
    let events: Vec<Value> = ids.clone().map(|id| Payment::of(id).json()).collect();
    let path =
        if wait { "/v1/events/payments?wait=applied&wait_ms=20000" } else { "/v1/events/payments" };
    let Ok((status, reply)) = post(client, path, json!({ "events": events })).await else {
        return false;
    };
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply["accepted"], (ids.end - ids.start));
    assert!(!wait || reply["applied"] == true, "applied in time: {reply}");
    true
}

/// Pushes payments to a server whose log may be away for a while: whether they were taken. Those
/// that were not are to be pushed again, and may come twice.
pub(crate) async fn is_taken(client: &Client, ids: Range<i64>) -> bool {
    let events: Vec<Value> = ids.map(|id| Payment::of(id).json()).collect();
    let reply = post(client, "/v1/events/payments", json!({ "events": events })).await;
    reply.is_ok_and(|(status, reply)| {
        assert!(status == StatusCode::OK || status.is_server_error(), "{reply}");
        status == StatusCode::OK
    })
}

/// Asks for what the payments `0..end`, which are all applied, sum to by every key, and compares it
/// with a plain count; `false` if the server went away meanwhile, or is too busy.
pub(crate) async fn counts_are_right(client: &Client, end: i64) -> bool {
    counted(client, end, |_, _| true).await
}

/// The same where answers may still come from a store that lacks some, and say so: `false` unless
/// each says that it has everything that was pushed up to then.
pub(crate) async fn counts_are_whole(client: &Client, end: i64, since_us: i64) -> bool {
    counted(client, end, |key, row| is_vouched_for(key, row, since_us)).await
}

/// Compares all rows, or says `false` at the first that is not good enough to be compared.
async fn counted(client: &Client, end: i64, is_fit: impl Fn(&str, &Value) -> bool) -> bool {
    // Behind all payments that these tests make, and within a month of the first.
    let at = Timestamp(START_US + 20 * 86_400_000_000).to_string();
    let card = Sums::of(0..end, |payment| payment.card);
    let merchant = Sums::of(0..end, |payment| payment.merchant);
    let asked = [
        ("card", card, CARDS, ["n_month", "total_month"]),
        ("card", Sums::of(0..end, |payment| payment.card), CARDS, ["n_ever", "total_ever"]),
        ("merchant", merchant, MERCHANTS, ["n_merchant", "total_merchant"]),
    ];
    for (key, sums, keys, columns) in asked {
        let each: Vec<Value> = (0..keys).map(|number| json!({ key: number })).collect();
        let body = json!({ "keys": each, "at": at, "columns": columns, "deadline_ms": 10_000 });
        let Ok(answer) = post(client, "/v1/features/risk", body).await else {
            return false;
        };
        let Some(reply) = unless_refused(answer) else {
            return false;
        };
        for number in 0..keys {
            let row = &reply["rows"][number as usize];
            if !is_fit(key, row) {
                return false;
            }
            let (n, total) = sums.0.get(&number).copied().unwrap_or_default();
            let total = if n == 0 { Value::Null } else { json!(cents(total)) };
            let expected = json!({ columns[0]: n, columns[1]: total });
            let what = "lost or doubled";
            assert_eq!(
                row["features"], expected,
                "{key} {number} of {end} payments: {what}: {row}"
            );
        }
    }
    true
}

/// Whether the store has everything that was pushed up to then in all groups of every key, by what
/// the server says of them.
pub(crate) async fn are_vouched_for(client: &Client, since_us: i64) -> bool {
    let asked = [("card", CARDS, "n_month"), ("card", CARDS, "n_ever")];
    for (key, keys, column) in asked.into_iter().chain([("merchant", MERCHANTS, "n_merchant")]) {
        let each: Vec<Value> = (0..keys).map(|number| json!({ key: number })).collect();
        let body = json!({ "keys": each, "columns": [column], "deadline_ms": 10_000 });
        let answer = post(client, "/v1/features/risk", body).await.unwrap();
        let Some(reply) = unless_refused(answer) else {
            return false;
        };
        let rows = reply["rows"].as_array().unwrap();
        if !rows.iter().all(|row| is_vouched_for(key, row, since_us)) {
            return false;
        }
    }
    true
}

/// What the server answered; `None` while it refuses for want of room.
fn unless_refused((status, reply): (StatusCode, Value)) -> Option<Value> {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    assert_eq!(status, StatusCode::OK, "{reply}");
    Some(reply)
}

/// Whether an answer is the store's, and says that everything of a key is in it that was pushed up
/// to then.
fn is_vouched_for(key: &str, row: &Value, since_us: i64) -> bool {
    let is_known = row["status"] != "UNKNOWN" && row["sources"][key] == "store";
    let as_of = row["as_of"][key].as_str();
    is_known && as_of.is_some_and(|as_of| *as_of >= *Timestamp(since_us).to_string())
}

/// A call with a JSON body, and the reply.
pub(crate) async fn post(
    client: &Client,
    path: &str,
    body: Value,
) -> Result<(StatusCode, Value), ClientError> {
    let json = Some("application/json");
    let reply = client.request(Method::POST, path, json, Bytes::from(body.to_string())).await?;
    let text = serde_json::from_slice(&reply.body).unwrap_or_else(|error| {
        panic!("{path}: {error} in {}", String::from_utf8_lossy(&reply.body))
    });
    Ok((reply.status, text))
}
