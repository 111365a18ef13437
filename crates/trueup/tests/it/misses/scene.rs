//! Definitions, events in a database and in a store, and servers that miss.

use crate::postgres_server::PostgresServer;
use crate::support::{Server, TEN, catalog, options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup::clock::Clock;
use trueup::database::{DatabasePlace, TableSettings, open};
use trueup::node::{Node, NodeOptions};
use trueup::place::{Place, RedisPlace};
use trueup::serve::{Answered, Bounds, Fallback, Request, RowAnswer, Serving, Tables};
use trueup::settings::DatabaseSettings;
use trueup_core::Micros;
use trueup_sql::decode::print::Timestamp;
use trueup_store::MemoryStore;

/// Windows of every kind.
pub(crate) const SQL: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL, merchant VARCHAR,
  amount DECIMAL(12,2), score DOUBLE, approved BOOLEAN, day DATE
) WITH (event_time = 'at', lateness = '1 hour');
CREATE TABLE logins (
  id VARCHAR PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL
) WITH (event_time = 'at', lateness = '1 hour');
CREATE VIEW risk AS
SELECT id, amount,
  count(*) OVER hour AS payments_hour,
  sum(amount) OVER hour AS amount_hour,
  avg(score) OVER hour AS score_hour,
  stddev_samp(score) OVER hour AS spread_hour,
  count(DISTINCT merchant) OVER hour AS merchants_hour,
  max(day) OVER hour AS day_hour,
  count(*) FILTER (WHERE approved) OVER hour AS approved_hour,
  sum(amount) OVER before AS amount_before,
  sum(amount) OVER ever AS amount_ever,
  array_agg(amount) OVER three AS amounts_three,
  lag(merchant) OVER past AS merchant_past,
  count(*) OVER busy AS merchant_busy,
  (SELECT count(*) FROM logins WHERE logins.card = payments.card
     AND logins.at BETWEEN payments.at - INTERVAL '1 hour' AND payments.at) AS logins_hour
FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       before AS (PARTITION BY card ORDER BY at
                  RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '10 minutes' PRECEDING),
       ever AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
       three AS (PARTITION BY card ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),
       past AS (PARTITION BY card ORDER BY at, id),
       busy AS (PARTITION BY merchant ORDER BY date_bin(INTERVAL '1 minute', at)
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);
CREATE VIEW approved AS
SELECT id, count(*) OVER hour AS n, array_agg(id) OVER two AS ids FROM payments WHERE approved
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       two AS (PARTITION BY card ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)";

/// The tables, with the types that an application would have chosen.
pub(crate) const TABLES: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL, card BIGINT NOT NULL, merchant TEXT,
  amount NUMERIC(12,2), score DOUBLE PRECISION, approved BOOLEAN, day DATE);
CREATE INDEX ON payments (card, at);
CREATE INDEX ON payments (merchant, at);
CREATE TABLE logins (id UUID PRIMARY KEY, at TIMESTAMP NOT NULL, card INTEGER NOT NULL);
CREATE INDEX ON logins (card, at)";

/// Far longer than any question takes here that is answered at all.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

/// How long something may take that takes a second or two on a machine without other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Payment `id` of one of seven cards, at a time of its own within the three hours before ten.
pub(crate) fn payment(id: i64) -> Value {
    let at = TEN - (id * 7_919 % 10_800) * 1_000_000 - id;
    let merchant = (id % 5 > 0).then(|| format!("m{}", id % 3));
    json!({ "id": id, "at": Timestamp(at).to_string(), "card": id % 7, "merchant": merchant,
            "amount": format!("{}.{:02}", id * 13 % 900, id % 100), "score": 1.0 / (id + 1) as f64,
            "approved": id % 4 > 0, "day": format!("2026-11-{:02}", 1 + id % 28) })
}

/// Login `id` of one of the cards.
pub(crate) fn login(id: i64) -> Value {
    let at = Timestamp(TEN - (id * 104_729 % 7_200) * 1_000_000).to_string();
    json!({ "id": format!("00000000-0000-0000-0000-{id:012}"), "at": at, "card": id % 7 })
}

pub(crate) const PAYMENTS: i64 = 400;
pub(crate) const LOGINS: i64 = 60;

/// A PostgreSQL with tables and events in them.
pub(crate) async fn database() -> PostgresServer {
    let server = PostgresServer::start().await;
    let client = server.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    let all = |of: fn(i64) -> Value, count| Value::from((0..count).map(of).collect::<Vec<_>>());
    for (table, events) in [("payments", all(payment, PAYMENTS)), ("logins", all(login, LOGINS))] {
        let insert = format!(
            "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(null::{table}, \
             $1::text::jsonb)"
        );
        client.execute(&insert, &[&events.to_string()]).await.unwrap();
    }
    server
}

/// Bounds that these tests do not meet unless they mean to.
pub(crate) fn wide() -> Bounds {
    Bounds { per_second: 10_000, timeout: PATIENT, ..Bounds::default() }
}

/// What asks this PostgreSQL.
pub(crate) fn fallback(url: String, bounds: Bounds) -> Arc<Fallback> {
    Arc::new(fallback_at(url, bounds, Clock::of(|| Micros(TEN))))
}

/// The same by another clock.
pub(crate) fn fallback_at(url: String, bounds: Bounds, clock: Clock) -> Fallback {
    of(&DatabasePlace::Postgres { url, password: None }, bounds, clock)
}

/// What asks this database.
#[cfg(feature = "mysql")]
pub(crate) fn asking(place: DatabasePlace, bounds: Bounds) -> Arc<Fallback> {
    Arc::new(of(&place, bounds, Clock::of(|| Micros(TEN))))
}

fn of(place: &DatabasePlace, bounds: Bounds, clock: Clock) -> Fallback {
    let database = open(place, bounds.connections, bounds.timeout).unwrap();
    Fallback::new(database, Default::default(), bounds, clock)
}

/// Answers over an empty store that vouches for nothing.
pub(crate) fn missing(fallback: &Arc<Fallback>) -> Serving {
    let catalog = catalog(SQL);
    let tables = Some(Tables::new(Arc::clone(fallback), &catalog));
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::of(|| Micros(TEN));
    let rules = Default::default();
    Serving { catalog, store, clock, max_staleness_us: 10_000_000, tables, rules }
}

/// Answers over a store to which a worker has applied all events.
pub(crate) async fn applied() -> Serving {
    applied_without(&[]).await
}

/// The same without these payments.
pub(crate) async fn applied_without(left_out: &[i64]) -> Serving {
    let node = Node::start(options(SQL)).unwrap();
    let serving = node.app().live().serving.clone();
    let server = Server::of(node, None).await;
    let payments = (0..PAYMENTS).filter(|id| !left_out.contains(id)).map(payment).collect();
    server.push("payments", payments).await;
    server.push("logins", (0..LOGINS).map(login).collect()).await;
    server.stop().await;
    serving
}

/// A database with tables of these names, of which no hit is compared and nothing is written back.
pub(crate) fn of_place(
    place: DatabasePlace,
    tables: BTreeMap<String, TableSettings>,
    bounds: Bounds,
) -> DatabaseSettings {
    let max_staleness = Duration::from_secs(10);
    let (verify_per_million, write_back) = (0, false);
    DatabaseSettings { place, tables, bounds, verify_per_million, write_back, max_staleness }
}

/// A node that only answers, over an empty store, with this database.
pub(crate) fn node_options(url: String, bounds: Bounds) -> NodeOptions {
    let place = DatabasePlace::Postgres { url, password: None };
    let database = Some(of_place(place, Default::default(), bounds));
    NodeOptions { ingest: false, database, ..options(SQL) }
}

/// A node whose state is in Redis; its clock stands at ten.
pub(crate) fn on_redis(url: String, data: &Path, options: NodeOptions) -> NodeOptions {
    let data = data.to_owned();
    let place = RedisPlace { url, prefix: None, password: None, ca_file: None, data };
    NodeOptions { place: Place::Redis(place), ..options }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for rows within a time.
pub(crate) async fn ask(
    serving: &Serving,
    view: &str,
    rows: &[Value],
    within: Duration,
) -> Answered {
    ask_for(serving, view, rows, &[], within).await
}

/// The same for these columns; none is all of them.
pub(crate) async fn ask_for(
    serving: &Serving,
    view: &str,
    rows: &[Value],
    columns: &[&str],
    within: Duration,
) -> Answered {
    let view = serving.catalog.view(view).unwrap();
    let part = &serving.catalog.streams()[view.stream];
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
    let request = Request::rows(part, &rows, Micros(TEN)).unwrap();
    let is_asked = |&output: &usize| {
        columns.is_empty() || columns.contains(&view.outputs[output].name.as_str())
    };
    let outputs = (0..view.outputs.len()).filter(is_asked).collect();
    serving.answer(view, outputs, &request, Instant::now() + within).await
}

/// Every value as JSON text with its status, row by row.
pub(crate) fn printed(answered: &Answered) -> Vec<Vec<String>> {
    let row = |answer: &RowAnswer| {
        let values = answer.values.iter().zip(&answered.columns).zip(&answer.statuses);
        let text = values.map(|((value, (_, ty)), (status, _))| {
            let mut text = Vec::new();
            trueup::json::typed(&mut text, value, ty);
            format!("{} {status}", String::from_utf8(text).unwrap())
        });
        text.collect()
    };
    answered.rows.iter().map(row).collect()
}

/// The sources of the row's keys.
pub(crate) fn sources(answered: &Answered, row: usize) -> Vec<&'static str> {
    answered.rows[row].keys.values().map(|key| key.source.name()).collect()
}
