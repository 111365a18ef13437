//! The bounds of what a database is asked, each a setting, and what was met of them, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much a database is asked at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Queries at one time, each on a connection of its own.
    pub connections: usize,
    /// Queries begun in a second.
    pub per_second: u32,
    /// How long a query may take, whether or not somebody still waits for it.
    pub timeout: Duration,
    /// Events of the largest answer; frames that need more are UNKNOWN.
    pub max_rows: usize,
    /// Failures in a row at which it is left alone for a while.
    pub max_failures: u32,
    /// For how long at first; each try in vain doubles it, up to a minute.
    pub pause: Duration,
}

/// The longest that a database that fails is left alone: a minute after it is back, at most, it is
/// asked again.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Default for Bounds {
    /// Few beside what a transactional database does for others: 4 connections, 100 queries a
    /// second, half a second each; 10,000 events fold in some ten milliseconds.
    fn default() -> Bounds {
        Bounds {
            connections: 4,
            per_second: 100,
            timeout: Duration::from_millis(500),
            max_rows: 10_000,
            max_failures: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// What became of questions to the database.
#[derive(Debug, Default)]
pub struct Counts {
    asked: AtomicU64,
    joined: AtomicU64,
    answered: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    busy: AtomicU64,
    over_budget: AtomicU64,
    paused: AtomicU64,
    cut: AtomicU64,
    bad_rows: AtomicU64,
}

/// One of [`Counts`].
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Asked,
    Joined,
    Answered,
    Retried,
    Failed,
    Late,
    Busy,
    OverBudget,
    Paused,
    Cut,
    BadRow,
}

impl Counts {
    pub(super) fn add(&self, what: What) {
        self.of(what).fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, what: What) -> &AtomicU64 {
        match what {
            What::Asked => &self.asked,
            What::Joined => &self.joined,
            What::Answered => &self.answered,
            What::Retried => &self.retried,
            What::Failed => &self.failed,
            What::Late => &self.late,
            What::Busy => &self.busy,
            What::OverBudget => &self.over_budget,
            What::Paused => &self.paused,
            What::Cut => &self.cut,
            What::BadRow => &self.bad_rows,
        }
    }

    /// All of them with their names, as metrics have them.
    pub fn all(&self) -> [(&'static str, u64); 11] {
        [
            ("asked", What::Asked),
            ("joined", What::Joined),
            ("answered", What::Answered),
            ("retried", What::Retried),
            ("failed", What::Failed),
            ("late", What::Late),
            ("busy", What::Busy),
            ("over_budget", What::OverBudget),
            ("paused", What::Paused),
            ("cut", What::Cut),
            ("bad_rows", What::BadRow),
        ]
        .map(|(name, what)| (name, self.of(what).load(Ordering::Relaxed)))
    }
}
