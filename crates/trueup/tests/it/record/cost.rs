//! What recording costs beside a plain answer, in one run: printed, and held to nothing but that
//! both are answered.

use super::{ask, client, recording};
use crate::outage::on_redis;
use crate::support::{SQL, Server, options, payment};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trueup::node::NodeOptions;
use trueup::place::Place;
use trueup_store::testing::servers::RedisServer;

/// Calls of each way in turn; their medians are compared.
const ROUNDS: i64 = 400;

/// Payments of so many cards, so that none has more than a few.
const CARDS: i64 = 100;

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

/// Median times of a plain answer and of one that records, by one caller after the other.
async fn beside_a_plain_answer(options: NodeOptions) -> (Duration, Duration) {
    let server = Server::start(options).await;
    let client = client(&server, 1);
    let (mut plain, mut recorded) = (Vec::new(), Vec::new());
    for id in 0..ROUNDS {
        let mut row = payment(id, id % 3_000, "1.00");
        row["card"] = json!(id % CARDS);
        let record = recording(&row);
        let mut ways: [(&mut Vec<Duration>, Value); 2] =
            [(&mut plain, record.clone()), (&mut recorded, record)];
        ways[0].1["record"] = json!(false);
        for (took, body) in &mut ways {
            let began = Instant::now();
            ask(&client, body).await;
            took.push(began.elapsed());
        }
    }
    (median(plain), median(recorded))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_recording_costs_beside_a_plain_answer_is_printed() {
    let (redis, folders) = (RedisServer::plain(), [(); 4].map(|()| tempfile::tempdir().unwrap()));
    let embedded = |nth: usize| {
        let place = Place::Embedded(folders[nth].path().into());
        NodeOptions { place, ..options(SQL) }
    };
    let ways = [
        ("embedded, state alone", NodeOptions { record_to_log: false, ..embedded(0) }),
        ("embedded, and its log", embedded(1)),
        (
            "Redis, state alone",
            NodeOptions { record_to_log: false, ..on_redis(&redis.url(), folders[2].path()) },
        ),
    ];
    for (way, options) in ways {
        let (plain, recorded) = beside_a_plain_answer(options).await;
        let ratio = recorded.as_secs_f64() / plain.as_secs_f64();
        println!("{way}: plain {plain:?}, recorded {recorded:?}, {ratio:.2} times as long");
    }
}
