//! The command as a process of its own on a core of its own, with a state, and requests for it.

use crate::command::Running;
use bytes::Bytes;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::SystemTime;
use trueup::client::{Client, Reply};
use trueup_sql::decode::print::Timestamp;

/// Four windows over two groups.
const DEFINITION: &str = include_str!("../four_windows.sql");

/// What is asked.
pub(crate) const PATH: &str = "/v1/features/risk";

/// Rows of a request.
pub(crate) const ROWS: u64 = 50;

/// Requests that are sent in turn.
const REQUESTS: u64 = 200;

/// Cards, merchants, and events of a card within the longest window.
const CARDS: u64 = 2_000;
const MERCHANTS: u64 = 400;
const EVENTS_OF_A_CARD: u64 = 50;

/// Events of one push.
const PUSH: u64 = 10_000;

/// The events are of the day before now.
const DAY_US: i64 = 86_400_000_000;

pub(crate) struct Scene {
    running: Running,
    pub(crate) address: SocketAddr,
    bodies: Vec<Bytes>,
    start_us: i64,
}

impl Scene {
    pub(crate) async fn start(core: &str) -> Scene {
        let settings = "definitions = 'risk.sql'\nstore = 'embedded:state'\n\
                        listen = '127.0.0.1:0'\nmax_staleness = '10s'\n";
        let running = Running::start(settings, DEFINITION, Some(core));
        let address = running.base_url.strip_prefix("http://").unwrap().parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let start_us = i64::try_from(now.as_micros()).unwrap() - DAY_US;
        let bodies = (0..REQUESTS).map(|number| body(number, start_us + DAY_US)).collect();
        let scene = Scene { running, address, bodies, start_us };
        scene.fill().await;
        scene
    }

    async fn fill(&self) {
        let client = self.client(1);
        for first in (0..CARDS * EVENTS_OF_A_CARD).step_by(PUSH as usize) {
            let events: Vec<Value> =
                (first..first + PUSH).map(|number| event(number, self.start_us)).collect();
            let body = json!({ "events": events }).to_string().into();
            let path = "/v1/events/events?wait=applied&wait_ms=60000";
            let json = Some("application/json");
            let reply = client.request(hyper::Method::POST, path, json, body).await.unwrap();
            let said: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(
                (&said["accepted"], &said["applied"]),
                (&json!(PUSH), &json!(true)),
                "{said}"
            );
        }
    }

    pub(crate) fn client(&self, connections: usize) -> Client {
        self.running.client(connections)
    }

    pub(crate) fn body(&self, number: u64) -> Bytes {
        self.bodies[(number % REQUESTS) as usize].clone()
    }
}

/// Whether a reply has a value for everything.
pub(crate) fn is_known(reply: &Reply) -> bool {
    !String::from_utf8_lossy(&reply.body).contains("UNKNOWN")
}

fn scattered(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// The event of a number, some time of the day.
fn event(number: u64, start_us: i64) -> Value {
    let part = i64::try_from(number).unwrap();
    let all = i64::try_from(CARDS * EVENTS_OF_A_CARD).unwrap();
    row(number, number % CARDS, start_us + DAY_US / all * part)
}

fn row(id: u64, card: u64, at_us: i64) -> Value {
    let (merchant, amount) = (scattered(id) % MERCHANTS, format!("{}.{:02}", id % 500, id % 100));
    json!({ "id": id, "at": Timestamp(at_us).to_string(), "card": card, "merchant": merchant,
            "amount": amount })
}

/// A request of rows.
fn body(number: u64, at_us: i64) -> Bytes {
    let rows = (0..ROWS).map(|nth| {
        let id = 1_000_000_000 + number * ROWS + nth;
        row(id, scattered(id) % CARDS, at_us)
    });
    json!({ "rows": rows.collect::<Vec<Value>>() }).to_string().into()
}
