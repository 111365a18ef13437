//! The closed loop: the rate that a server sustains.
//!
//! Method: on each of the client's connections one request is under way at all times. Each
//! connection first makes one request that is not counted. When all have, they begin together, and
//! begin no new request after the given duration; what is under way then is waited for. Capacity is
//! the number of good replies over the time from that beginning to the last reply. In the last
//! moments not all connections are busy, so the figure errs low, by less than one request a
//! connection. Latencies of a closed loop say nothing about callers who do not wait for each other,
//! so none are given.

use super::{Load, LoadError};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Pause of a connection after a request without a good reply: a server that refuses at once must
/// not make the loop eat a core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(1);

/// What a server sustains with all connections busy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// Good replies a second.
    pub per_second: f64,
    /// Good replies counted.
    pub count: u64,
    /// Requests without a good reply.
    pub errors: u64,
    /// The time over which they were counted, seconds.
    pub seconds: f64,
    /// Connections that were kept busy.
    pub connections: usize,
    /// Why the first request of some connection that failed did.
    pub first_error: Option<String>,
}

/// What one connection's loop came to.
#[derive(Default)]
struct Lane {
    good: u64,
    errors: u64,
    first_error: Option<String>,
}

/// Keeps all connections busy for `duration`; takes two timeouts of the client longer at most.
///
/// # Errors
///
/// [`LoadError::Client`] if the connections cannot be opened, [`LoadError::NothingAnswered`] if no
/// reply was good.
pub async fn find_capacity(load: &Load, duration: Duration) -> Result<Capacity, LoadError> {
    load.client.connect().await.map_err(LoadError::Client)?;
    let connections = load.client.connections();
    let numbers = Arc::new(AtomicU64::new(0));
    let lanes = |duration| {
        (0..connections)
            .map(|_| run_lane(load.clone(), Arc::clone(&numbers), duration))
            .collect::<JoinSet<Lane>>()
            .join_all()
    };
    lanes(Duration::ZERO).await;
    let start = Instant::now();
    let lanes = lanes(duration).await;
    let seconds = start.elapsed().as_secs_f64();
    let count = lanes.iter().map(|lane| lane.good).sum();
    let errors = lanes.iter().map(|lane| lane.errors).sum();
    let first_error = lanes.into_iter().find_map(|lane| lane.first_error);
    if count == 0 {
        return Err(LoadError::NothingAnswered { first: first_error.unwrap_or_default() });
    }
    let per_second = count as f64 / seconds;
    Ok(Capacity { per_second, count, errors, seconds, connections, first_error })
}

/// Sends one request after the other until `duration` is over, at least one.
async fn run_lane(load: Load, numbers: Arc<AtomicU64>, duration: Duration) -> Lane {
    let start = Instant::now();
    let mut lane = Lane::default();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        match load.check(number, load.send(number).await) {
            Ok(_) => lane.good += 1,
            Err(reason) => {
                lane.errors += 1;
                lane.first_error.get_or_insert(reason);
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
        if start.elapsed() >= duration {
            return lane;
        }
    }
}
