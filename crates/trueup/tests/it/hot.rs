//! Row 43: one card and one merchant with a third of all events. How fast that is, the bench of
//! ingest says; here, that nobody's numbers suffer and that the work stays in proportion.

use crate::outage::on_redis;
use crate::support::{Server, TEN};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use trueup::node::NodeOptions;
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;

pub(crate) const PAYMENTS: i64 = 12_000;
/// Payments of one push.
pub(crate) const CALL: i64 = 500;
const CARDS: i64 = 400;
const MERCHANTS: i64 = 40;

/// Card and merchant of a payment; 0 is hot.
fn owners(id: i64, is_skewed: bool) -> (i64, i64) {
    if is_skewed && id % 3 == 0 { (0, 0) } else { (1 + id * 7 % CARDS, 1 + id * 11 % MERCHANTS) }
}

pub(crate) fn payment(id: i64, is_skewed: bool) -> Value {
    let (card, merchant) = owners(id, is_skewed);
    // All within the last half of an hour.
    let at = Timestamp(TEN - (PAYMENTS - id) * 150_000).to_string();
    json!({ "id": id, "at": at, "card": card, "merchant": merchant.to_string(),
            "amount": "1.25", "score": 0.5, "status": "approved" })
}

/// Keeps the windows of a stream; bytes that Redis was sent meanwhile.
async fn keep(is_skewed: bool) -> u64 {
    let (redis, data) = (RedisServer::plain(), tempfile::tempdir().unwrap());
    let options = on_redis(&redis.url(), data.path());
    let options = NodeOptions { max_staleness: Duration::from_secs(60), ..options };
    let server = Server::start(options).await;
    let sent = |redis: &RedisServer| -> u64 {
        let said = redis.text("INFO stats");
        let found = said.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
        found.unwrap().trim().parse().unwrap()
    };
    let before = sent(&redis);
    for first in (0..PAYMENTS).step_by(CALL as usize) {
        let events: Vec<Value> = (first..first + CALL).map(|id| payment(id, is_skewed)).collect();
        server.push("payments", json!(events)).await;
    }
    let bytes = sent(&redis) - before;
    assert_all_are_right(&server, is_skewed).await;
    server.stop().await;
    bytes
}

/// Every card's and merchant's count is that of a plain count, the hot ones' too.
pub(crate) async fn assert_all_are_right(server: &Server, is_skewed: bool) {
    let (mut cards, mut merchants) = (BTreeMap::new(), BTreeMap::new());
    for (card, merchant) in (0..PAYMENTS).map(|id| owners(id, is_skewed)) {
        *cards.entry(card).or_insert(0) += 1;
        *merchants.entry(merchant).or_insert(0) += 1;
    }
    let column = "payments_last_hour";
    for (&card, &count) in &cards {
        let row = server.ask("risk", asked("card", json!(card), column)).await;
        assert_eq!(row["features"][column], count, "card {card}: {row}");
        assert_eq!(row["status"], "PRESENT", "card {card}: {row}");
    }
    let column = "merchant_last_hour";
    for (&merchant, &count) in &merchants {
        let row = server.ask("risk", asked("merchant", json!(merchant.to_string()), column)).await;
        assert_eq!(row["features"][column], count, "merchant {merchant}: {row}");
    }
}

fn asked(key: &str, of: Value, column: &str) -> Value {
    json!({ "keys": [{ key: of }], "at": Timestamp(TEN).to_string(), "columns": [column] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_a_third_of_all_events_costs_the_others_nothing() {
    let (even, skewed) = (keep(false).await, keep(true).await);
    // A base that is written again for each quarter that it grows by makes at most five of one.
    println!("{PAYMENTS} payments: {even} bytes sent to Redis, with a hot key {skewed}");
    assert!(skewed < even * 3 / 2, "{skewed} bytes with a hot key, {even} without");
}
