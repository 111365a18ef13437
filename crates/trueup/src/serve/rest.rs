//! Rests of long work: meanwhile sockets are looked at and what is short gets done, above all the
//! refusal of who would have to wait too long.
//!
//! A rest is no wait for others. Whoever drives the work asks [`rested`] after each poll, and knows
//! that nothing else can be begun in its place.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Work between rests: a fifth of what a refusal may take. With half of it the coming and going of
/// thousands of half-open connections stood before the rest of each answer.
const STRETCH: Duration = Duration::from_millis(2);

thread_local! {
    /// Whether the work that was polled last on this thread gave way for a rest.
    static RESTED: Cell<bool> = const { Cell::new(false) };
}

/// The rests of one piece of work.
pub(crate) struct Rests {
    last: Instant,
}

impl Rests {
    pub(crate) fn new() -> Rests {
        Rests { last: Instant::now() }
    }

    /// Rests if the last time is long ago.
    pub(crate) async fn now_and_then(&mut self) {
        if self.last.elapsed() >= STRETCH {
            RESTED.set(true);
            tokio::task::yield_now().await;
            self.last = Instant::now();
        }
    }
}

/// Whether the work that was just polled on this thread gave way for a rest; asking forgets it.
pub(crate) fn rested() -> bool {
    RESTED.take()
}
