//! What is said of where an event is when the store or the log is away, and of one that is no
//! event.

use super::{PATIENT_MS, ask, at_ten, client, counted, looked_up, recording};
use crate::child;
use crate::outage::{from_streams, on_redis};
use crate::pay::{Payment, counts_are_right, post, push};
use crate::support::{SQL, Server, TEN, catalog, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use trueup::clock::Clock;
use trueup::ingest::EarlyCopies;
use trueup::node::NodeOptions;
use trueup::serve::{EARLY_BYTES, Policies, Policy, Request, Serving, Status, ViewPolicy};
use trueup_core::Micros;
use trueup_store::testing::servers::{Mode, Proxy, RedisServer};
use trueup_store::testing::{FaultyStore, Verb, When};
use trueup_store::{Batch, Checkpoint, Marker, MemoryStore, Store};

/// How long something may take that takes a second or two on a machine without other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for what is there, and short beside how long nothing answers.
const SHORT_MS: u64 = 700;

fn soon(payment: &Value) -> Value {
    let mut body = recording(payment);
    body["deadline_ms"] = json!(SHORT_MS);
    body
}

/// A server whose store can be taken away.
struct Away {
    server: Server,
    proxy: Proxy,
    _redis: RedisServer,
    _folder: TempDir,
}

impl Away {
    async fn start(record_to_log: bool) -> Away {
        let (redis, folder) = (RedisServer::plain(), tempfile::tempdir().unwrap());
        let proxy = Proxy::before(redis.port());
        let behind = format!("redis://127.0.0.1:{}", proxy.port());
        let options = on_redis(&behind, folder.path());
        let server = Server::start(NodeOptions { record_to_log, ..options }).await;
        Away { server, proxy, _redis: redis, _folder: folder }
    }
}

/// A payment is answered as if nobody had ever paid with its card, or is taken for recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_store_away_values_are_unknown_and_the_log_alone_has_the_row() {
    let away = Away::start(true).await;
    let (server, proxy) = (&away.server, &away.proxy);
    let first = server.ask("risk", recording(&at_ten(1))).await;
    assert_eq!(counted(&first), (Some(1), "log"));
    proxy.set(Mode::Swallow);
    let began = Instant::now();
    let row = server.ask("risk", soon(&at_ten(2))).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(counted(&row), (None, "log"), "{row}");
    assert_eq!(row["status"], "UNKNOWN");
    proxy.set(Mode::Pass);
    let until = Instant::now() + PATIENCE;
    while looked_up(server).await["payments_last_hour"] != 2 {
        assert!(Instant::now() < until, "the log never brings it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A caller gives up while the store is asked, and the state counts a payment that the log never
/// brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_recorded_who_went_away_is_in_the_log() {
    let away = Away::start(true).await;
    let (server, proxy) = (&away.server, &away.proxy);
    assert_eq!(counted(&server.ask("risk", recording(&at_ten(1))).await), (Some(1), "log"));
    proxy.set(Mode::Swallow);
    let body = recording(&at_ten(2)).to_string();
    let mut caller = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/features/risk HTTP/1.1\r\nhost: it\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    caller.write_all(request.as_bytes()).await.unwrap();
    // Long enough to be read, and far shorter than the store is waited for.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(caller);
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.set(Mode::Pass);
    let until = Instant::now() + PATIENCE;
    while looked_up(server).await["payments_last_hour"] != 2 {
        assert!(Instant::now() < until, "the log never brings it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same where the log is the caller's: nobody has it, and the reply says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_store_away_and_a_log_of_the_callers_nothing_has_the_row() {
    let away = Away::start(false).await;
    let (server, proxy) = (&away.server, &away.proxy);
    proxy.set(Mode::Swallow);
    let row = server.ask("risk", soon(&at_ten(1))).await;
    assert_eq!(counted(&row), (None, "no"), "{row}");
}

/// A log that does not answer holds a payment up, or its reply says that the log has what it has
/// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_log_away_the_state_has_the_row_and_the_next_one_counts_it() {
    let (state, log) = (RedisServer::plain(), RedisServer::plain());
    let (proxy, folder) = (Proxy::before(log.port()), tempfile::tempdir().unwrap());
    let options = from_streams(&state, proxy.port(), folder.path());
    let max_staleness = Duration::from_secs(3600);
    let server = Server::start(NodeOptions { max_staleness, ..options }).await;
    let first = server.ask("risk", recording(&at_ten(1))).await;
    assert_eq!(counted(&first), (Some(1), "log"));
    proxy.set(Mode::Swallow);
    for id in 2..=3 {
        let began = Instant::now();
        let row = server.ask("risk", soon(&at_ten(id))).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(counted(&row), (Some(id), "state"), "{row}");
    }
}

/// Row 7: what a flush took is never counted again, or what was recorded meanwhile counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_store_has_the_recorded_again_when_the_log_has_brought_them() {
    let (redis, folder) = (RedisServer::plain(), tempfile::tempdir().unwrap());
    let server = Server::start(on_redis(&redis.url(), folder.path())).await;
    let client = client(&server, 4);
    for id in 1..=20 {
        assert_eq!(counted(&ask(&client, &recording(&at_ten(id))).await), (Some(id), "log"));
    }
    redis.command("FLUSHALL");
    let until = Instant::now() + PATIENCE;
    for id in 21.. {
        let row = ask(&client, &recording(&at_ten(id))).await;
        let (count, recorded) = counted(&row);
        assert_eq!(recorded, "log", "{row}");
        assert!(count.is_none_or(|count| count <= id), "more than were ever recorded: {row}");
        if count == Some(id) && id > 40 {
            break;
        }
        assert!(Instant::now() < until, "it stays so: {row}");
    }
}

/// Row 1: a payment whose reply said that the log has it is gone with the process, or counts twice
/// when the log is read again.
#[tokio::test]
async fn a_killed_server_counts_every_row_that_its_replies_said_to_be_in_the_log_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = child::Server::start(folder.path(), None).unwrap();
    for id in 0..50 {
        let rows = json!([Payment::of(id).json()]);
        let body = json!({ "rows": rows, "record": true, "columns": ["n_month"],
                           "deadline_ms": PATIENT_MS });
        let (status, reply) = post(&server.client, "/v1/features/risk", body).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert_eq!(reply["rows"][0]["recorded"], "log", "{reply}");
    }
    server.kill();
    let server = child::Server::start(folder.path(), None).unwrap();
    // One more, to wait until everything before it is applied.
    assert!(push(&server.client, 50..51, true).await);
    assert!(counts_are_right(&server.client, 51).await);
}

/// A row that is no event counts for those who ask next, or is dropped without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_push_would_refuse_is_answered_and_filed_and_recorded_nowhere() {
    let server = Server::start(options(SQL)).await;
    let ahead = payment(1, -86_400, "1.00");
    let row = server.ask("risk", recording(&ahead)).await;
    assert_eq!(counted(&row), (Some(1), "no"), "{row}");
    let refused = row["refused"].as_str().unwrap();
    assert!(refused.contains("ahead of"), "{refused}");
    let mut later = payment(2, -86_400, "1.00");
    later["status"] = json!("declined");
    let next = server.ask("risk", json!({ "rows": [later], "deadline_ms": PATIENT_MS })).await;
    assert_eq!(next["features"]["payments_last_hour"], 1, "the one before is in no state");
    let letters = server.send("GET", "/v1/dead-letters/payments", None, "").await;
    let letters: Value = serde_json::from_slice(&letters.body).unwrap();
    assert_eq!(letters["kept"], 1, "{letters}");
    server.stop().await;
}

/// Of a request with a row that does not decode nothing is recorded, and the row is filed.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_row_that_is_no_event_records_none_of_its_rows() {
    let server = Server::start(options(SQL)).await;
    let (mut untimed, mut null) = (at_ten(2), at_ten(3));
    untimed.as_object_mut().unwrap().remove("at");
    null["card"] = Value::Null;
    for (kept, bad) in [(1, untimed), (2, null)] {
        let body = json!({ "rows": [at_ten(1), bad], "record": true, "deadline_ms": PATIENT_MS });
        let (status, problem) = server.post("/v1/features/risk", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let remedy = problem["remedy"].as_str().unwrap();
        assert!(remedy.contains("no row of this request is recorded"), "{remedy}");
        assert!(remedy.contains("dead letters"), "{remedy}");
        let letters = server.send("GET", "/v1/dead-letters/payments", None, "").await;
        let letters: Value = serde_json::from_slice(&letters.body).unwrap();
        assert_eq!(letters["kept"], kept, "{letters}");
    }
    assert_eq!(looked_up(&server).await["payments_last_hour"], 0);
    server.stop().await;
}

/// A card whose records no worker folds grows until its answers take too long.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_room_for_so_many_early_copies_and_then_they_are_recorded_nowhere() {
    let mut catalog = Arc::into_inner(catalog(SQL)).unwrap();
    catalog.limits.max_bytes = 16 << 10;
    let room = catalog.limits.max_bytes + EARLY_BYTES;
    let options = NodeOptions { catalog: Arc::new(catalog), ..options(SQL) };
    let server = Server::start(NodeOptions { record_to_log: false, ..options }).await;
    let mut said = Vec::new();
    for call in 0..20 {
        let rows: Vec<Value> = (0..1_000).map(|row| at_ten(call * 1_000 + row)).collect();
        let body = json!({ "rows": rows, "record": true, "columns": ["amount"],
                           "deadline_ms": PATIENT_MS });
        let (status, reply) = server.post("/v1/features/risk", &body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        let rows = reply["rows"].as_array().unwrap();
        said.extend(rows.iter().map(|row| row["recorded"].as_str().unwrap().to_owned()));
    }
    let held = said.iter().filter(|said| *said == "state").count();
    assert!(said[..held].iter().all(|said| said == "state"), "the first ones");
    assert!(said[held..].iter().all(|said| said == "no") && held < said.len());
    // A record of this group has some 30 bytes.
    assert!((room / 60..room / 15).contains(&held), "{held} in {room} bytes");
    let last = server.ask("risk", recording(&payment(1 << 40, 0, "1.00"))).await;
    assert_eq!(counted(&last).1, "no");
    server.stop().await;
}

/// A view that refuses what is unknown gives no answer; its caller would not know that the payment
/// counts from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_answer_says_that_its_rows_are_recorded() {
    let policies = vec![(Status::NotFound, Policy::Refuse)];
    let views = ViewPolicy { policies, defaults: Default::default() };
    let views = Policies::from([("risk".to_owned(), views)]);
    let server = Server::start(NodeOptions { views, ..options(SQL) }).await;
    let (status, problem) = server.post("/v1/features/risk", &recording(&at_ten(1))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let remedy = problem["remedy"].as_str().unwrap();
    assert!(remedy.contains("recorded all the same: 1 in the log"), "{remedy}");
    server.stop().await;
}

/// A process that has no log takes rows for recorded that nobody ever applies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_streams_log_refuses_to_record_unless_its_callers_publish() {
    let (redis, folder) = (RedisServer::plain(), tempfile::tempdir().unwrap());
    let place = || on_redis(&redis.url(), folder.path());
    let worker = Server::start(place()).await;
    let server = Server::start(NodeOptions { ingest: false, ..place() }).await;
    let (status, problem) = server.post("/v1/features/risk", &recording(&at_ten(1))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("record_to_log = false"), "{problem}");
    assert_eq!(looked_up(&worker).await["payments_last_hour"], 0, "nothing was recorded");
}

/// Answers over a memory store that fails on cue, to which a worker has applied nothing yet.
async fn faulty() -> (Serving, Arc<FaultyStore<MemoryStore>>) {
    let (catalog, store) = (catalog(SQL), Arc::new(FaultyStore::new(MemoryStore::new())));
    let checkpoint = Checkpoint { source: 1, partition: 0, offset: 0, fresh_us: TEN };
    let spaces: Vec<_> = catalog.all_spaces().collect();
    let checkpoints: Vec<_> = spaces.iter().map(|space| (*space, checkpoint)).collect();
    let markers: Vec<_> = spaces.iter().map(|space| (*space, Marker::Set(i64::MIN))).collect();
    let under = store.look(&[]).await.unwrap().stands;
    let batch = Batch { checkpoints: &checkpoints, markers: &markers, ..Batch::under(&under) };
    store.append(&batch).await.unwrap();
    let serving = Serving {
        catalog,
        store: Arc::clone(&store) as Arc<dyn Store>,
        clock: Clock::of(|| Micros(TEN)),
        max_staleness_us: i64::MAX,
        tables: None,
        rules: Default::default(),
    };
    (serving, store)
}

/// A store that takes no copy, or loses its acknowledgement, answers nothing; or a copy is said to
/// be there that may not be.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_not_acknowledged_is_said_to_be_nowhere_and_the_row_is_answered() {
    let (serving, store) = faulty().await;
    let view = serving.catalog.view("risk").unwrap();
    let part = &serving.catalog.streams()[view.stream];
    let wanted = view.outputs.iter().position(|it| it.name == "payments_last_hour").unwrap();
    for (id, when) in [(1, Some(When::Before)), (2, Some(When::After)), (3, None)] {
        if let Some(when) = when {
            store.fail(Verb::Record, 0, when);
        }
        let row = at_ten(id).to_string();
        let request = Request::rows(part, &[row.as_bytes()], Micros(TEN)).unwrap();
        let copies = EarlyCopies::of(&serving.catalog, part, &request.rows, TEN);
        let appends = copies.appends(&serving.catalog);
        let deadline = Instant::now() + Duration::from_secs(10);
        let answering = serving.answer_recording(view, vec![wanted], &request, &appends, deadline);
        let (answered, appended) = answering.await;
        assert_eq!(copies.held(&appended, 1), [when.is_none()], "{id}");
        let value = &answered.rows[0].values[0];
        // The copy of the second is there, though nobody was told; its own row counts once.
        let expected = [1, 1, 2][id as usize - 1];
        assert_eq!(*value, trueup_core::Value::Int(expected), "{id}");
    }
}
