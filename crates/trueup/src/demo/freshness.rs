//! Freshness: how long after a push is acknowledged its event is in the features, while others
//! read.
//!
//! Each probe is the first transaction of a user that nobody has seen, so that its count goes from
//! 0 to 1. The time runs from the acknowledgement (the event is on disk in the log) to the arrival
//! of the reply that shows 1, so it holds one look-up over HTTP at least.

use super::measure::{Way, load};
use super::say::Phase;
use super::scene::Bodies;
use super::served::Served;
use super::server::STORE;
use crate::cli::Failure;
use crate::client::{Client, ClientOptions, Reply};
use crate::clock::Clock;
use crate::load::{OpenLoop, open_loop};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup_sql::decode::print::Timestamp;

/// The path that takes events.
const EVENTS: &str = "/v1/events/transactions";

/// The feature that shows the probe.
const SHOWS: &str = "user_transaction_count_last_hour";

/// Ids of probes, their users and all else of theirs begin here: far above simulated ones.
const FIRST_ID: i64 = 1 << 50;

/// Reads go on at this share of the store's capacity, so that probes meet a server at work.
const READING_SHARE: f64 = 0.25;

/// An event that is not visible after so long counts as lost, and the demo says so.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What freshness came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Freshness {
    /// Half of the events were visible within this, milliseconds after the acknowledgement.
    pub p50_ms: f64,
    /// 99 of 100 events.
    pub p99_ms: f64,
    /// Events that were pushed.
    pub count: usize,
}

/// Pushes probes one after the other for `seconds`, at least one, while rows are read.
pub(super) async fn measure(
    url: String,
    bodies: Arc<Bodies>,
    capacity: f64,
    seconds: Duration,
) -> Result<Freshness, Failure> {
    let rate = capacity * READING_SHARE;
    let phase = Phase::begin("freshness", None);
    // What is read meanwhile is not compared: the state is moving.
    let forgotten = Arc::new(Served::new(bodies.len()));
    let reading = load(Way::Store, &url, &bodies, &forgotten, 0)?;
    let reading =
        tokio::spawn(async move { open_loop(&reading, OpenLoop::new(rate, seconds)).await });
    let client = Client::new(&ClientOptions { base_url: url, ..ClientOptions::default() })?;
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || began.elapsed() < seconds {
        times.push(probe(&client, FIRST_ID + times.len() as i64).await?);
    }
    reading.await??;
    times.sort_unstable();
    let freshness =
        Freshness { p50_ms: at(&times, 0.5), p99_ms: at(&times, 0.99), count: times.len() };
    phase.end(&format!("p99 {:.2} ms while {rate:.0} rows/s are read", freshness.p99_ms));
    Ok(freshness)
}

/// Pushes one event and asks until it is seen.
async fn probe(client: &Client, id: i64) -> Result<Duration, Failure> {
    let now = Timestamp(Clock::system().now().0).to_string();
    let event = json!({"events": [{
        "transaction_id": id, "event_time": now, "user_id": id, "card_id": id, "device_id": id,
        "merchant_id": id, "country": "DE", "amount": "1.00", "status": "approved",
    }]});
    let pushed = post(client, EVENTS, &event).await?;
    let acknowledged = Instant::now();
    if pushed["accepted"] != 1 {
        return Err(format!("error: the server did not take an event: {pushed}").into());
    }
    let look = json!({"keys": [{"user_id": id}], "at": now, "columns": [SHOWS]});
    loop {
        let seen = post(client, STORE, &look).await?;
        let waited = acknowledged.elapsed();
        if seen["rows"][0]["features"][SHOWS] == 1 {
            return Ok(waited);
        }
        if waited > GIVE_UP {
            let seconds = GIVE_UP.as_secs();
            return Err(format!("error: an acknowledged event is not seen in {seconds} s").into());
        }
    }
}

async fn post(client: &Client, path: &str, body: &Value) -> Result<Value, Failure> {
    let body = Bytes::from(body.to_string());
    let Reply { status, body, .. } =
        client.request(Method::POST, path, Some("application/json"), body).await?;
    match status.is_success() {
        true => Ok(serde_json::from_slice(&body)?),
        false => {
            Err(format!("error: {path} said {status}: {}", String::from_utf8_lossy(&body)).into())
        }
    }
}

/// The time that this share of the sorted times does not exceed, milliseconds.
fn at(times: &[Duration], share: f64) -> f64 {
    let place = (times.len() as f64 * share).ceil() as usize;
    times[place.clamp(1, times.len()) - 1].as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(at(&times, 0.5), 100.0);
        assert_eq!(at(&times, 0.99), 198.0);
        assert_eq!(at(&times[..1], 0.99), 1.0);
    }
}
