//! Every hit compared with the database while the pipeline fails: what differs for a while alone is
//! no mismatch. And what is wrong by hand on real servers is told, and nothing else.

use super::scene::{of_place, wide};
use crate::outage::on_redis;
use crate::pipeline::now_us;
use crate::postgres_server::PostgresServer;
use crate::support::{Server, catalog};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trueup::database::DatabasePlace;
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Difference, MILLION, Serving, Verify};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;

/// Exact groups alone: what only one side has is told by its id.
const SQL: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL, amount DECIMAL(12,2)
) WITH (event_time = 'at', lateness = '1 hour');
CREATE VIEW risk AS
SELECT id, count(*) OVER hour AS n, sum(amount) OVER hour AS total, max(amount) OVER three AS most
FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       three AS (PARTITION BY card ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)";

const TABLE: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL, card BIGINT NOT NULL, amount NUMERIC(12,2));
CREATE INDEX ON payments (card, at)";

/// How far behind the pipeline may be here: what is younger is not compared.
const BOUND: Duration = Duration::from_secs(1);

const CARDS: i64 = 40;

/// How long everything fails.
const FAULTS: Duration = Duration::from_secs(16);

/// Pause between two payments, and between two questions.
const PACE: Duration = Duration::from_millis(5);

/// Within this all is well again on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

/// A pipeline on real servers, and a database with the same payments.
struct Scene {
    server: Server,
    serving: Serving,
    database: tokio_postgres::Client,
    _postgres: PostgresServer,
    /// The log, which is not in Redis.
    _data: tempfile::TempDir,
}

impl Scene {
    async fn over(redis: &RedisServer) -> Scene {
        let (postgres, data) =
            (PostgresServer::start_with(&[]).await, tempfile::tempdir().unwrap());
        let database = postgres.connect().await;
        database.batch_execute(TABLE).await.unwrap();
        let place = DatabasePlace::Postgres { url: postgres.url(), password: None };
        let mut settings = of_place(place, Default::default(), wide());
        (settings.verify_per_million, settings.max_staleness) = (MILLION, BOUND);
        settings.write_back = true;
        let on_redis = on_redis(&redis.url(), data.path());
        let (catalog, database_of) = (catalog(SQL), Some(settings));
        let options =
            NodeOptions { catalog, database: database_of, max_staleness: BOUND, ..on_redis };
        let node = Node::start(options).unwrap();
        let serving = node.app().live().serving.clone();
        let server = Server::of(node, None).await;
        Scene { server, serving, database, _postgres: postgres, _data: data }
    }

    fn verify(&self) -> &Verify {
        &self.serving.tables.as_ref().unwrap().fallback().verify
    }

    fn count(&self, what: &str) -> u64 {
        self.verify().counts().into_iter().find(|(name, _)| *name == what).unwrap().1
    }

    /// A payment as an application makes it: first its own row, then the event. Its time and id.
    async fn pay(&self, id: i64, card: i64) -> (i64, String) {
        let at_us = now_us();
        let payment = payment(id, card, at_us);
        insert(&self.database, &payment).await;
        let body = json!({ "events": [payment] });
        let (status, reply) = self.server.post("/v1/events/payments", &body).await;
        assert_eq!((status.as_u16(), &reply["accepted"]), (200, &json!(1)), "{reply}");
        (at_us, id.to_string())
    }

    /// Whether a card is answered by the store, and is not marked.
    async fn is_plain(&self, card: i64) -> bool {
        let body = json!({ "rows": [payment(0, card, now_us())], "deadline_ms": 300 });
        let (status, reply) = self.server.post("/v1/features/risk", &body).await;
        assert_eq!(status.as_u16(), 200, "{reply}");
        let row = &reply["rows"][0];
        let marks = ["STALE", "UNKNOWN"];
        row["sources"]["card"] == "store" && !marks.contains(&row["status"].as_str().unwrap())
    }

    /// Waits until every card is answered so, and what was looked up has been compared.
    async fn all_is_well(&self) {
        let until = Instant::now() + PATIENCE;
        for card in 0..CARDS {
            while !self.is_plain(card).await {
                assert!(Instant::now() < until, "card {card} is still marked");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        // What is on its way is older than the bound then, and what differs was looked at again.
        tokio::time::sleep(4 * BOUND).await;
    }
}

fn payment(id: i64, card: i64, at_us: i64) -> Value {
    json!({ "id": id, "at": Timestamp(at_us).to_string(), "card": card,
            "amount": format!("{}.50", id % 90) })
}

async fn insert(database: &tokio_postgres::Client, payment: &Value) {
    let insert = "INSERT INTO payments SELECT * FROM jsonb_populate_record(null::payments, \
                  $1::text::jsonb)";
    database.execute(insert, &[&payment.to_string()]).await.unwrap();
}

/// Flushes, freezes, and kills Redis in turn; says how often.
fn faults(mut redis: RedisServer) -> (RedisServer, usize) {
    let (end, mut count) = (Instant::now() + FAULTS, 0);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1_500));
        match count % 3 {
            0 => drop(redis.command("FLUSHALL")),
            1 => {
                redis.freeze();
                std::thread::sleep(Duration::from_millis(1_500));
                redis.thaw();
            }
            _ => {
                redis.kill();
                redis.restart();
            }
        }
        count += 1;
    }
    (redis, count)
}

/// A key of Redis and its bytes.
type Held = BTreeSet<(Vec<u8>, Vec<u8>)>;

/// The values of keys of cards.
fn held(redis: &RedisServer) -> Held {
    let keys = redis.try_args(&["KEYS", "trueup:*:v:*"]).unwrap();
    let keys: Vec<Vec<u8>> = redis::from_redis_value(keys).unwrap();
    let value = |key: Vec<u8>| {
        let value = redis.try_args(&[b"GET".as_slice(), &key]).unwrap();
        (key, redis::from_redis_value(value).unwrap())
    };
    keys.into_iter().map(value).collect()
}

/// The harm: alarms about skew at each failover, until nobody looks at them; and then skew that
/// nobody sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_are_no_mismatches_and_what_is_wrong_by_hand_is_told_and_nothing_else() {
    let redis = RedisServer::plain();
    let scene = Arc::new(Scene::over(&redis).await);
    let failing = tokio::task::spawn_blocking(move || faults(redis));
    let end = Arc::new(AtomicBool::new(false));
    let (asking, ended) = (Arc::clone(&scene), Arc::clone(&end));
    let asked = tokio::spawn(async move {
        let (mut plain, mut marked) = (0, 0);
        while !ended.load(Ordering::SeqCst) {
            match asking.is_plain((plain + marked) % CARDS).await {
                true => plain += 1,
                false => marked += 1,
            }
            tokio::time::sleep(PACE).await;
        }
        (plain, marked)
    });
    let mut id = 0;
    while !failing.is_finished() {
        id += 1;
        scene.pay(id, id % CARDS).await;
        tokio::time::sleep(PACE).await;
    }
    let (redis, faults) = failing.await.unwrap();
    end.store(true, Ordering::SeqCst);
    let (plain, marked) = asked.await.unwrap();
    scene.all_is_well().await;
    let compared = scene.count("compared");
    println!("{faults} faults, {id} payments, {plain} plain answers, {marked} others");
    println!("{compared} compared, {} skipped", scene.count("skipped"));
    let fills = scene.serving.tables.as_ref().unwrap().fallback().write_back.counts();
    println!("written into the store: {fills:?}");
    assert!(faults >= 6 && plain > 100 && marked > 0 && compared > 100);
    assert_eq!(scene.verify().told(), [], "what differs for a while is no mismatch");

    // One event goes from the database, one from Redis, and one comes into the database.
    let (at, gone) = scene.pay(id + 1, 1).await;
    let gone = Difference::OnlyStore(at, gone);
    scene.all_is_well().await;
    let before = held(&redis);
    let (at, removed) = scene.pay(id + 2, 2).await;
    let removed = Difference::OnlyDatabase(at, removed);
    let until = Instant::now() + PATIENCE;
    while held(&redis) == before {
        assert!(Instant::now() < until, "the payment is not in Redis");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let with = held(&redis);
    for (key, value) in before.difference(&with) {
        redis.try_args(&[b"SET".as_slice(), key, value, b"KEEPTTL"]).unwrap();
    }
    scene.database.execute("DELETE FROM payments WHERE id = $1", &[&(id + 1)]).await.unwrap();
    let at = now_us();
    insert(&scene.database, &payment(id + 3, 3, at)).await;
    let added = Difference::OnlyDatabase(at, (id + 3).to_string());
    // All three are older than the bound.
    tokio::time::sleep(2 * BOUND).await;
    scene.all_is_well().await;
    let told: BTreeSet<Difference> = scene.verify().told().into_iter().map(|it| it.what).collect();
    let expected = BTreeSet::from([gone, removed, added]);
    assert_eq!(told, expected);
    assert_eq!(scene.count("mismatched"), 3);
}
