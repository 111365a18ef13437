//! Whether the database may be asked now: a budget of queries a second, and a breaker that leaves
//! a database alone which fails. Both are told the time.

use super::bounds::{Bounds, MAX_PAUSE};
use std::time::{Duration, Instant};

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    Budget,
    Paused,
}

/// Lets questions through. One that was let through is told of its end, by [`Gate::ended`].
#[derive(Debug)]
pub(super) struct Gate {
    bounds: Bounds,
    /// Queries that may begin at once, and as of when.
    tokens: f64,
    filled: Instant,
    failures: u32,
    /// While it is left alone: until when, and how long that is.
    pause: Option<(Instant, Duration)>,
    /// One question is under way that shows whether the pause may end.
    trying: bool,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The database answered, be it with a refusal.
    Answered,
    /// It did not.
    Failed,
    /// It was never asked.
    Unasked,
}

impl Gate {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Gate {
        let tokens = f64::from(bounds.per_second);
        Gate { bounds, tokens, filled: now, failures: 0, pause: None, trying: false }
    }

    pub(super) fn enter(&mut self, now: Instant) -> Result<(), Shut> {
        if let Some((until, _)) = self.pause
            && (now < until || self.trying)
        {
            return Err(Shut::Paused);
        }
        let rate = f64::from(self.bounds.per_second);
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * rate).min(rate);
        self.filled = now;
        if self.tokens < 1.0 {
            return Err(Shut::Budget);
        }
        self.tokens -= 1.0;
        self.trying = self.pause.is_some();
        Ok(())
    }

    /// `jitter` is between 0 and 1: servers that were shut together try again apart.
    pub(super) fn ended(&mut self, how: Ended, now: Instant, jitter: f64) {
        match how {
            Ended::Unasked => self.trying = false,
            Ended::Answered => {
                (self.failures, self.pause, self.trying) = (0, None, false);
            }
            Ended::Failed => {
                self.failures = self.failures.saturating_add(1);
                let longer = self.pause.map(|(_, pause)| pause.saturating_mul(2));
                // What had begun before the pause and fails within it tells nothing new.
                let is_news = self.pause.is_none() || self.trying;
                if self.failures >= self.bounds.max_failures && is_news {
                    let pause = longer.unwrap_or(self.bounds.pause).min(MAX_PAUSE);
                    self.pause = Some((now + pause.mul_f64(0.5 + jitter / 2.0), pause));
                    self.trying = false;
                }
            }
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 1,
        per_second: 10,
        timeout: Duration::from_secs(1),
        max_rows: 1,
        max_failures: 3,
        pause: Duration::from_secs(1),
    };

    #[test]
    fn a_second_has_its_budget_and_no_more() {
        let began = Instant::now();
        let mut gate = Gate::new(BOUNDS, began);
        let let_in = |gate: &mut Gate, at| (0..100).filter(|_| gate.enter(at).is_ok()).count();
        assert_eq!(let_in(&mut gate, began), 10);
        assert_eq!(gate.enter(began), Err(Shut::Budget));
        assert_eq!(let_in(&mut gate, began + Duration::from_millis(500)), 5);
        assert_eq!(let_in(&mut gate, began + Duration::from_secs(9)), 10);
    }

    #[test]
    fn failures_in_a_row_shut_it_one_try_opens_it_and_tries_in_vain_double_the_pause() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut gate = Gate::new(BOUNDS, began);
        for how in [Ended::Failed, Ended::Failed, Ended::Answered, Ended::Failed, Ended::Failed] {
            assert_eq!(gate.enter(began), Ok(()));
            gate.ended(how, began, 1.0);
        }
        assert_eq!(gate.enter(began), Ok(()), "an answer in between begins the count anew");
        gate.ended(Ended::Failed, began, 1.0);
        assert_eq!(gate.enter(at(999)), Err(Shut::Paused));
        assert_eq!(gate.enter(at(1_000)), Ok(()));
        assert_eq!(gate.enter(at(1_001)), Err(Shut::Paused), "one tries for all");
        gate.ended(Ended::Failed, at(1_100), 0.0);
        assert_eq!(gate.enter(at(2_099)), Err(Shut::Paused), "half of two seconds at the least");
        assert_eq!(gate.enter(at(2_100)), Ok(()));
        gate.ended(Ended::Unasked, at(2_101), 1.0);
        assert_eq!(gate.enter(at(2_102)), Ok(()), "a try that was not made is no try");
        gate.ended(Ended::Answered, at(2_103), 1.0);
        assert!(!gate.is_paused());
        assert_eq!(gate.enter(at(2_104)), Ok(()));
    }
}
