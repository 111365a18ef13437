//! What the database answered, found in the store by who asks next: the same value, nothing counted
//! twice when the stream comes again, nothing undone that is newer, and nothing left out for good.

use super::scene::{
    LOGINS, PATIENT, PAYMENTS, SQL, ask_for, database, fallback_at, login, node_options, on_redis,
    payment, printed, sources, until, wide,
};
use crate::postgres_server::PostgresServer;
use crate::support::{Server, TEN, catalog, options};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use trueup::clock::Clock;
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Bounds, Fallback, MILLION, Serving, Tables};
use trueup_core::Micros;
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;
use trueup_store::testing::{FaultyStore, Verb, When};
use trueup_store::{
    Batch, Checkpoint, Marker, MemoryStore, Meta, RedisOptions, RedisStore, Space, Store,
};

/// Columns of exact windows, by time and by rows, over both streams.
const EXACT: [&str; 11] = [
    "payments_hour",
    "amount_hour",
    "score_hour",
    "spread_hour",
    "merchants_hour",
    "day_hour",
    "approved_hour",
    "amount_before",
    "amounts_three",
    "merchant_past",
    "logins_hour",
];

/// One of bins, and one of all time.
const PARTIAL: [&str; 2] = ["merchant_busy", "amount_ever"];

/// The bound on staleness here, microseconds.
const BOUND_US: i64 = 10_000_000;

/// A payment that nobody has seen yet, at this time.
fn new_payment(id: i64, card: i64, at_us: i64) -> Value {
    let mut row = payment(id);
    row["card"] = json!(card);
    row["at"] = json!(Timestamp(at_us).to_string());
    row
}

fn counted(fallback: &Fallback, what: &str) -> u64 {
    fallback.write_back.counts().into_iter().find(|(name, _)| *name == what).unwrap().1
}

async fn written(fallback: &Fallback, fills: u64) {
    until("it is written", || counted(fallback, "written") >= fills).await;
}

/// A clock that the test moves.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(us: i64) -> Hand {
        Hand(Arc::new(AtomicI64::new(us)))
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Clock::of(move || Micros(hand.now()))
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn pass(&self, us: i64) {
        self.0.fetch_add(us, Ordering::SeqCst);
    }
}

/// Answers over a store, with a database whose answers are written back.
fn serving(store: Arc<dyn Store>, fallback: &Arc<Fallback>, clock: Clock) -> Serving {
    let catalog = catalog(SQL);
    let tables = Some(Tables::new(Arc::clone(fallback), &catalog));
    let rules = Default::default();
    Serving { catalog, store, clock, max_staleness_us: BOUND_US, tables, rules }
}

fn writing(postgres: &PostgresServer, bounds: Bounds, clock: Clock) -> Arc<Fallback> {
    Arc::new(fallback_at(postgres.url(), bounds, clock).writing_back())
}

/// A store that fails on cue, in Redis.
async fn faulty(redis: &RedisServer) -> Arc<FaultyStore<RedisStore>> {
    let store = RedisStore::open(&redis.url(), RedisOptions::default()).await.unwrap();
    Arc::new(FaultyStore::new(store))
}

/// A worker that has applied all payments and logins, or these payments again.
async fn worker(redis: &RedisServer, data: &Path, push: bool) -> Server {
    let worker = Server::start(on_redis(redis.url(), data, options(SQL))).await;
    if push {
        worker.push("payments", (0..PAYMENTS).map(payment).collect()).await;
        worker.push("logins", (0..LOGINS).map(login).collect()).await;
    }
    worker
}

/// A node that answers, over Redis, and whose answers of the database are written back.
fn writing_node(redis: &RedisServer, data: &Path, postgres: &PostgresServer) -> (Node, Serving) {
    let mut options: NodeOptions = node_options(postgres.url(), wide());
    options.database.as_mut().unwrap().write_back = true;
    let node = Node::start(on_redis(redis.url(), data, options)).unwrap();
    let serving = node.app().live().serving.clone();
    (node, serving)
}

async fn insert(postgres: &PostgresServer, payment: &Value) {
    let insert = "INSERT INTO payments SELECT * FROM jsonb_populate_record(null::payments, \
                  $1::text::jsonb)";
    let client = postgres.connect().await;
    client.execute(insert, &[&payment.to_string()]).await.unwrap();
}

/// Rows 7 and 40: a flush makes of each request a question to the database until the worker is
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_flush_a_key_is_asked_for_once_and_the_stream_counts_nothing_twice() {
    let (postgres, redis) = (database().await, RedisServer::plain());
    let folder = tempfile::tempdir().unwrap();
    worker(&redis, folder.path(), true).await.stop().await;
    let (node, serving) = writing_node(&redis, folder.path(), &postgres);
    let fallback = Arc::clone(serving.tables.as_ref().unwrap().fallback());
    let server = Server::of(node, None).await;
    let body = |columns: &[&str]| {
        json!({ "rows": [new_payment(PAYMENTS, 1, TEN)], "columns": columns,
                "deadline_ms": 10_000 })
    };
    let before = server.ask("risk", body(&EXACT)).await;
    assert_eq!((&before["sources"]["card"], postgres.questions()), (&json!("store"), 0));

    redis.command("FLUSHALL");
    let first = server.ask("risk", body(&EXACT)).await;
    assert_eq!(first["sources"]["card"], "database", "{first}");
    // Of payments and of logins; those of payments are asked for by time and by rows.
    written(&fallback, 2).await;
    let asked = postgres.questions();
    let second = server.ask("risk", body(&EXACT)).await;
    assert_eq!(second["sources"]["card"], "store", "{second}");
    assert_eq!(second["as_of"]["card"], json!(Timestamp(TEN).to_string()), "when it was asked");
    for answer in [&first, &second] {
        assert_eq!(answer["features"], before["features"]);
        assert_eq!(answer["statuses"], before["statuses"]);
    }
    assert_eq!(postgres.questions(), asked, "nobody asked again");

    for _ in 0..2 {
        let partial = server.ask("risk", body(&PARTIAL)).await;
        assert_eq!(partial["sources"]["card"], "database", "{partial}");
    }
    assert_eq!(counted(&fallback, "written"), 2, "bins and sums of all time take nothing");
    let metrics = server.send("GET", "/metrics", None, "").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("trueup_write_back_total{what=\"written\"} 2"), "{metrics}");
    server.stop().await;

    // The log has all of it, and brings it again.
    let worker = worker(&redis, folder.path(), false).await;
    worker.push("payments", json!([new_payment(PAYMENTS + 1, 2, TEN)])).await;
    worker.push("logins", json!([login(LOGINS)])).await;
    let third = worker.ask("risk", body(&EXACT)).await;
    assert_eq!(third["sources"]["card"], "store", "{third}");
    assert_eq!(third["features"], before["features"]);
    worker.stop().await;
}

/// Row 42: the answer of a question that is older than what has come meanwhile is put over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fill_that_sleeps_undoes_nothing_that_came_before_it_woke() {
    let (postgres, redis) = (database().await, RedisServer::plain());
    let (folder, store) = (tempfile::tempdir().unwrap(), faulty(&redis).await);
    let hand = Hand::at(TEN);
    let fallback = writing(&postgres, wide(), hand.clock());
    let serving = serving(Arc::clone(&store) as Arc<dyn Store>, &fallback, hand.clock());
    let count = |answered| printed(&answered)[0].clone();
    let columns = ["payments_hour", "amounts_three"];
    let row = |id| [new_payment(id, 1, TEN)];

    // The stream brings the key while the first fill sleeps.
    store.fail(Verb::Plant, 0, When::Held);
    let alone = ask_for(&serving, "risk", &row(900), &columns, PATIENT).await;
    assert_eq!(sources(&alone, 0), ["database"]);
    let newer = new_payment(901, 1, TEN - 1);
    let worker = worker(&redis, folder.path(), false).await;
    worker.push("payments", json!([newer])).await;
    assert_eq!(counted(&fallback, "written"), 0, "it is still asleep");
    store.release();
    written(&fallback, 1).await;
    let alone: i64 = count(alone)[0].split(' ').next().unwrap().parse().unwrap();
    let both = ask_for(&serving, "risk", &row(900), &columns, PATIENT).await;
    assert_eq!(sources(&both, 0), ["store"]);
    assert_eq!(count(both)[0], format!("{} PRESENT", alone + 1), "the newer one, and the others");
    worker.stop().await;

    // A newer fill lands while an older one sleeps.
    redis.command("FLUSHALL");
    ask_for(&serving, "risk", &row(900), &columns, PATIENT).await;
    written(&fallback, 2).await;
    hand.pass(BOUND_US + 1);
    let swaps = store.calls(Verb::Swap);
    store.fail(Verb::Swap, 0, When::Held);
    let old = ask_for(&serving, "risk", &row(900), &columns, PATIENT).await;
    assert_eq!(sources(&old, 0), ["database"], "what was filled is as old as that by now");
    until("it sleeps", || store.calls(Verb::Swap) > swaps).await;
    insert(&postgres, &newer).await;
    hand.pass(1_000_000);
    let new = ask_for(&serving, "risk", &row(900), &columns, PATIENT).await;
    assert_eq!(sources(&new, 0), ["database"]);
    written(&fallback, 3).await;
    store.release();
    written(&fallback, 4).await;
    let after = ask_for(&serving, "risk", &row(900), &columns, PATIENT).await;
    assert_eq!((sources(&after, 0), count(after)), (vec!["store"], count(new)));
    assert_eq!(counted(&fallback, "failed") + counted(&fallback, "conflicts"), 0);
}

/// The harm: an event that the database had not when it was asked, and that a flush took from the
/// store, is missing in answers that nobody marks; or is missing for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lags_behind_the_stream_leaves_no_hole() {
    let (postgres, redis) = (database().await, RedisServer::plain());
    let folder = tempfile::tempdir().unwrap();
    let ahead = new_payment(901, 1, TEN - 1);
    let applying = worker(&redis, folder.path(), true).await;
    applying.push("payments", json!([ahead])).await;
    let body = json!({ "rows": [new_payment(900, 1, TEN)], "columns": EXACT,
                       "deadline_ms": 10_000 });
    let whole = applying.ask("risk", body.clone()).await;
    applying.stop().await;

    redis.command("FLUSHALL");
    let (node, serving) = writing_node(&redis, folder.path(), &postgres);
    let fallback = Arc::clone(serving.tables.as_ref().unwrap().fallback());
    let server = Server::of(node, None).await;
    let lagging = server.ask("risk", body.clone()).await;
    assert_ne!(lagging["features"], whole["features"], "the database has not all");
    written(&fallback, 2).await;
    let filled = server.ask("risk", body.clone()).await;
    assert_eq!(filled["features"], lagging["features"]);
    assert_eq!(filled["as_of"], lagging["as_of"], "and says as of when");
    server.stop().await;

    let again = worker(&redis, folder.path(), false).await;
    let end = Instant::now() + PATIENT;
    loop {
        let answer = again.ask("risk", body.clone()).await;
        let is_marked = ["STALE", "UNKNOWN"].contains(&answer["status"].as_str().unwrap());
        let is_whole = answer["features"] == whole["features"];
        let is_filled =
            answer["features"] == lagging["features"] && answer["as_of"] == lagging["as_of"];
        assert!(is_whole || is_marked || is_filled, "{answer}");
        if is_whole && !is_marked {
            break;
        }
        assert!(Instant::now() < end, "{answer}");
    }
    again.stop().await;
}

/// The harm: a fill that was begun before everything was lost comes back as if nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fill_that_a_flush_and_a_new_epoch_overtake_is_lost_or_right() {
    let (postgres, redis) = (database().await, RedisServer::plain());
    let (folder, store) = (tempfile::tempdir().unwrap(), faulty(&redis).await);
    let fallback = writing(&postgres, wide(), Clock::of(|| Micros(TEN)));
    let serving = serving(store.clone(), &fallback, Clock::of(|| Micros(TEN)));
    let row = [new_payment(900, 1, TEN)];
    let expected = ask_for(&serving, "risk", &row, &EXACT, PATIENT).await;
    written(&fallback, 2).await;
    for round in 0..3u64 {
        redis.command("FLUSHALL");
        store.fail(Verb::Plant, 0, When::Held);
        store.fail(Verb::Plant, 1, When::Held);
        ask_for(&serving, "risk", &row, &EXACT, PATIENT).await;
        let worker = worker(&redis, folder.path(), round == 0).await;
        redis.command("FLUSHALL");
        store.release();
        until("all fills have ended", || {
            counted(&fallback, "written") + counted(&fallback, "lost") >= 4 + 2 * round
        })
        .await;
        let end = Instant::now() + PATIENT;
        loop {
            let answered = ask_for(&serving, "risk", &row, &EXACT, PATIENT).await;
            let is_marked = answered.rows[0].status() >= trueup::serve::Status::Stale;
            assert!(is_marked || printed(&answered) == printed(&expected), "{answered:?}");
            let metas = answered.rows[0].lookups.iter().filter_map(|it| it.meta.as_ref());
            let is_back = |meta: &Arc<Meta>| meta.complete_since_us.is_some();
            if metas.filter(|meta| is_back(meta)).count() == 2 && !is_marked {
                break;
            }
            assert!(Instant::now() < end, "the worker does not come back");
        }
        worker.stop().await;
    }
}

/// Checkpoint and marker of a pipeline whose log begins late.
async fn say(store: &dyn Store, spaces: &[Space], since_us: i64, fresh_us: i64) {
    let stands = store.look(&[]).await.unwrap().stands;
    let checkpoint = Checkpoint { source: 9, partition: 0, offset: 1, fresh_us };
    let checkpoints: Vec<_> = spaces.iter().map(|&space| (space, checkpoint)).collect();
    let markers: Vec<_> = spaces.iter().map(|&space| (space, Marker::Set(since_us))).collect();
    let batch = Batch { checkpoints: &checkpoints, markers: &markers, ..Batch::under(&stands) };
    store.append(&batch).await.unwrap();
}

/// The harm: keys whose windows reach behind the log's beginning are asked for with each request;
/// or, filled once, are believed while nothing brings what came since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_the_logs_beginning_a_fill_counts_for_as_long_as_the_pipeline_is_fresh() {
    let (postgres, store) = (database().await, Arc::new(MemoryStore::new()));
    let hand = Hand::at(TEN);
    let fallback = writing(&postgres, wide(), hand.clock());
    let serving = serving(store.clone(), &fallback, hand.clock());
    let spaces: Vec<Space> = serving.catalog.all_spaces().collect();
    let (row, minute) = ([new_payment(900, 1, TEN)], 60_000_000);
    let source = async || {
        let answered = ask_for(&serving, "risk", &row, &["payments_hour"], PATIENT).await;
        assert!(answered.rows[0].status() < trueup::serve::Status::Stale);
        sources(&answered, 0)[0]
    };
    // Complete for two minutes, in a stream of which an hour may come late: the database is not
    // known to have all that came before.
    say(&*store, &spaces, TEN - 2 * minute, TEN).await;
    assert_eq!(source().await, "database");
    written(&fallback, 1).await;
    assert_eq!(source().await, "store", "by itself");
    hand.pass(minute);
    say(&*store, &spaces, TEN - 2 * minute, hand.now()).await;
    assert_eq!(source().await, "database");
    written(&fallback, 2).await;
    // Complete for longer than anything comes late, when it was asked.
    hand.pass(minute);
    say(&*store, &spaces, TEN - 60 * minute + 1, hand.now()).await;
    let asked = postgres.questions();
    assert_eq!(source().await, "store", "what came since, the stream has brought");
    assert_eq!(postgres.questions(), asked);
    hand.pass(BOUND_US + 1);
    assert_eq!(source().await, "database", "the pipeline is behind");
}

/// The harm: what is cut off at the bound on rows is taken for all there is; and who asks for cards
/// that there are not fills the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_or_past_or_nothing_is_not_written() {
    let (postgres, store) = (database().await, Arc::new(MemoryStore::new()));
    let clock = Clock::of(|| Micros(TEN));
    let fallback = writing(&postgres, Bounds { max_rows: 3, ..wide() }, clock.clone());
    let cut = serving(store.clone(), &fallback, clock.clone());
    let row = [new_payment(900, 1, TEN)];
    let answered = ask_for(&cut, "risk", &row, &["payments_hour"], PATIENT).await;
    assert_eq!(answered.rows[0].status().name(), "UNKNOWN");
    let past = writing(&postgres, wide(), clock.clone());
    let row = [new_payment(900, 1, TEN - 120_000_000)];
    let answered =
        ask_for(&serving(store.clone(), &past, clock.clone()), "risk", &row, &EXACT, PATIENT).await;
    assert!(answered.rows[0].status() < trueup::serve::Status::Stale);
    // Windows by rows keep their values for ever, and anybody may ask for any card.
    let unknown = [new_payment(900, 999, TEN)];
    ask_for(&serving(store.clone(), &past, clock), "risk", &unknown, &EXACT[..1], PATIENT).await;
    until("it is looked at", || counted(&past, "unfit") == 1).await;
    assert_eq!(counted(&fallback, "unfit"), 0, "those are not even looked at");
    assert_eq!(store.stats().await.unwrap().keys, 0);
}

/// The harm: a store that is slow to write holds up the answers, or piles fills up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fills_hold_up_no_answer_and_no_more_than_a_few_are_under_way() {
    const PENDING: u64 = 16;
    let postgres = database().await;
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    (0..2 * PENDING).for_each(|nth| store.fail(Verb::Plant, nth, When::Held));
    let clock = Clock::of(|| Micros(TEN));
    let fallback = writing(&postgres, wide(), clock.clone());
    let serving = serving(store.clone(), &fallback, clock);
    let rows: Vec<Value> =
        (0..PENDING as i64 + 4).map(|nth| new_payment(900 + nth, 100 + nth, TEN)).collect();
    for nth in 0..PENDING as i64 + 4 {
        insert(&postgres, &new_payment(2_000 + nth, 100 + nth, TEN - 1)).await;
    }
    // It is answered while all of them are held.
    ask_for(&serving, "risk", &rows, &["payments_hour"], PATIENT).await;
    assert_eq!(counted(&fallback, "dropped"), 4);
    store.release();
    written(&fallback, PENDING).await;
    ask_for(&serving, "risk", &rows, &["payments_hour"], PATIENT).await;
    until("the others are written later", || counted(&fallback, "written") == PENDING + 4).await;
}

/// The harm: alarms about skew after each flush.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_filled_is_no_mismatch() {
    let (postgres, store) = (database().await, Arc::new(MemoryStore::new()));
    let bound = Duration::from_millis(200);
    let clock = Clock::of(|| Micros(TEN));
    let fallback = fallback_at(postgres.url(), wide(), clock.clone());
    let fallback = Arc::new(fallback.verifying(MILLION, bound).writing_back());
    let serving = serving(store, &fallback, clock);
    let rows: Vec<Value> = (0..7).map(|card| new_payment(900 + card, card, TEN)).collect();
    ask_for(&serving, "risk", &rows, &EXACT, PATIENT).await;
    written(&fallback, 14).await;
    let answered = ask_for(&serving, "risk", &rows, &EXACT, PATIENT).await;
    assert!((0..7).all(|row| sources(&answered, row) == ["store"]));
    let verify = || fallback.verify.counts().map(|(_, count)| count);
    until("all are compared", || verify()[0] >= 14).await;
    tokio::time::sleep(5 * bound).await;
    assert_eq!(verify(), [14, 0, 0]);
    assert_eq!(fallback.verify.told(), []);
}
