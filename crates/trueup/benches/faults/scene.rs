//! Our server on a real Redis and a real PostgreSQL with the same payments, each behind a proxy
//! that can be slow, and requests whose right answers are known.

use crate::command::Running;
use crate::data::{LIGHT, RECENT, asked_us, recent, statements};
use crate::postgres_server::{self, PostgresServer};
use crate::times;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trueup::client::Reply;
use trueup::load::{Load, server_timing};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::{Proxy, RedisServer};

const JSON: Option<&str> = Some("application/json");
const PATH: &str = "/v1/features/risk";
const COLUMNS: [&str; 4] = ["n_hour", "total_hour", "mean_hour", "greatest_hour"];

/// Of so many requests one is for an hour that the store no longer holds.
const MISS_EVERY: u64 = 100;

/// Cards of which the store holds the last day alone, though they have older payments.
const FORGOTTEN: u64 = 50;
const FIRST_FORGOTTEN: u64 = 2_000_000;
const THREE_DAYS_US: i64 = 3 * 86_400_000_000;

/// Payments of one push.
const PUSH: usize = 10_000;

pub(crate) struct Scene {
    pub(crate) running: Running,
    pub(crate) redis: RedisServer,
    pub(crate) to_redis: Proxy,
    pub(crate) to_database: Proxy,
    pub(crate) postgres: PostgresServer,
    asked_us: i64,
    /// The right features of each light card, as they are written.
    right: Arc<Vec<String>>,
}

impl Scene {
    pub(crate) async fn start() -> Scene {
        let (redis, asked_us) = (RedisServer::plain(), asked_us());
        let postgres = PostgresServer::start().await;
        let client = postgres.connect().await;
        for statement in statements(2 * RECENT, asked_us) {
            client.batch_execute(&statement).await.unwrap();
        }
        let forgotten = forgotten(asked_us);
        let insert = "INSERT INTO payments SELECT * FROM \
                      jsonb_populate_recordset(null::payments, $1::text::jsonb)";
        client.execute(insert, &[&Value::from(forgotten.clone()).to_string()]).await.unwrap();
        client.batch_execute("CREATE INDEX ON payments (card, at)").await.unwrap();
        let (to_redis, to_database) = (Proxy::before(redis.port()), Proxy::before(postgres.port()));
        let settings = format!(
            "definitions = 'risk.sql'\nstore = 'redis://127.0.0.1:{}'\nlisten = '127.0.0.1:0'\n\
             max_staleness = '10s'\ndatabase = '{}'\ndatabase_per_second = 1000\n",
            to_redis.port(),
            postgres_server::url(to_database.port())
        );
        let running = Running::start(&settings, include_str!("../beside/risk.sql"), None);
        let right = Arc::default();
        let mut scene = Scene { running, redis, to_redis, to_database, postgres, asked_us, right };
        let light = recent(0..RECENT, asked_us).into_iter().step_by(2);
        scene.push(&light.chain(forgotten).collect::<Vec<_>>()).await;
        scene.right = Arc::new(scene.answers().await);
        scene
    }

    async fn push(&self, events: &[Value]) {
        let client = self.running.client(1);
        for some in events.chunks(PUSH) {
            let body = json!({ "events": some }).to_string().into();
            let path = "/v1/events/payments?wait=applied&wait_ms=60000";
            let reply = client.request(Method::POST, path, JSON, body).await.unwrap();
            let said: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(said["applied"], json!(true), "{said}");
        }
    }

    /// The answers for all light cards while all is well, which PostgreSQL has judged elsewhere:
    /// here they only must not change.
    async fn answers(&self) -> Vec<String> {
        let client = self.running.client(1);
        let mut right = Vec::new();
        for card in 0..LIGHT {
            let body = body(card, self.asked_us);
            let reply = client.request(Method::POST, PATH, JSON, body).await.unwrap();
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(text.contains("\"n_hour\":50,") && is_plain(&text), "{text}");
            right.push(features(&text).unwrap().to_owned());
        }
        right
    }

    /// Requests of which most are for light cards, and what became of them.
    pub(crate) fn load(&self, connections: usize) -> (Load, Arc<Seen>) {
        let asked_us = self.asked_us;
        let asked = move |number: u64| match number.is_multiple_of(MISS_EVERY) {
            true => (FIRST_FORGOTTEN + number / MISS_EVERY % FORGOTTEN, asked_us - THREE_DAYS_US),
            false => (number.wrapping_mul(7_919) % LIGHT, asked_us),
        };
        let (seen, right) = (Arc::new(Seen::default()), Arc::clone(&self.right));
        let noting = Arc::clone(&seen);
        let judge = move |number, reply: &Reply| {
            let (card, _) = asked(number);
            let right = right.get(usize::try_from(card).unwrap_or(usize::MAX));
            noting.note(reply, right.map(String::as_str));
            true
        };
        let load = Load {
            client: self.running.client(connections),
            method: Method::POST,
            path: PATH.into(),
            content_type: JSON.map(str::to_owned),
            body: Arc::new(move |number| {
                let (card, at_us) = asked(number);
                body(card, at_us)
            }),
            judge: Arc::new(judge),
        };
        (load, seen)
    }
}

/// Of each forgotten card a payment three days ago and one of today.
fn forgotten(asked_us: i64) -> Vec<Value> {
    let both = |number| {
        let one = |id, at_us| {
            json!({ "id": id, "at": Timestamp(at_us).to_string(), "amount": "7.00",
                    "card": FIRST_FORGOTTEN + number })
        };
        let id = 1_000_000_000 + 2 * number;
        [one(id, asked_us - THREE_DAYS_US), one(id + 1, asked_us)]
    };
    (0..FORGOTTEN).flat_map(both).collect()
}

fn body(card: u64, at_us: i64) -> Bytes {
    let at = Timestamp(at_us).to_string();
    json!({ "keys": [{ "card": card }], "at": at, "columns": COLUMNS }).to_string().into()
}

fn features(reply: &str) -> Option<&str> {
    let (_, rest) = reply.split_once("\"features\":{")?;
    Some(rest.split_once('}')?.0)
}

/// Whether a reply says that all it has is as it should be.
fn is_plain(reply: &str) -> bool {
    reply.contains("\"status\":\"PRESENT\"")
}

/// What the replies of a phase were, those that were refused aside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Plain and right; only light cards are compared.
    pub(crate) right: AtomicU64,
    /// Marked as old or unknown.
    pub(crate) marked: AtomicU64,
    /// Plain and wrong.
    pub(crate) wrong: AtomicU64,
    /// What the database gave.
    pub(crate) of_database: AtomicU64,
    /// What all stages took by the server's clock.
    all: Mutex<Vec<Duration>>,
    /// The same of plain answers from the store.
    hits: Mutex<Vec<Duration>>,
}

impl Seen {
    fn note(&self, reply: &Reply, right: Option<&str>) {
        let text = String::from_utf8_lossy(&reply.body);
        let mut took = Duration::ZERO;
        server_timing(reply, |_, stage| took += stage);
        push(&self.all, took);
        let from_database = text.contains("\"card\":\"database\"");
        if from_database {
            self.of_database.fetch_add(1, Ordering::Relaxed);
        }
        let counter = match (is_plain(&text), right) {
            (false, _) => &self.marked,
            (true, Some(right)) if features(&text) != Some(right) => &self.wrong,
            (true, _) => {
                if right.is_some() && !from_database {
                    push(&self.hits, took);
                }
                &self.right
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn all_ms(&self, share: f64) -> Option<f64> {
        percentile_ms(&self.all, share)
    }

    pub(crate) fn hits_ms(&self, share: f64) -> Option<f64> {
        percentile_ms(&self.hits, share)
    }
}

fn push(times: &Mutex<Vec<Duration>>, time: Duration) {
    times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
}

fn percentile_ms(times: &Mutex<Vec<Duration>>, share: f64) -> Option<f64> {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    times::percentile_ms(&times, share)
}
