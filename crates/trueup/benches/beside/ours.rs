//! Our server on a real Redis, with the payments in it.

use crate::command::Running;
use crate::data::{RECENT, asked_us, recent};
use crate::{load, scattered};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;
use trueup::client::{Client, Reply};
use trueup::load::Load;
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;

const JSON: Option<&str> = Some("application/json");

/// Payments of one push, light and heavy.
const PUSH: u64 = 5_000;

pub(crate) struct Ours {
    running: Running,
    pub(crate) redis: RedisServer,
    pub(crate) asked_us: i64,
}

impl Ours {
    pub(crate) async fn start() -> Ours {
        let redis = RedisServer::plain();
        let settings = format!(
            "definitions = 'risk.sql'\nstore = '{}'\nlisten = '127.0.0.1:0'\n\
             max_staleness = '10s'\n",
            redis.url()
        );
        let running = Running::start(&settings, include_str!("risk.sql"), None);
        let ours = Ours { running, redis, asked_us: asked_us() };
        let client = ours.client(1);
        for first in (0..RECENT).step_by(PUSH as usize) {
            let events = recent(first..first + PUSH, ours.asked_us);
            let (count, body) = (events.len(), json!({ "events": events }).to_string().into());
            let path = "/v1/events/payments?wait=applied&wait_ms=60000";
            let reply = client.request(Method::POST, path, JSON, body).await.unwrap();
            let said: Value = serde_json::from_slice(&reply.body).unwrap();
            let expected = (&json!(count), &json!(true));
            assert_eq!((&said["accepted"], &said["applied"]), expected, "{said}");
        }
        ours
    }

    fn client(&self, connections: usize) -> Client {
        self.running.client(connections)
    }

    /// Requests for these columns of one of the cards.
    pub(crate) fn load(
        &self,
        connections: usize,
        view: &str,
        cards: Range<u64>,
        columns: &[&str],
    ) -> Load {
        let count = cards.end - cards.start;
        let bodies: Vec<Bytes> = cards.map(|card| self.body(card, columns)).collect();
        let body = move |number| bodies[scattered(number, count) as usize].clone();
        let mut load = load(self.client(connections), &path(view), Arc::new(body));
        load.judge = Arc::new(|_, reply| is_known(reply));
        load
    }

    fn body(&self, card: u64, columns: &[&str]) -> Bytes {
        let at = Timestamp(self.asked_us).to_string();
        json!({ "keys": [{ "card": card }], "at": at, "columns": columns }).to_string().into()
    }

    /// The reply to a request for these columns of a card.
    pub(crate) async fn ask(&self, view: &str, card: u64, columns: &[&str]) -> Bytes {
        let (client, body) = (self.client(1), self.body(card, columns));
        let reply = client.request(Method::POST, &path(view), JSON, body).await.unwrap();
        assert!(is_known(&reply), "{}", String::from_utf8_lossy(&reply.body));
        reply.body
    }

    /// Count and sum of a card's hour, the sum as text.
    pub(crate) async fn values(&self, view: &str, card: u64) -> (i64, String) {
        let reply = self.ask(view, card, &["n_hour", "total_hour"]).await;
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        let features = &reply["rows"][0]["features"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (features["n_hour"].as_i64().unwrap(), text(&features["total_hour"]))
    }
}

fn path(view: &str) -> String {
    format!("/v1/features/{view}")
}

/// Whether a reply has a value for everything.
fn is_known(reply: &Reply) -> bool {
    String::from_utf8_lossy(&reply.body).contains("\"status\":\"PRESENT\"")
}
