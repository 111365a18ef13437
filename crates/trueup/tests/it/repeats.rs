//! Events that come more than once, at the level of a whole server: the harm is an event that
//! counts twice, or one that was acknowledged and is not durable.

use crate::child::{Server, catalog};
use crate::pay::{Payment, counts_are_right, post, push};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use trueup::client::{Client, ClientOptions};
use trueup::clock::Clock;
use trueup::http::{App, Health, Metrics, router};
use trueup::ingest::Pusher;
use trueup::serve::Serving;
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::{Crash, Disk};
use trueup_store::{Log, MemoryStore, Options};

/// Events of newer times that a key of bins or of a lifetime has to seal before it forgets an id:
/// `RECENT_IDS` of `core`, which its documents give.
const REMEMBERED_IDS: i64 = 256;

/// The youngest events stay raw for so long, seconds; events of these tests are a second apart.
const REORDER_S: i64 = 10;

/// 2026-03-02T00:00:00Z in microseconds.
const START_US: i64 = 1_772_409_600_000_000;

fn start(folder: &Path) -> Server {
    Server::start(folder, None).expect("it listens")
}

/// Pushes payments in calls of ten, and waits until the last is applied.
async fn push_all(client: &Client, ids: Range<i64>) {
    for first in ids.clone().step_by(10) {
        assert!(push(client, first..ids.end.min(first + 10), false).await);
    }
    assert!(push(client, ids.end - 1..ids.end, true).await);
}

#[tokio::test]
async fn the_same_push_sent_again_gets_the_same_answer_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let events: Vec<Value> = (0..20).map(|id| Payment::of(id).json()).collect();
    let body = json!({ "events": events });
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(
            post(&server.client, "/v1/events/payments?wait=applied", body.clone()).await.unwrap(),
        );
    }
    let all = json!({ "accepted": 20, "dead_letters": [], "applied": true });
    assert_eq!(answers, vec![(StatusCode::OK, all); 3]);
    assert!(counts_are_right(&server.client, 20).await);
}

#[tokio::test]
async fn a_push_that_was_logged_and_never_answered_counts_once_when_it_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), Some("before-reply:3")).expect("it listens");
    let answered = [0..10, 10..20, 20..30, 30..40].map(|ids| push(&server.client, ids, false));
    let mut acknowledged = Vec::new();
    for answer in answered {
        acknowledged.push(answer.await);
    }
    assert_eq!(acknowledged, [true, true, true, false], "the fourth was never answered");
    server.wait();
    let end = || {
        let log = Log::open(folder.path(), Options::LOG).unwrap();
        log.info("payments").unwrap().unwrap().end
    };
    assert_eq!(end(), 40, "and yet the log has it");
    let mut server = start(folder.path());
    assert!(push(&server.client, 30..40, true).await);
    assert!(counts_are_right(&server.client, 40).await);
    server.kill();
    assert_eq!(end(), 50, "the log has it twice");
}

#[tokio::test]
async fn a_log_that_cannot_write_acknowledges_no_push() {
    let disk = Disk::default();
    let log = Log::open_on(Box::new(disk.clone()), Options::LOG).unwrap();
    let client = serve_on(log).await;
    assert!(push(&client, 0..10, false).await, "a sound disk");
    disk.fail_syncs();
    let events: Vec<Value> = (10..20).map(|id| Payment::of(id).json()).collect();
    for _ in 0..2 {
        let body = json!({ "events": events });
        let (status, problem) = post(&client, "/v1/events/payments", body).await.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        assert_eq!(problem["type"], "urn:trueup:problem:not-written");
    }
    let found = Log::open_on(Box::new(disk.after(Crash::Lost)), Options::LOG).unwrap();
    assert_eq!(found.info("payments").unwrap().unwrap().end, 10, "what was acknowledged is there");
}

/// A server without workers whose log is on a disk of the test's own.
async fn serve_on(log: Log) -> Client {
    let catalog = Arc::new(catalog());
    let serving = Serving {
        catalog: Arc::clone(&catalog),
        store: Arc::new(MemoryStore::new()),
        clock: Clock::system(),
        max_staleness_us: i64::MAX,
        tables: None,
        rules: Default::default(),
    };
    let pusher = Pusher::local(catalog, log, Clock::system());
    let app = Arc::new(App::new(serving, pusher, Health::default(), Metrics::new().unwrap(), None));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router(app)).await });
    let timeout = Duration::from_secs(10);
    Client::new(&ClientOptions { base_url, timeout, ..ClientOptions::default() }).unwrap()
}

#[tokio::test]
async fn a_log_replayed_over_an_older_state_or_into_none_counts_every_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    push_all(&server.client, 0..300).await;
    server.kill();
    let older = state(folder.path()).with_extension("older");
    std::fs::copy(state(folder.path()), &older).unwrap();
    let mut server = start(folder.path());
    push_all(&server.client, 300..700).await;
    assert!(counts_are_right(&server.client, 700).await);
    server.kill();
    for from in [Some(&older), None] {
        match from {
            Some(older) => drop(std::fs::copy(older, state(folder.path())).unwrap()),
            None => std::fs::remove_file(state(folder.path())).unwrap(),
        }
        let mut server = start(folder.path());
        // The last payment once more, to wait until everything before it is applied.
        assert!(push(&server.client, 699..700, true).await);
        assert!(counts_are_right(&server.client, 700).await, "replayed over {from:?}");
        server.kill();
    }
}

/// The database of the state in a directory; the log has another.
fn state(folder: &Path) -> PathBuf {
    folder.join("state.redb")
}

#[tokio::test]
async fn an_id_sent_again_counts_once_within_the_bound_and_in_exact_windows_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let event = |id: i64| {
        let at = Timestamp(START_US + id * 1_000_000).to_string();
        json!({ "id": id, "at": at, "card": 1, "merchant": 1, "amount": "1.00" })
    };
    let send = async |ids: Range<i64>| {
        let body = json!({ "events": ids.map(event).collect::<Vec<_>>() });
        let reply = post(&server.client, "/v1/events/payments?wait=applied", body).await.unwrap();
        assert_eq!(reply.1["applied"], true);
    };
    let counts = async || {
        let at = Timestamp(START_US + 86_400_000_000).to_string();
        let columns = ["n_month", "n_ever", "n_merchant"];
        let keys = json!([{ "card": 1, "merchant": 1 }]);
        let body = json!({ "keys": keys, "at": at, "columns": columns, "deadline_ms": 10_000 });
        let (_, reply) = post(&server.client, "/v1/features/risk", body).await.unwrap();
        let features = &reply["rows"][0]["features"];
        columns.map(|column| features[column].as_i64().unwrap_or_else(|| panic!("{reply}")))
    };
    // The last id that a key still knows, and the first that it has forgotten.
    let n = 10 + REMEMBERED_IDS + REORDER_S;
    send(0..n).await;
    assert_eq!(counts().await, [n; 3]);
    send(n - REORDER_S - REMEMBERED_IDS + 1..n).await;
    assert_eq!(counts().await, [n; 3], "within the bound nothing counts twice");
    send(0..1).await;
    assert_eq!(counts().await, [n, n + 1, n + 1], "beyond it, bins and lifetimes count it again");
}
