//! The open loop: a constant arrival rate.
//!
//! The pacer is a thread of its own that sleeps until the next planned instant and hands over all
//! that is due. The system's sleep overshoots by some 60 microseconds, which is counted (latency
//! begins at the plan) and shown apart as `late_start`; the runtime's timers would overshoot by up
//! to a millisecond, and spinning would take a core.

use super::measure::{LoadReport, Measure};
use super::{Load, LoadError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The highest rate that can be planned, requests a second: more than one process can send.
pub const MAX_RATE: f64 = 1_000_000.0;

/// The longest run: an hour, of which 3.6 billion requests can be numbered without trouble.
const MAX_SECONDS: f64 = 3_600.0;

/// The most requests that may wait at one time: some kilobytes each.
const MAX_OUTSTANDING: usize = 100_000;

/// Requests that may wait for each connection before more are dropped, by default.
const OUTSTANDING_PER_CONNECTION: usize = 64;

/// A plan of arrivals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenLoop {
    /// Requests a second, above 0, at most [`MAX_RATE`]; fractions are fine.
    pub rate: f64,
    /// How long requests are planned and measured; at least one is.
    pub duration: Duration,
    /// How long requests are sent at the same rate before that, and not measured.
    pub warm_up: Duration,
    /// Requests sent or waiting for a connection at one time; one that would exceed it is dropped
    /// and is an error. `None` is 64 for each connection.
    pub max_outstanding: Option<usize>,
}

impl OpenLoop {
    /// `rate` requests a second over `duration`, after a tenth of it to warm up.
    pub fn new(rate: f64, duration: Duration) -> OpenLoop {
        OpenLoop { rate, duration, warm_up: duration / 10, max_outstanding: None }
    }

    fn check(&self) -> Result<(), LoadError> {
        let wrong = |option, range| Err(LoadError::Option { option, range });
        if !(self.rate > 0.0 && self.rate <= MAX_RATE) {
            return wrong("rate", format!("above 0 and at most {MAX_RATE} requests a second"));
        }
        if (self.duration + self.warm_up).as_secs_f64() > MAX_SECONDS {
            return wrong("seconds", format!("at most {MAX_SECONDS}, warm-up included"));
        }
        if self.max_outstanding.is_some_and(|bound| !(1..=MAX_OUTSTANDING).contains(&bound)) {
            return wrong("max_outstanding", format!("1 to {MAX_OUTSTANDING}"));
        }
        Ok(())
    }

    /// When the request with this number is planned, counted from the start.
    fn planned(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many requests are planned within `span`.
    fn within(&self, span: Duration) -> u64 {
        (span.as_secs_f64() * self.rate).round() as u64
    }
}

/// Runs `load` by `plan` on the present runtime, which must have more than one thread to measure
/// well.
///
/// # Errors
///
/// [`LoadError::Option`] for a plan out of range, [`LoadError::Client`] if the connections cannot
/// be opened. Requests that fail are part of the report, even if all do.
pub async fn open_loop(load: &Load, plan: OpenLoop) -> Result<LoadReport, LoadError> {
    plan.check()?;
    load.client.connect().await.map_err(LoadError::Client)?;
    let connections = load.client.connections();
    let bound = plan.max_outstanding.unwrap_or(connections * OUTSTANDING_PER_CONNECTION);
    let run = Arc::new(Run {
        load: load.clone(),
        plan,
        unmeasured: plan.within(plan.warm_up),
        measured: plan.within(plan.duration).max(1),
        bound,
        places: Arc::new(Semaphore::new(bound)),
        measure: Mutex::new(Measure::new(load.client.timeout())),
        abandoned: AtomicBool::new(false),
    });
    let _guard = AbandonOnDrop(Arc::clone(&run));
    let pacer = Arc::clone(&run);
    let runtime = Handle::current();
    let paced = tokio::task::spawn_blocking(move || pacer.pace(&runtime)).await;
    let Ok(start) = paced else {
        return Err(LoadError::NothingAnswered { first: "the runtime is shutting down".into() });
    };
    // All places free again means that every request has ended; each is bounded by the client's
    // timeout.
    let _all = run.places.acquire_many(bound as u32).await;
    let elapsed = start.elapsed();
    let mut measure = run.measure();
    measure.complete(run.measured);
    Ok(measure.report(plan.rate, connections, elapsed))
}

struct Run {
    load: Load,
    plan: OpenLoop,
    unmeasured: u64,
    measured: u64,
    bound: usize,
    places: Arc<Semaphore>,
    measure: Mutex<Measure>,
    abandoned: AtomicBool,
}

/// Stops the pacer of a run whose caller has gone.
struct AbandonOnDrop(Arc<Run>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Run {
    fn measure(&self) -> std::sync::MutexGuard<'_, Measure> {
        self.measure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over every request at its time; gives the planned instant of the first measured one.
    fn pace(self: Arc<Run>, runtime: &Handle) -> Instant {
        let start = Instant::now();
        for number in 0..self.unmeasured + self.measured {
            let planned = start + self.plan.planned(number);
            if !self.sleep_until(planned) {
                break;
            }
            self.hand_over(number, planned, runtime);
        }
        start + self.plan.planned(self.unmeasured)
    }

    /// Sleeps until `instant`, in pieces so that an abandoned run ends soon; `false` if it was.
    fn sleep_until(&self, instant: Instant) -> bool {
        /// How long an abandoned pacer may sleep on.
        const PIECE: Duration = Duration::from_millis(100);
        loop {
            let left = instant.saturating_duration_since(Instant::now());
            if self.abandoned.load(Ordering::Relaxed) {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(PIECE));
        }
    }

    fn hand_over(self: &Arc<Run>, number: u64, planned: Instant, runtime: &Handle) {
        let late = planned.elapsed();
        let measured = number >= self.unmeasured;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            if measured {
                self.measure().dropped(self.bound);
            }
            return;
        };
        let run = Arc::clone(self);
        runtime.spawn(async move {
            let sent = run.load.send(number).await;
            let latency = planned.elapsed();
            let outcome = run.load.check(number, sent);
            if measured {
                run.measure().ended(late, latency, outcome);
            }
            drop(place);
        });
    }
}
