//! Which requests are taken, and when the work of an answer begins. What the server is asked for
//! beyond what it can do is refused at once, so that the rest has its answer in time; whom the
//! server listens to at all is decided before, by `server`.
//!
//! ```text
//! head, body ──▶ a place? ──▶ a short enough queue? ──▶ queue ──▶ turn ──▶ work ──▶ reply
//!                   └─ no ──────────┴─ no ─────────────────┴─ late ───▶ 503 with Retry-After
//! ```
//!
//! - Every kind of request has places of its own: pushes that wait for a disk take none from
//!   answers, and nothing takes those of the probes, by which the rest is seen.
//! - A request with a body takes its place when the body is there: one that comes slowly costs its
//!   bytes, which are bounded over all requests, and holds nobody up.
//! - Answering is arithmetic, of which no more gets done by beginning more at one time. So there
//!   are as many turns as the runtime has threads, and who comes is refused if those before would
//!   take longer than [`MAX_QUEUE`], by what turns took lately. (Nichols and Jacobson's CoDel and
//!   the newest first of others drop from a queue that has grown too long already; a queue whose
//!   length in time is known need not grow so long, and who is refused hears it at once.)
//! - A turn begins with a yield: what is ready goes first, and the sockets are looked at. Else the
//!   next answer would begin in the place of the next request's head, and the queue would stand in
//!   the sockets, where nobody counts it.
//! - A turn ends when the work first waits, for a store over the network or a database: whoever
//!   waits needs no thread. What comes back goes before new turns, because of that yield.
//! - Work of many rows rests now and then (`serve::rest`) and keeps its turn: on one core a refusal
//!   would stand behind all of it.

mod kinds;

#[cfg(test)]
mod tests;

pub(super) use kinds::Kind;

use super::features::DEFAULT_DEADLINE_MS;
use super::problem::Problem;
use crate::serve::rested;
use kinds::Why;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long an answer may have to wait for its turn: half of the deadline that calls have unless
/// they say otherwise, so that the other half is left for the work and the ways.
const MAX_QUEUE: Duration = Duration::from_millis(DEFAULT_DEADLINE_MS / 2);

/// The deadline itself: whoever has waited for all of it, in spite of the above, is refused, as
/// long as others wait who can still be in time.
const MAX_WAITED: Duration = Duration::from_millis(DEFAULT_DEADLINE_MS);

/// So many may wait for each turn however long turns take, so that slow answers are answers too.
const ALWAYS_WAITING: usize = 2;

/// What a turn takes as long as none was measured, nanoseconds: an answer of some tens of rows.
const GUESSED_TURN_NS: u64 = 1_000_000;

/// The share of the newest turn in what turns take, as a divisor: some tens of them are remembered.
const TURN_WEIGHT: i64 = 16;

/// Bytes of bodies that are here at one time, over all requests: sixteen of the largest pushes.
/// Parsed they take some two or three times as much.
const MAX_BODIES_BYTES: usize = 256 << 20;

/// Places, bytes and turns of one server.
#[derive(Debug)]
pub(super) struct Admission {
    places: [Semaphore; Kind::ALL.len()],
    bodies: Semaphore,
    turns: Semaphore,
    turn_count: usize,
    /// How many wait for a turn.
    waiting: AtomicUsize,
    /// What turns took lately, nanoseconds.
    turn_ns: AtomicU64,
    admitted: AtomicU64,
    refused: [AtomicU64; Why::ALL.len()],
}

/// A taken place.
pub(super) type Place<'a> = SemaphorePermit<'a>;

/// An answer whose turn has come.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    _place: Place<'a>,
    turn: Turn<'a>,
}

#[derive(Debug)]
struct Turn<'a> {
    admission: &'a Admission,
    began: Instant,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.admission.took(self.began.elapsed());
    }
}

/// One who waits; it no longer does when this is dropped, as a caller does who goes away.
struct Waiting<'a> {
    among: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(among: &'a AtomicUsize) -> Waiting<'a> {
        Waiting { among, before: among.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.among.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// With as many turns as this runtime has threads.
    pub(super) fn new() -> Admission {
        let threads = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        Admission::with_turns(threads)
    }

    fn with_turns(turn_count: usize) -> Admission {
        Admission {
            places: Kind::ALL.map(|kind| Semaphore::new(kind.places())),
            bodies: Semaphore::new(MAX_BODIES_BYTES),
            turns: Semaphore::new(turn_count),
            turn_count,
            waiting: AtomicUsize::new(0),
            turn_ns: AtomicU64::new(GUESSED_TURN_NS),
            admitted: AtomicU64::new(0),
            refused: Default::default(),
        }
    }

    /// A place for a request of this kind.
    pub(super) fn place(&self, kind: Kind) -> Result<Place<'_>, Problem> {
        let place = self.places[kind as usize].try_acquire();
        place.map_err(|_| self.refuse(Why::Places(kind)))
    }

    /// Room for so many bytes of a body.
    pub(super) fn bytes(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Problem> {
        // No chunk of a body is as large as would not fit.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bodies.try_acquire_many(bytes).map_err(|_| self.refuse(Why::Bodies))
    }

    /// Waits for the turn of an answer.
    pub(super) async fn answer(&self) -> Result<Admitted<'_>, Problem> {
        let place = self.place(Kind::Answer)?;
        let turn = self.turn().await.map_err(|why| self.refuse(why))?;
        self.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(Admitted { _place: place, turn })
    }

    async fn turn(&self) -> Result<Turn<'_>, Why> {
        let arrived = Instant::now();
        let waiting = Waiting::new(&self.waiting);
        let may_always = ALWAYS_WAITING * self.turn_count;
        if waiting.before >= may_always && self.expected_ns(waiting.before) > MAX_QUEUE.as_nanos() {
            return Err(Why::Queue);
        }
        // Nobody closes it, so there is always a permit in the end.
        let permit = self.turns.acquire().await.map_err(|_| Why::Queue)?;
        drop(waiting);
        let others = self.waiting.load(Ordering::Relaxed);
        if others >= may_always && arrived.elapsed() > MAX_WAITED {
            return Err(Why::Late);
        }
        let turn = Turn { admission: self, began: Instant::now(), _permit: permit };
        tokio::task::yield_now().await;
        Ok(turn)
    }

    /// How long one waits with so many before, one of whom may have just begun.
    fn expected_ns(&self, before: usize) -> u128 {
        let turn_ns = u128::from(self.turn_ns.load(Ordering::Relaxed));
        turn_ns * (before as u128 + 1) / self.turn_count as u128
    }

    /// A turn took so long. Of two that end at one moment one may not be counted.
    fn took(&self, took: Duration) {
        let took_ns = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        let known_ns = self.turn_ns.load(Ordering::Relaxed).cast_signed();
        let turn_ns = known_ns + (took_ns - known_ns) / TURN_WEIGHT;
        self.turn_ns.store(turn_ns.unsigned_abs(), Ordering::Relaxed);
    }

    fn refuse(&self, why: Why) -> Problem {
        self.refused[why.number()].fetch_add(1, Ordering::Relaxed);
        Problem::busy(why.detail())
    }

    /// How many wait for a turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many answers had their turn.
    pub(super) fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// How many requests were refused, by why.
    pub(super) fn refused(&self) -> [(&'static str, u64); Why::ALL.len()] {
        Why::ALL.map(|why| (why.name(), self.refused[why.number()].load(Ordering::Relaxed)))
    }

    /// How many requests are under way, by their kind.
    pub(super) fn under_way(&self) -> [(&'static str, usize); Kind::ALL.len()] {
        let free = |kind: Kind| self.places[kind as usize].available_permits();
        Kind::ALL.map(|kind| (kind.name(), kind.places().saturating_sub(free(kind))))
    }

    /// Bytes of bodies that are here.
    pub(super) fn body_bytes(&self) -> usize {
        MAX_BODIES_BYTES.saturating_sub(self.bodies.available_permits())
    }
}

impl Admitted<'_> {
    /// Does the work. The turn goes to the next one when it is done or first waits, which a rest is
    /// not.
    pub(super) async fn work<T>(self, work: impl Future<Output = T>) -> T {
        let Admitted { _place, turn } = self;
        let (mut work, mut turn) = (pin!(work), Some(turn));
        poll_fn(|context| {
            let polled = work.as_mut().poll(context);
            if !rested() || polled.is_ready() {
                drop(turn.take());
            }
            polled
        })
        .await
    }
}
