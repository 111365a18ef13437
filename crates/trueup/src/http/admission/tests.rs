//! Admission by itself, without a clock: turns are said to have taken what the tests need.

use super::*;
use crate::serve::Rests;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The kind of refusal, by the counter that has grown.
fn counted(admission: &Admission) -> Vec<(&'static str, u64)> {
    admission.refused().into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Waits, without a clock, until so many wait.
async fn until_waiting(admission: &Admission, many: usize) {
    while admission.waiting() < many {
        tokio::task::yield_now().await;
    }
}

/// Turns of a second each were measured.
fn slow(turns: usize) -> Arc<Admission> {
    let admission = Admission::with_turns(turns);
    (0..1_000).for_each(|_| admission.took(Duration::from_secs(1)));
    Arc::new(admission)
}

#[tokio::test]
async fn who_would_wait_too_long_is_refused_at_once_and_a_few_may_always_wait() {
    let admission = slow(1);
    let first = admission.answer().await.unwrap();
    let later = |admission: Arc<Admission>| async move {
        admission.answer().await.unwrap().work(async { 7 }).await
    };
    let waiting: Vec<_> =
        (0..ALWAYS_WAITING).map(|_| tokio::spawn(later(Arc::clone(&admission)))).collect();
    until_waiting(&admission, ALWAYS_WAITING).await;
    let refused = admission.answer().await.unwrap_err();
    assert_eq!(refused.status(), 503);
    assert_eq!(counted(&admission), [("queue", 1)]);
    assert_eq!(first.work(async { 1 }).await, 1);
    for one in waiting {
        assert_eq!(one.await.unwrap(), 7);
    }
    assert_eq!((admission.waiting(), admission.admitted()), (0, 1 + ALWAYS_WAITING as u64));
}

/// One hanging database would have stopped all answers of a machine with one core.
#[tokio::test]
async fn work_that_waits_for_others_leaves_its_turn_to_the_next() {
    let admission = Arc::new(Admission::with_turns(1));
    let (done, waits) = oneshot::channel::<()>();
    let hanging = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { admission.answer().await.unwrap().work(waits).await }
    });
    while admission.admitted() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(admission.answer().await.unwrap().work(async { 2 }).await, 2);
    assert_eq!(admission.under_way()[Kind::Answer as usize], ("answers", 1));
    done.send(()).unwrap();
    hanging.await.unwrap().unwrap();
    assert_eq!(admission.under_way()[Kind::Answer as usize], ("answers", 0));
}

/// On one core a refusal stood behind all rows of the answer before it.
#[tokio::test]
async fn work_that_rests_lets_what_is_short_go_first_and_keeps_its_turn() {
    let admission = Arc::new(Admission::with_turns(1));
    let (began, has_begun) = oneshot::channel();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(what)
    };
    let (note_long, note_next, note_short) = (note("long"), note("next"), note("short"));
    let short = tokio::spawn(async move {
        has_begun.await.unwrap();
        note_short();
    });
    let work = async move {
        let mut rests = Rests::new();
        began.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        rests.now_and_then().await;
        note_long();
    };
    let of = Arc::clone(&admission);
    let long = tokio::spawn(async move { of.answer().await.unwrap().work(work).await });
    let of = Arc::clone(&admission);
    let next = async move { of.answer().await.unwrap().work(async move { note_next() }).await };
    let next = tokio::spawn(next);
    for task in [short, long, next] {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["short", "long", "next"]);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_queue() {
    let admission = Arc::new(Admission::with_turns(1));
    let first = admission.answer().await.unwrap();
    let gone = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { admission.answer().await.map(drop) }
    });
    until_waiting(&admission, 1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(admission.waiting(), 0);
    first.work(async {}).await;
    assert!(admission.answer().await.is_ok());
}

/// Pushes that waited for a full disk took all places, and `/livez` said that the process was gone.
#[tokio::test]
async fn no_kind_of_request_takes_the_places_of_another() {
    let admission = Admission::with_turns(1);
    let pushes: Vec<_> = std::iter::from_fn(|| admission.place(Kind::Push).ok()).collect();
    assert_eq!(pushes.len(), Kind::Push.places());
    assert_eq!(counted(&admission), [("pushes", 1)]);
    for kind in [Kind::Answer, Kind::Other, Kind::Probe] {
        assert!(admission.place(kind).is_ok(), "{kind:?}");
    }
    drop(pushes);
    assert!(admission.place(Kind::Push).is_ok());
}

#[tokio::test]
async fn bodies_have_a_bound_over_all_requests() {
    let admission = Admission::with_turns(1);
    let mut held = admission.bytes(MAX_BODIES_BYTES - 1).unwrap();
    assert_eq!(admission.bytes(2).unwrap_err().status(), 503);
    assert_eq!(counted(&admission), [("bodies", 1)]);
    held.merge(admission.bytes(1).unwrap());
    assert_eq!(admission.body_bytes(), MAX_BODIES_BYTES);
    drop(held);
    assert_eq!(admission.body_bytes(), 0);
}

#[test]
fn a_request_with_a_body_takes_its_place_when_the_body_is_there() {
    use axum::http::Method;
    for (method, path, kind) in [
        (Method::POST, "/v1/features/risk", None),
        (Method::POST, "/v1/score/fraud", None),
        (Method::POST, "/v1/events/payments", None),
        (Method::GET, "/v1/events/payments", Some(Kind::Other)),
        (Method::GET, "/v1/views", Some(Kind::Other)),
        (Method::GET, "/livez", Some(Kind::Probe)),
        (Method::GET, "/readyz", Some(Kind::Probe)),
        (Method::GET, "/metrics", Some(Kind::Probe)),
    ] {
        assert_eq!(Kind::at_the_door(&method, path), kind, "{method} {path}");
    }
}
