//! How much a database is asked, and what becomes of answers when it is slow or gone.

use super::scene::{
    PATIENCE, PATIENT, applied, ask, database, fallback, missing, payment, until, wide,
};
use crate::postgres_server::url;
use crate::support::TEN;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup::serve::{Answered, Bounds, Fallback, Serving, Tables};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::{Mode, Proxy};

/// How much later than its deadline an answer may be on a machine that is busy with other things.
const BUSY: Duration = Duration::from_secs(1);

/// How long a query may hang: far longer than anything that does not wait for it.
const HANGING: Duration = Duration::from_secs(2);

/// The row of a payment at ten by this card, in the view of what was approved: its two windows are
/// one by time and one by rows.
fn row(id: i64, card: i64) -> Value {
    let mut row = payment(4 * id + 1);
    (row["card"], row["at"]) = (json!(card), json!(Timestamp(TEN).to_string()));
    row
}

/// One answer's status and reason of the window by time alone, which is one question.
async fn count(serving: &Serving, id: i64, card: i64, within: Duration) -> (String, String) {
    let view = serving.catalog.view("approved").unwrap();
    let part = &serving.catalog.streams()[view.stream];
    let text = row(id, card).to_string();
    let now = trueup_core::Micros(TEN);
    let request = trueup::serve::Request::rows(part, &[text.as_bytes()], now).unwrap();
    let place = view.outputs.iter().position(|output| output.name == "n").unwrap();
    let deadline = Instant::now() + within;
    let answered: Answered = serving.answer(view, vec![place], &request, deadline).await;
    let (status, reason) = answered.rows[0].statuses[0].clone();
    let mut value = Vec::new();
    trueup::json::typed(&mut value, &answered.rows[0].values[0], &answered.columns[0].1);
    match reason {
        Some(reason) => (status.to_string(), reason),
        None => (status.to_string(), String::from_utf8(value).unwrap()),
    }
}

/// Asks until the database answers.
async fn becomes_present(serving: &Serving) {
    let began = Instant::now();
    while count(serving, 1_000, 1, PATIENT).await.0 != "PRESENT" {
        assert!(began.elapsed() < PATIENCE, "the database is not asked, or does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn counted(fallback: &Fallback, name: &str) -> u64 {
    fallback.counts.all().into_iter().find(|(what, _)| *what == name).unwrap().1
}

/// Row 39: as many queries as callers, for one key that everybody waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_misses_of_one_key_are_one_query() {
    let postgres = database().await;
    let fallback = fallback(postgres.url(), wide());
    let serving = missing(&fallback);
    let (status, expected) = count(&serving, 1_000, 1, PATIENT).await;
    assert_eq!((status.as_str(), postgres.questions()), ("PRESENT", 1));

    let mut client = postgres.connect().await;
    let locked = client.transaction().await.unwrap();
    locked.batch_execute("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let one = |id: i64| {
        let serving = serving.clone();
        tokio::spawn(async move { count(&serving, 1_000 + id, 1, PATIENT).await })
    };
    let asked: Vec<_> = (0..5_000).map(one).collect();
    until("all wait", || counted(&fallback, "joined") == 4_999).await;
    locked.commit().await.unwrap();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), ("PRESENT".to_string(), expected.clone()));
    }
    assert_eq!(postgres.questions(), 2, "by the server's own log");
    assert_eq!(counted(&fallback, "asked"), 2);
}

/// Row 40: an empty store turns every request into a query, and the database falls over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_asks_for_few_keys_at_a_time_and_the_rest_is_unknown_in_time() {
    let postgres = database().await;
    let fallback = fallback(postgres.url(), Bounds { connections: 3, ..wide() });
    let serving = missing(&fallback);
    assert_eq!(count(&serving, 1_000, 1, PATIENT).await.0, "PRESENT");
    let mut client = postgres.connect().await;
    let other = postgres.connect().await;
    let locked = client.transaction().await.unwrap();
    locked.batch_execute("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let within = Duration::from_millis(500);
    let one = |id: i64| {
        let serving = serving.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            (count(&serving, 1_000 + id, 1_000 + id, within).await, began.elapsed())
        })
    };
    let asked: Vec<_> = (0..500).map(one).collect();
    let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trueup'";
    until("queries are under way", || fallback.in_flight() == 3).await;
    let connections: i64 = other.query_one(query, &[]).await.unwrap().get(0);
    assert!((1..=3).contains(&connections), "{connections} connections");
    for answer in asked {
        let ((status, reason), took) = answer.await.unwrap();
        assert_eq!(status, "UNKNOWN");
        assert!(reason.contains("database"), "{reason}");
        assert!(took < within + BUSY, "answered {took:?} after it was asked");
    }
    assert!(postgres.questions() <= 4);
    locked.commit().await.unwrap();
    until("the locked queries end", || fallback.in_flight() == 0).await;
    assert_eq!(count(&serving, 1_000, 1, PATIENT).await.0, "PRESENT");
}

/// Row 41: a database that hangs holds up what the store answers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_holds_up_no_hit_is_left_alone_and_tried_again() {
    let postgres = database().await;
    let proxy = Proxy::before(postgres.port());
    let bounds =
        Bounds { timeout: HANGING, max_failures: 3, pause: Duration::from_millis(400), ..wide() };
    let fallback = fallback(url(proxy.port()), bounds);
    let hits = applied().await;
    let hits = Serving { tables: Some(Tables::new(Arc::clone(&fallback), &hits.catalog)), ..hits };
    let misses = missing(&fallback);
    becomes_present(&misses).await;

    proxy.set(Mode::Swallow);
    let within = Duration::from_millis(100);
    let (mut took, mut missed) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while !fallback.is_paused() {
        assert!(began.elapsed() < PATIENCE, "it is not left alone");
        let id = missed.len() as i64;
        let (serving, began) = (misses.clone(), Instant::now());
        missed.push(tokio::spawn(async move {
            (count(&serving, 2_000 + id, 2_000 + id, within).await, began.elapsed())
        }));
        let began = Instant::now();
        let answered = ask(&hits, "risk", &[row(1_000_000 + id, 1)], PATIENT).await;
        took.push(began.elapsed());
        assert_ne!(answered.rows[0].status().name(), "UNKNOWN");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    assert!(median < HANGING / 8, "half of {} hits took {median:?} and more", took.len());
    for answer in missed {
        let ((status, reason), took) = answer.await.unwrap();
        assert_eq!(status, "UNKNOWN");
        assert!(reason.contains("database"), "{reason}");
        assert!(took < within + BUSY, "answered {took:?} after it was asked");
    }
    assert!(count(&misses, 5_000, 5_000, within).await.1.contains("left alone"));

    proxy.set(Mode::Pass);
    becomes_present(&misses).await;
    assert!(!fallback.is_paused());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_stopped_is_unknown_at_once_with_the_reason() {
    let mut postgres = database().await;
    let fallback = fallback(postgres.url(), wide());
    let serving = missing(&fallback);
    assert_eq!(count(&serving, 1_000, 1, PATIENT).await.0, "PRESENT");
    postgres.stop();
    let began = Instant::now();
    let (status, reason) = count(&serving, 1_001, 1, PATIENT).await;
    assert_eq!(status, "UNKNOWN");
    assert!(reason.contains("the database does not answer"), "{reason}");
    assert!(began.elapsed() < PATIENT / 2);
    assert_eq!(counted(&fallback, "retried"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_queries_begin_in_a_second_than_the_budget_has() {
    let postgres = database().await;
    let fallback = fallback(postgres.url(), Bounds { per_second: 5, ..wide() });
    let serving = missing(&fallback);
    let began = Instant::now();
    let mut refused = 0;
    for id in 0..40 {
        let (status, reason) = count(&serving, 1_000 + id, id, PATIENT).await;
        if status == "UNKNOWN" {
            assert!(reason.contains("5 times a second at most"), "{reason}");
            refused += 1;
        }
    }
    // What it begins with, and what comes back meanwhile.
    let most = 5 + (began.elapsed().as_secs_f64() * 5.0).ceil() as u64;
    assert!(counted(&fallback, "asked") <= most, "{:?}", fallback.counts);
    assert_eq!(counted(&fallback, "over_budget"), refused);
    assert!(postgres.questions() as u64 <= most);
}
